"""A gunicorn with a small test application, and requests to it over raw sockets."""

import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from ops.processes import Process, free_port
from ops.servers import REPOSITORY
from tests.support.raw_http import Answer, _answers, exchange, request_bytes

PATIENCE_S = 10
TIMEOUT_S = 0.8
"""The server's time-outs, for a request and for an answer."""
KEEPALIVE_S = 1
CONNECTIONS = 20
FIELD_BYTES = 16 * 1024
SETTINGS = f"""
from web.http_server import worker
worker.MESSAGE_TIMEOUT_S = {TIMEOUT_S}
worker.RESPONSE_TIMEOUT_S = {TIMEOUT_S}
workers = 1
worker_class = "web.http_server.worker.HttpWorker"
worker_connections = {CONNECTIONS}
limit_request_field_size = {FIELD_BYTES}
limit_request_fields = 100
forwarded_allow_ips = ""
control_socket_disable = True
"""

HEAD = b"GET /echo HTTP/1.1\r\nHost: a\r\n"
GET = HEAD + b"\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class Server(Process):
    """Listens on TCP and on a Unix socket."""

    def __init__(self, folder: Path, settings: str):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.address = "127.0.0.1", port
        self.socket_path = str(folder / "web.sock")
        conf = folder / "conf.py"
        binds = [f"127.0.0.1:{port}", f"unix:{self.socket_path}"]
        conf.write_text(f"{SETTINGS}bind = {binds}\n{settings}\n")
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "-c",
            conf,
            "tests.support.http_worker_app:app",
        ]
        super().__init__("web", command, folder / "log", cwd=REPOSITORY)

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError), self.connect() as client:
            client.sendall(GET)
            return bool(client.recv(1))
        return False

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, PATIENCE_S)

    def connect_unix(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE_S)
        client.connect(self.socket_path)
        return client

    @property
    def log(self) -> str:
        return self.log_path.read_text()


@contextlib.contextmanager
def serving(folder: Path, settings: str) -> Iterator[Server]:
    with Server(folder, settings) as server:
        yield server


def until_closed(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65_536), b""))


def ask(server: Server, path: str, *lines: str, method: str = "GET", body: bytes = b"") -> Answer:
    sent = request_bytes(method, path, *lines, "Connection: close", body=body)
    (answer,) = exchange(server.url, sent)
    return answer


def answers_to(server: Server, sent: bytes) -> list[Answer]:
    """All answers to the bytes ``sent``, whose last request must end the connection."""
    with server.connect() as client:
        client.sendall(sent)
        return list(_answers(until_closed(client)))
