"""Who the client is, and whether it may ask now: before any other work, for every path."""

from flask import Flask, Response, g, request

from sidecar.client import LimiterClient
from sidecar.client_address import client_key, parse_networks
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
        self, limiter: LimiterClient, rate: Rate, trusted_proxies: str, trusted_hops: int | None
    ):
        """Raises ValueError when ``trusted_proxies`` are no networks."""
        self._limiter = limiter
        self._trusted = parse_networks(trusted_proxies)
        self._hops = trusted_hops
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
        fallbacks = self._limiter.fallbacks
        g.decision = self._limiter.check(g.client)
        LIMITER_FALLBACKS.inc(self._limiter.fallbacks - fallbacks)
        return None if g.decision.allowed else self._refusal(g.decision)

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
