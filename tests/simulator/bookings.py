"""A booking store in memory. ``tests/adapters/test_booking_stores.py`` checks that it behaves like
MongoBookingStore; faults are injected by ``wires.py``."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from web.domain.booking_search import BookingSearch
from web.domain.refusals import SeatTaken
from web.domain.sales import Booking, News, SeatRefund
from web.ports.booking_store import BookingRow, MinuteOfSales, Place, Sales


class SimulatedBookings:
    """Implements BookingStore of ``web/ports/``."""

    def __init__(self):
        self._bookings: dict[str, Booking] = {}
        self._refunds_under_way: set[str] = set()

    def ping(self) -> None: ...

    def require_reachable(self) -> None: ...

    def create_indexes(self) -> None: ...

    def require_index(self) -> None: ...

    def insert(self, booking: Booking) -> Booking:
        if booking.id in self._bookings:
            return self._bookings[booking.id]
        taken = {
            seat
            for other in self.holding(booking.event_id, booking.seats)
            for seat in other.seats_left
        }
        if taken:
            raise SeatTaken(tuple(seat for seat in booking.seats if seat in taken))
        self._bookings[booking.id] = booking
        return booking

    def find(self, booking_id: str) -> Booking | None:
        return self._bookings.get(booking_id)

    def with_news(self) -> list[Booking]:
        return []

    def ids_like(self, booking_id: str) -> list[str]:
        return [known for known in self._bookings if known.startswith(booking_id[:8])]

    def find_all(self, booking_ids: Iterable[str]) -> dict[str, Booking]:
        return {i: self._bookings[i] for i in booking_ids if i in self._bookings}

    def payment_ids(self, booking_ids: Iterable[str]) -> dict[str, str]:
        found = self.find_all(booking_ids).values()
        return {booking.id: booking.payment_id for booking in found if booking.payment_id}

    def holding(self, event_id: str, seats: Sequence[str]) -> list[Booking]:
        return [b for b in self._booked(event_id) if not set(seats).isdisjoint(b.seats_left)]

    def refunded(self, event_id: str, seats: Sequence[str]) -> list[Booking]:
        return [
            booking
            for booking in self.list(event_id)
            if not set(seats).isdisjoint(
                booking.seats if booking.refunded_at else booking.refunded_seats
            )
        ]

    def sold_seats(
        self,
        event_id: str,
        *,
        among: Sequence[str] | None = None,
        since: datetime | None = None,
    ) -> list[str]:
        return [
            seat
            for booking in self._booked(event_id)
            if since is None or booking.booked_at >= since
            for seat in booking.seats_left
            if among is None or seat in among
        ]

    def currencies(self, event_id: str) -> set[str]:
        return {booking.currency for booking in self._booked(event_id)}

    def sales(self, event_id: str, since: datetime) -> Sales:
        booked = list(self._booked(event_id))
        minutes: dict[datetime, int] = {}
        for booking in booked:
            if booking.booked_at >= since:
                minute = booking.booked_at.replace(second=0, microsecond=0)
                minutes[minute] = minutes.get(minute, 0) + len(booking.seats_left)
        return Sales(
            bookings=len(booked),
            revenue_minor=sum(b.amount_minor - b.refunded_minor for b in booked),
            minutes=tuple(MinuteOfSales(minute, seats) for minute, seats in minutes.items()),
        )

    def begin_refund(self, booking_id: str) -> None:
        if booking_id in self._bookings:
            self._refunds_under_way.add(booking_id)

    def mark_refunded(
        self, booking_id: str, refunded_at: datetime, news: News = "refunded"
    ) -> None:
        booking = self._bookings.get(booking_id)
        if booking and not booking.refunded_at:
            self._bookings[booking_id] = replace(
                booking, refunded_at=refunded_at, news={news: refunded_at}
            )

    def end_refund(self, booking_id: str) -> None:
        self._refunds_under_way.discard(booking_id)

    def begin_seat_refund(self, booking_id: str, refund: SeatRefund) -> None:
        booking = self._bookings.get(booking_id)
        if booking is None or booking.refunded_at or booking.seat_refund:
            return
        if {*refund.seats} <= {*booking.seats_left}:
            self._bookings[booking_id] = replace(booking, seat_refund=refund)

    def mark_seats_refunded(self, booking: Booking, refund: SeatRefund, at: datetime) -> None:
        stored = self._bookings[booking.id]
        if stored.refunded_at or stored.seat_refund != refund:
            return
        self._bookings[booking.id] = replace(
            stored,
            refunded_seats=(*booking.refunded_seats, *refund.seats),
            refunded_minor=booking.refunded_minor + refund.amount_minor,
            seat_refund=replace(refund, is_paid=True),
            news={**stored.news, "refunded": at},
        )

    def end_seat_refund(self, booking_id: str, refund: SeatRefund) -> None:
        booking = self._bookings[booking_id]
        if booking.seat_refund and booking.seat_refund.seats == refund.seats:
            self._bookings[booking_id] = replace(booking, seat_refund=None)

    def unfinished_refunds(self) -> list[Booking]:
        of_seats = {booking.id for booking in self._bookings.values() if booking.seat_refund}
        return [self._bookings[i] for i in sorted(self._refunds_under_way | of_seats)]

    def announce(
        self, event_id: str, news: News, at: datetime, since: datetime | None = None
    ) -> None:
        for booking in tuple(self._booked(event_id)):
            if since is None or booking.booked_at >= since:
                self._bookings[booking.id] = replace(booking, news={**booking.news, news: at})

    def booked_ids(self, event_id: str) -> Sequence[str]:
        return [booking.id for booking in self._booked(event_id)]

    def event_ids(self) -> Sequence[str]:
        return sorted({booking.event_id for booking in self._bookings.values()})

    def search(
        self,
        event_id: str | None,
        wanted: BookingSearch,
        most: int,
        *,
        before: Place | None = None,
        after: Place | None = None,
    ) -> Sequence[BookingRow]:
        found = (row_of(booking) for booking in self.list(event_id) if is_found(wanted, booking))
        rows = sorted(found, key=lambda row: row.place)
        if after:
            return [row for row in rows if row.place > after][:most][::-1]
        return [row for row in reversed(rows) if not before or row.place < before][:most]

    def _booked(self, event_id: str) -> Iterator[Booking]:
        return (b for b in self.list(event_id) if not b.refunded_at)

    def list(self, event_id: str | None = None) -> Iterator[Booking]:
        booked = sorted(self._bookings.values(), key=lambda booking: booking.booked_at)
        return (b for b in booked if event_id in (None, b.event_id))


def row_of(booking: Booking) -> BookingRow:
    return BookingRow(
        id=booking.id,
        event_id=booking.event_id,
        name=booking.name,
        email=booking.email,
        seats=booking.seats,
        refunded_seats=booking.refunded_seats,
        seat_names=booking.sold_as.seats if booking.sold_as else (),
        amount_minor=booking.amount_minor,
        refunded_minor=booking.refunded_minor,
        currency=booking.currency,
        payment_id=booking.payment_id,
        booked_at=booking.booked_at,
        refunded_at=booking.refunded_at,
    )


def is_found(wanted: BookingSearch, booking: Booking) -> bool:
    def matches(pattern: str, *texts: str) -> bool:
        return any(re.search(pattern, text, re.IGNORECASE) for text in texts)

    seats = (*booking.seats, *(booking.sold_as.seats if booking.sold_as else ()))
    words = [matches(word, booking.name, booking.email) for word in wanted.words]
    return (
        wanted.finds_all
        or (bool(words) and all(words))
        or (wanted.seat != "" and matches(wanted.seat, *seats))
        or (
            wanted.id_prefix != ""
            and booking.id.startswith(wanted.id_prefix)
            and re.search(wanted.event, booking.event_id) is not None
        )
        or (wanted.payment_id != "" and booking.payment_id == wanted.payment_id)
    )
