"""An upstream whose answers a test chooses, nginx in front of it, and ways to send it requests."""

import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ops.nginx import render
from ops.processes import free_port
from ops.servers import HOST, Nginx
from sidecar.settings import parse_rate
from tests.support.local_server import LocalServer, QuietHandler

PROBLEM_TYPE = "application/problem+json"

NO_ENVELOPE = parse_rate("10000/second")
"""High, so that one address can play a whole crowd; the envelope has its own tests."""

KEEPING_S = 0.03
"""nginx stores an answer in its cache just after sending it; a test must not be faster."""


@dataclass
class Reply:
    """The upstream's answer to every request; ``headers`` is called for each response."""

    status: int
    headers: Callable[[], dict[str, str]] = field(default=dict)
    code: str = "of_the_application"


class Upstream(LocalServer):
    """``received`` has the method and the path of each request, as they came. Without ``reply`` it
    echoes a request as JSON, except on the paths ``/dropped``, ``/refused/STATUS`` and
    ``/large``."""

    reply: Reply | None = None

    def __init__(self, port: int = 0) -> None:
        super().__init__(Handler, port)
        self.received: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def replying(
        self, status: int, headers: Callable[[], dict[str, str]] = dict, **fields: str
    ) -> Iterator[list[tuple[str, str]]]:
        """Answer every request like this inside the block; yields the list of these requests."""
        self.reply, self.received = Reply(status, headers, **fields), []
        try:
            yield self.received
        finally:
            self.reply = None


class Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    """An answer is one write: a second one would wait for the client's delayed acknowledgement."""
    server: Upstream

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.received.append((self.command, self.path))
        if self.path.startswith("/dropped"):
            self.close_connection = True
            return
        status, content_type, headers = 200, "application/json", {}
        answer = {"path": self.path, "headers": dict(self.headers), "body_bytes": len(body)}
        if self.path.startswith("/refused/"):
            status, content_type = int(self.path.split("/")[2]), PROBLEM_TYPE
            answer = {"code": "of_the_application"}
        if self.path.startswith("/large"):
            answer = {"seats": "0" * 50_000}
        if reply := self.server.reply:
            status, content_type, headers = reply.status, PROBLEM_TYPE, reply.headers()
            answer = {"code": reply.code}
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(json.dumps(answer))))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(json.dumps(answer).encode())

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer


@contextlib.contextmanager
def running_nginx(config: str, folder: Path, port: int) -> Iterator[Nginx]:
    config_path = folder / "nginx.conf"
    config_path.write_text(config)
    with Nginx(config_path, folder / "nginx.log", port) as nginx:
        yield nginx


@contextlib.contextmanager
def local_nginx(folder: Path, *upstreams: str, **arguments: object) -> Iterator[Nginx]:
    port = free_port()
    config = render.local(
        listen=f"{HOST}:{port}", upstreams=upstreams, state_dir=folder, **arguments
    )
    with running_nginx(config, folder, port) as nginx:
        yield nginx


def server_config(folder: Path, **arguments: object) -> str:
    """The rendering of a host whose root is ``folder``."""
    for debian_folder in ("run", "var/lib/nginx", "var/log/nginx"):
        (folder / debian_folder).mkdir(parents=True)
    defaults = {"server_names": ["tickets.example.com"], "upstreams": [f"{HOST}:{free_port()}"]}
    return render.server(root=folder, **defaults | arguments)


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    **headers: str,
):
    """Returns the response, its body read into ``.body``. An underscore in a name is a hyphen."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    with contextlib.closing(connection):
        if tls:
            connection.connect()
            name = headers.pop("sni", "tickets.example.com")
            connection.sock = tls.wrap_socket(connection.sock, server_hostname=name)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        response = connection.getresponse()
        response.body = response.read()
        return response


def ask_raw(port: int, request: bytes) -> tuple[int, dict]:
    """For requests that no client library would send. Returns the status and the JSON body."""
    with socket.create_connection((HOST, port), timeout=10) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.headers["Content-Type"] == PROBLEM_TYPE
        return response.status, json.loads(response.read())


def assert_problem(response, status: int, code: str) -> dict:
    assert response.status == status, response.body
    assert response.headers["Content-Type"] == PROBLEM_TYPE
    problem = json.loads(response.body)
    assert problem.keys() == {"type", "title", "status", "code", "detail"}
    assert (problem["status"], problem["code"]) == (status, code)
    return problem


def wait_for_time(needed_s: float) -> None:
    """Wait until at least ``needed_s`` of the current second is left, by nginx's clock."""
    while time.time() % 1 > 1 - needed_s:
        time.sleep(0.01)


def ask_in_turn(port: int, *requests: tuple[str, str], **headers: str) -> list:
    """Send the requests one after the other within the same second."""
    wait_for_time(0.5)
    answers = []
    for method, path in requests:
        answers.append(ask(port, method, path, **headers))
        time.sleep(KEEPING_S)
    return answers
