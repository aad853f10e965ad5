"""Calls that wait in this process at the same moment are sent together: a database's group commit.

Under load most of a call's cost is the round trip, which many calls can share. A call that finds
none in progress is sent as soon as all callers that can go on now have come to where they wait,
together with those of them that have joined. When nobody else can go on, that is at once.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Abandoned(Exception):
    """The caller that sent this group was killed before it had the outcomes: they are unknown."""


_PENDING = Abandoned()
"""The outcome of a call that has none yet."""


class _Call(Generic[Item, Outcome]):
    __slots__ = ("item", "leads", "outcome", "woken")

    def __init__(self, item: Item):
        self.item = item
        self.leads = False
        self.outcome: Outcome | Exception = _PENDING
        # A lock that another caller releases is the cheapest thing to wait for.
        self.woken = threading.Lock()
        self.woken.acquire()


class GroupCommit(Generic[Item, Outcome]):
    """``send`` takes up to ``most`` items and returns, in order, an outcome for each: a value,
    or an exception that is raised to its caller. What ``send`` itself raises is the outcome of all
    its items, and of those that wait: an unreachable server need not be tried again for them.
    ``send`` must have a timeout.

    One group is in progress at a time. Its leader is the caller that has waited longest; when the
    outcomes are there it wakes the next leader first. There are no greenlets or threads besides the
    callers. Safe for threads and greenlets, also when one is killed: if it was the leader, the
    others of its group get Abandoned, and the next caller leads.
    """

    def __init__(self, send: Callable[[list[Item]], Sequence[Outcome | Exception]], most: int):
        self._send = send
        self._most = most
        # The holder of the lock never waits, so no greenlet can be killed while it has it.
        self._lock = threading.Lock()
        self._waiting: deque[_Call[Item, Outcome]] = deque()
        self._under_way = False

    def call(self, item: Item) -> Outcome:
        """Returns the outcome of ``item``, or raises it if it is an exception."""
        call: _Call[Item, Outcome] = _Call(item)
        with self._lock:
            is_first = not self._under_way
            if is_first:
                call.leads = self._under_way = True
            else:
                self._waiting.append(call)
        if not is_first:
            self._wait(call)
        if call.leads:
            self._lead(call, gathers=is_first)
        if isinstance(call.outcome, Exception):
            raise call.outcome
        return call.outcome

    def _wait(self, call: _Call[Item, Outcome]) -> None:
        """Waits until it has its outcome, or leads."""
        try:
            call.woken.acquire()
        except BaseException:
            with self._lock:
                if call.leads:
                    self._pass_on()
                elif call in self._waiting:
                    self._waiting.remove(call)
            raise

    def _lead(self, call: _Call[Item, Outcome], *, gathers: bool = False) -> None:
        group = [call]
        outcomes: Sequence[Outcome | Exception] = [Abandoned()]
        try:
            if gathers:
                # In a gevent worker many requests go on after one look at the sockets.
                time.sleep(0)
            with self._lock:
                while self._waiting and len(group) < self._most:
                    group.append(self._waiting.popleft())
            outcomes = [Abandoned()] * len(group)
            outcomes = self._send([member.item for member in group])
        except Exception as error:  # noqa: BLE001 - each of the group raises it
            with self._lock:
                group += self._waiting
                self._waiting.clear()
            outcomes = [error] * len(group)
        finally:
            with self._lock:
                self._pass_on()
            for member, outcome in zip(group, outcomes, strict=True):
                member.outcome = outcome
                member.woken.release()

    def _pass_on(self) -> None:
        """With the lock held: makes the next caller the leader."""
        if self._waiting:
            following = self._waiting.popleft()
            following.leads = True
            following.woken.release()
        else:
            self._under_way = False
