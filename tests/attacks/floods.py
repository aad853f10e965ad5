"""Four clients that send the same request as often as the limit allows, beside honest buyers.

The flood runs in a separate process, so that it takes no time from the process that measures.
"""

import contextlib
import http.client
import json
import multiprocessing
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Self
from urllib.parse import urlsplit

import psutil

from ops.stack import Stack
from tests.attacks.clients import new_address
from tests.attacks.costliest import CostlyRequest, costly_requests, hall_under_attack, written
from tests.support.application import application_with
from tests.support.factories import put_on_sale
from tests.support.http_client import Client
from tests.support.redis_stores import seats_on
from tests.support.site import ORGANISER_TOKEN, WEBHOOK_SECRET, Site
from web.adapters.redis.shard import connect
from web.domain.events import Event

CLIENTS = 4
PER_SECOND = 9.5
"""A client may ask ten times in any second (RATE_LIMIT)."""

SETTINGS = {
    "ORGANISER_TOKEN": ORGANISER_TOKEN,
    "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    # Only nginx is trusted, and nobody else on this machine.
    "TRUSTED_PROXIES": "127.0.0.1/32",
}

REQUESTS_MEASURED = 5

PAUSE_S = 0.005
"""Between two requests of an honest buyer: a light load, whose times are those of the service."""

TIMEOUT_S = 30


# ---------------------------------------------------------------- one request after the other


