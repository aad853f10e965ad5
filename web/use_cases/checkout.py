"""The money: authorise, book, capture, confirm, in this order (design: "Paying").

Every step may be repeated and does nothing twice, so a payment that was left half done is finished
by doing the rest of it again. The insert of the booking is the commit point: before it a payment
is undone, after it a payment is finished, whatever happens.
"""

import hashlib
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from web.domain import (
    AlreadyBooked,
    Booking,
    Buyer,
    Event,
    HoldExpired,
    HoldNotFound,
    IdempotencyKeyReused,
    InvalidRequest,
    Payment,
    PaymentDeclined,
    PaymentInProgress,
    PaymentPending,
    Receipt,
    SeatTaken,
    Unavailable,
    booking_id_of,
)
from web.hold_tokens import HoldTokens
from web.ports import (
    Authorization,
    BookingStore,
    Gateway,
    GatewayError,
    InsertUnknown,
    NotExecuted,
    OutcomeUnknown,
    Replay,
    SeatStore,
)
from web.use_cases.box_office import with_event

GATEWAY_TRIES = 2
"""Calls with the same key before the gateway's list is asked instead."""

INSERT_TRIES = 2

REPEAT_WAIT_S = 2.0
"""How long a repeat waits for the payment it repeats, before it says that it is in progress."""

REPEAT_POLL_S = 0.05

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Paid:
    """``replayed``: this key got the same receipt before."""

    receipt: Receipt
    replayed: bool


