"""The exact sliding log: the times of each client's last accepted requests.

Only a log is exact. Counters with fixed or weighted windows let nearly twice the limit through
around a boundary.
"""

from array import array
from bisect import bisect_right
from collections import OrderedDict
from typing import NamedTuple

_IDLE_CLIENTS_PER_DECISION = 2
"""A decision adds at most one client, so checking two keeps up without making any decision slow."""

NS_PER_S = 10**9

MAX_RATE_LIMIT = 10_000
"""Each request in the window takes eight bytes."""

MAX_WINDOW_NS = 24 * 3600 * NS_PER_S
"""A client is remembered for the whole window."""

MAX_RATES = 16
"""In one process: an application has a handful, and each has its own log."""


class Rate(NamedTuple):
    """At most ``limit`` requests in any window of ``window_ns`` nanoseconds."""

    limit: int
    window_ns: int

    @property
    def window_s(self) -> int:
        """In whole seconds, as for all rates that settings can have."""
        return self.window_ns // NS_PER_S


class TooManyRates(ValueError):
    """More than MAX_RATES in one process."""


class Decision(NamedTuple):
    """``remaining`` is how many more requests would be accepted at once. After exactly ``reset_ns``
    one more is accepted; after a refused request for several, all of these are."""

    allowed: bool
    remaining: int
    reset_ns: int

    @property
    def reset_s(self) -> int:
        """In whole seconds, rounded up, for Retry-After: never too early."""
        return -(-self.reset_ns // NS_PER_S)


class SlidingLog:
    """Accepts a request when fewer than ``limit`` of its client were accepted in the window that
    ends with it.

    The window is half-open, ``(now - window, now]``: a request exactly one window after an
    accepted one does not count it. So no interval ``[t, t + window)``, wherever it begins, has more
    than ``limit`` accepted requests, and a client that keeps the limit is never refused. Refused
    requests are not logged, so they delay nothing.

    Memory is bounded by ``max_clients``; a client with ten requests takes some 400 bytes. Once in a
    while the table grows, which costs that one decision some 70 ns a client.

    A client is forgotten once its last accepted request has left the window, which loses nothing.
    When more than ``max_clients`` are active, the one whose last accepted request is longest ago
    is forgotten too early and may be accepted up to ``limit`` times more in its window;
    ``forgotten_early`` counts these. The alternative, to refuse new clients, would be exact, but
    would let an attacker with that many addresses close the sale to everybody else; evicting gives
    such an attacker no more than one further address would.

    Not safe for several threads at once.
    """

    def __init__(self, rate: Rate, max_clients: int):
        self._limit, self._window_ns = rate
        self._max_clients = max_clients
        # Maps clients to the times of their accepted requests in the window, oldest first; clients
        # are in the order of their last one. An array has eight bytes per time and is not tracked
        # by the garbage collector, which would otherwise have to traverse every client.
        self._moments: OrderedDict[str | bytes, array[int]] = OrderedDict()
        self.forgotten_early = 0
        # Removed by a reset, and not freed yet.
        self._discarded: OrderedDict[str | bytes, array[int]] = OrderedDict()

    def __len__(self) -> int:
        """Clients remembered."""
        return len(self._moments)

    def decide(self, key: str | bytes, now_ns: int, amount: int = 1) -> Decision:
        """May the client ``key`` make a request now, or ``amount`` of them, 1 to ``limit``, all or
        none? Accepted requests are logged.

        ``now_ns`` must come from one monotonic clock, here and in the other methods.
        """
        window_start_ns = now_ns - self._window_ns
        moments = self._moments_after(window_start_ns, key)
        free = self._limit - len(moments)
        if free < amount:
            return Decision(False, free, moments[amount - free - 1] - window_start_ns)
        self._append(key, moments, now_ns, amount)
        return Decision(True, free - amount, moments[0] - window_start_ns)

    def peek(self, key: str | bytes, now_ns: int) -> Decision:
        """The state of ``key`` without a new request: ``allowed`` if one would be accepted,
        ``remaining`` how many would be at once. ``reset_ns`` is 0 if none is logged."""
        window_start_ns = now_ns - self._window_ns
        moments = self._moments_after(window_start_ns, key)
        remaining = self._limit - len(moments)
        return Decision(remaining > 0, remaining, moments[0] - window_start_ns if moments else 0)

    def note(self, key: str | bytes, now_ns: int, amount: int = 1) -> None:
        """Log requests that another log accepted, by its own clock: if this log is full, they
        replace the oldest."""
        moments = self._moments_after(now_ns - self._window_ns, key)
        excess = len(moments) + amount - self._limit
        if excess > 0:
            del moments[:excess]
        self._append(key, moments, now_ns, amount)

    def clear(self, key: str | bytes) -> None:
        """Forget the client."""
        self._moments.pop(key, None)

    def reset(self) -> None:
        """Forget all clients. Freeing 250,000 at once would block all decisions for 30 ms, so each
        later decision frees one."""
        self._discarded = self._moments
        self._moments = OrderedDict()

    def _moments_after(self, window_start_ns: int, key: str | bytes) -> "array[int]":
        """The part of the client's log in the window; a new array, not in the table, if none is."""
        self._forget_idle(window_start_ns)
        moments = self._moments.get(key)
        if moments is None:
            return array("q")
        del moments[: bisect_right(moments, window_start_ns)]
        return moments

    def _append(self, key: str | bytes, moments: "array[int]", now_ns: int, amount: int) -> None:
        if key in self._moments:
            self._moments.move_to_end(key)
        else:
            self._make_room()
            self._moments[key] = moments
        if amount == 1:
            moments.append(now_ns)
        else:
            moments.extend([now_ns] * amount)

    def _forget_idle(self, window_start_ns: int) -> None:
        if self._discarded:
            self._discarded.popitem()
        for _ in range(_IDLE_CLIENTS_PER_DECISION):
            if not self._moments:
                return
            idlest = next(iter(self._moments))
            moments = self._moments[idlest]
            # Empty if a peek has cut off all moments.
            if moments and moments[-1] > window_start_ns:
                return
            del self._moments[idlest]

    def _make_room(self) -> None:
        if len(self._moments) == self._max_clients:
            self._moments.popitem(last=False)
            self.forgotten_early += 1


class SlidingLogs:
    """One log per rate, created on first use."""

    def __init__(self, max_clients: int):
        """``max_clients`` is that of each log."""
        self._max_clients = max_clients
        self._logs: dict[Rate, SlidingLog] = {}

    def of(self, rate: Rate) -> SlidingLog:
        """Raises TooManyRates."""
        log = self._logs.get(rate)
        if log is None:
            if len(self._logs) == MAX_RATES:
                raise TooManyRates(f"more than {MAX_RATES} rates")
            log = self._logs[rate] = SlidingLog(rate, self._max_clients)
        return log

    def clear(self, rate: Rate, key: str | bytes) -> None:
        """Forget the client at this rate."""
        log = self._logs.get(rate)
        if log is not None:
            log.clear(key)

    def reset(self) -> None:
        """Forget all clients at all rates."""
        for log in self._logs.values():
            log.reset()

    @property
    def clients(self) -> int:
        return sum(map(len, self._logs.values()))

    @property
    def forgotten_early(self) -> int:
        return sum(log.forgotten_early for log in self._logs.values())
