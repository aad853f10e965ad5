"""A TCP address that leads to one server or another, as that of a managed service does."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from ops.servers import HOST


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


@contextlib.contextmanager
def relay_to(port: int) -> Iterator[Relay]:
    relay = Relay(port)
    threading.Thread(target=relay.accept_all, daemon=True).start()
    yield relay
    relay.close()
