"""What ``make bench`` measures, and how."""

import contextlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import requests

from ops.processes import free_port
from ops.servers import HOST, REPOSITORY, HttpServer, Nginx
from ops.stack import Stack
from tests.factories import put_on_sale
from web.domain import Event, Row, Section
from web.stores.seat_store import CATALOGUE_KEY, RedisSeatStore, connect

SECONDS = 5
"""Of each measurement; shorter ones are noisy, and longer ones sell more than the hall has."""

CHECK_SECONDS = 1
"""Of the look at the statuses before a burst is measured."""

REPETITIONS = 3
CONNECTIONS = 64
THREADS = 2
CAPACITY = 100_000
FOLDER = Path(__file__).parent

CROWD = 60_000
"""Clients of a burst: at 100,000 requests a second, each asks less than twice a second."""

RELEASE_INTERVAL_S = 0.3

FLOOD_CONNECTIONS = 32
FLOOD_DELAY_MS = 5
"""Some 6,000 requests a second from one client: 600 times its limit."""
NEIGHBOURS = 8
"""Connections of those whom the flood is not to disturb."""

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
class Result:
    per_second: float
    p99_ms: float


@dataclass(frozen=True)
class Measurement:
    """A row of the table: ``measure`` does it once, in a hall of its own."""

    name: str
    measure: Callable[["Bench", Event], Result]


@dataclass(frozen=True)
class Goal:
    """The median of ``path`` is to be ``at_least`` so many times that of ``to``."""

    name: str
    path: str
    to: str
    at_least: float


class Bench:
    """The stack, and what is measured beside it: nginx's yardstick, the application without a
    limiter. ``notes`` are sentences for the end of the report."""

    def __init__(self, stack: Stack, folder: Path):
        self.url = stack["nginx"].url
        self.web_url = stack["web"].url
        self._redis = connect(stack.environment["REDIS_URL"])
        self.seats = RedisSeatStore(self._redis)
        self.notes: list[str] = []
        self._environment = stack.environment
        self._folder = folder
        self._halls = 0
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.yardstick_url = self._running.enter_context(self._yardstick()).url
        self.unlimited_url = self._running.enter_context(self._unlimited()).url
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def measure(self, measurement: Measurement) -> Result:
        """Raises Surprise."""
        hall = self._open_hall()
        try:
            return measurement.measure(self, hall)
        finally:
            self._forget(hall)

    def answers_of_flask(self) -> float:
        """How many requests the application has answered, all workers together."""
        metrics = requests.get(f"{self.web_url}/metrics", timeout=10).text
        return sum(map(float, re.findall(r"^tickets_answers_total\{.*\} (\S+)$", metrics, re.M)))

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
        put_on_sale(self.seats, hall)
        return hall

    def _forget(self, hall: Event) -> None:
        """Or the worker would look after more and more halls as the bench goes on."""
        self._redis.srem(CATALOGUE_KEY, hall.id)
        for key in self._redis.scan_iter(f"*{{{hall.id}}}*", count=10_000):
            self._redis.unlink(key)

    def _yardstick(self) -> Nginx:
        """An nginx that says 409 to everything."""
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


# ---------------------------------------------------------------- with wrk


def wrk(
    script: str,
    url: str,
    *arguments: str,
    seconds: int = SECONDS,
    connections: int = CONNECTIONS,
) -> dict:
    """The JSON that a script of this folder prints at its end."""
    with start_wrk(script, url, *arguments, seconds=seconds, connections=connections) as running:
        output, _ = running.communicate(timeout=seconds + 60)
    if running.returncode:
        raise Surprise(f"wrk failed: {output}")
    return json.loads(output.splitlines()[-1])


