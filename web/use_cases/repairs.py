"""The repairs of the worker, and how they are done: counted, logged, and only said in a dry run.

Each repair is idempotent, so two workers at once do no harm, and a worker that is killed in the
middle of one has it done again by the next. What needs one is found by ``reconciliation.py`` and
``gateway_ledger.py``.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from web.domain.events import Event
from web.domain.refusals import ActionRequired, EventChanged, Refusal
from web.domain.sales import Booking, PaymentAttempt
from web.ports.booking_store import BookingStore
from web.ports.event_catalogue import Epoch, EventCatalogue
from web.ports.payment_gateway import Gateway, GatewayError, GatewayPayment
from web.ports.seat_store import SeatStore
from web.use_cases.cancellation import refund_side_by_side
from web.use_cases.checkout import Checkout
from web.use_cases.opening import Opening, OpeningRefused, UnderWay
from web.use_cases.refunds import Refunds

NOT_ENDED = "its payment was not ended in time"
TIME_IS_OVER = "its time at the bank is over"

WOULD = {"index made": "index would be made", "refund ended": "refund would be ended"}
"""What a dry run says of repairs whose names do not follow "would be"."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwedRefund:
    """Of a whole booking, or the one ``of_seats`` that is under way."""

    booking_id: str
    reason: str
    of_seats: bool = False


class Repairs:
    """``done`` counts them by kind; ``not_done`` are those that failed. With ``dry_run`` nothing is
    done."""

    def __init__(
        self,
        catalogue: EventCatalogue,
        seats: SeatStore,
        bookings: BookingStore,
        gateway: Gateway,
        checkout: Checkout,
        dry_run: bool,
        goes_on: bool,
    ):
        """``goes_on``: whether there will be another round."""
        self._catalogue = catalogue
        self._bookings = bookings
        self._gateway = gateway
        self._checkout = checkout
        self._opening = Opening(catalogue, seats, bookings, gateway)
        self._refunds = Refunds(catalogue, seats, bookings, gateway)
        self._goes_on = goes_on
        self.dry_run = dry_run
        self.done: Counter[str] = Counter()
        self.not_done = 0

    # ------------------------------------------------------------ events and their seats

    def make_index(self) -> None:
        self._repair("index made", "bookings", "it was dropped", self._bookings.create_indexes)

    def add_to_catalogue(self, event_ids: Collection[str]) -> None:
        self._repair(
            "listed",
            ", ".join(sorted(event_ids)),
            "declared, and not listed in Redis",
            partial(self._catalogue.add, event_ids),
        )

    def reopen(
        self,
        event: Event,
        reason: str,
        under_way: UnderWay,
        lost_revision: int,
        last_epoch: Epoch | None,
    ) -> None:
        """What the arguments mean is said by ``Opening.open_event``."""

        def reopen() -> None:
            self._opening.open_event(event, under_way, lost_revision, last_epoch, is_repair=True)

        self._repair("reopened", event.id, reason, reopen)

    def mark_sold(self, event: Event, seats: Sequence[str]) -> None:
        def open_with_bookings() -> None:
            self._opening.open_event(event, is_repair=True)

        self._repair(
            "marked sold",
            f"{event.id}: {', '.join(seats)}",
            "booked, and not sold in Redis",
            open_with_bookings,
        )

    def return_seats(self, booking: Booking) -> None:
        self._repair(
            "returned",
            booking.id,
            "refunded, and sold in Redis",
            partial(self._refunds.return_seats, booking),
        )

    # ------------------------------------------------------------ payments

    def end_payment(self, payment: PaymentAttempt, charges: Mapping[str, GatewayPayment]) -> None:
        """``charges`` as ``Checkout.resume`` takes them."""
        key = payment.gateway_key
        try:
            self._repair("ended", key, NOT_ENDED, partial(self._checkout.resume, payment, charges))
        except ActionRequired:
            log.info("left at the bank: %s: the owner of the card has time to confirm it", key)

    def say_lapsed(self, hold_id: str, at_bank: bool) -> None:
        """In a dry run, which claims no payment."""
        self._would("ended", hold_id, TIME_IS_OVER if at_bank else NOT_ENDED)

    def end_refund(self, booking_id: str, reason: str) -> None:
        def refund() -> None:
            self._refunds.refund(booking_id)

        self._repair("refund ended", booking_id, reason, refund)

    def end_refunds(self, owed: Sequence[OwedRefund], stopped: Callable[[], bool]) -> None:
        """Side by side: there may be thousands."""
        if self.dry_run:
            for refund in owed:
                self._would("refund ended", refund.booking_id, refund.reason)
            return
        by_id = {refund.booking_id: refund for refund in owed}

        def end(booking_id: str) -> Booking:
            if by_id[booking_id].of_seats:
                return self._refunds.end_seat_refund(booking_id)
            return self._refunds.refund(booking_id)

        for booking_id, outcome in refund_side_by_side(end, list(by_id), stopped):
            with self.isolate_failure(booking_id):
                self._repair(
                    "refund ended",
                    booking_id,
                    by_id[booking_id].reason,
                    partial(_require_done, outcome),
                )

    def capture(self, payment_id: str, booking: Booking) -> None:
        self._repair(
            "captured",
            payment_id,
            f"{booking.id} is booked",
            partial(self._gateway.capture, payment_id),
        )

    def void(self, payment_id: str) -> None:
        self._repair(
            "voided", payment_id, "nothing was booked", partial(self._gateway.void, payment_id)
        )

    def cancel(self, payment_id: str) -> None:
        """One without money that could still be confirmed."""
        self._repair(
            "canceled",
            payment_id,
            "nobody needs it, and it could still be confirmed",
            partial(self._gateway.void, payment_id),
        )

    def refund_unbooked(self, payment_id: str) -> None:
        self._repair(
            "refunded",
            payment_id,
            "captured, and nothing was booked",
            partial(self._gateway.refund, payment_id, f"refund-{payment_id}"),
        )

    # ------------------------------------------------------------ how

    @contextmanager
    def isolate_failure(self, subject: str) -> Iterator[None]:
        """A failure holds up nothing else. The next round tries again, if there is one."""
        try:
            yield
        except (Refusal, GatewayError, OpeningRefused, EventChanged) as error:
            self.leave(subject, error)
        except Exception:
            self.not_done += 1
            log.exception("not done: %s: unexpected", subject)

    def leave(self, subject: str, reason: Exception) -> None:
        """For the next round, if there is one."""
        self.not_done += 1
        if self._goes_on:
            log.warning("%s: %s; trying again in the next round", subject, reason)
        else:
            log.warning("not done: %s: %s", subject, reason)

    def _repair(self, kind: str, subject: str, reason: str, act: Callable[[], str | None]) -> None:
        """``act`` returns what it did when the kind does not say it."""
        if self.dry_run:
            return self._would(kind, subject, reason)
        outcome = act()
        self.done[kind] += 1
        log.info(
            "%s: %s (%s)%s; %d of this kind so far",
            kind,
            subject,
            reason,
            f": {outcome}" if outcome else "",
            self.done[kind],
        )

    def _would(self, kind: str, subject: str, reason: str) -> None:
        log.info("%s: %s (%s)", WOULD.get(kind, f"would be {kind}"), subject, reason)


def _require_done(outcome: object) -> None:
    if isinstance(outcome, Exception):
        raise outcome
