r"""Make nginx's configuration from the templates beside this file.

python -m ops.nginx.render local --listen 127.0.0.1:8080 --upstream 127.0.0.1:8000 --state DIR
python -m ops.nginx.render server --server-name tickets.example.com \
    --certificate FILE --certificate-key FILE --upstream 10.0.1.1:8000 --upstream 10.0.1.2:8000 \
    --output /etc/nginx/nginx.conf
python -m ops.nginx.render heroku --output config/nginx.conf.erb

Each rendering is a function that fills in the same templates; a new concern is a template of its
own and a line in nginx.conf.j2, a new rendering is a function here and its command in main().
"""

import argparse
import base64
import dataclasses
import hashlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ops.files import replace_file
from ops.nginx import names
from ops.nginx.envelope import Envelope
from ops.nginx.problems import (
    AT_ONCE_STATUS,
    BODY_TOO_LARGE,
    CROSS_SITE_REQUEST,
    ENVELOPE_STATUS,
    HOT_RATE_LIMITED,
    HTTPS_REQUIRED,
    NOT_FOUND,
    OUTCOME_UNKNOWN,
    PAGE_SUFFIX,
    PROBLEMS,
    PROBLEMS_PATH,
    RATE_LIMITED,
    SEAT_TAKEN,
    SOLD_OUT,
    TOO_MANY_AT_ONCE,
    UNAVAILABLE,
    UPSTREAM_FAILURE_STATUSES,
    Problem,
)
from sidecar.client_address import is_trusted
from sidecar.networks import parse_networks, presets
from sidecar.settings import parse_rate
from sidecar.sliding_log import Rate
from web import origins
from web.http.edge import KEPT_STATUS
from web.http.spelling import PLAIN_PATH
from web.http.static_files import VERSION as STATIC_VERSION
from web.settings import DEFAULT_RATE_LIMIT, RATE_OF_DOORS, RATE_OF_WEBHOOKS

TEMPLATES = Path(__file__).parent

WEB_DIR = Path(__file__).resolve().parent.parent.parent / "web"
"""The folder of ``static/``."""

UPSTREAM_KEEPALIVE_S = 2
"""Shorter than keepalive in gunicorn.conf.py. A worker that stops waits this long for nginx to
close its idle connections (web/http_server/worker.py)."""

UPSTREAM_MAX_FAILS = 3
UPSTREAM_FAIL_TIMEOUT_S = 5
"""Up to a second longer in practice: nginx counts whole seconds."""

NEXT_UPSTREAM_TIMEOUT_S = 5
"""After this time no further host is tried for a request."""

LISTEN_BACKLOG = 4096

CLIENT_TIMEOUT_S = 10
"""For a client that stops in the middle of a request or an answer."""

DEFAULT_RATE = parse_rate(DEFAULT_RATE_LIMIT)

KEEPALIVE_REQUESTS = 1000
"""For browsers; it also bounds how many streams an HTTP/2 connection can open."""
PROXY_KEEPALIVE_REQUESTS = 10_000
"""For a connection that carries many buyers, of a proxy in front or a load generator. Bounded
because nginx frees the memory of each request's address (13 bytes) only when the connection
ends."""

MAP_MIN_USES = 100
"""This many requests for a seat map in one second are answered by the application, each with the
current map; then nginx keeps the last one for the others. As many as ten clients may make."""

