"""Refunding a booking or seats of it at the organiser's request, and putting the seats on sale
again."""

import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from web.domain.events import Event
from web.domain.refusals import (
    BookingNotFound,
    EventNotFound,
    InvalidRequest,
    Unavailable,
)
from web.domain.sales import Booking, News, SeatRefund
from web.ports.booking_store import BOOKING_STORE, BookingStore
from web.ports.event_catalogue import EventCatalogue
from web.ports.payment_gateway import Gateway, NotAccepted, NotExecuted
from web.ports.seat_store import SeatStore
from web.use_cases.current_event import with_event

SEAT_REFUND_TRIES = 5
"""How often a refund of seats begins: other processes may be refunding other seats of the booking,
one after the other."""

log = logging.getLogger(__name__)


class Refunds:
    """Every step is idempotent. A refund that breaks off after the first is completed by the
    worker, or by doing the same again."""

    def __init__(
        self,
        catalogue: EventCatalogue,
        seats: SeatStore,
        bookings: BookingStore,
        gateway: Gateway,
    ):
        self._catalogue = catalogue
        self._seats = seats
        self._bookings = bookings
        self._gateway = gateway

    def refund(self, booking_id: str) -> Booking:
        """Refunds a booking, or what is left of it, and puts its seats on sale again. Raises
        BookingNotFound, Unavailable, NotExecuted, OutcomeUnknown."""
        try:
            booking = self.end_seat_refund(booking_id)
        except NotAccepted:
            booking = self._booking(booking_id)
        if booking.refunded_at is None:
            self._bookings.begin_refund(booking_id)
            self._give_money_back(booking)
            self._bookings.mark_refunded(booking_id, _now(), self._news_of(booking))
            log.info("refunded: %s of %s", booking_id, booking.event_id)
        booking = self._booking(booking_id)
        self.return_seats(booking)
        self._bookings.end_refund(booking_id)
        return booking

    def refund_seats(self, booking_id: str, seats: Sequence[str]) -> Booking:
        """The same for some seats of a booking, whose others stay booked; with the last of them the
        booking is refunded. Also raises InvalidRequest for a seat that is not in the booking,
        or whose price is not known any more."""
        wanted = set(seats)
        for _ in range(SEAT_REFUND_TRIES):
            booking = self.end_seat_refund(booking_id)
            if strangers := sorted(wanted - {*booking.seats}):
                raise InvalidRequest("seat", f"{', '.join(strangers)} is not in this booking")
            due = tuple(seat for seat in booking.seats_left if seat in wanted)
            if booking.refunded_at or not due:
                return booking
            if due == booking.seats_left:
                return self.refund(booking_id)
            price = self._price_of(booking, due)
            self._bookings.begin_seat_refund(booking_id, SeatRefund(due, price))
        raise Unavailable(BOOKING_STORE)

    def end_seat_refund(self, booking_id: str) -> Booking:
        """The booking, after a refund of seats that was under way has been completed, if there was
        one. Raises as ``refund`` does; NotAccepted when it will never be made."""
        booking = self._booking(booking_id)
        if refund := booking.seat_refund:
            if not refund.is_paid and not booking.refunded_at:
                try:
                    self._give_part_back(booking, refund)
                except NotAccepted:  # Less money is left, for example.
                    self._bookings.end_seat_refund(booking_id, refund)
                    raise
                self._bookings.mark_seats_refunded(booking, refund, _now())
                booking = self._booking(booking_id)
                log.info("refunded: %s of %s", ", ".join(refund.seats), booking_id)
            self.return_seats(booking)
            self._bookings.end_seat_refund(booking_id, refund)
            booking = self._booking(booking_id)
        return booking

    def return_seats(self, booking: Booking) -> None:
        """Puts the refunded seats of a booking on sale again that no other booking has and the
        event still has."""
        refunded = booking.seats if booking.refunded_at else booking.refunded_seats
        sold_again = {
            seat
            for other in self._bookings.holding(booking.event_id, refunded)
            for seat in other.seats_left
        }
        seats = [seat for seat in refunded if seat not in sold_again]

        def put_back(event: Event) -> None:
            there = [seat for seat in seats if seat in event.positions]
            self._seats.return_seats(event, booking, there)

        # Of an event that was withdrawn nothing is on sale.
        with suppress(EventNotFound):
            with_event(self._catalogue, booking.event_id, put_back)

    def _booking(self, booking_id: str) -> Booking:
        booking = self._bookings.find(booking_id)
        if booking is None:
            raise BookingNotFound
        return booking

    def _give_money_back(self, booking: Booking) -> None:
        if booking.payment_id is None:
            return
        try:
            self._gateway.refund(booking.payment_id, f"refund-{booking.id}")
        except NotExecuted as refused:
            # It may not have been captured yet: then there is nothing to give back but the hold on
            # the card. When that is not it, this is refused too, and the first refusal says why.
            try:
                self._gateway.void(booking.payment_id)
            except NotExecuted:
                raise refused from None

    def _give_part_back(self, booking: Booking, refund: SeatRefund) -> None:
        if booking.payment_id is None or not refund.amount_minor:
            return
        seats = hashlib.sha256("\n".join(sorted(refund.seats)).encode()).hexdigest()[:16]
        key = f"refund-{booking.id}-{seats}"
        try:
            self._gateway.refund_part(booking.payment_id, refund.amount_minor, key)
        except NotAccepted as refused:
            # It may not have been captured yet. When that is not it, the first refusal says why.
            try:
                self._gateway.capture(booking.payment_id)
            except NotExecuted:
                raise refused from None
            self._gateway.refund_part(booking.payment_id, refund.amount_minor, key)

    def _price_of(self, booking: Booking, seats: Sequence[str]) -> int:
        prices = self._prices(booking)
        return sum(prices[seat] for seat in seats)

    def _prices(self, booking: Booking) -> dict[str, int]:
        """What was paid for each seat. Bookings of former releases have only the sum."""
        paid, amount = booking.seats, booking.amount_minor
        if booking.sold_as and booking.sold_as.prices_minor:
            return dict(zip(paid, booking.sold_as.prices_minor, strict=True))
        each, rest = divmod(amount, len(paid))
        if not rest and len({seat.rsplit("-", 2)[0] for seat in paid}) == 1:
            return dict.fromkeys(paid, each)  # A section has one price.
        with suppress(EventNotFound, KeyError):
            event = self._catalogue.current_event(booking.event_id)
            now = {seat: event.amount_minor([event.positions[seat]]) for seat in paid}
            if sum(now.values()) == amount:
                return now
        raise InvalidRequest(
            "seat",
            "what it cost is not known, because prices have changed since this booking was made; "
            "refund the whole booking",
        )

    def _news_of(self, booking: Booking) -> News:
        with suppress(EventNotFound, Unavailable):
            if self._catalogue.current_event(booking.event_id).status == "cancelled":
                return "cancelled"
        return "refunded"


def _now() -> datetime:
    """Shown to people, and compared with nothing."""
    return datetime.now(UTC).replace(microsecond=0)
