"""gunicorn's worker: gevent's event loop, and HTTP/1.1 by llhttp, the parser of Node.js.

gunicorn's own gevent worker parses in Python and sends the header and body of a response
separately, which costs about half as much as all the application's work for a hold
(docs/performance.md). Requests are small here, so each is read completely before the application is
called, and a response is sent in one piece.

There is no TLS, no HTTP/2 and no access log: nginx has them. ``max_requests`` has no effect.

gunicorn's master imports this package before gevent patches anything: nothing here may keep a
reference to what gevent patches, and nothing else of ``web/`` is imported. docs/server.md says what
is accepted, refused and limited, and how to do without this worker.
"""

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from types import FrameType
from typing import Any
from wsgiref.types import WSGIApplication, WSGIEnvironment

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.workers.ggevent import GeventWorker

from web.http_server.request_reader import BadRequest, Limits, Request, RequestReader
from web.http_server.waits import Waits
from web.http_server.wsgi import Headers, problem_bytes, request_environ, response_bytes

MESSAGE_TIMEOUT_S = 30.0
"""From the first byte of a request to its last. nginx sends it in one piece."""

RESPONSE_TIMEOUT_S = 30.0
"""Until the kernel has taken the whole response: a client may not be reading."""

MAX_DRAINED_BYTES = 16 * 1024 * 1024
DRAIN_TIMEOUT_S = 5.0
"""Bytes read and discarded after the last response: it may have been sent before the end of its
request, and while the client is still sending, closing would reset the connection and could destroy
the response. Most clients read it only after they have sent everything."""

RECEIVE_BYTES = 64 * 1024

READABLE = 1
"""What a watcher of gevent's loop waits for."""

CLOSING_S = 4.0
"""How long a worker that stops leaves idle connections open, counted from its last sign of life,
which may be a second before the stop. nginx closes them by itself within two seconds
(keepalive_timeout, ops/nginx/render.py). If the worker closed one at the moment when nginx sends a
payment on it, that would be lost: nginx does not send a POST again."""

CROWDED = 0.9
"""The fraction of ``worker_connections`` beyond which each new connection closes an idle one. At
the full number the worker accepts none."""


Write = Callable[[bytes], object]
"""What ``start_response`` returns."""


class Server(StreamServer):
    """Accepts connections until it is closed, and then those too that the kernel has accepted."""

    def close(self) -> None:
        """Otherwise the kernel would reset them, and what was posted on them would be lost: nginx
        has sent it as soon as it is connected, and does not send it again."""
        while not self.full() and (arrived := self.do_read()):
            self.do_handle(*arrived)
        super().close()


