"""Two workers on one Redis, one MongoDB and one gateway: they share what has lapsed, and one that
is killed or hangs holds up nothing for longer than its lease."""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import redis
import requests

from ops.processes import free_port
from ops.procfile import read_procfile, shell_command
from ops.servers import REPOSITORY, HttpServer, Sandbox
from tests.faults.event_file import write_event_file
from tests.support.application import REQUIRED, application_with
from tests.support.commands import flask
from tests.support.environment import inherited
from tests.support.factories import BUYER, WAY_BACK, unique
from tests.support.waiting import eventually
from web.domain.sales import Hold, HoldRef
from web.services import Services
from web.use_cases.checkout import Checkout

EVENT = "workers"
LEASE_S = 4
CALL_S = 0.25
"""What a call of the gateway takes. It is waiting, and no work of a processor."""

PILE = 18
SHARE = 3
"""Of them, that each worker ends at least: half would be fair, and a busy machine is not."""

WAITS_S = 60.0
STOPPED_AT = ("begun", "authorized", "booked")

pytestmark = pytest.mark.timeout(180)


class Stopped(BaseException):
    """As when the process is killed."""


class Worker(HttpServer):
    def __init__(self, name: str, folder: Path, environment: dict[str, str]):
        port = free_port()
        super().__init__(
            name,
            shell_command(read_procfile(REPOSITORY / "Procfile")["worker"]),
            folder / f"{name}.log",
            port,
            ready_path="/metrics",
            env=environment | {"WORKER_METRICS_PORT": str(port)},
            cwd=REPOSITORY,
        )

    def metric(self, name: str) -> float:
        text = requests.get(f"{self.url}/metrics", timeout=10).text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def rounds(self) -> float:
        return self.metric("tickets_worker_rounds_total")

    def ended(self) -> list[str]:
        """The payments that it has ended, as its log names them."""
        return re.findall(r"ended: (\S+) ", self.log_path.read_text())


@dataclass
class Place:
    services: Services
    environment: dict[str, str]
    redis: redis.Redis
    sandbox: Sandbox
    workers: list[Worker]

    def hold(self) -> tuple[Hold, str]:
        return self.services.box_office.hold_best(EVENT, unique("client"), "stalls", 1)

    def pile(self, number: int) -> dict[str, str]:
        """Payments whose process was killed at one point or another, and whose leases do not end
        yet. The point, by hold."""
        points = {}
        for n in range(number):
            hold, token = self.hold()
            points[hold.id] = point = STOPPED_AT[n % len(STOPPED_AT)]
            with pytest.raises(Stopped):
                self._checkout_until(point).pay(
                    HoldRef(EVENT, hold.id, token), "key", BUYER, WAY_BACK
                )
            self.let_lease_end(2**52, hold.id)
        return points

    def _checkout_until(self, point: str) -> Checkout:
        def stop(reached: str) -> None:
            if reached == point:
                raise Stopped

        services = self.services
        return Checkout(
            services.catalogue,
            services.seats,
            services.bookings,
            services.gateway,
            services.tokens,
            LEASE_S,
            on_checkpoint=stop,
        )

    def let_lease_end(self, at_ms: int, *hold_ids: str) -> None:
        self.redis.zadd(f"payments:{{{EVENT}}}", dict.fromkeys(hold_ids, at_ms), xx=True)

    def under_way(self) -> int:
        return self.redis.zcard(f"payments:{{{EVENT}}}")

    def slow_down(self, *operations: str, **fault: object) -> None:
        slow = {"kind": "slow_before", "seconds": CALL_S} | fault
        self.sandbox.set_faults(*({"operation": name} | slow for name in operations))

    def calls(self) -> int:
        """How many were slow."""
        return sum(fault["happened"] for fault in self.sandbox.faults())

    def await_rounds(self, *workers: Worker) -> None:
        """Of each a whole one that begins from now on."""
        until = {worker: worker.rounds() + 2 for worker in workers}
        for worker in workers:
            eventually(lambda w=worker: w.rounds() >= until[w], "rounds of a worker", WAITS_S)

    def assert_done_once(self, points: dict[str, str]) -> None:
        gateway = self.services.gateway
        charges = Counter(
            (payment.metadata["hold_id"], payment.status)
            for payment in gateway.list(gateway.now() - timedelta(hours=1))
            if payment.metadata["hold_id"] in points
        )
        paid = [hold_id for hold_id, point in points.items() if point != "begun"]
        assert charges == {(hold_id, "captured"): 1 for hold_id in paid}
        audited = flask(self.environment, "audit")
        assert audited.returncode == 0, audited.stdout


