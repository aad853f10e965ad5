"""What a client can write into a request to be another client: nothing.

Over real sockets, through nginx and straight at gunicorn. Who the application takes for the client
shows in what is left of that client's allowance.
"""

import itertools
import re

import pytest

from tests.support.raw_http import exchange, request_bytes

_numbers = itertools.count(1)
CLAIMED = "6.6.6.6"


def left_of(url: str, *lines: str) -> int:
    """What a client has left after one more request with these header lines."""
    (answer,) = exchange(url, request_bytes("GET", "/api/nothing", *lines, "Connection: close"))
    assert answer.status == 404, answer
    return int(re.match(r'"client";r=(\d+);', answer.headers["RateLimit"])[1])


def assert_counted_for(url: str, address: str, *lines: str) -> None:
    """A request with ``lines`` is counted for ``address``, a new client."""
    assert left_of(url, *lines) == 9
    assert left_of(url, f"X-Forwarded-For: {address}") == 8


@pytest.mark.parametrize(
    "lines",
    [
        [f"X-Forwarded-For: {CLAIMED}, ADDRESS"],
        [f"X-Forwarded-For: {CLAIMED}", "X-Forwarded-For: ADDRESS"],
        [f"X-Forwarded-For: {CLAIMED},", "x-forwarded-for: ADDRESS"],
        ["X-Forwarded-For: ADDRESS", f"X_Forwarded_For: {CLAIMED}"],
        [f"X_Forwarded-For: {CLAIMED}", "X-Forwarded-For: ADDRESS"],
        ["X-Forwarded-For: ADDRESS", f"Forwarded: for={CLAIMED};proto=https"],
        ["X-Forwarded-For: ADDRESS", f"CF-Connecting-IP: {CLAIMED}"],
        ["X-Forwarded-For: ADDRESS", f"True-Client-IP: {CLAIMED}", f"X-Real-IP: {CLAIMED}"],
        ["X-Forwarded-For: ADDRESS", f"X-Client-IP: {CLAIMED}", f"Client-IP: {CLAIMED}"],
        ["X-Forwarded-For: " + "6.6.6.6, " * 1500 + "ADDRESS"],
        ["X-Forwarded-For: " + "," * 10_000 + " ADDRESS"],
        ["X-Forwarded-For: " + "x" * 10_000 + ", ADDRESS"],
        [*[f"X-Forwarded-For: {CLAIMED}"] * 60, "X-Forwarded-For: ADDRESS"],
        ["X-Forwarded-For: unknown, ADDRESS"],
        ["X-Forwarded-For: \xff\xfe, ADDRESS"],
        ["X-Forwarded-For: ADDRESS:4711"],
        ["X-Forwarded-For: ::ffff:ADDRESS"],
        ["X-Forwarded-For: [::ffff:ADDRESS]:443"],
        ["X-Forwarded-For: ADDRESS, 127.0.0.1"],
        ["X-Forwarded-For:   ADDRESS  "],
    ],
    ids=lambda lines: " | ".join(line[:40] for line in lines).encode("unicode_escape").decode(),
)
def test_the_client_is_who_the_trusted_proxy_saw(url, address, lines):
    assert_counted_for(url, address, *(line.replace("ADDRESS", address) for line in lines))


@pytest.mark.parametrize(
    "spelling",
    [
        "2001:db8:PART:1::2",
        "2001:DB8:PART:0001:ffff:ffff:ffff:ffff",
        "2001:0db8:PART:1:0:0:0:9",
        "[2001:db8:PART:1::7]:443",
        "2001:db8:PART:1::198.51.100.1",
    ],
)
def test_a_subscriber_is_one_client_whatever_address_of_its_network_it_takes(url, spelling):
    part = f"{next(_numbers):x}"
    plain = f"2001:db8:{part}:1::1"
    assert_counted_for(url, plain, f"X-Forwarded-For: {spelling.replace('PART', part)}")


def test_another_network_is_another_client(url):
    part = f"{next(_numbers):x}"
    assert left_of(url, f"X-Forwarded-For: 2001:db8:{part}:1::1") == 9
    assert left_of(url, f"X-Forwarded-For: 2001:db8:{part}:2::1") == 9


@pytest.mark.parametrize(
    "line",
    [
        f"X-Forwarded-For : {CLAIMED}",
        f"X-Forwarded-For: {CLAIMED}\0",
        f"X-Forwarded-For: {CLAIMED}\r X-Other: folded",
        f"X-Forwarded\x0b-For: {CLAIMED}",
        ": no name",
        "no colon",
    ],
)
def test_a_header_that_is_none_is_refused_or_dropped(url, address, line):
    """The address is not trusted, whatever happens to the request."""
    sent = request_bytes(
        "GET", "/api/nothing", line, f"X-Forwarded-For: {address}", "Connection: close"
    )
    for answer in exchange(url, sent):
        assert answer.status in (400, 404)
        if answer.status == 404:
            assert left_of(url, f"X-Forwarded-For: {address}") == 8
