"""The names of an event and its seats on a page: those of the sale if a booking has them, even if
the event is gone."""

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from web.domain.events import EventStatus, name_of_id, seat_name
from web.domain.refusals import EventNotFound, Unavailable
from web.domain.sales import Booking
from web.services import services


class EventNames(NamedTuple):
    """``zone`` is the event's time zone; UTC when it is not known any more. The times are None when
    the event has none, or they are not known any more."""

    id: str
    name: str
    venue: str
    zone: tzinfo
    starts_at: datetime | None = None
    doors_open_at: datetime | None = None
    ends_at: datetime | None = None
    status: EventStatus = "scheduled"


def event_names(event_id: str, booking: Booking | None = None) -> EventNames:
    """The current names. When the event is not known, because it was withdrawn or Redis is
    unreachable: those of the booking."""
    try:
        event = services().box_office.event_to_name(event_id)
    except (EventNotFound, Unavailable):
        sold_as = booking and booking.sold_as
        if not sold_as:
            return EventNames(event_id, name_of_id(event_id), "", UTC)
        zone = ZoneInfo(sold_as.timezone) if sold_as.timezone else UTC
        return EventNames(event_id, sold_as.event, sold_as.venue, zone, sold_as.starts_at)
    return EventNames(
        event_id,
        event.name,
        event.venue,
        event.zone,
        event.starts_at,
        event.doors_open_at,
        event.ends_at,
        event.status,
    )


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
