"""gunicorn's worker: gevent's event loop, and HTTP/1.1 by llhttp, the parser of Node.js.

gunicorn's own gevent worker parses in Python and sends head and body of an answer one by one, which
costs a hold about half of what all the application does for it (docs/performance.md). Requests are
small here, so each is read to its end before the application is called, and an answer leaves in one
piece.

There is no TLS, no HTTP/2 and no access log: nginx has them. ``max_requests`` does nothing. Of
``web/`` only what keeps nothing that gevent patches is imported, for gunicorn's master imports this
module before that.
"""

import contextlib
import io
import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import gevent
import httptools
from gunicorn.workers.ggevent import GeventWorker

from web.waits import Waits

MAX_FRAMING_BYTES = 64 * 1024
"""All of a request that is not body: its line, header fields, chunk sizes and their extensions,
trailers. llhttp bounds none of them. What came in one piece with the beginning is not counted."""

MAX_BODY_BYTES = 128 * 1024
"""Twice what the application takes. Of a longer body it gets the beginning, enough to refuse it."""

MAX_LENGTH_DIGITS = 20
"""Of a Content-Length: as many as the largest number of 64 bits has. llhttp refuses a larger number
and takes as many zeros before it as there are, but ``int`` refuses more than 4,300 digits."""

MAX_AT_ONCE = 100
"""Requests in one piece: a request of 30 bytes becomes a kilobyte here. Who sends more of them
before reading an answer loses the connection."""

MESSAGE_TIMEOUT_S = 30.0
"""From the first byte of a request to its last. nginx sends it in one piece."""

ANSWER_TIMEOUT_S = 30.0
"""Until the kernel has taken all of an answer; a client need not read."""

MAX_DRAINED_BYTES = 16 * 1024 * 1024
DRAIN_TIMEOUT_S = 5.0
"""Read and thrown away after the last answer: it may have come before the end of its request, and
while the client is still sending, closing would reset the connection and could destroy the answer.
Most clients look for one only when all is sent."""

RECEIVE_BYTES = 64 * 1024

CROWDED = 0.9
"""The part of ``worker_connections`` from which each further connection closes an idle one. At all
of them the worker accepts nobody."""

ANSWERS_A_TURN = 16
"""gevent lets others run only when there is nothing to read. Somebody who always has the next
request ready would keep the worker to himself, until the master takes it for dead."""

CODES = {
    HTTPStatus.REQUEST_TIMEOUT: "request_timeout",
    HTTPStatus.REQUEST_URI_TOO_LONG: "uri_too_long",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "header_too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limited",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal_error",
    HTTPStatus.NOT_IMPLEMENTED: "not_implemented",
}

ONLY_ONCE = frozenset({"HTTP_HOST", "CONTENT_TYPE"})
"""Fields that are no lists (RFC 9110, 5.3). llhttp refuses a second Content-Length itself."""

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "trailer", "upgrade"})
"""The server's, not the application's (PEP 3333)."""

_NO_BODY = ("204", "304")

_ABSOLUTE_FORM = re.compile(r"[A-Za-z]+://([^/?@]+)(|[/?].*)")
"""As it is sent to a proxy, and must be understood by all (RFC 9112, 3.2.2)."""


class BadRequest(Exception):
    """The rest of the connection cannot be read; ``status`` and ``detail`` are for the client."""

    def __init__(self, status: HTTPStatus, detail: str):
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


class _Cut(Exception):
    """The body is longer than anybody wants to know."""


