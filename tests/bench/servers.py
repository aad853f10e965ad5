"""The servers that are measured: the whole stack, and those that it is compared with."""

import contextlib
import shutil
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import requests

from ops.processes import free_port
from ops.servers import HOST, REPOSITORY, HttpServer, Nginx
from ops.stack import Stack
from tests.bench.checkout import INTRODUCTIONS, introduce
from tests.bench.parts import NOBODY, Roots, roots_of
from tests.bench.wrk import Result
from tests.support.factories import put_on_sale, two_halves
from tests.support.redis_stores import commands_of, seats_at
from web.adapters.redis.scripts import read_scripts
from web.domain.events import Event
from web.domain.sales import LAST_STEP_S

COMPARED_S = LAST_STEP_S + 5
"""The worker compares a hall when it first sees it, and once more LAST_STEP_S later."""

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


Key = TypeVar("Key")


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
    def halls(self, sizes: Mapping[Key, int]) -> Iterator[dict[Key, Event]]:
        """New halls on sale, half of each free of charge: one for each measurement, so that none is
        affected by the seats that another has sold. ``sizes`` are their seats. Yields when the
        worker has compared them, which it does once for each and for no call."""
        halls = {}
        try:
            for key, seats in sizes.items():
                halls[key] = two_halves(
                    "bench", seats // 2, hold_ms=300_000, max_held_per_client=16
                )
                put_on_sale(self.seats, halls[key])
                self._introduce(halls[key])
            time.sleep(COMPARED_S)
            yield halls
        finally:
            for hall in halls.values():
                self._withdraw(hall)

    def _introduce(self, hall: Event) -> None:
        """Make every process do what it does once for an event."""
        for program in (self.straight, self.unlimited):
            introduce(program.url, hall.id)
        for peer in self._peers:
            for _ in range(INTRODUCTIONS):
                requests.get(f"{getattr(self, peer).url}/api/events/{hall.id}", timeout=10)

    def _withdraw(self, hall: Event) -> None:
        """Without that the worker would take it for lost, and put it on sale again."""
        self.seats._catalogue.withdraw(hall.id)
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
