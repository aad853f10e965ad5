"""The limiter process: one sliding log behind a Unix socket.

``python -m sidecar.server`` alone runs it under another supervisor; SIGTERM or SIGINT ends it.
Only its own user can connect. It has one thread and one log, so of any number of requests at the
same moment exactly as many are accepted as the rate allows.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time

from sidecar.protocol import ProtocolError, encode_answer, split_requests
from sidecar.settings import BadSettings, read_settings
from sidecar.sliding_log import SlidingLog

BACKLOG = 1024
"""Connections that wait to be accepted: all workers at once, after a restart."""

logger = logging.getLogger("sidecar.server")


class SocketInUse(Exception):
    """Another limiter answers on the path. Two would each grant the whole rate."""


class Connection(asyncio.Protocol):
    """A worker's connection. Everything that was read together is decided at one moment."""

    def __init__(self, log: SlidingLog):
        self._log = log
        self._rest = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            keys, self._rest = split_requests(self._rest + data)
        except ProtocolError as error:
            logger.warning("closing a connection: %s", error)
            self._transport.close()
            return
        now_ns = time.monotonic_ns()
        decide = self._log.decide
        self._transport.write(b"".join([encode_answer(decide(key, now_ns)) for key in keys]))

    # Whoever does not read its answers may not ask further, or they would pile up here.
    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()


def listen(path: str) -> socket.socket:
    """A listening Unix socket that only this user can connect to.

    A socket file that nobody answers on, left by a limiter that was killed, is replaced. Raises
    SocketInUse, and OSError when the path cannot be bound.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except FileNotFoundError:
            pass
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise SocketInUse(f"another limiter answers on {path}")

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # By umask rather than chmod, so that there is no moment at which others could connect.
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


async def serve(listener: socket.socket, log: SlidingLog) -> None:
    """Answer until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, ended.set)
    server = await loop.create_unix_server(lambda: Connection(log), sock=listener)
    await ended.wait()
    server.close()


def main() -> int:
    """The exit code: 2 for settings that do not fit, 1 for a socket that cannot be had."""
    logging.basicConfig(format="limiter: %(message)s", level=logging.INFO)
    try:
        settings = read_settings()
    except BadSettings as error:
        logger.error("%s", error)
        return 2
    if not settings.limiter_socket:
        logger.error("LIMITER_SOCKET must be set")
        return 2
    try:
        listener = listen(settings.limiter_socket)
    except (OSError, SocketInUse) as error:
        logger.error("cannot listen on %s: %s", settings.limiter_socket, error)
        return 1
    try:
        asyncio.run(serve(listener, SlidingLog(*settings.rate, settings.limiter_max_clients)))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(settings.limiter_socket)
    return 0


if __name__ == "__main__":
    sys.exit(main())
