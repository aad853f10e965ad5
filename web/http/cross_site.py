"""Requests that pages of other websites make their visitors' browsers send.

Such a page cannot read the response, but without this it could have its visitors hold seats, and
use up what their address may ask. Browsers say where a request comes from (Fetch Metadata, and
before that ``Origin``); programs say nothing, and go on as ever. The rules are those of Go's
``http.CrossOriginProtection`` and of the resource isolation policy of web.dev and OWASP. nginx
applies them first (ops/nginx/cross_site.conf.j2).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Response

from web.http.problems import Problem
from web.http.responses import ExcInfo, Headers
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
"""Files that are the same for everybody; other sites may show them."""

REFUSED = Problem(
    403,
    "cross_site_request",
    "A page of another website made the browser send this, or the browser fetched ahead what "
    "nobody has opened yet. Nothing happened. A website that may call the API has its origin in "
    "ALLOWED_ORIGINS.",
)


def is_cross_site(environ: Mapping[str, Any]) -> bool:
    """Whether a page of another website sent the request, and may not.

    No call of the API that changes something. Everywhere else a page may be opened, by a link
    or a form, in a window of its own, because the web is made of that (forms have tokens); it may
    not be fetched, framed or shown as a picture.
    """
    path = environ.get("PATH_INFO", "")
    if path.startswith(STATIC):
        return False
    match environ.get("HTTP_SEC_FETCH_SITE", ""):
        case "same-origin":
            return False
        case "none":  # typed, or from the bookmarks
            # Chromium says so as well of pages that it fetches ahead because a page of another
            # website asks for that. Who then opens one in earnest gets it.
            purpose: str = environ.get("HTTP_SEC_PURPOSE", "")
            return purpose.startswith("prefetch")
        case "":
            # Before Safari 16.4, and by http: browsers then send no Fetch Metadata at all.
            if not (origin := environ.get("HTTP_ORIGIN", "")) or _is_own(origin, environ):
                return False
    if path.startswith(API) and environ["REQUEST_METHOD"] not in SAFE_METHODS:
        return True
    mode = environ.get("HTTP_SEC_FETCH_MODE", "")
    opens_page = mode == "navigate" and environ.get("HTTP_SEC_FETCH_DEST") not in FRAMES
    return mode != "" and not opens_page


def _is_own(origin: str, environ: Mapping[str, Any]) -> bool:
    """By the host alone: a proxy in front may have taken TLS off."""
    host = environ.get("HTTP_HOST", "").lower()
    return origin.lower() in (f"https://{host}", f"http://{host}")


class CrossSite:
    """Middleware, before the limit of a client: what another website sends is not charged to its
    visitors. To refuse it costs less than the refusal of the limit.

    For ``allowed`` origins it speaks CORS, around all responses of the API, refusals included.
    """

    # Who reaches for what it wraps finds out.
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

        def start_described(
            status: str, described: Headers, exc_info: ExcInfo | None = None
        ) -> Callable[[bytes], object]:
            return start_response(status, described + headers, exc_info)

        return self.app(environ, start_described)


def _cors(origin: str) -> Headers:
    """``origin`` is an allowed one or empty. No credentials: the API has tokens, not cookies."""
    # To others as well, or a cache would give an allowed origin their response.
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
