"""A web worker's client of the limiter.

Make one client per process, after the fork: two processes on one connection would read each
other's answers. Nothing is opened or started before the first request.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from sidecar.connection import Connection
from sidecar.places import Place, Queues
from sidecar.protocol import (
    CLEAR,
    HIT,
    PEEK,
    RESET,
    STATS,
    ProtocolError,
    decode_answer,
    decode_answers,
    decode_cleared,
    decode_place,
    decode_stats,
    encode_head,
    encode_joined,
    encode_place_head,
    encode_question,
)
from sidecar.sliding_log import NS_PER_S, Decision, Rate, SlidingLog, SlidingLogs

JOIN_PAUSE_NS = 60 * NS_PER_S
"""For how long hits are asked for one by one after two joined ones got no answer: a limiter of an
earlier release closes the connection at them. Then they are asked for one by one at once, so that
such a limiter decides all the time."""

RETRY_PAUSE_NS = 100_000_000
"""While the limiter does not respond, one caller per pause tries again; the others count locally at
once."""

MAX_REMEMBERED_DENIALS = 10_000
"""Per rate; about 4 MB. Forgetting one early costs one more question."""

REMEMBERED_NS = NS_PER_S
"""The longest time for which a denial is remembered. After that the limiter is asked again, because
another worker may have cleared the client."""

MAX_LOCAL_CLIENTS = 50_000
"""Per rate; about 20 MB at ten requests a client. As many as one worker can accept in several
seconds."""

Answer = TypeVar("Answer")

logger = logging.getLogger("sidecar.client")


class _Denial(NamedTuple):
    remaining: int
    until_ns: int
    ask_again_ns: int


class _Counter(NamedTuple):
    """The state for one rate. ``log`` has this worker's accepted requests, whether the limiter or
    the log itself accepted them. ``denials`` are by the client's key; those of several requests at
    once by key and amount."""

    head_of_hit: bytes
    head_of_peek: bytes
    log: SlidingLog
    denials: OrderedDict[str | tuple[str, int], _Denial]


class LimiterClient:
    """Gets decisions from the limiter at ``socket_path``, and from a local log while it does not
    respond.

    No call waits longer than ``timeout_s`` for the limiter. A local decision knows only this
    worker's requests, which the local log records all the time: with n workers a client may then
    get n times the limit. The same is true of places. ``fallbacks`` counts local decisions.

    A denial is remembered until it ends, at most a second, so that a flood costs one dictionary
    look-up per request. That is exact: nothing but a clear could let the client in sooner.

    Safe for threads and greenlets.
    """

    def __init__(self, socket_path: str, *, timeout_s: float = 0.02):
        self._socket_path = socket_path
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._logs = SlidingLogs(MAX_LOCAL_CLIENTS)
        self._queues = Queues()
        self._counters: dict[Rate, _Counter] = {}
        self._connection: Connection | None = None
        self._answers = True
        self._next_try_ns = 0
        self._next_join_ns = 0
        self.fallbacks = 0

    @property
    def answers(self) -> bool:
        """Whether the limiter responded last time."""
        return self._answers

    def check(self, key: str, rate: Rate, amount: int = 1) -> Decision:
        """May the client ``key`` make a request now, or ``amount`` of them, all or none? If so,
        they are counted.

        Raises ValueError when ``key``, ``rate`` or ``amount`` is invalid (protocol.encode_head,
        encode_question) or there are more than MAX_RATES rates, and nothing else.
        """
        counter = self._counters.get(rate) or self._add_counter(rate)
        if amount == 1:
            decision = self._ask(counter, counter.head_of_hit, key, key)
        else:
            head = encode_head(HIT, rate, amount)
            decision = self._ask(counter, head, key, (key, amount))
        if decision is None:
            return self._decide_locally(counter.log.decide, key, amount)
        if decision.allowed:
            self._note(counter, key, amount)
        return decision

    def check_both(
        self, key: str, rate: Rate, then_key: str, then_rate: Rate
    ) -> tuple[Decision, Decision | None]:
        """Two limits of one request, in one round trip: ``check`` of the first, and if that allows
        it, of the second, which is None otherwise. Raises as check does."""
        decisions = self._ask_both(key, rate, then_key, then_rate)
        if decisions is None:
            decision = self.check(key, rate)
            return decision, self.check(then_key, then_rate) if decision.allowed else None
        return decisions

    def peek(self, key: str, rate: Rate) -> Decision:
        """What check would return, without counting: ``remaining`` is how many requests would be
        accepted at once, ``reset_ns`` is 0 if none has been counted. Raises as check does."""
        counter = self._counters.get(rate) or self._add_counter(rate)
        decision = self._ask(counter, counter.head_of_peek, key, key)
        return decision or self._decide_locally(counter.log.peek, key)

    def take_place(self, key: str, rate: Rate, max_wait_ns: int) -> Place:
        """The next place in the queue of ``key``, unless it is more than ``max_wait_ns`` away, at
        most MAX_WAIT_NS. While the limiter does not respond, it is in a queue of this process,
        which knows only its own places.

        Raises ValueError when an argument is invalid, and nothing else.
        """
        question = encode_question(encode_place_head(rate, max_wait_ns), key)
        asked_ns = time.monotonic_ns()
        # A process that is not below a sidecar, like the worker's, has nobody to ask.
        place = self._exchange(question, decode_place, asked_ns) if self._socket_path else None
        with self._lock:
            now_ns = time.monotonic_ns()
            if place is None:
                self.fallbacks += 1
                return self._queues.take(rate, key, now_ns, max_wait_ns)
            if place.is_taken:
                self._queues.note(rate, key, now_ns + place.wait_ns)
        return place

    @property
    def rates(self) -> list[Rate]:
        """All rates that were checked so far."""
        return list(self._counters)

    def clear(self, key: str, rate: Rate) -> None:
        """Reset the count of the client ``key`` at this rate. Other workers notice within a second,
        except one that counts on its own, and other hosts except while they count on their own.

        Raises ConnectionError when the limiter does not respond, or cannot reach the log that it
        shares with other hosts, which then still have the count; ValueError as check does.
        """
        question = encode_question(encode_head(CLEAR, rate), key)
        counter = self._counters.get(rate)
        if counter:
            with self._lock:
                counter.log.clear(key)
                for name in [name for name in counter.denials if _is_of(key, name)]:
                    del counter.denials[name]
        self._have_cleared(question)

    def reset(self) -> None:
        """Forget all clients at all rates, for all applications that use this limiter. Raises as
        clear does."""
        with self._lock:
            self._logs.reset()
            for counter in self._counters.values():
                counter.denials.clear()
        self._have_cleared(RESET.encode("ascii") + b"\n")

    def stats(self) -> dict[str, int]:
        """The limiter's statistics (host_limiter.HostLimiter.stats); empty when it does not
        respond."""
        return self._exchange(STATS + b"\n", decode_stats, time.monotonic_ns()) or {}

    def close(self) -> None:
        """Close the connection. The client can still be used."""
        connection = self._connection
        if connection is not None:
            connection.close(ConnectionAbortedError("closed"))

    def _add_counter(self, rate: Rate) -> _Counter:
        heads = encode_head(HIT, rate), encode_head(PEEK, rate)
        with self._lock:
            counter = _Counter(*heads, self._logs.of(rate), OrderedDict())
            return self._counters.setdefault(rate, counter)

    def _ask(
        self, counter: _Counter, head: bytes, key: str, name: str | tuple[str, int]
    ) -> Decision | None:
        """The limiter's decision, or a remembered denial under ``name``; None if it does not
        respond."""
        question = encode_question(head, key)
        asked_ns = time.monotonic_ns()
        denial = _remembered(counter, name, asked_ns)
        if denial is not None:
            return denial
        decision = self._exchange(question, decode_answer, asked_ns)
        if decision is not None and not decision.allowed:
            self._remember(counter, name, decision, asked_ns)
        return decision

    def _ask_both(
        self, key: str, rate: Rate, then_key: str, then_rate: Rate
    ) -> tuple[Decision, Decision | None] | None:
        """The limiter's decisions; None if they have to be asked for one by one."""
        first = self._counters.get(rate) or self._add_counter(rate)
        second = self._counters.get(then_rate) or self._add_counter(then_rate)
        asked_ns = time.monotonic_ns()
        if not self._answers or asked_ns < self._next_join_ns:
            return None
        if _remembered(first, key, asked_ns) or _remembered(second, then_key, asked_ns):
            return None
        question = encode_joined(
            encode_question(first.head_of_hit, key), encode_question(second.head_of_hit, then_key)
        )
        decisions = self._exchange(question, decode_answers, asked_ns, repeats=False)
        if decisions is None:
            self._next_join_ns = asked_ns + JOIN_PAUSE_NS
            return None
        decision, then_decision = decisions
        self._record(first, key, decision, asked_ns)
        if then_decision is not None:
            self._record(second, then_key, then_decision, asked_ns)
        return decisions

    def _have_cleared(self, question: bytes) -> None:
        """Raises ConnectionError."""
        is_cleared = self._exchange(question, decode_cleared, time.monotonic_ns())
        if is_cleared is None:
            raise ConnectionError("the limiter does not answer: only this process has forgotten")
        if not is_cleared:
            raise ConnectionError("the shared log does not answer: only this host has forgotten")

    def _exchange(
        self,
        question: bytes,
        decode: Callable[[bytes], Answer],
        asked_ns: int,
        *,
        repeats: bool = True,
    ) -> Answer | None:
        """The limiter's answer as ``decode`` reads it; None when there is none. If the connection
        was closed, the question is repeated on a new one, unless the caller asks another."""
        if not self._may_ask(asked_ns):
            return None
        try:
            connection = self._connect()
            answer = _exchange_on(connection, question, decode, self._timeout_s)
            if answer is None and isinstance(connection.failure, ConnectionError):
                if not repeats:
                    return None
                # The limiter closed it, perhaps for a restart that is already over.
                connection = self._connect()
                left_s = self._timeout_s - (time.monotonic_ns() - asked_ns) / 1e9
                answer = _exchange_on(connection, question, decode, left_s)
        except (OSError, RuntimeError) as error:  # of _connect
            self._note_silence(None, error)
            return None
        if answer is None:
            self._note_silence(connection, connection.failure)
        else:
            self._note_answer()
        return answer

    def _may_ask(self, now_ns: int) -> bool:
        if self._answers:
            return True
        with self._lock:
            if now_ns < self._next_try_ns:
                return False
            self._next_try_ns = now_ns + RETRY_PAUSE_NS
            return True

    def _connect(self) -> Connection:
        """Raises OSError and RuntimeError, as making a Connection does."""
        connection = self._connection
        if connection is not None and connection.failure is None:
            return connection
        with self._lock:
            if self._connection is None or self._connection.failure is not None:
                self._connection = None  # also when the next line raises: _note_silence compares
                self._connection = Connection(self._socket_path)
            return self._connection

    def _note_silence(self, connection: Connection | None, failure: Exception | None) -> None:
        with self._lock:
            if self._connection is not connection:
                return  # Another caller has noticed before, and may have reconnected.
            self._connection = None
            self._next_try_ns = time.monotonic_ns() + RETRY_PAUSE_NS
            changed, self._answers = self._answers, False
        if changed:
            logger.warning("the limiter does not answer (%s): counting in this process", failure)

    def _note_answer(self) -> None:
        if self._answers:
            return
        with self._lock:
            changed, self._answers = not self._answers, True
        if changed:
            logger.warning("the limiter answers again; %d decisions were local", self.fallbacks)

    def _decide_locally(self, decide: Callable[..., Decision], key: str, *amount: int) -> Decision:
        with self._lock:
            self.fallbacks += 1
            return decide(key, time.monotonic_ns(), *amount)

    def _record(self, counter: _Counter, key: str, decision: Decision, asked_ns: int) -> None:
        if decision.allowed:
            self._note(counter, key)
        else:
            self._remember(counter, key, decision, asked_ns)

    def _note(self, counter: _Counter, key: str, amount: int = 1) -> None:
        with self._lock:
            counter.log.note(key, time.monotonic_ns(), amount)

    def _remember(
        self, counter: _Counter, name: str | tuple[str, int], decision: Decision, asked_ns: int
    ) -> None:
        # Counted from before the question was sent: it may end a little early and cost another
        # question, but never refuses what the limiter would accept.
        until_ns = asked_ns + decision.reset_ns
        ask_again_ns = min(until_ns, asked_ns + REMEMBERED_NS)
        denial = _Denial(decision.remaining, until_ns, ask_again_ns)
        with self._lock:
            counter.denials[name] = denial
            counter.denials.move_to_end(name)
            if len(counter.denials) > MAX_REMEMBERED_DENIALS:
                counter.denials.popitem(last=False)


def _remembered(counter: _Counter, name: str | tuple[str, int], asked_ns: int) -> Decision | None:
    """The denial under ``name`` that still holds."""
    denial = counter.denials.get(name)
    if denial is None or asked_ns >= denial.ask_again_ns:
        return None
    return Decision(False, denial.remaining, denial.until_ns - asked_ns)


def _is_of(key: str, name: str | tuple[str, int]) -> bool:
    """Whether a denial with this name is the client's."""
    return key == (name[0] if isinstance(name, tuple) else name)


def _exchange_on(
    connection: Connection, question: bytes, decode: Callable[[bytes], Answer], timeout_s: float
) -> Answer | None:
    """None when there is no answer, and the connection's ``failure`` says why."""
    line = connection.ask(question, timeout_s)
    if line is None:
        return None
    try:
        return decode(line)
    except ProtocolError as error:
        connection.close(error)
        return None
