"""Several hosts behind nginx, one of which is away in one of the ways in which hosts are."""

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import pytest

from ops.nginx import render
from ops.processes import free_port
from ops.servers import HOST
from tests.support.behind_nginx import (
    NO_ENVELOPE,
    Upstream,
    ask,
    assert_problem,
    local_nginx,
)
from tests.support.waiting import eventually

MANY = 40

HOLD = "/api/events/e/seats/stalls-A-{number}/hold"
PAY = "/api/events/e/holds/h{number}/pay"
PAGE = "/events/{number}"
MAP = "/api/events/e{number}/seats"

CONNECT_TIMEOUT_S = 1
"""proxy_connect_timeout"""
A_MOMENT_S = 0.9
"""For MANY requests on a busy machine; less than a further connect would take."""


class Listener:
    """A host whose kernel listens, at ``address``. It counts the connections in which it was sent
    something."""

    def __init__(self, backlog: int = 100):
        self._socket = socket.create_server((HOST, 0), backlog=backlog)
        self.port = self._socket.getsockname()[1]
        self.address = f"{HOST}:{self.port}"
        self.received: list[bytes] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # Only this wakes up a thread that accepts.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._quietly, args=(connection,), daemon=True).start()

    def _quietly(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self.meet(connection)

    def meet(self, connection: socket.socket) -> None:
        raise NotImplementedError


class Swallowing(Listener):
    """A host that does not answer connects: its accept queue is full, and Linux drops each further
    SYN, as a host without network or a firewall does."""

    def __init__(self) -> None:
        super().__init__(backlog=0)
        self._in_the_queue = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.suppress(TimeoutError):
            while True:
                queued = socket.create_connection((HOST, self.port), timeout=0.2)
                self._in_the_queue.enter_context(queued)
        return self

    def __exit__(self, *_: object) -> None:
        self._in_the_queue.close()
        self._socket.close()


class Resetting(Listener):
    """Accepts and resets at once, as a balancer does whose host has gone."""

    def meet(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


class Dying(Listener):
    """Reads the request and hangs up, as a process does that is killed in the middle of it."""

    answered = b""

    def meet(self, connection: socket.socket) -> None:
        self.received.append(connection.recv(65_536))
        connection.sendall(self.answered)
        connection.close()


class DyingInItsHeader(Dying):
    answered = b"HTTP/1.1 201 Created\r\nContent-"


class Hanging(Listener):
    """Accepts, reads and answers nothing, like a process that is stopped."""

    def meet(self, connection: socket.socket) -> None:
        self.received.append(connection.recv(65_536))
        while connection.recv(65_536):
            pass


class Refusing(Listener):
    """Nothing listens there."""

    def __init__(self) -> None:
        self.received = []
        self.port = free_port()
        self.address = f"{HOST}:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def well() -> Iterator[Upstream]:
    with Upstream() as host:
        yield host


def ask_many(port: int, method: str, path: str) -> list[http.client.HTTPResponse]:
    """All requests at once, each with its own path."""
    paths = [path.format(number=number) for number in range(MANY)]
    with ThreadPoolExecutor(MANY) as threads:
        return list(threads.map(lambda one: ask(port, method, one, b"{}"), paths))


def requests_heard(*hosts: Upstream | Listener) -> Counter[str]:
    """How often each request was received, all hosts together."""
    paths: Counter[str] = Counter()
    for host in hosts:
        for received in host.received:
            paths[
                received[1] if isinstance(received, tuple) else received.decode().split(" ")[1]
            ] += 1
    return paths


@pytest.mark.parametrize("away", [Swallowing, Refusing])
def test_a_host_that_cannot_be_reached_costs_nobody_anything(tmp_path, well, away):
    with (
        away() as gone,
        local_nginx(tmp_path, gone.address, well.address, rate=NO_ENVELOPE) as nginx,
    ):
        for method, path in (("POST", PAY), ("POST", HOLD), ("GET", PAGE)):
            answers = ask_many(nginx.port, method, path)
            assert [answer.status for answer in answers] == [200] * MANY
        received = requests_heard(well, gone)
        assert (len(received), max(received.values())) == (3 * MANY, 1)


def test_only_now_and_then_a_buyer_waits_for_a_host_that_does_not_answer(tmp_path, well):
    def wait_s(number: int) -> float:
        began = time.monotonic()
        assert ask(nginx.port, "POST", PAY.format(number=number), b"{}").status == 200
        return time.monotonic() - began

    with (
        Swallowing() as gone,
        local_nginx(tmp_path, gone.address, well.address, rate=NO_ENVELOPE) as nginx,
    ):
        ask_many(nginx.port, "GET", PAGE)
        waits = [wait_s(number) for number in range(MANY)]
        assert len([wait for wait in waits if wait > CONNECT_TIMEOUT_S / 2]) <= 2, waits


@pytest.mark.parametrize("away", [Resetting, Dying, DyingInItsHeader])
def test_a_call_that_a_host_took_with_it_is_made_again_at_another(tmp_path, well, away):
    with (
        away() as gone,
        local_nginx(tmp_path, gone.address, well.address, rate=NO_ENVELOPE) as nginx,
    ):
        answers = ask_many(nginx.port, "GET", PAGE)
        assert {answer.status for answer in answers} == {200}


@pytest.mark.parametrize("away", [Resetting, Dying, DyingInItsHeader])
@pytest.mark.parametrize(
    ("path", "status", "code"), [(HOLD, 503, "unavailable"), (PAY, 504, "outcome_unknown")]
)
def test_nothing_that_was_posted_is_sent_twice(tmp_path, well, away, path, status, code):
    with (
        away() as gone,
        local_nginx(tmp_path, gone.address, well.address, rate=NO_ENVELOPE) as nginx,
    ):
        answers = ask_many(nginx.port, "POST", path)
        lost = [answer for answer in answers if answer.status != 200]
        assert lost
        for answer in lost:
            assert_problem(answer, status, code)
            assert answer.headers["Retry-After"] == "1"
        assert max(requests_heard(well, gone).values()) == 1
        # Found out, the host is left out.
        assert {answer.status for answer in ask_many(nginx.port, "POST", path)} == {200}


def test_a_host_that_hangs_is_found_out_by_the_seat_maps_of_open_pages(tmp_path, well):
    with (
        Hanging() as gone,
        local_nginx(tmp_path, gone.address, well.address, rate=NO_ENVELOPE) as nginx,
    ):
        # Each map is another event's: nginx asks for all of them.
        assert {answer.status for answer in ask_many(nginx.port, "GET", MAP)} == {200}
        answers = ask_many(nginx.port, "POST", HOLD)
        assert [answer.status for answer in answers] == [200] * MANY
        assert not [received for received in gone.received if received.startswith(b"POST")]


def test_a_refusal_is_no_reason_to_leave_a_host_out(tmp_path, well):
    with Upstream() as other, local_nginx(tmp_path, well.address, other.address) as nginx:
        for _ in range(10):
            assert ask(nginx.port, "GET", "/refused/503").status == 503
        assert len(well.received) == len(other.received) == 5


@pytest.mark.parametrize("away", [Swallowing, Refusing])
def test_when_all_hosts_are_away_the_buyer_hears_it_once_and_soon(tmp_path, away):
    with (
        away() as one,
        away() as other,
        local_nginx(tmp_path, one.address, other.address, rate=NO_ENVELOPE) as nginx,
    ):
        began = time.monotonic()
        for answer in ask_many(nginx.port, "POST", PAY):
            assert_problem(answer, 503, "unavailable")
            assert answer.headers["Retry-After"] == "1"
        took_s = time.monotonic() - began
        assert took_s < (2 * CONNECT_TIMEOUT_S if away is Swallowing else 0) + A_MOMENT_S


def test_a_host_that_is_back_is_asked_at_once_when_there_is_no_other(tmp_path):
    with (
        Refusing() as one,
        Refusing() as other,
        local_nginx(tmp_path, one.address, other.address, rate=NO_ENVELOPE) as nginx,
    ):
        assert {answer.status for answer in ask_many(nginx.port, "GET", PAGE)} == {503}
        with Upstream(other.port):
            assert {answer.status for answer in ask_many(nginx.port, "POST", PAY)} == {200}


def test_a_host_that_is_back_gets_its_share_again(tmp_path, well, monkeypatch):
    monkeypatch.setattr(render, "UPSTREAM_FAIL_TIMEOUT_S", 1)
    with (
        Refusing() as gone,
        local_nginx(tmp_path, gone.address, well.address, rate=NO_ENVELOPE) as nginx,
    ):
        assert {answer.status for answer in ask_many(nginx.port, "GET", PAGE)} == {200}
        with Upstream(gone.port) as back:

            def has_its_share() -> bool:
                well.received, back.received = [], []
                ask_many(nginx.port, "GET", PAGE)
                return len(back.received) == len(well.received)

            eventually(has_its_share, "half of the requests")
