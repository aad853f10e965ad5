"""The tickets of a booking, as its receipt and its mail show them."""

from collections.abc import Sequence
from typing import NamedTuple

from web.domain.sales import Booking
from web.services import services


class Ticket(NamedTuple):
    """``admits`` is what a person reads below the code; ``title`` names its picture."""

    admits: str
    title: str
    code: str


def tickets_of(booking: Booking, names: Sequence[str]) -> list[Ticket]:
    """The one for all seats that were not refunded; then, if there are several, one for each.
    ``names`` are those of all its seats. None for a booking that was refunded."""
    left, codes = booking.seats_left, services().codes
    if booking.refunded_at:
        return []
    number = len(left)
    everybody = "1 person" if number == 1 else f"{number} people"
    of_all = Ticket(f"For {everybody}", "Ticket code", codes.code_of(booking))
    if number == 1:
        return [of_all]
    return [
        of_all,
        *(
            Ticket(name, f"Ticket code of {name}", codes.code_of(booking, seat))
            for seat, name in zip(booking.seats, names, strict=True)
            if seat in left
        ),
    ]
