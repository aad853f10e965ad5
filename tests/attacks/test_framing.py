"""Two readers of one connection, nginx and our HTTP worker, do not disagree about where a request
ends: no request can be hidden in another.

Over real sockets, through nginx and straight at gunicorn.
"""

import http.client
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.attacks.clients import new_address
from tests.attacks.corpora.framing import FRAMINGS, Framing, Outcome
from tests.support.factories import put_on_sale, small_hall
from tests.support.http_client import PROBLEM_TYPE
from tests.support.raw_http import Answer, exchange, request_bytes
from web.domain.events import Event

SMUGGLED_SEAT = "stalls-A-8"

NO_ANSWER_WITHIN_S = 0.7
"""A request that never ends gets none; a wrong answer would be there long before."""

AT_ONCE = 16


def smuggled(event_id: str) -> bytes:
    """A hold in a hidden request, which must not be executed."""
    path = f"/api/events/{event_id}/seats/{SMUGGLED_SEAT}/hold"
    return request_bytes("POST", path, "Connection: close")


def test_no_request_can_be_hidden_in_another(url, stack, seats):
    """The whole corpus, each entry with its own event: a seat is held there if the hidden request
    was executed."""
    halls = [small_hall() for _ in FRAMINGS]
    for hall in halls:
        put_on_sale(seats, hall)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(lambda framing, hall: sent(url, framing, hall), FRAMINGS, halls))
    is_ours = url in (stack.url, stack.web_url)

    def wanted(framing: Framing) -> Outcome:
        """gunicorn's own worker reads some that ours does not, and hides nothing either."""
        if is_ours:
            return framing.through_nginx if url == stack.url else framing.at_gunicorn
        return Outcome.ONE if framing.through_nginx is Outcome.ONE else Outcome.OWN

    wrong = [
        f"{framing.name}: {[answer.status for answer in answered]}, heard: {heard}"
        for framing, hall, answered in zip(FRAMINGS, halls, answers, strict=True)
        if not is_as_wanted(
            wanted(framing),
            answered,
            heard := seats.read_seats(hall.id).seats.count("h") > 0,
            is_ours=is_ours,
        )
    ]
    assert not wrong, "\n".join(wrong)


def sent(url: str, framing: Framing, hall: Event) -> list[Answer]:
    """The answers to an entry. To what it takes for HTTP/0.9 nginx says its 400 without a head."""
    text = framing.sent.replace("{hidden}", smuggled(hall.id).decode())
    length = len(text.encode("latin-1", "replace").partition(b"\r\n\r\n")[2])
    for name, value in (("length", length), ("event", hall.id), ("address", new_address())):
        text = text.replace(f"{{{name}}}", str(value))
    try:
        return exchange(url, text.encode("latin-1", "replace"), silence_after_s=2.0)
    except http.client.BadStatusLine:
        return []


def is_as_wanted(wanted: Outcome, answers: list[Answer], heard: bool, *, is_ours: bool) -> bool:
    """The application says RateLimit in each of its answers; else only the limiter does, with 429:
    what cannot be read counts, too. gunicorn's own worker says in HTML what it cannot read."""
    applications = [
        answer for answer in answers if "RateLimit" in answer.headers and answer.status != 429
    ]
    refusals = [answer for answer in answers if answer.status >= 400]
    if is_ours and not all(answer.headers["Content-Type"] == PROBLEM_TYPE for answer in refusals):
        return False
    match wanted:
        case Outcome.REFUSED:
            return not applications and not heard
        case Outcome.ONE:
            return len(applications) <= 1 and not heard
        case Outcome.OWN:
            return heard == (201 in [answer.status for answer in applications])


def chunked(event_id: str, address: str, body: bytes) -> bytes:
    return request_bytes(
        "POST",
        f"/api/events/{event_id}/holds",
        f"X-Forwarded-For: {address}",
        "Transfer-Encoding: chunked",
        body=body,
    )


def test_a_chunked_body_ends_where_its_chunks_end(url, stack, event, address):
    """The rest is a separate request: answered on the same connection, and counted."""
    body = b'{"seats": ["stalls-A-1"]}'
    first = chunked(event.id, address, b"%x;ext=1\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    second = request_bytes(
        "GET", "/api/nothing", f"X-Forwarded-For: {address}", "Connection: close"
    )
    held, absent = exchange(url, first + second)
    assert (held.status, absent.status) == (201, 404)
    assert absent.headers["RateLimit"].startswith('"client";r=8;')


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
