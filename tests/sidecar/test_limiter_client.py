"""What asks the limiter, with real limiters and with some that misbehave."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from sidecar.client import REMEMBERED_NS, LimiterClient
from sidecar.protocol import MAX_KEY_BYTES
from sidecar.sliding_log import MAX_RATES, Decision, Rate
from tests.support.processes import is_alive
from tests.support.sidecars import LIMIT, PATIENCE_S, RATE, ROOT, a_limiter_that, python, run
from tests.support.waiting import eventually

ALLOWED = b"allowed 7 1\n"


def ask_at_once(client: LimiterClient, keys: list[str]) -> list[Decision]:
    """A thread each."""
    decisions = []
    barrier = threading.Barrier(len(keys))

    def ask(key):
        barrier.wait()
        decisions.append(client.check(key, RATE))

    threads = [threading.Thread(target=ask, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return decisions


def test_many_threads_of_one_client_get_exactly_the_limit(ready):
    client = ready.client(timeout_s=PATIENCE_S)
    decisions = ask_at_once(client, ["one"] * 100)
    assert sum(decision.allowed for decision in decisions) == LIMIT
    assert client.fallbacks == 0


def test_threads_get_the_answers_to_their_own_questions():
    def say_who_asked(key):
        return Decision(True, int(key), 1)

    with a_limiter_that(say_who_asked) as path:
        client = LimiterClient(path, timeout_s=PATIENCE_S)
        wrong = []

        def ask(first):
            for number in range(first, first + 200):
                if client.check(str(number), RATE).remaining != number:
                    wrong.append(number)

        threads = [threading.Thread(target=ask, args=(1000 * n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert client.fallbacks == 0


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import json, os, sys, time
import gevent
from sidecar.client import REMEMBERED_NS, LimiterClient
from sidecar.sliding_log import Rate
RATE = Rate(10, 3600 * 10**9)
client = LimiterClient(os.environ["LIMITER_SOCKET"], timeout_s=5)
"""


def greenlets(code: str, environ: dict[str, str]) -> object:
    """What a gevent worker beside a limiter prints, as JSON."""
    ended = run(python(GREENLETS + code), environ)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.stack
def test_two_thousand_greenlets_with_work_between_get_exactly_the_limit_and_no_fallback(environ):
    burst = """
def ask(key):
    sum(range(1000))
    decision = client.check(key, RATE)
    sum(range(1000))
    return decision.allowed
asked = [gevent.spawn(ask, "one") for _ in range(2000)]
asked += [gevent.spawn(ask, f"other-{n}") for n in range(200)]
gevent.joinall(asked)
allowed = [greenlet.value for greenlet in asked]
print(json.dumps([sum(allowed[:2000]), sum(allowed[2000:]), client.fallbacks]))
"""
    assert greenlets(burst, environ) == [LIMIT, 200, 0]


def test_more_questions_than_a_socket_holds_are_all_answered(ready):
    client = ready.client(timeout_s=PATIENCE_S)
    client.check("first", RATE)
    limiter = ready.child(limiter=True)
    os.kill(limiter, signal.SIGSTOP)
    threading.Timer(1, os.kill, (limiter, signal.SIGCONT)).start()
    decisions = ask_at_once(client, [f"client-{n}-" + "x" * 100 for n in range(800)])
    assert sum(decision.allowed for decision in decisions) == 800
    assert client.fallbacks == 0


@pytest.mark.stack
def test_an_answer_that_came_while_the_process_was_busy_counts():
    def answer_late(_):
        time.sleep(0.005)
        return ALLOWED

    code = """
from gevent import monkey; monkey.patch_all()
import sys, time
import gevent
from sidecar.client import REMEMBERED_NS, LimiterClient
from sidecar.sliding_log import Rate
client = LimiterClient("\\0" + sys.argv[1], timeout_s=0.5)
def be_busy():
    end = time.monotonic() + 0.8
    while time.monotonic() < end:
        pass
client.check("one", Rate(10, 10**9))
asked = [gevent.spawn(client.check, "one", Rate(10, 10**9)) for _ in range(2)]
gevent.spawn(be_busy)
print(*[greenlet.get().remaining for greenlet in asked], client.fallbacks)
"""
    with a_limiter_that(answer_late) as path:
        answer = subprocess.check_output([*python(code), path[1:]], cwd=ROOT, text=True)
    assert answer.split() == ["7", "7", "0"]


@pytest.mark.stack
def test_killed_greenlets_shift_no_answer_to_another(environ):
    killing = """
import random
random.seed(1)
client.check("one", RATE)
wrong = 0
for round in range(100):
    asked = [gevent.spawn(client.check, f"{round}-{n}", Rate(n + 1, 10**9)) for n in range(14)]
    gevent.sleep(0)
    if random.random() < 0.5:
        gevent.sleep(0)
    gevent.killall(random.sample(asked, 7), block=False)
    gevent.joinall(asked)
    for n, greenlet in enumerate(asked):
        if isinstance(greenlet.value, tuple) and greenlet.value.remaining != n:
            wrong += 1
print(json.dumps([wrong, client.check("one", RATE).remaining, client.fallbacks]))
"""
    assert greenlets(killing, environ) == [0, LIMIT - 2, 0]


