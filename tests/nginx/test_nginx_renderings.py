"""What each rendering of nginx's configuration is for: its proxies, its names, its certificates."""

import json
import os
import re
import runpy
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ops.nginx import render
from ops.processes import Process, ProcessFailed, accepts_connections, free_port
from ops.servers import HOST, REPOSITORY, Nginx
from tests.support.behind_nginx import ask, ask_raw, assert_problem, running_nginx, server_config
from tests.support.environment import inherited
from web.http_server.worker import CLOSING_S

NAME = "tickets.example.com"

ERB = {
    'ENV["PORT"]': "8000",
    'ENV["NGINX_WORKERS"] || 4': "2",
    'ENV["NGINX_WORKER_CONNECTIONS"] || 4096': "4096",
    'ENV["NGINX_ACCESS_LOG_PATH"] || "logs/nginx/access.log"': "logs/nginx/access.log",
    'ENV["NGINX_ERROR_LOG_PATH"] || "logs/nginx/error.log"': "logs/nginx/error.log",
    'File.writable?("/dev/shm") ? "/dev/shm" : "/tmp"': "/tmp",
    "Dir.pwd": str(REPOSITORY),
}
"""What the heroku rendering leaves to the dyno, and what a dyno might say."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificate")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={NAME}"),
            *("-addext", f"subjectAltName=DNS:{NAME}", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return {"certificate": certificate, "certificate_key": key}


def as_a_dyno_fills_it_in(config: str, folder: Path, port: int = 8000) -> str:
    """Every expression must be known here. A dyno's /tmp is its own: ``folder``."""
    values = ERB | {'ENV["PORT"]': f"{HOST}:{port}"}
    filled = re.sub(r"<%= (.+?) %>", lambda expression: values[expression[1]], config)
    return filled.replace("/tmp/", f"{folder}/")


@pytest.fixture(
    params=["local", "local for other websites", "server", "server behind a proxy", "heroku"]
)
def rendering(request, root, certificate) -> Path:
    """The file of each."""
    upstreams = ["10.0.1.1:8000", "10.0.1.2:8000"]
    match request.param:
        case "local":
            config = render.local(listen="127.0.0.1:8000", upstreams=upstreams, state_dir=root)
        case "local for other websites":
            config = render.local(
                listen="127.0.0.1:8000",
                upstreams=upstreams,
                state_dir=root,
                allowed_origins=[f"https://{'a' * 63}.{'b' * 63}.example", "http://[::1]:3000"],
            )
        case "server":
            config = server_config(root, upstreams=upstreams, **certificate)
        case "server behind a proxy":
            trusted = ["10.0.0.0/8", "2001:db8::/32"]
            config = server_config(root, upstreams=upstreams, trusted=trusted, hops=1)
        case "heroku":
            (root / "logs/nginx").mkdir(parents=True)
            config = as_a_dyno_fills_it_in(render.heroku(trusted=["10.0.0.0/8"]), root)
    path = root / "nginx.conf"
    path.write_text(config)
    return path


# ---------------------------------------------------------------- all of them


def test_nginx_accepts_every_rendering(rendering):
    command = ["-t", "-p", str(rendering.parent), "-c", str(rendering), "-e", "stderr"]
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    said = subprocess.run([nginx, *command], capture_output=True, text=True).stderr
    assert "test is successful" in said
    assert "[warn]" not in said or os.geteuid() != 0


NOT_WEAKNESSES = {
    "missing_resolver": "the application is an upstream with addresses",
    "try_files_is_evil_too": "it saves an open of a file; these are asked for once a buyer",
}


def test_gixy_finds_no_weakness(rendering):
    gixy = Path(sys.executable).with_name("gixy")
    command = [gixy, "--skips", ",".join(NOT_WEAKNESSES), rendering]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_template_is_indented_as_what_it_is_in(rendering):
    depth = 0
    for line in rendering.read_text().splitlines():
        bare = line.strip()
        if bare and not bare.startswith(("'", "use_temp_path", "if=")):
            closing = bare.startswith("}")
            assert len(line) - len(bare) == 4 * (depth - closing), line
        if not bare.startswith("#"):
            depth += bare.endswith("{") - bare.startswith("}")


