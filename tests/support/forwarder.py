"""An address that leads to one server and later to another, as a managed service's does."""

import socket
import socketserver
import threading
from contextlib import suppress
from typing import Self

from ops.processes import free_port
from ops.servers import HOST

CHUNK_BYTES = 65536


class Forwarder:
    """New connections to ``port`` are forwarded to ``target_port``; those that exist stay where
    they are."""

    def __init__(self, target_port: int):
        self.target_port = target_port
        self.port = free_port(HOST)
        self._server = socketserver.ThreadingTCPServer(
            (HOST, self.port), self._forward, bind_and_activate=True
        )
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _forward(self, client: socket.socket, *_: object) -> None:
        with suppress(OSError), socket.create_connection((HOST, self.target_port)) as server:
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Until either side closes."""
    with suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            target.sendall(chunk)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
