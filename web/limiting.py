"""Who the client is, and whether it may ask now: before any other work, for every path."""

from flask import Flask, Response, g, request

from sidecar.client import LimiterClient
from sidecar.client_address import Network, client_key
from sidecar.settings import Rate
from sidecar.sliding_log import Decision
from web.metrics import LIMITER_FALLBACKS
from web.problems import Problem

UNLIMITED_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Load balancers and Prometheus ask these; nginx keeps the last two from everybody else."""


class ClientLimit:
    """So many requests in any window, by client, for the whole application.

    The headers are those of draft-ietf-httpapi-ratelimit-headers: a policy ``q`` requests in ``w``
    seconds, ``r`` of them left, and the next one more in ``t`` seconds.
    """

    def __init__(
        self,
        limiter: LimiterClient,
        rate: Rate,
        trusted: tuple[Network, ...],
        hops: int | None,
    ):
        """``trusted`` and ``hops`` are those of ``client_key``."""
        self._limiter = limiter
        self._fallbacks_counted = 0
        self._trusted = trusted
        self._hops = hops
        self._policy = f'"client";q={rate.limit};w={rate.window_ns // 10**9}'

    def enforce_on(self, app: Flask) -> None:
        app.before_request(self._admit)
        app.after_request(self._describe)

    def _admit(self) -> Response | None:
        if request.path in UNLIMITED_PATHS:
            return None
        g.client = client_key(
            request.environ.get("REMOTE_ADDR", ""),
            request.headers.getlist("X-Forwarded-For"),
            trusted=self._trusted,
            hops=self._hops,
        )
        g.decision = self._limiter.check(g.client)
        self._count_fallbacks()
        return None if g.decision.allowed else self._refusal(g.decision)

    def _count_fallbacks(self) -> None:
        # Other greenlets are here too; nothing between these lines lets them in.
        total = self._limiter.fallbacks
        LIMITER_FALLBACKS.inc(total - self._fallbacks_counted)
        self._fallbacks_counted = total

    def _refusal(self, decision: Decision) -> Response:
        return Problem(
            429,
            "rate_limited",
            f"Too many requests from {g.client}: wait {decision.reset_s} s, then go on slower.",
            retry_after_s=decision.reset_s,
        ).response()

    def _describe(self, response: Response) -> Response:
        decision: Decision | None = g.get("decision")
        if decision is not None:
            response.headers["RateLimit-Policy"] = self._policy
            response.headers["RateLimit"] = f'"client";r={decision.remaining};t={decision.reset_s}'
        return response