def test_a_client_has_ten_seconds_for_its_header_and_between_two_pieces(rendering):
    config = rendering.read_text()
    for directive in ("client_header_timeout", "client_body_timeout", "send_timeout"):
        assert f"    {directive} 10s;\n" in config


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "10.0.0.1/8", "anyone"])
def test_networks_that_are_everybody_or_none_are_not_trusted(network):
    with pytest.raises(ValueError, match=network):
        render.server(server_names=["a.example"], trusted=[network], upstreams=["127.0.0.1:80"])
    with pytest.raises(ValueError, match=network):
        render.heroku(trusted=[network])


def test_hops_that_nginx_cannot_count_are_refused():
    for hops in (0, 2, 16):
        with pytest.raises(ValueError, match=f"entry {hops}"):
            render.heroku(trusted=["10.0.0.0/8"], hops=hops)
    with pytest.raises(ValueError, match="trust its network"):
        render.server(server_names=["a.example"], upstreams=["127.0.0.1:80"], hops=1)


def test_a_server_without_a_certificate_needs_a_proxy_that_has_one():
    with pytest.raises(ValueError, match="certificate"):
        render.server(server_names=["a.example"], upstreams=["127.0.0.1:80"])
    with pytest.raises(ValueError, match="come together"):
        render.server(
            server_names=["a.example"], upstreams=["127.0.0.1:80"], certificate=Path("/c.pem")
        )


@pytest.mark.parametrize(
    ("upstream", "is_elsewhere"),
    [
        ("10.0.1.1:8000", True),
        ("web.internal:8000", True),
        ("[2001:db8::1]:8000", True),
        ("127.0.0.1:8000", False),
        ("[::1]:8000", False),
        ("localhost:8000", False),
        ("unix:/run/web.socket", False),
    ],
)
def test_an_application_on_another_machine_has_to_be_told_whom_to_believe(upstream, is_elsewhere):
    config = render.server(
        server_names=["a.example"], upstreams=["127.0.0.1:80", upstream], trusted=["10.0.0.0/8"]
    )
    assert (f"({upstream})" in config) == ("TRUSTED_PROXIES" in config) == is_elsewhere


def test_an_argument_cannot_smuggle_a_directive_in(tmp_path):
    with pytest.raises(ValueError, match="no name or address"):
        render.local(listen="80; autoindex on", upstreams=["127.0.0.1:80"], state_dir=tmp_path)
    for name in ("it's", "$uri", "$", "a\\b", "a\nb"):
        with pytest.raises(ValueError, match="cannot take"):
            render.local(listen="80", upstreams=["127.0.0.1:80"], state_dir=tmp_path / name)


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


