"""The gateway's list of payments compared with the bookings: money against seats, both ways."""

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, islice

from web.domain.refusals import EarlierRefusal, NotKnownNow, PaymentNotFound, Refusal
from web.domain.sales import Booking
from web.ports.booking_store import BookingStore
from web.ports.payment_gateway import Gateway, GatewayPayment
from web.ports.seat_store import EarlierReceipt, SeatStore
from web.use_cases.gateway_metadata import payment_of
from web.use_cases.repairs import Repairs

LEDGER_PAGE = 100
"""As the gateway has them."""

GIVEN_BACK = {"refunded": "refunded", "voided": "canceled"}
"""Statuses of a payment whose money its owner has again, in words: somebody did it by hand, or the
money stayed reserved for longer than banks allow."""

log = logging.getLogger(__name__)


@dataclass
class GatewayLedger:
    """One reading of the list, begun at ``opened_at`` by the gateway's clock; ``payments`` are
    those not compared yet: made since ``since``, or older and refunded since then, perhaps by hand.
    A payment older than ``settles_after`` is settled: no process works on it any more.

    ``unsettled`` has the epochs, by event, for which authorisations from before the epoch may be
    left. They began so long ago that all of these have settled and are in this list: once it has
    been compared none is left, except in the events of ``_unclear``, where a payment without a
    booking could not be looked up or repaired.
    """

    seats: SeatStore
    bookings: BookingStore
    gateway: Gateway
    repairs: Repairs
    settles_after: timedelta
    unsettled: Mapping[str, str]
    opened_at: datetime
    since: datetime
    payments: Iterator[GatewayPayment] = field(init=False)
    _settled: deque[tuple[GatewayPayment, Booking | None]] = field(
        default_factory=deque, init=False
    )
    _unclear: set[str] = field(default_factory=set, init=False)
    oldest_left: datetime | None = field(default=None, init=False)
    """When the oldest payment was made of those that could not be looked up or repaired: the next
    reading has to go back that far, and no further than this one, which has found it."""

    def __post_init__(self) -> None:
        self.payments = chain(self.gateway.list(self.since), self._older_and_refunded())

    def compare(self, reads_until_s: float, repairs_until_s: float) -> bool:
        """For a while: what was read is repaired until the one moment, and the next page is read
        until the other; both are on the monotonic clock. One page or one repair at least. Whether
        that was all. Raises GatewayError when a page cannot be read."""
        while self._settled or self._read_page():
            while self._settled:
                self._compare_next()
                if time.monotonic() > repairs_until_s:
                    return False
            if time.monotonic() > reads_until_s:
                return False
        if not self.repairs.dry_run:
            for event_id in sorted(self.unsettled.keys() - self._unclear):
                with self.repairs.isolate_failure(event_id):
                    self.seats.settle_epoch(event_id, self.unsettled[event_id])
        return True

    def _older_and_refunded(self) -> Iterator[GatewayPayment]:
        seen = set()
        for payment in self.gateway.refunded(self.since):
            if payment.created < self.since and payment.payment_id not in seen:
                seen.add(payment.payment_id)
                yield payment

    def _read_page(self) -> bool:
        """Whether there was another one."""
        page = list(islice(self.payments, LEDGER_PAGE))
        if not page:
            return False
        now = self.gateway.now()
        settled = [
            payment
            for payment in page
            if now - payment.created > self.settles_after and "booking_id" in payment.metadata
        ]
        doubtful = self._not_just_captured(settled)
        bookings = self._bookings_of(doubtful)
        self._settled.extend((p, bookings.get(p.metadata["booking_id"])) for p in doubtful)
        return True

    def _not_just_captured(self, settled: Sequence[GatewayPayment]) -> list[GatewayPayment]:
        """Without the captured payments of bookings, which agree. They are nearly all, and are read
        again and again: whole bookings would take several times as long as the gateway's list."""
        paid = self.bookings.payment_ids(p.metadata["booking_id"] for p in settled)
        return [
            payment
            for payment in settled
            if payment.status != "captured"
            or paid.get(payment.metadata["booking_id"]) != payment.payment_id
        ]

    def _bookings_of(self, payments: Sequence[GatewayPayment]) -> Mapping[str, Booking]:
        if not payments:
            return {}
        return self.bookings.find_all(payment.metadata["booking_id"] for payment in payments)

    def _compare_next(self) -> None:
        payment, booking = self._settled.popleft()
        if booking and booking.payment_id != payment.payment_id:
            booking = None
        failures, unclear = self.repairs.not_done, len(self._unclear)
        with self.repairs.isolate_failure(payment.payment_id):
            self._compare(payment, booking)
        failed = self.repairs.not_done > failures
        if failed and not booking:
            self._unclear.add(payment.metadata["event"])
        if failed or len(self._unclear) > unclear:
            made = max(payment.created, self.since)
            self.oldest_left = min(self.oldest_left or made, made)

    def _compare(self, payment: GatewayPayment, booking: Booking | None) -> None:
        payment_id, status = payment.payment_id, payment.status
        if status == "authorized" and booking and not booking.refunded_at:
            self.repairs.capture(payment_id, booking)
        elif status == "authorized" and not self._is_under_way(payment):
            self.repairs.void(payment_id)
        elif status in ("action_required", "declined") and not booking:
            # Whoever has its secret can still confirm it, the declined one with another card.
            if not self._is_under_way(payment):
                self.repairs.cancel(payment_id)
        elif status in GIVEN_BACK and booking and not booking.refunded_at:
            reason = f"{payment_id} was {GIVEN_BACK[status]} at the gateway"
            self.repairs.end_refund(booking.id, reason)
        elif status == "captured" and not booking:
            self.repairs.refund_unbooked(payment_id)
        elif status != "captured" and booking and not booking.refunded_at:
            log.error("%s is booked, and its payment %s is %s", booking.id, payment_id, status)

    def _is_under_way(self, payment: GatewayPayment) -> bool:
        attempt = payment_of(payment)
        try:
            receipt = self.seats.read_payment(attempt.event_id, attempt.hold_id, attempt.key_digest)
        except (PaymentNotFound, EarlierRefusal):
            return False  # It was never begun, or ended with a no.
        except NotKnownNow:
            # Lost with Redis; the process that worked on it has ended by the time its epoch is old.
            return attempt.event_id not in self.unsettled
        except Refusal:
            self._unclear.add(attempt.event_id)
            return True  # Redis does not know now; ask again in the next round.
        return not isinstance(receipt, EarlierReceipt)
