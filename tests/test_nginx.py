"""nginx as it is rendered, over real sockets, before an upstream that echoes what it was sent."""

import contextlib
import http.client
import json
import runpy
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ops.nginx import render
from ops.processes import ProcessFailed, free_port
from ops.servers import HOST, Nginx

REPOSITORY = Path(__file__).parent.parent


class Upstream(BaseHTTPRequestHandler):
    """Echoes a request as JSON, except on paths that say otherwise."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/dropped"):
            self.close_connection = True
            return
        status, content_type = 200, "application/json"
        answer = {"path": self.path, "headers": dict(self.headers), "body_bytes": len(body)}
        if self.path.startswith("/refused/"):
            status, content_type = int(self.path.split("/")[2]), "application/problem+json"
            answer = {"code": "of_the_application"}
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(json.dumps(answer))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(json.dumps(answer).encode())

    do_GET = do_HEAD = do_POST = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer((HOST, 0), Upstream)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"{HOST}:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@contextlib.contextmanager
def running_nginx(config: str, folder: Path, port: int) -> Iterator[Nginx]:
    config_path = folder / "nginx.conf"
    config_path.write_text(config)
    with Nginx(config_path, folder / "nginx.log", port) as nginx:
        yield nginx


def production(folder: Path, **arguments: object) -> str:
    for debian_folder in ("run", "var/lib/nginx", "var/log/nginx"):
        (folder / debian_folder).mkdir(parents=True)
    return render.production(root=folder, **arguments)


@pytest.fixture(scope="module")
def nginx(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    config = render.local(listen=f"{HOST}:{port}", upstreams=[upstream], state_dir=folder)
    with running_nginx(config, folder, port) as nginx:
        yield nginx


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str):
    """Returns the response, its body read into ``.body``. An underscore in a name is a hyphen."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    with contextlib.closing(connection):
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
        assert response.headers["Content-Type"] == "application/problem+json"
        return response.status, json.loads(response.read())


def assert_problem(response, status: int, code: str) -> dict:
    assert response.status == status
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(response.body)
    assert problem.keys() == {"type", "title", "status", "code", "detail"}
    assert (problem["status"], problem["code"]) == (status, code)
    return problem


# ---------------------------------------------------------------- renderings


def test_nginx_accepts_the_production_rendering(tmp_path):
    config_path, port = tmp_path / "nginx.conf", free_port()
    config_path.write_text(
        production(
            tmp_path,
            server_name="tickets.example.com",
            trusted=["10.0.0.0/8", "2001:db8::/32"],
            upstreams=["10.0.1.1:8000", "10.0.1.2:8000"],
            listen=str(port),
        )
    )
    Nginx(config_path, tmp_path / "nginx.log", port).check_config()


@pytest.mark.parametrize("rendering", ["local", "production"])
def test_gixy_finds_no_weakness(rendering, tmp_path):
    gixy = Path(sys.executable).with_name("gixy")
    arguments = {"upstreams": ["127.0.0.1:8000"]}
    config = {
        "local": lambda: render.local(listen="127.0.0.1:80", state_dir=tmp_path, **arguments),
        "production": lambda: render.production(
            server_name="tickets.example.com", trusted=["10.0.0.0/8"], **arguments
        ),
    }[rendering]()
    (tmp_path / "nginx.conf").write_text(config)
    found = subprocess.run([gixy, tmp_path / "nginx.conf"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "10.0.0.1/8", "anyone"])
def test_production_trusts_only_networks_that_are_not_everybody(network):
    with pytest.raises(ValueError, match=network):
        render.production(server_name="a.example", trusted=[network], upstreams=["127.0.0.1:80"])


def test_an_argument_cannot_smuggle_a_directive_in(tmp_path):
    with pytest.raises(ValueError, match="no name or address"):
        render.local(listen="80; autoindex on", upstreams=["127.0.0.1:80"], state_dir=tmp_path)
    with pytest.raises(ValueError, match="cannot take"):
        render.local(listen="80", upstreams=["127.0.0.1:80"], state_dir=tmp_path / "it's")


def test_a_state_folder_may_have_a_space_in_its_name(tmp_path):
    folder = tmp_path / "my tickets; and more"
    folder.mkdir()
    config_path = folder / "nginx.conf"
    config_path.write_text(
        render.local(listen="127.0.0.1:80", upstreams=["127.0.0.1:81"], state_dir=folder)
    )
    Nginx(config_path, folder / "nginx.log", 80).check_config()


