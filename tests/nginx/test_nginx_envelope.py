"""How often nginx lets a client ask, before the application counts exactly."""

import contextlib
import http.client
import math
import random
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.nginx.envelope import STALL_S, Envelope
from ops.servers import HOST, Nginx
from sidecar.client_address import client_key
from sidecar.settings import parse_rate
from tests.support.behind_nginx import ask, assert_problem, local_nginx

RATES = ("10/second", "1/second", "10000/second", "600/minute", "1/minute", "5000/hour", "1/hour")


@pytest.fixture
def statuses(nginx: Nginx) -> Iterator[Callable]:
    """Send this many requests on one connection; returns the statuses."""
    connection = http.client.HTTPConnection(HOST, nginx.port, timeout=10)

    def ask_often(times: int, client: str, path: str = "/echo", method: str = "GET") -> list[int]:
        answers = []
        for _ in range(times):
            connection.request(method, path, headers={"X-Forwarded-For": client})
            response = connection.getresponse()
            response.read()
            answers.append(response.status)
        return answers

    with contextlib.closing(connection):
        yield ask_often


# ---------------------------------------------------------------- the numbers


@pytest.mark.parametrize("rate_limit", RATES)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_client_that_keeps_the_exact_rule_is_refused(rate_limit, data):
    """A leaky bucket as in nginx's source, against the most requests that the limit allows, with
    answers that the network delays for as long as the envelope assumes."""
    rate = parse_rate(rate_limit)
    envelope = Envelope.around(rate)
    seed = data.draw(st.integers())
    arrivals = arrivals_of_a_greedy_client(rate.limit, rate.window_ns / 1e9, random.Random(seed))
    assert not refused_by_nginx(arrivals, envelope)


def arrivals_of_a_greedy_client(limit: int, window_s: float, chance: random.Random) -> list[float]:
    """Sends as many as the rule allows as early as it can, from some moment in each window."""
    limit = min(limit, 200)  # The rule is the same with fewer requests that count for more.
    sent, arrivals, now = [], [], 0.0
    for _ in range(4 * limit):
        if len(sent) >= limit:
            now = max(now, sent[-limit] + window_s)
        now += chance.choice([0, 0, 0, chance.random() * window_s / limit])
        sent.append(now)
    held_back_until = -math.inf
    for moment in sent:
        if chance.random() < 0.1:
            held_back_until = max(held_back_until, moment + chance.random() * STALL_S)
        arrivals.append(max(moment, min(held_back_until, moment + STALL_S)))
    return sorted(arrivals)


def refused_by_nginx(arrivals: list[float], envelope: Envelope) -> bool:
    """ngx_http_limit_req_lookup, in thousandths of a request and in milliseconds."""
    number, unit = envelope.rate_text.split("r/")
    weight = max(1, envelope.limit // 200) if envelope.limit > 200 else 1
    drain = int(number) * 1000 // {"s": 1, "m": 60}[unit]
    excess, last_ms = 0, None
    for arrival in arrivals:
        now_ms = int(arrival * 1000)
        if last_ms is not None:
            excess = max(0, excess - drain * (now_ms - last_ms) // 1000 + 1000)
        # Nothing drains between requests of one moment.
        excess += (weight - 1) * 1000
        last_ms = now_ms
        if excess > envelope.burst * 1000:
            return True
    return False


@pytest.mark.parametrize("rate_limit", RATES)
def test_the_envelope_is_no_wider_than_it_has_to_be(rate_limit):
    rate = parse_rate(rate_limit)
    envelope = Envelope.around(rate)
    window_s = rate.window_ns / 1e9
    assert envelope.burst <= rate.limit * (1 + STALL_S / window_s) + 1


def test_ten_in_a_second_is_twenty_a_second_and_forty_at_once():
    envelope = Envelope.around(parse_rate("10/second"))
    assert (envelope.rate_text, envelope.burst) == ("20r/s", 40)


@pytest.mark.parametrize("rate_limit", RATES)
def test_nginx_accepts_the_envelope_of_every_rate(rate_limit, upstream, tmp_path):
    with local_nginx(tmp_path, upstream.address, rate=parse_rate(rate_limit)) as nginx:
        assert ask(nginx.port, "GET", "/echo").status == 200


# ---------------------------------------------------------------- over real sockets


def test_a_client_that_keeps_the_rule_is_never_refused(statuses):
    for _ in range(4):
        assert set(statuses(10, "203.0.113.1")) == {200}
        time.sleep(1)


def test_a_hundred_at_once_are_too_many_and_the_application_does_not_hear_of_them(
    nginx, upstream, statuses
):
    upstream.received.clear()
    began_s = time.monotonic()
    answers = statuses(100, "203.0.113.2")
    # Those that drain meanwhile, too: at most twenty in a second.
    drained = 20 * (time.monotonic() - began_s)
    assert 41 <= answers.count(200) <= 42 + drained
    assert answers.count(200) + answers.count(429) == 100
    assert len(upstream.received) == answers.count(200)


def test_a_refusal_says_what_the_applications_says(nginx, statuses):
    statuses(100, "203.0.113.3")
    asked = (ask(nginx.port, "GET", "/echo", X_Forwarded_For="203.0.113.3") for _ in range(100))
    answer = next(answer for answer in asked if answer.status == 429)  # some drain meanwhile
    assert_problem(answer, 429, "rate_limited")
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["RateLimit-Policy"] == '"client";q=10;w=1'
    assert answer.headers["RateLimit"] == '"client";r=0;t=1'
    assert answer.headers["Cache-Control"] == "no-store"
    time.sleep(1)
    assert statuses(10, "203.0.113.3") == [200] * 10


def test_hold_calls_are_in_the_envelope_too(statuses):
    path = "/api/events/e/seats/envelope/hold"
    assert 429 in statuses(100, "203.0.113.4", path, "POST")


def test_the_health_check_and_static_files_are_not_in_it(statuses):
    assert set(statuses(100, "203.0.113.5", "/healthz")) == {200}
    assert set(statuses(100, "203.0.113.5", "/static/none.css")) == {404}
    assert statuses(1, "203.0.113.5") == [200]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("203.0.113.10", "203.0.113.11"),
        ("203.0.113.12", "::ffff:203.0.113.12"),
        ("::ffff:203.0.113.13", "::ffff:203.0.113.14"),
        ("2001:db8:1:1::1", "2001:db8:1:1:ffff:ffff:ffff:ffff"),
        ("2001:db8:1:2::1", "2001:db8:1:3::1"),
        ("2001:db8:a0a:a0a::1", "2001:db8:a0a:a0a:a0a:a0a:a0a:a0a"),
        ("2001:db8:a0a:a0b::a0a", "2001:db8:a0a:a0c::a0a"),
        ("::203.0.113.15", "203.0.113.15"),
        ("::fffe:cb00:7110", "203.0.113.16"),
    ],
)
def test_nginx_counts_by_client_as_the_application_does(statuses, one, other):
    def key(address: str) -> str:
        return client_key(address, [], trusted=(), hops=None)

    assert 429 in statuses(100, one)
    assert (429 in statuses(30, other)) == (key(one) == key(other))


def test_a_flood_leaves_no_lines_in_the_log_of_errors(nginx, statuses):
    statuses(100, "203.0.113.20")
    assert "limiting" not in nginx.log_tail(1000)
