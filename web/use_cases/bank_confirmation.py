"""Payments whose bank asks the owner of the card (3-D Secure): to the bank, back, and what then.

A payment at the bank belongs to nobody. Whoever hears of it first claims it: the buyer who comes
back or repeats the payment, or the worker, after a webhook or when the time is over. What happened
at the bank is read from the gateway and from nowhere else.

Cancel before undo, always: whoever has the secret of a payment can confirm it again, with another
card, until it is canceled. And before it is canceled it is marked, so that a cancellation that is
carried out late never meets a booking.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn, TypeVar

from web.domain.refusals import (
    AUTHENTICATION_REQUIRED,
    NEEDS_OWNER,
    NOT_COMPLETED,
    NOT_CONFIRMED,
    ActionRequired,
    EventNotFound,
    PaymentDeclined,
    PaymentNotFound,
    Unavailable,
)
from web.domain.sales import NO_WAY_BACK, BankStep, Booking, PaymentAttempt, RefusedAs
from web.ports.payment_gateway import (
    Gateway,
    GatewayError,
    GatewayPayment,
    NotExecuted,
    OutcomeUnknown,
)
from web.ports.seat_store import SeatStore
from web.use_cases.payment_steps import InFlight, PaymentSteps

BANK_CHECKPOINTS = ("asked_by_bank", "at_bank", "confirmed_by_bank", "canceling", "canceled")
"""As CHECKPOINTS, of a payment whose bank asks. After "confirmed_by_bank" it goes on from
"lease_renewed". When the step after a checkpoint gets no response:

    checkpoint         seats   booking  money            what the worker does
    asked_by_bank      paying  none     none             finds it by its key: at the bank
    at_bank            paying  none     none             looks when the time is over
    confirmed_by_bank  paying  none     authorized       books, captures, confirms
    canceling          paying  none     none, or         cancels it, then undoes it: 402 for the
                                        authorized       same key
    canceled           paying  none     none any more    undoes it: 402 for the same key