def test_a_refused_configuration_is_quoted_by_the_error(tmp_path):
    config_path = tmp_path / "nginx.conf"
    config_path.write_text("nonsense on;")
    with pytest.raises(ProcessFailed, match='unknown directive "nonsense"'):
        Nginx(config_path, tmp_path / "nginx.log", 80).start()


def test_nginx_lets_go_of_a_connection_before_gunicorn_does(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "sixteen characters")
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test")
    gunicorn = runpy.run_path(str(REPOSITORY / "gunicorn.conf.py"))
    assert render.UPSTREAM_KEEPALIVE_S < gunicorn["keepalive"] < gunicorn["graceful_timeout"]


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


def test_production_does_not_believe_who_is_not_in_its_networks(upstream, tmp_path):
    port = free_port()
    config = production(
        tmp_path,
        server_name="tickets.example.com",
        trusted=["10.0.0.0/8"],
        upstreams=[upstream],
        listen=f"{HOST}:{port}",
    )
    with running_nginx(config, tmp_path, port):
        named = {"Host": "tickets.example.com", "X_Forwarded_For": "203.0.113.7"}
        echo = json.loads(ask(port, "GET", "/echo", **named).body)
        assert echo["headers"]["X-Forwarded-For"] == "127.0.0.1"
        assert echo["headers"]["Host"] == "tickets.example.com"
        assert_problem(ask(port, "GET", "/", Host="other.example"), 421, "misdirected_request")


def test_production_believes_the_networks_that_it_is_told(upstream, tmp_path):
    port = free_port()
    config = production(
        tmp_path,
        server_name="tickets.example.com",
        trusted=["127.0.0.0/8"],
        upstreams=[upstream],
        listen=f"{HOST}:{port}",
    )
    with running_nginx(config, tmp_path, port):
        named = {"Host": "tickets.example.com", "X_Forwarded_For": "203.0.113.7"}
        echo = json.loads(ask(port, "GET", "/echo", **named).body)
        assert echo["headers"]["X-Forwarded-For"] == "203.0.113.7"


def test_other_claims_of_proxies_do_not_get_through(nginx):
    claims = {"Forwarded": "for=1.2.3.4", "X_Real_IP": "1.2.3.4", "X_Forwarded_Host": "evil"}
    heard = json.loads(ask(nginx.port, "GET", "/echo", **claims).body)["headers"]
    assert not heard.keys() & {"Forwarded", "X-Real-IP", "X-Forwarded-Host"}


def test_a_link_keeps_the_port_of_the_address_bar(nginx):
    heard = json.loads(ask(nginx.port, "GET", "/echo").body)["headers"]
    assert heard["Host"] == f"127.0.0.1:{nginx.port}"


def test_a_harmless_request_id_is_passed_on_and_another_is_replaced(nginx):
    def heard(request_id: str) -> str:
        echo = json.loads(ask(nginx.port, "GET", "/echo", X_Request_Id=request_id).body)
        return echo["headers"]["X-Request-Id"]

    assert heard("buyer-42.attempt_1") == "buyer-42.attempt_1"
    replaced = heard('"},{"forged":"log line')
    assert len(replaced) == 32 and replaced.isalnum()


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
    for path in ("/metrics", "/readyz", "//metrics", "/%6detrics", "/x/../readyz", "/metrics?a=b"):
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
    port = free_port()
    config = render.local(
        listen=f"{HOST}:{port}", upstreams=[f"{HOST}:{free_port()}"], state_dir=tmp_path
    )
    with running_nginx(config, tmp_path, port):
        for method, path in [("GET", "/"), ("POST", "/api/events/e/holds/h/pay")]:
            response = ask(port, method, path)
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


def test_the_access_log_names_the_request_as_it_came(nginx, tmp_path):
    ask(nginx.port, "POST", "/secret?token=t", b"x" * 65_537, X_Request_Id="the-large-one")
    nginx.stop()
    nginx.start()
    lines = (Path(nginx.log_path).parent / "access.log").read_text().splitlines()
    entry = next(e for e in map(json.loads, lines) if e["request_id"] == "the-large-one")
    assert (entry["method"], entry["path"], entry["status"]) == ("POST", "/secret", 413)