class Sender:
    """A kept connection that sends bytes and reads the answer."""

    def __init__(self, url: str):
        address = urlsplit(url)
        self._where = address.hostname, address.port
        self._socket: socket.socket | None = None

    def send(self, request: bytes) -> int:
        """The answer's status; 0 when the connection ended without one."""
        if self._socket is None:
            self._socket = socket.create_connection(self._where, TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(request)
            answer = http.client.HTTPResponse(self._socket, method=request.split(b" ")[0].decode())
            answer.begin()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return 0
        if answer.will_close:
            self.close()
        return answer.status

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


# ---------------------------------------------------------------- the flood


@dataclass(frozen=True)
class Order:
    """The parameters of the flood's process: who sends what, and where. ``per_second`` is for each
    client; None means as fast as answers come."""

    url: str
    sent: bytes
    per_second: float | None = PER_SECOND
    addresses: tuple[str, ...] = field(
        default_factory=lambda: tuple(new_address() for _ in range(CLIENTS))
    )


@dataclass(frozen=True)
class Answered:
    statuses: Counter
    seconds: float

    @property
    def per_second(self) -> float:
        return self.statuses.total() / self.seconds


class Flood:
    """Its process, which waits for orders."""

    def __enter__(self) -> Self:
        processes = multiprocessing.get_context("spawn")
        self._pipe, its_end = processes.Pipe()
        self._process = processes.Process(target=_obey, args=(its_end,), daemon=True)
        self._process.start()
        self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join()

    @contextlib.contextmanager
    def of(self, order: Order) -> Iterator[list[Answered]]:
        """Goes on for as long as the block; what was answered is in the list afterwards."""
        answered: list[Answered] = []
        self._pipe.send(order)
        try:
            yield answered
        finally:
            self._pipe.send("enough")
            answered.append(self._pipe.recv())


def _obey(pipe: Connection) -> None:
    pipe.send("ready")
    while order := pipe.recv():
        statuses, enough = Counter(), threading.Event()
        clients = [
            threading.Thread(target=_attack, args=(order, number, enough, statuses))
            for number in range(CLIENTS)
        ]
        began_s = time.monotonic()
        for client in clients:
            client.start()
        pipe.recv()
        enough.set()
        for client in clients:
            client.join()
        pipe.send(Answered(statuses, time.monotonic() - began_s))


def _attack(order: Order, number: int, enough: threading.Event, statuses: Counter) -> None:
    sender = Sender(order.url)
    pause_s = 1 / order.per_second if order.per_second else 0
    # The clients take turns, and a slow answer does not make one ask less often.
    due_s = time.monotonic() + pause_s * number / CLIENTS
    while not enough.wait(max(0.0, due_s - time.monotonic())):
        statuses[sender.send(written(order.sent, order.addresses[number]))] += 1
        due_s += pause_s
    sender.close()


# ---------------------------------------------------------------- what is attacked


@dataclass(frozen=True)
class Compared:
    """How long an honest buyer waits, without a flood and beside it; medians."""

    quiet_s: float
    flooded_s: float

    @property
    def ratio(self) -> float:
        return self.flooded_s / self.quiet_s


class Scene:
    """A TicketS with a hall on sale, and what can be sent to it."""

    def __init__(self, stack: Stack):
        self._stack = stack
        self.url, self.web_url = stack["nginx"].url, stack["web"].url
        self.hall: Event = hall_under_attack()
        self.seats = seats_on(connect(stack.environment["REDIS_URL"]))
        put_on_sale(self.seats, self.hall)
        site = Site(self.url, self.web_url, stack.environment, stack["sandbox"])
        self.requests = costly_requests(application_with(), site, self.hall)
        self.sold = self.client().seat_map().count("s")
        self._costliest: dict[str, CostlyRequest] = {}

    @property
    def log_dir(self) -> Path:
        return self._stack.log_dir

    def client(self) -> Client:
        """A new buyer."""
        return Client(self.url, self.hall.id, new_address())

    def costliest(self, route: str) -> CostlyRequest:
        if route not in self._costliest:
            self._costliest[route] = max(self.requests[route], key=self.cost_ms)
        return self._costliest[route]

    def cost_ms(self, request: CostlyRequest) -> float:
        """Processor time that one of them takes of the application, sent by clients that have asked
        nothing yet."""
        sender = Sender(self._url_of(request))
        try:
            sender.send(written(request.sent, new_address()))
            before_s = self.processor_s()
            for _ in range(REQUESTS_MEASURED):
                sender.send(written(request.sent, new_address()))
            return (self.processor_s() - before_s) / REQUESTS_MEASURED * 1000
        finally:
            sender.close()

    def processor_s(self) -> float:
        """Seconds of processor time that gunicorn's processes have used, to the nanosecond: psutil
        counts in hundredths of a second, and a request takes a thousandth."""
        return sum(_ran_ns(process) for process in self._web_processes) / 1e9

    @cached_property
    def _web_processes(self) -> list[psutil.Process]:
        first = psutil.Process(self._stack["web"].pid)
        return [
            process
            for process in (first, *first.children(recursive=True))
            if "sidecar.server" not in process.cmdline()
        ]

    def order(self, request: CostlyRequest, per_second: float | None = PER_SECOND) -> Order:
        return Order(self._url_of(request), request.sent, per_second)

    def _url_of(self, request: CostlyRequest) -> str:
        return self.web_url if request.straight else self.url

    def compare(
        self, flood: Flood, order: Order, seconds: float, rounds: int = 1
    ) -> tuple[Compared, Answered]:
        """By turns, so that a slow minute of the machine is everybody's."""
        quiet_s, flooded_s = [], []
        for _ in range(rounds):
            quiet_s += self.honest_times_s(seconds)
            with flood.of(order) as answered:
                flooded_s += self.honest_times_s(seconds)
        return Compared(median(quiet_s), median(flooded_s)), answered[0]

    def honest_times_s(self, seconds: float) -> list[float]:
        """How long each request of honest buyers took, who come one after the other: the page of
        the event, the map, a hold, and giving it back."""
        times_s: list[float] = []
        ends_s = time.monotonic() + seconds
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=TIMEOUT_S)
        event_path = f"/api/events/{self.hall.id}"

        def ask(method: str, path: str, **headers: str) -> bytes:
            began_s = time.monotonic()
            connection.request(method, path, headers={"X-Forwarded-For": buyer, **headers})
            answer = connection.getresponse()
            body = answer.read()
            times_s.append(time.monotonic() - began_s)
            assert answer.status in (200, 201, 204), (answer.status, body)
            time.sleep(PAUSE_S)
            return body

        with contextlib.closing(connection):
            while time.monotonic() < ends_s:
                buyer = new_address()
                ask("GET", f"/events/{self.hall.id}", Accept="text/html")
                ask("GET", f"{event_path}/seats")
                hold = json.loads(ask("POST", f"{event_path}/sections/stalls/best/2/hold"))
                token = {"Authorization": f"Bearer {hold['hold_token']}"}
                ask("DELETE", f"{event_path}/holds/{hold['hold_id']}", **token)
        return times_s


def _ran_ns(process: psutil.Process) -> int:
    return sum(
        int((task / "schedstat").read_text().split()[0])
        for task in Path(f"/proc/{process.pid}/task").iterdir()
    )
