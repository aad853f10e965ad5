"""Stripe's limit on calls: so many a second to one endpoint, 25 unless an account was given more.
https://docs.stripe.com/rate-limits

Here an endpoint is an Operation, as at Stripe: all retrievals are one, whichever intent they ask
for. Stripe also has a limit for all calls of an account together, 100 a second live and 25 in a
sandbox of theirs, which is not here.
"""

import time
from collections import defaultdict, deque

from ops.sandbox.errors import rate_limited
from ops.sandbox.faults import Operation

WINDOW_S = 1.0


class RateLimit:
    """``calls_per_s`` of one operation in any second; None for no limit. A refused call does not
    count."""

    def __init__(self, calls_per_s: int | None = None):
        self._calls_per_s = calls_per_s
        self._taken_s: dict[Operation, deque[float]] = defaultdict(deque)

    def take(self, operation: Operation) -> None:
        """Raises ApiError when there was room for no more."""
        if self._calls_per_s is None:
            return
        taken_s, now_s = self._taken_s[operation], time.monotonic()
        while taken_s and taken_s[0] <= now_s - WINDOW_S:
            taken_s.popleft()
        if len(taken_s) >= self._calls_per_s:
            raise rate_limited()
        taken_s.append(now_s)
