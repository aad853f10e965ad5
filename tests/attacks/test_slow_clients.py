"""Clients that send or read a byte at a time, to keep all connections for themselves."""

import contextlib
import re
import socket
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import pytest

from ops.nginx import render
from ops.nginx.envelope import ANSWER_S, STALL_S, Envelope
from ops.processes import free_port
from ops.servers import HOST, HttpServer
from sidecar.settings import parse_rate
from tests.attacks.clients import new_address, new_neighbour
from tests.support.behind_nginx import ask, assert_problem, running_nginx
from tests.support.raw_http import request_bytes
from tests.support.site import another_web
from tests.support.waiting import eventually
from web.http_server.waits import MAX_HELD
from web.settings import FILES_A_PAGE

AT_ONCE = 8
"""Instead of 790, which a test could not reach fast enough within the envelope."""

SLOW_BODY = "Content-Length: 65536"


@pytest.fixture
def nginx(tmp_path, upstream):
    port = free_port()
    config = render.local(listen=f"{HOST}:{port}", upstreams=[upstream.address], state_dir=tmp_path)
    for zone in ("requests", "files"):
        config = re.sub(rf"limit_conn {zone} \d+;", f"limit_conn {zone} {AT_ONCE};", config)
    with running_nginx(config, tmp_path, port) as nginx:
        yield nginx


@contextlib.contextmanager
def slow_requests(
    nginx, count: int, method: str, path: str, client: str, *lines: str
) -> Iterator[list[socket.socket]]:
    """This many connections of one client, each with a request that has only its header."""
    head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", f"X-Forwarded-For: {client}"])
    sent = "\r\n".join([head, *lines, "", ""]).encode()
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            # A window of some kilobytes: what is not read stays at the server.
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(10)
            stack.enter_context(connection)
            connection.connect((HOST, nginx.port))
            connection.sendall(sent)
            connections.append(connection)
        yield connections


def refused(connections: list[socket.socket]) -> int:
    """How many of them were answered 429."""
    count = 0
    for connection in connections:
        connection.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            count += connection.recv(100).startswith(b"HTTP/1.1 429 ")
    return count


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/events/e/holds"),
        ("GET", "/"),
        ("POST", "/api/events/e/seats/stalls-A-1/hold"),
        ("POST", "/api/events/e/sections/stalls/best/2/hold"),
        ("POST", "/api/events/e/holds/h/pay"),
        ("GET", "/api/events/e/seats"),
        ("GET", "/api/events/e/versions/0123456789abcdef"),
        ("POST", "/webhooks/stripe"),
    ],
)
def test_a_client_keeps_a_bounded_number_of_slow_bodies_open(nginx, upstream, method, path):
    upstream.received.clear()
    with slow_requests(nginx, AT_ONCE + 5, method, path, "203.0.113.1", SLOW_BODY) as slow:
        eventually(lambda: refused(slow) == 5 or None, "five are refused")
        answer = ask(nginx.port, method, path, X_Forwarded_For="203.0.113.1")
        problem = assert_problem(answer, 429, "rate_limited")
        assert "under way" in problem["detail"]
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["RateLimit-Policy"] and answer.headers["RateLimit"]
        assert upstream.received == []
        # Others do not notice.
        assert ask(nginx.port, method, path, X_Forwarded_For="203.0.113.2").status == 200
        # Nor do those who ask for a file, or whether the shop can be reached.
        for other in ("/healthz", "/static/style.css"):
            assert ask(nginx.port, "GET", other, X_Forwarded_For="203.0.113.1").status == 200
    eventually(
        lambda: ask(nginx.port, method, path, X_Forwarded_For="203.0.113.1").status == 200 or None,
        "the client may ask again",
    )


def test_a_subscriber_is_one_client_whatever_address_it_takes(nginx):
    path = "/events/e/holds"
    with contextlib.ExitStack() as stack:
        for number in range(AT_ONCE):
            client = f"2001:db8:1:1::{number:x}"
            stack.enter_context(slow_requests(nginx, 1, "POST", path, client, SLOW_BODY))
        time.sleep(0.2)
        answer = ask(nginx.port, "POST", path, X_Forwarded_For="2001:db8:1:1:ffff::1")
        assert_problem(answer, 429, "rate_limited")
        assert ask(nginx.port, "POST", path, X_Forwarded_For="2001:db8:1:2::1").status == 200


def test_who_does_not_read_files_keeps_a_bounded_number_of_them(nginx):
    path = "/static/style.css"
    # So often that the kernel does not keep all answers.
    many = "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", "X-Forwarded-For: 203.0.113.3", "", ""])
    with contextlib.ExitStack() as stack:
        for _ in range(AT_ONCE):
            [slow] = stack.enter_context(slow_requests(nginx, 1, "GET", path, "203.0.113.3"))
            slow.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                for _ in range(2000):
                    slow.sendall(many.encode())

        def refused_now():
            answer = ask(nginx.port, "GET", path, X_Forwarded_For="203.0.113.3")
            return answer if answer.status == 429 else None

        # A busy nginx takes a moment to have read them all.
        assert_problem(eventually(refused_now, "one more is refused"), 429, "rate_limited")
        assert ask(nginx.port, "GET", path, X_Forwarded_For="203.0.113.4").status == 200
        assert ask(nginx.port, "GET", "/", X_Forwarded_For="203.0.113.3").status == 200


