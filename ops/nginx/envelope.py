"""nginx's limits for a client: a coarse envelope around the application's exact limit.

The application admits at most ``limit`` requests in any window. nginx counts with a leaky bucket:
each request adds one, ``rate`` of them drain in a second, and above ``burst`` it refuses. A client
that keeps the exact limit sends at most ``limit * (1 + T / window)`` requests in any T seconds. The
network may delay requests by up to STALL_S and deliver them together with later ones, so those that
arrive in T seconds were sent in T + STALL_S seconds. Therefore a bucket that drains ``limit /
window`` a second never overflows for such a client if it holds ``limit * (1 + STALL_S / window)``.

The same argument bounds the requests under way at once. An answer comes within ANSWER_S, so the
requests without one were sent in the last ANSWER_S + STALL_S seconds: 790 at ten a second. Only
payments can take that long, and they have a limit of their own, so there is room for bodies and
answers on slow networks. All people behind one address, such as a mobile network's, share the ten
requests a second, and so they share this bound. A page loads FILES_A_PAGE files, which the rate
does not count; on a slow network they take FILE_S: 1600 at once, when ten people a second come for
the first time. One person's browser has 6 connections, or one with a few dozen requests on it.
"""

import math
from dataclasses import dataclass

from sidecar.sliding_log import Rate
from web.settings import FILES_A_PAGE

STALL_S = 3
"""A segment that is lost twice is sent again after one second and after two more (RFC 6298)."""

ANSWER_S = 75
"""How long nginx waits for the application (proxy.conf.j2)."""

FILE_S = 12
"""60 kB at 40 kbit/s, the share of one client in an overcrowded mobile network."""

MAX_AT_ONCE = 65_535
"""nginx's maximum: it does not start with a larger number."""

DRAIN_FACTOR = 2
"""A margin: nginx rounds the rate down, and its clock to the start of an event loop iteration."""


@dataclass(frozen=True)
class Envelope:
    """Around the application's exact limit of ``limit`` requests in any ``window_s`` seconds."""

    limit: int
    window_s: int

    @classmethod
    def around(cls, rate: Rate) -> "Envelope":
        return cls(rate.limit, rate.window_s)

    @property
    def limit_text(self) -> str:
        return f"{self.limit} requests in any {self.window_s} s"

    @property
    def rate_text(self) -> str:
        """In nginx's syntax: a whole number a second, or a minute if that is less than one."""
        drain_per_s = DRAIN_FACTOR * self.limit / self.window_s
        if drain_per_s >= 1:
            return f"{math.ceil(drain_per_s)}r/s"
        return f"{math.ceil(drain_per_s * 60)}r/m"

    @property
    def burst(self) -> int:
        return self._sent_in(STALL_S)

    @property
    def requests_at_once(self) -> int:
        return min(self._sent_in(ANSWER_S + STALL_S), MAX_AT_ONCE)

    @property
    def files_at_once(self) -> int:
        return min(FILES_A_PAGE * self._sent_in(FILE_S + STALL_S), MAX_AT_ONCE)

    def _sent_in(self, seconds: float) -> int:
        """The most requests of a client that keeps the exact limit."""
        return math.ceil(self.limit * (1 + seconds / self.window_s))

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of a refusal, as in the application (draft-ietf-httpapi-ratelimit-headers):
        no request is left, and the next is allowed after ``window_s / limit`` seconds."""
        wait_s = math.ceil(self.window_s / self.limit)
        return (
            ("Retry-After", str(wait_s)),
            self.policy_header,
            ("RateLimit", f'"client";r=0;t={wait_s}'),
        )

    @property
    def policy_header(self) -> tuple[str, str]:
        return ("RateLimit-Policy", f'"client";q={self.limit};w={self.window_s}')
