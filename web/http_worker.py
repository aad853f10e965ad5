"""gunicorn's worker: gevent's event loop, and HTTP/1.1 by llhttp, the parser of Node.js.

gunicorn's own gevent worker parses in Python and sends head and body of an answer one by one, which
costs a hold about half of what all the application does for it (docs/performance.md). Requests are
small here, so each is read to its end before the application is called, and an answer leaves in one
piece.

There is no TLS, no HTTP/2 and no access log: nginx has them. Nothing of ``web/`` is imported, for
gunicorn's master imports this module before gevent has patched anything.
"""

import contextlib
import io
import json
import socket
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import httptools
from gunicorn.workers.ggevent import GeventWorker

MAX_HEAD_BYTES = 64 * 1024
"""Request line and header fields together."""

MAX_BODY_BYTES = 128 * 1024
"""Twice what the application takes. Of a longer body it gets the beginning, enough to refuse it."""

MAX_DRAINED_BYTES = 1024 * 1024
DRAIN_TIMEOUT_S = 1.0
"""Read and thrown away after an answer that came before the end of its request: otherwise the
connection is reset, and the client, still sending, may never see the answer."""

MESSAGE_TIMEOUT_S = 30.0
"""From the first byte of a request to its last. nginx sends it in one piece."""

RECEIVE_BYTES = 64 * 1024

CODES = {
    HTTPStatus.REQUEST_TIMEOUT: "request_timeout",
    HTTPStatus.REQUEST_URI_TOO_LONG: "uri_too_long",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "header_too_large",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal_error",
    HTTPStatus.NOT_IMPLEMENTED: "not_implemented",
}

_NO_BODY = ("204 ", "304 ")


class BadRequest(Exception):
    """The rest of the connection cannot be read; ``status`` and ``detail`` are for the client."""

    def __init__(self, status: HTTPStatus, detail: str):
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


class _Cut(Exception):
    """The body is longer than anybody wants to know."""


class Message:
    """One request as it came."""

    def __init__(self) -> None:
        self.method = ""
        self.target = b""
        self.version = ""
        self.headers: list[tuple[bytes, bytes]] = []
        self.has_whole_head = False
        self.body = bytearray()
        self.keep_alive = False


class Limits(NamedTuple):
    """gunicorn's settings ``limit_request_field_size`` (also of the request's address) and
    ``limit_request_fields``."""

    field_bytes: int
    fields: int


class Reader:
    """What llhttp tells of one connection."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._complete: list[Message] = []
        self._head_bytes = 0
        self.message: Message | None = None

    def feed(self, data: bytes) -> tuple[list[Message], BadRequest | None]:
        """The requests that are complete with ``data``, and why there can be no more of them.
        ``message`` is the one that is not complete yet, None between two."""
        bad = None
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # To another protocol, which we may ignore. llhttp would read no further.
            self._complete[-1].keep_alive = False
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if isinstance(cause, BadRequest):
                bad = cause
            elif not isinstance(cause, _Cut):
                raise
        except httptools.HttpParserError as error:
            bad = BadRequest(HTTPStatus.BAD_REQUEST, f"This is not HTTP/1.1: {error}.")
        if self.message is None or self.message.has_whole_head:
            self._head_bytes = 0
        elif self._head_bytes > MAX_HEAD_BYTES:
            bad = BadRequest(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"The header is longer than {MAX_HEAD_BYTES} bytes.",
            )
        complete, self._complete = self._complete, []
        return complete, bad

    # ------------------------------------------------------------ called by llhttp

    def on_message_begin(self) -> None:
        self.message = Message()

    def on_url(self, part: bytes) -> None:
        message = self.message
        message.target += part
        if len(message.target) > self._limits.field_bytes:
            raise BadRequest(
                HTTPStatus.REQUEST_URI_TOO_LONG,
                f"The address is longer than {self._limits.field_bytes} bytes.",
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        message = self.message
        if message.has_whole_head:
            return  # A trailer: nobody here wants one, and it must not look like a header.
        message.headers.append((name, value))
        if len(message.headers) > self._limits.fields:
            raise BadRequest(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"There are more than {self._limits.fields} header fields.",
            )
        if len(name) + len(value) > self._limits.field_bytes:
            raise BadRequest(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"A header field is longer than {self._limits.field_bytes} bytes.",
            )

    def on_headers_complete(self) -> None:
        message = self.message
        message.has_whole_head = True
        message.method = self._parser.get_method().decode("ascii")
        message.version = self._parser.get_http_version()
        if message.version not in ("1.0", "1.1"):
            raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Use HTTP/1.1.")
        for name, value in message.headers:
            field = name.lower()
            if field == b"transfer-encoding" and value.lower() != b"chunked":
                raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "The only transfer coding is chunked.")
            if field == b"content-length" and int(value) > MAX_BODY_BYTES:
                self._cut()

    def on_body(self, part: bytes) -> None:
        self.message.body += part
        if len(self.message.body) > MAX_BODY_BYTES:
            self._cut()

    def on_message_complete(self) -> None:
        self.message.keep_alive = self._parser.should_keep_alive()
        self._complete.append(self.message)
        self.message = None

    def _cut(self) -> None:
        self._complete.append(self.message)
        self.message = None
        raise _Cut


class HttpWorker(GeventWorker):
    """Use it with gunicorn's setting ``worker_class``."""

    def handle(self, listener: socket.socket, client: socket.socket, addr: object) -> None:
        """Serve one connection to its end."""
        peer = addr[0] if isinstance(addr, tuple) else ""  # a Unix socket has no address
        try:
            with contextlib.suppress(OSError):  # the client went away
                self._serve(client, self._base_environ(listener, peer))
        finally:
            client.close()

    def _serve(self, client: socket.socket, base_environ: dict) -> None:
        reader = Reader(Limits(self.cfg.limit_request_field_size, self.cfg.limit_request_fields))
        for messages, bad in self._arrivals(client, reader):
            for message in messages:
                client.sendall(self._answer(message, base_environ))
                if not message.keep_alive:
                    return _drain(client)
            if bad:
                client.sendall(_problem(bad.status, bad.detail))
                return _drain(client)

    def _arrivals(
        self, client: socket.socket, reader: Reader
    ) -> Iterator[tuple[list[Message], BadRequest | None]]:
        """What has come, as Reader.feed says it, until nothing more does."""
        began_s = 0.0
        was_invited: Message | None = None
        while self.alive or reader.message:
            if reader.message is None:
                client.settimeout(self.cfg.keepalive)
                began_s = 0.0
            else:
                began_s = began_s or time.monotonic()
                client.settimeout(max(0.001, began_s + MESSAGE_TIMEOUT_S - time.monotonic()))
            try:
                data = client.recv(RECEIVE_BYTES)
            except TimeoutError:
                if reader.message:
                    words = f"The request was not complete after {MESSAGE_TIMEOUT_S:.0f} s."
                    yield [], BadRequest(HTTPStatus.REQUEST_TIMEOUT, words)
                return
            if not data:
                if reader.message:
                    words = "The request broke off before its end."
                    yield [], BadRequest(HTTPStatus.BAD_REQUEST, words)
                return
            yield reader.feed(data)
            message = reader.message
            if message and message is not was_invited and _waits_for_invitation(message):
                was_invited = message
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _base_environ(self, listener: socket.socket, peer: str) -> dict:
        address = listener.getsockname()
        host, port = address[:2] if isinstance(address, tuple) else (str(address), "")
        return {
            "SERVER_NAME": host,
            "SERVER_PORT": str(port),
            "REMOTE_ADDR": peer,
            "SCRIPT_NAME": "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": self.cfg.workers > 1,
            "wsgi.run_once": False,
        }

    def _answer(self, message: Message, base_environ: dict) -> bytes:
        """The application's, as it goes over the wire."""
        # While the worker stops, each connection ends with its next answer.
        message.keep_alive = message.keep_alive and self.alive
        begun: list = []

        def start_response(status: str, headers: list, exc_info: object = None) -> object:
            begun[:] = status, headers
            return written.append

        written: list[bytes] = []
        try:
            chunks = self.wsgi(base_environ | _environ(message), start_response)
            try:
                body = b"".join(chunks)
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
            status, headers = begun
            return _wire(message, status, headers, b"".join(written) + body if written else body)
        except Exception:
            self.log.exception("%s %r", message.method, message.target)
            message.keep_alive = False
            return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The service made a mistake.")


