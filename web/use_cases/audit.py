"""Read-only: checks that Redis, MongoDB and the gateway agree, and that their state satisfies the
invariants (design: "Rules that always hold", as far as they can be checked at rest)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice

from web.domain.admissions import Admission
from web.domain.currencies import currency_of
from web.domain.events import SeatState
from web.domain.journal import JournalBroken
from web.domain.refusals import Refusal, Unavailable
from web.domain.sales import Booking, HoldStatus, rfc3339
from web.ports.audited_seats import AuditedSeats, EventState
from web.ports.booking_store import BookingStore, IndexMissing
from web.ports.event_catalogue import EventCatalogue
from web.ports.payment_gateway import Gateway, GatewayError, GatewayPayment
from web.use_cases.current_event import with_event

GATEWAY_WINDOW = timedelta(days=1)
"""How far back payments are compared."""

PAID_BEFORE = timedelta(hours=1)
"""How long before its booking a payment may have been made, by a clock other than the booking's: it
was finished after an hour without MongoDB, or one of the clocks is wrong."""

BATCH = 1_000
"""Receipts whose bookings are looked up together."""

OPEN = {
    "authorized": "is reserved",
    "action_required": "can still be confirmed at the bank",
}
"""The states of payments that somebody still has to end, in words."""

TOLD_WITHIN = timedelta(hours=1)
"""How long a mail may be due: some servers take an hour to believe a new sender."""

GRACE_MS = 5_000
"""How late the worker may be with expired holds and leases."""


@dataclass
class _Known:
    """What Redis says of the events, and why it says nothing of those that are ``away``.
    ``without_list`` is why only events with bookings are known."""

    states: list[EventState] = field(default_factory=list)
    away: dict[str, Refusal] = field(default_factory=dict)
    without_list: Unavailable | None = None

    @property
    def event_ids(self) -> list[str]:
        return [*self.away, *(state.event.id for state in self.states)]


@dataclass
class Check:
    """``rule`` in words; ``looked_at`` is the number of things that were checked; each of
    ``problems`` describes a difference; ``not_looked_at`` is why the check could not be made, or
    not completed; ``note`` is worth knowing and no problem."""

    rule: str
    looked_at: int = 0
    problems: list[str] = field(default_factory=list)
    not_looked_at: str | None = None
    note: str | None = None

    @property
    def findings(self) -> list[str]:
        """Everything that keeps the check from passing."""
        unseen = [f"{self.rule}: not looked at: {self.not_looked_at}"] if self.not_looked_at else []
        return self.problems + unseen

    def expect(self, holds: bool, problem: str) -> None:
        self.looked_at += 1
        if not holds:
            self.problems.append(problem)


def audit(
    catalogue: EventCatalogue,
    seats: AuditedSeats,
    bookings: BookingStore,
    gateway: Gateway,
    window: timedelta = GATEWAY_WINDOW,
) -> list[Check]:
    """All checks, each with its problems, or why it could not be made."""
    auditor = _Auditor(catalogue, seats, bookings, gateway, window)
    return [auditor.run(rule, look) for rule, look in auditor.checks()]


class _Auditor:
    def __init__(
        self,
        catalogue: EventCatalogue,
        seats: AuditedSeats,
        bookings: BookingStore,
        gateway: Gateway,
        window: timedelta,
    ):
        self._catalogue = catalogue
        self._seats = seats
        self._bookings = bookings
        self._gateway = gateway
        self._window = window

    def run(self, rule: str, look: Callable[[Check], None]) -> Check:
        check = Check(rule)
        try:
            look(check)
        except (Refusal, GatewayError) as error:
            check.not_looked_at = str(error)
        return check

    def checks(self) -> Iterator[tuple[str, Callable[[Check], None]]]:
        yield "no seat is in two bookings", self._one_booking_a_seat
        yield "captured payments and bookings match, amounts too", self._payments_match_bookings
        yield "no money stays reserved", self._nothing_stays_reserved
        yield "every receipt is in MongoDB", self._receipts_are_booked
        yield "holds and payments end in time", self._nothing_is_overdue
        yield "every seat is in the state that its hold or booking says", self._seats_have_reasons
        yield "clients and networks hold as many seats as is counted", self._clients_are_counted
        yield "the journal leads to the seat map", self._journal_leads_to_the_map
        yield "sales are open and closed as their files say", self._sales_are_as_declared
        yield "all bookings of cancelled events are refunded", self._cancelled_is_refunded
        yield "every seat was let in once, and none after its refund", self._let_in_once
        yield "buyers get their mails in time", self._buyers_are_told

    # ------------------------------------------------------------ MongoDB and the gateway

    def _one_booking_a_seat(self, check: Check) -> None:
        try:
            self._bookings.require_index()
        except IndexMissing as error:
            check.expect(False, str(error))
        booked = Counter(
            (booking.event_id, seat) for booking in self._booked() for seat in booking.seats_left
        )
        for (event_id, seat), bookings in booked.items():
            check.expect(bookings == 1, f"{event_id}: {seat} is in {bookings} bookings")

    def _payments_match_bookings(self, check: Check) -> None:
        bookings = {b.payment_id: b for b in self._booked() if b.payment_id}
        payments = {p.payment_id: p for p in self._payments}
        for payment_id, booking in bookings.items():
            if booking.booked_at < self._since:
                continue
            payment = payments.get(payment_id)
            check.expect(
                payment is not None and _pays_for(payment, booking),
                f"booking {booking.id} is {_money(booking)}, and its payment {payment_id} "
                + (f"is {_money(payment)}, {payment.status}" if payment else "does not exist"),
            )
            if payment and _pays_for(payment, booking):
                check.expect(
                    payment.refunded_minor == booking.refunded_minor,
                    f"{_written(booking.refunded_minor, booking)} of booking {booking.id} was "
                    f"refunded, and {_written(payment.refunded_minor, booking)} of its payment "
                    f"{payment_id}",
                )
        for payment_id, payment in payments.items():
            if payment.status == "captured":
                check.expect(payment_id in bookings, f"{payment_id} is captured for no booking")

    def _nothing_stays_reserved(self, check: Check) -> None:
        under_way = {hold_id for state in self._states(check) for hold_id in state.payments}
        for payment in self._payments:
            if payment.metadata.get("event") in self._known.away:
                continue
            check.expect(
                payment.status not in OPEN or payment.metadata.get("hold_id") in under_way,
                f"{payment.payment_id} {OPEN.get(payment.status)}, and no payment is under way",
            )

    def _booked(self) -> Iterator[Booking]:
        return (booking for booking in self._bookings.list() if not booking.refunded_at)

    @cached_property
    def _payments(self) -> list[GatewayPayment]:
        listed = self._gateway.list(self._since - PAID_BEFORE)
        return [p for p in listed if "booking_id" in p.metadata]

    @cached_property
    def _since(self) -> datetime:
        return self._gateway.now() - self._window

    # ------------------------------------------------------------ Redis and MongoDB

    @cached_property
    def _known(self) -> "_Known":
        known = _Known()
        try:
            event_ids = self._catalogue.event_ids()
        except Unavailable as unavailable:
            known.without_list = unavailable
            event_ids = sorted({booking.event_id for booking in self._bookings.list()})
        for event_id in event_ids:
            try:
                state = with_event(self._catalogue, event_id, self._seats.snapshot)
            except Refusal as refusal:
                known.away[event_id] = refusal
            else:
                known.states.append(state)
        return known

    def _states(self, check: Check) -> list[EventState]:
        """Of the events that can be read. The others are what the check has not looked at."""
        unseen = [
            f"{event_id}: {self._reason(event_id, refusal)}"
            for event_id, refusal in self._known.away.items()
        ]
        if self._known.without_list:
            unseen.append(
                f"events without bookings, because of their list: {self._known.without_list}"
            )
        check.not_looked_at = "; ".join(unseen) or None
        return self._known.states

    def _reason(self, event_id: str, refusal: Refusal) -> str:
        if event_id in self._servers_away:
            address = self._servers_away[event_id]
            return f"{refusal} at {address}" if address else str(refusal)
        if isinstance(refusal, Unavailable):
            return "Redis does not have it, or has lost a part of it"
        return str(refusal)

    @cached_property
    def _servers_away(self) -> dict[str, str]:
        """By event, the address of the server that has it and cannot be reached."""
        return {
            event_id: server.address
            for server in self._catalogue.servers(self._known.away)
            if server.failure
            for event_id in server.event_ids
        }

    def _receipts_are_booked(self, check: Check) -> None:
        self._bookings.ping()  # Without receipts nobody would ask it.
        receipts = self._seats.receipts(self._known.event_ids)
        while batch := {receipt.booking_id: receipt for receipt in islice(receipts, BATCH)}:
            bookings = self._bookings.find_all(batch)
            for booking_id, receipt in batch.items():
                booking = bookings.get(booking_id)
                check.expect(
                    booking is not None and booking.receipt() == receipt,
                    f"{receipt.event}: a receipt was given for booking {booking_id} of "
                    f"{', '.join(receipt.seats)}, and "
                    + ("the booking says otherwise" if booking else "there is no such booking"),
                )

    def _nothing_is_overdue(self, check: Check) -> None:
        left_at_bank_ms = []
        for state in self._states(check):
            at_bank = {h: hold for h, hold in state.holds.items() if hold.at_bank_until_ms}
            left_at_bank_ms += [
                hold.at_bank_until_ms - state.now_ms
                for hold in at_bank.values()
                if hold.at_bank_until_ms > state.now_ms
            ]
            for hold_id, due_ms in (state.due | state.payments).items():
                late_ms = state.now_ms - due_ms
                where = " at the bank" if hold_id in at_bank else ""
                check.expect(late_ms < GRACE_MS, f"{hold_id} is {late_ms} ms over its time{where}")
        if left_at_bank_ms:
            number, longest_s = len(left_at_bank_ms), max(left_at_bank_ms) // 1000
            are = "payment is" if number == 1 else "payments are"
            check.note = f"{number} {are} at the bank, for at most {longest_s} s from now"

    def _seats_have_reasons(self, check: Check) -> None:
        self._bookings.ping()
        for state in self._states(check):
            sold = set(self._bookings.sold_seats(state.event.id))
            expected = [
                SeatState.SOLD if seat in sold else SeatState.FREE for seat in state.event.seats
            ]
            for hold_id, hold in state.holds.items():
                paying = hold.status is HoldStatus.PAYING
                check.expect(
                    hold_id in (state.payments if paying else state.due),
                    f"{hold_id} is {hold.status} and nobody waits for its end",
                )
                for position in hold.positions:
                    check.expect(
                        expected[position] is SeatState.FREE,
                        f"{state.event.seats[position]} of {hold_id} is somebody else's too",
                    )
                    expected[position] = SeatState.PAYING if paying else SeatState.HELD
            check.expect(len(state.seats) == len(expected), "the map has another length")
            for seat, is_, should_be in zip(state.event.seats, state.seats, expected, strict=False):
                check.expect(
                    is_ == should_be,
                    f"{state.event.id}: {seat} is {_word(is_)}, and should be {_word(should_be)}",
                )

    def _sales_are_as_declared(self, check: Check) -> None:
        for state in self._states(check):
            event, now = state.event, datetime.fromtimestamp(state.now_ms / 1000, UTC)
            check.expect(
                state.sale_closed_ms is None or event.sale_is_over(now),
                f"{event.id}: its sale was closed by hand, and its file says otherwise; write "
                "sale_closes_at into the file and open it, or open the sale again",
            )

    def _cancelled_is_refunded(self, check: Check) -> None:
        for state in self._states(check):
            if state.event.status == "cancelled":
                left = len(self._bookings.booked_ids(state.event.id))
                bookings = "1 booking is" if left == 1 else f"{left} bookings are"
                check.expect(
                    not left,
                    f"{state.event.id}: it was cancelled, and {bookings} not refunded yet; the "
                    "worker goes on, and so does `events open` with its file",
                )

    def _let_in_once(self, check: Check) -> None:
        """What doors without a connection did; with one, MongoDB prevents both."""
        let_in: defaultdict[tuple[str, str], list[Admission]] = defaultdict(list)
        since = datetime.now(UTC) - self._window
        for booking in self._bookings.list():
            for admission in booking.admissions:
                if admission.admitted_at < since:
                    continue
                let_in[booking.event_id, admission.seat].append(admission)
                check.expect(
                    not admission.after_refund,
                    f"{booking.event_id}: {admission.seat} of {booking.id} was let in "
                    f"{_where(admission)}, after its refund",
                )
        for (event_id, seat), admissions in let_in.items():
            times = "; ".join(_where(admission) for admission in admissions)
            check.expect(
                len(admissions) == 1, f"{event_id}: {seat} was let in more than once: {times}"
            )

    def _buyers_are_told(self, check: Check) -> None:
        now = self._gateway.now()
        for booking in self._bookings.with_news():
            for news, since in booking.news.items():
                check.expect(
                    now - since < TOLD_WITHIN,
                    f"{booking.id}: the mail about it ({news}) is due since {rfc3339(since)}",
                )
        given_up = sum(1 for booking in self._bookings.list() if booking.mail.given_up)
        if given_up:
            are = "mail was" if given_up == 1 else "mails were"
            check.note = f"{given_up} {are} given up; `bookings show` says why (mail.given_up)"

    def _clients_are_counted(self, check: Check) -> None:
        for state in self._states(check):
            held: Counter[str] = Counter()
            most: dict[str, int] = {}
            for hold in state.holds.values():
                held[hold.client] += len(hold.positions)
                most[hold.client] = state.event.max_held_per_client
                if hold.network:
                    held[hold.network] += len(hold.positions)
                    most[hold.network] = state.event.network_max
            for holder in held.keys() | state.clients.keys():
                counted = state.clients.get(holder, 0)
                check.expect(
                    counted == held[holder] <= most.get(holder, 0),
                    f"{state.event.id}: {holder} holds {held[holder]}, counted as {counted}",
                )

    def _journal_leads_to_the_map(self, check: Check) -> None:
        for state in self._states(check):
            try:
                replayed = self._seats.replay_journal(state.event.id, state.revision)
            except JournalBroken as error:
                check.expect(False, f"{state.event.id}: the journal is broken: {error}")
                continue
            check.expect(
                (replayed.revision, replayed.seats) == (state.revision, state.seats),
                f"{state.event.id}: the journal ends at revision {replayed.revision} of "
                f"{state.revision}, and its map is {_difference(replayed.seats, state.seats)}",
            )


def _where(admission: Admission) -> str:
    return f"at {rfc3339(admission.admitted_at)}, gate {admission.gate}"


def _pays_for(payment: GatewayPayment, booking: Booking) -> bool:
    return (payment.status, payment.amount_minor, payment.currency) == (
        "captured",
        booking.amount_minor,
        booking.currency,
    )


def _money(paid: Booking | GatewayPayment) -> str:
    return _written(paid.amount_minor, paid)


def _written(amount_minor: int, paid: Booking | GatewayPayment) -> str:
    return currency_of(paid.currency).written(amount_minor)


def _word(state: str) -> str:
    """``sold``; whatever else the map has is shown as it is."""
    return SeatState(state).name.lower() if state in {*SeatState} else repr(state)


def _difference(replayed: str, seats: str) -> str:
    differing = [
        p for p, pair in enumerate(zip(replayed, seats, strict=False)) if len(set(pair)) > 1
    ]
    return f"different at positions {differing[:5]}" if differing else "the same"
