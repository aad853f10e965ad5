"""Who the client is, and how many requests it may make: in any window, and to the costly routes.

The limit on all of a client's requests is WSGI middleware: it refuses before Flask runs, so a flood
costs little, and it covers every URL, whether it has a route or not. The limits on single routes
are Flask-Limiter's, except that on the fast path (web/http/fast_path.py) the middleware asks for a
route's limit in the same question as for the client's. All use the same sidecar, and a route has
the same count either way.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Response, request
from flask_limiter import RateLimitExceeded
from limits import parse

from sidecar.client import LimiterClient
from sidecar.client_address import (
    MAX_CACHED_ADDRESSES,
    MAX_ENTRY_LENGTH,
    Address,
    client_address,
    client_key,
    is_trusted,
    network_key,
)
from sidecar.limits_storage import SidecarLimiter, name_of, rate_of_item
from sidecar.networks import Network
from sidecar.sliding_log import Decision, Rate
from web.http.fast_path import Match
from web.http.monitoring import IS_ADMITTED, Monitoring
from web.http.monitoring import PATHS as MONITORING_PATHS
from web.http.problems import Problem
from web.http.request_bounds import has_valid_host
from web.http.responses import CLIENT, ExcInfo, Headers, Write, wants_page
from web.metrics import LIMITER_FALLBACKS, count_refusal, count_response
from web.settings import Settings

UNLIMITED_PATHS = frozenset({"/healthz"})
"""Load balancers request it, and it costs less than counting would."""

CODE = "rate_limited"

LOGIN_RATE = "10/minute"
"""Attempts to log in as the organiser, for one client or a whole IPv6 network: people log in
rarely, so neighbours do not get in each other's way."""

HOLD_LINK_RATE = "30/minute"
"""Pages with the QR code of an address, for one client. Each takes 10 to 25 ms, and a cache does
not help, because the client chooses the Host in the address."""

BOOKING_LIST_RATE = "60/minute"
"""Looks at buyers' data, for one client: a search that finds nothing reads all bookings of an
event."""

CSV_RATE = "6/minute"
"""A list of 50,000 bookings takes a second and ten megabytes."""

ROUTES_OF_PAYMENTS = ("api.pay", "pages.pay")
ROUTES_OF_LOOKUPS = (
    "api.cancel_payment",
    "pages.come_back",
    "api.show_hold",
    "api.release_hold",
    "api.extend_hold",
    "api.show_payment",
    "api.show_booking",
)

ROUTES_OF_FORMS = (
    "pages.cancel_payment",
    "pages.hold_seats",
    "pages.hold_best",
    "pages.extend_hold",
    "pages.release_hold",
    "pages.take_linked_hold",
    "pages.log_out",
    "pages.refund_booking",
    "pages.send_ticket_again",
    "pages.change_sale",
)
ROUTES_OF_LOGINS = ("pages.log_in",)
ROUTES_OF_HOLD_LINKS = ("pages.show_hold_link",)
ROUTES_OF_BOOKING_LISTS = ("pages.show_bookings", "pages.show_booking")
ROUTES_OF_CSV = ("pages.download_bookings",)


@dataclass(frozen=True)
class Limit:
    """``name`` appears in the headers, ``what`` in the text of a refusal."""

    name: str
    what: str
    rate: Rate

    @cached_property
    def policy(self) -> str:
        return policy(self.name, self.rate)


class RouteLimit:
    """A limit of routes on the fast path. ``name`` is Flask-Limiter's scope."""

    def __init__(self, name: str, rate: str):
        self.name = name
        self._item = parse(rate)
        self.rate = rate_of_item(self._item)

    def key(self, client: str) -> str:
        """The one under which Flask-Limiter counts requests of the other routes with this limit."""
        return name_of(self._item.key_for(client, self.name))


