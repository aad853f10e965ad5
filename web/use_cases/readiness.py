"""Whether a balancer should send buyers to this host: it reaches a Redis that takes writes and has
not lost its events, it reaches MongoDB, and nothing says that the unique index is missing.

While one of several servers of Redis is away, or MongoDB elects a primary or has no majority, the
host stays ready. All hosts are in the same position then. Events on the other servers are sold;
seat maps and holds do not need MongoDB, and payments wait.
"""

import math
import threading
import time

from web.domain.refusals import Unavailable
from web.ports.booking_store import BookingStore, IndexMissing
from web.ports.event_catalogue import EventCatalogue, StoreServer
from web.ports.seat_store import SEAT_STORE

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
        self._servers: list[StoreServer] = []

    def require(self) -> None:
        """Raises Unavailable, IndexMissing. Whoever comes while they are asked waits for that."""
        self._ask_if_due()
        if self._failure:
            # Or its traceback would grow with everyone who hears of it.
            raise self._failure.with_traceback(None)

    def servers(self) -> list[StoreServer]:
        """As ``EventCatalogue.servers`` returns them."""
        self._ask_if_due()
        return self._servers

    def _ask_if_due(self) -> None:
        with self._lock:
            if time.monotonic() >= self._asked_s + KEPT_S:
                self._servers = self._catalogue.servers()
                self._failure = self._ask()
                self._asked_s = time.monotonic()

    def _ask(self) -> Unavailable | IndexMissing | None:
        failures = [server.failure for server in self._servers]
        if all(failures):
            return failures[0]
        try:
            if not self._is_known_what_is_on_sale():
                return Unavailable(SEAT_STORE)
            self._bookings.require_reachable()
        except (Unavailable, IndexMissing) as failure:
            return failure
        return None

    def _is_known_what_is_on_sale(self) -> bool:
        """False when Redis has lost the list of events, and not when that cannot be reached."""
        try:
            return self._catalogue.exists()
        except Unavailable:
            return True