class Checkout:
    def __init__(
        self, seats: SeatStore, bookings: BookingStore, gateway: Gateway, tokens: HoldTokens
    ):
        self._seats = seats
        self._bookings = bookings
        self._gateway = gateway
        self._tokens = tokens

    def pay(
        self, event_id: str, hold_id: str, token: str, idempotency_key: str, buyer: Buyer
    ) -> Paid:
        """Charges for a hold and books it, once, however often it is asked with the same key.

        Raises HoldNotFound, HoldExpired, AlreadyBooked, PaymentDeclined, PaymentInProgress,
        IdempotencyKeyReused, InvalidRequest, SeatTaken, PaymentPending when the outcome is not
        known yet, and Unavailable when nothing happened.
        """
        if not self._tokens.is_token_of(event_id, hold_id, token):
            raise HoldNotFound
        self._bookings.require_index()
        key_digest = _digest(hold_id, idempotency_key)
        fingerprint = _digest(buyer.payment_method, buyer.email, buyer.name)

        begun = self._begin(event_id, hold_id, buyer, key_digest, fingerprint)
        if isinstance(begun, Paid):
            return begun
        return Paid(self._carry_out(begun), replayed=False)

    def resume(self, event: Event) -> bool:
        """Takes over one payment that nobody finished in time and ends it: finished when the money
        is reserved or the booking there, undone otherwise. Never starts a charge: its buyer may
        have been told that nothing happened. Returns whether there was one."""
        payment = self._seats.claim_lapsed_payment(event)
        if payment is None:
            return False
        booking = self._bookings.find(booking_id_of(payment.hold_id))
        if booking is None:
            found = (
                self._gateway.find(payment.gateway_key, payment.begun_at)
                if payment.amount_minor
                else None
            )
            if found is None or found.status in ("declined", "voided"):
                log.info("payment %s: nothing was charged, undone", payment.gateway_key)
                self._seats.undo_payment(payment, None)
                return True
            booking = self._book(payment, found)
        log.info("payment %s: finished", payment.gateway_key)
        self._finish(payment, booking)
        return True

    # ------------------------------------------------------------ the steps

    def _begin(
        self, event_id: str, hold_id: str, buyer: Buyer, key_digest: str, fingerprint: str
    ) -> Payment | Paid:
        give_up_at = time.monotonic() + REPEAT_WAIT_S

        def begin(event: Event) -> Payment | Replay:
            return self._seats.begin_payment(event, hold_id, buyer, key_digest, fingerprint)

        while True:
            try:
                begun = with_event(self._seats, event_id, begin)
            except PaymentInProgress:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(REPEAT_POLL_S)
            except HoldExpired:
                return self._booked_before(hold_id, key_digest, fingerprint)
            else:
                return Paid(begun.receipt, replayed=True) if isinstance(begun, Replay) else begun

    def _booked_before(self, hold_id: str, key_digest: str, fingerprint: str) -> Paid:
        """Redis knows neither hold nor receipt; the booking, if there is one, remembers."""
        booking = self._bookings.find(booking_id_of(hold_id))
        if booking is None:
            raise HoldExpired
        if booking.key_digest != key_digest:
            raise AlreadyBooked(booking.id)
        if booking.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        return Paid(booking.receipt(), replayed=True)

    def _carry_out(self, payment: Payment) -> Receipt:
        try:
            authorization = self._authorize(payment) if payment.amount_minor else None
        except PaymentDeclined as declined:
            declined.attempts_left = self._seats.undo_payment(payment, declined)
            raise
        except InvalidRequest:
            self._seats.undo_payment(payment, None)
            raise
        except NotExecuted as error:
            self._seats.undo_payment(payment, None)
            raise Unavailable("payment gateway", retry_after_s=2) from error
        booking = self._book(payment, authorization)
        self._finish(payment, booking)
        return booking.receipt()

    def _authorize(self, payment: Payment) -> Authorization:
        """Raises PaymentDeclined, InvalidRequest, NotExecuted, PaymentPending."""
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
                    _metadata(payment),
                )
            except OutcomeUnknown as error:
                log.warning("payment %s: authorize: %s", payment.gateway_key, error)
                unanswered = True
            except NotExecuted:
                # That this call did nothing says nothing of one before it that had no answer.
                if not unanswered:
                    raise
        return self._look_up(payment)

    def _look_up(self, payment: Payment) -> Authorization:
        """The authorisation whose answer was lost. Not being there (yet) is no proof that it never
        will be: raises PaymentPending."""
        try:
            found = self._gateway.find(payment.gateway_key, payment.begun_at)
        except GatewayError as error:
            log.warning("payment %s: look-up: %s", payment.gateway_key, error)
            found = None
        if found and found.status in ("authorized", "captured"):
            return found
        raise PaymentPending(payment.event_id, payment.hold_id)

    def _book(self, payment: Payment, authorization: Authorization | None) -> Booking:
        """The commit point. Raises SeatTaken when another booking has a seat (the authorisation is
        then void), PaymentPending when MongoDB's answer is missing."""
        now = datetime.now(UTC)
        booking = Booking(
            id=booking_id_of(payment.hold_id),
            hold_id=payment.hold_id,
            event_id=payment.event_id,
            seats=payment.seats,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            payment_id=authorization.payment_id if authorization else None,
            booked_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
            email=payment.buyer.email,
            name=payment.buyer.name,
            key_digest=payment.key_digest,
            fingerprint=payment.fingerprint,
        )
        for _ in range(INSERT_TRIES):
            try:
                return self._bookings.insert(booking)
            except InsertUnknown:
                continue
            except SeatTaken:
                self._give_way(payment, authorization)
                raise
        raise PaymentPending(payment.event_id, payment.hold_id)

    def _give_way(self, payment: Payment, authorization: Authorization | None) -> None:
        """Another booking has a seat: Redis had forgotten it. Let the money go, then correct
        Redis. In this order, for a payment that is not over is taken up again by the worker."""
        if authorization:
            try:
                self._gateway.void(authorization.payment_id)
            except GatewayError as error:
                raise PaymentPending(payment.event_id, payment.hold_id) from error
        for other in self._bookings.holding(payment.event_id, payment.seats):
            self._confirm(other)
        self._seats.undo_payment(payment, None)

    def _finish(self, payment: Payment, booking: Booking) -> None:
        """After the commit point: take the money, then tell Redis."""
        if booking.payment_id:
            for attempt in range(GATEWAY_TRIES):
                try:
                    self._gateway.capture(booking.payment_id)
                    break
                except GatewayError as error:
                    log.warning("payment %s: capture: %s", payment.gateway_key, error)
                    if attempt == GATEWAY_TRIES - 1:
                        raise PaymentPending(payment.event_id, payment.hold_id) from error
        try:
            self._confirm(booking)
        except Unavailable:
            # Booked and paid: the receipt stands. Redis learns of it when it is back.
            log.warning("booking %s: Redis could not be told", booking.id)

    def _confirm(self, booking: Booking) -> None:
        with_event(
            self._seats,
            booking.event_id,
            lambda event: self._seats.confirm_booking(event, booking),
        )


def _digest(*parts: str) -> str:
    """Each part with its length, so that no two lists of parts look the same."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()


def _metadata(payment: Payment) -> dict[str, str]:
    """What the gateway's ledger says of a payment: enough to find the sale it was for."""
    return {
        "event": payment.event_id,
        "hold_id": payment.hold_id,
        "booking_id": booking_id_of(payment.hold_id),
    }
