"""The money: authorise, book, capture, confirm, in this order (design: "Paying").

Every step is idempotent, so a payment that was left half done is finished by doing the rest of it
again. The insert of the booking is the commit point: before it a payment is undone, after it a
payment is finished, whatever happens.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from web.domain.events import Event
from web.domain.refusals import (
    NOT_ACCEPTED,
    NOT_COMPLETED,
    AlreadyBooked,
    EarlierRefusal,
    EventNotFound,
    HoldExpired,
    HoldNotFound,
    IdempotencyKeyReused,
    InvalidRequest,
    NotKnownNow,
    PaymentDeclined,
    PaymentInProgress,
    PaymentNotFound,
    PaymentPending,
    PaymentsBusy,
    PaymentsClosed,
    Refusal,
    SeatTaken,
    Unavailable,
)
from web.domain.sales import (
    DEFAULT_LEASE_S,
    Booking,
    Buyer,
    HoldRef,
    PaymentAttempt,
    Receipt,
    SoldAs,
    booking_id_of,
)
from web.ports.booking_store import BookingStore, InsertUnknown
from web.ports.event_catalogue import EventCatalogue
from web.ports.payment_gateway import (
    Gateway,
    GatewayError,
    GatewayPayment,
    KeyUsed,
    NotAccepted,
    NotAllowed,
    NotExecuted,
    OutcomeUnknown,
    TooBusy,
)
from web.ports.seat_store import EarlierReceipt, SeatStore
from web.signing.hold_tokens import HoldTokens
from web.use_cases.current_event import with_event
from web.use_cases.gateway_metadata import metadata_of

CHECKPOINTS = ("begun", "authorized", "lease_renewed", "booked", "captured", "confirmed")
"""Each is reached when the step of its name is done. Tests stop the process there. When the step
after a checkpoint gets no response, this is the state of the payment:

    checkpoint     seats   booking  money       response  what the worker does after the lease
    begun          paying  none     none        202       retires its gateway key, then undoes it:
                                                          402 for the same key
    authorized     paying  none     authorized  202       books, captures, confirms
    lease_renewed  paying  none     authorized  202       the same, a whole lease later
    booked         paying  stored   authorized  202       captures, confirms
    captured       paying  stored   captured    201       confirms
    confirmed      sold    stored   captured    201       nothing

The step may still have had its effect, so the worker looks. When the process is killed, nginx
returns 504. Seats that cost nothing need no authorisation: from "begun" on the worker books them.
"""

GATEWAY_TRIES = 2
"""Calls with the same key before the gateway's list is read instead."""

INSERT_TRIES = 4
"""Each has MongoDB's whole time-out, so that a payment outlasts an election, also by MongoDB's
defaults (docs/failures.md has the seconds). With more of them nginx might not wait for the end."""

BUDGET_OF_LEASE = 0.4
FENCE_OF_LEASE = 0.6
"""The fractions of a lease after which no call to the gateway starts, and no insert: what has
started by then has ended, one way or the other, when the lease expires and the worker takes over.
A lease longer than the default leaves no more time for calls: the buyer has waited long enough, and
nginx will not wait much longer."""

UNDER_WAY = timedelta(minutes=15)
"""How long the worker keeps looking for a payment whose key was used and that is not in the
gateway's list: many times longer than the list lags. No reading of the list that restores payments
in progress goes further back: what is not found by then is voided, and never booked."""

LOOK_WITHIN_MS = 15_000
"""After a webhook about a payment, the process that began it needs a second for the rest; after
this time the worker looks without waiting for the whole lease."""

REPEAT_WAIT_S = 2.0
"""How long a retry waits for the payment in progress before it gets PaymentInProgress."""

REPEAT_POLL_S = 0.05

NOT_CHARGED = PaymentDeclined(NOT_COMPLETED, "The payment broke off before the card was charged.")
"""The final answer to a key whose payment was taken over and undone."""

CANNOT_BE_PAID = "The payment provider does not take payments for these seats at the moment."

MENDING_S = 30
"""Retry-After while the gateway rejects the shop's key or account, which a person has to fix."""

BUSY_S = 5
"""Retry-After when the gateway was rate-limiting the shop."""

