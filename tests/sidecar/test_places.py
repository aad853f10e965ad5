"""Places in a queue: in order, never more than the rate in any window, and told how long.

First on a clock that the tests set, with the queues of a process and with Redis's script; then with
real limiters, on one host and on two.
"""

import os
import signal
import threading
import time
from collections import Counter
from itertools import pairwise

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.servers import Redis
from sidecar.client import LimiterClient
from sidecar.places import MAX_QUEUES, MAX_WAIT_NS, Place, Queues
from sidecar.protocol import (
    PLACE,
    Head,
    ProtocolError,
    decode_head,
    decode_place,
    encode_place,
    encode_place_head,
)
from sidecar.shared_log import Check
from sidecar.sliding_log import Rate
from tests.sidecar.test_limit_exactness import (
    Arrival,
    decisions_of_script,
    decisions_of_script_in_order,
)
from tests.support.sidecars import PATIENCE_S, a_limiter_that
from tests.support.waiting import eventually

START_NS = 1_795_000_000 * 10**9
SECOND_NS = 10**9
RATE = Rate(5, SECOND_NS)
PACE_NS = SECOND_NS // 5
WAIT_NS = 7 * SECOND_NS

# ---------------------------------------------------------------- on a clock that tests set

rates = st.builds(Rate, st.integers(1, 5), st.sampled_from([SECOND_NS, 3 * SECOND_NS]))
gaps = st.lists(
    st.one_of(st.just(0), st.just(1000), st.integers(0, 20).map(lambda n: n * SECOND_NS // 10)),
    max_size=60,
)
waits = st.sampled_from([0, SECOND_NS, WAIT_NS, MAX_WAIT_NS])


@given(rate=rates, gaps=gaps, wait_ns=waits)
def test_places_are_in_order_as_early_as_the_rate_allows_and_no_window_has_too_many(
    rate, gaps, wait_ns
):
    queues, now_ns, places = Queues(), START_NS, []
    for gap_ns in gaps:
        now_ns += gap_ns
        place = queues.take(rate, "a", now_ns, wait_ns)
        earliest_ns = max([now_ns, *places[-1:]])
        if len(places) >= rate.limit:
            earliest_ns = max(earliest_ns, places[-rate.limit] + rate.window_ns)
        assert place.is_taken == (earliest_ns - now_ns <= wait_ns)
        if place.is_taken:
            assert now_ns + place.wait_ns == earliest_ns
            places.append(earliest_ns)
    assert places == sorted(places)
    for first, one_too_many in zip(places, places[rate.limit :], strict=False):
        assert one_too_many - first >= rate.window_ns


def test_who_would_wait_too_long_takes_no_place_and_hears_when_to_come_again():
    queues = Queues()
    waits_ns = [queues.take(RATE, "a", START_NS, SECOND_NS).wait_ns for _ in range(10)]
    assert waits_ns == [0] * 5 + [SECOND_NS] * 5

    for number in range(3):
        place = queues.take(RATE, "a", START_NS, SECOND_NS)
        assert place == Place(False, 2 * SECOND_NS + number * PACE_NS)
    assert queues.take(RATE, "a", START_NS, 2 * SECOND_NS) == Place(True, 2 * SECOND_NS)


def test_those_who_come_again_when_they_were_told_find_no_queue_and_their_order():
    queues, crowd = Queues(), range(200)
    told = [(START_NS + queues.take(RATE, "a", START_NS, WAIT_NS).wait_ns, n) for n in crowd]
    assert [number for _, number in sorted(told)] == list(crowd)
    for moment_ns, number in told[40:]:
        assert queues.take(RATE, "a", moment_ns, 0).is_taken, number
    assert max(told)[0] - START_NS <= 40 * SECOND_NS, "200 at five a second"


def test_nobody_is_told_more_than_the_longest_wait():
    queues = Queues()
    for _ in range(10_000):
        place = queues.take(RATE, "a", START_NS, 0)
    assert place == Place(False, MAX_WAIT_NS)


def test_a_crowd_that_does_not_come_back_leaves_no_place_unused():
    queues = Queues()
    for _ in range(1000):
        queues.take(RATE, "a", START_NS, SECOND_NS)
    assert queues.take(RATE, "a", START_NS + 3 * SECOND_NS, 0) == Place(True, 0)


def test_each_key_and_rate_has_a_queue_of_its_own():
    queues, other = Queues(), Rate(1, SECOND_NS)
    for _ in range(5):
        queues.take(RATE, "a", START_NS, 0)
    assert not queues.take(RATE, "a", START_NS, 0).is_taken
    assert queues.take(RATE, "b", START_NS, 0).is_taken
    assert queues.take(other, "a", START_NS, 0).is_taken
    assert not queues.take(other, "a", START_NS, 0).is_taken


def test_the_queue_used_longest_ago_is_forgotten_when_there_are_too_many():
    queues = Queues()
    for number in range(MAX_QUEUES + 1):
        queues.take(RATE, str(number), START_NS, 0)
    assert len(queues._queues) == MAX_QUEUES
    assert (RATE, "0") not in queues._queues and (RATE, "1") in queues._queues


def test_places_taken_elsewhere_come_before_the_next():
    queues = Queues()
    for number in range(5):
        queues.note(RATE, "a", START_NS + number)
    assert queues.take(RATE, "a", START_NS + 100, WAIT_NS) == Place(True, SECOND_NS - 100)
    assert queues.take(RATE, "a", START_NS + 100, WAIT_NS) == Place(True, SECOND_NS - 99)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    with Redis(folder / "redis", folder / "redis.log") as server:
        yield server


@pytest.fixture(scope="module")
def client(redis_server):
    with redis.Redis(port=redis_server.port) as client:
        yield client


# Redis lets keys die by a clock that the tests do not set, and none may before the test has ended:
# so windows are long. Waits are bounded, and so is how long a queue can get.
script_rates = st.builds(Rate, st.integers(1, 3), st.sampled_from([20 * SECOND_NS, 50 * SECOND_NS]))
script_waits = st.sampled_from([0, 10 * SECOND_NS, MAX_WAIT_NS])


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(st.tuples(gaps, script_rates, script_waits), max_size=4))
def test_the_script_gives_the_places_that_a_queue_of_a_process_gives(client, steps):
    client.flushdb()
    queues, now_ns, arrivals, expected = Queues(), START_NS, [], []
    for some_gaps, rate, wait_ns in steps:
        for gap_ns in some_gaps:
            now_ns += gap_ns // 1000 * 1000
            # In whole microseconds, as Redis's clock has them.
            arrivals.append(Arrival(now_ns, Check(Head(PLACE, rate, wait_ns), b"a")))
            place = queues.take(rate, "a", now_ns, wait_ns)
            expected.append((place.is_taken, place.wait_ns))
    given = [(d.allowed, d.reset_ns) for d in decisions_of_script(client, arrivals)]
    assert [taken for taken, _ in given] == [taken for taken, _ in expected]
    for (_, wait_ns), (_, expected_ns) in zip(given, expected, strict=True):
        assert abs(wait_ns - expected_ns) <= 100_000, "the pace is in whole microseconds"


def test_a_redis_clock_that_is_set_back_gives_no_place_twice_and_keeps_nobody_out(client):
    client.flushdb()

    def places_at(key, *moments_ns):
        check = Check(Head(PLACE, Rate(2, 30 * SECOND_NS), MAX_WAIT_NS), key)
        arrivals = [Arrival(START_NS + moment_ns, check) for moment_ns in moments_ns]
        decisions = decisions_of_script_in_order(client, arrivals)
        return [d.reset_ns // SECOND_NS if d.allowed else None for d in decisions]

    assert places_at(b"little", 0, -SECOND_NS, 0, 0) == [0, 1, 30, 30]
    much = 1000 * SECOND_NS
    assert places_at(b"much", 0, 0, -much, -much, -much) == [0, 0, 0, 0, 30]


# ---------------------------------------------------------------- what is said


@pytest.mark.parametrize("place", [Place(True, 0), Place(False, MAX_WAIT_NS)])
def test_a_place_survives_the_protocol(place):
    assert decode_place(encode_place(place).rstrip()) == place


@pytest.mark.parametrize("wait_ns", [0, 1, MAX_WAIT_NS])
def test_the_question_for_a_place_survives_the_protocol(wait_ns):
    head = encode_place_head(RATE, wait_ns)
    assert decode_head(head.rstrip()) == Head(PLACE, RATE, wait_ns)


@pytest.mark.parametrize("wait_ns", [-1, MAX_WAIT_NS + 1, 0.5])
def test_a_wait_that_the_limiter_would_not_take_is_not_sent(wait_ns):
    with pytest.raises(ValueError, match="not a wait"):
        encode_place_head(RATE, wait_ns)


@pytest.mark.parametrize(
    "head", [b"place 5 1000000000", b"place 5 1000000000 60000000001", b"place 5 1000000000 -1"]
)
def test_a_question_for_a_place_without_a_wait_that_may_be_is_none(head):
    with pytest.raises(ProtocolError):
        decode_head(head)


# ---------------------------------------------------------------- in real time


@pytest.fixture(params=[1, 2], ids=["one host without Redis", "two hosts"])
def clients(request, start_host, redis_server):
    """Two workers, of one host or of two."""
    hosts = [start_host(redis_server.url if request.param == 2 else "") for _ in range(2)]
    clients = [hosts[number % request.param].client() for number in range(2)]
    if request.param == 2:
        for client in clients:
            eventually(lambda client=client: client.stats().get("shared"), "the shared log")
    return clients


def test_callers_of_all_processes_get_one_queue(clients):
    """A place is somewhere between question plus wait and answer plus wait."""
    key, rate, callers = f"queue-{time.monotonic_ns()}", Rate(10, SECOND_NS), 60
    spans, barrier = [], threading.Barrier(callers)

    def ask(number):
        barrier.wait()
        asked_ns = time.monotonic_ns()
        place = clients[number % 2].take_place(key, rate, MAX_WAIT_NS)
        assert place.is_taken
        spans.append((asked_ns + place.wait_ns, time.monotonic_ns() + place.wait_ns))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(spans) == callers
    for begin_ns, _ in spans:
        inside = sum(begin_ns <= a and b < begin_ns + rate.window_ns for a, b in spans)
        assert inside <= rate.limit
    first_ns = min(begin_ns for begin_ns, _ in spans)
    rounds = Counter(round((begin_ns - first_ns) / rate.window_ns) for begin_ns, _ in spans)
    assert rounds == dict.fromkeys(range(6), 10), "and no place is left out"
    assert [client.fallbacks for client in clients] == [0, 0]


def test_who_asks_first_is_first(clients):
    key, rate = f"queue-{time.monotonic_ns()}", Rate(1, SECOND_NS)
    moments_ns = []
    for number in range(10):
        place = clients[number % 2].take_place(key, rate, MAX_WAIT_NS)
        moments_ns.append(time.monotonic_ns() + place.wait_ns)
    gaps_ns = [later - earlier for earlier, later in pairwise(moments_ns)]
    assert min(gaps_ns) > 0.5 * rate.window_ns
    refused = clients[0].take_place(key, rate, SECOND_NS)
    assert not refused.is_taken
    assert refused.wait_ns > SECOND_NS
    assert clients[1].take_place(key, rate, SECOND_NS).wait_ns > refused.wait_ns


def test_requests_and_places_of_one_key_are_counted_apart(clients):
    key, rate = f"queue-{time.monotonic_ns()}", Rate(1, 3600 * SECOND_NS)
    assert clients[0].take_place(key, rate, 0).is_taken
    assert clients[1].check(key, rate).allowed
    clients[1].clear(key, rate)
    clients[1].reset()
    assert not clients[1].take_place(key, rate, 0).is_taken, "a queue is not forgotten"
    assert clients[0].check(key, rate).allowed


def test_without_its_limiter_a_process_goes_on_with_a_queue_of_its_own(start_host, caplog):
    host = start_host("")
    client, rate = host.client(timeout_s=1), Rate(1, 20 * SECOND_NS)
    caplog.clear()
    assert client.take_place("a", rate, MAX_WAIT_NS).wait_ns == 0
    os.kill(host.process.pid, signal.SIGSTOP)
    alone = client.take_place("a", rate, MAX_WAIT_NS)
    assert alone.is_taken
    assert 15 * SECOND_NS < alone.wait_ns <= 20 * SECOND_NS, "it knows of the place before"
    assert not client.take_place("a", rate, 25 * SECOND_NS).is_taken
    assert (client.fallbacks, client.answers) == (2, False)
    os.kill(host.process.pid, signal.SIGCONT)
    eventually(lambda: client.take_place("b", rate, 0) and client.answers, "the limiter's return")
    assert len(caplog.messages) == 2


def test_a_limiter_of_an_earlier_release_costs_no_more_than_one_that_is_gone():
    with a_limiter_that(lambda key: b"") as path:
        client, rate = LimiterClient(path, timeout_s=PATIENCE_S), Rate(2, 20 * SECOND_NS)
        places = [client.take_place("a", rate, SECOND_NS) for _ in range(3)]
    assert [place.is_taken for place in places] == [True, True, False]
    assert client.fallbacks == 3


def test_without_the_shared_log_a_host_goes_on_with_a_queue_of_its_own(
    start_host, redis_server, client
):
    worker = start_host(redis_server.url).client()
    eventually(lambda: worker.stats().get("shared"), "the shared log")
    key, rate = f"queue-{time.monotonic_ns()}", Rate(1, 20 * SECOND_NS)
    assert worker.take_place(key, rate, 0).is_taken
    redis_server.hang()
    try:
        alone = worker.take_place(key, rate, MAX_WAIT_NS)
    finally:
        redis_server.resume()
    assert alone.is_taken
    assert 10 * SECOND_NS < alone.wait_ns <= 20 * SECOND_NS, "it knows of the place before"
    assert worker.fallbacks == 0
