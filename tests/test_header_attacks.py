"""What a client can write into a request to be somebody else, or to hide a second request in it.

Over real sockets, through nginx and straight at gunicorn. Who the application takes for the client
shows in what is left of that client's allowance.
"""

import itertools
import re

import pytest

from tests.raw_http import exchange, request_bytes

_numbers = itertools.count(1)
CLAIMED = "6.6.6.6"
SMUGGLED_SEAT = "stalls-A-8"

NO_ANSWER_WITHIN_S = 0.7
"""A request that never ends gets none; a wrong answer would be there long before."""


@pytest.fixture(params=["through nginx", "at gunicorn"])
def url(request, stack) -> str:
    return stack.url if request.param == "through nginx" else stack.web_url


@pytest.fixture
def address() -> str:
    """Of a client that has asked nothing yet."""
    number = next(_numbers)
    return f"198.51.{100 + number // 250}.{number % 250 + 1}"


def left_of(url: str, *lines: str) -> int:
    """What a client has left after one more request with these header lines."""
    (answer,) = exchange(url, request_bytes("GET", "/api/nothing", *lines, "Connection: close"))
    assert answer.status == 404, answer
    return int(re.match(r'"client";r=(\d+);', answer.headers["RateLimit"])[1])


def assert_counted_for(url: str, address: str, *lines: str) -> None:
    """A request with ``lines`` is counted for ``address``, of which nothing was heard before."""
    assert left_of(url, *lines) == 9
    assert left_of(url, f"X-Forwarded-For: {address}") == 8


# ---------------------------------------------------------------- who is the client


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
    """Whatever becomes of it, it is not believed."""
    sent = request_bytes(
        "GET", "/api/nothing", line, f"X-Forwarded-For: {address}", "Connection: close"
    )
    for answer in exchange(url, sent):
        assert answer.status in (400, 404)
        if answer.status == 404:
            assert left_of(url, f"X-Forwarded-For: {address}") == 8


# ---------------------------------------------------------------- a request within a request


def smuggled(event_id: str) -> bytes:
    """A hold that nobody is to hear of."""
    return request_bytes("POST", f"/api/events/{event_id}/seats/{SMUGGLED_SEAT}/hold")


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 4", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 4"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: identity", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding:\x0bchunked"],
        ["Transfer-Encoding : chunked"],
        ["Transfer_Encoding: chunked", "Content-Length: ALL"],
        ["Content-Length: 0", "Content-Length: ALL"],
        ["Content-Length: ALL", "Content-Length: 0"],
        ["Content-Length: +0"],
        ["Content-Length: 0x0"],
        ["Content-Length: 0, ALL"],
        ["Content-Length: -1"],
        ["Content-Length: 1e3"],
        ["Content-Length: 18446744073709551616"],
        ["Content-Length : 0", "Content-Length: ALL"],
        ["Content-Length: ALL", "Expect: 100-continue"],
        ["Content-Length: ALL", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"],
    ],
    ids=lambda lines: " | ".join(lines).encode("unicode_escape").decode(),
)
def test_no_second_request_can_be_hidden_in_a_body(url, stack, event, address, lines):
    """Two readers of one connection must not disagree about where the first request ends. Either
    the first is refused and nothing after it is heard, or the hidden one is body. Straight at
    gunicorn it may also be a request of its own, when it is answered as such."""
    hidden = b"0\r\n\r\n" + smuggled(event.id)
    sent = request_bytes(
        "POST",
        f"/api/events/{event.id}/holds",
        f"X-Forwarded-For: {address}",
        *(line.replace("ALL", str(len(hidden))) for line in lines),
        body=hidden,
    )
    first, *others = exchange(url, sent)
    assert first.status in (400, 413, 422, 501)
    if url == stack.web_url and [answer.status for answer in others] == [201]:
        assert "RateLimit" in others[0].headers
    else:
        assert {answer.status for answer in others} <= {400}
        assert free_seats(stack, event), "the hidden request was heard"


