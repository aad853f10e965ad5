"""Refunding a booking at the organiser's request, and putting its seats on sale again."""

import logging
from contextlib import suppress
from datetime import UTC, datetime

from web.domain.events import Event
from web.domain.refusals import BookingNotFound, EventNotFound
from web.domain.sales import Booking
from web.ports.booking_store import BookingStore
from web.ports.event_catalogue import EventCatalogue
from web.ports.payment_gateway import Gateway, NotExecuted
from web.ports.seat_store import SeatStore
from web.use_cases.current_event import with_event

log = logging.getLogger(__name__)


class Refunds:
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
        """Refunds a booking and puts its seats on sale again. Each step is idempotent; a refund
        interrupted after the first is completed by the worker. Raises BookingNotFound, Unavailable,
        NotExecuted, OutcomeUnknown."""
        booking = self._booking(booking_id)
        if booking.refunded_at is None:
            self._bookings.begin_refund(booking_id)
            self._give_money_back(booking)
            now = datetime.now(UTC)  # shown to people, and compared with nothing
            self._bookings.mark_refunded(booking_id, now.replace(microsecond=0))
            log.info("refunded: %s of %s", booking_id, booking.event_id)
        self.return_seats(booking)
        self._bookings.end_refund(booking_id)
        return self._booking(booking_id)

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

    def return_seats(self, booking: Booking) -> None:
        """Puts those seats of a refunded booking on sale again that no other booking has and the
        event still has."""
        sold_again = {
            seat
            for other in self._bookings.holding(booking.event_id, booking.seats)
            for seat in other.seats
        }
        seats = [seat for seat in booking.seats if seat not in sold_again]

        def put_back(event: Event) -> None:
            there = [seat for seat in seats if seat in event.positions]
            self._seats.return_seats(event, booking, there)

        # Of an event that was withdrawn nothing is on sale.
        with suppress(EventNotFound):
            with_event(self._catalogue, booking.event_id, put_back)
