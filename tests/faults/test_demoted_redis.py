"""A managed Redis is failed over: the address leads to another server from then on, while the
connections to the former one, which accepts no writes any more, stay open."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pymongo
import pytest
import requests

from ops.processes import Process
from ops.procfile import read_procfile, shell_command
from ops.servers import HOST, REPOSITORY, HttpServer, Redis
from tests.faults.crowd import Crowd
from tests.faults.event_file import write_event_file
from tests.support.commands import flask
from tests.support.forwarder import Forwarder
from tests.support.http_client import Client, assert_problem
from tests.support.site import another_web
from tests.support.waiting import eventually

EVENT = "managed"
DATABASE = "managed"
LEASE_S = 3
SALES = 10
WAITS_S = 20.0

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Managed:
    """A web process and a worker, the two servers, and the address that leads to the first."""

    web: HttpServer
    servers: list[Redis]
    address: Forwarder
    environment: dict[str, str]
    bookings: pymongo.collection.Collection

    def is_ready(self) -> bool:
        return requests.get(f"{self.web.url}/readyz", timeout=15).ok

    def audited(self) -> str:
        """What the audit finds, if anything."""
        audited = flask(self.environment, "audit")
        return audited.stdout if audited.returncode else ""


@pytest.fixture
def managed(stack, mongo_client, mongo_server, tmp_path) -> Iterator[Managed]:
    servers = [
        Redis(tmp_path / name, tmp_path / f"{name}.log", name=name) for name in ("first", "second")
    ]
    with ExitStack() as running:
        for server in servers:
            running.enter_context(server)
        first, second = servers
        with second.client() as client:
            client.replicaof(HOST, first.port)
        address = running.enter_context(Forwarder(first.port))
        event_file = write_event_file(tmp_path / "events", EVENT, 3000, 60)
        settings = {
            "REDIS_URL": f"redis://{HOST}:{address.port}/0",
            "MONGODB_URI": mongo_server.url.replace("/tickets", f"/{DATABASE}"),
            "SECRET_KEY": "the key of a shop of its own",
            "PAYMENT_LEASE_S": str(LEASE_S),
            "EVENTS_DIR": str(event_file.parent),
        }
        environment = stack.environment | settings
        opened = flask(environment, "events", "open", event_file)
        assert opened.returncode == 0, opened.stderr
        running.enter_context(
            Process(
                "worker",
                shell_command(read_procfile(REPOSITORY / "Procfile")["worker"]),
                tmp_path / "worker.log",
                env=environment,
                cwd=REPOSITORY,
            )
        )
        web = running.enter_context(another_web(stack, tmp_path / "web.log", **settings))
        yield Managed(web, servers, address, environment, mongo_client[DATABASE].bookings)


def demote(former: Redis, successor: Redis) -> None:
    with former.client() as client, successor.client() as next_client:
        client.execute_command("FAILOVER", "TO", HOST, successor.port)
        eventually(lambda: next_client.info("replication")["role"] == "master", "the new master")


def test_a_redis_that_is_demoted_while_its_connections_live_is_left_for_the_new_master(managed):
    first, second = managed.servers
    crowd = Crowd(managed.web.url, EVENT, ("stalls", "free"))
    with crowd.buying():
        crowd.await_bookings(SALES)
        demote(first, second)
        # The address still leads to the former master.
        eventually(lambda: not managed.is_ready(), "a host that is not ready", WAITS_S)
        assert_problem(Client(managed.web.url, EVENT).hold_best("stalls", 1), 503, "unavailable")
        managed.address.target_port = second.port
        crowd.await_bookings(SALES)
        eventually(managed.is_ready, "a host that is ready", WAITS_S)
    outcomes = crowd.outcomes
    print(dict(outcomes.answers), dict(outcomes.refused_holds))
    assert outcomes.refused_holds.keys() <= {"503 unavailable"}
    assert not outcomes.unanswered
    eventually(lambda: not managed.audited(), "a clean audit", WAITS_S)
    booked = {booking["hold_id"]: booking for booking in managed.bookings.find()}
    assert outcomes.receipts.keys() <= booked.keys()
    assert not outcomes.not_charged & booked.keys()
    seats = Counter(seat for booking in booked.values() for seat in booking["seats"])
    assert set(seats.values()) == {1}
