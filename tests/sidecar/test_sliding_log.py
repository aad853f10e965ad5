"""The rule: never more than the limit in any window, and no refusal of a client that keeps the
limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.sliding_log import MAX_RATES, Decision, Rate, SlidingLog, SlidingLogs, TooManyRates

WINDOW_NS = 100
"""Small, so that random arrivals often meet its boundary; to the log a unit is a unit."""

START_NS = 1_000

limits = st.integers(1, 5)
gaps = st.lists(st.one_of(st.integers(0, 5), st.integers(0, 2 * WINDOW_NS)), max_size=120)


def moments_of(gaps: list[int]) -> list[int]:
    moments, now_ns = [], START_NS
    for gap in gaps:
        now_ns += gap
        moments.append(now_ns)
    return moments


@given(limit=limits, gaps=gaps, names=st.lists(st.sampled_from("abc"), min_size=120, max_size=120))
def test_no_window_has_more_accepted_requests_of_a_client_than_the_limit(limit, gaps, names):
    log = SlidingLog(Rate(limit, WINDOW_NS), max_clients=3)
    accepted = {name: [] for name in "abc"}
    for name, now_ns in zip(names, moments_of(gaps), strict=False):
        if log.decide(name, now_ns).allowed:
            accepted[name].append(now_ns)
    for moments in accepted.values():
        for first, one_too_many in zip(moments, moments[limit:], strict=False):
            assert one_too_many - first >= WINDOW_NS


@given(limit=limits, gaps=gaps)
def test_a_client_that_keeps_the_rule_is_never_refused(limit, gaps):
    log = SlidingLog(Rate(limit, WINDOW_NS), max_clients=1)
    moments, now_ns = [], START_NS
    for gap in gaps:
        now_ns += gap
        if len(moments) >= limit:
            now_ns = max(now_ns, moments[-limit] + WINDOW_NS)
        moments.append(now_ns)
        assert log.decide("a", now_ns).allowed


@given(limit=limits, gaps=gaps)
def test_every_decision_is_that_of_counting_all_requests_again(limit, gaps):
    log = SlidingLog(Rate(limit, WINDOW_NS), max_clients=1)
    accepted = []
    for now_ns in moments_of(gaps):
        recent = [moment for moment in accepted if now_ns - WINDOW_NS < moment <= now_ns]
        allowed = len(recent) < limit
        if allowed:
            accepted.append(now_ns)
            recent.append(now_ns)
        expected = Decision(allowed, limit - len(recent), recent[0] + WINDOW_NS - now_ns)
        assert log.decide("a", now_ns) == expected


@given(limit=limits, gaps=gaps)
def test_a_refused_client_is_accepted_exactly_when_it_was_told(limit, gaps):
    for wait_less_ns in (1, 0):
        log = SlidingLog(Rate(limit, WINDOW_NS), max_clients=1)
        for now_ns in moments_of(gaps):
            decision = log.decide("a", now_ns)
            if not decision.allowed:
                again_ns = now_ns + decision.reset_ns - wait_less_ns
                assert log.decide("a", again_ns).allowed == (wait_less_ns == 0)
                break


def test_the_window_is_half_open():
    log = SlidingLog(Rate(1, WINDOW_NS), max_clients=1)
    assert log.decide("a", START_NS).allowed
    assert not log.decide("a", START_NS + WINDOW_NS - 1).allowed
    assert log.decide("a", START_NS + WINDOW_NS).allowed


def test_refused_requests_postpone_nothing():
    log = SlidingLog(Rate(2, WINDOW_NS), max_clients=1)
    verdicts = [log.decide("a", START_NS + step).allowed for step in range(WINDOW_NS + 1)]
    assert [step for step, allowed in enumerate(verdicts) if allowed] == [0, 1, WINDOW_NS]


def test_idle_clients_are_forgotten_as_others_come():
    log = SlidingLog(Rate(2, WINDOW_NS), max_clients=1_000)
    for number in range(100):
        log.decide(f"idle-{number}", START_NS)
    for step in range(100):
        log.decide("busy", START_NS + WINDOW_NS + step)
    assert len(log) == 1
    assert log.forgotten_early == 0


def test_a_client_is_forgotten_when_its_last_request_leaves_the_window_and_no_sooner():
    log = SlidingLog(Rate(2, WINDOW_NS), max_clients=1_000)
    log.decide("a", START_NS)
    log.decide("b", START_NS + WINDOW_NS - 1)
    assert len(log) == 2
    log.decide("b", START_NS + WINDOW_NS)
    assert len(log) == 1


def test_any_number_of_addresses_takes_no_more_memory_than_the_bound():
    log = SlidingLog(Rate(2, WINDOW_NS), max_clients=50)
    for number in range(10_000):
        assert log.decide(f"attacker-{number}", START_NS).allowed
        assert len(log) <= 50
    assert log.forgotten_early == 10_000 - 50


def test_when_too_many_are_active_the_one_accepted_longest_ago_is_forgotten():
    log = SlidingLog(Rate(2, WINDOW_NS), max_clients=2)
    log.decide("a", START_NS)
    log.decide("b", START_NS + 1)
    log.decide("a", START_NS + 2)
    log.decide("c", START_NS + 3)
    assert not log.decide("a", START_NS + 4).allowed
    assert log.decide("b", START_NS + 5).remaining == 1


def test_whole_seconds_are_never_too_early():
    assert Decision(False, 0, 1).reset_s == 1
    assert Decision(False, 0, 10**9).reset_s == 1
    assert Decision(False, 0, 10**9 + 1).reset_s == 2


@given(limit=limits, gaps=gaps)
def test_a_peek_tells_how_many_would_be_accepted_and_changes_nothing(limit, gaps):
    log = SlidingLog(Rate(limit, WINDOW_NS), max_clients=1)
    unpeeked = SlidingLog(Rate(limit, WINDOW_NS), max_clients=1)
    for number, now_ns in enumerate(moments_of(gaps)):
        peeked = log.peek("a", now_ns)
        if number % 3:
            continue
        decision = log.decide("a", now_ns)
        assert decision == unpeeked.decide("a", now_ns)
        assert peeked.allowed == decision.allowed
        if decision.allowed:
            assert peeked.remaining == decision.remaining + 1
            assert peeked.reset_ns == (0 if decision.remaining + 1 == limit else decision.reset_ns)
        else:
            assert peeked == decision


def test_clients_that_are_only_peeked_at_take_no_memory():
    log = SlidingLog(Rate(2, WINDOW_NS), max_clients=10)
    for number in range(100):
        assert log.peek(f"client-{number}", START_NS) == Decision(True, 2, 0)
    assert len(log) == 0


def test_a_client_that_was_peeked_at_when_idle_is_forgotten():
    log = SlidingLog(Rate(2, WINDOW_NS), max_clients=10)
    for name in "abcd":
        log.decide(name, START_NS)
    log.peek("d", START_NS + WINDOW_NS)
    log.peek("d", START_NS + WINDOW_NS)
    assert len(log) == 0


def test_what_others_accepted_is_noted_even_beyond_the_limit():
    log = SlidingLog(Rate(2, WINDOW_NS), max_clients=10)
    for step in range(3):
        log.note("a", START_NS + step)
    refused = log.decide("a", START_NS + 3)
    assert refused == Decision(False, 0, WINDOW_NS - 2), "the first has made room for the third"


def test_each_rate_has_a_log_of_its_own_and_there_are_so_many():
    logs = SlidingLogs(max_clients=1)
    rates = [Rate(limit, WINDOW_NS) for limit in range(1, MAX_RATES + 1)]
    for rate in rates:
        assert logs.of(rate).decide("a", START_NS).remaining == rate.limit - 1
        logs.of(rate).decide("b", START_NS)
    assert logs.of(rates[0]) is logs.of(rates[0])
    assert (logs.clients, logs.forgotten_early) == (MAX_RATES, MAX_RATES)
    with pytest.raises(TooManyRates):
        logs.of(Rate(1, WINDOW_NS + 1))
