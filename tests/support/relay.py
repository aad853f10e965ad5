"""A TCP address that leads to one server or another, as that of a managed service does."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from ops.servers import HOST

AnyRelay = TypeVar("AnyRelay", bound="Relay")


class Relay:
    """Connections stay where they are when ``target_port`` is changed; new ones go there."""

    def __init__(self, target_port: int):
        self.target_port = target_port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]

    def accept_all(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((HOST, self.target_port))
                self.carry(client, server)

    def carry(self, client: socket.socket, server: socket.socket) -> None:
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while some := source.recv(65536):
            target.sendall(some)
        target.shutdown(socket.SHUT_WR)


class LosingRelay(Relay):
    """Loses answers on request: what was asked has its effect, and the connection is cut."""

    def __init__(self, target_port: int):
        super().__init__(target_port)
        self._marker = b""
        self._left = 0
        self._meanwhile: Callable[[], object] = lambda: None

    def lose(
        self, marker: bytes, times: int = 1, meanwhile: Callable[[], object] = lambda: None
    ) -> None:
        """The next answers to what contains ``marker``. ``meanwhile`` is called when the server has
        answered, before the connection is cut."""
        self._marker, self._left, self._meanwhile = marker, times, meanwhile

    def carry(self, client: socket.socket, server: socket.socket) -> None:
        asked = threading.Event()

        def forward() -> None:
            with contextlib.suppress(OSError):
                while some := client.recv(65536):
                    if self._left and self._marker in some:
                        asked.set()
                    server.sendall(some)
                server.shutdown(socket.SHUT_WR)

        def answer() -> None:
            with contextlib.suppress(OSError):
                while some := server.recv(65536):
                    if asked.is_set():
                        self._left -= 1
                        self._meanwhile()
                        break
                    client.sendall(some)
                for each in (client, server):
                    each.shutdown(socket.SHUT_RDWR)

        for task in (forward, answer):
            threading.Thread(target=task, daemon=True).start()


@contextlib.contextmanager
def relay_to(port: int) -> Iterator[Relay]:
    with running(Relay(port)) as relay:
        yield relay


@contextlib.contextmanager
def running(relay: AnyRelay) -> Iterator[AnyRelay]:
    threading.Thread(target=relay.accept_all, daemon=True).start()
    yield relay
    relay.close()
