"""Whether a balancer should send buyers to this host: its Redis knows the events, it reaches
MongoDB, and nothing says that the unique index is missing.

While MongoDB elects a primary, or has no majority, the host stays ready. All hosts are in the same
position then; seat maps and holds do not need MongoDB, and payments wait.
"""

import math
import threading
import time

from web.domain.refusals import Unavailable
from web.ports.booking_store import BookingStore, IndexMissing
from web.ports.event_catalogue import EventCatalogue

KEPT_S = 1.0
"""How old an answer may be. A balancer takes a host out after several of them."""


class Readiness:
    """Asks once a second at most, for all who want to know: Redis and MongoDB hear no more of a
    thousand who ask than of one. Safe for threads and greenlets."""

    def __init__(self, catalogue: EventCatalogue, bookings: BookingStore):
        self._catalogue = catalogue
        self._bookings = bookings
        self._lock = threading.Lock()
        self._asked_s = -math.inf
        self._failure: Unavailable | IndexMissing | None = None

    def require(self) -> None:
        """Raises Unavailable, IndexMissing. Whoever comes while they are asked waits for that."""
        with self._lock:
            if time.monotonic() >= self._asked_s + KEPT_S:
                self._failure = self._ask()
                self._asked_s = time.monotonic()
            failure = self._failure
        if failure:
            raise failure.with_traceback(None)  # or it would grow with everyone who hears of it

    def _ask(self) -> Unavailable | IndexMissing | None:
        try:
            self._catalogue.event_ids()
            self._bookings.require_reachable()
        except (Unavailable, IndexMissing) as failure:
            return failure
        return None