@pytest.mark.parametrize(
    "arguments",
    [
        ["local", "--listen", "127.0.0.1:80", "--upstream", "127.0.0.1:81", "--state", "/x"],
        ["server", "--server-name", NAME, "--upstream", "10.0.0.1:80", "--trust", "10.0.0.0/8"],
        [
            *("server", "--server-name", NAME, "--upstream", "unix:/run/web.socket"),
            *("--certificate", "/c.pem", "--certificate-key", "/k.pem"),
            *("--rate-limit", "600/minute"),
        ],
        [
            "heroku",
            "--trust",
            "10.0.0.0/8",
            "--hops",
            "1",
            "--allowed-origins",
            "https://a.example",
        ],
    ],
    ids=lambda arguments: arguments[0],
)
def test_each_rendering_has_a_command(arguments):
    command = [sys.executable, "-m", "ops.nginx.render", *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert f"the {arguments[0]} rendering" in printed.stdout


def rendered(*arguments: str | Path, python: str = sys.executable) -> subprocess.CompletedProcess:
    command = [python, "-m", "ops.nginx.render", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)


SERVER = ("server", "--server-name", NAME, "--upstream", "127.0.0.1:8000")
BEHIND_A_PROXY = (*SERVER, "--trust", "10.0.0.0/8")


def test_a_rendering_is_written_to_a_file_at_once(tmp_path):
    path = tmp_path / "nginx.conf"
    path.write_text("former")
    done = rendered(*BEHIND_A_PROXY, "--output", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert path.read_text() == rendered(*BEHIND_A_PROXY).stdout
    assert list(tmp_path.iterdir()) == [path]


def test_nginx_takes_the_longest_name_that_there_can_be(tmp_path):
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    port = free_port()
    config_path = tmp_path / "nginx.conf"
    config_path.write_text(
        server_config(
            tmp_path,
            server_names=[longest],
            trusted=["10.0.0.0/8"],
            http_listen=[f"{HOST}:{port}"],
        )
    )
    Nginx(config_path, tmp_path / "nginx.log", port).check_config()


@pytest.mark.parametrize("more", [["www.a.example"], ["--server-name", "www.a.example"]])
def test_all_names_are_served(more):
    arguments = ["server", "--server-name", "a.example", *more, "--upstream", "127.0.0.1:8000"]
    certificates = ["--certificate", "/c.pem", "--certificate-key", "/k.pem"]
    config = rendered(*arguments, *certificates).stdout
    # Once for https, and once for http, which leads there.
    assert config.count("server_name a.example www.a.example;") == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["heroku", "--trust", "10.0.0.0/8", "--hops", "2"], "cannot take entry 2"),
        (["heroku", "--trust", "everybody"], "'everybody' is no network"),
        (
            [
                *("server", "--server-name", "192.0.2.1", "--upstream", "127.0.0.1:8000"),
                *("--certificate", "/c.pem", "--certificate-key", "/k.pem"),
            ],
            "'192.0.2.1' is an IP address, which no browser names",
        ),
        (["heroku", "--rate-limit", "10"], "--rate-limit must be 1 to"),
        (["heroku", "--allowed-origins", "*"], "--allowed-origins: '*' has a wildcard"),
        ([*SERVER[:2], f"https://{NAME}", *SERVER[3:]], f"is a URL; give {NAME}"),
        (
            [*SERVER[:4], "http://127.0.0.1:8000", "--trust", "10.0.0.0/8"],
            "is a URL; give its HOST:PORT",
        ),
        (
            [*SERVER, "--certificate", "cert.pem", "--certificate-key", "/k.pem"],
            "cert.pem: give the full path",
        ),
    ],
)
def test_a_wrong_argument_is_explained_in_a_line_and_the_file_stays(tmp_path, arguments, says):
    path = tmp_path / "nginx.conf"
    path.write_text("former")
    refused = rendered(*arguments, "--output", path)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert says in line
    assert path.read_text() == "former"


def test_a_full_disk_behind_standard_output_is_told_in_a_line():
    command = [sys.executable, "-m", "ops.nginx.render", *BEHIND_A_PROXY]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith(": No space left on device; what was printed is not whole")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    refused = rendered(*BEHIND_A_PROXY, "--output", tmp_path / "nowhere/nginx.conf")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "nowhere/nginx.conf: No such file or directory; nothing was written" in line


def test_a_certificate_that_is_not_on_this_machine_is_named_and_may_be_on_nginxs(
    tmp_path, certificate
):
    key = certificate["certificate_key"]
    certificates = ["--certificate", "/nowhere/cert.pem", "--certificate-key", key]
    done = rendered(*SERVER, *certificates, "--output", tmp_path / "nginx.conf")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert "/nowhere/cert.pem was not found; nginx's host must have it" in line
    assert "'/nowhere/cert.pem'" in (tmp_path / "nginx.conf").read_text()


def test_a_python_without_our_packages_says_so_in_a_line(tmp_path):
    venv.create(tmp_path / "bare", symlinks=True)
    path = tmp_path / "nginx.conf"
    path.write_text("former")
    refused = rendered(*BEHIND_A_PROXY, "--output", path, python=str(tmp_path / "bare/bin/python"))
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "does not have the packages of requirements.txt" in line
    assert path.read_text() == "former"


