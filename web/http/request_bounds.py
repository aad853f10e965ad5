"""Bounds the work that a request can cause in libraries: the size of header fields and forms is
limited before Flask or Werkzeug parse them.

Their parsers' time grows with the number of entries, and a header field of 16 KiB has thousands:
120 ms for an Accept-Language, 60 ms for a form (docs/security.md has the figures).
"""

import re
from collections.abc import Iterable
from functools import cached_property, lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import IO, Any
from urllib.parse import parse_qsl
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_date

from web.http.problems import Problem
from web.metrics import count_response

FORM = "application/x-www-form-urlencoded"

MAX_FIELDS = 1000
"""In a form or a query: more than the check boxes of any page (web/pages/seating.py)."""

MAX_ESCAPES = 10_000
"""``%41`` and its like in a form or a query: a name of 200 characters is spelt with up to 2,400."""

MAX_FIELD_LENGTH = 500
"""Of each header field below. The longest that browsers send has some 150 characters."""

LEFT_OUT_WHEN_LONGER = (
    "CONTENT_TYPE",
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_CHARSET",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_IF_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_RANGE",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_RANGE",
)
"""Requests work without these, so a browser with an unusual setting can still buy."""

DATES = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_RANGE", "HTTP_IF_UNMODIFIED_SINCE")
"""Left out as well when Werkzeug cannot parse them: an invalid date must be ignored (RFC 9110,
13.1.3)."""

MAX_HOST_LENGTH = 253
"""Of a name in the DNS (RFC 1035, 2.3.4, without the length bytes)."""

_LABEL = r"[a-z0-9_-]{1,63}"
_HOST = re.compile(
    rf"(?:(?P<name>{_LABEL}(?:\.{_LABEL})*\.?)|\[(?P<ipv6>[0-9a-f:.]+)\])(?::(?P<port>\d{{0,5}}))?",
    re.ASCII | re.IGNORECASE,
)


class RequestBounds:
    """Middleware: drops what nobody needs, and refuses an invalid Host (RFC 9112, 3.2). Flask could
    not respond to that: it cannot build addresses without a valid host, and its error pages contain
    some (pallets/flask#5392)."""

    def __init__(self, app: WSGIApplication, cookies: Iterable[str]):
        """``cookies`` are the names that the application reads. A browser may send many more, from
        everything under the same domain."""
        self._app = app
        self._cookies = tuple(f"{name}=" for name in cookies)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not has_valid_host(environ):
            count_response("unknown", _BAD_HOST.status, seconds=0)
            return _BAD_HOST.api_response().send(start_response)
        for name in LEFT_OUT_WHEN_LONGER:
            if name in environ and len(environ[name]) > MAX_FIELD_LENGTH:
                del environ[name]
        for name in DATES:
            if name in environ:
                try:
                    parse_date(environ[name])
                except OverflowError:  # of a year of twenty digits
                    del environ[name]
        if cookies := environ.get("HTTP_COOKIE"):
            each = map(str.strip, cookies.split(";"))
            ours = (cookie for cookie in each if cookie.startswith(self._cookies))
            environ["HTTP_COOKIE"] = "; ".join(ours)
        return self._app(environ, start_response)


_BAD_HOST = Problem(
    400,
    "bad_request",
    "The Host is no name or address of a host, with or without a port. A name has at most "
    f"{MAX_HOST_LENGTH} characters, and 63 between two dots; a name in another script is sent in "
    "Punycode.",
)


def has_valid_host(environ: WSGIEnvironment) -> bool:
    host = environ.get("HTTP_HOST")  # optional in HTTP/1.0
    return host is None or is_host(host)


@lru_cache(maxsize=64)  # a shop has a few; clients choose others, of up to 16 KiB
def is_host(text: str) -> bool:
    """Whether a Host field is valid: ``tickets.example``, ``web_1:8000``, ``[::1]:8000``."""
    found = _HOST.fullmatch(text)
    if not found or int(found["port"] or 0) > 65_535:
        return False
    if found["ipv6"] is None:
        return len(found["name"]) <= MAX_HOST_LENGTH
    try:
        IPv6Address(found["ipv6"])
    except AddressValueError:
        return False
    return True


class NoForm(UnsupportedMediaType):
    """A body that is not a form, sent to a page. ``Accept`` says what is (RFC 9110, 15.5.16)."""

    description = f"Forms are sent as {FORM}. Nothing was done."

    def get_headers(self, *args: Any) -> list[tuple[str, str]]:
        return [*super().get_headers(*args), ("Accept", FORM)]


class _Forms(FormDataParser):
    """Parses one kind of form, of a size that takes two milliseconds at most."""

    def parse(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]:
        fields = _fields(stream.read())
        if fields is None:
            raise RequestEntityTooLarge(f"The form has more than {MAX_FIELDS} fields.")
        return stream, self.cls(fields), self.cls()


class BoundedRequest(Request):
    form_data_parser_class = _Forms
    want_form_data_parsed = True
    """Also without a Content-Type, which Flask would treat as an empty form."""

    def make_form_data_parser(self) -> FormDataParser:
        """Called when a form, a file or ``values`` is read. Raises NoForm for other bodies: pages
        have no uploads, and Werkzeug's multipart parser compiles the boundary, of any length and
        any bytes, as a regular expression."""
        if self.mimetype != FORM and (self.mimetype or self.content_length):
            raise NoForm
        return super().make_form_data_parser()

    @cached_property
    def args(self) -> MultiDict[str, str]:
        fields = _fields(self.query_string)
        if fields is None:
            raise BadRequest(f"The address has more than {MAX_FIELDS} parameters.")
        return self.parameter_storage_class(fields)


def _fields(text: bytes) -> list[tuple[str, str]] | None:
    """Each field's name and value; None if parsing would take too long. Bytes that are not UTF-8
    become U+FFFD, which no name or address may contain."""
    if text.count(b"&") >= MAX_FIELDS or text.count(b"%") > MAX_ESCAPES:
        return None
    return parse_qsl(text.decode(errors="replace"), keep_blank_values=True, errors="replace")
