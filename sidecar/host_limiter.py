"""The limiter of one host, with its own logs."""

import time
from collections.abc import Callable
from typing import NamedTuple

from sidecar.places import Queues
from sidecar.protocol import (
    CLEAR,
    HIT,
    JOINER,
    MAX_QUESTION_BYTES,
    PLACE,
    RESET,
    RESET_ALL,
    STATS,
    Head,
    ProtocolError,
    decode_head,
    encode_answer,
    encode_cleared,
    encode_joined,
    encode_place,
    encode_stats,
    is_allowed,
    split_question,
)
from sidecar.sliding_log import Rate, SlidingLogs, TooManyRates


class Kind(NamedTuple):
    """A kind of question: those with the same head. There is no head for the statistics. ``answer``
    takes a key and a moment and returns the line to send when this host decides alone."""

    head: Head | None
    answer: Callable[[bytes, int], bytes]


Question = tuple[Kind, bytes, tuple[Kind, bytes] | None]
"""A kind and the client's key; and of two hits that are joined, the second's."""

Reply = Callable[[list[bytes]], None]
"""Takes one line for each question."""


class HostLimiter:
    """``max_clients`` bounds each of at most MAX_RATES logs."""

    shared = False
    shared_fallbacks = 0
    clears_alone = True
    """Whether a clear on this host is complete, because no other log counts the client."""

    def __init__(self, max_clients: int):
        self._logs = SlidingLogs(max_clients)
        self._queues = Queues()
        self._kinds: dict[bytes, Kind] = {}
        self._asks_for_stats = Kind(None, lambda key, now_ns: encode_stats(self.stats()))
        self._asks_to_reset = Kind(RESET_ALL, self._reset)

    async def start(self) -> None:
        """Before the first question."""

    async def stop(self) -> None:
        """After the last one."""

    def questions_in(self, lines: list[bytes]) -> list[Question]:
        """Raises ProtocolError."""
        questions: list[Question] = []
        kinds = self._kinds
        for line in lines:
            if JOINER in line:
                questions.append(self._joined_in(line))
                continue
            head, key = split_question(line)
            questions.append((kinds.get(head) or self._kind_of(head, key), key, None))
        return questions

    def answer(self, questions: list[Question], reply: Reply) -> None:
        """All at one moment."""
        now_ns = time.monotonic_ns()
        reply(
            [
                kind.answer(key, now_ns)
                if then is None
                else _answer_joined(kind, key, then, now_ns)
                for kind, key, then in questions
            ]
        )

    def stats(self) -> dict[str, int]:
        """``clients`` that are remembered; ``forgotten_early``, clients evicted to stay within the
        bound; ``shared``, whether hosts share one count and it can be reached;
        ``shared_fallbacks``, decisions of this host alone because it could not."""
        return {
            "clients": self._logs.clients,
            "forgotten_early": self._logs.forgotten_early,
            "shared_fallbacks": self.shared_fallbacks,
            "shared": int(self.shared),
        }

    def _joined_in(self, line: bytes) -> Question:
        """Raises ProtocolError."""
        parts = line.split(JOINER)
        if len(parts) == 2:
            (kind, key, _), (then_kind, then_key, _) = self.questions_in(parts)
            if _is_one_hit(kind) and _is_one_hit(then_kind):
                return kind, key, (then_kind, then_key)
        raise ProtocolError(f"not two hits: {line[:MAX_QUESTION_BYTES]!r}")

    def _kind_of(self, head_bytes: bytes, key: bytes) -> Kind:
        if not head_bytes:
            return self._kind_without_head(key)
        head = decode_head(head_bytes)
        kind = Kind(head, self._answer_to(head))
        if head.argument == 1:  # There are as many amounts as a limit is high, and far more waits.
            self._kinds[head_bytes] = kind
        return kind

    def _kind_without_head(self, line: bytes) -> Kind:
        if line == STATS:
            return self._asks_for_stats
        if line == RESET.encode("ascii"):
            return self._asks_to_reset
        raise ProtocolError(f"not a question: {line[:MAX_QUESTION_BYTES]!r}")

    def _answer_to(self, head: Head) -> Callable[[bytes, int], bytes]:
        command, rate, argument = head
        if command == CLEAR:
            return lambda key, now_ns: self._clear(rate, key)
        if command == PLACE:
            take = self._queues.take
            return lambda key, now_ns: encode_place(take(rate, key, now_ns, argument))
        try:
            log = self._logs.of(rate)
        except TooManyRates as error:
            raise ProtocolError(str(error)) from None
        if command != HIT:
            return lambda key, now_ns: encode_answer(log.peek(key, now_ns))
        decide = log.decide
        if argument == 1:
            return lambda key, now_ns: encode_answer(decide(key, now_ns))
        return lambda key, now_ns: encode_answer(decide(key, now_ns, argument))

    def _clear(self, rate: Rate, key: bytes) -> bytes:
        self._logs.clear(rate, key)
        return encode_cleared(self.clears_alone)

    def _reset(self, key: bytes, now_ns: int) -> bytes:
        self._logs.reset()
        return encode_cleared(self.clears_alone)


def _is_one_hit(kind: Kind) -> bool:
    return kind.head is not None and kind.head.command == HIT and kind.head.argument == 1


def _answer_joined(kind: Kind, key: bytes, then: tuple[Kind, bytes], now_ns: int) -> bytes:
    answer = kind.answer(key, now_ns)
    if not is_allowed(answer):
        return answer
    then_kind, then_key = then
    return encode_joined(answer, then_kind.answer(then_key, now_ns))
