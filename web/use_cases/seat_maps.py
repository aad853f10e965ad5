"""Seat maps as the API sends them, encoded once for all requests of the same moment."""

from functools import cached_property

import msgspec

from web.domain.events import Availability, Event
from web.ports.event_catalogue import EventCatalogue
from web.ports.seat_store import SeatMap, SeatStore
from web.use_cases.current_event import with_event
from web.utils.encoded import Encoded
from web.utils.group_commit import GroupCommit
from web.utils.lru_cache import LRUCache

EVENTS_KEPT = 100
"""Events whose maps are cached, up to some 60 KB each; the least recently used is evicted first."""

MAX_READERS = 10_000
"""More than can wait at one moment: they all share one read."""


class EncodedMap(Encoded):
    """The JSON of the contract."""

    def __init__(self, event: Event, seat_map: SeatMap):
        content = {
            "revision": seat_map.revision,
            "seats": seat_map.seats,
            "version": seat_map.version,
            "layout": event.layout,
        }
        super().__init__(msgspec.json.encode(content))
        self.revision = seat_map.revision
        self._seats = seat_map.seats

    @cached_property
    def availability(self) -> Availability:
        return Availability.of(self._seats)


def event_and_map(
    catalogue: EventCatalogue, seats: SeatStore, event_id: str
) -> tuple[Event, SeatMap]:
    """The current definition of an event and a map that fits it: a position means the same seat in
    both. Raises EventNotFound, Unavailable."""
    return with_event(catalogue, event_id, lambda event: (event, seats.read_map(event)))


class SeatMaps:
    """Each read checks in Redis whether the map has changed, so no caller gets a stale one. Callers
    that wait at the same moment share a read, and all callers share the encoded map until it
    changes."""

    def __init__(self, catalogue: EventCatalogue, seats: SeatStore):
        self._catalogue = catalogue
        self._seats = seats
        self._cached: LRUCache[_CachedMap] = LRUCache(EVENTS_KEPT)

    def event_and_map(self, event_id: str) -> tuple[Event, SeatMap]:
        """See ``event_and_map``."""
        return event_and_map(self._catalogue, self._seats, event_id)

    def of(self, event_id: str) -> EncodedMap:
        """Raises EventNotFound, Unavailable."""
        cached = self._cached.get(event_id)
        if cached is None:
            cached = _CachedMap(self._catalogue, self._seats, event_id)
            self._cached.put(event_id, cached)
        return cached.read()


class _CachedMap:
    def __init__(self, catalogue: EventCatalogue, seats: SeatStore, event_id: str):
        self._catalogue = catalogue
        self._seats = seats
        self._event_id = event_id
        self._last: EncodedMap | None = None
        self._reads = GroupCommit(self._read, MAX_READERS)

    def read(self) -> EncodedMap:
        return self._reads.call(None)

    def _read(self, callers: list[None]) -> list[EncodedMap]:
        last = self._last
        if last is None:
            last = EncodedMap(*event_and_map(self._catalogue, self._seats, self._event_id))
        elif changed := self._seats.read_changed_seats(self._event_id, last.revision):
            event = self._catalogue.cached_event(self._event_id)
            if event.version == changed.version:
                last = EncodedMap(event, changed)
            else:
                last = EncodedMap(*event_and_map(self._catalogue, self._seats, self._event_id))
        self._last = last
        return [last] * len(callers)
