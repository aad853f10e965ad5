"""nginx as it is rendered, over real sockets, before an upstream that echoes what it was sent."""

import contextlib
import http.client
import json
import re
import socket
import time

import pytest

from ops.processes import free_port
from ops.servers import HOST, Nginx
from tests.support.behind_nginx import ask, ask_raw, assert_problem, local_nginx
from tests.support.waiting import eventually
from web.http.edge import KEPT_STATUS

# ---------------------------------------------------------------- what the application hears


@pytest.mark.parametrize(
    ("forwarded_for", "client"),
    [
        (None, "127.0.0.1"),
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 127.0.0.1", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("nobody", "127.0.0.1"),
    ],
)
def test_locally_a_load_generator_on_loopback_names_the_client(nginx, forwarded_for, client):
    headers = {"X_Forwarded_For": forwarded_for} if forwarded_for else {}
    echo = json.loads(ask(nginx.port, "GET", "/echo", **headers).body)
    assert echo["headers"]["X-Forwarded-For"] == client


def test_other_claims_of_proxies_do_not_get_through(nginx):
    claims = {"Forwarded": "for=1.2.3.4", "X_Real_IP": "1.2.3.4", "X_Forwarded_Host": "evil"}
    received = json.loads(ask(nginx.port, "GET", "/echo", **claims).body)["headers"]
    assert not received.keys() & {"Forwarded", "X-Real-IP", "X-Forwarded-Host"}


def test_a_link_keeps_the_port_of_the_address_bar(nginx):
    received = json.loads(ask(nginx.port, "GET", "/echo").body)["headers"]
    assert received["Host"] == f"127.0.0.1:{nginx.port}"


def test_a_harmless_request_id_is_passed_on_and_another_is_replaced(nginx):
    def received(request_id: str) -> str:
        echo = json.loads(ask(nginx.port, "GET", "/echo", X_Request_Id=request_id).body)
        return echo["headers"]["X-Request-Id"]

    assert received("buyer-42.attempt_1") == "buyer-42.attempt_1"
    replaced = [received('"},{"forged":"log line') for _ in range(3)]
    assert all(re.fullmatch(r"[0-9.]+-[0-9]+-[0-9]+", request_id) for request_id in replaced)
    assert len(set(replaced)) == 3


def test_an_idempotency_key_of_10000_characters_reaches_the_application(nginx):
    response = ask(nginx.port, "POST", "/echo", Idempotency_Key="k" * 10_000)
    assert len(json.loads(response.body)["headers"]["Idempotency-Key"]) == 10_000


@pytest.mark.parametrize("status", [400, 402, 404, 405, 409, 413, 422, 429, 500, 503])
def test_refusals_of_the_application_pass_untouched(nginx, status):
    response = ask(nginx.port, "POST", f"/refused/{status}")
    assert response.status == status
    assert json.loads(response.body) == {"code": "of_the_application"}


def test_health_is_visible_and_operators_pages_are_not(nginx):
    assert ask(nginx.port, "GET", "/healthz").status == 200
    for path in ("/metrics", "/readyz", "//metrics", "/x/../readyz", "/metrics/", "/metrics?a=b"):
        assert_problem(ask(nginx.port, "GET", path), 404, "not_found")


# ---------------------------------------------------------------- what nginx refuses by itself


def test_a_body_may_have_64_kib_and_not_more(nginx):
    allowed = ask(nginx.port, "POST", "/echo", b"x" * 65_536)
    assert json.loads(allowed.body)["body_bytes"] == 65_536
    refused = ask(nginx.port, "POST", "/echo", b"x" * 65_537)
    assert_problem(refused, 413, "body_too_large")


def test_a_body_of_unknown_length_may_not_have_more_either(nginx):
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    request = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + 3 * chunk
    status, problem = ask_raw(nginx.port, request)
    assert (status, problem["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "bad_request"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, "bad_request"),
        (b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "uri_too_long"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 20_000 + b"\r\n\r\n",
            431,
            "header_too_large",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\n" + 9 * (b"A: " + b"x" * 9_000 + b"\r\n") + b"\r\n",
            431,
            "header_too_large",
        ),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"),
        (b"GO / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "not_implemented"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: br\r\n\r\n", 501, "not_implemented"),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "http_version_not_supported"),
        (b"GET /.problems/unavailable HTTP/1.1\r\nHost: a\r\n\r\n", 404, "not_found"),
    ],
    ids=lambda value: value[:40].decode() if isinstance(value, bytes) else str(value),
)
def test_what_nginx_refuses_is_a_problem_with_a_code(nginx, request_bytes, status, code):
    answer_status, problem = ask_raw(nginx.port, request_bytes)
    assert (answer_status, problem["status"], problem["code"]) == (status, status, code)