class Message:
    """One request as it came. ``fields`` are the header fields by their names in a WSGI environ."""

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
        self._framing_bytes = 0
        self.message: Message | None = None

    def feed(self, data: bytes) -> tuple[list[Message], BadRequest | None]:
        """The requests that are complete with ``data``, and why there can be no more of them.
        ``message`` is the one that is not complete yet, None between two."""
        bad = None
        self._framing_bytes += len(data)
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
        if bad is None and self._framing_bytes > MAX_FRAMING_BYTES:
            bad = BadRequest(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"The request has more than {MAX_FRAMING_BYTES} bytes beside its body.",
            )
        complete, self._complete = self._complete, []
        return complete, bad

    # ------------------------------------------------------------ called by llhttp

    def on_message_begin(self) -> None:
        if len(self._complete) == MAX_AT_ONCE:
            words = f"There were more than {MAX_AT_ONCE} requests at once."
            raise BadRequest(HTTPStatus.BAD_REQUEST, words)
        self._framing_bytes = 0
        self.message = Message()

    def on_url(self, part: bytes) -> None:
        message = self.message
        message.target += part.decode("latin-1")
        if len(message.target) > self._limits.field_bytes:
            raise BadRequest(
                HTTPStatus.REQUEST_URI_TOO_LONG,
                f"The address is longer than {self._limits.field_bytes} bytes.",
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        message = self.message
        if message.has_whole_head:
            return  # A trailer: nobody here wants one, and it must not look like a header.
        message.field_count += 1
        if message.field_count > self._limits.fields:
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
        fields = message.fields
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
        message = self.message
        message.has_whole_head = True
        message.method = self._parser.get_method().decode("ascii")
        message.version = self._parser.get_http_version()
        fields = message.fields
        if message.version == "1.1":
            if "HTTP_HOST" not in fields:
                raise BadRequest(HTTPStatus.BAD_REQUEST, "There is no Host.")
            message.expects_invitation = fields.get("HTTP_EXPECT", "").lower() == "100-continue"
        elif message.version != "1.0":
            raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Use HTTP/1.1.")
        if not message.target.startswith("/"):
            _to_origin_form(message)
        coding = fields.get("HTTP_TRANSFER_ENCODING")
        if coding is not None:
            if coding.lower() != "chunked":
                raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "The only transfer coding is chunked.")
            if message.version == "1.0":  # RFC 9112, 6.1: who else read this may not know chunks
                raise BadRequest(HTTPStatus.BAD_REQUEST, "HTTP/1.0 has no transfer codings.")
        length = fields.get("CONTENT_LENGTH", "0")
        if len(length) > MAX_LENGTH_DIGITS:
            words = f"Content-Length has more than {MAX_LENGTH_DIGITS} digits."
            raise BadRequest(HTTPStatus.BAD_REQUEST, words)
        body_bytes = int(length)
        if (body_bytes or coding) and self._parser.should_upgrade():
            # llhttp takes the body for bytes of the other protocol.
            words = "A request with a body cannot ask for another protocol."
            raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, words)
        if body_bytes > MAX_BODY_BYTES:
            self._cut()

    def on_body(self, part: bytes) -> None:
        self._framing_bytes -= len(part)
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
    """Use it with gunicorn's setting ``worker_class``.

    ``count_refused``, if it is set, is called with the environment of each request that cannot be
    read, as far as it was read, and with whether its header was read to its end. The WSGI
    application that it returns answers in the place of the worker: a limit that is over. None lets
    the worker tell what is wrong.

    ``client_of``, if it is set, is called with the same and returns who the client is, or None
    where that is not known. No client has more than its share of the connections (waits.Waits).
    """

    count_refused: Callable[[dict, bool], Callable[..., Iterable[bytes]] | None] | None = None
    client_of: Callable[[dict, bool], str | None] | None = None

    def __init__(self, *args: object, **kwargs: object):
        super().__init__(*args, **kwargs)
        self._waits: Waits[socket.socket] = Waits()
        self._connections: dict[socket.socket, Reader] = {}
        self._quits = False

    def handle_quit(self, sig: int, frame: object) -> None:
        """Ctrl-C comes twice, from the terminal and from the master. gunicorn would exit for each,
        and the second exit, in the middle of the first, is a traceback."""
        if not self._quits:
            self._quits = True
            super().handle_quit(sig, frame)

    def notify(self) -> None:
        """gunicorn calls this every second, also while the worker waits for its connections to
        end. Those between two requests need not wait for theirs."""
        super().notify()
        if self.alive:
            return
        for client, reader in self._connections.items():
            if reader.message is None:
                _read_no_more(client)

    def handle(self, listener: socket.socket, client: socket.socket, addr: object) -> None:
        """Serve one connection to its end."""
        reader = Reader(Limits(self.cfg.limit_request_field_size, self.cfg.limit_request_fields))
        self._connections[client] = reader
        try:
            self._serve(client, reader, self._base_environ(client, addr))
        except OSError:
            pass  # The client went away, or does not read.
        except Exception:
            self.log.exception("a connection")
        finally:
            del self._connections[client]
            client.close()

    def _serve(self, client: socket.socket, reader: Reader, base_environ: dict) -> None:
        answers = 0
        for messages, bad in self._arrivals(client, reader, base_environ):
            for message in messages:
                answer = self._answer(message, base_environ)
                self._send(client, answer, message, base_environ)
                if not message.keep_alive:
                    return self._drain(client, message, base_environ)
                answers += 1
                if answers % ANSWERS_A_TURN == 0:
                    gevent.sleep(0)
            if bad:
                message = reader.message or Message()
                answer = self._refusal(bad, message, base_environ)
                self._send(client, answer, message, base_environ)
                return self._drain(client, message, base_environ)

    def _refusal(self, bad: BadRequest, message: Message, base_environ: dict) -> bytes:
        """The last answer of its connection; ``message`` is what was read of the request."""
        if self.count_refused:
            has_whole_head = message.has_whole_head
            answer = self.count_refused(base_environ | _environ(message), has_whole_head)
            if answer:
                return self._answer(message, base_environ, answer)
        return _problem(bad.status, bad.detail)

    def _arrivals(
        self, client: socket.socket, reader: Reader, base_environ: dict
    ) -> Iterator[tuple[list[Message], BadRequest | None]]:
        """What has come, as Reader.feed says it, until nothing more does."""
        keepalive_s = self.cfg.keepalive
        peer = self._client_of(Message(), base_environ)
        unfinished = None
        deadline_s = time.monotonic() + keepalive_s
        while True:
            client.settimeout(max(0.001, deadline_s - time.monotonic()))
            try:
                if unfinished:
                    data = self._receive_more(client, unfinished, base_environ)
                else:
                    data = self._receive_first(client, peer)
            except BadRequest as bad:
                yield [], bad
                return
            except TimeoutError:
                if unfinished:
                    words = f"The request was not complete after {MESSAGE_TIMEOUT_S:.0f} s."
                    yield [], BadRequest(HTTPStatus.REQUEST_TIMEOUT, words)
                return
            if not data:
                if unfinished:
                    words = "The request broke off before its end."
                    yield [], BadRequest(HTTPStatus.BAD_REQUEST, words)
                return
            messages, bad = reader.feed(data)
            yield messages, bad
            message = reader.message
            if message is None:
                if messages:
                    deadline_s = time.monotonic() + keepalive_s
            else:
                if message is not unfinished:
                    deadline_s = time.monotonic() + MESSAGE_TIMEOUT_S
                if message.expects_invitation:
                    message.expects_invitation = False
                    client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            unfinished = message

    def _receive_first(self, client: socket.socket, peer: str | None) -> bytes:
        is_crowded = len(self._connections) >= CROWDED * self.worker_connections
        with self._waits.idle(client, peer, is_crowded=is_crowded) as leaves:
            if leaves:
                _read_no_more(leaves)
            return client.recv(RECEIVE_BYTES)

    def _receive_more(self, client: socket.socket, message: Message, base_environ: dict) -> bytes:
        """Raises BadRequest when too many others of the same client are waited for."""
        with self._waits.held(self._client_of(message, base_environ)) as has_room:
            if not has_room:
                words = "Too many requests of yours are under way: send fewer at once."
                raise BadRequest(HTTPStatus.TOO_MANY_REQUESTS, words)
            return client.recv(RECEIVE_BYTES)

    def _send(
        self, client: socket.socket, answer: bytes, message: Message, base_environ: dict
    ) -> None:
        """Raises OSError when the client does not read it."""
        client.settimeout(0.0)
        try:
            sent_bytes = client.send(answer)
        except BlockingIOError:
            sent_bytes = 0
        if sent_bytes == len(answer):
            return
        with self._waits.held(self._client_of(message, base_environ)) as has_room:
            if not has_room:
                raise ConnectionAbortedError("too many answers that the client does not read")
            client.settimeout(ANSWER_TIMEOUT_S)
            client.sendall(memoryview(answer)[sent_bytes:])

    def _drain(self, client: socket.socket, message: Message, base_environ: dict) -> None:
        with self._waits.held(self._client_of(message, base_environ)) as has_room:
            if has_room:
                _drain(client)

    def _client_of(self, message: Message, base_environ: dict) -> str | None:
        if self.client_of is None:
            return None
        has_whole_head = message.has_whole_head
        environ = base_environ | _environ(message) if has_whole_head else base_environ
        return self.client_of(environ, has_whole_head)

    def _base_environ(self, client: socket.socket, peer: object) -> dict:
        here = client.getsockname()
        host, port = here[:2] if isinstance(here, tuple) else (str(here), "")
        return {
            "SERVER_NAME": host,
            "SERVER_PORT": str(port),
            "REMOTE_ADDR": peer[0] if isinstance(peer, tuple) else "",  # a Unix socket has none
            "SCRIPT_NAME": "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": self.cfg.workers > 1,
            "wsgi.run_once": False,
        }

    def _answer(
        self,
        message: Message,
        base_environ: dict,
        app: Callable[..., Iterable[bytes]] | None = None,
    ) -> bytes:
        """The application's, as it goes over the wire."""
        begun: list = []
        written: list[bytes] = []

        def start_response(status: str, headers: list, exc_info: object = None) -> object:
            if begun and not exc_info:
                raise AssertionError("start_response was called twice")
            begun[:] = status, headers
            return written.append

        try:
            chunks = (app or self.wsgi)(base_environ | _environ(message), start_response)
            try:
                body = b"".join(chunks)
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
            if not begun:
                raise AssertionError("start_response was not called")
            # While the worker stops, each connection ends with its next answer.
            message.keep_alive = message.keep_alive and self.alive
            return _wire(message, *begun, b"".join(written) + body if written else body)
        except gevent.GreenletExit:
            raise  # The worker does not wait any longer.
        except BaseException:  # gevent.Timeout is one, and sys.exit() must not end the worker
            # Not its address, which may be a receipt's and then opens the ticket.
            request_id = message.fields.get("HTTP_X_REQUEST_ID", "without an id")
            self.log.exception("%s, request %s", message.method, request_id)
            message.keep_alive = False
            return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The service made a mistake.")


