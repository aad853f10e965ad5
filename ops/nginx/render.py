"""Make nginx's configuration from the templates beside this file.

python -m ops.nginx.render local --listen 127.0.0.1:8080 --upstream 127.0.0.1:8000 --state DIR
python -m ops.nginx.render production --server-name tickets.example.com --trust 10.0.0.0/8 \\
    --upstream 10.0.1.1:8000 --upstream 10.0.1.2:8000

Each rendering is a function that fills in the same templates; a new concern is a template of its
own and a line in nginx.conf.j2, a new rendering is a function here and its command in main().
"""

import argparse
import ipaddress
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ops.nginx.problems import (
    OUTCOME_UNKNOWN,
    PROBLEMS,
    PROBLEMS_PATH,
    UNAVAILABLE,
    UPSTREAM_FAILURE_STATUSES,
)

UPSTREAM_KEEPALIVE_S = 10
"""gunicorn.conf.py's keepalive is longer."""

LISTEN_BACKLOG = 4096

LOOPBACK = ("127.0.0.0/8", "::1/128")


def local(*, listen: str, upstreams: Sequence[str], state_dir: Path) -> str:
    """For one developer's machine: everything in ``state_dir``, errors to standard error.

    X-Forwarded-For is believed from loopback, so that a load generator can play many clients.
    ``listen`` and ``upstreams`` are ``host:port``. Raises ValueError.
    """
    state_dir = state_dir.resolve()
    return _render(
        "local",
        listen=listen,
        server_name=None,
        # The address bar's port is nginx's own here, and links have to keep it.
        host_header="$host:$server_port",
        trusted=LOOPBACK,
        upstreams=upstreams,
        state_dir=state_dir,
        pid_path=state_dir / "nginx.pid",
        access_log=state_dir / "access.log",
        error_log="stderr",
        # As root the workers stay root: nobody else may be able to enter the folder.
        user="root" if os.geteuid() == 0 else None,
    )


def production(
    *,
    server_name: str,
    trusted: Sequence[str],
    upstreams: Sequence[str],
    listen: str = "80",
    root: Path = Path("/"),
) -> str:
    """For a host of its own, with Debian's user and with its folders below ``root``.

    ``trusted`` are the networks of the proxies in front, whose X-Forwarded-For is believed; none
    when nginx is the first that a buyer meets. Raises ValueError, also for a network that is the
    whole Internet.
    """
    log_dir = root / "var/log/nginx"
    return _render(
        "production",
        listen=listen,
        server_name=_word(server_name),
        host_header="$host",
        trusted=[_proxy_network(network) for network in trusted],
        upstreams=upstreams,
        state_dir=root / "var/lib/nginx",
        pid_path=root / "run/nginx.pid",
        access_log=log_dir / "access.log",
        error_log=log_dir / "error.log",
        user="www-data",
    )


def _render(rendering: str, *, listen: str, upstreams: Sequence[str], **context: object) -> str:
    if not upstreams:
        raise ValueError("name at least one upstream")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = _quoted
    return environment.get_template("nginx.conf.j2").render(
        rendering=rendering,
        listen=_word(listen),
        listen_backlog=LISTEN_BACKLOG,
        upstreams=[_word(upstream) for upstream in upstreams],
        upstream_keepalive_s=UPSTREAM_KEEPALIVE_S,
        problems=PROBLEMS,
        problems_path=PROBLEMS_PATH,
        unavailable=UNAVAILABLE,
        outcome_unknown=OUTCOME_UNKNOWN,
        upstream_failure_statuses=UPSTREAM_FAILURE_STATUSES,
        **context,
    )


def _proxy_network(text: str) -> str:
    network = ipaddress.ip_network(text)
    if network.prefixlen == 0:
        raise ValueError(f"{text} is everybody: any client could choose its own address")
    return str(network)


def _word(text: str) -> str:
    """An argument that needs no quotes in nginx's syntax."""
    if not re.fullmatch(r"[A-Za-z0-9._:*\[\]-]+", text):
        raise ValueError(f"{text!r} is no name or address that nginx could take")
    return text


def _quoted(value: object) -> str:
    """An argument in quotes; nginx has no way to write a literal dollar sign."""
    text = str(value)
    if re.search(r"['\\$\n]", text):
        raise ValueError(f"nginx cannot take a quote, backslash, dollar or line break: {text!r}")
    return f"'{text}'"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.nginx.render", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    renderings = parser.add_subparsers(dest="rendering", required=True)

    local_parser = renderings.add_parser("local", help="one developer's machine")
    local_parser.add_argument("--listen", metavar="HOST:PORT", required=True)
    local_parser.add_argument("--state", metavar="DIR", type=Path, required=True)

    production_parser = renderings.add_parser("production", help="a host of its own")
    production_parser.add_argument("--server-name", metavar="NAME", required=True)
    production_parser.add_argument(
        "--trust",
        metavar="NETWORK",
        nargs="+",
        default=[],
        action="extend",
        help="networks of the proxies in front; their X-Forwarded-For is believed",
    )
    production_parser.add_argument("--listen", metavar="[HOST:]PORT", default="80")

    for rendering_parser in (local_parser, production_parser):
        rendering_parser.add_argument(
            "--upstream",
            metavar="HOST:PORT",
            nargs="+",
            default=[],
            action="extend",
            help="where gunicorn listens",
        )

    given = parser.parse_args()
    try:
        if given.rendering == "local":
            config = local(listen=given.listen, upstreams=given.upstream, state_dir=given.state)
        else:
            config = production(
                server_name=given.server_name,
                trusted=given.trust,
                upstreams=given.upstream,
                listen=given.listen,
            )
    except ValueError as error:
        parser.error(str(error))
    sys.stdout.write(config)


if __name__ == "__main__":
    main()