def test_nginx_lets_go_of_a_connection_before_gunicorn_does(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "sixteen characters")
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_nginx")
    gunicorn = runpy.run_path(str(REPOSITORY / "gunicorn.conf.py"))
    assert render.UPSTREAM_KEEPALIVE_S < gunicorn["keepalive"] < gunicorn["graceful_timeout"]
    # A stopping worker counts from up to a second before its stop.
    assert render.UPSTREAM_KEEPALIVE_S + 1 < CLOSING_S < gunicorn["graceful_timeout"]


# ---------------------------------------------------------------- a host with a certificate


class TlsServer:
    def __init__(self, root: Path, **arguments: object):
        self.http, self.https = free_port(), free_port()
        self.root = root
        self.config = server_config(
            root,
            http_listen=[f"{HOST}:{self.http}"],
            https_listen=[f"{HOST}:{self.https}"],
            acme_dir=root / "acme",
            **arguments,
        )
        self.tls = ssl.create_default_context(cafile=arguments["certificate"])

    def ask(self, method: str, path: str, **options: object):
        return ask(self.https, method, path, tls=self.tls, **{"Host": NAME} | options)


@pytest.fixture
def tls_server(upstream, root, certificate) -> Iterator[TlsServer]:
    server = TlsServer(root, upstreams=[upstream.address], **certificate)
    # Of the two it listens on this one last.
    with running_nginx(server.config, root, server.https):
        yield server


def test_a_server_speaks_https_and_believes_nobody(tls_server):
    claims = {"X_Forwarded_For": "203.0.113.7", "X_Forwarded_Proto": "http"}
    answer = tls_server.ask("GET", "/echo", **claims)
    received = json.loads(answer.body)["headers"]
    assert (received["X-Forwarded-For"], received["X-Forwarded-Proto"]) == ("127.0.0.1", "https")
    assert received["Host"] == NAME
    assert answer.headers["Strict-Transport-Security"] == "max-age=63072000"


def test_every_answer_of_a_server_keeps_browsers_on_https(tls_server):
    for path in ("/echo", "/metrics", "/static/nothing.css", "/api/events/e/seats/s/hold"):
        assert tls_server.ask("GET", path).headers["Strict-Transport-Security"], path


def test_pages_go_from_http_to_https_and_calls_are_refused(tls_server, upstream):
    upstream.received.clear()
    for method, path in [("GET", "/?a=b"), ("POST", "/events/e?c=d")]:
        answer = ask(tls_server.http, method, path, Host=NAME)
        assert (answer.status, answer.headers["Location"]) == (308, f"https://{NAME}{path}")
    refused = ask(tls_server.http, "POST", "/api/events/e/holds/h/pay", Host=NAME)
    assert_problem(refused, 403, "https_required")
    assert upstream.received == []


def test_a_certificate_authority_finds_its_challenge(tls_server):
    challenges = tls_server.root / "acme/.well-known/acme-challenge"
    challenges.mkdir(parents=True)
    (challenges / "token").write_text("proof")
    path = "/.well-known/acme-challenge/"
    assert ask(tls_server.http, "GET", path + "token", Host=NAME).body == b"proof"
    assert_problem(ask(tls_server.http, "GET", path + "other", Host=NAME), 404, "not_found")


def is_hung_up_on(port: int, request: bytes) -> bool:
    with socket.create_connection((HOST, port), timeout=10) as connection:
        connection.sendall(request)
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_who_asks_for_another_name_gets_no_answer(tls_server, request_bytes):
    assert is_hung_up_on(tls_server.http, request_bytes)


def test_who_shakes_hands_with_another_name_sees_no_certificate(tls_server):
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        tls_server.ask("GET", "/", sni="other.example")


def test_http_on_the_port_of_https_is_no_good_request(tls_server):
    status, problem = ask_raw(tls_server.https, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (status, problem["code"]) == (400, "bad_request")


def test_who_shakes_hands_with_one_name_and_asks_for_another_is_told(tls_server):
    answer = tls_server.ask("GET", "/", Host="other.example")
    assert_problem(answer, 421, "misdirected_request")


@pytest.mark.parametrize(
    ("version", "accepted"),
    [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)],
)
def test_only_tls_of_today_is_spoken(tls_server, version, accepted):
    tls = tls_server.tls
    tls.set_ciphers("ALL:@SECLEVEL=0")
    tls.minimum_version = tls.maximum_version = ssl.TLSVersion[version]
    if accepted:
        assert tls_server.ask("GET", "/").status == 200
    else:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert|version"):
            tls_server.ask("GET", "/")


