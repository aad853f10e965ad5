"""Links and codes for buyers, signed with the service's secret key: the link of a hold, the link of
a receipt, and the code on the ticket that is scanned at the door."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from itsdangerous import BadData, URLSafeSerializer

from web.domain.sales import Booking


class BadCode(Exception):
    """Not signed by this service, or changed since."""


class Ticket(NamedTuple):
    booking_id: str
    event_id: str
    seats: tuple[str, ...]


class TicketCodes:
    """``fallbacks`` are former keys: printed tickets stay valid.

    A code is verified offline, so a door without a network can do it. It does not show a refund, or
    that a copy was already admitted: the door has to keep a list of the codes it has seen.
    """

    def __init__(self, secret_key: str, fallbacks: Sequence[str] = ()):
        # The last key is the one that signs.
        keys = [*reversed(fallbacks), secret_key]
        self._codes, self._links, self._hold_links = (
            URLSafeSerializer(keys, salt=salt, signer_kwargs={"digest_method": hashlib.sha256})
            for salt in ("ticket", "receipt", "hold link")
        )

    def code_of(self, booking: Booking) -> str:
        return self._codes.dumps([booking.id, booking.event_id, booking.seats])

    def read_code(self, code: str) -> Ticket:
        """Raises BadCode."""
        booking_id, event_id, seats, *_ = _read(self._codes, code)
        return Ticket(booking_id, event_id, tuple(seats))

    def link_of(self, event_id: str, hold_id: str) -> str:
        """The last part of a receipt's address. Anyone who has it can see the receipt."""
        return self._links.dumps([event_id, hold_id])

    def read_link(self, link: str) -> tuple[str, str]:
        """The event's id and the hold's. Raises BadCode."""
        event_id, hold_id, *_ = _read(self._links, link)
        return event_id, hold_id

    def hold_link_of(self, event_id: str, hold_id: str) -> str:
        """The last part of an address that carries a hold to another browser. Anyone who has it can
        pay for the hold; it does not open the receipt."""
        return self._hold_links.dumps([event_id, hold_id])

    def read_hold_link(self, link: str) -> tuple[str, str]:
        """The event's id and the hold's. Raises BadCode."""
        event_id, hold_id, *_ = _read(self._hold_links, link)
        return event_id, hold_id


def _read(serializer: URLSafeSerializer, text: str) -> list[str]:
    """Its parts, to which a later release may append others."""
    try:
        parts: list[str] = serializer.loads(text)
    except BadData:
        raise BadCode from None
    return parts