def test_an_application_that_is_not_there_did_nothing(tmp_path):
    paths = ("/", "/api/events/e/seats/s/hold", "/api/events/e/holds/h/pay")
    with local_nginx(tmp_path, f"{HOST}:{free_port()}") as nginx:
        for path in paths:
            response = ask(nginx.port, "POST", path)
            assert_problem(response, 503, "unavailable")
            assert response.headers["Retry-After"] == "1"


def test_a_payment_whose_answer_was_lost_is_not_called_nothing(nginx):
    response = ask(nginx.port, "POST", "/dropped/api/events/e/holds/h/pay", b"{}")
    problem = assert_problem(response, 504, "outcome_unknown")
    assert "not known" in problem["detail"] and "same Idempotency-Key" in problem["detail"]
    assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_another_answer_that_was_lost_is_unavailable(nginx, method):
    assert_problem(ask(nginx.port, method, "/dropped"), 503, "unavailable")


def test_a_client_that_stops_in_the_middle_is_hung_up_on(tmp_path, upstream):
    in_its_header = b"GET /echo HTTP/1.1\r\nHost:"
    in_its_body = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1"
    received_before = len(upstream.received)
    with (
        local_nginx(tmp_path, upstream.address, client_timeout_s=1) as nginx,
        contextlib.ExitStack() as connections,
    ):
        began = time.monotonic()
        waiting = []
        for sent in (in_its_header, in_its_body):
            connection = socket.create_connection((HOST, nginx.port), timeout=20)
            waiting.append(connections.enter_context(connection))
            connection.sendall(sent)
        for connection in waiting:
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
            assert 0.9 < time.monotonic() - began < 6
    assert len(upstream.received) == received_before


@pytest.mark.parametrize(
    ("said", "received"), [("https", "https"), ("http", "http"), ("ftp", "http"), (None, "http")]
)
def test_a_trusted_proxy_says_whether_the_buyer_came_by_https(nginx, said, received):
    headers = {"X_Forwarded_Proto": said} if said else {}
    echo = json.loads(ask(nginx.port, "GET", "/echo", **headers).body)
    assert echo["headers"]["X-Forwarded-Proto"] == received


def test_a_large_answer_is_compressed_also_behind_a_proxy(nginx):
    answer = ask(nginx.port, "GET", "/large", Accept_Encoding="gzip", Via="1.1 router")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.body) < 1000
    assert "Content-Encoding" not in ask(nginx.port, "GET", "/large").headers


def test_the_version_of_nginx_is_not_told(nginx):
    assert ask(nginx.port, "GET", "/metrics").headers["Server"] == "nginx"


def entries_of_the_log(nginx: Nginx, last_id: str) -> list[dict]:
    """With all of the connection whose last request has this id: what comes on one connection is
    written in turn, once a second."""
    path = nginx.log_path.parent / "access.log"

    def whole_lines() -> list[str]:
        text = path.read_text()
        return text.splitlines() if last_id in text and text.endswith("\n") else []

    return [json.loads(line) for line in eventually(whole_lines, f"the line of {last_id}")]


def test_the_access_log_names_the_request_as_it_came(nginx):
    ask(nginx.port, "POST", "/secret?token=t", b"x" * 65_537, X_Request_Id="the-large-one")
    entries = entries_of_the_log(nginx, "the-large-one")
    [entry] = (entry for entry in entries if entry["request_id"] == "the-large-one")
    assert (entry["method"], entry["path"], entry["status"]) == ("POST", "/secret", 413)
    assert entry["sampled"] == 1


@pytest.mark.parametrize(
    ("path", "clients", "field", "value"),
    [
        ("/api/events/e/seats/sampled/hold", 4000, "cache", "HIT"),
        ("/flooded", 1, "limit", "REJECTED"),
    ],
)
def test_of_what_nginx_says_no_to_by_itself_the_log_has_a_sample_that_adds_up(
    nginx, upstream, path, clients, field, value
):
    connection = http.client.HTTPConnection(HOST, nginx.port)
    last_id = f"after-{clients}-clients"
    with (
        upstream.replying(KEPT_STATUS) as received,
        contextlib.closing(connection),
    ):
        for number in range(4000):
            client = number % clients
            address = f"198.18.{client // 250}.{client % 250}"
            connection.request("POST", path, headers={"X-Forwarded-For": address})
            assert connection.getresponse().read()
        # One that nginx answers by itself, and whose line is always written.
        connection.request("GET", "/metrics", headers={"X-Request-Id": last_id})
        assert connection.getresponse().read()
    entries = [entry for entry in entries_of_the_log(nginx, last_id) if entry["path"] == path]
    by_itself = [entry for entry in entries if entry[field] == value]
    assert {entry["sampled"] for entry in by_itself} == {100}
    # Each question to the application has its line.
    assert len(entries) - len(by_itself) == len(received)
    # Of forty that are expected, four standard deviations more or less.
    assert 15 <= len(by_itself) <= 65
