"""Refusals that nginx repeats by itself: to the same question, until the second ends."""

import json
import threading
import time
from collections.abc import Iterator

import pytest

from ops.processes import free_port
from ops.servers import HOST, Nginx
from tests.support.behind_nginx import (
    NO_ENVELOPE,
    Upstream,
    ask,
    ask_in_turn,
    assert_problem,
    local_nginx,
)
from tests.support.factories import unique
from web.http.edge import KEPT_STATUS

TRIES = 3
"""Of what a busy machine may be too slow for."""


@pytest.fixture(scope="module")
def nginx(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    with local_nginx(folder, upstream.address, rate=NO_ENVELOPE) as nginx:
        yield nginx


@pytest.fixture
def hold_path() -> str:
    """Of a seat that no other test has asked for."""
    return f"/api/events/{unique('event')}/seats/floor-GA-1/hold"


def until_now(**others: str):
    """Headers of a refusal as the application makes them: good until this second ends."""
    return lambda: {"X-Accel-Expires": f"@{int(time.time())}"} | others


def ask_twice(nginx: Nginx, method: str, path: str, **headers: str) -> list:
    return ask_in_turn(nginx.port, (method, path), (method, path), **headers)


@pytest.mark.parametrize(
    ("call", "code", "seats"),
    [
        ("seats/stalls-A-12/hold", "seat_taken", {"seats": ["stalls-A-12"]}),
        ("sections/stalls/best/2/hold", "sold_out", {}),
    ],
)
def test_a_refusal_is_repeated_without_asking_again(nginx, upstream, call, code, seats):
    path = f"/api/events/{unique('event')}/{call}"
    with upstream.replying(KEPT_STATUS) as received:
        first, second = ask_twice(nginx, "POST", path)
    assert received == [("POST", path)]
    assert first.body == second.body
    for answer in (first, second):
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Cache-Control"] == "no-store"
        problem = json.loads(answer.body)
        assert (answer.status, problem["status"], problem["code"]) == (409, 409, code)
        assert problem.items() >= seats.items()


@pytest.mark.parametrize("call", ["seats/stalls-A-12/hold", "sections/stalls/best/2/hold"])
def test_a_sale_that_is_not_open_is_repeated_in_the_applications_words(nginx, upstream, call):
    path = f"/api/events/{unique('event')}/{call}"
    with upstream.replying(403, until_now(**{"Retry-After": "77"})) as received:
        first, second = ask_twice(nginx, "POST", path)
    assert received == [("POST", path)]
    assert first.status == second.status == 403
    assert first.body == second.body == b'{"code": "of_the_application"}'
    assert second.headers["Retry-After"] == "77"


@pytest.mark.parametrize("status", [400, 404, 405, 409, 422, 429, 500, 503])
def test_what_is_refused_otherwise_passes_in_the_applications_words(
    nginx, upstream, hold_path, status
):
    with upstream.replying(status, lambda: {"Retry-After": "5"}) as received:
        for answer in ask_twice(nginx, "POST", hold_path):
            assert answer.status == status
            assert answer.body == b'{"code": "of_the_application"}'
            assert answer.headers["Retry-After"] == "5"
    assert len(received) == 2


def test_a_hold_call_that_is_not_answered_is_a_problem_too(nginx, upstream, hold_path, tmp_path):
    too_large = ask(nginx.port, "POST", hold_path, b"x" * 65_537)
    assert_problem(too_large, 413, "body_too_large")
    with local_nginx(tmp_path, f"{HOST}:{free_port()}") as alone:
        assert_problem(ask(alone.port, "POST", hold_path), 503, "unavailable")


def test_only_nginx_tells_the_application_that_it_keeps_refusals(nginx, upstream, hold_path):
    def received(path: str) -> str | None:
        answer = ask(nginx.port, "POST", path, X_Kept_Refusals="yes")
        return json.loads(answer.body)["headers"].get("X-Kept-Refusals")

    assert received(hold_path) == "1"
    assert received("/echo") is None


def test_a_refusal_ends_with_its_second(nginx, upstream):
    late_s = []
    for _ in range(TRIES):
        path = f"/api/events/{unique('event')}/seats/floor-GA-1/hold"
        with upstream.replying(KEPT_STATUS):
            ask_twice(nginx, "POST", path)
        refused_in = int(time.time())
        with upstream.replying(201) as received:
            asked_s = time.time()
            while (answer := ask(nginx.port, "POST", path)).status == 409:
                assert int(asked_s) <= refused_in, "a refusal outlived its second"
                assert not received
                time.sleep(0.005)
                asked_s = time.time()
            assert answer.status == 201
            late_s.append(time.time() - refused_in - 1)
        if late_s[-1] < 0.2:
            return
    raise AssertionError(f"the seat came back {late_s} seconds after the refusal's second")


def test_a_seat_is_asked_for_once_a_second_however_many_want_it(nginx, upstream, hold_path):
    statuses = []

    def want(end: float) -> None:
        while time.time() < end:
            statuses.append(ask(nginx.port, "POST", hold_path).status)

    with upstream.replying(KEPT_STATUS) as received:
        ask_in_turn(nginx.port, ("POST", hold_path))
        end = time.time() + 2.5
        wanting = [threading.Thread(target=want, args=[end]) for _ in range(4)]
        for thread in wanting:
            thread.start()
        for thread in wanting:
            thread.join()
    assert set(statuses) == {409}
    # The first second's question, and at the start of each of the next three at most one by each
    # of the four: none waits for another's answer.
    assert len(received) <= 1 + 3 * 4 < len(statuses) / 5


@pytest.mark.parametrize("status", [200, 201, 202, 204, 400, 404, 409, 410, 422, 429, 500, 503])
def test_nothing_but_a_refusal_is_kept_whatever_its_headers_say(nginx, upstream, hold_path, status):
    with upstream.replying(status, until_now(**{"Cache-Control": "public, max-age=9"})) as received:
        for answer in ask_twice(nginx, "POST", hold_path):
            assert answer.status == status
    assert len(received) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Cache-Control": "public, max-age=60"},
        {"Expires": "Thu, 01 Jan 2099 00:00:00 GMT"},
        {"X-Accel-Expires": "1"},
        {"X-Accel-Expires": "60"},
        {"X-Accel-Expires": "0"},
        {"X-Accel-Expires": "@"},
        {"X-Accel-Expires": "@soon"},
    ],
    ids=str,
)
def test_only_a_refusal_that_is_marked_is_kept(nginx, upstream, hold_path, headers):
    with upstream.replying(403, lambda: headers) as received:
        ask_twice(nginx, "POST", hold_path)
    assert len(received) == 2


