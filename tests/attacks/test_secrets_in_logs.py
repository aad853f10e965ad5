"""The address of a receipt opens the ticket, and the one at which the bank sends a buyer back has
the secret of the payment: they are in no log, however a request for them fails.
"""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from ops.nginx import render
from ops.processes import free_port
from ops.servers import HOST
from tests.support.application import application_with
from tests.support.behind_nginx import NO_ENVELOPE, ask, local_nginx, running_nginx, server_config
from tests.support.http_client import TIMEOUT_S, Client
from tests.support.waiting import eventually

SECRET = application_with().extensions["services"].codes.link_of("e", "s3cr3t-hold-s3cr3t-hold")
LONG = "x" * 20_000
END = "Connection: close\r\n\r\n"

BACK = f"?payment_intent=pi_1&payment_intent_client_secret={SECRET}&redirect_status=succeeded"
RETURN = f"/events/e/holds/h/return{BACK}"
"""What Stripe makes of the address at which the bank sends a buyer back."""

SECRET_PATHS = [
    f"{prefix}{SECRET}"
    for prefix in (
        *("/receipts/", "/holds/", "//receipts/", "/receipts//", "/./receipts/", "/x/../holds/"),
        *(
            "/%72eceipts/",
            "/receipts%2F",
            "/%2Freceipts/",
            "/receipts/./",
            "/receipts;/",
            "/receipt/",
            "/r%65c/",
        ),
        *("/RECEIPTS/", "/api/receipts/..%2f..%2fholds/", "/receipts/%20", "/\\receipts/"),
    )
] + [f"/receipts/{SECRET}{end}" for end in ("/", "//", "?a=b", "#c", "/x", "%20", "%00", "%")]
SECRET_PATHS += [
    f"/events/e/holds/{hold}{BACK}"
    for hold in ("h/return", "h/return/", "h//return", "%68/return", "h/%72eturn", "h/x/../return")
]


@contextlib.contextmanager
def application(answer: bytes | None) -> Iterator[str]:
    """The address of one that says so to everything and hangs up; None: it resets instead."""
    with socket.create_server((HOST, 0), backlog=100) as listening:

        def answer_all() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    with contextlib.suppress(OSError):
                        connection.recv(65_536)
                        if answer:
                            connection.sendall(answer)
                            continue
                    linger = (1).to_bytes(4, "little") + bytes(4)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

        threading.Thread(target=answer_all, daemon=True).start()
        yield f"{HOST}:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


BROKEN = {
    "resetting": None,
    "talking nonsense": b"nonsense\r\n\r\n",
    "breaking off": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx",
    "with a header too long": b"HTTP/1.1 200 OK\r\nX: " + LONG.encode() + b"\r\n\r\n",
    "with two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
}


@pytest.fixture(params=["away", *BROKEN])
def broken(request) -> Iterator[str]:
    if request.param == "away":
        yield f"{HOST}:{free_port()}"
        return
    with application(BROKEN[request.param]) as address:
        yield address


