"""Two limits of one request, asked for in one round trip."""

import random
import re
import threading
import time
from collections import Counter

import pytest

from sidecar import client as client_module
from sidecar.client import LimiterClient
from sidecar.protocol import JOINER, ProtocolError, decode_answers, encode_answer
from sidecar.sliding_log import Decision, Rate
from tests.support.processes import is_alive
from tests.support.sidecars import LIMIT, PATIENCE_S, RATE, WAIT, a_limiter_told
from tests.support.waiting import eventually

FEW = Rate(3, RATE.window_ns)

ALLOWED, DENIED = b"allowed 7 1000000000", b"denied 0 1000000000"


def both(*answers: bytes) -> bytes:
    return JOINER.join(answers) + b"\n"


@pytest.fixture(params=[False, True], ids=["one host", "hosts that share"])
def host(request, start_host, redis_server, redis_client):
    for key in redis_client.scan_iter("*{limiter}*"):
        redis_client.delete(key)
    host = start_host(redis_server.url if request.param else "")
    assert host.client().stats()["shared"] == request.param
    return host


def test_a_request_counts_for_both_limits(host):
    client = host.client()
    first, second = client.check_both("ada", RATE, "ada/payments", FEW)
    assert (first.allowed, first.remaining) == (True, LIMIT - 1)
    assert (second.allowed, second.remaining) == (True, FEW.limit - 1)
    assert client.peek("ada", RATE).remaining == LIMIT - 1
    assert client.peek("ada/payments", FEW).remaining == FEW.limit - 1
    assert client.fallbacks == 0


def test_what_the_first_limit_refuses_does_not_count_for_the_second(host):
    host.client().check("ada", RATE, LIMIT)
    for client in (host.client(), host.client()):
        first, second = client.check_both("ada", RATE, "ada/payments", FEW)
        assert (first.allowed, first.remaining, second) == (False, 0, None)
        assert 0 < first.reset_ns <= RATE.window_ns
        assert client.check_both("ada", RATE, "ada/payments", FEW)[1] is None, "it remembers"
    assert client.peek("ada/payments", FEW).remaining == FEW.limit


def test_what_only_the_second_limit_refuses_has_counted_for_the_first(host):
    host.client().check("ada/payments", FEW, FEW.limit)
    client = host.client()
    for asked in (1, 2):  # the second time it remembers the denial
        first, second = client.check_both("ada", RATE, "ada/payments", FEW)
        assert (first.allowed, first.remaining) == (True, LIMIT - asked)
        assert (second.allowed, second.remaining) == (False, 0)
        assert 0 < second.reset_ns <= FEW.window_ns
    assert client.fallbacks == 0


def test_any_order_of_questions_is_decided_as_one_after_the_other_would_be(host):
    """Many clients at both limits, on two connections. The windows outlast the test."""
    chance = random.Random(1)
    counted = Counter()
    clients = [host.client() for _ in range(2)]
    outcomes = Counter()
    for _ in range(600):
        name, rate = f"client-{chance.randrange(20)}", chance.choice([RATE, FEW])
        then_name, then_rate = f"{name}/then", chance.choice([RATE, FEW])
        first, second = chance.choice(clients).check_both(name, rate, then_name, then_rate)
        expected = counted[name, rate] < rate.limit
        counted[name, rate] += expected
        then_expected = None
        if expected:
            then_expected = counted[then_name, then_rate] < then_rate.limit
            counted[then_name, then_rate] += then_expected
        assert first.allowed == expected
        assert (second.allowed if second else None) == then_expected
        outcomes[expected, then_expected] += 1
    assert min(outcomes[key] for key in [(True, True), (True, False), (False, None)]) > 30


