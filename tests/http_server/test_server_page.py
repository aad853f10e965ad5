"""docs/server.md against real servers: what ours accepts and refuses, and gunicorn's own worker
class beside it."""

import errno
import re
import runpy
import socket
import time
from collections.abc import Iterator

import pytest

from ops.servers import REPOSITORY
from tests.support.application import REQUIRED
from tests.support.http_client import PROBLEM_TYPE
from tests.support.http_servers import CHUNKED, GET, HEAD, KEEPALIVE_S, TIMEOUT_S, Server, serving
from tests.support.raw_http import Answer, _answers
from web.http_server import request_reader, waits, worker

PAGE = (REPOSITORY / "docs/server.md").read_text()

POST = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
KIB = 1024

SENT = {
    # The request line.
    "a method that nobody has registered": GET.replace(b"GET", b"BREW"),
    "a method in lower case": GET.replace(b"GET", b"get"),
    "`GET /echo` and nothing more (HTTP/0.9)": b"GET /echo\r\n\r\n",
    "`HTTP/1.0`": b"GET /echo HTTP/1.0\r\n\r\n",
    "`HTTP/1.2`": GET.replace(b"1.1", b"1.2"),
    "`HTTP/2.0`, without TLS": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a request target of 8 KiB": GET.replace(b"/echo", b"/echo?" + b"a" * 8 * KIB),
    "a request target of more than 16 KiB": GET.replace(b"/echo", b"/echo?" + b"a" * 16 * KIB),
    "a target that is a whole URL": GET.replace(b"/echo", b"http://b/echo"),
    "a whole URL with a user name": GET.replace(b"/echo", b"http://u@b/echo"),
    "a target without a slash": GET.replace(b"/echo", b"echo"),
    "`CONNECT`": b"CONNECT b:80 HTTP/1.1\r\nHost: b:80\r\n\r\n",
    "`OPTIONS *`": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a byte above 127 in the target": GET.replace(b"/echo", b"/echo?\xc3\xa9"),
    "an empty line before the request": b"\r\n" + GET,
    "lines that end with a line feed alone": GET.replace(b"\r\n", b"\n"),
    # The header.
    "no `Host`": b"GET /echo HTTP/1.1\r\n\r\n",
    "two `Host`": HEAD + b"Host: b\r\n\r\n",
    "two `Content-Type`": HEAD + b"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n",
    "white space before a colon": HEAD + b"X : a\r\n\r\n",
    "a folded field (`obs-fold`)": HEAD + b"X: a\r\n b\r\n\r\n",
    "a control character in a value": HEAD + b"X: a\x01\r\n\r\n",
    "a byte that no name may have": HEAD + b"X(: a\r\n\r\n",
    "a name with an underscore": HEAD + b"X_Y: a\r\n\r\n",
    "a field of more than 16 KiB": HEAD + b"X: " + b"a" * 16 * KIB + b"\r\n\r\n",
    "101 fields": HEAD + b"X: a\r\n" * 100 + b"\r\n",
    # The body.
    "`Content-Length` twice, the same": POST + b"Content-Length: 1\r\n" * 2 + b"\r\na",
    "`Content-Length` twice, different": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
    "`Content-Length: +1`": POST + b"Content-Length: +1\r\n\r\na",
    "`Content-Length` with `Transfer-Encoding`": POST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "`Transfer-Encoding: chunked`": CHUNKED + b"1\r\na\r\n0\r\n\r\n",
    "`Transfer-Encoding: gzip, chunked`": POST
    + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "`Transfer-Encoding` in HTTP/1.0": b"POST /echo HTTP/1.0\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk extension": CHUNKED + b"1;a=b\r\na\r\n0\r\n\r\n",
    "a chunk size that is no number": CHUNKED + b"0x1\r\na\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
    "a chunk line that ends with a line feed alone": CHUNKED + b"1\na\n0\n\n",
    "a trailer": CHUNKED + b"1\r\na\r\n0\r\nX: a\r\n\r\n",
    # The connection.
    "two requests at once (pipelining)": GET + GET,
    "`Connection: close`, and a second request": HEAD + b"Connection: close\r\n\r\n" + GET,
    "`Upgrade: h2c`, and a second request": HEAD
    + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    + GET,
    "`Upgrade: h2c` with a body": POST
    + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\na",
    "a request that ends in the middle of its body": POST + b"Content-Length: 9\r\n\r\na",
}
"""Each row of the page's table of requests."""


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("ours"), f"keepalive = {KEEPALIVE_S}") as server:
        yield server


