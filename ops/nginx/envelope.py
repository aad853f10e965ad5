"""How often nginx lets a client ask: a coarse envelope around the application's exact limit.

The application admits at most ``limit`` requests in any window. nginx counts with a leaky bucket:
each request adds one, ``rate`` of them drain in a second, and above ``burst`` it refuses. A client
that keeps the exact rule sends at most ``limit * (1 + T / window)`` requests in any stretch of T
seconds. The network may hold some back and deliver them with later ones, at most STALL_S of
them: what arrives in T seconds was sent in T + STALL_S. So a bucket that drains ``limit / window``
overflows for nobody who keeps the rule when it has room for ``limit * (1 + STALL_S / window)``.

The same says how many requests can be under way at once. An answer comes within ANSWER_S, so those
that wait for one were sent in the last ANSWER_S + STALL_S seconds: with ten a second 790. Only
payments can take that long, and they have a limit of their own, so there is room for bodies and
answers on slow networks. All people behind one address, a telephone network's too, share the ten
requests a second, and so they share this. A page comes with FILES_A_PAGE files that are not counted
by rate; a slow network needs FILE_S for them: 1600 at once, when ten people a second come for the
first time. The browser of one person has 6 connections, or one with some dozen requests on it.
"""

import math
from dataclasses import dataclass

from sidecar.sliding_log import Rate
from web.settings import FILES_A_PAGE

STALL_S = 3
"""A segment that is lost twice is sent again after one second and after two more (RFC 6298)."""

ANSWER_S = 75
"""nginx waits no longer for the application (proxy.conf.j2)."""

FILE_S = 12
"""60 kB at 40 kbit/s, what an overcrowded mobile network leaves to each."""

MAX_AT_ONCE = 65_535
"""nginx counts no further, and does not start with a larger number."""

DRAIN_FACTOR = 2
"""nginx rounds the rate down and its clock to the turn of its event loop."""


@dataclass(frozen=True)
class Envelope:
    """``limit`` requests in any ``window_s`` seconds is what the application counts exactly."""

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
        """As nginx takes it: a whole number a second, or a minute when that is less than one."""
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
        """The most requests of a client that keeps the exact rule."""
        return math.ceil(self.limit * (1 + seconds / self.window_s))

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Of a refusal, like the application's (draft-ietf-httpapi-ratelimit-headers): nothing
        left, and one more after the share of the window that one request has."""
        wait_s = math.ceil(self.window_s / self.limit)
        return (
            ("Retry-After", str(wait_s)),
            self.policy_header,
            ("RateLimit", f'"client";r=0;t={wait_s}'),
        )

    @property
    def policy_header(self) -> tuple[str, str]:
        return ("RateLimit-Policy", f'"client";q={self.limit};w={self.window_s}')