def chunked(event_id: str, address: str, body: bytes) -> bytes:
    return request_bytes(
        "POST",
        f"/api/events/{event_id}/holds",
        f"X-Forwarded-For: {address}",
        "Transfer-Encoding: chunked",
        body=body,
    )


def test_a_chunked_body_ends_where_its_chunks_end(url, stack, event, address):
    """What follows is a request of its own: answered on the same connection, and counted."""
    body = b'{"seats": ["stalls-A-1"]}'
    first = chunked(event.id, address, b"%x;ext=1\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    second = request_bytes(
        "GET", "/api/nothing", f"X-Forwarded-For: {address}", "Connection: close"
    )
    held, absent = exchange(url, first + second)
    assert (held.status, absent.status) == (201, 404)
    assert absent.headers["RateLimit"].startswith('"client";r=8;')


@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcdef\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"zz\r\nabc\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_chunks_that_do_not_fit_are_the_senders_mistake(url, stack, event, address, body):
    answers = exchange(url, chunked(event.id, address, body))
    assert [(answer.status, answer.json["code"]) for answer in answers] == [(400, "bad_request")]
    assert free_seats(stack, event)


def test_a_chunk_whose_lines_end_in_line_feeds_alone_is_refused_or_read_whole(
    url, stack, event, address
):
    """nginx takes such a line for one, and hands on what it has read as a body of known length."""
    (answer,) = exchange(url, chunked(event.id, address, b"3\nabc\n0\n\n"))
    assert answer.status in ({400} if url == stack.web_url else {400, 422})
    assert free_seats(stack, event)


@pytest.mark.parametrize("body", [b"3\r\nabc", b""])
def test_chunks_that_never_end_hold_nothing(url, stack, event, address, body):
    assert exchange(url, chunked(event.id, address, body), NO_ANSWER_WITHIN_S) == []
    assert free_seats(stack, event)


def of_length(event_id: str, address: str, length: int) -> bytes:
    """The body has 25 bytes."""
    return request_bytes(
        "POST",
        f"/api/events/{event_id}/holds",
        f"X-Forwarded-For: {address}",
        f"Content-Length: {length}",
        body=b'{"seats": ["stalls-A-1"]}',
    )


def test_what_is_left_over_of_a_body_is_no_request(url, stack, event, address):
    first, *others = exchange(url, of_length(event.id, address, 3))
    assert first.status == 422
    assert {answer.status for answer in others} <= {400}
    assert free_seats(stack, event)


def test_a_body_whose_rest_never_comes_holds_nothing(url, stack, event, address):
    assert exchange(url, of_length(event.id, address, 10_000), NO_ANSWER_WITHIN_S) == []
    assert free_seats(stack, event)


def test_a_body_that_is_not_needed_is_no_request_either(url, stack, event, address):
    """The hold calls read no body; one that comes all the same must not be left in the pipe."""
    hidden = smuggled(event.id)
    hold = request_bytes(
        "POST",
        f"/api/events/{event.id}/seats/stalls-A-1/hold",
        f"X-Forwarded-For: {address}",
        f"Content-Length: {len(hidden)}",
        body=hidden,
    )
    after = request_bytes("GET", "/api/nothing", f"X-Forwarded-For: {address}", "Connection: close")
    held, absent = exchange(url, hold + after)
    assert (held.status, absent.status) == (201, 404)
    assert free_seats(stack, event, taken="stalls-A-1")


def free_seats(stack, event, taken: str = "") -> bool:
    """Whether nothing is held but ``taken``."""
    (answer,) = exchange(
        stack.web_url,
        request_bytes(
            "GET",
            f"/api/events/{event.id}/seats",
            f"X-Forwarded-For: 198.19.{next(_numbers) % 256}.1",
            "Connection: close",
        ),
    )
    expected = ["0"] * len(event.seats)
    if taken:
        expected[list(event.seats).index(taken)] = "h"
    return answer.json["seats"] == "".join(expected)