@pytest.mark.parametrize("seconds_off", [-1, 1, 60, 10**9])
def test_an_application_whose_clock_is_wrong_makes_no_refusal_last(
    nginx, upstream, hold_path, seconds_off
):
    def wrong() -> dict[str, str]:
        return {"X-Accel-Expires": f"@{int(time.time()) + seconds_off}"}

    with upstream.replying(403, wrong) as received:
        ask_twice(nginx, "POST", hold_path)
    assert len(received) == 2


@pytest.mark.parametrize("status", [KEPT_STATUS, 403])
def test_an_answer_that_sets_a_cookie_is_not_kept(nginx, upstream, hold_path, status):
    with upstream.replying(status, until_now(**{"Set-Cookie": "session=mine"})) as received:
        ask_twice(nginx, "POST", hold_path)
    assert len(received) == 2


@pytest.mark.parametrize("status", [KEPT_STATUS, 403])
def test_what_speaks_to_browsers_does_not_keep_a_refusal_from_being_kept(
    nginx, upstream, hold_path, status
):
    speaking = {"Cache-Control": "no-store", "Expires": "0", "Vary": "Cookie"}
    with upstream.replying(status, lambda: speaking | until_now()()) as received:
        [first] = ask_in_turn(nginx.port, ("POST", hold_path), Cookie="a=1")
        second = ask(nginx.port, "POST", hold_path, Cookie="a=2")
    assert first.headers["Cache-Control"] == second.headers["Cache-Control"] == "no-store"
    assert len(received) == 1


def test_the_query_is_no_part_of_the_question(nginx, upstream, hold_path):
    queries = ("?a=1", "", "?", "?b=/../x")
    with upstream.replying(KEPT_STATUS) as received:
        ask_in_turn(nginx.port, *(("POST", hold_path + query) for query in queries))
    assert received == [("POST", hold_path)]