def test_a_cipher_without_authentication_of_what_it_hides_is_not_spoken(tls_server):
    tls_server.tls.maximum_version = ssl.TLSVersion.TLSv1_2
    tls_server.tls.set_ciphers("ECDHE-ECDSA-AES128-SHA")
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake"):
        tls_server.ask("GET", "/")


def test_browsers_get_http_2(tls_server):
    tls_server.tls.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection((HOST, tls_server.https), timeout=10) as connection,
        tls_server.tls.wrap_socket(connection, server_hostname=NAME) as tls,
    ):
        assert tls.selected_alpn_protocol() == "h2"


# ---------------------------------------------------------------- behind a proxy


def client_heard(port: int, forwarded_for: str, **headers: str) -> str:
    named = {"Host": NAME, "X_Forwarded_For": forwarded_for, "X_Forwarded_Proto": "https"} | headers
    return json.loads(ask(port, "GET", "/echo", **named).body)["headers"]["X-Forwarded-For"]


@pytest.mark.parametrize(
    ("trusted", "hops", "client"),
    [
        (["127.0.0.0/8"], None, "198.51.100.9"),
        (["127.0.0.0/8", "198.51.100.0/24"], None, "203.0.113.7"),
        (["127.0.0.0/8", "198.51.100.0/24"], 1, "198.51.100.9"),
        (["::ffff:127.0.0.0/104"], None, "198.51.100.9"),
    ],
)
def test_the_client_is_whom_the_trusted_proxies_have_seen(upstream, root, trusted, hops, client):
    port = free_port()
    config = server_config(
        root,
        trusted=trusted,
        hops=hops,
        upstreams=[upstream.address],
        http_listen=[f"{HOST}:{port}"],
    )
    with running_nginx(config, root, port):
        assert client_heard(port, "192.0.2.1, 203.0.113.7, 198.51.100.9") == client


def test_behind_a_proxy_http_is_refused_as_at_the_first_hand(upstream, root):
    port = free_port()
    config = server_config(
        root,
        trusted=["127.0.0.0/8"],
        upstreams=[upstream.address],
        http_listen=[f"{HOST}:{port}"],
    )
    with running_nginx(config, root, port):
        http = {"Host": NAME, "X_Forwarded_Proto": "http"}
        assert_problem(ask(port, "POST", "/api/events/e/holds", **http), 403, "https_required")
        page = ask(port, "POST", "/events/e?a=b", **http)
        assert (page.status, page.headers["Location"]) == (308, f"https://{NAME}/events/e?a=b")
        assert ask(port, "GET", "/healthz", **http).status == 200
        assert ask(port, "GET", "/healthz", Host=HOST).status == 200
        malformed = f"POST /a HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: x\r\n\r\n"
        status, problem = ask_raw(port, malformed.encode())
        assert (status, problem["code"]) == (400, "bad_request")
        assert is_hung_up_on(port, b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n")


# ---------------------------------------------------------------- a dyno


class Dyno(NamedTuple):
    port: int
    socket: Path


class ReadyFile(Process):
    """Ready when a file says so, as the buildpack expects."""

    def __init__(self, path: Path, *args: object, **options: object):
        super().__init__(*args, **options)
        self._path = path

    def is_ready(self) -> bool:
        return self._path.exists()


class Listening(Process):
    def __init__(self, port: int, *args: object, **options: object):
        super().__init__(*args, **options)
        self._port = port

    def is_ready(self) -> bool:
        return accepts_connections(self._port, HOST)


WEB_COMMAND = [sys.executable, "-m", "sidecar", "gunicorn", "wsgi:app"]


def environment_of_a_dyno(folder: Path, redis_url: str, mongodb_uri: str) -> dict[str, str]:
    return inherited() | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "REDIS_URL": redis_url,
        "MONGODB_URI": mongodb_uri,
        "SECRET_KEY": "a secret key of tests",
        "STRIPE_API_KEY": "sk_test_dyno",
        "WEB_SOCKET": str(folder / "nginx.socket"),
        "WEB_READY_FILE": str(folder / "app-initialized"),
    }