@pytest.mark.parametrize(
    "rate_limit", ["10/second", "1/second", "600/minute", "1/minute", "9/hour"]
)
def test_a_client_that_keeps_the_rule_never_has_too_many_under_way(rate_limit):
    rate = parse_rate(rate_limit)
    window_s = rate.window_ns / 1e9
    envelope = Envelope.around(rate)
    # As many as the rule allows, from one moment on; the network holds back the first of them, and
    # each answer takes as long as nginx waits.
    sent = [window_s * (number // rate.limit) for number in range(100 * rate.limit)]
    arrives = [max(moment, STALL_S) for moment in sent]
    under_way = [
        bisect_right(arrives, now) - bisect_left(arrives, now - ANSWER_S) for now in arrives[::7]
    ]
    assert max(under_way) <= envelope.requests_at_once


def test_the_numbers_of_ten_a_second_are_those_of_the_comment():
    envelope = Envelope.around(parse_rate("10/second"))
    assert (envelope.requests_at_once, envelope.files_at_once) == (790, 1600)


def test_nginx_waits_for_the_application_as_long_as_is_reckoned_with():
    proxy = (render.TEMPLATES / "proxy.conf.j2").read_text()
    assert f"proxy_read_timeout {ANSWER_S}s;" in proxy


def test_a_page_has_no_more_files_than_are_reckoned_with():
    files = {path.name: path.read_text() for path in (render.WEB_DIR / "static").iterdir()}
    pages = {path.name: path.read_text() for path in (render.WEB_DIR / "templates").glob("*.html")}

    def named_in(text: str) -> set[str]:
        return {name for name in files if re.search(rf"\b{re.escape(name)}\b", text)}

    def with_imports(names: set[str]) -> set[str]:
        more = names.union(*(named_in(files[name]) for name in names if name.endswith(".js")))
        return more if more == names else with_imports(more)

    most = 0
    for page in pages.values():
        parts = page + pages["layout.html"]
        if "map_scripts" in page:
            parts += pages["macros.html"]
        most = max(most, len(with_imports(named_in(parts))))
    assert 7 < most <= FILES_A_PAGE


# ---------------------------------------------------------------- without nginx

WORKER_CONNECTIONS = 150
"""In place of 1,000, which a test would take long to use up."""

MANY = 200

PATIENCE_S = 3
"""Shorter than any time after which the worker ends a connection by itself: five to thirty."""


@pytest.fixture(scope="module")
def alone(stack, tmp_path_factory) -> Iterator[HttpServer]:
    """A gunicorn with one worker. It trusts only 127.0.0.1 as a proxy."""
    settings = {
        "WEB_CONCURRENCY": "1",
        "TRUSTED_PROXIES": "127.0.0.1/32",
        "GUNICORN_CMD_ARGS": f"--worker-connections {WORKER_CONNECTIONS}",
    }
    with another_web(stack, tmp_path_factory.mktemp("alone") / "log", **settings) as server:
        yield server


def connect(server: HttpServer, source: str) -> socket.socket:
    return socket.create_connection((HOST, server.port), PATIENCE_S, source_address=(source, 0))


@contextlib.contextmanager
def many_connections(server: HttpServer, source: str, sent: bytes) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(MANY):
            connections.append(stack.enter_context(connect(server, source)))
            with contextlib.suppress(OSError):
                connections[-1].sendall(sent)
        yield connections


def assert_others_are_served(server: HttpServer) -> None:
    for _ in range(3):
        with connect(server, new_neighbour()) as honest:
            honest.sendall(request_bytes("GET", "/api/events"))
            assert honest.recv(100).startswith(b"HTTP/1.1 200 ")


ONE_BYTE_OF_A_BODY = request_bytes("POST", "/basket", "%s", "Content-Length: 100") + b"x"

SLOW = {
    "a body that does not come": ONE_BYTE_OF_A_BODY.replace(b"%s\r\n", b""),
    "a header that does not end": b"POST /basket HTTP/1.1\r\nHost: a\r\n",
    "nothing at all": b"",
    "a kept connection": request_bytes("GET", "/healthz"),
    "a last answer, and no end": request_bytes("GET", "/healthz", "Connection: close"),
    "what is no request, and no end": b"?\r\n\r\n",
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW)
def test_one_address_does_not_take_all_connections_of_a_worker(alone, sent):
    with many_connections(alone, new_neighbour(), sent):
        assert_others_are_served(alone)


@pytest.mark.parametrize("sent", [b"", SLOW["a kept connection"]], ids=["silent", "kept"])
def test_idle_connections_make_room_for_others_whoever_has_them(alone, sent):
    # Behind a proxy the client is not known yet.
    with many_connections(alone, HOST, sent):
        assert_others_are_served(alone)


def test_one_client_of_a_proxy_does_not_take_all_connections_with_slow_bodies(alone):
    claim = f"X-Forwarded-For: {new_address()}"
    sent = ONE_BYTE_OF_A_BODY.replace(b"%s", claim.encode())
    with many_connections(alone, HOST, sent) as slow:
        eventually(lambda: refused(slow[MAX_HELD:]) or None, "those beyond the bound are refused")
        assert refused(slow[:MAX_HELD]) == 0
        assert_others_are_served(alone)


def test_who_is_refused_for_slow_bodies_is_told_when_to_come_again(alone):
    with many_connections(alone, new_neighbour(), SLOW["a body that does not come"]) as slow:
        answer = slow[MAX_HELD].recv(4096).decode()
    assert answer.startswith("HTTP/1.1 429 ")
    assert '"code": "rate_limited"' in answer
    assert "Retry-After: 1" in answer
    assert "Connection: close" in answer


def test_an_idle_connection_that_makes_room_is_closed_without_a_word(alone):
    with many_connections(alone, new_neighbour(), b"") as silent:
        assert silent[0].recv(100) == b""
        silent[-1].sendall(request_bytes("GET", "/api/events"))
        assert silent[-1].recv(100).startswith(b"HTTP/1.1 200 ")