def test_while_the_limiter_is_gone_the_worker_counts_and_then_returns_to_it(ready, caplog):
    client = ready.client(timeout_s=1)
    assert client.check("a", RATE).remaining == LIMIT - 1

    limiter = ready.child(limiter=True)
    os.kill(limiter, signal.SIGSTOP)
    local = [client.check("b", RATE).allowed for _ in range(LIMIT + 5)]
    assert local == [True] * LIMIT + [False] * 5
    assert not client.answers
    assert client.fallbacks == LIMIT + 5
    os.kill(limiter, signal.SIGKILL)

    def asks_again():
        client.check("c", RATE)
        return client.answers

    eventually(asks_again, "the return to the limiter")
    assert ready.child(limiter=True) != limiter
    fallbacks = client.fallbacks
    assert client.check("d", RATE).remaining == LIMIT - 1
    assert client.fallbacks == fallbacks
    assert len(caplog.messages) == 2


def test_the_worker_knows_what_the_limiter_had_accepted_for_it(ready):
    client = ready.client(timeout_s=1)
    for _ in range(LIMIT - 1):
        assert client.check("a", RATE).allowed
    os.kill(ready.child(limiter=True), signal.SIGSTOP)
    assert [client.check("a", RATE).allowed for _ in range(2)] == [True, False]
    assert client.peek("a", RATE).remaining == 0
    assert client.fallbacks == 3


def test_without_an_answer_there_are_no_statistics(ready):
    client = ready.client(timeout_s=1)
    assert client.stats()["clients"] == 0
    os.kill(ready.child(limiter=True), signal.SIGSTOP)
    assert client.stats() == {}
    assert not client.answers


def test_a_connection_from_before_a_restart_costs_no_fallback(ready):
    client = ready.client()
    client.check("a", RATE)
    limiter = ready.child(limiter=True)
    os.kill(limiter, signal.SIGKILL)
    eventually(lambda: not is_alive(limiter), "the end of the limiter")
    other = ready.client()
    eventually(
        lambda: other.check("b", RATE) and other.answers and other.fallbacks, "a new limiter"
    )
    assert client.check("a", RATE).allowed
    assert client.fallbacks == 0


def test_a_question_that_a_restart_cut_off_is_asked_again():
    lives = []

    def die_at_the_second_question(key):
        lives.append(key)
        return b"" if lives == [b"a", b"b"] else ALLOWED

    with a_limiter_that(die_at_the_second_question) as path:
        client = LimiterClient(path, timeout_s=PATIENCE_S)
        client.check("a", RATE)
        assert client.check("b", RATE).remaining == 7
    assert lives == [b"a", b"b", b"b"]
    assert client.fallbacks == 0


def test_a_limiter_that_closes_every_connection_is_asked_twice_and_then_not_any_more():
    asked = []
    with a_limiter_that(lambda key: asked.append(key) or b"") as path:
        client = LimiterClient(path, timeout_s=PATIENCE_S)
        for _ in range(3):
            assert client.check("a", RATE).allowed
    assert asked == [b"a", b"a"]
    assert client.fallbacks == 3


def test_a_limiter_that_hangs_delays_few_requests(ready):
    client = ready.client(timeout_s=1)
    client.check("a", RATE)
    limiter = ready.child(limiter=True)
    os.kill(limiter, signal.SIGSTOP)
    began = time.monotonic()
    for number in range(100):
        client.check(f"client-{number}", RATE)
    took_s = time.monotonic() - began
    os.kill(limiter, signal.SIGCONT)
    assert 1 <= took_s < 30, "not the time-out of each"
    assert client.fallbacks == 100


def test_all_who_wait_for_a_limiter_that_hangs_decide_at_the_same_time(ready):
    client = ready.client(timeout_s=3)
    client.check("a", RATE)
    os.kill(ready.child(limiter=True), signal.SIGSTOP)
    late = threading.Timer(2.4, ask_at_once, (client, ["late"]))
    late.start()
    began = time.monotonic()
    ask_at_once(client, [f"client-{n}" for n in range(80)])
    late.join()
    assert time.monotonic() - began < 5, "one time-out for all, also who came late"
    assert client.fallbacks == 81


def test_all_callers_share_one_connection(ready):
    def sockets() -> int:
        time.sleep(0.01)
        fds = Path(f"/proc/{ready.child(limiter=True)}/fd")
        return sum(str(fd.readlink()).startswith("socket:") for fd in fds.iterdir())

    before = min(sockets() for _ in range(20))  # without the supervisor's own
    client = ready.client(timeout_s=PATIENCE_S)
    ask_at_once(client, [f"client-{n}" for n in range(50)])
    ask_at_once(client, [f"client-{n}" for n in range(50)])
    eventually(lambda: sockets() == before + 1, "only one connection, but for the supervisor's")
    client.close()
    eventually(lambda: sockets() == before, "the end of the connection")
    assert client.check("client-0", RATE).remaining == LIMIT - 3
    assert client.fallbacks == 0


