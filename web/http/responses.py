"""Requests and responses at the level of WSGI: for Flask, and for the fast path without it."""

from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from types import TracebackType
from typing import Any, NamedTuple
from wsgiref.types import StartResponse

import msgspec
from flask import Response
from werkzeug.http import parse_accept_header, parse_etags

from web.utils.encoded import Encoded

MAX_BODY_BYTES = 64 * 1024
"""Of a request. A list of seats takes less than 2 KB; nginx has the same limit."""

Headers = list[tuple[str, str]]

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None
"""What ``sys.exc_info()`` returns, or nothing: the third argument of ``start_response``."""

Write = Callable[[bytes], object]
"""What ``start_response`` returns."""

CLIENT = "tickets.client"
"""The key in a request's environ for the client, as client_key returns it."""

REVALIDATED = "no-cache"
IMMUTABLE = "public, max-age=31536000, immutable"
"""Cache-Control of what anyone may cache: to be revalidated before each use, or kept for ever
because other content has another address."""

_WITHOUT_LENGTH = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
"""RFC 9110, 8.6. That of a 304 would be the length of the 200."""

_API_PATHS = ("/api/", "/webhooks/")


def wants_page(environ: Mapping[str, Any]) -> bool:
    """Whether a browser requests a page, rather than a program requesting data."""
    path = environ.get("PATH_INFO", "")
    return "text/html" in environ.get("HTTP_ACCEPT", "") and not path.startswith(_API_PATHS)


class ApiResponse(NamedTuple):
    """A response for a program. ``headers`` has all fields but Content-Length."""

    status: int
    body: bytes
    headers: Headers

    def flask_response(self) -> Response:
        return Response(self.body, self.status, self.headers)

    def send(self, start_response: StartResponse) -> list[bytes]:
        """Responds as a WSGI application does."""
        headers = self.headers
        if self.status not in _WITHOUT_LENGTH:
            headers = [*headers, ("Content-Length", str(len(self.body)))]
        start_response(_status_line(self.status), headers)
        return [self.body]


def json_response(body: Any, status: int = 200) -> ApiResponse:
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    return ApiResponse(status, msgspec.json.encode(body), headers)


def no_content() -> ApiResponse:
    # With a type of nothing, as Flask sends it.
    return ApiResponse(HTTPStatus.NO_CONTENT, b"", [("Content-Type", "text/html; charset=utf-8")])


def encoded_response(
    encoded: Encoded, environ: Mapping[str, Any], tag: str, cache_control: str
) -> ApiResponse:
    """304 if the client has ``tag`` already; compressed if it accepts that. ``environ`` is the
    request's."""
    accepted = parse_accept_header(environ.get("HTTP_ACCEPT_ENCODING"))
    zips = encoded.is_worth_zipping and accepted["gzip"] > 0
    headers = [
        ("Cache-Control", cache_control),
        # Weak when compressed: the bytes differ.
        ("ETag", f'W/"{tag}"' if zips else f'"{tag}"'),
        ("Vary", "Accept-Encoding"),
    ]
    if parse_etags(environ.get("HTTP_IF_NONE_MATCH")).contains_weak(tag):
        return ApiResponse(HTTPStatus.NOT_MODIFIED, b"", headers)
    headers.append(("Content-Type", encoded.content_type))
    if not zips:
        return ApiResponse(HTTPStatus.OK, encoded.body, headers)
    headers.append(("Content-Encoding", "gzip"))
    return ApiResponse(HTTPStatus.OK, encoded.zipped, headers)


@cache
def _status_line(status: int) -> str:
    known = status in HTTPStatus._value2member_map_
    return f"{status} {HTTPStatus(status).phrase if known else 'Unknown'}"