def send(port: int, request: str) -> None:
    """Read until nginx closes the connection, whatever it answers."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection((HOST, port), timeout=1) as connection,
    ):
        connection.sendall(request.encode())
        while connection.recv(65_536):
            pass


def ask_for_secrets(port: int) -> None:
    """In all ways in which they come, with all that nginx can find wrong about a request."""
    url = f"http://{HOST}:{port}"
    host = f"tickets.example.com\r\nX-Forwarded-For: {HOST}"
    for path in SECRET_PATHS:
        for method in ("GET", "POST"):
            send(
                port,
                f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
                "Content-Length: 0\r\n\r\n",
            )
    secret = f"/receipts/{SECRET}"
    referers = [f"{url}{path}" for path in (secret, f"/holds/{SECRET}", f"//x/..{secret}", RETURN)]
    for referer in referers:
        for path in (
            *("/", "/basket", "/healthz", "/metrics", "/static/style.css", "/static/none.css"),
            *("/api/events/e/seats", "/api/events/e/seats/s/hold", f"/holds/{SECRET}"),
            *("/api/events/e/sections/s/best/2/hold", "/webhooks/stripe", "/bask%65t", "//basket"),
            "/api/events/e/versions/0123456789abcdef",
        ):
            for method in ("GET", "POST"):
                send(
                    port,
                    f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
                    f"Content-Length: 0\r\nReferer: {referer}\r\n\r\n",
                )
    for lines in (
        "Content-Length: 70000",
        "Content-Length: x",
        f"Cookie: {LONG}",
        "Transfer-Encoding: br",
        "If-Match: x",
        "Host: other.example",
        f"Referer: {url}{secret}\r\nContent-Length: 70000",
    ):
        for path in (secret, f"{secret}{LONG}", RETURN, f"{RETURN}{LONG}"):
            sent = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n\r\n"
            send(port, sent)
    # A client that disconnects in the middle.
    for sent in (
        f"GET {secret} HT",
        f"GET {secret} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        f"GET {RETURN} HTTP/1.1\r\nHost: {host}\r\n\r\n",
    ):
        with socket.create_connection((HOST, port)) as connection:
            connection.sendall(sent.encode())


def assert_no_log_has_it(folder: Path, requests_at_least: int) -> None:
    """Once the access log has all of them."""
    [access_log] = folder.rglob("access.log")

    def written() -> bool | None:
        return access_log.read_text().count("\n") >= requests_at_least or None

    eventually(written, "the lines of the access log")
    time.sleep(1.2)  # What else was to be written.
    logs = [path for path in folder.rglob("*.log") if path.is_file()]
    for path in logs:
        assert SECRET not in path.read_text(), path
        assert SECRET[:20] not in path.read_text(), path


def test_nginx_writes_it_to_no_log_when_the_application_fails(tmp_path, broken):
    with local_nginx(tmp_path, broken, rate=NO_ENVELOPE) as nginx:
        ask_for_secrets(nginx.port)
    assert_no_log_has_it(tmp_path, 2 * len(SECRET_PATHS))
    entries = (tmp_path / "access.log").read_text()
    assert '"path":"/receipts/-"' in entries and '"path":"/holds/-"' in entries


def test_a_server_of_its_own_writes_it_to_no_log_either(root):
    port = free_port()
    config = server_config(
        root, trusted=["127.0.0.0/8"], http_listen=[f"{HOST}:{port}"], rate=NO_ENVELOPE
    )
    with running_nginx(config, root, port):
        ask_for_secrets(port)
    assert_no_log_has_it(root, len(SECRET_PATHS))


def test_the_access_log_says_what_the_log_of_errors_would_have_said(tmp_path):
    away = f"{HOST}:{free_port()}"
    with local_nginx(tmp_path, away) as nginx:
        ask(nginx.port, "GET", "/basket")
    [entry] = (tmp_path / "access.log").read_text().splitlines()
    assert f'"upstream":"{away}","upstream_sent":"0"' in entry
    assert '"status":503' in entry and '"upstream_status":"502"' in entry


def test_what_concerns_nginx_itself_is_still_logged(tmp_path):
    port = free_port()
    config = render.local(
        listen=f"{HOST}:{port}", upstreams=[f"{HOST}:{free_port()}"], state_dir=tmp_path
    )
    config = re.sub("worker_connections \\d+;", "worker_connections 16;", config)
    config = re.sub("worker_processes \\w+;", "worker_processes 1;", config)
    with running_nginx(config, tmp_path, port) as nginx, contextlib.ExitStack() as connections:
        for _ in range(30):
            there = socket.create_connection((HOST, port), timeout=5)
            connections.enter_context(there)
        eventually(
            lambda: "worker_connections are not enough" in nginx.log_tail(100) or None,
            "the warning",
        )


def test_no_location_of_any_rendering_is_without_its_log_of_errors(tmp_path):
    behind = {"server_names": ["a.example"], "upstreams": ["127.0.0.1:81"]}
    certificate = {"certificate": Path("/c.pem"), "certificate_key": Path("/k.pem")}
    for config in (
        render.local(listen="80", upstreams=["127.0.0.1:81"], state_dir=tmp_path),
        render.server(**behind, trusted=["10.0.0.0/8"]),
        render.server(**behind, **certificate),
        render.heroku(),
    ):
        locations = re.findall(r"^ +location .*\{\n(.*)\n", config, re.MULTILINE)
        assert len(locations) > 30
        for first in locations:
            assert re.fullmatch(r" +error_log '[^']+' emerg;", first), first


def test_a_page_of_such_an_address_never_sends_it_on(nginx):
    """Not even one that says what went wrong, whose links lead elsewhere."""
    application_client = application_with().test_client()
    for path in (f"/receipts/{SECRET}", f"/holds/{SECRET}", f"/receipts/{SECRET}/x"):
        answer = application_client.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 404
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    answer = ask(nginx.port, "GET", f"/dropped/receipts/{SECRET}", Accept="text/html")
    assert answer.status == 503
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_no_process_of_a_shop_writes_what_the_bank_adds_to_an_address(
    stack, gevent_site, state_dir
):
    """Neither for a payment nor for requests that are refused."""
    buyer = Client(stack.url, "rosewood-winters-tale")
    hold = buyer.hold_best("stalls", 1).json()
    asked = buyer.pay(hold, method="pm_card_authenticationRequired").json()
    answered = requests.post(
        asked["next_action"]["url"], {"answer": "accept"}, timeout=TIMEOUT_S, allow_redirects=False
    )
    back = answered.headers["Location"]
    secret = back.partition("payment_intent_client_secret=")[2].partition("&")[0]
    assert "_secret_" in secret
    assert buyer.get(back, timeout=TIMEOUT_S).status_code == 200
    for server in (stack.url, stack.web_url, gevent_site.web_url):
        for method in ("GET", "HEAD", "POST", "PUT", "NONSENSE", "g\x00t"):
            for path in (RETURN, f"{RETURN}{LONG}", f"{RETURN}%", f"{RETURN}\xff"):
                send(urlsplit(server).port, f"{method} {path} HTTP/1.1\r\nHost: shop\r\n{END}")
    time.sleep(1.2)  # nginx writes once a second.
    logs = list(state_dir.rglob("*.log"))
    assert {"access.log", "web.log"} <= {path.name for path in logs}, logs
    for path in logs:
        text = path.read_text(errors="replace")
        assert secret not in text and SECRET not in text, path
    assert "Invalid HTTP request line: -" in (state_dir / "gevent.log").read_text()
