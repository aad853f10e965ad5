"""The money: authorise, book, capture, confirm, in this order (design: "Paying").

The steps after the authorisation are in ``payment_steps.py``, what happens when a bank asks the
owner of the card in ``bank_confirmation.py``.
"""

import hashlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from web.domain.events import Event
from web.domain.refusals import (
    AUTHENTICATION_FAILED,
    NOT_ACCEPTED,
    NOT_COMPLETED,
    NOT_CONFIRMED,
    ActionRequired,
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
    SeatTaken,
    Unavailable,
)
from web.domain.sales import (
    DEFAULT_CONFIRMATION_S,
    DEFAULT_LEASE_S,
    Booking,
    Buyer,
    HoldRef,
    PaymentAttempt,
    Receipt,
    WayBack,
    booking_id_of,
)
from web.ports.booking_store import BookingStore
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
from web.use_cases.bank_confirmation import GIVEN_UP, BankConfirmation
from web.use_cases.current_event import with_event
from web.use_cases.gateway_metadata import metadata_of
from web.use_cases.payment_steps import GATEWAY_TRIES, InFlight, PaymentSteps

UNDER_WAY = timedelta(minutes=15)
"""How long the worker keeps looking for a payment whose key was used and that is not in the
gateway's list: many times longer than the list lags. No reading of the list that restores payments
in progress goes further back: what is not found by then is voided, and never booked."""

LOOK_WITHIN_MS = 15_000
"""After a webhook about a payment, the process that began it needs a second for the rest; after
this time the worker looks without waiting for the whole lease."""

LOOK_AT_BANK_WITHIN_MS = 1_000
"""The same for a payment at the bank, which belongs to nobody: mostly the buyer comes back in that
second, too."""

REPEAT_WAIT_S = 2.0
"""How long a retry waits for the payment in progress before it gets PaymentInProgress."""

REPEAT_POLL_S = 0.05

NOT_CHARGED = PaymentDeclined(NOT_COMPLETED, "The payment broke off before the card was charged.")
"""The final answer to a key whose payment was taken over and undone."""

UNDONE = {
    NOT_COMPLETED: "nothing was charged",
    AUTHENTICATION_FAILED: "its bank did not confirm it",
    NOT_CONFIRMED: "it was not confirmed at the bank in time",
}
"""What the log says of payments that ended with these reasons."""

CANNOT_BE_PAID = "The payment provider does not take payments for these seats at the moment."

MENDING_S = 30
"""Retry-After while the gateway rejects the shop's key or account, which a person has to fix."""

BUSY_S = 5
"""Retry-After when the gateway was rate-limiting the shop, and nobody knows for how long."""

UNREACHED_S = 2
"""Retry-After while the gateway cannot be reached."""

GATEWAY = "payment gateway"
"""What Unavailable calls this part of the service."""

log = logging.getLogger(__name__)

_Taken = TypeVar("_Taken")


@dataclass(frozen=True)
class Paid:
    """``replayed``: this key got the same receipt before."""

    receipt: Receipt
    replayed: bool