class ClientLimit:
    """Middleware that limits each client's requests in any window, for the whole application.

    Signed webhooks have a limit of their own: all of a sale's webhooks come from a few addresses of
    the payment gateway. The signature is checked first; an unsigned one counts like any other
    request. So do calls of doors with their token, because all gates of a venue may share one
    address. Static files have their own limit too, because a page loads ten of them; where nginx
    serves them it does not count them at all.

    Every response says what is left, in the headers of draft-ietf-httpapi-ratelimit-headers: a
    policy of ``q`` requests in ``w`` seconds, ``r`` of them left, and one more allowed in ``t``
    seconds.
    """

    def __init__(
        self,
        app: WSGIApplication,
        limiter: LimiterClient,
        rate: Rate,
        rate_of_webhooks: Rate,
        rate_of_doors: Rate,
        rate_of_files: Rate,
        trusted: tuple[Network, ...],
        hops: int | None,
        monitoring: Monitoring,
        is_signed_webhook: Callable[[WSGIEnvironment], bool],
        is_by_door: Callable[[WSGIEnvironment], bool],
        is_static_file: Callable[[WSGIEnvironment], bool],
        page: Callable[[int], Response],
        match: Callable[[WSGIEnvironment], Match | None],
        routes: Mapping[str, RouteLimit],
    ):
        """``trusted`` and ``hops`` are those of ``client_key``; clients that ``monitoring`` admits
        are not limited on its paths; ``is_signed_webhook``, ``is_by_door`` and ``is_static_file``
        take a request's environ; ``page`` renders the refusal for browsers, given the seconds to
        wait; ``match`` finds a request's route on the fast path, and ``routes`` has the limits of
        such routes by endpoint."""
        self._app = app
        self._limiter = limiter
        self._limit = Limit("client", "requests", rate)
        self._limit_of_webhooks = Limit("webhooks", "webhooks", rate_of_webhooks)
        self._limit_of_doors = Limit("doors", "scans", rate_of_doors)
        self._limit_of_files = Limit("files", "files", rate_of_files)
        self._trusted = trusted
        self._hops = hops
        self._monitoring = monitoring
        self._is_signed_webhook = is_signed_webhook
        self._is_by_door = is_by_door
        self._is_static_file = is_static_file
        self._page = page
        self._match = match
        self._routes = routes
        self._fallbacks_counted = 0
        self._known_key = lru_cache(MAX_CACHED_ADDRESSES)(self._key)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[CLIENT] = client = self._client_key(environ)
        if self._came_by_tls(environ):
            environ["wsgi.url_scheme"] = "https"
        path = environ.get("PATH_INFO")
        match = self._match(environ)
        if path in UNLIMITED_PATHS:
            return self._app(environ, start_response)
        if path in MONITORING_PATHS and self._monitoring.admits(
            self._client_address(environ), environ
        ):
            environ[IS_ADMITTED] = True
            return self._app(environ, start_response)
        limit = self._limit
        if self._is_static_file(environ):
            limit = self._limit_of_files
        elif self._is_signed_webhook(environ):
            limit = self._limit_of_webhooks
        elif self._is_by_door(environ):
            limit = self._limit_of_doors
        route = self._limit_of_route(match, environ)
        if route is None:
            decision, of_route = self._limiter.check(client, limit.rate), None
        else:
            key = route.key(client)
            decision, of_route = self._limiter.check_both(client, limit.rate, key, route.rate)
        self._count_fallbacks()
        if not decision.allowed:
            return self._refusal(environ, limit, decision)(environ, start_response)

        def start_described(status: str, headers: Headers, exc_info: ExcInfo = None) -> Write:
            return start_response(status, headers + self._headers(limit, decision), exc_info)

        if match and route and of_route and not of_route.allowed:
            refusal = _refusal_of_route(route.name, route.rate, client, of_route.reset_s)
            count_response(match.endpoint, refusal.status, seconds=0)
            return refusal.api_response().send(start_described)
        return self._app(environ, start_described)

    def client_of(self, environ: WSGIEnvironment, has_whole_head: bool) -> str | None:
        """The client of a request of which ``environ`` has been read so far; None if not known yet.

        Behind a trusted proxy the client is known only after the whole header has been read: the
        part that has arrived may be forged by the client.
        """
        if not has_whole_head and is_trusted(environ["REMOTE_ADDR"], self._trusted):
            return None
        return self._client_key(environ)

    def count_refused(
        self, environ: WSGIEnvironment, has_whole_head: bool
    ) -> WSGIApplication | None:
        """Counts a request that the HTTP worker refuses because it cannot be parsed; ``environ`` is
        what was read of it. Returns the refusal if the client is over its limit.

        If the client is not known, nothing is counted: counting it against the proxy would count
        it against everybody.
        """
        client = self.client_of(environ, has_whole_head)
        if client is None:
            return None
        environ[CLIENT] = client
        decision = self._limiter.check(client, self._limit.rate)
        self._count_fallbacks()
        return None if decision.allowed else self._refusal(environ, self._limit, decision)

    def _client_key(self, environ: WSGIEnvironment) -> str:
        peer, forwarded_for = _addresses(environ)
        # What is longer is no single address, and would take room in the cache.
        key = self._known_key if len(forwarded_for) <= MAX_ENTRY_LENGTH else self._key
        return key(peer, forwarded_for)

    def _key(self, peer: str, forwarded_for: str) -> str:
        return client_key(peer, [forwarded_for], trusted=self._trusted, hops=self._hops)

    def _client_address(self, environ: WSGIEnvironment) -> Address | None:
        peer, forwarded_for = _addresses(environ)
        return client_address(peer, [forwarded_for], trusted=self._trusted, hops=self._hops)

    def _limit_of_route(self, match: Match | None, environ: WSGIEnvironment) -> RouteLimit | None:
        route = self._routes.get(match.endpoint) if match else None
        # A request with an invalid Host is refused before it comes to its route.
        return route if route and has_valid_host(environ) else None

    def _headers(self, limit: Limit, decision: Decision) -> Headers:
        left = f'"{limit.name}";r={decision.remaining};t={decision.reset_s}'
        return [("RateLimit-Policy", limit.policy), ("RateLimit", left)]

    def _came_by_tls(self, environ: WSGIEnvironment) -> bool:
        """Whether the buyer's connection used TLS, according to the proxy in front if it is one of
        ours: only it saw that connection. Cookies are Secure then."""
        return environ.get("HTTP_X_FORWARDED_PROTO") == "https" and is_trusted(
            environ.get("REMOTE_ADDR", ""), self._trusted
        )

    def _refusal(self, environ: WSGIEnvironment, limit: Limit, decision: Decision) -> Response:
        count_refusal(CODE)
        wait_s = decision.reset_s
        if wants_page(environ):
            response = self._page(wait_s)
        else:
            response = _problem(limit.what, environ[CLIENT], wait_s).flask_response()
        response.headers.extend(self._headers(limit, decision))
        return response

    def _count_fallbacks(self) -> None:
        # Other greenlets run this too, but nothing between these lines switches to them.
        total = self._limiter.fallbacks
        if total != self._fallbacks_counted:
            LIMITER_FALLBACKS.inc(total - self._fallbacks_counted)
            self._fallbacks_counted = total