class HttpWorker(GeventWorker):
    """For gunicorn's setting ``worker_class``.

    ``count_refused``, if set, is called with the environ of each request that cannot be parsed, as
    far as it was read, and with whether its header was complete. It returns a WSGI application that
    responds instead of the worker, when a limit is exceeded, or None to let the worker report the
    error.

    ``client_of``, if set, is called with the same arguments and returns the client's key, or None
    if that is not known. No client gets more than its share of the connections (waits.Waits).
    """

    count_refused: Callable[[WSGIEnvironment, bool], WSGIApplication | None] | None = None
    client_of: Callable[[WSGIEnvironment, bool], str | None] | None = None

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._waits: Waits[socket.socket] = Waits()
        self._connections: dict[socket.socket, RequestReader] = {}
        self._idle_until_s: dict[socket.socket, float] = {}
        self._quits = False
        self._was_alive_s = time.monotonic()
        # gunicorn only calls it.
        self.server_class = self._server  # type: ignore[misc,assignment]

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Ctrl-C arrives twice, from the terminal and from the master. gunicorn would exit on each,
        and the second exit, in the middle of the first, prints a traceback."""
        if not self._quits:
            self._quits = True
            super().handle_quit(sig, frame)

    def _server(self, listener: socket.socket, spawn: Pool, **given: Any) -> Server:
        """``given`` is what gunicorn has for a WSGI server of gevent's, and TLS."""
        tls = {"ssl_context": given["ssl_context"]} if "ssl_context" in given else {}
        server = Server(listener, handle=partial(self.handle, listener), spawn=spawn, **tls)
        if self.cfg.workers > 1:
            # As gunicorn has it: otherwise one worker takes what the others have time for.
            server.max_accept = 1
        return server

    def notify(self) -> None:
        """gunicorn calls this every second, also while the worker waits for its connections to
        end. Connections that stay idle are closed then. So none of them needs a timer."""
        super().notify()
        now_s = time.monotonic()
        for client, until_s in self._idle_until_s.items():
            if now_s >= until_s:
                _read_no_more(client)
        if self.alive:
            self._was_alive_s = now_s
        if now_s - self._was_alive_s < CLOSING_S:
            return
        for client, reader in self._connections.items():
            if reader.unfinished is None:
                _read_no_more(client)

    def handle(self, listener: socket.socket, client: socket.socket, addr: object) -> None:
        """Serve one connection to its end."""
        cfg = self.cfg
        reader = RequestReader(Limits(cfg.limit_request_field_size, cfg.limit_request_fields))
        self._connections[client] = reader
        readable = gevent.get_hub().loop.io(client.fileno(), READABLE)
        try:
            self._serve(client, reader, readable, self._base_environ(client, addr))
        except OSError:
            pass  # The client disconnected, or does not read.
        except Exception:
            self.log.exception("a connection")
        finally:
            del self._connections[client]
            readable.close()
            client.close()

    def _serve(
        self,
        client: socket.socket,
        reader: RequestReader,
        readable: Any,
        base_environ: WSGIEnvironment,
    ) -> None:
        for requests, bad in self._arrivals(client, reader, readable, base_environ):
            for request in requests:
                response = self._respond(request, base_environ)
                # Whoever else can go on does so first: then all send their responses one right
                # after the other, to a client that only the first has to wake, which costs several
                # times as much as sending. And nobody who always has the next request ready
                # monopolises the worker.
                gevent.sleep(0)
                self._send(client, response, request, base_environ)
                if not request.keep_alive:
                    return self._drain(client, request, base_environ)
            if bad:
                request = reader.unfinished or Request()
                response = self._refusal(bad, request, base_environ)
                self._send(client, response, request, base_environ)
                return self._drain(client, request, base_environ)

    def _refusal(self, bad: BadRequest, request: Request, base_environ: WSGIEnvironment) -> bytes:
        """The last response of its connection; ``request`` is what was read of the request."""
        if self.count_refused:
            has_whole_head = request.has_whole_head
            app = self.count_refused(base_environ | request_environ(request), has_whole_head)
            if app:
                return self._respond(request, base_environ, app)
        return problem_bytes(bad.status, bad.detail)

    def _arrivals(
        self,
        client: socket.socket,
        reader: RequestReader,
        readable: Any,
        base_environ: WSGIEnvironment,
    ) -> Iterator[tuple[list[Request], BadRequest | None]]:
        """Yields the results of RequestReader.feed until the client stops sending."""
        keepalive_s = self.cfg.keepalive
        peer = self._client_of(Request(), base_environ)
        unfinished = None
        is_new = True
        deadline_s = time.monotonic() + keepalive_s
        while True:
            try:
                if unfinished:
                    client.settimeout(max(0.001, deadline_s - time.monotonic()))
                    data = self._receive_more(client, unfinished, base_environ)
                else:
                    data = self._receive_first(client, readable, peer, deadline_s, is_new=is_new)
                    is_new = False
            except BadRequest as refusal:
                yield [], refusal
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
            requests, bad = reader.feed(data)
            yield requests, bad
            request = reader.unfinished
            if request is None:
                if requests:
                    deadline_s = time.monotonic() + keepalive_s
            else:
                if request is not unfinished:
                    deadline_s = time.monotonic() + MESSAGE_TIMEOUT_S
                if request.expects_invitation:
                    request.expects_invitation = False
                    client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            unfinished = request

    def _receive_first(
        self,
        client: socket.socket,
        readable: Any,
        peer: str | None,
        until_s: float,
        *,
        is_new: bool,
    ) -> bytes:
        """Waits first and receives then, except on a new connection: after a response there is
        seldom a request already."""
        is_crowded = len(self._connections) >= CROWDED * self.worker_connections
        self._idle_until_s[client] = until_s
        leaves = self._waits.begin_idle(client, peer, is_crowded=is_crowded)
        client.settimeout(0.0)
        try:
            if leaves:
                _read_no_more(leaves)
            while True:
                if not is_new:
                    gevent.get_hub().wait(readable)
                is_new = False
                with contextlib.suppress(BlockingIOError):
                    return client.recv(RECEIVE_BYTES)
        finally:
            self._waits.end_idle(client)
            del self._idle_until_s[client]

    def _receive_more(
        self, client: socket.socket, request: Request, base_environ: WSGIEnvironment
    ) -> bytes:
        """Raises BadRequest when too many connections of the same client are being waited for."""
        with self._waits.held(self._client_of(request, base_environ)) as has_room:
            if not has_room:
                words = "Too many requests of yours are under way: send fewer at once."
                raise BadRequest(HTTPStatus.TOO_MANY_REQUESTS, words)
            return client.recv(RECEIVE_BYTES)

    def _send(
        self,
        client: socket.socket,
        response: bytes,
        request: Request,
        base_environ: WSGIEnvironment,
    ) -> None:
        """Raises OSError when the client does not read it."""
        client.settimeout(0.0)
        try:
            sent_bytes = client.send(response)
        except BlockingIOError:
            sent_bytes = 0
        if sent_bytes == len(response):
            return
        with self._waits.held(self._client_of(request, base_environ)) as has_room:
            if not has_room:
                raise ConnectionAbortedError("too many responses that the client does not read")
            client.settimeout(RESPONSE_TIMEOUT_S)
            client.sendall(memoryview(response)[sent_bytes:])

    def _drain(
        self, client: socket.socket, request: Request, base_environ: WSGIEnvironment
    ) -> None:
        with self._waits.held(self._client_of(request, base_environ)) as has_room:
            if has_room:
                _drain(client)

    def _client_of(self, request: Request, base_environ: WSGIEnvironment) -> str | None:
        if self.client_of is None:
            return None
        has_whole_head = request.has_whole_head
        environ = base_environ | request_environ(request) if has_whole_head else base_environ
        return self.client_of(environ, has_whole_head)

    def _base_environ(self, client: socket.socket, peer: object) -> WSGIEnvironment:
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

    def _respond(
        self,
        request: Request,
        base_environ: WSGIEnvironment,
        app: WSGIApplication | None = None,
    ) -> bytes:
        """The application's response as bytes."""
        begun: list[tuple[str, Headers]] = []
        written: list[bytes] = []

        def start_response(status: str, headers: Headers, exc_info: object = None) -> Write:
            if begun and not exc_info:
                raise AssertionError("start_response was called twice")
            begun[:] = [(status, headers)]
            return written.append

        try:
            environ = base_environ | request_environ(request)
            # gunicorn's stubs lack write(), which start_response returns (PEP 3333).
            chunks = (app or self.wsgi)(environ, start_response)  # type: ignore[arg-type]
            try:
                body = b"".join(chunks)
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
            if not begun:
                raise AssertionError("start_response was not called")
            # While the worker stops, each connection ends with its next response.
            request.keep_alive = request.keep_alive and self.alive
            return response_bytes(request, *begun[0], b"".join(written) + body if written else body)
        except gevent.GreenletExit:
            raise  # The worker has stopped waiting.
        except BaseException:  # gevent.Timeout is one, and sys.exit() must not end the worker
            # Without the address: a receipt's address gives access to the ticket.
            request_id = request.fields.get("HTTP_X_REQUEST_ID", "without an id")
            self.log.exception("%s, request %s", request.method, request_id)
            request.keep_alive = False
            return problem_bytes(HTTPStatus.INTERNAL_SERVER_ERROR, "The service made a mistake.")


def _read_no_more(client: socket.socket) -> None:
    """A greenlet that waits in recv() gets what has already arrived, then the end."""
    # gevent's shutdown() interrupts all that wait on the same object, so it gets another one.
    with contextlib.suppress(OSError), client.dup() as same:
        same.shutdown(socket.SHUT_RD)


def _drain(client: socket.socket) -> None:
    """Closes the connection so that the client gets the response: shuts down sending, then waits
    for the client to close."""
    client.shutdown(socket.SHUT_WR)
    deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
    drained_bytes = 0
    while drained_bytes < MAX_DRAINED_BYTES:
        client.settimeout(max(0.001, deadline_s - time.monotonic()))
        data = client.recv(RECEIVE_BYTES)
        if not data:
            return
        drained_bytes += len(data)
