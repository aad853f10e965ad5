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
"""Maps of so many events are kept, some 60 KB each of the largest halls; the one not asked for the
longest goes first."""

EVERYBODY = 10_000
"""As many as can wait at one moment share one read."""


class EncodedMap(Encoded):
    """The JSON of the contract."""

    def __init__(self, event: Event, seat_map: SeatMap):
        told = {
            "revision": seat_map.revision,
            "seats": seat_map.seats,
            "version": seat_map.version,
            "layout": event.layout,
        }
        super().__init__(msgspec.json.encode(told))
        self.revision = seat_map.revision
        self._seats = seat_map.seats

    @cached_property
    def availability(self) -> Availability:
        return Availability.of(self._seats)


def event_and_map(
    catalogue: EventCatalogue, seats: SeatStore, event_id: str
) -> tuple[Event, SeatMap]:
    """An event as it is on sale, and its map at the same moment: each position of the one is that
    of the other. Raises EventNotFound, Unavailable."""
    return with_event(catalogue, event_id, lambda event: (event, seats.read_map(event)))


class SeatMaps:
    """Each reading asks Redis whether the map has changed, so nobody gets an old one; only those
    that wait at the same moment share a reading, and all who come share what is made of it."""

    def __init__(self, catalogue: EventCatalogue, seats: SeatStore):
        self._catalogue = catalogue
        self._seats = seats
        self._halls: LRUCache[_Hall] = LRUCache(EVENTS_KEPT)

    def event_and_map(self, event_id: str) -> tuple[Event, SeatMap]:
        """See ``event_and_map``."""
        return event_and_map(self._catalogue, self._seats, event_id)

    def of(self, event_id: str) -> EncodedMap:
        """Raises EventNotFound, Unavailable."""
        hall = self._halls.get(event_id)
        if hall is None:
            hall = _Hall(self._catalogue, self._seats, event_id)
            self._halls.put(event_id, hall)
        return hall.read()


class _Hall:
    def __init__(self, catalogue: EventCatalogue, seats: SeatStore, event_id: str):
        self._catalogue = catalogue
        self._seats = seats
        self._event_id = event_id
        self._last: EncodedMap | None = None
        self._readings = GroupCommit(self._read, EVERYBODY)

    def read(self) -> EncodedMap:
        return self._readings.call(None)

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