class Checkout:
    def __init__(
        self,
        catalogue: EventCatalogue,
        seats: SeatStore,
        bookings: BookingStore,
        gateway: Gateway,
        tokens: HoldTokens,
        lease_s: float = DEFAULT_LEASE_S,
        confirmation_s: float = DEFAULT_CONFIRMATION_S,
        on_checkpoint: Callable[[str], None] = lambda point: None,
    ):
        """``confirmation_s``: how long the owner of a card has to confirm a payment at the bank.
        ``on_checkpoint`` is called with each of CHECKPOINTS and BANK_CHECKPOINTS when it is
        reached."""
        self._steps = PaymentSteps(catalogue, seats, bookings, gateway, lease_s, on_checkpoint)
        self._bank = BankConfirmation(seats, gateway, self._steps, confirmation_s)
        self._catalogue = catalogue
        self._seats = seats
        self._bookings = bookings
        self._gateway = gateway
        self._tokens = tokens

    def pay(
        self,
        ref: HoldRef,
        idempotency_key: str,
        buyer: Buyer,
        way_back: WayBack,
        sent: Sequence[str] = (),
    ) -> Paid:
        """Charges for a hold and books it, once, however often it is called with the same key.
        ``sent`` is payment method, address and name exactly as received, where ``buyer`` has them
        normalised: a retry must be recognised even after the rules of normalisation have changed.

        Raises HoldNotFound, HoldExpired, AlreadyBooked, PaymentDeclined, PaymentInProgress,
        IdempotencyKeyReused, InvalidRequest, SeatTaken, EarlierRefusal, ActionRequired when the
        owner of the card has to confirm the payment, PaymentPending when the outcome is not known
        yet for another reason, and Unavailable when nothing happened.
        """
        if not self._tokens.is_valid(ref):
            raise HoldNotFound
        arrived_s = time.monotonic()
        self._bookings.require_index()
        key_digest = _digest(ref.hold_id, idempotency_key)
        fingerprint = _digest(*(sent or (buyer.payment_method, buyer.email, buyer.name)))

        def begin(event: Event) -> PaymentAttempt | EarlierReceipt:
            return self._seats.begin_payment(
                event, ref.hold_id, buyer, key_digest, fingerprint, way_back
            )

        try:
            begun, asked_s = self._when_free(ref.event_id, begin)
        except (EventNotFound, HoldExpired, Unavailable) as refusal:
            # Redis does not know the hold, or the event, or knows nothing at all.
            paid = self._booked_before(ref.hold_id, key_digest, fingerprint)
            if paid is None:
                raise refusal from None
            return paid
        if isinstance(begun, EarlierReceipt):
            return Paid(begun.receipt, replayed=True)
        in_flight = self._steps.in_flight(begun, asked_s)
        in_flight.asks_until_s = arrived_s + self._steps.budget_s  # The buyer waits since then.
        carry_out = self._bank.settle if begun.bank_step else self._carry_out
        return Paid(carry_out(in_flight).receipt(), replayed=False)

    def come_back(self, event_id: str, hold_id: str) -> Receipt:
        """The buyer has been at the bank. Anybody may say so: it makes this process look at the
        payment of the hold as the worker would. Raises what ``pay`` raises, and PaymentNotFound
        when there is no such payment."""
        return self._bank.settle(self._claim(event_id, hold_id)).receipt()

    def cancel(self, ref: HoldRef, key_digest: str) -> None:
        """The buyer gives up a payment that is at the bank: nothing was or will be charged by it.
        Safe to repeat. Raises HoldNotFound, PaymentNotFound, AlreadyBooked, and PaymentPending when
        it cannot be known yet."""
        if not self._tokens.is_valid(ref):
            raise HoldNotFound
        if not key_digest:  # It would be whichever payment is at the bank.
            raise PaymentNotFound
        with suppress(PaymentDeclined, EarlierRefusal):  # Nothing was charged.
            try:
                in_flight = self._claim(ref.event_id, ref.hold_id, key_digest)
                booking_id = self._bank.cancel(in_flight, GIVEN_UP).id
            except PaymentInProgress:
                raise PaymentPending(key_digest) from None
            except (EventNotFound, PaymentNotFound, Unavailable):
                booking_id = self.payment(ref, key_digest).booking_id
            raise AlreadyBooked(booking_id)

    def payment(self, ref: HoldRef, key_digest: str) -> Receipt:
        """What became of a payment whose outcome was not known. Raises HoldNotFound,
        PaymentNotFound, EarlierRefusal; as long as it is, or may be, in progress PaymentPending, or
        ActionRequired."""
        if not self._tokens.is_valid(ref):
            raise HoldNotFound
        try:
            earlier = self._seats.read_payment(ref.event_id, ref.hold_id, key_digest)
        except (EventNotFound, PaymentNotFound, Unavailable) as refusal:
            booking = self._bookings.find(booking_id_of(ref.hold_id))
            if booking and booking.key_digest == key_digest:
                return booking.receipt()
            if isinstance(refusal, NotKnownNow):
                raise PaymentPending(key_digest) from None
            raise
        if isinstance(earlier, EarlierReceipt):
            return earlier.receipt
        if earlier:
            raise ActionRequired(key_digest, earlier)
        raise PaymentPending(key_digest)

    def shorten_lease(self, gateway_payment: GatewayPayment) -> None:
        """The gateway reported a change: makes the worker look at the payment sooner, if it is in
        progress. Does nothing for payments that are not ours."""
        metadata = gateway_payment.metadata
        if {"event", "hold_id"} <= metadata.keys():
            self._seats.shorten_lease(
                metadata["event"], metadata["hold_id"], LOOK_WITHIN_MS, LOOK_AT_BANK_WITHIN_MS
            )

    def resume(
        self, payment: PaymentAttempt, charges: Mapping[str, GatewayPayment] | None = None
    ) -> str:
        """Finishes a payment whose lease expired, when the money is authorised, the booking exists,
        or nothing has to be paid; undoes it when no money can be authorised for it any more. Never
        starts a charge: its buyer may have been told that nothing happened. ``charges`` are the
        gateway's, by key, if its list was read since the lease expired. Returns what was done, for
        the log. Raises PaymentPending when neither can be done yet, ActionRequired when the owner
        of the card still has time to confirm it."""
        booking = self._bookings.find(booking_id_of(payment.hold_id))
        if booking is None:
            try:
                self._end_unbooked(payment, charges)
                return "finished"
            except PaymentDeclined as declined:
                return f"undone: {UNDONE.get(declined.reason, 'the card was refused')}"
            except IdempotencyKeyReused:
                self._seats.undo_payment(payment, None)
                return "undone: its key had been used for another payment"
            except SeatTaken as lost:
                return f"undone: {', '.join(lost.seats)} had been sold before"
            except AlreadyBooked:
                return "finished: another attempt had booked"
            except EarlierRefusal:
                return "undone before, by its own process"
        if payment.bank_step and payment.bank_step.payment_id != booking.payment_id:
            self._bank.release(payment.bank_step.payment_id)
        if booking.refunded_at:
            self._seats.undo_payment(payment, None)
            self._seats.release_hold(payment.event_id, payment.hold_id)
            return "undone: its booking was refunded"
        self._steps.finish(self._steps.in_flight(payment, time.monotonic()), booking)
        return "finished"

    def _end_unbooked(
        self, payment: PaymentAttempt, charges: Mapping[str, GatewayPayment] | None
    ) -> None:
        """Books a payment, or undoes it: then raises why, as ``BankConfirmation.settle`` does."""
        found = None
        if payment.amount_minor and not payment.bank_step:
            found = self._settled(payment, charges)
            if found is None:
                refusal = self._not_charged(payment)
                self._seats.undo_payment(payment, refusal)
                raise refusal
        in_flight = self._steps.in_flight(payment, time.monotonic())
        if payment.bank_step:
            self._bank.settle(in_flight)
            return
        if found:
            self._bank.settle_as(in_flight, found)
            return
        self._steps.check_own(in_flight)
        booking = self._steps.book(in_flight, self._seats.now(payment.event_id))
        self._steps.finish(in_flight, booking)

    def _settled(
        self, payment: PaymentAttempt, charges: Mapping[str, GatewayPayment] | None
    ) -> GatewayPayment | None:
        """A payment as the gateway has it; None when no money is reserved and none can be any more.
        The list may lag, and the process that was about to charge the card may only be paused: a
        key that is not listed is retired before anybody is told that nothing was charged. Raises
        IdempotencyKeyReused, and PaymentPending when the key was used and its payment is not
        listed."""
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
        return found and _live(payment, found)

    def _not_charged(self, payment: PaymentAttempt) -> PaymentDeclined | SeatTaken:
        """Why nothing was charged: somebody else has a seat, or the payment was interrupted."""
        others = self._bookings.holding(payment.event_id, payment.seats)
        sold = {seat for other in others for seat in other.seats_left}
        if lost := tuple(seat for seat in payment.seats if seat in sold):
            return SeatTaken(lost)
        return replace(NOT_CHARGED)

    # ------------------------------------------------------------ the steps

    def _when_free(self, event_id: str, take: Callable[[Event], _Taken]) -> tuple[_Taken, float]:
        """What ``take`` returns, and when it was called (monotonic), waiting for another process
        that is at work on the payment. Raises PaymentInProgress when that takes too long."""
        started_s = time.monotonic()
        while True:
            asked_s = time.monotonic()
            try:
                return with_event(self._catalogue, event_id, take), asked_s
            except PaymentInProgress:
                if asked_s > started_s + REPEAT_WAIT_S:
                    raise
                time.sleep(REPEAT_POLL_S)

    def _claim(self, event_id: str, hold_id: str, key_digest: str = "") -> InFlight:
        """The payment of this hold that is at the bank. Raises PaymentInProgress, PaymentNotFound,
        EventNotFound, Unavailable."""

        def claim(event: Event) -> PaymentAttempt:
            return self._seats.claim_payment(event, hold_id, key_digest)

        return self._steps.in_flight(*self._when_free(event_id, claim))

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

    def _carry_out(self, in_flight: InFlight) -> Booking:
        payment = in_flight.payment
        self._steps.on_checkpoint("begun")
        try:
            if payment.amount_minor:
                in_flight.gateway_payment = self._authorize(in_flight)
        except PaymentDeclined as declined:
            declined.attempts_left = self._steps.undo(in_flight, declined)
            raise
        except InvalidRequest as refused:
            self._steps.undo(in_flight, refused)
            raise
        except SeatTaken as lost:
            self._steps.undo(in_flight, lost)
            raise
        except IdempotencyKeyReused:
            self._steps.undo(in_flight, None)
            raise
        except NotAccepted as error:
            refusal = PaymentDeclined(NOT_ACCEPTED, CANNOT_BE_PAID)
            refusal.attempts_left = self._steps.undo(in_flight, refusal)
            raise refusal from error
        except NotExecuted as error:
            self._steps.undo(in_flight, None)
            raise _not_possible_now(error) from error
        found = in_flight.gateway_payment
        if found and found.status == "action_required":
            in_flight.gateway_payment = None
            self._bank.ask_owner(in_flight, found)
        if found and found.decline:
            # Perhaps at the bank: then whoever has its secret could still try another card.
            in_flight.gateway_payment = None
            return self._bank.settle_as(in_flight, found)
        self._steps.on_checkpoint("authorized")
        self._steps.check_begun(in_flight)
        booking = self._steps.book(in_flight, in_flight.now())
        self._steps.finish(in_flight, booking)
        return booking

    def _authorize(self, in_flight: InFlight) -> GatewayPayment | None:
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
                    payment.way_back,
                )
            except OutcomeUnknown as error:
                log.warning("payment %s: authorize: %s", payment.gateway_key, error)
                unanswered = True
            except NotExecuted:
                # This call had no effect, but an earlier one without a response may have had.
                if not unanswered:
                    raise
            except KeyUsed:
                return self._hear_gateway(in_flight)
            if not in_flight.has_time():
                raise in_flight.pending()
        return self._look_up(in_flight)

    def _look_up(self, in_flight: InFlight) -> GatewayPayment:
        """The payment whose response was lost. That it is not listed (yet) does not prove
        that it never will be: raises PaymentPending. It may have been declined."""
        payment = in_flight.payment
        try:
            found = self._gateway.find(payment.gateway_key, payment.begun_at)
        except GatewayError as error:
            log.warning("payment %s: look-up: %s", payment.gateway_key, error)
            found = None
        live = found and _live(payment, found)
        if live is None:
            raise in_flight.pending()
        return live

    def _hear_gateway(self, in_flight: InFlight) -> GatewayPayment | None:
        """For a key that the gateway has seen before: the worker retired it, having reason to think
        that this process was gone, or Redis has lost its result. Returns a payment that was
        declined, and None when it was booked. Otherwise raises the earlier result; PaymentPending
        when that is not known, or when money is authorised, or may be: another process may be
        working on it, and the worker follows up."""
        payment = in_flight.payment
        try:
            with suppress(EventNotFound, PaymentNotFound):
                self._seats.read_payment(payment.event_id, payment.hold_id, payment.key_digest)
            if self._booked_before(payment.hold_id, payment.key_digest, payment.fingerprint):
                return None
            found = self._settled(payment, None)
            if found is None:
                raise self._not_charged(payment)
            if found.decline:
                return found
        except AlreadyBooked:
            return None  # With another key; the insert reports that.
        except (GatewayError, Unavailable) as error:
            log.warning("payment %s: look-up: %s", payment.gateway_key, error)
            raise in_flight.pending() from error
        raise in_flight.pending()


def _live(payment: PaymentAttempt, found: GatewayPayment) -> GatewayPayment | None:
    """None when it was voided, or refunded, without a decline to tell the buyer. Raises
    IdempotencyKeyReused when the key was used for a different payment."""
    if found.metadata["fingerprint"] != payment.fingerprint:
        raise IdempotencyKeyReused
    is_over = found.status in ("voided", "refunded") and not found.decline
    return None if is_over else found


def _not_possible_now(error: NotExecuted) -> Unavailable:
    match error:
        case NotAllowed():
            return PaymentsClosed(GATEWAY, MENDING_S)
        case TooBusy():
            return PaymentsBusy(GATEWAY, math.ceil(error.retry_after_s or BUSY_S))
    return Unavailable(GATEWAY, UNREACHED_S)


def _digest(*parts: str) -> str:
    """Includes each part's length, so that no two lists of parts give the same text."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()
