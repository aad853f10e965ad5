"""How a sale is going, for the organiser."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from web.domain.events import Event, SeatState
from web.ports.booking_store import BookingStore, MinuteOfSales
from web.ports.event_catalogue import EventCatalogue
from web.ports.seat_store import Change, SeatStore
from web.use_cases.current_event import with_event

MINUTES_SHOWN = 60
CHANGES_SHOWN = 25


@dataclass(frozen=True)
class SaleReport:
    """``seat_map`` has a SeatState character a seat, in layout order, and ``seats`` counts them by
    state; both are from Redis. The sales are from MongoDB: ``minutes`` has one entry for each of
    the last MINUTES_SHOWN, oldest first, ending with the current one. ``changes`` are the latest,
    newest first.
    """

    event: Event
    seat_map: str
    seats: dict[SeatState, int]
    bookings: int
    revenue_minor: int
    minutes: Sequence[MinuteOfSales]
    changes: Sequence[Change]


def report_sale(
    catalogue: EventCatalogue, seats: SeatStore, bookings: BookingStore, event_id: str
) -> SaleReport:
    """Raises EventNotFound, Unavailable."""
    event, seat_states, changes = with_event(
        catalogue,
        event_id,
        lambda event: (
            event,
            seats.read_map(event).seats,
            seats.newest_changes(event, CHANGES_SHOWN),
        ),
    )
    this_minute = seats.now(event_id).replace(second=0, microsecond=0)
    minutes = [this_minute - timedelta(minutes=ago) for ago in reversed(range(MINUTES_SHOWN))]
    sales = bookings.sales(event_id, since=minutes[0])
    sold_in = {sale.minute: sale for sale in sales.minutes}
    return SaleReport(
        event=event,
        seat_map=seat_states,
        seats={state: seat_states.count(state) for state in SeatState},
        bookings=sales.bookings,
        revenue_minor=sales.revenue_minor,
        minutes=[sold_in.get(minute, MinuteOfSales(minute, 0)) for minute in minutes],
        changes=changes,
    )
