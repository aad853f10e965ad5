"""The servers that are measured: the whole stack, and those that it is compared with."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import requests

from ops.processes import free_port
from ops.servers import HOST, REPOSITORY, HttpServer, Nginx
from ops.stack import Stack
from tests.bench.parts import by_part, processor_s, roots_of
from tests.support.factories import put_on_sale, two_halves
from tests.support.redis_stores import commands_of, seats_at
from web.adapters.redis.event_catalogue import CATALOGUE_KEY
from web.adapters.redis.scripts import read_scripts
from web.domain.events import Event

INTRODUCTIONS = 8
"""Connections, each of which either worker may accept."""

EXPRESS_DIR = Path(__file__).parent / "express"

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


class Bench:
    """The stack, and the servers beside it: nginx's yardstick, the application without a limiter,
    the Express application. ``notes`` are sentences for the end of the report."""

    def __init__(self, stack: Stack, folder: Path, *, with_express: bool):
        self.url = stack["nginx"].url
        self.web_url = stack["web"].url
        self.seats = seats_at(stack.environment["REDIS_URL"])
        self.notes: list[str] = []
        self._stack = stack
        self._environment = stack.environment
        self._folder = folder
        self._with_express = with_express
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.yardstick_url = self._running.enter_context(self._yardstick()).url
        self.unlimited_url = self._running.enter_context(self._unlimited()).url
        if self._with_express:
            self.express_url = self._running.enter_context(self._express()).url
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @contextlib.contextmanager
    def hall(self, seats: int) -> Iterator[Event]:
        """A new hall on sale, half of it free of charge: one for each measurement, so that none is
        affected by the seats that another has sold."""
        hall = two_halves("bench", seats // 2, hold_ms=300_000, max_held_per_client=16)
        put_on_sale(self.seats, hall)
        self._introduce(hall)
        try:
            yield hall
        finally:
            self._forget(hall)

    def _introduce(self, hall: Event) -> None:
        """Make every process load the event's definition, which it does at the first request."""
        urls = [self.web_url, self.unlimited_url]
        if self._with_express:
            urls.append(self.express_url)
        for url in urls:
            for _ in range(INTRODUCTIONS):
                requests.get(f"{url}/api/events/{hall.id}", timeout=10)

    def processor_s(self) -> dict[str, float]:
        """The processor time of each part so far, in seconds, without wrk."""
        return by_part(roots_of(self._stack), processor_s)

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
        port = free_port()
        environment = {
            "PORT": str(port),
            "PROCESSES": "2",
            "NODE_ENV": "production",
            "HOLD_SEATS": read_scripts()["hold_seats"].source,
        }
        return HttpServer(
            "Express",
            ["node", str(EXPRESS_DIR / "server.mjs")],
            self._folder / "express.log",
            port,
            ready_path="/healthz",
            env=self._environment | environment,
            cwd=REPOSITORY,
        )


def can_run_express() -> bool:
    """Whether Node.js is installed, and npm was at the time of the installation."""
    return bool(shutil.which("node")) and (EXPRESS_DIR / "node_modules").is_dir()
