"""The steps of a payment once its money is authorised, or is known not to be.

Every step is idempotent, so a payment that was left half done is finished by doing the rest of it
again. The insert of the booking is the commit point: before it a payment is undone, after it a
payment is finished, whatever happens.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from web.domain.events import Event
from web.domain.refusals import (
    AlreadyBooked,
    EarlierRefusal,
    EventNotFound,
    InvalidRequest,
    NotKnownNow,
    PaymentDeclined,
    PaymentNotFound,
    PaymentPending,
    Refusal,
    SeatTaken,
    Unavailable,
)
from web.domain.sales import (
    DEFAULT_LEASE_S,
    Booking,
    PaymentAttempt,
    SoldAs,
    booking_id_of,
)
from web.ports.booking_store import BookingStore, InsertUnknown
from web.ports.event_catalogue import EventCatalogue
from web.ports.payment_gateway import Gateway, GatewayError, GatewayPayment
from web.ports.seat_store import EarlierReceipt, SeatStore
from web.use_cases.current_event import with_event

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
returns 504. Seats that cost nothing need no authorisation: from "begun" on the worker books them,
and when they were begun just now their lease is not renewed.
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

BEYOND_DOUBT_OF_LEASE = 0.01
"""The fraction of a lease, of the default one at most, for which the beginning of a payment for
seats that cost nothing is its last check in Redis, too. Far more than is between the beginning and
the insert, far less than a worker or LAST_STEP_S waits."""

log = logging.getLogger(__name__)


@dataclass
class InFlight:
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


class PaymentSteps:
    def __init__(
        self,
        catalogue: EventCatalogue,
        seats: SeatStore,
        bookings: BookingStore,
        gateway: Gateway,
        lease_s: float,
        on_checkpoint: Callable[[str], None],
    ):
        """``on_checkpoint`` is called with each checkpoint when it is reached."""
        self._catalogue = catalogue
        self._seats = seats
        self._bookings = bookings
        self._gateway = gateway
        self.on_checkpoint = on_checkpoint
        self.budget_s = min(lease_s, DEFAULT_LEASE_S) * BUDGET_OF_LEASE
        self.fence_s = lease_s * FENCE_OF_LEASE
        self.beyond_doubt_s = min(lease_s, DEFAULT_LEASE_S) * BEYOND_DOUBT_OF_LEASE

    def in_flight(self, payment: PaymentAttempt, began_s: float) -> InFlight:
        return InFlight(payment, began_s, began_s + self.budget_s, began_s + self.fence_s)

    def undo(
        self, in_flight: InFlight, answer: PaymentDeclined | SeatTaken | InvalidRequest | None
    ) -> int:
        """Returns how many more cards can be tried for the hold. When the worker was faster, raises
        the result that it has recorded for the key: a key has one final result."""
        attempts_left = self._seats.undo_payment(in_flight.payment, answer)
        if attempts_left is None:
            with suppress(PaymentNotFound):
                self.hear_final_answer(in_flight)
        return attempts_left or 0

    def hear_final_answer(self, in_flight: InFlight) -> NoReturn:
        """For a payment that the worker has taken over: raises EarlierRefusal with the result that
        it recorded, PaymentNotFound if there is none, and PaymentPending when that cannot be known
        now."""
        payment = in_flight.payment
        with suppress(EventNotFound, Unavailable):
            self._seats.read_payment(payment.event_id, payment.hold_id, payment.key_digest)
        raise in_flight.pending()

    def check_begun(self, in_flight: InFlight) -> None:
        """As check_own, for the process that began the payment. Without asking Redis where it has
        just said so, and nobody can have been told anything else since then: nothing has to be
        paid, so all that a worker would do is book it."""
        age_s = time.monotonic() - in_flight.began_s
        if in_flight.payment.amount_minor or age_s >= self.beyond_doubt_s:
            self.check_own(in_flight)
        else:
            self.on_checkpoint("lease_renewed")

    def check_own(self, in_flight: InFlight) -> None:
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
        self.on_checkpoint("lease_renewed")

    def _release_authorization(self, in_flight: InFlight, gateway_payment: GatewayPayment) -> None:
        """Releases the authorisation of a payment that was ended without it. When this fails, the
        worker does it. After a loss of Redis the payment may be in progress again and need it."""
        payment = in_flight.payment
        with suppress(Unavailable):
            booking = self._bookings.find(booking_id_of(payment.hold_id))
            if booking and booking.payment_id == gateway_payment.payment_id:
                return
            if not self._is_under_way(payment):
                self.void(in_flight)

    def _is_under_way(self, payment: PaymentAttempt) -> bool:
        """Whichever process is working on it. Raises Unavailable."""
        try:
            earlier = self._seats.read_payment(
                payment.event_id, payment.hold_id, payment.key_digest
            )
        except (EventNotFound, NotKnownNow, PaymentNotFound, EarlierRefusal):
            return False
        return not isinstance(earlier, EarlierReceipt)

    def booking_of(self, in_flight: InFlight) -> Booking | None:
        """The booking of the hold, by whichever payment. Raises PaymentPending."""
        try:
            return self._bookings.find(booking_id_of(in_flight.payment.hold_id))
        except Unavailable:
            raise in_flight.pending() from None

    def void(self, in_flight: InFlight) -> None:
        """Releases the authorisation, if there is one. Raises PaymentPending when it may still be
        in place."""
        if in_flight.gateway_payment is None:
            return
        try:
            self._gateway.void(in_flight.gateway_payment.payment_id)
        except GatewayError as error:
            raise in_flight.pending() from error

    def book(self, in_flight: InFlight, now: datetime) -> Booking:
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
        seats = tuple(map(event.seat_name, payment.seats))
        prices = _prices(event, payment)
        return SoldAs(event.name, event.venue, seats, event.starts_at, event.timezone, prices)

    def _only_payment(self, in_flight: InFlight, stored: Booking) -> Booking:
        """The stored booking may be from another attempt for the same hold, which Redis had lost.
        Then this attempt's authorisation is released. Raises AlreadyBooked when that attempt had
        another key."""
        if in_flight.gateway_payment and in_flight.gateway_payment.payment_id != stored.payment_id:
            self.void(in_flight)
        if stored.key_digest != in_flight.payment.key_digest:
            self.finish(self.in_flight(in_flight.payment, time.monotonic()), stored)
            raise AlreadyBooked(stored.id)
        return stored

    def _give_way(self, in_flight: InFlight, lost: SeatTaken) -> None:
        """Another booking has a seat, which Redis had lost. Releases the authorisation, then
        corrects Redis: in this order, because the worker resumes a payment that has not ended."""
        self.void(in_flight)
        payment = in_flight.payment
        for other in self._bookings.holding(payment.event_id, payment.seats):
            self._confirm(other)
        self.undo(in_flight, lost)

    def finish(self, in_flight: InFlight, booking: Booking) -> None:
        """After the commit point: captures the money, then records the sale in Redis."""
        self.on_checkpoint("booked")
        if booking.payment_id:
            self._capture(in_flight, booking.payment_id)
        self.on_checkpoint("captured")
        # Booked and paid: whatever is wrong with Redis, the receipt is valid. The worker records
        # the sale once Redis can be reached.
        try:
            self._confirm(booking)
        except Refusal as refusal:
            log.warning("booking %s: Redis could not be told: %s", booking.id, refusal)
        except Exception:
            log.exception("booking %s: Redis could not be told", booking.id)
        else:
            self.on_checkpoint("confirmed")

    def _capture(self, in_flight: InFlight, payment_id: str) -> None:
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


def _prices(event: Event, payment: PaymentAttempt) -> tuple[int, ...]:
    """Empty when they have changed since the hold was made."""
    if not all(seat in event.positions for seat in payment.seats):
        return ()
    prices = tuple(event.amount_minor([event.positions[seat]]) for seat in payment.seats)
    return prices if sum(prices) == payment.amount_minor else ()
