"""Who bought: the store of bookings, as the use cases see it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from web.domain.admissions import Attendance
from web.domain.booking_search import BookingSearch
from web.domain.sales import Booking, News, SeatRefund

BOOKING_STORE = "booking store"
"""What Unavailable calls this part of the service."""


class UnsafeToSell(Exception):
    """A store is set up in a way that breaks a guarantee. The message says how to fix it."""


class IndexMissing(UnsafeToSell):
    """The unique index on (event, seats) is missing: without it nothing stops a second sale of a
    seat, so nothing may be sold."""


class InsertUnknown(Exception):
    """The booking may or may not be in MongoDB: there was no response to its insert."""

    def __str__(self) -> str:
        return "the booking store did not say whether the booking was stored"


@dataclass(frozen=True)
class MinuteOfSales:
    """Seats booked in the minute that begins at ``minute`` (UTC)."""

    minute: datetime
    seats: int


@dataclass(frozen=True)
class Sales:
    """An event's sales without refunded bookings. ``minutes`` has only those in which something
    was booked."""

    bookings: int
    revenue_minor: int
    minutes: tuple[MinuteOfSales, ...]


@dataclass(frozen=True)
class BookingRow:
    """A booking as lists show it; the fields are those of Booking. ``seat_names`` are those of the
    sale; () in bookings from before they were stored."""

    id: str
    event_id: str
    name: str
    email: str
    seats: tuple[str, ...]
    refunded_seats: tuple[str, ...]
    seat_names: tuple[str, ...]
    amount_minor: int
    refunded_minor: int
    currency: str
    payment_id: str | None
    booked_at: datetime
    refunded_at: datetime | None

    @property
    def place(self) -> "Place":
        return Place(self.booked_at, self.id)


class Place(NamedTuple):
    """Where a booking is in a list by time."""

    booked_at: datetime
    booking_id: str


class BookingStore(Protocol):
    """All but insert raise Unavailable when MongoDB cannot be reached."""

    def ping(self) -> None: ...

    def require_reachable(self) -> None:
        """Raises Unavailable when no member of MongoDB's replica set can be reached, or the primary
        does not let us in, and IndexMissing when the unique index is known to be missing. Waits for
        no election."""
        ...

    def create_indexes(self) -> None:
        """Creates the unique index on (event, seats) and those that look-ups need, unless they
        exist."""
        ...

    def require_index(self) -> None:
        """Checks that the unique index exists, unless it did a moment ago. Raises IndexMissing.
        During an election a while ago is good enough."""
        ...

    def insert(self, booking: Booking) -> Booking:
        """The commit point of a sale. Returns what is stored: the same booking, or the one that an
        earlier attempt for the same hold stored. Raises SeatTaken when a seat is in another
        booking, InsertUnknown when there was no response (repeat it)."""
        ...

    def find(self, booking_id: str) -> Booking | None: ...

    def ids_like(self, booking_id: str) -> list[str]:
        """A few ids of bookings that begin like this one."""
        ...

    def with_news(self) -> Iterator[Booking]:
        """Those whose buyers have still to be told something by mail."""
        ...

    def find_all(self, booking_ids: Iterable[str]) -> dict[str, Booking]:
        """The ones that exist, by id."""
        ...

    def payment_ids(self, booking_ids: Iterable[str]) -> dict[str, str]:
        """The payment of each one that exists and has one, refunded or not, by the booking's id."""
        ...

    def holding(self, event_id: str, seats: Sequence[str]) -> list[Booking]:
        """The bookings that have any of these seats and were not refunded."""
        ...

    def refunded(self, event_id: str, seats: Sequence[str]) -> list[Booking]:
        """The bookings that had any of these seats and were refunded."""
        ...

    def sold_seats(
        self,
        event_id: str,
        *,
        among: Sequence[str] | None = None,
        since: datetime | None = None,
    ) -> list[str]:
        """The seats of bookings that were not refunded; if given, only those ``among`` these seats,
        or only of bookings made at or after ``since``."""
        ...

    def currencies(self, event_id: str) -> set[str]:
        """The currencies of bookings that were not refunded."""
        ...

    def sales(self, event_id: str, since: datetime) -> Sales:
        """Totals of all bookings; ``minutes`` only from ``since`` on."""
        ...

    def booked_ids(self, event_id: str) -> list[str]:
        """The ids of its bookings that were not refunded."""
        ...

    def begin_refund(self, booking_id: str) -> None:
        """Records that the booking is to be refunded; from then on the worker makes sure of it."""
        ...

    def mark_refunded(
        self, booking_id: str, refunded_at: datetime, news: News = "refunded"
    ) -> None:
        """The money is back; the seats may be in another booking. Idempotent."""
        ...

    def end_refund(self, booking_id: str) -> None:
        """The seats are on sale again: the refund is complete."""
        ...

    def begin_seat_refund(self, booking_id: str, refund: SeatRefund) -> None:
        """As begin_refund, of single seats. Does nothing while another one is under way, or when
        one of the seats is not in the booking any more."""
        ...

    def mark_seats_refunded(self, booking: Booking, refund: SeatRefund, at: datetime) -> None:
        """As mark_refunded. ``booking`` is as it was read while this refund was under way."""
        ...

    def end_seat_refund(self, booking_id: str, refund: SeatRefund) -> None:
        """It is complete, or will never be made."""
        ...

    def unfinished_refunds(self) -> list[Booking]:
        """Of whole bookings and of single seats."""
        ...

    def announce(
        self, event_id: str, news: News, at: datetime, since: datetime | None = None
    ) -> None:
        """Records that the buyers of all bookings that were not refunded, made at or after
        ``since`` if given, have still to be told."""
        ...

    def admit(
        self, booking_id: str, seats: Sequence[str], gate: str, key_digest: str
    ) -> Booking | None:
        """Writes an admission of each of these seats that is in the booking and has none, in one
        step; none when a refund was begun, or when ``key_digest`` was used before. The time is
        MongoDB's. Returns the booking as it is then."""
        ...

    def record_admission(
        self, booking_id: str, seats: Sequence[str], gate: str, key_digest: str, ms_ago: int
    ) -> Booking | None:
        """The same for what has happened ``ms_ago`` milliseconds ago: it is written even if a seat
        has an admission or was refunded."""
        ...

    def attendance(self, event_id: str) -> Attendance: ...

    def event_ids(self) -> Sequence[str]:
        """The events that have bookings, in order of their ids."""
        ...

    def search(
        self,
        event_id: str | None,
        wanted: BookingSearch,
        most: int,
        *,
        before: Place | None = None,
        after: Place | None = None,
    ) -> Sequence[BookingRow]:
        """The newest of those found, at most ``most``, newest first. ``before``: the newest that
        are older than this one. ``after``: of those that are newer, the ones next to it. Of all
        events if there is no ``event_id``."""
        ...

    def list(self, event_id: str | None = None) -> Iterator[Booking]:
        """Oldest first; those of all events if there is no ``event_id``."""
        ...