"""

LOOK_AGAIN_MS = 15_000
"""When the worker looks at a payment whose state could not be read."""

NOT_IN_TIME = RefusedAs(NOT_CONFIRMED, "The payment was not confirmed at your bank in time.")
GIVEN_UP = RefusedAs(NOT_COMPLETED, "This payment was canceled.")
NOT_ASKED = RefusedAs(AUTHENTICATION_REQUIRED, NEEDS_OWNER)

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")


class BankConfirmation:
    def __init__(
        self, seats: SeatStore, gateway: Gateway, steps: PaymentSteps, confirmation_s: float
    ):
        self._seats = seats
        self._gateway = gateway
        self._steps = steps
        self._confirmation = timedelta(seconds=confirmation_s)

    def ask_owner(self, in_flight: InFlight, found: GatewayPayment) -> NoReturn:
        """``found`` is the payment that its owner has to confirm. Raises ActionRequired, and
        PaymentDeclined when its owner cannot be asked; when the payment is not this process's any
        more, EarlierRefusal or PaymentPending."""
        self._steps.on_checkpoint("asked_by_bank")
        step = self._step_of(in_flight.payment, found)
        if _cannot_be_shown(in_flight.payment, step):
            in_flight.payment = replace(in_flight.payment, bank_step=step)
            self.cancel(in_flight, NOT_ASKED)
            raise in_flight.pending()  # It is booked; the next response is the receipt.
        step = self._leave(in_flight, step)
        self._steps.on_checkpoint("at_bank")
        raise ActionRequired(in_flight.payment.key_digest, step)

    def settle(self, in_flight: InFlight) -> Booking:
        """Ends a payment that was claimed at the bank, or leaves it there. Raises ActionRequired,
        PaymentDeclined, SeatTaken, AlreadyBooked, EarlierRefusal, and PaymentPending when it cannot
        be known now."""
        step = _step(in_flight)
        if step.canceled_as:
            return self.cancel(in_flight, step.canceled_as)
        try:
            found = _answered(in_flight, lambda: self._gateway.retrieve(step.payment_id))
        except GatewayError as error:
            log.warning("payment %s: retrieve: %s", in_flight.payment.gateway_key, error)
            # Not until its lease is over: the buyer may ask again, and so does the worker; but also
            # when the time is over, the worker must not ask again and again.
            self._leave(in_flight, step, self._now_ms(in_flight) + LOOK_AGAIN_MS)
            raise in_flight.pending() from error
        return self.settle_as(in_flight, found)

    def settle_as(self, in_flight: InFlight, found: GatewayPayment) -> Booking:
        """The same for a payment that the gateway has as ``found``."""
        payment = in_flight.payment
        # Somebody may have captured it by hand, and not all of it.
        is_whole = found.amount_minor == payment.amount_minor
        if found.status in ("authorized", "captured") and is_whole:
            in_flight.gateway_payment = found
            self._steps.on_checkpoint("confirmed_by_bank")
            self._steps.check_own(in_flight)
            now = datetime.fromtimestamp(self._now_ms(in_flight) / 1000, UTC)
            booking = self._steps.book(in_flight, now)
            self._steps.finish(in_flight, booking)
            return booking
        step = payment.bank_step or self._step_of(payment, found)
        in_flight.payment = replace(payment, bank_step=step)
        if found.status != "action_required":
            declined = found.decline
            return self.cancel(
                in_flight, RefusedAs(declined.reason, declined.message) if declined else GIVEN_UP
            )
        if self._now_ms(in_flight) >= step.until_ms:
            return self.cancel(in_flight, NOT_IN_TIME)
        if _cannot_be_shown(payment, step):
            return self.cancel(in_flight, NOT_ASKED)
        raise ActionRequired(payment.key_digest, self._leave(in_flight, step))

    def cancel(self, in_flight: InFlight, refused_as: RefusedAs) -> Booking:
        """Cancels a payment that was claimed at the bank. Returns its booking if there is one: then
        Redis was restored to a moment before. Raises PaymentDeclined with the reason of whoever was
        first, PaymentPending when it may still be confirmed, EarlierRefusal."""
        step = replace(_step(in_flight), canceled_as=refused_as)
        try:
            canceling = self._seats.begin_cancel(in_flight.payment, step)
        except (Unavailable, EventNotFound):
            raise in_flight.pending() from None
        if canceling is None:
            self._hear_other(in_flight)
        self._steps.on_checkpoint("canceling")
        booking = self._steps.booking_of(in_flight)
        if booking and booking.payment_id == step.payment_id:
            if not booking.refunded_at:
                self._steps.finish(in_flight, booking)
            return booking
        try:
            _answered(in_flight, lambda: self.release(step.payment_id))
        except GatewayError as error:
            log.warning("payment %s: cancel: %s", in_flight.payment.gateway_key, error)
            raise in_flight.pending() from error
        self._steps.on_checkpoint("canceled")
        refusal = PaymentDeclined(*(canceling.canceled_as or refused_as))
        refusal.attempts_left = self._steps.undo(in_flight, refusal)
        raise refusal

    def release(self, payment_id: str) -> None:
        """Nobody can confirm this payment any more, and no money is left of it, also when somebody
        has captured it by hand. Raises GatewayError."""
        try:
            self._gateway.void(payment_id)
        except NotExecuted:
            self._gateway.refund(payment_id, f"refund-{payment_id}")

    def _step_of(self, payment: PaymentAttempt, found: GatewayPayment) -> BankStep:
        until = payment.begun_at + self._confirmation
        action = found.next_action
        return BankStep(
            payment_id=found.payment_id,
            url=action.url if action else "",
            client_secret=action.client_secret if action else "",
            until_ms=round(until.timestamp() * 1000),
        )

    def _leave(
        self, in_flight: InFlight, step: BankStep, look_at_ms: int | None = None
    ) -> BankStep:
        try:
            waiting = self._seats.wait_for_bank(in_flight.payment, step, look_at_ms)
        except (Unavailable, EventNotFound):
            raise in_flight.pending() from None
        return waiting or self._hear_other(in_flight)

    def _now_ms(self, in_flight: InFlight) -> int:
        try:
            return int(self._seats.now(in_flight.payment.event_id).timestamp() * 1000)
        except (Unavailable, EventNotFound):
            raise in_flight.pending() from None

    def _hear_other(self, in_flight: InFlight) -> NoReturn:
        """Another process has ended the payment, or is at it."""
        try:
            self._steps.hear_final_answer(in_flight)
        except PaymentNotFound:
            raise in_flight.pending() from None


def _cannot_be_shown(payment: PaymentAttempt, step: BankStep) -> bool:
    """A question without an address can only be shown by Stripe.js. Its buyer would wait until the
    time is over. After a loss of Redis nobody knows whether the buyer has Stripe.js."""
    return not (step.url or payment.way_back.in_page or payment.way_back == NO_WAY_BACK)


def _answered(in_flight: InFlight, call: Callable[[], _Answer]) -> _Answer:
    """The response to a call that is idempotent: when it is lost, the call is made once more, so
    that the buyer need not wait for the worker. Raises GatewayError."""
    try:
        return call()
    except OutcomeUnknown:
        if not in_flight.has_time():
            raise
    return call()


def _step(in_flight: InFlight) -> BankStep:
    step = in_flight.payment.bank_step
    if step is None:  # Only a payment at the bank can be claimed there.
        raise in_flight.pending()
    return step