@pytest.fixture(scope="module")
def place(redis_server, mongo_server, sandbox, tmp_path_factory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("workers")
    events = write_event_file(folder / "events", EVENT, capacity=200, hold_seconds=600)
    settings = REQUIRED | {
        "REDIS_URL": redis_server.url.replace("/0", "/2"),
        "MONGODB_URI": mongo_server.url.replace("/tickets", "/workers"),
        "STRIPE_API_BASE": sandbox.url,
        "PAYMENT_LEASE_S": str(LEASE_S),
        "EVENTS_DIR": str(events.parent),
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = inherited() | settings | {"PATH": path, "PYTHONUNBUFFERED": "1"}
    raw_redis = redis.Redis.from_url(settings["REDIS_URL"])
    raw_redis.flushdb()
    opened = flask(environment, "events", "open", events)
    assert opened.returncode == 0, opened.stderr
    services = application_with(**settings).extensions["services"]
    workers = [Worker(f"worker-{number}", folder, environment) for number in (1, 2)]
    try:
        for worker in workers:
            worker.start()
        yield Place(services, environment, raw_redis, sandbox, workers)
    finally:
        for worker in workers:
            worker.stop()


@pytest.fixture(autouse=True)
def quick_gateway(place) -> Iterator[None]:
    yield
    place.sandbox.set_faults()


def test_two_workers_share_what_has_lapsed_and_do_nothing_twice(place):
    points = place.pile(PILE)
    place.await_rounds(*place.workers)
    place.slow_down("create", "capture")
    place.let_lease_end(0, *points)
    eventually(lambda: not place.under_way(), "all payments ended", WAITS_S)
    calls = place.calls()
    place.await_rounds(*place.workers)

    ended = [worker.ended() for worker in place.workers]
    assert min(map(len, ended)) >= SHARE, ended
    assert len(ended[0] + ended[1]) == len(set(ended[0] + ended[1])) == PILE
    for worker, keys in zip(place.workers, ended, strict=True):
        assert worker.metric('tickets_worker_repairs_total{kind="ended"}') == len(keys)
    # One to retire the key of each that was only begun, one to capture the money of the others.
    assert calls == PILE + captured_by_comparison(place), "no call was made twice"
    place.assert_done_once(points)


def captured_by_comparison(place) -> int:
    """Money of which a worker read in the gateway's list, on a slow machine, before it was due."""
    logs = [worker.log_path.read_text() for worker in place.workers]
    return sum(len(re.findall(r"captured: pi_", log)) for log in logs)


@pytest.mark.parametrize("fault", ["hang", "kill"])
def test_what_a_worker_took_with_it_is_ended_by_the_other_after_the_lease(place, fault):
    first, second = place.workers
    points = place.pile(12)
    before = [set(worker.ended()) for worker in place.workers]
    second.hang()
    place.slow_down("create", "capture")
    place.let_lease_end(0, *points)
    eventually(place.calls, "a payment that the first is ending", WAITS_S)
    getattr(first, fault)()
    with pytest.raises((requests.Timeout, requests.ConnectionError)):
        requests.get(f"{first.url}/metrics", timeout=1)
    place.sandbox.set_faults()
    claimed = [hold_id for hold_id, ends in leases(place) if ends]
    assert 1 <= len(claimed) < len(points), "it leaves something to others"
    second.resume()

    hold, _ = place.hold()
    end_hold(place, hold)
    eventually(
        lambda: place.under_way() <= len(claimed) and state_of(place, hold) == "0",
        "an expired hold freed, and what the first had not claimed ended",
        WAITS_S,
    )
    eventually(lambda: not place.under_way(), "all payments ended", WAITS_S)
    if fault == "kill":
        first.start()
    else:
        first.resume()
    place.await_rounds(first)

    ended = [set(worker.ended()) - old for worker, old in zip(place.workers, before, strict=True)]
    assert len(ended[0] & ended[1]) <= 1, "only what it was just ending when it was stopped"
    assert len(ended[0] | ended[1]) == len(points)
    place.assert_done_once(points)


def test_a_worker_whose_port_for_metrics_is_taken_says_so_in_one_line(place):
    port = str(place.workers[0].port)
    taken = flask(place.environment | {"WORKER_METRICS_PORT": port}, "reconcile", "--forever")
    assert (taken.returncode, taken.stderr) == (
        1,
        f"Error: WORKER_METRICS_PORT: cannot listen on 127.0.0.1:{port}: Address already in use\n",
    )


def leases(place) -> list[tuple[bytes, float]]:
    return place.redis.zrange(f"payments:{{{EVENT}}}", 0, -1, withscores=True)


def end_hold(place, hold: Hold) -> None:
    """Its time is over, by the books that the worker reads."""
    place.redis.zadd(f"due:{{{EVENT}}}", {hold.id: 0}, xx=True)


def state_of(place, hold: Hold) -> str:
    """As it is stored: a look at the map would free what has expired."""
    event = place.services.catalogue.current_event(EVENT)
    position = event.positions[hold.seats[0]]
    return place.redis.getrange(f"seats:{{{EVENT}}}", position, position).decode()
