"""Parses HTTP/1.1 requests with llhttp, the parser of Node.js, and enforces the rules that llhttp
leaves to its user. No I/O: the caller feeds the bytes.

llhttp splits bytes into messages by RFC 9112, refuses invalid ones, and calls a method of the
reader for each part. What else must be refused, and all size limits, are decided here.
docs/server.md lists all of it.
"""

import re
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

import httptools

MAX_FRAMING_BYTES = 64 * 1024
"""Everything in a request but its body: request line, header fields, chunk sizes and extensions,
trailers. llhttp limits none of them. What arrives together with the beginning is not counted."""

MAX_BODY_BYTES = 128 * 1024
"""Twice what the application accepts. Of a longer body it gets the beginning, and refuses it."""

MAX_LENGTH_DIGITS = 20
"""Of a Content-Length: as many as the largest number of 64 bits has. llhttp refuses a larger number
and takes as many zeros before it as there are, but ``int`` refuses more than 4,300 digits."""

MAX_AT_ONCE = 100
"""Requests in one piece: a request of 30 bytes becomes a kilobyte here. A client that sends more
before reading a response loses the connection."""

ONLY_ONCE = frozenset({"HTTP_HOST", "CONTENT_TYPE"})
"""Fields that are not lists (RFC 9110, 5.3). llhttp refuses a second Content-Length itself."""

_ABSOLUTE_FORM = re.compile(r"[A-Za-z]+://([^/?@]+)(|[/?].*)")
"""Absolute form, as it is sent to a proxy; every server must accept it (RFC 9112, 3.2.2)."""


class BadRequest(Exception):
    """The rest of the connection cannot be parsed; ``status`` and ``detail`` are for the client."""

    def __init__(self, status: HTTPStatus, detail: str):
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


class _Cut(Exception):
    """The body is longer than will be read."""


class Request:
    """One request as received. ``fields`` are the header fields by their WSGI environ names."""

    __slots__ = (
        "body",
        "expects_invitation",
        "field_count",
        "fields",
        "has_whole_head",
        "keep_alive",
        "method",
        "target",
        "version",
    )

    def __init__(self) -> None:
        self.method = ""
        self.target = ""
        self.version = ""
        self.fields: dict[str, str] = {}
        self.field_count = 0
        self.has_whole_head = False
        self.expects_invitation = False
        self.body = bytearray()
        self.keep_alive = False


_NONE = Request()
"""Between two requests."""


class Limits(NamedTuple):
    """gunicorn's settings ``limit_request_field_size`` (also of the request's address) and
    ``limit_request_fields``."""

    field_bytes: int
    fields: int


