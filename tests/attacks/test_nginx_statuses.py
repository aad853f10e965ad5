"""Every status that nginx can answer by itself has our format, whatever causes it."""

import re
import shutil
import socket
from pathlib import Path

import pytest

from ops.nginx.problems import NEVER_HERE, PROBLEMS, UPSTREAM_FAILURE_STATUSES
from ops.servers import HOST
from tests.support.behind_nginx import ask, assert_problem, local_nginx
from tests.support.raw_http import exchange

BROWSER = {"Accept": "text/html,*/*"}
FILE = "/static/style.css"
DEFINITION = "/api/events/e/versions/0123456789abcdef"
NEVER = '"no such version"'
LONG_AGO = "Thu, 01 Jan 1970 00:00:01 GMT"

PRIVATE_STATUSES = {494, 495, 496, 497}
"""Those that nginx's own pages call 400."""


def test_no_page_of_nginx_is_left_that_it_could_show():
    """Its pages are in the program that is installed here."""
    program = Path(shutil.which("nginx") or "/usr/sbin/nginx").read_bytes()
    titles = {int(status) for status in re.findall(rb"<title>(\d{3}) ", program)}
    assert {404, 412, 502} <= titles
    ours = {status for problem in PROBLEMS for status in problem.nginx_statuses}
    assert titles | PRIVATE_STATUSES <= ours | set(UPSTREAM_FAILURE_STATUSES) | set(NEVER_HERE)
    assert not ours & set(NEVER_HERE)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (FILE, {"If_Match": NEVER}),
        (FILE, {"If_Unmodified_Since": LONG_AGO}),
        (DEFINITION, {"If_Match": NEVER}),
        ("/api/events/e/seats", {"If_Match": NEVER}),
        ("/healthz", {"If_Match": NEVER}),
        ("/healthz", {"If_Unmodified_Since": LONG_AGO}),
    ],
)
def test_a_condition_that_does_not_hold_is_a_problem_and_for_people_a_page(nginx, path, headers):
    kept = {"Cache_Control": "max-age=1"} | headers
    answer = ask(nginx.port, "GET", path, **kept)
    assert_problem(answer, 412, "precondition_failed")
    assert answer.headers["ETag"] is None
    assert len(answer.headers.get_all("X-Request-Id")) == 1
    answer = ask(nginx.port, "GET", path, **kept, **BROWSER)
    if path.startswith("/api/"):
        assert_problem(answer, 412, "precondition_failed")
    else:
        assert answer.status == 412
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert b"<title>We could not read that &middot; TicketS</title>" in answer.body


@pytest.mark.parametrize("header", ["If_Match", "If_Unmodified_Since", "Range"])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("POST", "/api/events/e/holds/h/extend"), ("DELETE", "/x")]
)
def test_what_the_application_did_is_not_called_undone(nginx, method, path, header):
    """nginx checks the condition too, but after the application has acted."""
    value = {"If_Match": NEVER, "If_Unmodified_Since": LONG_AGO, "Range": "bytes=9999999-"}[header]
    assert ask(nginx.port, method, path, **{header: value}).status == 200


@pytest.mark.parametrize(
    "parts", ["bytes=99999999-", "bytes=5-1", "bytes=0-0", "bytes=" + ",".join(["0-"] * 1000)]
)
@pytest.mark.parametrize("path", [FILE, DEFINITION, "/healthz"])
def test_who_asks_for_a_part_gets_all_of_it(nginx, path, parts):
    assert ask(nginx.port, "GET", path).status == 200
    answer = ask(nginx.port, "GET", path, Range=parts)
    assert (answer.status, answer.headers["Accept-Ranges"]) == (200, None)
    assert len(answer.body) == int(answer.headers["Content-Length"])


def test_an_application_that_takes_no_more_connections_is_unavailable(tmp_path):
    with socket.create_server((HOST, 0), backlog=0) as full:
        address = full.getsockname()
        # What the kernel queues all the same; further connections wait until nginx gives up: 504.
        waiting = [socket.socket() for _ in range(3)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(address)
        with local_nginx(tmp_path, f"{HOST}:{address[1]}") as nginx:
            assert_problem(ask(nginx.port, "POST", "/api/events/e/holds/h/pay"), 503, "unavailable")
        for connection in waiting:
            connection.close()


LONG = "x" * 20_000
MALFORMED = [
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /../.. HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.2\r\nHost: a\r\nHost: a\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    f"GET /{LONG} HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    f"GET / HTTP/1.1\r\nHost: a\r\nCookie: {LONG}\r\n\r\n".encode(),
    f"GET / HTTP/1.1\r\nHost: {LONG}\r\n\r\n".encode(),
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n",
]


@pytest.mark.parametrize("sent", MALFORMED, ids=lambda sent: repr(sent[:60]))
def test_what_cannot_be_read_is_a_problem(nginx, sent):
    [answer] = exchange(nginx.url, sent)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"]
    assert 400 <= answer.status == answer.json["status"] < 600
    assert answer.json["code"]
    assert b"nginx" not in answer.body
