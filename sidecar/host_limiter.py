"""What the limiter of one host answers, by its own logs."""

import time
from collections.abc import Callable
from typing import NamedTuple

from sidecar.protocol import (
    HIT,
    STATS,
    ProtocolError,
    decode_head,
    encode_answer,
    encode_stats,
    split_question,
)
from sidecar.sliding_log import Rate, SlidingLog, SlidingLogs, TooManyRates


class Counter(NamedTuple):
    """What all questions with the same head ask. ``counts`` is False for a peek. ``answer`` takes
    a key and a moment and gives the line that goes back."""

    counts: bool
    rate: Rate
    log: SlidingLog
    answer: Callable[[bytes, int], bytes]


Question = tuple[Counter | None, bytes]
"""With the client's key; without a counter it asks for the statistics."""

Reply = Callable[[list[bytes]], None]
"""Takes one line for each question."""


class HostLimiter:
    """``max_clients`` bounds each of at most MAX_RATES logs."""

    shared = False
    shared_fallbacks = 0

    def __init__(self, max_clients: int):
        self._logs = SlidingLogs(max_clients)
        self._counters: dict[bytes, Counter] = {}

    def questions_in(self, lines: list[bytes]) -> list[Question]:
        """Raises ProtocolError."""
        questions: list[Question] = []
        counters = self._counters
        for line in lines:
            if line == STATS:
                questions.append((None, b""))
                continue
            head, key = split_question(line)
            questions.append((counters.get(head) or self._add_counter(head), key))
        return questions

    def answer(self, questions: list[Question], reply: Reply) -> None:
        """All at one moment."""
        now_ns = time.monotonic_ns()
        reply(
            [
                counter.answer(key, now_ns) if counter else encode_stats(self.stats())
                for counter, key in questions
            ]
        )

    def stats(self) -> dict[str, int]:
        """``clients`` remembered; ``forgotten_early``, to keep within the bound; ``shared``,
        whether one count of all hosts is kept and answers; ``shared_fallbacks``, decisions of
        this host alone although one should be."""
        return {
            "clients": self._logs.clients,
            "forgotten_early": self._logs.forgotten_early,
            "shared_fallbacks": self.shared_fallbacks,
            "shared": int(self.shared),
        }

    def _add_counter(self, head: bytes) -> Counter:
        command, rate = decode_head(head)
        try:
            log = self._logs.of(rate)
        except TooManyRates as error:
            raise ProtocolError(str(error)) from None
        decide = log.decide if command == HIT else log.peek

        def answer(key: bytes, now_ns: int) -> bytes:
            return encode_answer(decide(key, now_ns))

        counter = Counter(command == HIT, rate, log, answer)
        self._counters[head] = counter
        return counter
