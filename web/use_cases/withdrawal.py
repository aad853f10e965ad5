"""Taking an event off the list and out of Redis. Its bookings stay, and their receipts open."""

from web.ports.event_catalogue import EventCatalogue
from web.ports.seat_store import EventInUse, SeatStore


def withdraw(catalogue: EventCatalogue, seats: SeatStore, event_id: str) -> None:
    """Safe to repeat, also when it was killed at any point. Raises EventInUse, Unavailable, and
    EventNotFound, also when the event was withdrawn before."""
    seats.withdraw_event(event_id, only_look=True)
    # First, so that no worker takes the event for lost.
    catalogue.withdraw(event_id)
    try:
        seats.withdraw_event(event_id)
    except EventInUse:  # Somebody was faster.
        catalogue.add([event_id])
        raise
