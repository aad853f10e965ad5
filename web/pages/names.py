"""The names of an event and its seats on a page: those of the sale if a booking has them, even if
the event is gone."""

from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import NamedTuple

from web.domain.events import name_of_id, seat_name
from web.domain.refusals import EventNotFound, Unavailable
from web.domain.sales import Booking
from web.services import services


class EventNames(NamedTuple):
    """``zone`` is the event's time zone; UTC when it is not known any more."""

    id: str
    name: str
    venue: str
    zone: tzinfo


def event_names(event_id: str, booking: Booking | None = None) -> EventNames:
    """The current names. When the event is not known, because it was withdrawn or Redis is
    unreachable: those of the booking."""
    try:
        event = services().box_office.event_to_name(event_id)
    except (EventNotFound, Unavailable):
        sold_as = booking and booking.sold_as
        name, venue = (sold_as.event, sold_as.venue) if sold_as else (name_of_id(event_id), "")
        return EventNames(event_id, name, venue, UTC)
    return EventNames(event_id, event.name, event.venue, event.zone)


def names_of_seats(
    event_id: str, seats: Sequence[str], booking: Booking | None = None
) -> Sequence[str]:
    if booking and booking.sold_as:
        return booking.sold_as.seats
    try:
        event = services().box_office.event_to_name(event_id)
    except (EventNotFound, Unavailable):
        return [seat_name(seat) for seat in seats]
    return [event.seat_name(seat) for seat in seats]
