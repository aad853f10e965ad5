"""Processes that take turns, on a clock of their own.

A process is a greenlet. It runs until it sleeps, and everything that takes time sleeps; then the
next one runs, in the order of the moments that they sleep until. So a run depends on nothing but
what it was told, and an hour of it takes milliseconds.
"""

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from unittest.mock import patch

import greenlet

from web.use_cases import audit, checkout, gateway_ledger, opening, reconciliation, refunds

ON_THE_CLOCK = (audit, checkout, gateway_ledger, opening, reconciliation, refunds)
"""The use cases that ask what time it is."""

POLL_S = 0.5

EPOCH = datetime(2026, 11, 28, 12, tzinfo=UTC)
"""What all clocks that are right say when a run begins."""


class Killed(BaseException):
    """As by ``kill -9``: whoever it happens to does nothing more."""


class Process:
    """``clock_ahead_s``: how wrong its clock is. ``idle``: it waits of its own accord, and may be
    woken."""

    def __init__(self, name: str, clock_ahead_s: float):
        self.name = name
        self.clock_ahead_s = clock_ahead_s
        self.idle = False
        self.ended = False
        self.nap = 0
        self.host = name
        self.greenlet: greenlet.greenlet


class Scheduler:
    def __init__(self):
        self.now_s = 0.0
        self.current: Process | None = None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._until_s = 0.0
        self._hub = greenlet.getcurrent()

    def call_at(self, at_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (max(at_s, self.now_s), next(self._order), act))

    def start(
        self, name: str, body: Callable[[], None], at_s: float = 0.0, clock_ahead_s: float = 0.0
    ) -> Process:
        process = Process(name, clock_ahead_s)

        def run() -> None:
            try:
                body()
            except Killed:
                pass
            finally:
                process.ended = True

        process.greenlet = greenlet.greenlet(run, self._hub)
        self._wake_at(process, at_s)
        return process

    def sleep(self, seconds: float) -> None:
        """Of the process that calls it."""
        until_s = self.now_s + seconds
        if until_s <= self._until_s and (not self._queue or until_s < self._queue[0][0]):
            self.now_s = until_s  # Nobody else has a turn before.
            return
        self._wake_at(self.current, until_s)
        self._hub.switch()

    def idle(self, seconds: float) -> None:
        """Sleep, unless somebody wakes it."""
        process = self.current
        process.idle = True
        self.sleep(seconds)
        process.idle = False

    def wake(self, process: Process, at_s: float) -> None:
        """Earlier than it wanted to; nothing when it is busy."""
        if process.idle:
            self._wake_at(process, at_s)

    def run_until(self, at_s: float) -> None:
        """All that happens until then."""
        self._until_s = at_s
        while self._queue and self._queue[0][0] <= at_s:
            self.now_s, _, act = heapq.heappop(self._queue)
            act()
        self.now_s = max(self.now_s, at_s)

    def wall_clock(self) -> datetime:
        """What the clock on the wall of the running process says."""
        ahead_s = self.current.clock_ahead_s if self.current else 0.0
        return EPOCH + timedelta(seconds=self.now_s + ahead_s)

    def stop_all(self, processes: list[Process]) -> None:
        """So that no greenlet outlives its run."""
        for process in processes:
            if process.greenlet:  # begun, and not over
                process.greenlet.throw(Killed)

    def _wake_at(self, process: Process, at_s: float) -> None:
        process.nap += 1
        nap = process.nap

        def wake() -> None:
            if process.nap == nap and not process.ended:
                self.current = process
                try:
                    process.greenlet.switch()
                finally:
                    self.current = None

        self.call_at(at_s, wake)


@contextmanager
def clocks_of(scheduler: Scheduler) -> Iterator[None]:
    """Meanwhile the use cases' time is the scheduler's: each process asks its own clock."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None) -> datetime:
            return scheduler.wall_clock()

    # A repeat that waits for the payment it repeats looks twenty times a second.
    patches = [patch.object(checkout, "REPEAT_POLL_S", POLL_S)]
    time = SimpleNamespace(monotonic=lambda: scheduler.now_s, sleep=scheduler.sleep)
    patches += [
        patch.object(module, name, stand_in)
        for module in ON_THE_CLOCK
        for name, stand_in in (("datetime", Clock), ("time", time))
        if hasattr(module, name)
    ]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()
