"""Putting declared events on sale, and keeping what is on sale true to the bookings."""

from web.domain import Event, EventChanged
from web.ports import BookingStore, SeatsMoved, SeatStore

OPENING_TRIES = 5

NAMED_SEATS = 5
"""How many seats a message names before it says "and so on"."""


class OpeningRefused(Exception):
    """The message says which seats stand in the way."""


def open_events(events: list[Event], seats: SeatStore, bookings: BookingStore) -> dict[str, bool]:
    """Opens each event, or brings it up to date with its definition and its bookings; again is
    fine. Returns event id to whether anything changed. Raises OpeningRefused when a definition
    would lose or renumber a seat that is held or sold; that event stays as it was."""
    bookings.create_index()
    seats.announce(event.id for event in events)
    return {event.id: _open(event, seats, bookings) for event in events}


def _open(event: Event, seats: SeatStore, bookings: BookingStore) -> bool:
    sold = bookings.sold_seats(event.id)
    if lost := [seat for seat in sold if seat not in event.positions]:
        raise OpeningRefused(
            f"{event.id}: the file no longer has seats that are sold: {_some(lost)}"
        )
    for _ in range(OPENING_TRIES):
        try:
            return seats.open_event(event, sold)
        except EventChanged:
            continue  # Another process opened it between our look and our change: look again.
        except SeatsMoved as moved:
            raise OpeningRefused(
                f"{event.id}: the file would renumber or drop seats that are held or sold: "
                f"{_some(moved.seats)}; add new seats at the end of the file"
            ) from None
    raise OpeningRefused(f"{event.id}: others keep opening it with another definition")


def _some(seats: list[str] | tuple[str, ...]) -> str:
    more = len(seats) - NAMED_SEATS
    return ", ".join(seats[:NAMED_SEATS]) + (f" and {more} more" if more > 0 else "")