def _waits_for_invitation(message: Message) -> bool:
    """RFC 9110, 10.1.1."""
    return message.has_whole_head and any(
        name.lower() == b"expect" and value.lower() == b"100-continue"
        for name, value in message.headers
    )


def _environ(message: Message) -> dict:
    """What PEP 3333 wants to know of a request."""
    target = message.target.decode("latin-1")
    if not target.startswith("/") and "://" in target:  # as it is sent to a proxy
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    if "%" in path:
        path = unquote_to_bytes(path).decode("latin-1")
    environ = {
        "REQUEST_METHOD": message.method,
        "RAW_URI": target,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": f"HTTP/{message.version}",
        "wsgi.input": io.BytesIO(message.body),
    }
    for name, value in message.headers:
        # Names with "_" would look like those with "-", which a proxy in front has checked.
        if b"_" not in name:
            key = _key_of(name)
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]},{text}" if key in environ else text
    if "HTTP_TRANSFER_ENCODING" in environ:
        del environ["HTTP_TRANSFER_ENCODING"]
        environ["CONTENT_LENGTH"] = str(len(message.body))
    return environ


@lru_cache(maxsize=1000)
def _key_of(name: bytes) -> str:
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _wire(message: Message, status: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    names = {name.lower() for name, _ in headers}
    has_body = not status.startswith(_NO_BODY)
    if has_body and "content-length" not in names:
        lines.append(f"Content-Length: {len(body)}")
    if "date" not in names:
        lines.append(f"Date: {_date(int(time.time()))}")
    if not message.keep_alive:
        lines.append("Connection: close")
    elif message.version == "1.0":
        lines.append("Connection: keep-alive")
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1:
        raise ValueError("a line break in a header")
    if message.method == "HEAD" or not has_body:
        body = b""
    return head.encode("latin-1") + b"\r\n\r\n" + body


@lru_cache(maxsize=1)
def _date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)


def _problem(status: HTTPStatus, detail: str) -> bytes:
    """In the shape of all other refusals, and the last answer of its connection."""
    problem = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status,
        "code": CODES.get(status, "bad_request"),
        "detail": detail,
    }
    headers = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
    body = json.dumps(problem).encode()
    return _wire(Message(), f"{status.value} {status.phrase}", headers, body)


def _drain(client: socket.socket) -> None:
    """End the connection so that the client sees the answer: say that there is no more, then wait
    until it has understood."""
    client.shutdown(socket.SHUT_WR)
    deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
    drained_bytes = 0
    while drained_bytes < MAX_DRAINED_BYTES:
        client.settimeout(max(0.001, deadline_s - time.monotonic()))
        data = client.recv(RECEIVE_BYTES)
        if not data:
            return
        drained_bytes += len(data)
