"""Seat maps as the API sends them, made once for all who ask at the same moment."""

import gzip
from functools import cached_property

import msgspec

from web.domain import Availability
from web.group_commit import GroupCommit
from web.ports import SeatMap
from web.recently_used import RecentlyUsed
from web.use_cases.box_office import BoxOffice

EVENTS_KEPT = 100
"""Maps of so many events are kept, some 60 KB each of the largest halls; the one not asked for the
longest goes first."""

EVERYBODY = 10_000
"""As many as can wait at one moment share one reading."""

GZIP_MIN_BYTES = 1400
"""Smaller ones fit one packet as they are, as nginx has it (ops/nginx/compression.conf.j2)."""

GZIP_LEVEL = 1
"""A map of 50,000 seats, half of them sold, shrinks from 50 KB to 13 in a third of a millisecond;
level 6 takes ten times as long for 10."""


class EncodedMap:
    """``body`` is the JSON of the contract."""

    def __init__(self, seat_map: SeatMap):
        self.revision = seat_map.revision
        self._seats = seat_map.seats
        self.body = msgspec.json.encode({"revision": seat_map.revision, "seats": seat_map.seats})

    @property
    def is_worth_zipping(self) -> bool:
        return len(self.body) >= GZIP_MIN_BYTES

    @cached_property
    def availability(self) -> Availability:
        return Availability.of(self._seats)

    @cached_property
    def zipped(self) -> bytes:
        return gzip.compress(self.body, GZIP_LEVEL, mtime=0)


class SeatMaps:
    """Each reading asks Redis whether the map has changed, so nobody gets an old one; only those
    that wait at the same moment share a reading, and all who come share what is made of it."""

    def __init__(self, box_office: BoxOffice):
        self._box_office = box_office
        self._halls: RecentlyUsed[_Hall] = RecentlyUsed(EVENTS_KEPT)

    def of(self, event_id: str) -> EncodedMap:
        """Raises EventNotFound, Unavailable."""
        hall = self._halls.get(event_id)
        if hall is None:
            hall = _Hall(self._box_office, event_id)
            self._halls.put(event_id, hall)
        return hall.read()


class _Hall:
    def __init__(self, box_office: BoxOffice, event_id: str):
        self._box_office = box_office
        self._event_id = event_id
        self._last: EncodedMap | None = None
        self._readings = GroupCommit(self._read, EVERYBODY)

    def read(self) -> EncodedMap:
        return self._readings.call(None)

    def _read(self, callers: list[None]) -> list[EncodedMap]:
        known = self._last.revision if self._last else None
        changed = self._box_office.seat_map(self._event_id, known)
        if changed:
            self._last = EncodedMap(changed)
        return [self._last] * len(callers)
