"""Two readers of one connection, nginx and our HTTP worker, do not disagree about where a request
ends: no request can be hidden in another.

Over real sockets, through nginx and straight at gunicorn.
"""

import pytest

from tests.attacks.clients import new_address
from tests.raw_http import exchange, request_bytes

SMUGGLED_SEAT = "stalls-A-8"

NO_ANSWER_WITHIN_S = 0.7
"""A request that never ends gets none; a wrong answer would be there long before."""


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
            f"X-Forwarded-For: {new_address()}",
            "Connection: close",
        ),
    )
    expected = ["0"] * len(event.seats)
    if taken:
        expected[list(event.seats).index(taken)] = "h"
    return answer.json["seats"] == "".join(expected)
