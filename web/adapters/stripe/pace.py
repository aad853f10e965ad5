"""The pace of calls to Stripe, which allows an account only so many a second to each endpoint.

Each call takes a place in the queue of its endpoint and waits for its turn. So a crowd pays in
order, where otherwise Stripe would refuse whoever comes when a second is used up. The limiter keeps
the queues, for all processes that ask it.

Calls are spread evenly over the window. If all of a second's calls were made at its beginning,
those of one second that are a little late would be counted together with all of the next.

First come, first served, for the worker too: what it finishes is also a buyer's payment, whose
buyer has waited longer than the others, and it makes one call at a time. Its readings of the list
have a queue of their own, because Stripe counts them apart.
"""

import time
from collections.abc import Callable
from typing import Literal

from sidecar.client import LimiterClient
from sidecar.sliding_log import NS_PER_S, Rate
from web.ports.payment_gateway import TooBusy

Endpoint = Literal["cancel", "capture", "create", "list", "refund", "retrieve"]

MARGIN_NS = 50_000_000
"""Added to the window, because Stripe counts calls when they arrive, and some are on their way
longer than others. When the difference is larger, Stripe answers 429 and the call is repeated."""


class Pace:
    """Safe to share between greenlets or threads."""

    def __init__(
        self,
        limiter: LimiterClient,
        rate: Rate,
        note_wait: Callable[[Endpoint, float], None] = lambda endpoint, wait_s: None,
    ):
        """``rate`` is that of each endpoint. ``note_wait`` is called for each call that has to
        wait, before it does."""
        self._limiter = limiter
        self._rate = Rate(1, -(-(rate.window_ns + MARGIN_NS) // rate.limit))
        self._note_wait = note_wait

    def wait_for_turn(self, endpoint: Endpoint, max_wait_s: float) -> None:
        """Return when a call may be made. Raises TooBusy, at once, when that would take longer than
        ``max_wait_s``."""
        place = self._limiter.take_place(
            f"stripe:{endpoint}", self._rate, int(max_wait_s * NS_PER_S)
        )
        wait_s = place.wait_ns / NS_PER_S
        if not place.is_taken:
            raise TooBusy(f"calls to {endpoint} wait {wait_s:.1f} s for their turn", wait_s)
        if place.wait_ns:
            self._note_wait(endpoint, wait_s)
            _sleep(wait_s)


def _sleep(seconds: float) -> None:
    """Never shorter, which a greenlet's sleep may be."""
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        time.sleep(left_s)
