"""gunicorn's worker of our own, by what it does to requests, connections and applications.

A real gunicorn with an application of a few lines, asked over raw sockets. The limits of time are
short here. What the reader alone decides is in test_request_reader.py.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import gevent
import gevent.socket
import pytest

from ops.nginx import render
from tests.support.http_servers import (
    CHUNKED,
    CONNECTIONS,
    GET,
    HEAD,
    KEEPALIVE_S,
    PATIENCE_S,
    TIMEOUT_S,
    Server,
    answers_to,
    ask,
    serving,
    until_closed,
)
from tests.support.http_worker_app import HUGE_BYTES
from tests.support.raw_http import _answers, request_bytes
from tests.support.waiting import eventually
from web.http_server import request_reader, worker


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("web"), f"keepalive = {KEEPALIVE_S}") as server:
        yield server


@pytest.fixture
def stopping(tmp_path) -> Iterator[Server]:
    """For a test that stops it. It would wait for longer than any test."""
    settings = "keepalive = 60; worker.MESSAGE_TIMEOUT_S = 60; worker.CLOSING_S = 0"
    with serving(tmp_path, settings) as server:
        yield server


# ---------------------------------------------------------------- what the application sees


def test_the_server_tells_of_both_ends_of_a_connection(server):
    told = ask(server, "/echo", "Host: other")  # a second Host
    assert told.status == 400
    told = ask(server, "/echo").json
    assert (told["SERVER_NAME"], told["SERVER_PORT"]) == (
        server.address[0],
        str(server.address[1]),
    )
    assert told["REMOTE_ADDR"] == "127.0.0.1"
    with server.connect_unix() as client:
        client.sendall(HEAD + b"Connection: close\r\n\r\n")
        (answer,) = _answers(until_closed(client))
    assert answer.json["REMOTE_ADDR"] == ""
    assert answer.json["SERVER_NAME"] == server.socket_path


def test_the_length_of_a_chunked_body_is_told(server):
    sent = CHUNKED + b"3\r\nabc\r\n0\r\n\r\n"
    answer = ask(
        server, "/echo", "Transfer-Encoding: chunked", method="POST", body=sent[len(CHUNKED) :]
    )
    assert (answer.json["CONTENT_LENGTH"], answer.json["body"]) == ("3", "abc")
    assert "HTTP_TRANSFER_ENCODING" not in answer.json


# ---------------------------------------------------------------- what is refused


def test_without_a_body_another_protocol_is_not_answered_and_the_connection_ends(server):
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    (answer,) = answers_to(server, HEAD + upgrade + GET)
    assert (answer.status, answer.headers["Connection"]) == (200, "close")


def test_too_many_requests_at_once_end_the_connection_after_some_answers(server):
    answers = answers_to(server, GET * (request_reader.MAX_AT_ONCE + 1))
    assert [answer.status for answer in answers] == [200] * request_reader.MAX_AT_ONCE + [400]
    assert answers[-1].headers["Connection"] == "close"


# ---------------------------------------------------------------- several requests


def test_requests_sent_at_once_are_answered_in_their_order(server):
    sent = b"".join(request_bytes("GET", f"/echo?{n}") for n in range(40))
    last = request_bytes("GET", "/echo?last", "Connection: close")
    answers = answers_to(server, sent + last)
    expected = [*map(str, range(40)), "last"]
    assert [answer.json["QUERY_STRING"] for answer in answers] == expected


def test_what_comes_after_the_last_request_is_not_heard(server):
    closing = HEAD + b"Connection: close\r\n\r\n"
    (answer,) = answers_to(server, closing + GET)
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize(
    "broken",
    [b"nonsense\r\n\r\n", HEAD + b"Content-Length: " + b"0" * 5000 + b"3\r\n\r\nabc"],
    ids=["nonsense", "long length"],
)
def test_requests_before_a_broken_one_are_answered_and_those_after_it_are_not(server, broken):
    first, refusal = answers_to(server, GET + broken + GET)
    assert first.status == 200
    assert (refusal.status, refusal.json["code"]) == (400, "bad_request")
    assert refusal.headers["Content-Type"] == "application/problem+json"
    assert refusal.headers["Connection"] == "close"


def test_an_old_client_keeps_its_connection_only_when_it_asks_to(server):
    keep = b"GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    first, second = answers_to(server, keep + b"GET /echo HTTP/1.0\r\n\r\n" + GET)
    assert first.headers["Connection"] == "keep-alive"
    assert second.headers["Connection"] == "close"


def test_who_always_has_the_next_request_ready_does_not_keep_the_worker(server):
    """All else would wait, and the master kill the worker at last."""
    request = HEAD + b"X: " + b"x" * 1000 + b"\r\n\r\n"
    code = (
        "import socket, sys, threading\n"
        f"client = socket.create_connection({server.address})\n"
        "def read():\n"
        "    while client.recv(1 << 20): pass\n"
        "threading.Thread(target=read, daemon=True).start()\n"
        "print('sending', flush=True)\n"
        f"while True: client.sendall({request!r} * 99)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as flood:
        try:
            flood.stdout.readline()
            time.sleep(0.2)
            assert ask(server, "/echo").status == 200
            assert flood.poll() is None, "the flood ended by itself"
        finally:
            flood.kill()


# ---------------------------------------------------------------- bodies


def test_a_client_that_waits_is_invited_to_send_its_body(server):
    with server.connect() as client:
        client.sendall(request_bytes("GET", "/echo"))
        client.sendall(request_bytes("POST", "/echo", "Expect: 100-Continue", "Content-Length: 3"))
        received = b""
        while not received.endswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            piece = client.recv(65_536)
            assert piece, "not invited"
            received += piece
        assert received.startswith(b"HTTP/1.1 200"), "answered out of order"
        client.sendall(b"ab")
        time.sleep(0.1)
        client.sendall(b"c" + HEAD + b"Connection: close\r\n\r\n")
        received = until_closed(client)
    assert b"100 Continue" not in received, "invited twice"
    answers = list(_answers(received))
    assert [answer.json["body"] for answer in answers] == ["abc", ""]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_who_need_not_wait_is_not_invited(server, version):
    request = f"POST /echo HTTP/{version}\r\nHost: a\r\nExpect: 100-continue\r\n"
    head = f"{request}Connection: close\r\nContent-Length: 3\r\n\r\n".encode()
    with server.connect() as client:
        if version == "1.1":
            client.sendall(head + b"abc")
        else:  # it does not know what an invitation is
            client.sendall(head)
            time.sleep(0.1)
            client.sendall(b"abc")
        assert until_closed(client).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("kind", ["announced", "announced and waiting", "chunked"])
def test_a_client_that_sends_megabytes_before_it_listens_learns_why_they_are_refused(server, kind):
    length = 8 * 1024 * 1024
    if kind == "chunked":
        head = ("Transfer-Encoding: chunked",)
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (length, b"x" * length)
    else:
        head = (f"Content-Length: {length}", *["Expect: 100-continue"] * (kind != "announced"))
        body = b"x" * length
    with server.connect() as client:
        client.sendall(request_bytes("POST", "/count_bytes", *head, body=body))
        (answer,) = _answers(until_closed(client))
    assert answer.status == 413
    assert int(answer.body) > request_reader.MAX_BODY_BYTES
    assert answer.headers["Connection"] == "close"


def test_a_request_inside_a_refused_body_is_not_heard(server):
    body = GET * 10_000
    head = request_bytes("POST", "/count_bytes", f"Content-Length: {len(body)}")
    (answer,) = answers_to(server, head + body)
    assert answer.status == 413


# ---------------------------------------------------------------- slow clients and lost ones


def trickle(client: socket.socket, pieces: Iterator[bytes]) -> tuple[float, bytes]:
    """Send one every 50 ms. Seconds until the server ended it, and what it said."""
    began_s = time.monotonic()
    client.settimeout(0.05)
    received = b""
    for piece in pieces:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(piece)
        with contextlib.suppress(TimeoutError):
            received += (part := client.recv(65_536))
            if not part or b"\r\n\r\n" in received:
                return time.monotonic() - began_s, received
    raise AssertionError("it may go on")


@pytest.mark.parametrize(
    "begin",
    [b"GET /", HEAD + b"X: ", HEAD + b"Content-Length: 9000\r\n\r\n", CHUNKED],
    ids=["line", "header", "body", "chunks"],
)
def test_a_request_that_trickles_is_given_up(server, begin):
    with server.connect() as client:
        piece = b"1\r\na\r\n" if begin is CHUNKED else b"A"
        took_s, received = trickle(client, iter([begin, *[piece] * 100]))
    assert took_s >= TIMEOUT_S * 0.9
    assert received.startswith(b"HTTP/1.1 408 ")


def test_each_request_has_its_time_from_its_own_beginning(server):
    """One that ends with the beginning of the next, again and again, leaves no moment between."""
    with server.connect() as client:
        client.sendall(GET[:10])
        deadline_s = time.monotonic() + 1.5 * TIMEOUT_S
        while time.monotonic() < deadline_s:
            time.sleep(TIMEOUT_S / 5)
            client.sendall(GET[10:] + GET[:10])
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", GET])
def test_an_idle_connection_ends_without_a_word(server, sent):
    with server.connect() as client:
        if sent:
            time.sleep(KEEPALIVE_S / 2)
            client.sendall(sent)
            client.recv(65_536)
        began_s = time.monotonic()
        assert until_closed(client) == b""
        assert time.monotonic() - began_s >= KEEPALIVE_S * 0.9


def test_empty_lines_do_not_keep_a_connection(server):
    with server.connect() as client:
        _, received = trickle(client, iter([b"\r\n"] * 100))
    assert received == b""


def test_a_client_that_reads_nothing_is_given_up(server):
    with server.connect() as client:
        client.sendall(request_bytes("GET", "/huge"))
        time.sleep(1.5 * TIMEOUT_S)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(1 << 20):
                received += len(part)
    assert 0 < received < HUGE_BYTES


def test_a_request_that_breaks_off_is_not_carried_out(server):
    with server.connect() as client:
        client.sendall(request_bytes("POST", "/echo", "Content-Length: 4", body=b"abc"))
        client.shutdown(socket.SHUT_WR)
        (answer,) = _answers(until_closed(client))
    assert (answer.status, answer.json["code"]) == (400, "bad_request")


def test_a_client_that_has_said_all_may_stop_sending(server):
    with server.connect() as client:
        client.sendall(GET)
        client.shutdown(socket.SHUT_WR)
        (answer,) = _answers(until_closed(client))
    assert answer.status == 200


def test_clients_that_go_away_leave_nothing_in_the_log(server):
    before = server.log
    for sent in (b"", b"GET", GET, GET * 50, request_bytes("GET", "/huge"), b"nonsense"):
        for reset in (False, True):
            with server.connect() as client:
                client.sendall(sent)
                if reset:
                    linger = (1).to_bytes(4, sys.byteorder) + bytes(4)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    time.sleep(TIMEOUT_S + KEEPALIVE_S)
    assert ask(server, "/echo").status == 200
    assert server.log == before


def test_who_comes_when_all_connections_are_taken_waits_for_one(server):
    with contextlib.ExitStack() as stack:
        taken = []
        for _ in range(CONNECTIONS):
            taken.append(stack.enter_context(server.connect()))
            taken[-1].sendall(b"GET")  # silent ones would make room
            time.sleep(0.02)  # until that is read
        waiting = stack.enter_context(server.connect())
        waiting.sendall(GET)
        waiting.settimeout(0.2)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        taken.pop().close()
        waiting.settimeout(PATIENCE_S)
        assert waiting.recv(65_536).startswith(b"HTTP/1.1 200 ")


HELD = 3
BOUNDED = f"""
from web.http_server import waits
waits.MAX_HELD = {HELD}
worker.RESPONSE_TIMEOUT_S = worker.DRAIN_TIMEOUT_S = {PATIENCE_S}

