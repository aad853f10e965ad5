"""The servers that are measured: the whole stack, and those that it is compared with."""

import contextlib
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import requests

from ops.processes import free_port
from ops.servers import HOST, REPOSITORY, HttpServer, Nginx
from ops.stack import Stack
from tests.bench.checkout import INTRODUCTIONS, introduce
from tests.bench.parts import NOBODY, Roots, roots_of
from tests.bench.wrk import Result
from tests.support.factories import put_on_sale, two_halves
from tests.support.redis_stores import commands_of, seats_at
from web.adapters.redis.event_catalogue import CATALOGUE_KEY
from web.adapters.redis.scripts import read_scripts
from web.domain.events import Event

PEER_PROCESSES = 2
"""As many as gunicorn has workers."""

EXPRESS_DIR = Path(__file__).parent / "express"
FASTAPI_DIR = Path(__file__).parent / "fastapi"
UVICORN = FASTAPI_DIR / ".venv/bin/uvicorn"

YARDSTICK_CONFIG = """
worker_processes auto;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen {host}:{port} backlog=4096; location / {{ return 409; }} }}
}}
"""


@dataclass(frozen=True)
class Program:
    """``roots`` are the processes whose processor time its calls cost, those of the stores too."""

    url: str
    roots: Roots


class Bench:
    """TicketS and the programs that it is compared with. ``peers`` are "express" and "fastapi",
    those of them that are wanted.

    ``tickets`` is all of TicketS, ``straight`` the same without nginx, ``unlimited`` without a
    limiter, too; ``yardstick`` is an nginx that refuses everything by itself. ``latest`` has the
    last result of each measurement. ``counts`` are other figures for the end of the report."""

    def __init__(self, stack: Stack, folder: Path, peers: Collection[str]):
        roots = roots_of(stack)
        self.tickets = Program(stack["nginx"].url, roots)
        self.straight = Program(stack["web"].url, roots)
        self.seats = seats_at(stack.environment["REDIS_URL"])
        self.latest: dict[str, Result] = {}
        self.counts: dict[str, list[float]] = {}
        self._roots = roots
        self._environment = stack.environment
        self._folder = folder
        self._peers = peers
        self._kept: list[Event] = []
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.yardstick = self._started(self._yardstick(), "nginx")
        stores = {pid: part for pid, part in self._roots.items() if part not in {"nginx", "web"}}
        self.unlimited = self._started(self._unlimited(), "web", stores)
        # The worker is TicketS's own.
        stores = {pid: part for pid, part in stores.items() if part != "worker"}
        if "express" in self._peers:
            self.express = self._started(self._express(), "web", stores)
        if "fastapi" in self._peers:
            self.fastapi = self._started(self._fastapi(), "web", stores)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _started(self, server: HttpServer | Nginx, part: str, others: Roots = NOBODY) -> Program:
        server = self._running.enter_context(server)
        return Program(server.url, {server.pid: part, **others})

    def count(self, what: str, figure: float) -> None:
        self.counts.setdefault(what, []).append(figure)

    @contextlib.contextmanager
    def hall(self, seats: int, *, is_kept: bool) -> Iterator[Event]:
        """A new hall on sale, half of it free of charge: one for each measurement, so that none is
        affected by the seats that another has sold. One that ``is_kept`` stays on sale until
        ``close_kept_halls``."""
        hall = two_halves("bench", seats // 2, hold_ms=300_000, max_held_per_client=16)
        put_on_sale(self.seats, hall)
        self._introduce(hall)
        try:
            yield hall
        finally:
            if is_kept:
                self._kept.append(hall)
            else:
                self._forget(hall)

    def _introduce(self, hall: Event) -> None:
        """Make every process do what it does once for an event."""
        for program in (self.straight, self.unlimited):
            introduce(program.url, hall.id)
        for peer in self._peers:
            for _ in range(INTRODUCTIONS):
                requests.get(f"{getattr(self, peer).url}/api/events/{hall.id}", timeout=10)

    def close_kept_halls(self) -> None:
        while self._kept:
            self._forget(self._kept.pop())

    def _forget(self, hall: Event) -> None:
        """Close the hall: otherwise the worker would maintain more and more of them."""
        commands_of(self.seats, CATALOGUE_KEY).srem(CATALOGUE_KEY, hall.id)
        redis = commands_of(self.seats, hall.id)
        for key in redis.scan_iter(f"*{{{hall.id}}}*", count=10_000):
            redis.unlink(key)

    def _yardstick(self) -> Nginx:
        """An nginx that answers everything with 409."""
        port = free_port()
        config_path = self._folder / "yardstick.conf"
        config_path.write_text(YARDSTICK_CONFIG.format(folder=self._folder, host=HOST, port=port))
        return Nginx(config_path, self._folder / "yardstick.log", port)

    def _unlimited(self) -> HttpServer:
        port = free_port()
        return HttpServer(
            "web without a limiter",
            [sys.executable, "-m", "gunicorn", "tests.bench.unlimited:app"],
            self._folder / "unlimited.log",
            port,
            ready_path="/readyz",
            env=self._environment | {"PORT": str(port), "WEB_HOST": HOST},
            cwd=REPOSITORY,
        )

    def _express(self) -> HttpServer:
        command = ["node", str(EXPRESS_DIR / "server.mjs")]
        own = {"PROCESSES": str(PEER_PROCESSES), "NODE_ENV": "production"}
        return self._peer("Express", free_port(), command, own)

    def _fastapi(self) -> HttpServer:
        port = free_port()
        command = [
            *(str(UVICORN), "shop:app", "--app-dir", str(FASTAPI_DIR)),
            *("--host", HOST, "--port", str(port), "--workers", str(PEER_PROCESSES)),
            *("--loop", "uvloop", "--http", "httptools"),
            *("--no-access-log", "--log-level", "warning"),
        ]
        return self._peer("FastAPI", port, command, {})

    def _peer(
        self, name: str, port: int, command: Sequence[str], own: Mapping[str, str]
    ) -> HttpServer:
        common = {"PORT": str(port), "HOLD_SEATS": read_scripts()["hold_seats"].source}
        return HttpServer(
            name,
            command,
            self._folder / f"{name}.log",
            port,
            ready_path="/healthz",
            env=self._environment | common | own,
            cwd=REPOSITORY,
        )


def available_peers() -> set[str]:
    """Those that ops/install.sh could install."""
    peers = set()
    if shutil.which("node") and (EXPRESS_DIR / "node_modules").is_dir():
        peers.add("express")
    if UVICORN.exists():
        peers.add("fastapi")
    return peers
