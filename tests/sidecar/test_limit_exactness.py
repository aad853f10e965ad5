"""Never more than the limit in any window, and never a refusal of who keeps to it.

First on a clock that the tests set, decision by decision against counting everything again; then
with real processes in real time.
"""

import json
import random
import subprocess
import sys
from collections import defaultdict
from typing import NamedTuple

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.servers import Redis
from sidecar.protocol import CLEAR, HIT, PEEK, RESET, Head
from sidecar.shared_log import SCRIPT_PATH, Check, _arguments_of, _decision_of, _keys_of
from sidecar.sliding_log import Decision, Rate, SlidingLogs
from tests.support.sidecars import ROOT, Limiter

# ---------------------------------------------------------------- on a clock that tests set

PATTERNS = 2000
SECOND_NS = 100 * 10**9
"""To the logs a unit is a unit. Redis lets keys die by a clock that the tests do not set, and none
may before the test has ended."""

RATES = [Rate(1, SECOND_NS), Rate(3, SECOND_NS // 2), Rate(10, SECOND_NS), Rate(20, 3 * SECOND_NS)]
TEST_SOURCE = SCRIPT_PATH.read_text().replace(
    "redis.call('TIME')", "redis.call('LRANGE', 'clock', 0, 1)"
)


CLEARED = Decision(False, 0, 0)
"""The decision of a clear or a reset, which has none."""


class Arrival(NamedTuple):
    now_ns: int
    check: Check


def microseconds(ns: float) -> int:
    return int(ns) // 1000 * 1000


def arrivals_of(chance: random.Random, number: int) -> list[Arrival]:
    """Of a few clients and rates, in the order of time; now and then several at one moment."""
    start_ns = 1_795_000_000 * 10**9 + chance.randrange(SECOND_NS)
    arrivals = []
    for client in range(chance.randint(1, 3)):
        key = f"{number}-{client}".encode()
        for rate in chance.sample(RATES, chance.randint(1, 2)):
            arrivals += [
                Arrival(now_ns, Check(head_of(chance, rate), key))
                for now_ns in moments_of(chance, start_ns, rate)
            ]
    return sorted(arrivals, key=lambda arrival: arrival.now_ns)


def head_of(chance: random.Random, rate: Rate) -> Head:
    """Mostly a hit of one request, as in life."""
    amount = chance.randint(1, rate.limit) if chance.random() < 0.1 else 1
    return Head(HIT, rate, amount) if chance.random() < 0.9 else Head(PEEK, rate, 1)


def moments_of(chance: random.Random, start_ns: int, rate: Rate) -> list[int]:
    limit, window_ns = rate
    style = chance.choice(["random", "straddling", "paced"])
    if style == "random":
        moments = [start_ns + chance.uniform(0, 4) * window_ns for _ in range(4 * limit)]
    elif style == "straddling":
        # As many as a counter of fixed seconds would let through: before its end and after.
        boundary_ns = start_ns // SECOND_NS * SECOND_NS + chance.randint(1, 3) * SECOND_NS
        width_ns = chance.choice([0, 2000, window_ns // 10])
        moments = [
            boundary_ns + side * chance.uniform(0, width_ns)
            for side in (-1, 1)
            for _ in range(2 * limit)
        ]
    else:
        # As often as is allowed and a little more, or exactly; from time to time a microsecond off.
        pace_ns = window_ns / limit * chance.choice([1, 0.9])
        moments = [
            start_ns + step * pace_ns + chance.choice([0, 0, 1000, -1000])
            for step in range(4 * limit)
        ]
    return [microseconds(moment) for moment in moments]


def decisions_by_counting(arrivals: list[Arrival]) -> list[Decision]:
    """Straight from the rule, and with what it promises checked."""
    accepted = defaultdict(list)
    decisions = []
    for now_ns, ((command, (limit, window_ns), amount), key) in arrivals:
        log = accepted[key, limit, window_ns]
        if command == CLEAR:
            log.clear()
        if command == RESET:
            accepted.clear()
        if command in (CLEAR, RESET):
            decisions.append(CLEARED)
            continue
        recent = [moment for moment in log if now_ns - window_ns < moment <= now_ns]
        allowed = len(recent) + amount <= limit
        if command == HIT and allowed:
            log += [now_ns] * amount
            recent += [now_ns] * amount
        # This many must expire before there is room; if it was accepted, one must before there is
        # more.
        must_leave = 1 if allowed else len(recent) + amount - limit
        reset_ns = recent[must_leave - 1] + window_ns - now_ns if recent else 0
        decisions.append(Decision(allowed, limit - len(recent), reset_ns))
    for (_, limit, window_ns), log in accepted.items():
        for first, one_too_many in zip(log, log[limit:], strict=False):
            assert one_too_many - first >= window_ns
    return decisions


def decisions_of_sliding_logs(arrivals: list[Arrival]) -> list[Decision]:
    logs = SlidingLogs(max_clients=10)
    return [decision_of_sliding_logs(logs, *arrival) for arrival in arrivals]


def decision_of_sliding_logs(logs: SlidingLogs, now_ns: int, check: Check) -> Decision:
    (command, rate, amount), key = check
    if command == HIT:
        return logs.of(rate).decide(key, now_ns, amount)
    if command == PEEK:
        return logs.of(rate).peek(key, now_ns)
    if command == CLEAR:
        logs.clear(rate, key)
    else:
        logs.reset()
    return CLEARED


def decisions_of_script(client: redis.Redis, arrivals: list[Arrival]) -> list[Decision]:
    """Those of one moment in one call."""
    at_moment = defaultdict(list)
    for now_ns, check in arrivals:
        at_moment[now_ns].append(check)
    digest = client.script_load(TEST_SOURCE)
    calls = client.pipeline(transaction=False)
    for now_ns, checks in at_moment.items():
        calls.delete("clock")
        calls.rpush("clock", now_ns // 10**9, now_ns % 10**9 // 1000)
        keys = _keys_of(checks)
        calls.evalsha(digest, len(keys), *keys, *_arguments_of(checks))
    answers = calls.execute()[2::3]
    return [_decision_of(line) for answer in answers for line in answer.splitlines()]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("limit")
    with Redis(folder / "redis", folder / "redis.log") as server:
        yield server


@pytest.fixture(scope="module")
def client(redis_server):
    with redis.Redis(port=redis_server.port) as client:
        yield client


def test_log_and_script_decide_as_counting_everything_again_would(client):
    chance = random.Random(1)
    refused = 0
    for number in range(PATTERNS):
        arrivals = arrivals_of(chance, number)
        expected = decisions_by_counting(arrivals)
        assert decisions_of_sliding_logs(arrivals) == expected, f"pattern {number}"
        assert decisions_of_script(client, arrivals) == expected, f"pattern {number}"
        refused += sum(not decision.allowed for decision in expected)
    assert refused > 10 * PATTERNS, "patterns that reach the limit"


heads = st.sampled_from(
    [Rate(1, SECOND_NS), Rate(3, SECOND_NS // 2), Rate(5, 2 * SECOND_NS)]
).flatmap(
    lambda rate: st.one_of(
        st.builds(Head, st.just(HIT), st.just(rate), st.integers(1, rate.limit)),
        st.builds(Head, st.just(HIT), st.just(rate), st.integers(1, rate.limit)),
        st.builds(Head, st.sampled_from([PEEK, CLEAR]), st.just(rate), st.just(1)),
        st.just(Head(RESET, rate, 1)),
    )
)
# A microsecond is the least that the script's clock tells apart; tenths of a window meet its edge.
gaps_ns = st.one_of(st.just(1000), st.integers(1, 12).map(lambda tenths: tenths * SECOND_NS // 10))
steps = st.lists(st.tuples(gaps_ns, heads, st.sampled_from([b"a", b"b"])), max_size=60)


@settings(max_examples=300, deadline=None)
@given(steps=steps)
def test_any_amounts_are_taken_all_or_none_and_clients_cleared_as_a_plain_count_would(
    client, steps
):
    now_ns, arrivals = 1_795_000_000 * 10**9, []
    for gap_ns, head, key in steps:
        now_ns += gap_ns
        arrivals.append(Arrival(now_ns, Check(head, key)))
    expected = decisions_by_counting(arrivals)
    assert decisions_of_sliding_logs(arrivals) == expected
    client.flushdb()
    assert decisions_of_script(client, arrivals) == expected


def test_a_reset_leaves_nobody_uncounted_when_the_clock_is_set_back_after_it(client):
    client.flushdb()
    rate, start_ns = Rate(2, SECOND_NS), 1_795_000_000 * 10**9
    hit, reset = (Check(Head(command, rate, 1), b"a") for command in (HIT, RESET))
    moments = [(0, hit), (1000, hit), (2000, reset), (-9000, hit), (-8000, hit), (-7000, hit)]
    decisions = decisions_of_script_in_order(
        client, [Arrival(start_ns + moment_ns, check) for moment_ns, check in moments]
    )
    assert sum(decision.allowed for decision in decisions[3:]) <= 2


def test_who_keeps_to_the_rule_is_never_refused_by_the_script(client):
    chance = random.Random(2)
    for number, rate in enumerate(RATES * 50):
        moments, now_ns = [], 1_795_000_000 * 10**9
        for _ in range(3 * rate.limit):
            now_ns += microseconds(chance.choice([0, 1000, chance.uniform(0, rate.window_ns)]))
            if len(moments) >= rate.limit:
                now_ns = max(now_ns, moments[-rate.limit] + rate.window_ns)
            moments.append(now_ns)
        check = Check(Head(HIT, rate, 1), f"polite-{number}".encode())
        decisions = decisions_of_script(client, [Arrival(moment, check) for moment in moments])
        assert all(decision.allowed for decision in decisions)


def test_a_redis_clock_that_is_set_back_lets_nobody_in_twice_and_locks_nobody_out(client):
    client.flushdb()
    rate = Rate(2, SECOND_NS)
    start_ns = 1_795_000_000 * 10**9

    def allowed_at(key, *moments_ns):
        check = Check(Head(HIT, rate, 1), key)
        arrivals = [Arrival(start_ns + moment, check) for moment in moments_ns]
        return [decision.allowed for decision in decisions_of_script_in_order(client, arrivals)]

    little, much = SECOND_NS // 10, 1000 * SECOND_NS
    full = allowed_at(b"full", 0, 0, -little, SECOND_NS - little, SECOND_NS)
    assert full == [True, True, False, False, True]
    not_full = allowed_at(b"not full", 0, -little, SECOND_NS - little, SECOND_NS)
    assert not_full == [True, True, False, True]
    assert allowed_at(b"much", 0, 0, -much, -much, -much) == [True, True, True, True, False]


def decisions_of_script_in_order(client, arrivals):
    return [decision for arrival in arrivals for decision in decisions_of_script(client, [arrival])]


# ---------------------------------------------------------------- in real time

WORKERS = 3
SECONDS = 5
LIMIT, WINDOW_NS = 10, 10**9


@pytest.fixture(params=[1, 2], ids=["one host without Redis", "two hosts"])
def hosts(request, start_host, redis_server) -> list[Limiter]:
    url = redis_server.url if request.param == 2 else ""
    return [start_host(url) for _ in range(request.param)]


def run_workers(hosts: list[Limiter]) -> list[dict]:
    command = [sys.executable, "-m", "gevent.monkey", "--module", "tests.support.limit_worker"]
    sockets = [host.socket_path for host in hosts]
    workers = [
        subprocess.Popen(
            [*command, str(SECONDS), str(number), f"{LIMIT}/second", *sockets],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        for number in range(WORKERS)
    ]
    return [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]


def most_in_one_window(intervals: list[list[int]]) -> int:
    """How many certainly fell into one window: each was decided between its question and its
    answer, and both are in it."""
    return max(
        sum(
            begin_ns <= asked_ns and answered_ns < begin_ns + WINDOW_NS
            for asked_ns, answered_ns in intervals
        )
        for begin_ns, _ in intervals
    )


@pytest.mark.alone
def test_no_window_of_real_time_has_more_than_the_limit_and_the_polite_are_never_refused(hosts):
    told = run_workers(hosts)
    assert not any(worker["fallbacks"] for worker in told)
    assert not any(host.client().stats()["shared_fallbacks"] for host in hosts)

    accepted, refused = defaultdict(list), defaultdict(list)
    for worker in told:
        for name, intervals in worker["accepted"].items():
            accepted[name] += intervals
        for name, intervals in worker["refused"].items():
            refused[name] += intervals
    assert len(accepted) > 1000, "clients of all kinds"
    assert len(refused) > 200, "clients that reach the limit"
    for name, intervals in accepted.items():
        assert most_in_one_window(intervals) <= LIMIT, name
    assert [name for name in refused if name.startswith("polite")] == []
    for name in accepted:
        if not name.startswith("bursting"):
            assert len(accepted[name]) >= LIMIT * (SECONDS - 2), f"{name} got what it may have"
