"""Who bought: what the use cases ask of the store of bookings."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from web.domain.sales import Booking

BOOKING_STORE = "booking store"
"""What Unavailable calls this part of the service."""


class UnsafeToSell(Exception):
    """A store is set up in a way with which a promise cannot be kept. The message says how to mend
    it."""


class IndexMissing(UnsafeToSell):
    """The unique index on (event, seats) is not there: without it nothing stops a second sale of
    a seat, so nothing may be sold."""


class InsertUnknown(Exception):
    """The booking may be in MongoDB or not: the answer to its insert did not arrive."""

    def __str__(self) -> str:
        return "the booking store did not say whether the booking was stored"


@dataclass(frozen=True)
class MinuteOfSales:
    """Seats booked in the minute that begins then, in UTC."""

    minute: datetime
    seats: int


@dataclass(frozen=True)
class Sales:
    """Of an event, what was refunded left out. ``minutes`` has those in which something was
    booked."""

    bookings: int
    revenue_minor: int
    minutes: tuple[MinuteOfSales, ...]


class BookingStore(Protocol):
    """All but insert raise Unavailable when MongoDB cannot be reached."""

    def ping(self) -> None: ...

    def create_indexes(self) -> None:
        """Makes the unique index on (event, seats) and what look-ups need, where they are not there
        yet."""
        ...

    def require_index(self) -> None:
        """Looks for the unique index, unless it was there just now. Raises IndexMissing."""
        ...

    def insert(self, booking: Booking) -> Booking:
        """The commit point of a sale. Returns what is stored: the same booking, or the one that an
        earlier try of the same hold stored. Raises SeatTaken when a seat is in another booking,
        InsertUnknown when there was no answer (repeat it)."""
        ...

    def find(self, booking_id: str) -> Booking | None: ...

    def ids_like(self, booking_id: str) -> list[str]:
        """Of bookings whose ids begin like this one, a few."""
        ...

    def find_all(self, booking_ids: Iterable[str]) -> dict[str, Booking]:
        """Those that there are, by id."""
        ...

    def holding(self, event_id: str, seats: Sequence[str]) -> list[Booking]:
        """The bookings that have any of these seats and were not refunded."""
        ...

    def refunded(self, event_id: str, seats: Sequence[str]) -> list[Booking]:
        """The bookings that had any of these seats and were refunded."""
        ...

    def sold_seats(self, event_id: str) -> list[str]:
        """Of bookings that were not refunded."""
        ...

    def currencies(self, event_id: str) -> set[str]:
        """Of bookings that were not refunded."""
        ...

    def sales(self, event_id: str, since: datetime) -> Sales:
        """Sums of all bookings; ``minutes`` only since then."""
        ...

    def begin_refund(self, booking_id: str) -> None:
        """Notes that the booking is to be refunded; from then on the worker sees to it."""
        ...

    def mark_refunded(self, booking_id: str, refunded_at: datetime) -> None:
        """The money is back; the seats may be in another booking. Again changes nothing."""
        ...

    def end_refund(self, booking_id: str) -> None:
        """The seats are on sale again; nothing is left to do."""
        ...

    def unfinished_refunds(self) -> list[Booking]: ...

    def list(self, event_id: str | None = None) -> Iterator[Booking]:
        """Oldest first; of all events without ``event_id``."""
        ...
