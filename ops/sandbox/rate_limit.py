"""Stripe's rate limit for the calls of one endpoint: 25 a second by default.
https://docs.stripe.com/rate-limits

As at Stripe, an endpoint is an Operation: the retrievals of all intents count together. Stripe's
limit for all calls of an account together, 100 a second live and 25 in Stripe's own sandboxes, is
not implemented.
"""

import time
from collections import defaultdict, deque

from ops.sandbox.errors import rate_limited
from ops.sandbox.faults import Operation

WINDOW_S = 1.0


class RateLimit:
    """Allows ``calls_per_s`` calls of an operation in any second; None means no limit. Refused
    calls do not count."""

    def __init__(self, calls_per_s: int | None = None):
        self._calls_per_s = calls_per_s
        self._taken_s: dict[Operation, deque[float]] = defaultdict(deque)

    def take(self, operation: Operation) -> None:
        """Count a call. Raises ApiError when the limit is reached."""
        if self._calls_per_s is None:
            return
        taken_s, now_s = self._taken_s[operation], time.monotonic()
        while taken_s and taken_s[0] <= now_s - WINDOW_S:
            taken_s.popleft()
        if len(taken_s) >= self._calls_per_s:
            raise rate_limited()
        taken_s.append(now_s)
