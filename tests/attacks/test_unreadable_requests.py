"""What is no request: it counts against its client's limit, wherever it is known whose it is."""

import pytest

from tests.attacks.clients import new_address
from tests.support.raw_http import Answer, exchange, request_bytes
from tests.support.site import another_web

LIMIT = 10

UNREADABLE = {
    "a chunk without a length": (
        b"POST /api/events HTTP/1.1\r\nHost: a\r\n%bTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        400,
    ),
    "a strange transfer coding": (
        b"POST /api/events HTTP/1.1\r\nHost: a\r\n%bTransfer-Encoding: gzip, chunked\r\n\r\n",
        501,
    ),
    "no Host": (b"GET /api/events HTTP/1.1\r\n%b\r\n", 400),
    "an address that is none": (b"GET * HTTP/1.1\r\nHost: a\r\n%b\r\n", 400),
}
"""With its header read to its end, where the address of the client goes, and the status."""

HALF_READ = {
    "too many fields": (b"%b" + b"X-A: b\r\n" * 101, 431),
    "a field that is too long": (b"%bX-A: " + b"b" * 17_000 + b"\r\n", 431),
    "two types": (b"%bContent-Type: a\r\nContent-Type: b\r\n", 400),
    "a field without a name": (b"%b: b\r\n", 400),
}
"""Refused in the middle of the header, behind the line with the client's address."""


def claim(address: str) -> bytes:
    return f"X-Forwarded-For: {address}\r\n".encode()


def answers_to(url: str, request: bytes, times: int) -> list[Answer]:
    """A connection each: none is kept after such a request."""
    return [answer for _ in range(times) for answer in exchange(url, request)]


def left(url: str, address: str) -> str:
    [answer, *_] = exchange(url, request_bytes("GET", "/nothing", f"X-Forwarded-For: {address}"))
    return f"{answer.status} {answer.headers['RateLimit'].partition(';t=')[0]}"


@pytest.mark.parametrize(("request_text", "status"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_counts_when_its_header_was_read(stack, address, request_text, status):
    answers = answers_to(stack.web_url, request_text % claim(address), 5)
    assert [answer.status for answer in answers] == [status] * 5
    assert left(stack.web_url, address) == '404 "client";r=4'


def test_gunicorns_own_worker_counts_nothing_that_it_cannot_read(gevent_site, address):
    request_text = b"GET /api/events HTTP/1.1\r\nHost: a\r\n%b: b\r\n\r\n" % claim(address)
    answers = answers_to(gevent_site.web_url, request_text, 5)
    assert [answer.status for answer in answers] == [400] * 5
    assert left(gevent_site.web_url, address) == '404 "client";r=9'


def test_beyond_the_limit_it_is_told_so_and_the_connection_ends(direct):
    request_text, status = UNREADABLE["no Host"]
    answers = answers_to(direct, request_text % b"", 2 * LIMIT)
    assert [answer.status for answer in answers] == [status] * LIMIT + [429] * LIMIT
    refused = answers[-1]
    assert refused.json["code"] == "rate_limited"
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.headers["RateLimit"].startswith('"client";r=0;t=')
    assert refused.headers["Connection"] == "close"


@pytest.mark.parametrize(("fields", "status"), HALF_READ.values(), ids=HALF_READ)
def test_behind_a_proxy_half_a_header_charges_nobody(stack, fields, status):
    victim = new_address()
    request = b"GET /api/events HTTP/1.1\r\nHost: a\r\n" + fields % claim(victim) + b"\r\n"
    answers = answers_to(stack.web_url, request, 5)
    assert [answer.status for answer in answers] == [status] * 5
    assert left(stack.web_url, victim) == '404 "client";r=9'


@pytest.fixture
def direct(stack, tmp_path) -> str:
    """A gunicorn that trusts no proxy, so the peer is the client; with ten requests in an hour."""
    settings = {
        "WEB_CONCURRENCY": "1",
        "TRUSTED_PROXIES": "192.0.2.1",
        "RATE_LIMIT": f"{LIMIT}/hour",
    }
    with another_web(stack, tmp_path / "log", **settings) as server:
        yield server.url


@pytest.mark.parametrize(("fields", "status"), HALF_READ.values(), ids=HALF_READ)
def test_without_a_proxy_it_is_the_peer_who_is_charged(direct, fields, status):
    request = b"GET / HTTP/1.1\r\nHost: a\r\n" + fields % claim(new_address()) + b"\r\n"
    statuses = [answer.status for answer in answers_to(direct, request, LIMIT + 2)]
    assert statuses == [status] * LIMIT + [429] * 2