def test_a_late_answer_is_never_taken_for_that_of_a_later_question(ready):
    client = ready.client(timeout_s=1)
    client.check("a", RATE)
    limiter = ready.child(limiter=True)
    os.kill(limiter, signal.SIGSTOP)
    client.check("a", RATE)
    os.kill(limiter, signal.SIGCONT)
    time.sleep(0.2)
    assert client.check("b", RATE).remaining == LIMIT - 1
    assert client.fallbacks == 1


def test_a_denial_is_remembered_until_it_ends_and_for_its_rate_only():
    rate, other = Rate(10, 2 * 10**9), Rate(1, 2 * 10**9)
    asked = []
    with a_limiter_that(
        lambda key: asked.append(key) or Decision(False, 0, rate.window_ns)
    ) as path:
        client = LimiterClient(path, timeout_s=PATIENCE_S)
        first = client.check("a", rate)
        again = client.check("a", rate)
        assert not again.allowed
        assert 0 < again.reset_ns < first.reset_ns
        assert not client.peek("a", rate).allowed
        assert asked == [b"a"]
        client.check("a", other)
        assert asked == [b"a"] * 2
        time.sleep(rate.window_ns / 1e9)
        client.check("a", rate)
    assert asked == [b"a"] * 3


def test_only_the_latest_denials_are_remembered(monkeypatch):
    monkeypatch.setattr("sidecar.client.MAX_REMEMBERED_DENIALS", 2)
    asked = []
    with a_limiter_that(
        lambda key: asked.append(key) or Decision(False, 0, RATE.window_ns)
    ) as path:
        client = LimiterClient(path, timeout_s=PATIENCE_S)
        for key in ("a", "b", "c", "c", "b", "a"):
            assert not client.check(key, RATE).allowed
    assert asked == [b"a", b"b", b"c", b"a"]


def test_a_denial_of_an_amount_is_remembered_for_that_amount_only():
    asked = []
    with a_limiter_that(lambda key: asked.append(key) or Decision(False, 2, 10**9)) as path:
        client = LimiterClient(path, timeout_s=PATIENCE_S)
        for amount in (3, 3, 4, 3, 4):
            denied = client.check("a", RATE, amount)
            assert (denied.allowed, denied.remaining) == (False, 2)
        assert len(asked) == 2
        client.check("a", RATE)
        assert len(asked) == 3, "one request may be accepted where three are not"


def test_a_denial_of_an_hour_is_remembered_for_a_second(ready):
    one, other = ready.client(), ready.client()
    assert one.check("a", RATE, LIMIT).allowed
    assert not other.check("a", RATE).allowed and not other.check("a", RATE, 2).allowed
    one.clear("a", RATE)
    assert one.check("a", RATE).allowed
    assert not other.check("a", RATE).allowed, "this worker does not know yet"
    time.sleep(REMEMBERED_NS / 1e9)
    assert other.check("a", RATE).allowed
    assert other.check("a", RATE, 2).allowed


def test_without_a_limiter_amounts_are_counted_and_clients_cleared_in_this_worker(caplog):
    client = LimiterClient("")
    assert client.check("a", RATE, LIMIT - 1).allowed
    assert not client.check("a", RATE, 2).allowed
    for forget in (lambda: client.clear("a", RATE), client.reset):
        with pytest.raises(ConnectionError, match="only this process has forgotten"):
            forget()
        assert client.check("a", RATE, LIMIT).allowed


@pytest.mark.parametrize(
    "answer", [b"yes\n", b"allowed 1 2\nallowed 1 2\n", b"x" * 100, b"x" * 1000]
)
def test_an_answer_that_makes_no_sense_is_no_answer(answer):
    with a_limiter_that(lambda key: answer) as path:
        client = LimiterClient(path)
        assert client.check("a", RATE).remaining == LIMIT - 1
        assert client.fallbacks == 1
        assert not client.answers


def test_a_client_without_a_limiter_counts_by_itself_each_rate_for_itself():
    client = LimiterClient("")
    assert [client.check("a", RATE).allowed for _ in range(LIMIT + 1)] == [True] * LIMIT + [False]
    assert client.peek("a", Rate(1, 10**9)) == Decision(True, 1, 0)
    assert client.check("a", Rate(1, 10**9)).allowed
    assert client.stats() == {}


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "ä", "x" * (MAX_KEY_BYTES + 1)])
def test_what_could_break_the_protocol_is_no_key(key):
    with pytest.raises(ValueError, match="not a client key"):
        LimiterClient("").check(key, RATE)


def test_one_rate_more_than_there_is_room_for_is_refused():
    client = LimiterClient("")
    for limit in range(1, MAX_RATES + 1):
        client.check("a", Rate(limit, 10**9))
    with pytest.raises(ValueError, match="rates"):
        client.check("a", RATE)
