"""Requests that pages of other websites make their visitors' browsers send.

Such a page cannot read the response, but without this it could make its visitors hold seats and use
up their addresses' rate limits. Browsers say where a request comes from (Fetch Metadata, and before
that ``Origin``); programs do not, and are not affected. The rules are those of Go's
``http.CrossOriginProtection`` and of the resource isolation policy of web.dev and OWASP. nginx
applies them first (ops/nginx/cross_site.conf.j2).
"""

from collections.abc import Iterable, Mapping
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Response

from web.http.problems import Problem
from web.http.responses import ExcInfo, Headers, Write
from web.metrics import count_refusal
from web.origins import (
    FRAMES,
    METHODS,
    PREFLIGHT_MAX_AGE_S,
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    SAFE_METHODS,
)

API = "/api/"
STATIC = "/static/"
"""Files that are the same for everybody; other sites may embed them."""

REFUSED = Problem(
    403,
    "cross_site_request",
    "A page of another website made the browser send this, or the browser fetched ahead what "
    "nobody has opened yet. Nothing happened. A website that may call the API has its origin in "
    "ALLOWED_ORIGINS.",
)


def is_cross_site(environ: Mapping[str, Any]) -> bool:
    """Whether a page of another website sent the request and is not allowed to.

    Other websites may make no call of the API that changes something. They may open any page in a
    window of its own, by a link or a form, as the web is meant to work (forms have tokens), but not
    fetch, frame or embed it.
    """
    path = environ.get("PATH_INFO", "")
    if path.startswith(STATIC):
        return False
    match environ.get("HTTP_SEC_FETCH_SITE", ""):
        case "same-origin":
            return False
        case "none":  # typed, or from the bookmarks
            # Chromium also sends this when it prefetches a page at the request of another
            # website. A visitor who then really opens the page gets it.
            purpose: str = environ.get("HTTP_SEC_PURPOSE", "")
            return purpose.startswith("prefetch")
        case "":
            # Safari before 16.4, and all browsers over plain http, send no Fetch Metadata.
            if not (origin := environ.get("HTTP_ORIGIN", "")) or _is_own(origin, environ):
                return False
    if path.startswith(API) and environ["REQUEST_METHOD"] not in SAFE_METHODS:
        return True
    mode = environ.get("HTTP_SEC_FETCH_MODE", "")
    opens_page = mode == "navigate" and environ.get("HTTP_SEC_FETCH_DEST") not in FRAMES
    return mode != "" and not opens_page


def _is_own(origin: str, environ: Mapping[str, Any]) -> bool:
    """Compares only the host: a proxy in front may have terminated TLS."""
    host = environ.get("HTTP_HOST", "").lower()
    return origin.lower() in (f"https://{host}", f"http://{host}")


class CrossSite:
    """Middleware in front of the client's limit: what another website sends does not count against
    its visitors. Refusing it costs less than the limit's own refusal.

    For ``allowed`` origins it adds CORS headers to all responses of the API, refusals included.
    """

    # Setting any other attribute, as if this were the application it wraps, raises an error.
    __slots__ = ("_allowed", "_refusal", "app")

    def __init__(self, app: WSGIApplication, allowed: Iterable[str]):
        self.app = app
        self._allowed = frozenset(allowed)
        self._refusal = REFUSED.api_response()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        speaks_cors = self._allowed and environ.get("PATH_INFO", "").startswith(API)
        origin = environ.get("HTTP_ORIGIN", "")
        if not (speaks_cors and origin in self._allowed):
            origin = ""
            if is_cross_site(environ):
                count_refusal(REFUSED.code)
                return self._refusal.send(start_response)
        if not speaks_cors:
            return self.app(environ, start_response)
        if origin and _is_preflight(environ):
            return _preflight(origin)(environ, start_response)
        headers = _cors(origin)

        def start_described(status: str, described: Headers, exc_info: ExcInfo = None) -> Write:
            return start_response(status, described + headers, exc_info)

        return self.app(environ, start_described)


def _cors(origin: str) -> Headers:
    """``origin`` is an allowed one or empty. No credentials: the API has tokens, not cookies."""
    # Sent to every origin, or a cache would give an allowed origin the response of another.
    varies = [("Vary", "Origin")]
    if not origin:
        return varies
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", RESPONSE_HEADERS),
        *varies,
    ]


def _is_preflight(environ: Mapping[str, Any]) -> bool:
    return (
        environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    )


def _preflight(origin: str) -> Response:
    headers = [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Methods", METHODS),
        ("Access-Control-Allow-Headers", REQUEST_HEADERS),
        ("Access-Control-Max-Age", str(PREFLIGHT_MAX_AGE_S)),
        ("Vary", "Origin"),
    ]
    return Response(status=204, headers=headers)
