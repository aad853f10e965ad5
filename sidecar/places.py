"""Places in a queue for something that has a rate limit of its own, like the API of a provider.

A place is the moment at which its owner may act. It is the earliest moment that keeps the rate and
is not before a place that was given earlier: first come, first served, and never more than the
limit in any window. Who would have to wait too long gets no place, and hears when to come again.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.sliding_log import NS_PER_S, Rate

MAX_WAIT_NS = 60 * NS_PER_S
"""The longest wait that a caller may accept, and that one is told who gets no place. It also bounds
how long a Redis whose clock was set back can keep everybody waiting."""

MAX_QUEUES = 1_000
"""There is one for each key and rate. The one that was used longest ago is forgotten."""


class Place(NamedTuple):
    """If it ``is_taken``, the caller acts after ``wait_ns``, not sooner, without asking again. If
    not, nothing was taken, and ``wait_ns`` is when to ask again."""

    is_taken: bool
    wait_ns: int


@dataclass
class _Queue:
    """``places`` are the last ones, as many as the limit: no older one matters. ``told_ns`` is the
    moment that the last caller without a place was told."""

    places: deque[int] = field(default_factory=deque)
    told_ns: int = 0


class Queues:
    """A place cannot be given back. Nobody has a reason to, because the wait is known before; if an
    owner dies, its place passes unused.

    Callers who get no place are told one moment after the other, at the pace of the rate, as if
    they queued up behind the places. So those who come when they were told find no crowd, and come
    in the order in which they were sent away. Nothing is reserved for them: somebody else may take
    a place meanwhile, and a place is never left unused because its owner has not come back.

    ``now_ns`` must come from one monotonic clock. Not safe for several threads at once.
    """

    def __init__(self) -> None:
        self._queues: OrderedDict[tuple[Rate, str | bytes], _Queue] = OrderedDict()

    def take(self, rate: Rate, key: str | bytes, now_ns: int, max_wait_ns: int) -> Place:
        """The next place in the queue of ``key``, unless it is more than ``max_wait_ns`` away."""
        queue = self._of(rate, key)
        next_ns = now_ns
        if queue.places:
            next_ns = max(now_ns, queue.places[-1])
        if len(queue.places) == rate.limit:
            next_ns = max(next_ns, queue.places[0] + rate.window_ns)
        if next_ns - now_ns <= max_wait_ns:
            _append(queue, rate, next_ns)
            return Place(True, next_ns - now_ns)
        pace_ns = rate.window_ns // rate.limit
        queue.told_ns = min(max(next_ns, queue.told_ns + pace_ns), now_ns + MAX_WAIT_NS)
        return Place(False, queue.told_ns - now_ns)

    def note(self, rate: Rate, key: str | bytes, place_ns: int) -> None:
        """Record a place that was taken elsewhere, so that this queue can go on from there."""
        _append(self._of(rate, key), rate, place_ns)

    def _of(self, rate: Rate, key: str | bytes) -> _Queue:
        queue = self._queues.setdefault((rate, key), _Queue())
        self._queues.move_to_end((rate, key))
        if len(self._queues) > MAX_QUEUES:
            self._queues.popitem(last=False)
        return queue


def _append(queue: _Queue, rate: Rate, place_ns: int) -> None:
    if len(queue.places) == rate.limit:
        queue.places.popleft()
    queue.places.append(place_ns)