@pytest.fixture(scope="module")
def gunicorns(tmp_path_factory) -> Iterator[Server]:
    """Its gevent worker, with the settings of gunicorn.conf.py."""
    settings = f'keepalive = {KEEPALIVE_S}; worker_class = "gevent"; limit_request_line = 8190'
    with serving(tmp_path_factory.mktemp("gunicorns"), settings) as server:
        yield server


def answers_to(server: Server, sent: bytes) -> list[Answer]:
    """A client that says all it has to say and then listens."""
    for tries_left in reversed(range(10)):
        try:
            return list(_answers(_received_for(server, sent)))
        except OSError as error:
            # The server refused it and reset the connection before all was said, and its response
            # is lost with that.
            if error.errno != errno.ENOTCONN or not tries_left:
                raise
    raise AssertionError


def _received_for(server: Server, sent: bytes) -> bytes:
    received = bytearray()
    with server.connect() as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        try:
            while piece := client.recv(65_536):
                received += piece
        except ConnectionResetError:
            pass
    return bytes(received)


def table(*heading: str) -> dict[str, list[str]]:
    """The cells of each row after the first, by the first."""
    head = re.escape(" | ".join(heading))
    found = re.search(rf"^\| {head} \|\n\|[-|]*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    rows = [line.strip("| \n").split(" | ") for line in found[1].splitlines()]
    return {first: rest for first, *rest in rows}


def test_the_table_of_requests_is_what_both_servers_do(ours, gunicorns):
    written = table("sent", "`llhttp`", "`gevent`", "rule")
    measured = {
        name: [said(answers_to(server, sent)) for server in (ours, gunicorns)]
        for name, sent in SENT.items()
    }
    assert {name: cells[:2] for name, cells in written.items()} == measured


def said(answers: list[Answer]) -> str:
    return ", ".join(str(answer.status) for answer in answers) or "nothing"


def test_the_bounds_are_those_of_the_code(monkeypatch):
    for name, value in (REQUIRED | {"ENV_FILE": ""}).items():
        monkeypatch.setenv(name, value)
    conf = runpy.run_path(str(REPOSITORY / "gunicorn.conf.py"))
    field = f"{conf['limit_request_field_size'] // KIB} KiB"
    assert [bound for bound, *_ in table("what", "bound", "beyond it").values()] == [
        field,
        field,
        str(conf["limit_request_fields"]),
        f"{request_reader.MAX_FRAMING_BYTES // KIB} KiB",
        f"{request_reader.MAX_BODY_BYTES // KIB} KiB",
        str(request_reader.MAX_AT_ONCE),
        f"{worker.MESSAGE_TIMEOUT_S:.0f} s",
        f"{worker.RESPONSE_TIMEOUT_S:.0f} s",
        f"{conf['keepalive']} s",
        f"{worker.DRAIN_TIMEOUT_S:.0f} s",
        str(waits.MAX_HELD),
        str(waits.MAX_IDLE),
        str(conf["worker_connections"]),
    ]


# ---------------------------------------------------------------- what differs


def test_what_cannot_be_read_is_a_problem_or_a_page_of_gunicorn(ours, gunicorns):
    for server, kind in ((ours, PROBLEM_TYPE), (gunicorns, "text/html")):
        (answer,) = answers_to(server, SENT["white space before a colon"])
        assert answer.headers["Content-Type"] == kind


def test_the_host_is_that_of_the_whole_url_or_of_the_field(ours, gunicorns):
    for server, host in ((ours, "b"), (gunicorns, "a")):
        (answer,) = answers_to(server, SENT["a target that is a whole URL"])
        assert answer.json["HTTP_HOST"] == host


def test_a_mistake_outside_of_the_application_is_logged_with_the_address_by_gunicorn(
    ours, gunicorns
):
    for server in (ours, gunicorns):
        (answer,) = answers_to(server, GET.replace(b"/echo", b"/fail"))
        assert answer.status == 500
    assert "/fail" not in ours.log
    assert "/fail" in gunicorns.log


def test_gunicorn_waits_for_a_body_without_end_and_we_do_not(ours, gunicorns):
    with ours.connect() as here, gunicorns.connect() as there:
        for client in (here, there):
            client.sendall(POST + b"Content-Length: 9\r\n\r\na")
        assert here.recv(100).startswith(b"HTTP/1.1 408 ")
        time.sleep(2 * max(TIMEOUT_S, KEEPALIVE_S))
        there.settimeout(0.1)
        with pytest.raises(TimeoutError):
            there.recv(1)


def test_a_header_that_does_not_end_is_given_up_by_both(ours, gunicorns):
    with ours.connect() as here, gunicorns.connect() as there:
        for client in (here, there):
            client.sendall(HEAD)
        assert here.recv(100).startswith(b"HTTP/1.1 408 ")
        assert there.recv(100) == b""
