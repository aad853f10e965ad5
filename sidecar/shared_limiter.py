"""The limiter of a host when several hosts share one count."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sidecar.host_limiter import HostLimiter, Kind, Question, Reply
from sidecar.protocol import (
    CLEAR,
    HIT,
    PLACE,
    RESET,
    THEN,
    Head,
    encode_answer,
    encode_cleared,
    encode_joined,
    is_allowed,
)
from sidecar.shared_log import Check, SharedLog, Unreachable
from sidecar.sliding_log import Decision

MAX_BATCH = 100
"""Questions in one round trip. Redis does nothing else meanwhile, some 0.7 ms, or twice that if all
are joined hits."""

LEAST_TIMEOUT_S = 0.005
"""Allowance for a round trip that starts late, so that a busy host does not consider Redis dead."""

RETRY_PAUSE_S = 0.1
"""Between attempts. The first is made at once: usually only the connection has broken."""

logger = logging.getLogger("sidecar.shared_limiter")


class Asked(NamedTuple):
    """Questions that one worker sent together, or a part of them."""

    answer_by_s: float
    questions: list[Question]
    reply: Reply


class SharedLimiter(HostLimiter):
    """Decides by the shared log, or by this host's own logs while that does not respond; the own
    logs record every decision to be ready.

    One round trip is in progress at a time, with all questions that came before it began. If it
    fails, this host decides everything that waits, and everything else until a new attempt to
    connect succeeds. No question is used for an attempt, so none waits for a Redis that is known to
    be down.
    """

    clears_alone = False

    def __init__(self, max_clients: int, shared_log: SharedLog):
        super().__init__(max_clients)
        self._shared_log = shared_log
        # Empty while the shared log does not respond, so answers stay in order.
        self._waiting: deque[Asked] = deque()
        self._task: asyncio.Task[None] | None = None
        self._next_trial_s = 0.0

    async def start(self) -> None:
        """Connects to the shared log; keeps trying if that fails."""
        try:
            await self._shared_log.connect()
        except Unreachable as error:
            self._lose(error)
        else:
            self.shared = True

    async def stop(self) -> None:
        """Here and not by the end of the event loop, which would report with a stack trace what
        went wrong last."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def answer(self, questions: list[Question], reply: Reply) -> None:
        if not self.shared:
            self._answer_alone(questions, reply)
            return
        answer_by_s = time.monotonic() + self._shared_log.answer_timeout_s
        for first in range(0, len(questions), MAX_BATCH):
            part = questions[first : first + MAX_BATCH]
            self._waiting.append(Asked(answer_by_s, part, reply))
        if self._task is None:
            # It runs once the loop has read all sockets that are ready now.
            self._task = asyncio.create_task(self._ask_for_all())

    async def _ask_for_all(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            checks = [
                check
                for asked in batch
                for question in asked.questions
                for check in _checks_of(question)
            ]
            time_left_s = batch[0].answer_by_s - time.monotonic()
            if time_left_s < 0:
                # There were more questions than can be sent in time.
                self._decide_alone(batch)
                continue
            try:
                decisions = await self._shared_log.decide(checks, max(LEAST_TIMEOUT_S, time_left_s))
            except Unreachable as error:
                self._waiting.extendleft(reversed(batch))
                self._lose(error)
                return
            self._pass_on(batch, decisions)
        self._task = None

    def _next_batch(self) -> list[Asked]:
        batch = [self._waiting.popleft()]
        size = len(batch[0].questions)
        while self._waiting and size + len(self._waiting[0].questions) <= MAX_BATCH:
            batch.append(self._waiting.popleft())
            size += len(batch[-1].questions)
        return batch

    def _pass_on(self, batch: list[Asked], decisions: list[Decision]) -> None:
        now_ns = time.monotonic_ns()
        decided = iter(decisions)
        for asked in batch:
            asked.reply([self._line_of(question, now_ns, decided) for question in asked.questions])

    def _line_of(self, question: Question, now_ns: int, decided: Iterator[Decision]) -> bytes:
        """Takes as many decisions as ``_checks_of`` has made checks."""
        kind, key, then = question
        if not kind.head:
            return kind.answer(key, now_ns)
        line = self._run_along(kind.head, kind, key, now_ns, next(decided))
        if then is None:
            return line
        then_kind, then_key = then
        decision = next(decided)
        if not (then_kind.head and is_allowed(line)):
            return line
        then_line = self._run_along(then_kind.head, then_kind, then_key, now_ns, decision)
        return encode_joined(line, then_line)

    def _run_along(
        self, head: Head, kind: Kind, key: bytes, now_ns: int, decision: Decision
    ) -> bytes:
        """Records the shared log's decision in this host's logs and queues. Returns the line to
        send."""
        command, rate, argument = head
        if command in (CLEAR, RESET):
            kind.answer(key, now_ns)
            return encode_cleared(True)
        if command == HIT and decision.allowed:
            self._logs.of(rate).note(key, now_ns, argument)
        if command == PLACE and decision.allowed:
            self._queues.note(rate, key, now_ns + decision.reset_ns)
        return encode_answer(decision)

    def _lose(self, error: Unreachable) -> None:
        logger.warning("the shared log does not answer (%s): this host counts for itself", error)
        self.shared = False
        self._decide_alone(self._waiting)
        self._waiting.clear()
        self._task = asyncio.create_task(self._return())

    async def _return(self) -> None:
        while not self.shared:
            await asyncio.sleep(self._next_trial_s - time.monotonic())
            self._next_trial_s = time.monotonic() + RETRY_PAUSE_S
            with contextlib.suppress(Unreachable):
                await self._shared_log.connect()
                self.shared = True
        self._task = None
        logger.warning(
            "the shared log answers again; %d decisions were this host's", self.shared_fallbacks
        )

    def _decide_alone(self, batch: Iterable[Asked]) -> None:
        for asked in batch:
            self._answer_alone(asked.questions, asked.reply)

    def _answer_alone(self, questions: list[Question], reply: Reply) -> None:
        self.shared_fallbacks += sum(kind.head is not None for kind, _, _ in questions)
        super().answer(questions, reply)


def _checks_of(question: Question) -> Iterator[Check]:
    kind, key, then = question
    if kind.head:
        yield Check(kind.head, key)
    if then and then[0].head:
        yield Check(then[0].head._replace(command=THEN), then[1])
