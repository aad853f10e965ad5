"""Calls that are sent together: each gets its own outcome, whatever happens to the others."""

import json
import threading

import pytest

from tests.support.sidecars import python, run
from tests.support.waiting import eventually
from web.utils.group_commit import GroupCommit

PATIENCE_S = 10


class Counter:
    """Receives the groups: ``send`` waits for ``let_go``, then doubles each item."""

    def __init__(self):
        self.groups: list[list[int]] = []
        self.let_go = threading.Event()
        self.calls = GroupCommit(self.send, most=4)
        self.outcomes: dict[int, object] = {}
        self._threads: list[threading.Thread] = []

    def send(self, items):
        self.groups.append(items)
        assert self.let_go.wait(PATIENCE_S)
        return [2 * item for item in items]

    def start(self, *items):
        """Calls in threads of their own, one after the other."""
        for item in items:
            before = len(self.calls._waiting) + len(self.groups)
            thread = threading.Thread(target=self._call, args=(item,))
            thread.start()
            self._threads.append(thread)
            eventually(
                lambda before=before: len(self.calls._waiting) + len(self.groups) > before,
                "a call that is sent, or waits for that",
            )

    def end(self):
        self.let_go.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        return self.outcomes

    def _call(self, item):
        try:
            self.outcomes[item] = self.calls.call(item)
        except Exception as error:
            self.outcomes[item] = error


@pytest.fixture
def counter():
    counter = Counter()
    yield counter
    counter.end()


def test_a_call_that_is_alone_waits_for_nobody(counter):
    counter.let_go.set()
    assert [counter.calls.call(1), counter.calls.call(2)] == [2, 4]
    assert counter.groups == [[1], [2]]


def test_those_that_come_meanwhile_go_out_together_and_each_gets_its_own_outcome(counter):
    counter.start(1, 2, 3, 4)
    assert counter.end() == {1: 2, 2: 4, 3: 6, 4: 8}
    assert counter.groups == [[1], [2, 3, 4]]


def test_a_group_has_its_most_and_nobody_is_overtaken(counter):
    counter.start(*range(1, 11))
    assert len(counter.end()) == 10
    assert counter.groups == [[1], [2, 3, 4, 5], [6, 7, 8, 9], [10]]


def test_an_outcome_that_is_an_exception_is_raised_to_its_caller_alone(counter):
    refusal = ValueError("three")
    send = counter.calls._send
    counter.calls._send = lambda items: [
        refusal if outcome == 6 else outcome for outcome in send(items)
    ]
    counter.start(1, 2, 3, 4)
    assert counter.end() == {1: 2, 2: 4, 3: refusal, 4: 8}


def test_who_cannot_be_reached_is_not_tried_again_for_those_that_wait(counter):
    gone = ConnectionError("gone")

    def send(items):
        counter.send(items)
        raise gone

    counter.calls._send = send
    counter.start(1, 2, 3)
    assert counter.end() == {1: gone, 2: gone, 3: gone}
    assert counter.groups == [[1]]
    counter.calls._send = counter.send
    assert counter.calls.call(4) == 8


def test_no_outcome_is_mixed_up_among_many_threads():
    calls = GroupCommit(lambda items: [-item for item in items], most=7)
    wrong = []

    def ask(first):
        wrong.extend(n for n in range(first, first + 300) if calls.call(n) != -n)

    threads = [threading.Thread(target=ask, args=(1000 * n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import json
import gevent
from web.utils.group_commit import Abandoned, GroupCommit
groups, outcomes = [], {}
let_go = gevent.event.Event()

def send(items):
    groups.append(items)
    let_go.wait()
    return items

calls = GroupCommit(send, most=2)

def ask(item):
    try:
        outcomes[item] = calls.call(item)
    except Abandoned:
        outcomes[item] = "abandoned"
"""

ONE_BY_ONE = """
greenlets = {"a": gevent.spawn(ask, "a")}
while not groups: gevent.sleep(0)
greenlets |= {item: gevent.spawn(ask, item) for item in "bcde"}
gevent.sleep(0)
"""

AT_ONCE = """
let_go.set()
greenlets = {item: gevent.spawn(ask, item) for item in "abcde"}
gevent.sleep(0)
"""

ENDED = """
let_go.set()
assert len(gevent.joinall(greenlets.values(), timeout=5)) == 5, greenlets
assert calls.call("late") == "late"
print(json.dumps([groups[:-1], outcomes]))
"""


def with_greenlets(code: str, callers: str = ONE_BY_ONE) -> list:
    """[groups, outcomes] of five callers of whom some are killed."""
    ended = run(python(GREENLETS + callers + code + ENDED), {})
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.stack
def test_a_caller_that_is_killed_while_it_waits_is_not_sent():
    groups, outcomes = with_greenlets("greenlets['c'].kill()")
    assert groups == [["a"], ["b", "d"], ["e"]]
    assert outcomes == {"a": "a", "b": "b", "d": "d", "e": "e"}


@pytest.mark.stack
def test_a_caller_that_is_killed_when_its_call_is_under_way_leaves_the_others_theirs():
    code = """
let_go.set(); gevent.sleep(0); let_go.clear()
while len(groups) < 2: gevent.sleep(0)
greenlets['c'].kill()
"""
    groups, outcomes = with_greenlets(code)
    assert groups == [["a"], ["b", "c"], ["d", "e"]]
    assert outcomes == {"a": "a", "b": "b", "d": "d", "e": "e"}


@pytest.mark.stack
def test_when_the_leader_is_killed_its_group_knows_and_the_next_goes_on():
    code = """
let_go.set(); gevent.sleep(0); let_go.clear()
while len(groups) < 2: gevent.sleep(0)
greenlets['b'].kill()
"""
    groups, outcomes = with_greenlets(code)
    assert groups == [["a"], ["b", "c"], ["d", "e"]]
    assert outcomes == {"a": "a", "c": "abandoned", "d": "d", "e": "e"}


@pytest.mark.stack
def test_a_caller_that_is_killed_when_it_was_to_lead_passes_that_on():
    code = """
greenlets['a'].kill(block=False)
greenlets['b'].kill()
"""
    groups, outcomes = with_greenlets(code)
    assert groups == [["a"], ["c", "d"], ["e"]]
    assert outcomes == {"c": "c", "d": "d", "e": "e"}


@pytest.mark.stack
def test_those_that_can_go_on_at_the_same_moment_go_out_together_from_the_first_on():
    groups, outcomes = with_greenlets("", AT_ONCE)
    assert groups == [["a", "b"], ["c", "d"], ["e"]]
    assert outcomes == {item: item for item in "abcde"}


@pytest.mark.stack
def test_a_caller_that_is_killed_before_it_could_lead_is_not_sent_and_the_next_goes_on():
    killed_while_others_come = """
let_go.set()
greenlets = {item: gevent.spawn(ask, item) for item in "ab"}
gevent.get_hub().loop.run_callback(greenlets["a"].throw)
greenlets |= {item: gevent.spawn(ask, item) for item in "cde"}
"""
    groups, outcomes = with_greenlets("", killed_while_others_come)
    assert groups == [["b", "c"], ["d", "e"]]
    assert outcomes == {item: item for item in "bcde"}
