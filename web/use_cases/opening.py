"""Putting declared events on sale, and keeping what is on sale true to the bookings."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from web.domain import Event, EventChanged, Payment
from web.ports import BookingStore, Gateway, GatewayError, SeatsMoved, SeatStore
from web.use_cases.payment_records import payment_of

OPENING_TRIES = 5

NAMED_SEATS = 5
"""How many seats a message names before it says "and so on"."""

UNDER_WAY = timedelta(hours=1)
"""How far back the gateway is asked for payments that were under way when Redis lost the event:
many times longer than one takes. The worker lets older ones go."""

log = logging.getLogger(__name__)


class OpeningRefused(Exception):
    """The message says which seats stand in the way."""


class Opening:
    def __init__(self, seats: SeatStore, bookings: BookingStore, gateway: Gateway):
        self._seats = seats
        self._bookings = bookings
        self._gateway = gateway

    def open_events(self, events: Sequence[Event]) -> dict[str, bool]:
        """Opens each event, or brings it up to date with its definition and its bookings; again is
        fine. Returns event id to whether anything changed. Raises OpeningRefused when a definition
        would lose or renumber a seat that is held or sold; that event stays as it was."""
        self._bookings.create_indexes()
        return {event.id: self.open_event(event) for event in events}

    def open_event(self, event: Event, seen_revision: int = 0) -> bool:
        """As ``open_events``, for one. ``seen_revision`` is the highest that anybody has seen: an
        event whose revision is lower has gone back in time, and gets one above."""
        self._check_sold(event, self._bookings.sold_seats(event.id))
        self._seats.announce([event.id])
        if self._seats.revision(event.id) is None:
            # Built closed, and opened with the bookings of a moment when it was there already: the
            # seats of a booking that is made meanwhile are marked by that booking's own process.
            self._seats.build_event(event, self._under_way(event))
        for _ in range(OPENING_TRIES):
            sold = self._bookings.sold_seats(event.id)
            try:
                return self._seats.open_event(event, sold, seen_revision)
            except EventChanged:
                continue  # Another process opened it between our look and our change: look again.
            except SeatsMoved as moved:
                raise OpeningRefused(
                    f"{event.id}: the file would renumber or drop seats that are held or sold: "
                    f"{_some(moved.seats)}; add new seats at the end of the file"
                ) from None
        raise OpeningRefused(f"{event.id}: others keep opening it with another definition")

    def _check_sold(self, event: Event, sold: Sequence[str]) -> None:
        if lost := [seat for seat in sold if seat not in event.positions]:
            raise OpeningRefused(
                f"{event.id}: the file no longer has seats that are sold: {_some(lost)}"
            )

    def _under_way(self, event: Event) -> list[Payment]:
        """Payments for seats of the event that the gateway has authorised and nobody has booked.
        Without the gateway the event is opened all the same: MongoDB's index decides then whose
        seats they are, and a payment that comes too late is void."""
        try:
            authorized = [
                payment_of(authorization)
                for authorization in self._gateway.list(datetime.now(UTC) - UNDER_WAY)
                if authorization.status == "authorized"
                and authorization.metadata.get("event") == event.id
            ]
        except GatewayError as error:
            log.warning("%s: opened without asking for payments under way: %s", event.id, error)
            return []
        sold = set(self._bookings.sold_seats(event.id))
        return [
            payment
            for payment in authorized
            if not sold.intersection(payment.seats)
            and all(seat in event.positions for seat in payment.seats)
        ]


def _some(seats: Sequence[str]) -> str:
    more = len(seats) - NAMED_SEATS
    return ", ".join(seats[:NAMED_SEATS]) + (f" and {more} more" if more > 0 else "")