def _to_origin_form(message: Message) -> None:
    """RFC 9112, 3.2."""
    if absolute := _ABSOLUTE_FORM.fullmatch(message.target):
        message.fields["HTTP_HOST"], message.target = absolute.groups()
        if not message.target.startswith("/"):
            message.target = f"/{message.target}"
    elif message.target != "*" or message.method != "OPTIONS":
        raise BadRequest(HTTPStatus.BAD_REQUEST, "The address does not begin with a slash.")


def _environ(message: Message) -> dict:
    """What PEP 3333 wants to know of a request."""
    path, _, query = message.target.partition("#")[0].partition("?")
    if "%" in path:
        path = unquote_to_bytes(path).decode("latin-1")
    environ = {
        "REQUEST_METHOD": message.method,
        "PATH_INFO": path,
        # Not of PEP 3333: before it was decoded, by the name that gunicorn has for it.
        "RAW_URI": message.target,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": f"HTTP/{message.version}",
        "wsgi.input": io.BytesIO(message.body),
        **message.fields,
    }
    if "HTTP_TRANSFER_ENCODING" in environ:
        del environ["HTTP_TRANSFER_ENCODING"]
        environ["CONTENT_LENGTH"] = str(len(message.body))
    return environ


@lru_cache(maxsize=100)  # clients choose the names, of up to 16 KiB
def _key_of(name: bytes) -> str | None:
    """None for a name with "_": it would look like one with "-", which a proxy in front checked."""
    if b"_" in name:
        return None
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _wire(message: Message, status: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    fields = {name.lower(): value for name, value in headers}
    if not HOP_BY_HOP.isdisjoint(fields):
        raise ValueError(f"not for an application to say: {HOP_BY_HOP & fields.keys()}")
    if message.method == "HEAD" or status.startswith(_NO_BODY):
        body = b""
    elif "content-length" not in fields:
        lines.append(f"Content-Length: {len(body)}")
    elif fields["content-length"] != str(len(body)):
        raise ValueError(f"{len(body)} bytes, and Content-Length {fields['content-length']}")
    if "date" not in fields:
        lines.append(f"Date: {_date(int(time.time()))}")
    if not message.keep_alive:
        lines.append("Connection: close")
    elif message.version == "1.0":
        lines.append("Connection: keep-alive")
    head = "\r\n".join(lines)
    if not head.count("\r") == head.count("\n") == len(lines) - 1:
        raise ValueError("a line break in a header")
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
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers.append(("Retry-After", "1"))
    body = json.dumps(problem).encode()
    return _wire(Message(), f"{status.value} {status.phrase}", headers, body)


def _read_no_more(client: socket.socket) -> None:
    """Whoever waits in recv() gets what has already come, then the end."""
    # gevent's shutdown() breaks off all that wait on the very object, so it gets another one.
    with contextlib.suppress(OSError), client.dup() as same:
        same.shutdown(socket.SHUT_RD)


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
