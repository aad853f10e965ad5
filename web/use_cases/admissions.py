"""Admissions: each seat is let in once, however many gates ask at the same moment."""

import hashlib
from collections.abc import Sequence

from web.domain.admissions import Admission, Admitted, Attendance
from web.domain.refusals import (
    AlreadyAdmitted,
    InvalidRequest,
    NotATicket,
    OtherEvent,
    TicketRefunded,
)
from web.domain.sales import Booking
from web.ports.booking_store import BookingStore
from web.signing.ticket_codes import BadCode, Ticket, TicketCodes


class Admissions:
    def __init__(self, bookings: BookingStore, codes: TicketCodes):
        self._bookings = bookings
        self._codes = codes

    def admit(
        self, event_id: str, code: str, gate: str, key: str, seats: Sequence[str] | None = None
    ) -> Admitted:
        """Lets in those seats of a ticket that nobody has let in, or only those of ``seats``.
        ``key`` is the gate's own for this scan; the same one gets the same answer. Raises
        NotATicket, OtherEvent, TicketRefunded, AlreadyAdmitted, InvalidRequest, Unavailable."""
        ticket = self._ticket(event_id, code)
        wanted, key_digest = _wanted(ticket, seats), _digest(key)
        booking = self._bookings.admit(ticket.booking_id, wanted, gate, key_digest)
        return _outcome(booking, wanted, key_digest)

    def record(
        self,
        event_id: str,
        code: str,
        gate: str,
        key: str,
        admitted_ms_ago: int,
        seats: Sequence[str] | None = None,
    ) -> Admitted:
        """The same for seats that a gate without a connection has let in. What happened is written
        in any case; the refusals say that it should not have happened."""
        ticket = self._ticket(event_id, code)
        wanted, key_digest = _wanted(ticket, seats), _digest(key)
        booking = self._bookings.record_admission(
            ticket.booking_id, wanted, gate, key_digest, admitted_ms_ago
        )
        if booking:
            if len(_not_refunded(booking, wanted)) < len(wanted):
                raise TicketRefunded(booking.refunded_at)
            others = _of_others(booking, wanted, key_digest)
            if others:
                raise _already_admitted(others)
        return _outcome(booking, wanted, key_digest)

    def attendance(self, event_id: str) -> Attendance:
        return self._bookings.attendance(event_id)

    def _ticket(self, event_id: str, code: str) -> Ticket:
        try:
            ticket = self._codes.read_code(code.strip())
        except BadCode:
            raise NotATicket from None
        if ticket.event_id != event_id:
            raise OtherEvent(ticket.event_id)
        return ticket


def _outcome(booking: Booking | None, wanted: Sequence[str], key_digest: str) -> Admitted:
    """``booking`` as it is after the attempt."""
    if booking is None:
        raise NotATicket
    ours = [a for a in booking.admissions if a.key_digest == key_digest]
    if ours:
        return Admitted(tuple(a.seat for a in ours), booking.name, ours[0].admitted_at)
    if not _not_refunded(booking, wanted):
        raise TicketRefunded(booking.refunded_at)
    raise _already_admitted(_of_others(booking, wanted, key_digest))


def _not_refunded(booking: Booking, wanted: Sequence[str]) -> list[str]:
    if booking.refund_decided:
        return []
    under_way = booking.seat_refund.seats if booking.seat_refund else ()
    return [seat for seat in wanted if seat in booking.seats_left and seat not in under_way]


def _of_others(booking: Booking, wanted: Sequence[str], key_digest: str) -> list[Admission]:
    return [a for a in booking.admissions if a.seat in wanted and a.key_digest != key_digest]


def _already_admitted(others: Sequence[Admission]) -> AlreadyAdmitted:
    """With the latest admission, which explains best what the people at the gate see."""
    latest = max(others, key=lambda admission: admission.admitted_at)
    seats = tuple(dict.fromkeys(admission.seat for admission in others))
    return AlreadyAdmitted(seats, latest.admitted_at, latest.gate)


def _wanted(ticket: Ticket, seats: Sequence[str] | None) -> tuple[str, ...]:
    if seats is None:
        return ticket.seats
    for seat in seats:
        if seat not in ticket.seats:
            raise InvalidRequest("seats", f"{seat} is not on this ticket")
    return tuple(seat for seat in ticket.seats if seat in seats)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]