def test_a_burst_gets_exactly_both_limits(host):
    clients = [host.client() for _ in range(2)]
    decisions = []

    def ask(client: LimiterClient) -> None:
        decisions.append(client.check_both("ada", RATE, "ada/payments", FEW))

    threads = [threading.Thread(target=ask, args=(clients[n % 2],)) for n in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(first.allowed for first, _ in decisions) == LIMIT
    assert sum(bool(second and second.allowed) for _, second in decisions) == FEW.limit
    assert sum(second is not None for _, second in decisions) == LIMIT
    assert [client.fallbacks for client in clients] == [0, 0]


def test_both_limits_take_one_question():
    asked = []
    with a_limiter_told(lambda line: asked.append(line) or both(ALLOWED, ALLOWED)) as path:
        LimiterClient(path, timeout_s=PATIENCE_S).check_both("ada", RATE, "ada/payments", FEW)
    assert len(asked) == 1


def test_without_a_limiter_both_are_counted_in_this_process():
    client = LimiterClient("")
    decisions = [client.check_both("ada", RATE, "ada/payments", FEW) for _ in range(LIMIT + 1)]
    assert [first.allowed for first, _ in decisions] == [True] * LIMIT + [False]
    assert [bool(second and second.allowed) for _, second in decisions] == [
        *[True] * FEW.limit,
        *[False] * (LIMIT + 1 - FEW.limit),
    ]
    assert decisions[-1][1] is None


def test_a_limiter_that_is_lost_leaves_both_limits_as_they_were(start):
    sidecar = start(WAIT)  # which ends with its sidecar
    assert sidecar.child(limiter=False), "started when the limiter answers"
    limiter = sidecar.child(limiter=True)
    client = sidecar.client(timeout_s=1)
    for _ in range(FEW.limit):
        client.check_both("ada", RATE, "ada/payments", FEW)
    sidecar.process.kill()
    eventually(lambda: not is_alive(limiter), "the end of its limiter")
    first, second = client.check_both("ada", RATE, "ada/payments", FEW)
    assert (first.remaining, second.allowed) == (LIMIT - FEW.limit - 1, False)


def test_a_limiter_of_an_earlier_release_is_asked_one_by_one_and_nobody_goes_unlimited():
    """It closes the connection at a question that it does not know. A worker that counted for
    itself after that would let each client have its limit once more."""
    asked = []

    def answer(line: bytes) -> bytes:
        asked.append(line)
        if JOINER in line:
            return b""
        return both(DENIED if line.endswith(b"payments") else ALLOWED)

    with a_limiter_told(answer) as path:
        client = LimiterClient(path, timeout_s=PATIENCE_S)
        for _ in range(3):
            first, second = client.check_both("ada", RATE, "ada/payments", FEW)
            assert (first.allowed, first.remaining) == (True, 7), "its answer"
            assert not second.allowed
    assert [JOINER in line for line in asked[:3]] == [True, False, False]
    assert not any(JOINER in line for line in asked[1:])
    assert client.fallbacks == 0


def test_after_a_while_they_are_joined_again(monkeypatch):
    monkeypatch.setattr(client_module, "JOIN_PAUSE_NS", 50_000_000)
    joined = []

    def answer(line: bytes) -> bytes:
        if JOINER not in line:
            return both(ALLOWED)
        joined.append(line)
        return both(ALLOWED, ALLOWED) if len(joined) > 1 else b""

    with a_limiter_told(answer) as path:
        client = LimiterClient(path, timeout_s=PATIENCE_S)
        client.check_both("ada", RATE, "ada/payments", FEW)
        assert len(joined) == 1
        time.sleep(client_module.JOIN_PAUSE_NS / 1e9)
        client.check_both("ada", RATE, "ada/payments", FEW)
    assert len(joined) == 2
    assert client.fallbacks == 0


@pytest.mark.parametrize("then", [None, Decision(True, 9_999, 10**15), Decision(False, 0, 1)])
def test_both_answers_survive_the_protocol(then):
    first = Decision(then is not None, 3, 7)
    line = encode_answer(first).rstrip()
    if then:
        line += JOINER + encode_answer(then).rstrip()
    assert decode_answers(line) == (first, then)


@pytest.mark.parametrize(
    "line",
    [
        ALLOWED,
        DENIED + JOINER + ALLOWED,
        ALLOWED + JOINER,
        ALLOWED + JOINER + b"yes",
        ALLOWED + JOINER + ALLOWED + JOINER + ALLOWED,
        JOINER + ALLOWED,
        b"",
    ],
)
def test_what_is_no_answer_to_two_hits_is_not_taken_for_one(line):
    with pytest.raises(ProtocolError, match=re.escape("not an answer")):
        decode_answers(line)
