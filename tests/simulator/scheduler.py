"""Processes that take turns, on a simulated clock.

A process is a greenlet. It runs until it sleeps, and everything that takes time sleeps; then the
process with the earliest wake-up time runs. So a run is deterministic, and an hour takes
milliseconds.
"""

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from unittest.mock import patch

import greenlet

from web.use_cases import (
    audit,
    bank_confirmation,
    cancellation,
    checkout,
    gateway_ledger,
    opening,
    payment_steps,
    reconciliation,
    refunds,
    seat_comparison,
)

ON_THE_CLOCK = (
    audit,
    bank_confirmation,
    cancellation,
    checkout,
    gateway_ledger,
    opening,
    payment_steps,
    reconciliation,
    refunds,
    seat_comparison,
)
"""The use cases that read the time."""

POLL_S = 0.5

EPOCH = datetime(2026, 11, 28, 12, tzinfo=UTC)
"""The true time when a run begins."""


class Killed(BaseException):
    """Raised in a process that is killed as by ``kill -9``: it must do nothing more."""


class Process:
    """``clock_ahead_s`` is the error of its clock. When ``idle``, it waits for its next round and
    can be woken."""

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
        """Let the calling process sleep."""
        until_s = self.now_s + seconds
        if until_s <= self._until_s and (not self._queue or until_s < self._queue[0][0]):
            self.now_s = until_s  # No other process has a turn before.
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
        """End the sleep of an idle process early; no effect on a busy one."""
        if process.idle:
            self._wake_at(process, at_s)

    def run_until(self, at_s: float) -> None:
        """Run everything until that time."""
        self._until_s = at_s
        while self._queue and self._queue[0][0] <= at_s:
            self.now_s, _, act = heapq.heappop(self._queue)
            act()
        self.now_s = max(self.now_s, at_s)

    def wall_clock(self) -> datetime:
        """The time by the clock of the running process."""
        ahead_s = self.current.clock_ahead_s if self.current else 0.0
        return EPOCH + timedelta(seconds=self.now_s + ahead_s)

    def stop_all(self, processes: list[Process]) -> None:
        """Ends all greenlets of this run."""
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
    """Inside the block the use cases use the scheduler's time, by the clock of each process."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None) -> datetime:
            return scheduler.wall_clock()

    # A retry that waits for the first attempt polls twenty times a second.
    patches = [patch.object(checkout, "REPEAT_POLL_S", POLL_S)]
    # Threads would not take turns.
    patches.append(patch.object(cancellation, "SIDE_BY_SIDE", 1))
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
