"""``make bench``: requests per second of each path, as a ratio to nginx's own ``return 409``.

Everything runs on this machine at the same time, wrk included, so figures of different machines
or different runs are not comparable; the ratios of one run are.
"""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import requests

from ops.processes import free_port
from ops.servers import HOST, Nginx
from ops.stack import Stack
from tests.factories import put_on_sale
from web.domain import Event, Row, Section
from web.stores.seat_store import RedisSeatStore, connect

SECONDS = 5
"""Of each measurement; shorter ones are noisy, and longer ones sell more than the hall has."""

REPETITIONS = 3
CONNECTIONS = 64
THREADS = 2
CAPACITY = 100_000
BUYERS_SCRIPT = Path(__file__).with_name("buyers.lua")
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "WEB_CONCURRENCY")

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


class Surprise(Exception):
    """A measurement got other answers than it is about."""


@dataclass(frozen=True)
class Measured:
    """What is measured: ``arguments`` are those of buyers.lua after the event, ``counts`` says
    which of its numbers is the result."""

    name: str
    arguments: tuple[str, ...]
    counts: str = "answers"


PATHS = (
    Measured("hold a free seat", ("free", "paid")),
    Measured("hold one taken seat", ("taken", "paid-GA-1")),
    Measured(
        "purchase, free of charge (hold, pay, durable booking)", ("buy", "free", ""), "bookings"
    ),
    Measured("purchase through the payment sandbox", ("buy", "paid", "pm_card_visa"), "bookings"),
)
YARDSTICK = "nginx's own `return 409`"


class Bench:
    def __init__(self, stack: Stack):
        self._url = stack["nginx"].url
        self._seats = RedisSeatStore(connect(stack.environment["REDIS_URL"]))
        self._halls = 0

    def measure(self, path: Measured) -> float:
        """Per second. Raises Surprise."""
        hall = self._open_hall()
        if path.arguments[0] == "taken":
            seat_url = f"{self._url}/api/events/{hall.id}/seats/{path.arguments[1]}/hold"
            assert requests.post(seat_url, timeout=10).status_code == 201
        numbers = run_wrk(self._url, hall.id, *path.arguments)
        if numbers["surprises"]:
            raise Surprise(f"{path.name}: {numbers}")
        return numbers[path.counts] / numbers["seconds"]

    def _open_hall(self) -> Event:
        """A fresh one for each measurement, so that none finds what another has sold."""
        self._halls += 1
        numbers = tuple(map(str, range(1, CAPACITY // 2 + 1)))
        rows = (Row("GA", (numbers,)),)
        hall = Event(
            id=f"bench-{self._halls}",
            name="Benchmark",
            venue="Loopback",
            currency="GBP",
            sale_opens_at=datetime(2026, 1, 1, tzinfo=UTC),
            hold_ms=300_000,
            max_seats_per_hold=8,
            max_held_per_client=16,
            sections=(
                Section("paid", "Paid", "general", 2500, rows),
                Section("free", "Free of charge", "general", 0, rows),
            ),
        )
        put_on_sale(self._seats, hall)
        return hall


def run_wrk(url: str, *arguments: str) -> dict:
    """wrk with buyers.lua, or bare without ``arguments``. Returns seconds, answers and the counts
    of buyers.lua."""
    script = ["-s", BUYERS_SCRIPT] if arguments else []
    done = subprocess.run(
        ["wrk", f"-t{THREADS}", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--timeout", "10s"]
        + [*script, url]
        + (["--", *arguments] if arguments else []),
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS + 60,
    )
    if arguments:
        return json.loads(done.stdout.splitlines()[-1])
    requests_made, seconds = re.search(r"(\d+) requests in ([\d.]+)s", done.stdout).groups()
    return {"answers": int(requests_made), "seconds": float(seconds)}


@contextmanager
def yardstick(folder: Path) -> Iterator[str]:
    """The URL of an nginx that says 409 to everything."""
    port = free_port()
    config_path = folder / "yardstick.conf"
    config_path.write_text(YARDSTICK_CONFIG.format(folder=folder, host=HOST, port=port))
    with Nginx(config_path, folder / "yardstick.log", port) as nginx:
        yield nginx.url


def machine() -> str:
    """One line: processor, cores, versions."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    parts = " ".join(f"{name} {version(name)}" for name in ("flask", "gunicorn", "gevent", "redis"))
    return (
        f"{os.cpu_count()} cores of {cpu[1] if cpu else platform.processor()}, "
        f"Python {platform.python_version()}, {parts}"
    )


def main() -> None:
    environ = {name: os.environ[name] for name in INHERITED if name in os.environ}
    figures: dict[str, list[float]] = {YARDSTICK: []} | {path.name: [] for path in PATHS}
    with tempfile.TemporaryDirectory(prefix="tickets-bench-") as name:
        folder = Path(name)
        stack = Stack(folder / "stack", environ)
        try:
            stack.start(free_port())
            bench = Bench(stack)
            with yardstick(folder) as yardstick_url:
                # Round by round, so that a slow minute of the machine is everybody's.
                for repetition in range(1, REPETITIONS + 1):
                    print(f"round {repetition} of {REPETITIONS}", file=sys.stderr, flush=True)
                    numbers = run_wrk(yardstick_url)
                    figures[YARDSTICK].append(numbers["answers"] / numbers["seconds"])
                    for path in PATHS:
                        figures[path.name].append(bench.measure(path))
        finally:
            stack.stop()
    report(figures)


def report(figures: dict[str, list[float]]) -> None:
    """A Markdown table: the median of the repetitions, their spread, the ratio of medians."""
    base = statistics.median(figures[YARDSTICK])
    print(f"\n{machine()}; wrk with {CONNECTIONS} connections on the same machine.\n")
    print("| path | per second | lowest to highest | ratio |")
    print("|---|---|---|---|")
    for name, values in figures.items():
        median = statistics.median(values)
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        print(f"| {name} | {median:,.0f} | {spread} | {median / base:.4f} |")


if __name__ == "__main__":
    main()
