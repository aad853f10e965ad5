"""Links and codes for buyers, signed with the service's secret key: the link of a hold, the link of
a receipt, and the codes on the tickets that are scanned at the door."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from itsdangerous import BadData, URLSafeSerializer

from web.domain.sales import Booking
from web.signing.ticket_keys import SIGNATURE_BYTES, TicketKeys

MAX_CODE_LENGTH = 4096
"""Twice the longest: 100 seats, in a code of a former release."""

_CODE = re.compile(r"T1\.([\w-]+)\.([a-z0-9-]+)\.([A-Za-z0-9,-]+)(?:\.[\w-]+)*", re.ASCII)
"""Booking, event and seats, and perhaps what a later release appends."""


class BadCode(Exception):
    """Not signed by this service, or changed since."""


class Ticket(NamedTuple):
    booking_id: str
    event_id: str
    seats: tuple[str, ...]


class TicketCodes:
    """``fallbacks`` are former keys: printed tickets stay valid.

    A ticket's code is ``T1.{booking}.{event}.{seats}.{signature}``, with an Ed25519 signature in
    base64url of everything before its dot: a door verifies it offline, with the public key alone.
    It does not show a refund, or that somebody was already admitted with it.

    Codes of former releases are signed with the secret key itself, which no door may have.
    """

    def __init__(self, secret_key: str, fallbacks: Sequence[str] = ()):
        self.keys = TicketKeys(secret_key, fallbacks)
        # The last key is the one that signs.
        keys = [*reversed(fallbacks), secret_key]
        self._former_codes, self._links, self._hold_links = (
            URLSafeSerializer(keys, salt=salt, signer_kwargs={"digest_method": hashlib.sha256})
            for salt in ("ticket", "receipt", "hold link")
        )

    def code_of(self, booking: Booking, *seats: str) -> str:
        """Of the ticket for ``seats`` of the booking, by default for all that were not refunded."""
        seat_list = ",".join(_shortened(seats or booking.seats_left))
        signed = f"T1.{booking.id}.{booking.event_id}.{seat_list}"
        return f"{signed}.{_base64url(self.keys.sign(signed.encode()))}"

    def read_code(self, code: str) -> Ticket:
        """Raises BadCode."""
        if len(code) > MAX_CODE_LENGTH:
            raise BadCode
        if code.startswith("T1."):
            return self._read_signed(code)
        booking_id, event_id, seats, *_ = _read(self._former_codes, code)
        return Ticket(booking_id, event_id, tuple(seats))

    def _read_signed(self, code: str) -> Ticket:
        signed, _, signature = code.rpartition(".")
        parts = _CODE.fullmatch(signed)
        if not parts or not self.keys.has_signed(signed.encode(), _signature(signature)):
            raise BadCode
        return Ticket(parts[1], parts[2], tuple(_full(parts[3].split(","))))

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


def _shortened(seats: Sequence[str]) -> Iterator[str]:
    """``stalls-A-1``, ``2``, ``3``: a number alone is in the row of the seat before it. 50 seats
    make a QR code that a telephone can still read."""
    row_before = ""
    for seat in seats:
        row, _, number = seat.rpartition("-")
        yield number if row == row_before else seat
        row_before = row


def _full(seats: Sequence[str]) -> Iterator[str]:
    row = ""
    for seat in seats:
        own_row, _, number = seat.rpartition("-")
        row = own_row or row
        yield f"{row}-{number}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signature(text: str) -> bytes:
    """Raises BadCode. Only one spelling of a signature is valid, so that one ticket is one code."""
    try:
        signature = base64.urlsafe_b64decode(f"{text}==")
    except (binascii.Error, ValueError):
        raise BadCode from None
    if len(signature) != SIGNATURE_BYTES or _base64url(signature) != text:
        raise BadCode
    return signature


def _read(serializer: URLSafeSerializer, text: str) -> list[str]:
    """Its parts, to which a later release may append others."""
    try:
        parts: list[str] = serializer.loads(text)
    except BadData:
        raise BadCode from None
    return parts
