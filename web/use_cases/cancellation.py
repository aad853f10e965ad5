"""Ending an event that its organiser has cancelled: no seat stays held, no payment under way, and
every booking is refunded.

Its file says that it is cancelled, and nothing else does: whoever finds bookings of a cancelled
event refunds them. So it does not matter who begins, and who is killed.
"""

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial

from web.domain.refusals import NOT_COMPLETED
from web.domain.sales import Booking, RefusedAs
from web.ports.payment_gateway import TooBusy
from web.ports.seat_store import SeatStore

CALLED_OFF = RefusedAs(NOT_COMPLETED, "The event was cancelled.")
"""What buyers hear whose bank has not confirmed the payment yet."""

SIDE_BY_SIDE = 20
"""Refunds that are made at the same time. Each takes about a second, and Stripe lets an account
make 25 a second; the gateway's own queue keeps the pace."""

BUSY_S = 1.0
"""How long to wait when the gateway takes no more calls and does not say for how long."""


def end_sale(seats: SeatStore, event_id: str) -> int:
    """Releases what is held, and calls off payments that are at the bank. Returns how many payments
    have not ended yet: the worker ends those that were called off, and their own processes the
    others, whose bookings are refunded then."""
    seats.sweep_holds(event_id)
    return seats.call_off_payments(event_id, CALLED_OFF)


def refund_side_by_side(
    refund: Callable[[str], Booking],
    booking_ids: Sequence[str],
    stopped: Callable[[], bool] = lambda: False,
) -> Generator[tuple[str, Booking | Exception], None, None]:
    """Refunds these bookings, SIDE_BY_SIDE at a time; yields each id with its booking, or why it
    was not refunded. Those that have not begun when it is ``stopped``, or closed, are left."""

    def refund_one(booking_id: str) -> Booking | None:
        while not stopped():
            try:
                return refund(booking_id)
            except TooBusy as busy:
                time.sleep(busy.retry_after_s or BUSY_S)
        return None

    def try_to(refund_it: Callable[[], Booking | None]) -> Booking | Exception | None:
        try:
            return refund_it()
        except Exception as error:  # noqa: BLE001 - one failure holds up no other refund
            return error

    if len(booking_ids) == 1 or SIDE_BY_SIDE == 1:
        for booking_id in booking_ids:
            if outcome := try_to(partial(refund_one, booking_id)):
                yield booking_id, outcome
        return
    pool = ThreadPoolExecutor(SIDE_BY_SIDE)
    try:
        waiting = {pool.submit(refund_one, booking_id): booking_id for booking_id in booking_ids}
        for future in as_completed(waiting):
            if outcome := try_to(future.result):
                yield waiting[future], outcome
    finally:
        pool.shutdown(cancel_futures=True)
