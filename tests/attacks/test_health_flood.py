"""A flood of health checks: they are not rate limited, and yet few of them reach the
application."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from ops.processes import free_port
from ops.servers import HOST
from tests.support.behind_nginx import (
    ask,
    assert_problem,
    local_nginx,
    running_nginx,
    server_config,
)

FLOOD_S = 2.2
SECONDS_TOUCHED = 4
"""By a flood of that length, which begins somewhere in the first of them."""


def flood(port: int, path: str, clients: int = 4, **headers: str) -> list[int]:
    """The statuses that these connections get when each sends requests as fast as they are
    answered."""
    statuses: list[int] = []
    end_s = time.monotonic() + FLOOD_S

    def keep_asking() -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=20)
        with contextlib.closing(connection):
            while time.monotonic() < end_s:
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
                response.read()
                statuses.append(response.status)

    clients_asking = [threading.Thread(target=keep_asking) for _ in range(clients)]
    for client in clients_asking:
        client.start()
    for client in clients_asking:
        client.join()
    return statuses


@contextlib.contextmanager
def broken_application(answer: bytes | None) -> Iterator[tuple[str, list[float]]]:
    """An upstream, with its address and the times of its connections. It sends ``answer`` and
    closes; without one it stays silent and open."""
    asked: list[float] = []
    connections: list[socket.socket] = []
    with socket.create_server((HOST, 0), backlog=100) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                asked.append(time.monotonic())
                if answer is None:
                    connections.append(connection)
                    continue
                connection.sendall(answer)
                connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield f"{HOST}:{listening.getsockname()[1]}", asked
        listening.shutdown(socket.SHUT_RDWR)
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("clients", [4, 40])
def test_the_application_is_asked_once_a_second_however_many_ask(nginx, upstream, clients):
    upstream.received.clear()
    statuses = flood(nginx.port, "/healthz?a=b", clients)
    assert set(statuses) == {200}
    assert 2 <= len(upstream.received) <= SECONDS_TOUCHED
    assert set(upstream.received) == {("GET", "/healthz")}


def test_nobody_waits_for_the_answer_of_a_healthy_application(nginx):
    took_s = []
    for _ in range(5):
        began_s = time.monotonic()
        for _ in range(10):
            assert ask(nginx.port, "GET", "/healthz").status == 200
        took_s.append(time.monotonic() - began_s)
    assert min(took_s) < 0.5


def test_an_answer_is_a_second_old_at_most(tmp_path, upstream):
    with local_nginx(tmp_path, upstream.address) as nginx:
        with upstream.replying(500):
            time.sleep(1.1)
            assert ask(nginx.port, "GET", "/healthz").status == 500
        time.sleep(1.1)
        assert ask(nginx.port, "GET", "/healthz").status == 200


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n"])
def test_a_broken_application_is_not_asked_more_often(tmp_path, answer):
    with (
        broken_application(answer) as (address, asked),
        local_nginx(tmp_path, address) as nginx,
    ):
        statuses = flood(nginx.port, "/healthz")
    assert set(statuses) == {503}
    assert len(asked) <= SECONDS_TOUCHED


def test_an_application_that_hangs_is_called_unavailable_before_a_balancer_gives_up(tmp_path):
    with (
        broken_application(None) as (address, asked),
        local_nginx(tmp_path, address) as nginx,
    ):
        began_s = time.monotonic()
        answer = ask(nginx.port, "GET", "/healthz")
        assert time.monotonic() - began_s < 4
        assert_problem(answer, 503, "unavailable")
        statuses = flood(nginx.port, "/healthz", clients=20)
    assert set(statuses) == {503}
    assert len(asked) <= 2 * SECONDS_TOUCHED


def test_a_flood_of_failures_does_not_fill_the_log(tmp_path):
    with local_nginx(tmp_path, f"{HOST}:{free_port()}") as nginx:
        failures = len(flood(nginx.port, "/healthz"))
    lines = (tmp_path / "access.log").read_text().count("\n")
    assert 1 <= lines < failures / 20


def test_an_application_that_is_not_there_is_unavailable(tmp_path):
    with local_nginx(tmp_path, f"{HOST}:{free_port()}") as nginx:
        for _ in range(3):
            assert_problem(ask(nginx.port, "GET", "/healthz"), 503, "unavailable")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "a" * 64},
        {"Cookie": "tickets=forged", "Range": "bytes=0-1", "If_None_Match": "*"},
        {"Authorization": "Basic \xff", "Content_Type": "multipart/form-data; boundary="},
        {f"X_{number}": "x" for number in range(95)},
        {"Content_Length": "5"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_nothing_of_the_first_to_ask_is_in_what_everybody_hears(nginx, upstream, headers):
    time.sleep(1.1)  # What was kept of the test before is over.
    body = b"x" * int(headers.get("Content_Length", 0)) or None
    ask(nginx.port, "GET", "/healthz?a=b", body, **headers)
    received = json.loads(ask(nginx.port, "GET", "/healthz").body)
    assert received["path"] == "/healthz"
    assert received["body_bytes"] == 0
    assert received["headers"].pop("X-Request-Id")
    assert received["headers"] == {"Host": "localhost"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_another_method_does_not_reach_the_application(nginx, upstream, method):
    upstream.received.clear()
    answer = ask(nginx.port, method, "/healthz", b"x")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"
    assert upstream.received == []


def test_head_is_get_without_the_body(nginx):
    answer = ask(nginx.port, "HEAD", "/healthz")
    assert (answer.status, answer.body) == (200, b"")


def test_a_balancer_that_knows_no_name_hears_the_same(root, upstream):
    port = free_port()
    config = server_config(
        root,
        trusted=["127.0.0.0/8"],
        upstreams=[upstream.address],
        http_listen=[f"{HOST}:{port}"],
    )
    with running_nginx(config, root, port):
        upstream.received.clear()
        statuses = flood(port, "/healthz", Host="10.0.0.7")
        assert set(statuses) == {200}
        assert len(upstream.received) <= SECONDS_TOUCHED


def test_a_balancer_that_knows_no_name_hears_of_an_application_that_is_away(root):
    port = free_port()
    config = server_config(root, trusted=["127.0.0.0/8"], http_listen=[f"{HOST}:{port}"])
    with running_nginx(config, root, port):
        assert_problem(ask(port, "GET", "/healthz", Host="10.0.0.7"), 503, "unavailable")