UNREACHED_S = 2
"""Retry-After while the gateway cannot be reached."""

GATEWAY = "payment gateway"
"""What Unavailable calls this part of the service."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Paid:
    """``replayed``: this key got the same receipt before."""

    receipt: Receipt
    replayed: bool


@dataclass
class _InFlight:
    """A payment that this process is working on. It may call the gateway until ``asks_until_s`` and
    insert until ``inserts_until_s``, by the monotonic clock. ``gateway_payment``: the authorised
    money, if any."""

    payment: PaymentAttempt
    began_s: float
    asks_until_s: float
    inserts_until_s: float
    gateway_payment: GatewayPayment | None = None

    def has_time(self) -> bool:
        return time.monotonic() < self.asks_until_s

    def is_fenced(self) -> bool:
        return time.monotonic() > self.inserts_until_s

    def now(self) -> datetime:
        """By the clock of Redis, which stamped the beginning: this machine's may be wrong."""
        return self.payment.begun_at + timedelta(seconds=time.monotonic() - self.began_s)

    def pending(self) -> PaymentPending:
        return PaymentPending(self.payment.key_digest)


class Checkout:
    def __init__(
        self,
        catalogue: EventCatalogue,
        seats: SeatStore,
        bookings: BookingStore,
        gateway: Gateway,
        tokens: HoldTokens,
        lease_s: float = DEFAULT_LEASE_S,
        on_checkpoint: Callable[[str], None] = lambda point: None,
    ):
        """``on_checkpoint`` is called with each of CHECKPOINTS when it is reached."""
        self._on_checkpoint = on_checkpoint
        self._budget_s = min(lease_s, DEFAULT_LEASE_S) * BUDGET_OF_LEASE
        self._fence_s = lease_s * FENCE_OF_LEASE
        self._catalogue = catalogue
        self._seats = seats
        self._bookings = bookings
        self._gateway = gateway
        self._tokens = tokens

    def pay(
        self, ref: HoldRef, idempotency_key: str, buyer: Buyer, sent: Sequence[str] = ()
    ) -> Paid:
        """Charges for a hold and books it, once, however often it is called with the same key.
        ``sent`` is payment method, address and name exactly as received, where ``buyer`` has them
        normalised: a retry must be recognised even after the rules of normalisation have changed.

        Raises HoldNotFound, HoldExpired, AlreadyBooked, PaymentDeclined, PaymentInProgress,
        IdempotencyKeyReused, InvalidRequest, SeatTaken, EarlierRefusal, PaymentPending when the
        outcome is not known yet, and Unavailable when nothing happened.
        """
        if not self._tokens.is_valid(ref):
            raise HoldNotFound
        arrived_s = time.monotonic()
        self._bookings.require_index()
        key_digest = _digest(ref.hold_id, idempotency_key)
        fingerprint = _digest(*(sent or (buyer.payment_method, buyer.email, buyer.name)))

        begun = self._begin(ref.event_id, ref.hold_id, buyer, key_digest, fingerprint, arrived_s)
        if isinstance(begun, Paid):
            return begun
        return Paid(self._carry_out(begun), replayed=False)

    def payment(self, ref: HoldRef, key_digest: str) -> Receipt | None:
        """What became of a payment whose outcome was not known: its receipt, or None as long as it
        is, or may be, in progress. Raises HoldNotFound, PaymentNotFound, EarlierRefusal."""
        if not self._tokens.is_valid(ref):
            raise HoldNotFound
        try:
            earlier = self._seats.read_payment(ref.event_id, ref.hold_id, key_digest)
            return earlier.receipt if earlier else None
        except (EventNotFound, PaymentNotFound, Unavailable) as refusal:
            booking = self._bookings.find(booking_id_of(ref.hold_id))
            if booking and booking.key_digest == key_digest:
                return booking.receipt()
            if isinstance(refusal, NotKnownNow):
                return None
            raise

    def shorten_lease(self, gateway_payment: GatewayPayment) -> None:
        """The gateway reported a change: makes the worker look at the payment sooner, if it is in
        progress. Does nothing for payments that are not ours."""
        metadata = gateway_payment.metadata
        if {"event", "hold_id"} <= metadata.keys():
            self._seats.shorten_lease(metadata["event"], metadata["hold_id"], LOOK_WITHIN_MS)

    def resume(
        self, payment: PaymentAttempt, charges: Mapping[str, GatewayPayment] | None = None
    ) -> str:
        """Finishes a payment whose lease expired, when the money is authorised, the booking exists,
        or nothing has to be paid; undoes it when no money can be authorised for it any more. Never
        starts a charge: its buyer may have been told that nothing happened. ``charges`` are the
        gateway's, by key, if its list was read since the lease expired. Returns what was done, for
        the log. Raises PaymentPending when neither can be done yet."""
        booking = self._bookings.find(booking_id_of(payment.hold_id))
        if booking is None:
            try:
                gateway_payment = self._settled(payment, charges) if payment.amount_minor else None
                if payment.amount_minor and gateway_payment is None:
                    self._seats.undo_payment(payment, self._not_charged(payment))
                    return "undone: nothing was charged"
                in_flight = self._in_flight(payment, time.monotonic(), gateway_payment)
                self._check_own(in_flight)
                booking = self._book(in_flight, self._seats.now(payment.event_id))
            except PaymentDeclined as declined:
                self._seats.undo_payment(payment, declined)
                return "undone: the card was refused"
            except IdempotencyKeyReused:
                self._seats.undo_payment(payment, None)
                return "undone: its key had been used for another payment"
            except SeatTaken as lost:
                return f"undone: {', '.join(lost.seats)} had been sold before"
            except AlreadyBooked:
                return "finished: another attempt had booked"
            except EarlierRefusal:
                return "undone before, by its own process"
        if booking.refunded_at:
            self._seats.undo_payment(payment, None)
            self._seats.release_hold(payment.event_id, payment.hold_id)
            return "undone: its booking was refunded"
        self._finish(self._in_flight(payment, time.monotonic()), booking)
        return "finished"

    def _settled(
        self, payment: PaymentAttempt, charges: Mapping[str, GatewayPayment] | None
    ) -> GatewayPayment | None:
        """The money authorised for a payment; None when there is none and there can be none any
        more. The list may lag, and the process that was about to charge the card may only be
        paused: a key that is not listed is retired before anybody is told that nothing was charged.
        Raises PaymentDeclined, IdempotencyKeyReused, and PaymentPending when the key was used and
        its payment is not listed."""
        key, begun_at = payment.gateway_key, payment.begun_at
        found = self._gateway.find(key, begun_at) if charges is None else charges.get(key)
        if found is None:
            try:
                self._gateway.retire(
                    key, payment.amount_minor, payment.currency, payment.fingerprint
                )
            except KeyUsed:
                # Again, by the gateway's own clock: that of Redis may be far ahead of it.
                found = self._gateway.find(key, self._gateway.now() - UNDER_WAY)
                if found is None and self._seats.now(payment.event_id) - begun_at < UNDER_WAY:
                    raise PaymentPending(payment.key_digest) from None
        return found and _reserved(payment, found)

    def _not_charged(self, payment: PaymentAttempt) -> PaymentDeclined | SeatTaken:
        """Why nothing was charged: somebody else has a seat, or the payment was interrupted."""
        others = self._bookings.holding(payment.event_id, payment.seats)
        sold = {seat for other in others for seat in other.seats}
        if lost := tuple(seat for seat in payment.seats if seat in sold):
            return SeatTaken(lost)
        return replace(NOT_CHARGED)

    # ------------------------------------------------------------ the steps

    def _in_flight(
        self, payment: PaymentAttempt, began_s: float, gateway_payment: GatewayPayment | None = None
    ) -> _InFlight:
        return _InFlight(
            payment, began_s, began_s + self._budget_s, began_s + self._fence_s, gateway_payment
        )

    def _begin(
        self,
        event_id: str,
        hold_id: str,
        buyer: Buyer,
        key_digest: str,
        fingerprint: str,
        arrived_s: float,
    ) -> _InFlight | Paid:
        """The payment, or the earlier result for its key. ``arrived_s``: since when the buyer
        waits."""

        def begin(event: Event) -> PaymentAttempt | EarlierReceipt:
            return self._seats.begin_payment(event, hold_id, buyer, key_digest, fingerprint)

        started_s = time.monotonic()
        while True:
            asked_s = time.monotonic()
            try:
                begun = with_event(self._catalogue, event_id, begin)
            except PaymentInProgress:
                if asked_s > started_s + REPEAT_WAIT_S:
                    raise
                time.sleep(REPEAT_POLL_S)
            except (EventNotFound, HoldExpired, Unavailable) as refusal:
                # Redis does not know the hold, or the event, or knows nothing at all.
                paid = self._booked_before(hold_id, key_digest, fingerprint)
                if paid is None:
                    raise refusal from None
                return paid
            else:
                if isinstance(begun, EarlierReceipt):
                    return Paid(begun.receipt, replayed=True)
                in_flight = self._in_flight(begun, asked_s)
                in_flight.asks_until_s = arrived_s + self._budget_s
                return in_flight

    def _booked_before(self, hold_id: str, key_digest: str, fingerprint: str) -> Paid | None:
        """The result for this key as the booking has it, if there is one. Raises AlreadyBooked,
        IdempotencyKeyReused."""
        booking = self._bookings.find(booking_id_of(hold_id))
        if booking is None:
            return None
        if booking.key_digest != key_digest:
            raise AlreadyBooked(booking.id)
        if booking.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        return Paid(booking.receipt(), replayed=True)

    def _carry_out(self, in_flight: _InFlight) -> Receipt:
        payment = in_flight.payment
        self._on_checkpoint("begun")
        try:
            if payment.amount_minor:
                in_flight.gateway_payment = self._authorize(in_flight)
        except PaymentDeclined as declined:
            declined.attempts_left = self._undo(in_flight, declined)
            raise
        except InvalidRequest as refused:
            self._undo(in_flight, refused)
            raise
        except SeatTaken as lost:
            self._undo(in_flight, lost)
            raise
        except IdempotencyKeyReused:
            self._undo(in_flight, None)
            raise
        except NotAccepted as error:
            refusal = PaymentDeclined(NOT_ACCEPTED, CANNOT_BE_PAID)
            refusal.attempts_left = self._undo(in_flight, refusal)
            raise refusal from error
        except NotExecuted as error:
            self._undo(in_flight, None)
            raise _not_possible_now(error) from error
        self._on_checkpoint("authorized")
        self._check_own(in_flight)
        self._on_checkpoint("lease_renewed")
        booking = self._book(in_flight, in_flight.now())
        self._finish(in_flight, booking)
        return booking.receipt()

    def _undo(
        self, in_flight: _InFlight, answer: PaymentDeclined | SeatTaken | InvalidRequest | None
    ) -> int:
        """Returns how many more cards can be tried for the hold. When the worker was faster, raises
        the result that it has recorded for the key: a key has one final result."""
        attempts_left = self._seats.undo_payment(in_flight.payment, answer)
        if attempts_left is None:
            with suppress(PaymentNotFound):
                self._hear_final_answer(in_flight)
        return attempts_left or 0

    def _hear_final_answer(self, in_flight: _InFlight) -> None:
        """For a payment that the worker has taken over: raises EarlierRefusal with the result that
        it recorded, PaymentNotFound if there is none, and PaymentPending when that cannot be known
        now."""
        payment = in_flight.payment
        with suppress(EventNotFound, Unavailable):
            self._seats.read_payment(payment.event_id, payment.hold_id, payment.key_digest)
        raise in_flight.pending()

    def _check_own(self, in_flight: _InFlight) -> None:
        """Before the commit point: while this process was paused, a worker may have ended its
        payment and reported that to the buyer, or be about to. When Redis does not know the
        payment, its buyer may have got any response: the worker rebuilds the event with the
        gateway's open payments and ends this one. Raises PaymentPending in all these cases."""
        try:
            own = self._seats.renew_lease(in_flight.payment)
        except (Unavailable, EventNotFound):
            raise in_flight.pending() from None
        if not own and in_flight.gateway_payment:
            self._release_authorization(in_flight, in_flight.gateway_payment)
        if not own or in_flight.is_fenced():
            raise in_flight.pending()

    def _release_authorization(self, in_flight: _InFlight, gateway_payment: GatewayPayment) -> None:
        """Releases the authorisation of a payment that was ended without it. When this fails, the
        worker does it. After a loss of Redis the payment may be in progress again and need it."""
        payment = in_flight.payment
        with suppress(Unavailable):
            booking = self._bookings.find(booking_id_of(payment.hold_id))
            if booking and booking.payment_id == gateway_payment.payment_id:
                return
            if not self._is_under_way(payment):
                self._void(in_flight)

    def _is_under_way(self, payment: PaymentAttempt) -> bool:
        """Whichever process is working on it. Raises Unavailable."""
        try:
            earlier = self._seats.read_payment(
                payment.event_id, payment.hold_id, payment.key_digest
            )
        except (EventNotFound, NotKnownNow, PaymentNotFound, EarlierRefusal):
            return False
        return earlier is None

    def _void(self, in_flight: _InFlight) -> None:
        """Releases the authorisation, if there is one. Raises PaymentPending when it may still be
        in place."""
        if in_flight.gateway_payment is None:
            return
        try:
            self._gateway.void(in_flight.gateway_payment.payment_id)
        except GatewayError as error:
            raise in_flight.pending() from error

    def _authorize(self, in_flight: _InFlight) -> GatewayPayment | None:
        """None when the booking exists already. Raises PaymentDeclined, SeatTaken, AlreadyBooked,
        IdempotencyKeyReused, InvalidRequest, NotExecuted, PaymentPending."""
        payment = in_flight.payment
        if not payment.buyer.payment_method:
            raise InvalidRequest("payment_method", "is required, for these seats cost something")
        unanswered = False
        for _ in range(GATEWAY_TRIES):
            try:
                return self._gateway.authorize(
                    payment.gateway_key,
                    payment.amount_minor,
                    payment.currency,
                    payment.buyer.payment_method,
                    metadata_of(payment),
                )
            except OutcomeUnknown as error:
                log.warning("payment %s: authorize: %s", payment.gateway_key, error)
                unanswered = True
            except NotExecuted:
                # This call had no effect, but an earlier one without a response may have had.
                if not unanswered:
                    raise
            except KeyUsed:
                self._hear_gateway(in_flight)
                return None
            if not in_flight.has_time():
                raise in_flight.pending()
        return self._look_up(in_flight)

    def _look_up(self, in_flight: _InFlight) -> GatewayPayment:
        """The authorisation whose response was lost. That it is not listed (yet) does not prove
        that it never will be: raises PaymentPending, and PaymentDeclined."""
        payment = in_flight.payment
        try:
            found = self._gateway.find(payment.gateway_key, payment.begun_at)
        except GatewayError as error:
            log.warning("payment %s: look-up: %s", payment.gateway_key, error)
            found = None
        reserved = found and _reserved(payment, found)
        if reserved:
            return reserved
        raise in_flight.pending()

    def _hear_gateway(self, in_flight: _InFlight) -> None:
        """For a key that the gateway has seen before: the worker retired it, having reason to think
        that this process was gone, or Redis has lost its result. Returns when it was booked.
        Otherwise raises the earlier result; PaymentPending when that is not known, or when money is
        authorised: another process may be working on it, and the worker follows up on both."""
        payment = in_flight.payment
        try:
            with suppress(EventNotFound, PaymentNotFound):
                self._seats.read_payment(payment.event_id, payment.hold_id, payment.key_digest)
            if self._booked_before(payment.hold_id, payment.key_digest, payment.fingerprint):
                return
            if self._settled(payment, None) is None:
                raise self._not_charged(payment)
        except AlreadyBooked:
            return  # With another key; the insert reports that.
        except (GatewayError, Unavailable) as error:
            log.warning("payment %s: look-up: %s", payment.gateway_key, error)
            raise in_flight.pending() from error
        raise in_flight.pending()

    def _book(self, in_flight: _InFlight, now: datetime) -> Booking:
        """The commit point; ``now`` is by the clock of Redis. Raises SeatTaken when another booking
        has a seat (the authorisation is then voided), PaymentPending when MongoDB does not
        respond."""
        payment = in_flight.payment
        booking = Booking(
            id=booking_id_of(payment.hold_id),
            hold_id=payment.hold_id,
            event_id=payment.event_id,
            seats=payment.seats,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            payment_id=in_flight.gateway_payment.payment_id if in_flight.gateway_payment else None,
            booked_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
            email=payment.buyer.email,
            name=payment.buyer.name,
            key_digest=payment.key_digest,
            fingerprint=payment.fingerprint,
            sold_as=self._names(payment),
        )
        for _ in range(INSERT_TRIES):
            try:
                return self._only_payment(in_flight, self._bookings.insert(booking))
            except InsertUnknown:
                continue
            except SeatTaken as lost:
                self._give_way(in_flight, lost)
                raise
        raise in_flight.pending()

    def _names(self, payment: PaymentAttempt) -> SoldAs | None:
        """None when they cannot be read now: the sale continues without them."""
        try:
            event = self._catalogue.cached_event(payment.event_id)
        except (EventNotFound, Unavailable):
            return None
        return SoldAs(event.name, event.venue, tuple(map(event.seat_name, payment.seats)))

    def _only_payment(self, in_flight: _InFlight, stored: Booking) -> Booking:
        """The stored booking may be from another attempt for the same hold, which Redis had lost.
        Then this attempt's authorisation is released. Raises AlreadyBooked when that attempt had
        another key."""
        if in_flight.gateway_payment and in_flight.gateway_payment.payment_id != stored.payment_id:
            self._void(in_flight)
        if stored.key_digest != in_flight.payment.key_digest:
            self._finish(self._in_flight(in_flight.payment, time.monotonic()), stored)
            raise AlreadyBooked(stored.id)
        return stored

    def _give_way(self, in_flight: _InFlight, lost: SeatTaken) -> None:
        """Another booking has a seat, which Redis had lost. Releases the authorisation, then
        corrects Redis: in this order, because the worker resumes a payment that has not ended."""
        self._void(in_flight)
        payment = in_flight.payment
        for other in self._bookings.holding(payment.event_id, payment.seats):
            self._confirm(other)
        self._undo(in_flight, lost)

    def _finish(self, in_flight: _InFlight, booking: Booking) -> None:
        """After the commit point: captures the money, then records the sale in Redis."""
        self._on_checkpoint("booked")
        if booking.payment_id:
            self._capture(in_flight, booking.payment_id)
        self._on_checkpoint("captured")
        # Booked and paid: whatever is wrong with Redis, the receipt is valid. The worker records
        # the sale once Redis can be reached.
        try:
            self._confirm(booking)
        except Refusal as refusal:
            log.warning("booking %s: Redis could not be told: %s", booking.id, refusal)
        except Exception:
            log.exception("booking %s: Redis could not be told", booking.id)
        else:
            self._on_checkpoint("confirmed")

    def _capture(self, in_flight: _InFlight, payment_id: str) -> None:
        for _ in range(GATEWAY_TRIES):
            if not in_flight.has_time():
                break
            try:
                return self._gateway.capture(payment_id)
            except GatewayError as error:
                log.warning("payment %s: capture: %s", in_flight.payment.gateway_key, error)
        raise in_flight.pending()

    def _confirm(self, booking: Booking) -> None:
        with_event(
            self._catalogue,
            booking.event_id,
            lambda event: self._seats.confirm_booking(event, booking),
        )


def _reserved(payment: PaymentAttempt, found: GatewayPayment) -> GatewayPayment | None:
    """None when it was voided. Raises PaymentDeclined when the card was refused, and
    IdempotencyKeyReused when the key was used for a different payment."""
    if found.metadata["fingerprint"] != payment.fingerprint:
        raise IdempotencyKeyReused
    if found.decline:
        raise replace(found.decline)
    return found if found.status in ("authorized", "captured") else None


def _not_possible_now(error: NotExecuted) -> Unavailable:
    match error:
        case NotAllowed():
            return PaymentsClosed(GATEWAY, MENDING_S)
        case TooBusy():
            return PaymentsBusy(GATEWAY, BUSY_S)
    return Unavailable(GATEWAY, UNREACHED_S)


def _digest(*parts: str) -> str:
    """Includes each part's length, so that no two lists of parts give the same text."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()
