"""The limiter process: sliding logs behind a Unix socket.

``python -m sidecar.server`` alone runs it under another supervisor; SIGTERM or SIGINT ends it.
Only its own user can connect. It has one thread and one log per rate, so of any number of
simultaneous requests exactly as many are accepted as the rate allows.
"""

import asyncio
import logging
import os
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import Any, cast

import uvloop

from sidecar.host_limiter import HostLimiter
from sidecar.protocol import ProtocolError, split_lines
from sidecar.settings import BadSettings, Settings, read_settings

BACKLOG = 1024
"""Connections that wait to be accepted: all workers at once, after a restart."""

MAX_UNANSWERED = 2_000
"""On one connection, when another machine decides. More than a worker has requests; further
questions stay in the socket until some are answered."""

logger = logging.getLogger("sidecar.server")


class SocketInUse(Exception):
    """Another limiter uses the path. Two would each grant the whole rate."""


class Session(asyncio.Protocol):
    """The limiter's end of one connection. All questions that were read together are decided at the
    same moment."""

    def __init__(self, limiter: HostLimiter):
        self._limiter = limiter
        self._rest = b""
        self._unanswered = 0
        self._may_write = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A stream has a Transport, but uvloop's class does not inherit from it.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            lines, self._rest = split_lines(self._rest + data)
            questions = self._limiter.questions_in(lines)
        except ProtocolError as error:
            logger.warning("closing a connection: %s", error)
            self._transport.close()
            return
        self._unanswered += len(questions)
        self._limiter.answer(questions, self._reply)
        self._regulate()

    def pause_writing(self) -> None:
        self._may_write = False
        self._regulate()

    def resume_writing(self) -> None:
        self._may_write = True
        self._regulate()

    def _reply(self, answers: list[bytes]) -> None:
        self._unanswered -= len(answers)
        if not self._transport.is_closing():
            self._transport.write(b"".join(answers))
            self._regulate()

    def _regulate(self) -> None:
        """Reads no more questions from a client that does not read its answers, or they would pile
        up here."""
        if self._may_write and self._unanswered <= MAX_UNANSWERED:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()


def listen(path: str) -> socket.socket:
    """A listening Unix socket that only this user can connect to.

    A stale socket file, left by a limiter that was killed, is replaced. Raises SocketInUse, and
    OSError when the path cannot be bound.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except FileNotFoundError:
            pass
        except ConnectionRefusedError:
            Path(path).unlink()
        else:
            raise SocketInUse(f"another limiter answers on {path}")

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # umask rather than chmod, so that there is no moment at which others could connect.
    umask = os.umask(0o177)
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(umask)
    return listener


async def serve(listener: socket.socket, limiter: HostLimiter) -> None:
    """Answer until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(report)
    ended = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, ended.set)
    await limiter.start()
    server = await loop.create_unix_server(lambda: Session(limiter), sock=listener)
    await ended.wait()
    server.close()
    await limiter.stop()


def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Leaves out what uvloop says of a TLS connection that was given up: when its handshake fails
    after that, and when its end is written though it is closed. Nothing is lost by either."""
    error = context.get("exception")
    if not isinstance(error, ssl.SSLError) and "the handler is closed" not in str(error):
        loop.default_exception_handler(context)


def make_limiter(settings: Settings) -> HostLimiter:
    """Raises ValueError for options of an address that redis-py refuses."""
    if not settings.limiter_redis_url:
        return HostLimiter(settings.limiter_max_clients)
    # Not at the top: redis-py would make a limiter that does not need it half as large again.
    from sidecar.redis_server import redis_server  # noqa: PLC0415
    from sidecar.shared_limiter import SharedLimiter  # noqa: PLC0415
    from sidecar.shared_log import SharedLog  # noqa: PLC0415

    server = redis_server("LIMITER_REDIS_URL", settings.limiter_redis_url, settings.redis_tls_ca)
    return SharedLimiter(settings.limiter_max_clients, SharedLog(server))


def main() -> int:
    """The exit code: 2 for invalid settings, 1 if the socket cannot be bound."""
    logging.basicConfig(format="limiter: %(message)s", level=logging.INFO)
    try:
        settings = read_settings()
        if not settings.limiter_socket:
            raise BadSettings("LIMITER_SOCKET is required")
        limiter = make_limiter(settings)
    except (BadSettings, ValueError) as error:
        print(f"settings: {error}", file=sys.stderr)
        return 2
    try:
        listener = listen(settings.limiter_socket)
    except (OSError, SocketInUse) as error:
        logger.error("cannot listen on %s: %s", settings.limiter_socket, error)
        return 1
    try:
        # With asyncio's own loop the limiter takes 11 % of the throughput of holds, with this 8 %.
        uvloop.run(serve(listener, limiter))
    finally:
        Path(settings.limiter_socket).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