def start_wrk(
    script: str, url: str, *arguments: str, seconds: int, connections: int
) -> subprocess.Popen:
    options = [f"-t{THREADS}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    return subprocess.Popen(
        ["wrk", *options, "-s", FOLDER / f"{script}.lua", url, "--", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


def burst(url: str, method: str, path: str, clients: int, expected: set[int]) -> Result:
    """Everybody asks the same, as fast as they can. Raises Surprise when an answer has a status
    that is not ``expected``; the measurement itself does not look, because that slows wrk down."""
    arguments = (method, path, str(clients))
    checked = wrk("burst", url, *arguments, "check", seconds=CHECK_SECONDS)
    if not checked["statuses"] or not set(map(int, checked["statuses"])) <= expected:
        raise Surprise(f"{method} {path}: {checked}")
    numbers = wrk("burst", url, *arguments)
    if numbers["errors"]:
        raise Surprise(f"{method} {path}: {numbers}")
    return Result(numbers["answers"] / numbers["seconds"], numbers["p99_ms"])


def buyers(
    url: str, hall: Event, *arguments: str, counts: str = "answers", connections: int = CONNECTIONS
) -> Result:
    """``arguments`` are those of buyers.lua after the event, ``counts`` says which of its numbers
    is the result. Raises Surprise."""
    numbers = wrk("buyers", url, hall.id, *arguments, connections=connections)
    if numbers["surprises"]:
        raise Surprise(f"{arguments}: {numbers}")
    return Result(numbers[counts] / numbers["seconds"], numbers["p99_ms"])


# ---------------------------------------------------------------- the rows


def hold_path(hall: Event, seat: str = "paid-GA-1") -> str:
    return f"/api/events/{hall.id}/seats/{seat}/hold"


def take(bench: Bench, hall: Event) -> None:
    assert requests.post(bench.url + hold_path(hall), timeout=10).status_code == 201


def everyone_at_the_yardstick(bench: Bench, hall: Event) -> Result:
    return burst(bench.yardstick_url, "POST", hold_path(hall), CROWD, {409})


def everyone_at_a_taken_seat(bench: Bench, hall: Event) -> Result:
    take(bench, hall)
    before = bench.answers_of_flask()
    measured = burst(bench.url, "POST", hold_path(hall), CROWD, {409})
    reached = bench.answers_of_flask() - before
    bench.notes.append(
        f"Burst on a taken seat, hall {hall.id}: {reached:,.0f} requests reached Flask in "
        f"{SECONDS + CHECK_SECONDS} s, of some {measured.per_second * SECONDS:,.0f}."
    )
    return measured


def everyone_at_a_seat_that_comes_back(bench: Bench, hall: Event) -> Result:
    """Whoever has the seat loses it again and again, and one of the crowd gets it."""
    take(bench, hall)
    with coming_back(bench, hall) as times:
        measured = burst(bench.url, "POST", hold_path(hall), CROWD, {201, 409})
    bench.notes.append(f"Seat that comes back, hall {hall.id}: it had {len(times)} holders.")
    return measured


@contextlib.contextmanager
def coming_back(bench: Bench, hall: Event) -> Iterator[set[str]]:
    """Releases whatever is held, again and again. Gives the holds that there were."""
    ended, holders = threading.Event(), set()

    def release() -> None:
        while not ended.wait(RELEASE_INTERVAL_S):
            for hold in bench.seats.read_everything(hall.id).holds:
                holders.add(hold)
                bench.seats.release_hold(hall.id, hold)

    thread = threading.Thread(target=release)
    thread.start()
    try:
        yield holders
    finally:
        ended.set()
        thread.join()


def one_bot(bench: Bench, hall: Event) -> Result:
    return burst(bench.url, "POST", hold_path(hall), 1, {201, 409, 429})


def neighbours_of_a_flood(bench: Bench, hall: Event, flooded_url: str) -> Result:
    """Holds of free seats while one client asks ``flooded_url`` far beyond its limit."""
    flood = start_wrk(
        "burst",
        flooded_url,
        *("POST", hold_path(hall, "free-GA-1"), "1", str(FLOOD_DELAY_MS)),
        seconds=SECONDS + 2,
        connections=FLOOD_CONNECTIONS,
    )
    with flood:
        try:
            return buyers(bench.url, hall, "free", "paid", connections=NEIGHBOURS)
        finally:
            flood.kill()


YARDSTICK = "nginx's own `return 409`"
TAKEN = "one taken seat, everyone at once"
COMING_BACK = "one seat that comes back 3 times a second, everyone at once"
WITH_LIMITER = "hold a free seat, straight at gunicorn"
WITHOUT_LIMITER = "hold a free seat, straight at gunicorn, no limiter"
BESIDE_NOTHING = "hold a free seat, 8 buyers, a bot elsewhere"
BESIDE_A_BOT = "hold a free seat, 8 buyers, a bot beside them"

MEASUREMENTS = (
    Measurement(YARDSTICK, everyone_at_the_yardstick),
    Measurement(TAKEN, everyone_at_a_taken_seat),
    Measurement(COMING_BACK, everyone_at_a_seat_that_comes_back),
    Measurement("one bot at full speed", one_bot),
    Measurement(
        "hold a free seat, ten thousand clients within their limit",
        lambda bench, hall: buyers(bench.url, hall, "free", "paid"),
    ),
    Measurement(WITH_LIMITER, lambda bench, hall: buyers(bench.web_url, hall, "free", "paid")),
    Measurement(
        WITHOUT_LIMITER, lambda bench, hall: buyers(bench.unlimited_url, hall, "free", "paid")
    ),
    Measurement(BESIDE_NOTHING, lambda b, hall: neighbours_of_a_flood(b, hall, b.yardstick_url)),
    Measurement(BESIDE_A_BOT, lambda b, hall: neighbours_of_a_flood(b, hall, b.url)),
    Measurement(
        "purchase, free of charge (hold, pay, durable booking)",
        lambda bench, hall: buyers(bench.url, hall, "buy", "free", "", counts="bookings"),
    ),
    Measurement(
        "purchase through the payment sandbox",
        lambda b, hall: buyers(b.url, hall, "buy", "paid", "pm_card_visa", counts="bookings"),
    ),
)

GOALS = (
    Goal("a taken seat, to the yardstick", TAKEN, YARDSTICK, 0.85),
    Goal("holds with a limiter, to those without", WITH_LIMITER, WITHOUT_LIMITER, 0.85),
    Goal("holds beside a bot, to those with the bot elsewhere", BESIDE_A_BOT, BESIDE_NOTHING, 0.9),
)
