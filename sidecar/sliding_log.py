"""The exact sliding log: when the last accepted requests of each client were.

Only a log is exact. Counters of fixed or weighted windows let nearly twice the limit through
around a boundary.
"""

from array import array
from bisect import bisect_right
from collections import OrderedDict
from typing import NamedTuple

_IDLE_CLIENTS_PER_DECISION = 2
"""A decision adds one client at most: looking at two keeps up, and no decision is a slow one."""

_NS_PER_S = 10**9


class Decision(NamedTuple):
    """``remaining`` is how many more requests would be accepted at once. After ``reset_ns`` it
    is one more: for a refused request that is exactly when the next is accepted."""

    allowed: bool
    remaining: int
    reset_ns: int

    @property
    def reset_s(self) -> int:
        """In whole seconds, rounded up, as Retry-After wants it: never too early."""
        return -(-self.reset_ns // _NS_PER_S)


class SlidingLog:
    """Accepts a request when fewer than ``limit`` of its client were accepted in the window that
    ends with it.

    The window is half-open, ``(now - window, now]``: a request exactly one window after an
    accepted one does not meet it. So no stretch ``[t, t + window)``, wherever it begins, has more
    than ``limit`` accepted requests, and a client that keeps that rule is never refused. Refused
    requests are not logged, so they postpone nothing.

    Memory is bounded by ``max_clients``; a client with ten requests takes some 400 bytes. Once in a
    while the table grows, which costs that one decision some 70 ns a client.

    A client is forgotten once its last accepted request has left the window, which loses nothing.
    When more than ``max_clients`` are active, the one whose last accepted request is longest ago
    is forgotten too early and may be accepted up to ``limit`` times more in its window;
    ``forgotten_early`` counts these. The other choice, to refuse newcomers, would be exact, and
    let whoever has that many addresses close the sale to everybody else; whoever has them gains
    nothing here that one more address would not give.

    Not safe for several threads at once.
    """

    def __init__(self, limit: int, window_ns: int, max_clients: int):
        self._limit = limit
        self._window_ns = window_ns
        self._max_clients = max_clients
        # Client to the moments of its accepted requests in the window, oldest first; clients in
        # the order of their last one. An array has eight bytes a moment and is invisible to the
        # garbage collector, which would otherwise stop to look at every client.
        self._moments: OrderedDict[str | bytes, array[int]] = OrderedDict()
        self.forgotten_early = 0

    def __len__(self) -> int:
        """Clients remembered."""
        return len(self._moments)

    def decide(self, key: str | bytes, now_ns: int) -> Decision:
        """May the client ``key`` make a request now?

        ``now_ns`` is a reading of one monotonic clock, never less than in the call before.
        """
        window_start_ns = now_ns - self._window_ns
        self._forget_idle(window_start_ns)

        moments = self._moments.get(key)
        if moments is None:
            self._make_room()
            moments = self._moments[key] = array("q")
        else:
            del moments[: bisect_right(moments, window_start_ns)]
            if len(moments) == self._limit:
                return Decision(False, 0, moments[0] - window_start_ns)
            self._moments.move_to_end(key)
        moments.append(now_ns)
        return Decision(True, self._limit - len(moments), moments[0] - window_start_ns)

    def _forget_idle(self, window_start_ns: int) -> None:
        for _ in range(_IDLE_CLIENTS_PER_DECISION):
            if not self._moments:
                return
            idlest = next(iter(self._moments))
            if self._moments[idlest][-1] > window_start_ns:
                return
            del self._moments[idlest]

    def _make_room(self) -> None:
        if len(self._moments) == self._max_clients:
            self._moments.popitem(last=False)
            self.forgotten_early += 1