class RequestReader:
    """The requests of one connection, in order. The result does not depend on how the bytes are
    split into pieces, except for the limits on what comes in one piece (MAX_AT_ONCE,
    MAX_FRAMING_BYTES).
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._complete: list[Request] = []
        self._framing_bytes = 0
        self._reading = _NONE

    @property
    def unfinished(self) -> Request | None:
        """The request whose beginning has been fed and whose end has not, None between two."""
        return None if self._reading is _NONE else self._reading

    def feed(self, data: bytes) -> tuple[list[Request], BadRequest | None]:
        """The requests that ``data`` completes, and the error if the rest cannot be parsed. Feed
        nothing after an error, nor after the last request of a connection (not ``keep_alive``)."""
        bad = None
        self._framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # An upgrade to another protocol, which we may ignore. llhttp would read no further.
            self._complete[-1].keep_alive = False
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if isinstance(cause, BadRequest):
                bad = cause
            elif not isinstance(cause, _Cut):
                raise
        except httptools.HttpParserError as error:
            bad = BadRequest(HTTPStatus.BAD_REQUEST, f"This is not HTTP/1.1: {error}.")
        if bad is None and self._framing_bytes > MAX_FRAMING_BYTES:
            bad = BadRequest(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"The request has more than {MAX_FRAMING_BYTES} bytes beside its body.",
            )
        complete, self._complete = self._complete, []
        if complete and not complete[-1].keep_alive:
            bad = None  # What comes after the last request is ignored.
        return complete, bad

    # ------------------------------------------------------------ called by llhttp

    def on_message_begin(self) -> None:
        if len(self._complete) == MAX_AT_ONCE:
            words = f"There were more than {MAX_AT_ONCE} requests at once."
            raise BadRequest(HTTPStatus.BAD_REQUEST, words)
        self._framing_bytes = 0
        self._reading = Request()

    def on_url(self, part: bytes) -> None:
        request = self._reading
        request.target += part.decode("latin-1")
        if len(request.target) > self._limits.field_bytes:
            raise BadRequest(
                HTTPStatus.REQUEST_URI_TOO_LONG,
                f"The address is longer than {self._limits.field_bytes} bytes.",
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        request = self._reading
        if request.has_whole_head:
            return  # A trailer: not used here, and it must not look like a header.
        request.field_count += 1
        if request.field_count > self._limits.fields:
            raise BadRequest(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"There are more than {self._limits.fields} header fields.",
            )
        if len(name) + len(value) > self._limits.field_bytes:
            raise BadRequest(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"A header field is longer than {self._limits.field_bytes} bytes.",
            )
        key = _key_of(name)
        if key is None:
            return
        text = value.decode("latin-1").rstrip(" \t")
        fields = request.fields
        if key not in fields:
            fields[key] = text
            return
        if key in ONLY_ONCE:
            words = f"There is more than one {name.decode('latin-1')}."
            raise BadRequest(HTTPStatus.BAD_REQUEST, words)
        if len(fields[key]) + len(text) >= self._limits.field_bytes:
            raise BadRequest(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"All {name.decode('latin-1')} together are longer than "
                f"{self._limits.field_bytes} bytes.",
            )
        fields[key] += f",{text}"

    def on_headers_complete(self) -> None:
        request = self._reading
        request.has_whole_head = True
        request.method = self._parser.get_method().decode("ascii")
        request.version = self._parser.get_http_version()
        fields = request.fields
        if request.version == "1.1":
            if "HTTP_HOST" not in fields:
                raise BadRequest(HTTPStatus.BAD_REQUEST, "There is no Host.")
            request.expects_invitation = fields.get("HTTP_EXPECT", "").lower() == "100-continue"
        elif request.version != "1.0":
            raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Use HTTP/1.1.")
        if not request.target.startswith("/"):
            _to_origin_form(request)
        coding = fields.get("HTTP_TRANSFER_ENCODING")
        if coding is not None:
            if coding.lower() != "chunked":
                raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "The only transfer coding is chunked.")
            if request.version == "1.0":  # RFC 9112, 6.1: who else read this may not know chunks
                raise BadRequest(HTTPStatus.BAD_REQUEST, "HTTP/1.0 has no transfer codings.")
        length = fields.get("CONTENT_LENGTH", "0")
        if len(length) > MAX_LENGTH_DIGITS:
            words = f"Content-Length has more than {MAX_LENGTH_DIGITS} digits."
            raise BadRequest(HTTPStatus.BAD_REQUEST, words)
        body_bytes = int(length)
        if (body_bytes or coding) and self._parser.should_upgrade():
            # llhttp would treat the body as bytes of the other protocol.
            words = "A request with a body cannot ask for another protocol."
            raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, words)
        if body_bytes > MAX_BODY_BYTES:
            self._cut()

    def on_body(self, part: bytes) -> None:
        self._framing_bytes -= len(part)
        self._reading.body += part
        if len(self._reading.body) > MAX_BODY_BYTES:
            self._cut()

    def on_message_complete(self) -> None:
        self._reading.keep_alive = self._parser.should_keep_alive()
        self._complete.append(self._reading)
        self._reading = _NONE

    def _cut(self) -> None:
        """Makes it the last request, with enough of its body to show that it is too long."""
        del self._reading.body[MAX_BODY_BYTES + 1 :]
        self._complete.append(self._reading)
        self._reading = _NONE
        raise _Cut


@lru_cache(maxsize=100)  # clients choose the names, of up to 16 KiB
def _key_of(name: bytes) -> str | None:
    """None for a name with "_": in the environ it would look like the name with "-", which a proxy
    in front may have checked."""
    if b"_" in name:
        return None
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _to_origin_form(request: Request) -> None:
    """RFC 9112, 3.2."""
    if absolute := _ABSOLUTE_FORM.fullmatch(request.target):
        request.fields["HTTP_HOST"], request.target = absolute.groups()
        if not request.target.startswith("/"):
            request.target = f"/{request.target}"
    elif request.target != "*" or request.method != "OPTIONS":
        raise BadRequest(HTTPStatus.BAD_REQUEST, "The address does not begin with a slash.")
