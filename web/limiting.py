"""Who the client is, and how much it may ask: in any window, and of the costly routes.

The limit on all requests of a client is WSGI middleware: nothing of Flask has run before it says
no, so a flood costs little, and no URL is outside it, whether there is a route for it or not.
Limits on single routes are Flask-Limiter's. Both ask the same sidecar.
"""

import math
import time
from collections.abc import Callable, Iterable

from flask import Flask, Response, request
from flask_limiter import Limiter, RateLimitExceeded

from sidecar.client import LimiterClient
from sidecar.client_address import client_key
from sidecar.limits_storage import SCHEME
from sidecar.networks import Network
from sidecar.sliding_log import Decision, Rate
from web.metrics import LIMITER_FALLBACKS, count_refusal
from web.problems import Problem
from web.settings import Settings

CLIENT = "tickets.client"
"""Where a request's WSGI environment has the client's key, as client_key makes it."""

UNLIMITED_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Load balancers and Prometheus ask these; nginx keeps the last two from everybody else."""

CODE = "rate_limited"

ROUTES_OF_PAYMENTS = ("api.pay",)
ROUTES_OF_LOOKUPS = (
    "api.show_hold",
    "api.release_hold",
    "api.extend_hold",
    "api.show_payment",
    "api.show_booking",
)

_NS_PER_S = 10**9

StartResponse = Callable[..., object]
WsgiApp = Callable[[dict, StartResponse], Iterable[bytes]]


class ClientLimit:
    """Middleware: so many requests in any window, by client, for the whole application.

    Every answer says what is left, in the headers of draft-ietf-httpapi-ratelimit-headers: a policy
    of ``q`` requests in ``w`` seconds, ``r`` of them left, and the next one more in ``t`` seconds.
    """

    def __init__(
        self,
        app: WsgiApp,
        limiter: LimiterClient,
        rate: Rate,
        trusted: tuple[Network, ...],
        hops: int | None,
    ):
        """``trusted`` and ``hops`` are those of ``client_key``."""
        self._app = app
        self._limiter = limiter
        self._rate = rate
        self._trusted = trusted
        self._hops = hops
        self._policy = policy("client", rate)
        self._fallbacks_counted = 0

    def __call__(self, environ: dict, start_response: StartResponse) -> Iterable[bytes]:
        environ[CLIENT] = client = client_key(
            environ.get("REMOTE_ADDR", ""),
            # A WSGI server has joined several lines to one.
            [environ[name] for name in ("HTTP_X_FORWARDED_FOR",) if name in environ],
            trusted=self._trusted,
            hops=self._hops,
        )
        if environ.get("PATH_INFO") in UNLIMITED_PATHS:
            return self._app(environ, start_response)
        decision = self._limiter.check(client, self._rate)
        self._count_fallbacks()
        if not decision.allowed:
            return self._refusal(client, decision)(environ, start_response)

        def start_described(status: str, headers: list, exc_info: object = None) -> object:
            return start_response(status, headers + self._headers(decision), exc_info)

        return self._app(environ, start_described)

    def _headers(self, decision: Decision) -> list[tuple[str, str]]:
        left = f'"client";r={decision.remaining};t={decision.reset_s}'
        return [("RateLimit-Policy", self._policy), ("RateLimit", left)]

    def _refusal(self, client: str, decision: Decision) -> Response:
        count_refusal(CODE)
        wait_s = decision.reset_s
        detail = f"Too many requests from {client}: wait {wait_s} s, then go on slower."
        response = Problem(429, CODE, detail, retry_after_s=wait_s).response()
        response.headers.extend(self._headers(decision))
        return response

    def _count_fallbacks(self) -> None:
        # Other greenlets are here too; nothing between these lines lets them in.
        total = self._limiter.fallbacks
        if total != self._fallbacks_counted:
            LIMITER_FALLBACKS.inc(total - self._fallbacks_counted)
            self._fallbacks_counted = total


def limit_routes(app: Flask, limiter: LimiterClient, settings: Settings) -> None:
    """Put the limits of single routes on a finished application.

    Payments, because lists of stolen cards are tried out with them and each may cost a call to the
    gateway; calls with a token, because tokens can be guessed.
    """
    routes = Limiter(
        key_func=lambda: request.environ[CLIENT],
        strategy="moving-window",
        storage_uri=f"{SCHEME}://",
        storage_options={"limiter": limiter},
    )
    # Known already, it hangs no hooks on the application: they are for limits that belong to no
    # route, and would cost every request 50 µs.
    app.extensions["limiter"] = {routes}
    routes.init_app(app)
    payments = routes.shared_limit(settings.rate_limit_payments, scope="payments")
    lookups = routes.shared_limit(settings.rate_limit_lookups, scope="lookups")
    for limit, endpoints in ((payments, ROUTES_OF_PAYMENTS), (lookups, ROUTES_OF_LOOKUPS)):
        for endpoint in endpoints:
            app.view_functions[endpoint] = limit(app.view_functions[endpoint])

    @app.errorhandler(RateLimitExceeded)
    def refuse(error: RateLimitExceeded) -> Response:
        count_refusal(CODE)
        name, item = error.limit.scope, error.limit.limit
        wait_s = max(1, math.ceil(routes.current_limit.window.reset_time - time.time()))
        detail = f"Too many {name} from {request.environ[CLIENT]}:"
        response = Problem(
            429, CODE, f"{detail} wait {wait_s} s, then go on slower.", retry_after_s=wait_s
        ).response()
        rate = Rate(item.amount, item.get_expiry() * _NS_PER_S)
        response.headers["RateLimit-Policy"] = policy(name, rate)
        response.headers["RateLimit"] = f'"{name}";r=0;t={wait_s}'
        return response


def policy(name: str, rate: Rate) -> str:
    return f'"{name}";q={rate.limit};w={rate.window_ns // _NS_PER_S}'