def _addresses(environ: WSGIEnvironment) -> tuple[str, str]:
    """Of the peer, and what it says about whom it forwards for: the WSGI server has joined several
    lines into one; an empty line counts as none."""
    return environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")


def fast_route_limits(settings: Settings) -> dict[str, RouteLimit]:
    """By endpoint: those that routes on the fast path may have."""
    payments = RouteLimit("payments", settings.rate_limit_payments)
    lookups = RouteLimit("lookups", settings.rate_limit_lookups)
    return dict.fromkeys(ROUTES_OF_PAYMENTS, payments) | dict.fromkeys(ROUTES_OF_LOOKUPS, lookups)


def limit_routes(
    app: Flask, limiter: LimiterClient, settings: Settings, render: Callable[[Problem], Response]
) -> None:
    """Add the limits of single routes to a finished application; ``render`` turns a problem into a
    response.

    Payments are limited because they can be used to test lists of stolen cards, and each may cost a
    call to the gateway; calls with a token, because tokens can be guessed.
    """
    routes = SidecarLimiter(_client, limiter=limiter)
    # Registered beforehand, it adds no hooks to the application: they are for limits that belong
    # to no route, and would cost every request 50 µs.
    app.extensions["limiter"] = {routes}
    routes.init_app(app)
    for rate, scope, key_func, endpoints in (
        (settings.rate_limit_payments, "payments", _client, ROUTES_OF_PAYMENTS),
        (settings.rate_limit_lookups, "lookups", _client, ROUTES_OF_LOOKUPS),
        (settings.rate_limit_forms, "forms", _client, ROUTES_OF_FORMS),
        (LOGIN_RATE, "logins", _network, ROUTES_OF_LOGINS),
        (HOLD_LINK_RATE, "links", _client, ROUTES_OF_HOLD_LINKS),
        (BOOKING_LIST_RATE, "bookings", _client, ROUTES_OF_BOOKING_LISTS),
        (CSV_RATE, "lists", _client, ROUTES_OF_CSV),
    ):
        limit = routes.shared_limit(rate, scope=scope, key_func=key_func)
        for endpoint in endpoints:
            view: Callable[..., Any] = app.view_functions[endpoint]
            app.view_functions[endpoint] = limit(view)

    @app.errorhandler(RateLimitExceeded)
    def refuse(error: RateLimitExceeded) -> Response:
        name, breached = str(error.limit.scope), routes.current_limit
        ends_s = breached.window.reset_time if breached else 0.0
        wait_s = max(1, math.ceil(ends_s - time.time()))
        rate = rate_of_item(error.limit.limit)
        return render(_refusal_of_route(name, rate, error.limit.key_func(), wait_s))


def _client() -> str:
    client: str = request.environ[CLIENT]
    return client


def _network() -> str:
    return network_key(_client()) or _client()


def _refusal_of_route(name: str, rate: Rate, client: str, wait_s: int) -> Problem:
    count_refusal(CODE)
    headers = {"RateLimit-Policy": policy(name, rate), "RateLimit": f'"{name}";r=0;t={wait_s}'}
    return replace(_problem(name, client, wait_s), headers=headers)


def _problem(what: str, client: str, wait_s: int) -> Problem:
    detail = f"Too many {what} from {client}: wait {wait_s} s, then go on slower."
    return Problem(429, CODE, detail, retry_after_s=wait_s)


def policy(name: str, rate: Rate) -> str:
    return f'"{name}";q={rate.limit};w={rate.window_s}'