def test_each_seat_has_its_own_refusal(nginx, upstream, hold_path):
    other = hold_path.replace("GA-1", "GA-2")
    with upstream.replying(KEPT_STATUS) as received:
        ask_in_turn(nginx.port, ("POST", hold_path), ("POST", other))
    assert received == [("POST", hold_path), ("POST", other)]


@pytest.mark.parametrize(
    "path",
    [
        "/api/events/EVENT/seats/floor-GA-1/hold",
        "/api/events/{event}/seats/floor-GA-1/hold/",
        "/api/events/{event}/seats/floor-GA-1/hold%0A",
        "/api/events/{event}/seats/floor-GA-1;x=1/hold",
        "/api/events/{event}/seats/floor-GA-1%20/hold",
        "/api/events/{event}/seats/floor%252DGA/hold",
        "/api/events/{event}/seats/" + "A" * 101 + "/hold",
        "/api/events/{event}/seats/fl%C3%B6r/hold",
        "/api/events/" + "e" * 65 + "/seats/A/hold",
        "/api/events/{event}/sections/floor/best/1234567890/hold",
        "/api/events/{event}/sections/floor/best/-1/hold",
        "/api/events/{event}/sections/FLOOR/best/1/hold",
        "/API/events/{event}/seats/floor-GA-1/hold",
        "/api/events/{event}/holds",
        "/api/events/{event}/holds/h/pay",
    ],
)
def test_what_is_no_plain_hold_call_passes_as_it_came_and_is_not_kept(nginx, upstream, path):
    path = path.format(event=unique("event"))
    with upstream.replying(409, until_now()) as received:
        ask_twice(nginx, "POST", path)
    assert received == [("POST", path)] * 2


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT"])
def test_another_method_is_neither_kept_nor_answered_from_what_is(
    nginx, upstream, hold_path, method
):
    with upstream.replying(KEPT_STATUS):
        ask_in_turn(nginx.port, ("POST", hold_path))
    with upstream.replying(405) as received:
        # In the same second still.
        answers = [ask(nginx.port, asked, hold_path) for asked in (method, method, "POST")]
    assert received == [(method, hold_path)] * 2
    assert [answer.status for answer in answers] == [405, 405, 409]


def test_a_repeated_refusal_says_nothing_about_the_client_it_was_made_for(
    nginx, upstream, hold_path
):
    limits = {"RateLimit": '"client";r=3;t=1', "RateLimit-Policy": '"client";q=10;w=1'}
    own = {"X-Request-Id": "the-applications-own"}
    with upstream.replying(KEPT_STATUS, lambda: limits | own) as received:
        [first] = ask_in_turn(nginx.port, ("POST", hold_path), X_Request_Id="the-first-of-all")
        second, third = (ask(nginx.port, "POST", hold_path) for _ in range(2))
    assert len(received) == 1
    assert first.headers["RateLimit"] == '"client";r=3;t=1'
    assert [second.headers["RateLimit"], third.headers["RateLimit"]] == [None, None]
    assert second.headers["RateLimit-Policy"] == first.headers["RateLimit-Policy"]
    ids = [answer.headers.get_all("X-Request-Id") for answer in (first, second, third)]
    assert ids[0] == ["the-first-of-all"]
    assert len({one for [one] in ids}) == 3


def test_what_the_application_tells_nginx_stays_there(nginx, upstream, hold_path):
    private = {"X-Accel-Buffering": "no", "X-Accel-Limit-Rate": "100000", "X-Request-Id": "its own"}
    with upstream.replying(KEPT_STATUS, lambda: private):
        answers = ask_twice(nginx, "POST", hold_path)
        answers += ask_twice(nginx, "POST", "/elsewhere")
    for answer in answers:
        assert len(answer.headers.get_all("X-Request-Id")) == 1
        assert not [name for name in answer.headers if name.lower().startswith("x-accel")]


def test_a_hold_call_may_have_a_body_that_nobody_needs(nginx, upstream, hold_path):
    with upstream.replying(201) as received:
        assert ask(nginx.port, "POST", hold_path, b"{}").status == 201
    assert received == [("POST", hold_path)]