def post_worker_init(worker):
    worker.client_of = lambda environ, has_whole_head: environ["REMOTE_ADDR"]
"""


@pytest.mark.stack
def test_a_client_that_does_not_read_has_a_bounded_number_of_answers_under_way(tmp_path):
    with serving(tmp_path, BOUNDED) as server, contextlib.ExitStack() as stack:
        readers = [stack.enter_context(server.connect()) for _ in range(HELD + 1)]
        for client in readers:
            client.sendall(request_bytes("GET", "/huge"))
            client.recv(1)  # it is on its way
        assert len(until_closed(readers.pop())) < HUGE_BYTES
        # Who reads at once is not waited for.
        assert ask(server, "/echo").status == 200
        # Who goes on reading gets all of it, and makes room.
        patient, left_bytes = readers.pop(), HUGE_BYTES
        while left_bytes > 0:
            left_bytes -= len(patient.recv(65_536))
        with server.connect() as again:
            again.sendall(request_bytes("GET", "/huge", "Connection: close"))
            assert len(until_closed(again)) > HUGE_BYTES


# ---------------------------------------------------------------- applications


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("fail", "RuntimeError: on purpose"),
        ("leave", "SystemExit: on purpose"),
        ("time_out", "gevent.timeout.Timeout"),
        ("begin_twice", "start_response was called twice"),
        ("never_begin", "start_response was not called"),
        ("split_the_head", "a line break in a header"),
        ("lie_about_length", "21 bytes, and Content-Length 2"),
        ("say_chunked", "transfer-encoding"),
        ("chunks?broken", "RuntimeError: in the middle"),
    ],
)
def test_a_mistake_of_the_application_is_logged_and_the_client_told_only_that(server, path, logged):
    before = len(server.log)
    lines = ("Content-Length: 3", "X-Request-Id: the-mistake")
    first = request_bytes("POST", f"/{path}", *lines, body=b"abc")
    (answer,) = answers_to(server, first + GET)
    assert answer.status == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Connection"] == "close"
    assert answer.json["code"] == "internal_error"
    assert logged not in answer.body.decode()
    log = server.log[before:]
    assert "POST, request the-mistake\n" in log
    # It may be a receipt's.
    assert f"/{path}" not in log
    assert "Traceback" in log
    assert logged in log


def test_an_application_may_answer_in_all_ways_of_its_protocol(server):
    bodies = {"begin_late": b"late", "write": b"written,returned", "chunks": b"one,two"}
    for path, body in bodies.items():
        answer = ask(server, f"/{path}")
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["Content-Length"] == str(len(body))


def test_an_application_may_change_its_mind_about_an_answer_that_failed(server):
    answer = ask(server, "/change_its_mind")
    assert (answer.status, answer.body) == (503, b"later")
    assert "X-First" not in answer.headers


def test_what_an_application_returns_is_closed_whatever_happens(server):
    before = ask(server, "/which_closed").body.decode().split()
    ask(server, "/chunks")
    ask(server, "/chunks?broken")
    after = ask(server, "/which_closed").body.decode().split()
    assert after == [*before, "whole", "broken"]


def test_an_answer_that_has_no_body_is_sent_without_one(server):
    paths = ["HEAD /echo", "GET /no_content?204", "GET /no_content?304"]
    sent = b"".join(request_bytes(*path.split()) for path in paths)
    with server.connect() as client:
        client.sendall(sent + HEAD + b"Connection: close\r\n\r\n")
        heads = until_closed(client).split(b"\r\n\r\n")
    assert [head.split()[1] for head in heads[:4]] == [b"200", b"204", b"304", b"200"]
    assert all(b"Content-Length" not in head for head in heads[:3])
    assert re.search(rb"\r\nDate: \w\w\w, \d\d \w\w\w \d{4} [\d:]{8} GMT\r\n", heads[3])


# ---------------------------------------------------------------- a stop


def stop(server: Server) -> None:
    os.kill(server.pid, signal.SIGTERM)
    eventually(lambda: "Handling signal: term" in server.log, "the signal is heard")


def test_a_stop_answers_what_runs_and_waits_for_nobody_idle(stopping):
    with contextlib.ExitStack() as stack:
        ways = stopping.connect, stopping.connect_unix
        running, between, fresh, late = (
            [stack.enter_context(connect()) for connect in ways] for _ in range(4)
        )
        for client in between + late:
            client.sendall(GET)
            client.recv(65_536)
        for client in running:
            client.sendall(request_bytes("GET", "/slow") + HEAD[:10])
        for client in late:
            client.sendall(GET[:10])
        time.sleep(0.1)
        stop(stopping)
        for client in between + fresh:
            assert until_closed(client) == b""
        for client in late:
            client.sendall(GET[10:])
        for client in running + late:
            with client:
                (answer,) = _answers(until_closed(client))
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert stopping._wait(PATIENCE_S / 2), "it waits for somebody"
    assert stopping.exit_code == 0
    assert "Traceback" not in stopping.log


def test_who_was_connected_at_the_moment_of_a_stop_is_answered():
    """nginx may have sent a payment by then, on what the worker has not seen yet."""
    server = worker.Server(("127.0.0.1", 0), lambda client, _: client.sendall(client.recv(100)))
    server.start()
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(server.address, TIMEOUT_S))
            for _ in range(3)
        ]
        for client in clients:
            client.sendall(b"a payment")
        server.close()
        gevent.wait(timeout=PATIENCE_S)
        for client in clients:
            assert client.recv(100) == b"a payment"


@pytest.mark.stack
def test_an_idle_connection_is_not_closed_before_nginx_has_closed_it(tmp_path):
    """Otherwise a payment that nginx sends at that moment is lost."""
    with serving(tmp_path, "keepalive = 60") as server, server.connect() as idle:
        idle.sendall(GET)
        assert idle.recv(65_536)
        stop(server)
        idle.settimeout(render.UPSTREAM_KEEPALIVE_S)
        with pytest.raises(TimeoutError):
            idle.recv(1)
        idle.settimeout(TIMEOUT_S)
        idle.sendall(GET)
        (answer,) = _answers(until_closed(idle))
        assert (answer.status, answer.headers["Connection"]) == (200, "close")


def test_who_connects_at_the_moment_of_a_stop_is_answered_or_not_let_in(stopping):
    worker = int(re.search(r"Booting worker with pid: (\d+)", stopping.log)[1])
    os.kill(worker, signal.SIGTERM)  # The worker alone: the master would close its port at once.
    for _ in range(20):
        with stopping.connect() as client:
            client.sendall(GET)
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
        time.sleep(0.02)


def test_what_came_before_an_idle_connection_is_ended_is_still_read():
    here, there = gevent.socket.socketpair()
    with here, there:
        waiting = gevent.spawn(here.recv, 100)
        gevent.sleep(0)
        there.sendall(b"just in time")
        worker._read_no_more(here)
        assert waiting.get(timeout=PATIENCE_S) == b"just in time"
        assert here.recv(100) == b""