@pytest.fixture(scope="module")
def dyno(redis_server, mongo_server, bookings) -> Iterator[Dyno]:
    """What `bin/start-nginx python -m sidecar gunicorn wsgi:app` starts, in a
    folder that is short enough for the path of a socket."""
    folder, port = Path(tempfile.mkdtemp(prefix="tickets-dyno-")), free_port()
    (folder / "logs/nginx").mkdir(parents=True)
    config_path = folder / "nginx.conf"
    config = render.heroku(trusted=["127.0.0.0/8"])
    config_path.write_text(as_a_dyno_fills_it_in(config, folder, port))
    ready_file = folder / "app-initialized"
    environment = environment_of_a_dyno(folder, redis_server.url, mongo_server.url)
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    nginx_command = [nginx, "-p", ".", "-c", config_path, "-e", "stderr"]
    if os.geteuid() == 0:
        # On a dyno there is no root, and all processes have the same user.
        nginx_command += ["-g", "user root;"]
    try:
        with (
            ReadyFile(
                ready_file,
                *("web", WEB_COMMAND, folder / "web.log"),
                env=environment,
                cwd=REPOSITORY,
            ),
            Listening(port, "nginx", nginx_command, folder / "nginx.log", cwd=folder),
        ):
            yield Dyno(port, folder / "nginx.socket")
    finally:
        shutil.rmtree(folder)


def buyer(address: str, **headers: str) -> dict[str, str]:
    """Through Heroku's router, which appends the address it has seen."""
    return {"X_Forwarded_For": f"1.2.3.4, {address}", "X_Forwarded_Proto": "https"} | headers


def test_a_dyno_holds_a_seat_over_the_socket(dyno, event):
    path = f"/api/events/{event.id}/seats/{event.seats[0]}/hold"
    held = ask(dyno.port, "POST", path, **buyer("198.18.0.1"))
    assert held.status == 201, held.body
    assert ask(dyno.port, "POST", path, **buyer("198.18.0.2")).status == 409


def test_a_dyno_counts_by_the_address_that_the_router_has_seen(dyno):
    def left(address: str) -> int:
        answer = ask(dyno.port, "GET", "/api/events", **buyer(address))
        return int(re.search(r"r=(\d+)", answer.headers["RateLimit"])[1])

    assert [left("198.18.1.1"), left("198.18.1.1"), left("198.18.1.2")] == [9, 8, 9]


def test_a_dyno_takes_the_routers_name_of_a_request(dyno):
    router = "8fbcca0d-22a2-4d4c-9a6e-4d5a7d3f6c11"
    answer = ask(dyno.port, "GET", "/healthz", **buyer("198.18.2.1", X_Request_Id=router))
    assert answer.headers["X-Request-Id"] == router


def test_a_dyno_wants_https(dyno):
    http = buyer("198.18.3.1", X_Forwarded_Proto="http")
    assert_problem(ask(dyno.port, "GET", "/api/events", **http), 403, "https_required")
    assert ask(dyno.port, "GET", "/", **http).status == 308


def test_a_dyno_that_cannot_sell_is_not_ready_whatever_a_former_start_said(
    redis_server, mongo_server, tmp_path
):
    without_index = mongo_server.url.replace("/tickets?", "/nothing_here?")
    environment = environment_of_a_dyno(tmp_path, redis_server.url, without_index)
    ready_file = tmp_path / "app-initialized"
    ready_file.touch()
    ended = subprocess.run(
        WEB_COMMAND, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode != 0
    assert "index" in ended.stderr
    assert not ready_file.exists()


def test_nobody_else_on_the_machine_may_connect_to_the_socket(dyno):
    assert stat.S_IMODE(dyno.socket.stat().st_mode) == 0o770