HEROKU_SOCKET = "/tmp/nginx.socket"
"""Where the application listens (WEB_SOCKET), according to the buildpack's documentation."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rendering:
    """The variables of a rendering, under their names in the templates. A path may also be an
    expression that the platform fills in."""

    name: str
    http_listen: Sequence[str]
    host_header: str
    trusted: Sequence[str]
    upstreams: Sequence[str]
    rate: Rate
    keepalive_requests: int
    state_dir: Path
    cache_dir: Path | str
    web_dir: Path | str
    pid_path: Path | str
    access_log: Path | str
    error_log: Path | str
    allowed_origins: Sequence[str]
    server_names: Sequence[str] = ()
    tls: bool = False
    https_listen: Sequence[str] = ()
    certificate: Path | None = None
    certificate_key: Path | None = None
    acme_dir: Path | None = None
    https_only: bool = False
    hsts: bool = False
    client_timeout_s: int = CLIENT_TIMEOUT_S
    hops: int | None = None
    user: str | None = None
    foreground: bool = False
    worker_processes: str = "auto"
    worker_connections: int | str = 8192
    worker_rlimit_nofile: int = 20_000


def local(
    *,
    listen: str,
    upstreams: Sequence[str],
    state_dir: Path,
    cache_dir: Path | None = None,
    access_log: Path | None = None,
    web_dir: Path = WEB_DIR,
    rate: Rate = DEFAULT_RATE,
    allowed_origins: Sequence[str] = (),
    client_timeout_s: int = CLIENT_TIMEOUT_S,
) -> str:
    """For one developer's machine: everything in ``state_dir``, errors to standard error.

    X-Forwarded-For is trusted from loopback, so that a load generator can play many clients.
    ``listen`` and ``upstreams`` are ``host:port``. nginx's caches are in ``cache_dir`` and in a
    folder beside it; this and ``access_log`` are by default below ``state_dir``. ``rate`` is the
    application's RATE_LIMIT, ``allowed_origins`` its ALLOWED_ORIGINS, read by ``parse_origins``.
    Raises ValueError.
    """
    state_dir = state_dir.resolve()
    return _render(
        Rendering(
            name="local",
            http_listen=[names.listen(listen)],
            # Links must contain nginx's port, which is not the default here.
            host_header="$host:$server_port",
            trusted=_proxy_networks(["loopback"]),
            upstreams=upstreams,
            rate=rate,
            allowed_origins=allowed_origins,
            keepalive_requests=PROXY_KEEPALIVE_REQUESTS,
            client_timeout_s=client_timeout_s,
            state_dir=state_dir,
            cache_dir=cache_dir or state_dir / "kept",
            web_dir=web_dir.resolve(),
            pid_path=state_dir / "nginx.pid",
            access_log=(access_log or state_dir / "access.log").resolve(),
            error_log="stderr",
            # As root, the workers stay root: other users may not be able to enter the folder.
            user="root" if os.geteuid() == 0 else None,
        )
    )


def server(
    *,
    server_names: Sequence[str],
    upstreams: Sequence[str],
    certificate: Path | None = None,
    certificate_key: Path | None = None,
    trusted: Sequence[str] = (),
    hops: int | None = None,
    rate: Rate = DEFAULT_RATE,
    allowed_origins: Sequence[str] = (),
    http_listen: Sequence[str] = ("80", "[::]:80"),
    https_listen: Sequence[str] = ("443", "[::]:443"),
    web_dir: Path = WEB_DIR,
    acme_dir: Path = Path("/var/www/acme"),
    root: Path = Path("/"),
) -> str:
    """For a host of its own, with Debian's user, and Debian's folders below ``root``. Buyers reach
    it by any of ``server_names``; a certificate must be valid for all of them.

    With a certificate nginx serves https, and http only to redirect buyers there. Without one it
    serves http to a proxy in front that has the certificate, and ``trusted`` must name that proxy.
    ``trusted`` are networks of proxies in front, or names that ``parse_networks`` knows; none when
    buyers connect to nginx directly. With ``hops=1`` the client is the address that connected to
    the proxy in front, whatever its network. Raises ValueError, also for a network that is the
    whole Internet.
    """
    networks = _proxy_networks(trusted, hops)
    tls = certificate is not None
    taken = [names.server_name(name, tls=tls) for name in server_names]
    if not taken:
        raise ValueError("give at least one server name, the host name that buyers type")
    if tls != (certificate_key is not None):
        raise ValueError("a certificate and its key come together")
    if not tls and not networks:
        raise ValueError("give a certificate and its key, or trust the proxy in front that has one")
    for path in (certificate, certificate_key):
        if path is not None and not path.is_absolute():
            # nginx would look for it in the folder of its configuration.
            raise ValueError(f"{path}: give the full path that it has on nginx's host")
    log_dir = root / "var/log/nginx"
    return _render(
        Rendering(
            name="server",
            http_listen=[names.listen(listen) for listen in http_listen],
            https_listen=[names.listen(listen) for listen in https_listen],
            # nginx warns of a name that is listed twice.
            server_names=list(dict.fromkeys(taken)),
            host_header="$host",
            tls=tls,
            certificate=certificate,
            certificate_key=certificate_key,
            acme_dir=acme_dir,
            https_only=not tls,
            hsts=True,
            trusted=networks,
            hops=hops,
            upstreams=upstreams,
            rate=rate,
            allowed_origins=allowed_origins,
            keepalive_requests=PROXY_KEEPALIVE_REQUESTS if networks else KEEPALIVE_REQUESTS,
            state_dir=root / "var/lib/nginx",
            # In memory, and only root can create a folder of that name there before nginx does.
            cache_dir=root / "run/tickets-kept",
            web_dir=web_dir.resolve(),
            pid_path=root / "run/nginx.pid",
            access_log=log_dir / "access.log",
            error_log=log_dir / "error.log",
            user="www-data",
        )
    )


def heroku(
    *,
    trusted: Sequence[str] = ("heroku",),
    hops: int | None = None,
    rate: Rate = DEFAULT_RATE,
    allowed_origins: Sequence[str] = (),
) -> str:
    """``config/nginx.conf.erb`` of heroku-buildpack-nginx, which fills in the dyno's variables.

    ``trusted`` and ``hops`` are those of ``server``; with Cloudflare in front of the router both
    are trusted. The application listens on HEROKU_SOCKET. Raises ValueError.
    """
    return _render(
        Rendering(
            name="heroku",
            http_listen=['<%= ENV["PORT"] %>'],
            host_header="$host",
            https_only=True,
            hsts=True,
            trusted=_proxy_networks(trusted, hops),
            hops=hops,
            upstreams=[f"unix:{HEROKU_SOCKET}"],
            rate=rate,
            allowed_origins=allowed_origins,
            keepalive_requests=PROXY_KEEPALIVE_REQUESTS,
            foreground=True,
            # Not "auto": a dyno sees all cores of its host, but has only a share of them.
            worker_processes='<%= ENV["NGINX_WORKERS"] || 4 %>',
            worker_connections='<%= ENV["NGINX_WORKER_CONNECTIONS"] || 4096 %>',
            # The platform's maximum.
            worker_rlimit_nofile=10_000,
            state_dir=Path("/tmp"),
            cache_dir='<%= File.writable?("/dev/shm") ? "/dev/shm" : "/tmp" %>/tickets-kept',
            # The buildpack starts nginx in the application's folder.
            web_dir="<%= Dir.pwd %>/web",
            pid_path="/tmp/nginx.pid",
            # The buildpack copies these files to the dyno's log.
            access_log='<%= ENV["NGINX_ACCESS_LOG_PATH"] || "logs/nginx/access.log" %>',
            error_log='<%= ENV["NGINX_ERROR_LOG_PATH"] || "logs/nginx/error.log" %>',
        )
    )


def _render(rendering: Rendering) -> str:
    if not rendering.upstreams:
        raise ValueError("name at least one upstream")
    environment = Environment(  # noqa: S701 - the output is not HTML; see _quoted
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = _quoted
    environment.filters["quoted_words"] = _quoted_words
    envelope = Envelope.around(rendering.rate)
    upstreams = [names.upstream(upstream) for upstream in rendering.upstreams]
    variables = vars(rendering) | {
        "rendering": rendering.name,
        "listen_backlog": LISTEN_BACKLOG,
        "client_scheme": "$client_scheme" if rendering.trusted else "$scheme",
        "upstreams": upstreams,
        "elsewhere": [upstream for upstream in upstreams if not _is_here(upstream)],
        "static_version": STATIC_VERSION,
        "upstream_keepalive_s": UPSTREAM_KEEPALIVE_S,
        "upstream_max_fails": UPSTREAM_MAX_FAILS,
        "upstream_fail_timeout_s": UPSTREAM_FAIL_TIMEOUT_S,
        "next_upstream_timeout_s": NEXT_UPSTREAM_TIMEOUT_S,
        "envelope": envelope,
        "webhooks_envelope": Envelope.around(parse_rate(RATE_OF_WEBHOOKS)),
        "doors_envelope": Envelope.around(parse_rate(RATE_OF_DOORS)),
        "problems": _problems(envelope),
        "problems_path": PROBLEMS_PATH,
        "https_required": HTTPS_REQUIRED,
        "cross_site_request": CROSS_SITE_REQUEST,
        "safe_methods": origins.SAFE_METHODS,
        "frames": origins.FRAMES,
        "cors": origins,
        "refused_unless_allowed": "$cross_site_if_not_allowed"
        if rendering.allowed_origins
        else "$cross_site_by_kind",
        "not_found": NOT_FOUND,
        "plain_path": PLAIN_PATH,
        "unavailable": UNAVAILABLE,
        "outcome_unknown": OUTCOME_UNKNOWN,
        "upstream_failure_statuses": UPSTREAM_FAILURE_STATUSES,
        "kept_status": KEPT_STATUS,
        "map_min_uses": MAP_MIN_USES,
        "envelope_status": ENVELOPE_STATUS,
        "seat_taken": SEAT_TAKEN,
        "sold_out": SOLD_OUT,
        "hot_rate_limited": HOT_RATE_LIMITED,
        "at_once_status": AT_ONCE_STATUS,
        "too_many_at_once": TOO_MANY_AT_ONCE,
        "body_too_large": BODY_TOO_LARGE,
        "page_suffix": PAGE_SUFFIX,
        **_pages(environment),
    }
    return environment.get_template("nginx.conf.j2").render(variables)


def _pages(environment: Environment) -> dict[str, object]:
    """The function that renders a problem as a page, and the CSP that allows its style sheet."""
    style = " ".join((TEMPLATES / "problem_page.css").read_text().split())
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = environment.get_template("problem_page.html.j2")

    def page_of(problem: Problem) -> str:
        return " ".join(template.render(problem=problem, style=style).split())

    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"
    )
    return {"page_of": page_of, "page_policy": policy}


def _problems(envelope: Envelope) -> list[Problem]:
    more = {
        RATE_LIMITED.code: envelope.headers,
        SEAT_TAKEN.code: (envelope.policy_header,),
        SOLD_OUT.code: (envelope.policy_header,),
    }
    return [
        dataclasses.replace(problem, headers=problem.headers + more.get(problem.code, ()))
        for problem in PROBLEMS
    ]


def _proxy_networks(trusted: Sequence[str], hops: int | None = None) -> list[str]:
    networks = parse_networks(",".join(trusted))
    if hops is not None and not networks:
        raise ValueError("hops are counted from a trusted proxy: trust its network")
    if hops not in (None, 1):
        raise ValueError(
            f"nginx cannot take entry {hops} of X-Forwarded-For: it takes the last one (1),"
            " or walks past trusted networks"
        )
    return [str(network) for network in networks]


def _is_here(upstream: str) -> bool:
    """Whether the application there trusts nginx by default, because it is on this machine."""
    if upstream.startswith(("unix:", "localhost:")):
        return True
    return is_trusted(upstream, parse_networks("loopback"))


def _quoted(value: object) -> str:
    """An argument in quotes. Raises ValueError for a dollar sign, which nginx cannot escape."""
    text = str(value)
    if "$" in text:
        raise ValueError(f"nginx cannot take a dollar sign: {text!r}")
    return _quoted_words(text)


def _quoted_words(text: str) -> str:
    """Like _quoted, but may contain nginx's variables."""
    if re.search(r"['\\\n]|\$(?![a-z_])", text):
        raise ValueError(f"nginx cannot take a quote, backslash, line break or lone $: {text!r}")
    return f"'{text}'"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.nginx.render", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    renderings = parser.add_subparsers(dest="rendering", required=True)
    local_parser = renderings.add_parser("local", help="one developer's machine")
    server_parser = renderings.add_parser("server", help="a host of its own")
    heroku_parser = renderings.add_parser("heroku", help="config/nginx.conf.erb of a dyno")

    for rendering_parser in (local_parser, server_parser, heroku_parser):
        rendering_parser.add_argument(
            "--output",
            metavar="FILE",
            type=Path,
            help="where to write it, all of it or, if anything is wrong, nothing;"
            " by default it is printed",
        )
        rendering_parser.add_argument(
            "--rate-limit",
            metavar="RATE",
            default=DEFAULT_RATE_LIMIT,
            help="the application's RATE_LIMIT (%(default)s)",
        )
        rendering_parser.add_argument(
            "--allowed-origins",
            metavar="ORIGINS",
            default="",
            help="the application's ALLOWED_ORIGINS, comma-separated",
        )
    for rendering_parser in (local_parser, server_parser):
        rendering_parser.add_argument(
            "--upstream",
            metavar="HOST:PORT",
            nargs="+",
            default=[],
            action="extend",
            help="where gunicorn listens; unix:PATH for a socket",
        )
    for rendering_parser, by_default in ((server_parser, "nobody"), (heroku_parser, "heroku")):
        rendering_parser.add_argument(
            "--trust",
            metavar="NETWORK",
            nargs="+",
            default=[],
            action="extend",
            help="all proxies in front, whose X-Forwarded-For is believed: networks, or"
            f" {', '.join(presets())}; by default {by_default}",
        )
        rendering_parser.add_argument(
            "--hops", type=int, metavar="1", help="the client is what the proxy in front has seen"
        )

    local_parser.add_argument("--listen", metavar="HOST:PORT", required=True)
    local_parser.add_argument("--state", metavar="DIR", type=Path, required=True)
    server_parser.add_argument(
        "--server-name",
        metavar="NAME",
        nargs="+",
        required=True,
        action="extend",
        help="the host names that buyers type; nginx drops all others",
    )
    server_parser.add_argument(
        "--certificate", metavar="FILE", type=Path, help="with its chain, PEM; none: http"
    )
    server_parser.add_argument("--certificate-key", metavar="FILE", type=Path)

    given = parser.parse_args()
    try:
        config = _rendered(given)
        if given.output:
            replace_file(given.output, config)
        else:
            sys.stdout.write(config)
            sys.stdout.flush()
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: {error}; nothing was written\n")
    except OSError as error:
        if given.output:
            said = f"{given.output}: {error.strerror}; nothing was written"
        else:
            said = f"{error.strerror}; what was printed is not whole"
            # Otherwise Python would flush once more at its exit, and print a traceback.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        parser.exit(1, f"{parser.prog}: {said}\n")
    for path in (vars(given).get("certificate"), vars(given).get("certificate_key")):
        # Not Path.exists(), which raises for a folder that only root may enter.
        if path and not os.path.exists(path):  # noqa: PTH110
            print(
                f"{parser.prog}: {path} was not found; nginx's host must have it", file=sys.stderr
            )


def _rendered(given: argparse.Namespace) -> str:
    try:
        rate = parse_rate(given.rate_limit)
    except ValueError as error:
        raise ValueError(f"--rate-limit {error}") from None
    try:
        allowed_origins = origins.parse_origins(given.allowed_origins)
    except ValueError as error:
        raise ValueError(f"--allowed-origins: {error}") from None
    if given.rendering == "local":
        return local(
            listen=given.listen,
            upstreams=given.upstream,
            state_dir=given.state,
            rate=rate,
            allowed_origins=allowed_origins,
        )
    if given.rendering == "heroku":
        trust = {"trusted": given.trust} if given.trust else {}
        return heroku(**trust, hops=given.hops, rate=rate, allowed_origins=allowed_origins)
    return server(
        server_names=given.server_name,
        upstreams=given.upstream,
        certificate=given.certificate,
        certificate_key=given.certificate_key,
        trusted=given.trust,
        hops=given.hops,
        rate=rate,
        allowed_origins=allowed_origins,
    )


if __name__ == "__main__":
    main()
