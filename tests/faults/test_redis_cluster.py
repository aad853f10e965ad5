"""What a Redis Cluster goes through while buyers buy: a shard is killed, hangs, is failed over by
plan, gives a slot away, comes back with old data, or has no replica left. In all of it the events
of the other shards are sold, and no receipt is taken back."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import requests
from redis.crc import key_slot

from ops.redis_cluster import RedisCluster
from ops.servers import MongoDB, Redis
from tests.faults.breakable_site import WAITS_S, BreakableSite, breakable_site
from tests.faults.crowd import Crowd
from tests.support.factories import lose_event
from tests.support.http_client import assert_problem
from tests.support.waiting import eventually

LEASE_S = 3
NODE_TIMEOUT_MS = 1000

EVENTS = ("concert", "opera", "circus")
"""One on each shard. The opera's has the list of events, too."""

QUIET_EVENT = "recital"
"""On the shard of the circus."""

AS_EVER = {"201 booked", "402 payment_declined"}
PAID_LATER = {"202 paying", "200 booked"}
AWAY = {"503 unavailable"}

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Site:
    """TicketS, and the servers of its Redis Cluster."""

    whole: BreakableSite
    cluster: RedisCluster

    @contextmanager
    def crowds(self, event_ids: Sequence[str] = EVENTS) -> Iterator[dict[str, Crowd]]:
        """Buyers of these events while the block runs. At the end the cluster is whole again."""
        with self.whole.crowds(event_ids) as crowds:
            yield crowds
            self.cluster.start()

    def master_of(self, event_id: str) -> Redis:
        return self.cluster.master_of(f"{{{event_id}}}")

    def await_new_master_of(self, event_id: str, former: Redis) -> Redis:
        return self.cluster.new_master_of(f"{{{event_id}}}", former)

    def get(self, path: str) -> requests.Response:
        """From the web process, without nginx."""
        return requests.get(self.whole.stack["web"].url + path, timeout=15)

    def states(self, event_id: str) -> dict[str, str]:
        """Of each seat, as buyers see it."""
        client = self.whole.client(event_id)
        sections = client.call("GET", "").json()["sections"]
        seats = [seat for section in sections for row in section["rows"] for seat in row["seats"]]
        return dict(zip(seats, client.seat_map(), strict=True))

    def shows_as_sold(self, event_id: str) -> bool:
        """Whether all booked seats of an event are shown as sold."""
        booked = self.whole.collection.distinct("seats", {"event": event_id})
        if not self.whole.client(event_id).call("GET", "seats").ok:
            return False
        states = self.states(event_id)
        return all(states[seat] == "s" for seat in booked)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("redis-cluster")
    cluster = RedisCluster(folder / "redis", folder / "logs", node_timeout_ms=NODE_TIMEOUT_MS)
    mongo = MongoDB(folder / "mongo", folder / "mongod.log")
    with breakable_site(folder, mongo, LEASE_S, cluster, (*EVENTS, QUIET_EVENT)) as running:
        yield Site(running, cluster)


def assert_nobody_noticed(crowds: dict[str, Crowd], *but: str) -> None:
    for event_id, crowd in crowds.items():
        if event_id not in but:
            assert crowd.outcomes.answers.keys() <= AS_EVER, event_id
            assert not crowd.outcomes.refused_holds, event_id


# ---------------------------------------------------------------- failovers


@pytest.mark.parametrize("hurt", ["kill", "hang"])
def test_a_replica_takes_over_from_a_shard_while_the_others_sell(site, hurt):
    with site.crowds() as crowds:
        lost = site.master_of("concert")
        getattr(lost, hurt)()
        site.await_new_master_of("concert", lost)
    assert_nobody_noticed(crowds, "concert")
    assert crowds["concert"].outcomes.refused_holds.keys() <= AWAY


def test_nobody_notices_a_planned_failover_of_a_shard(site):
    with site.crowds() as crowds:
        site.cluster.failover(site.master_of("concert"))
    assert_nobody_noticed(crowds)


def test_an_event_that_moves_to_another_shard_is_sold_all_the_same(site):
    with site.crowds() as crowds:
        giving = site.master_of("concert")
        site.cluster.move_slot(key_slot(b"concert"), site.master_of("circus"))
    site.cluster.move_slot(key_slot(b"concert"), giving)
    assert_nobody_noticed(crowds, "concert")
    assert crowds["concert"].outcomes.answers.keys() <= AS_EVER | PAID_LATER | AWAY
    assert crowds["concert"].outcomes.refused_holds.keys() <= AWAY


# ---------------------------------------------------------------- away


def test_a_shard_without_a_replica_takes_down_its_own_events_and_the_list_and_no_others(site):
    away, other = "opera", QUIET_EVENT
    master = site.master_of(away)
    address = f"127.0.0.1:{master.port}"
    buyer = site.whole.client(other)
    bought, forgotten = (buyer.hold_best("stalls", 1).json() for _ in range(2))
    assert buyer.pay(bought).status_code == 201
    with site.crowds() as crowds:
        site.cluster.replica_of(master).kill()
        master.kill()

        refused = site.whole.client(away).hold_best("stalls", 1)
        assert_problem(refused, 503, "unavailable")
        assert refused.headers["Retry-After"]
        assert_problem(site.whole.client(away).call("GET", "seats"), 503, "unavailable")

        listed = site.get("/api/events").json()["events"]
        assert {event["id"] for event in listed} == {*EVENTS, other}
        page = site.get("/").text
        assert all(f"/events/{each}" in page for each in (*EVENTS, other))
        assert page.count("cannot be shown right now") == 1

        assert site.get("/readyz").status_code == 200
        metrics = site.get("/metrics").text
        assert re.findall(r'tickets_redis_up{server="(.+)"} 0.0', metrics) == [address]
        assert re.findall(r'tickets_event_reachable{event="(.+)",.*} 0.0', metrics) == [away]

        audited = site.whole.flask("audit").stdout
        assert f"{away}: the seat store (Redis) cannot be reached at {address}" in audited
        assert re.search(r"the journal leads to the seat map +3 looked at", audited)
        told = site.whole.flask("events", "list")
        assert f"cannot reach {address}" in told.stdout + told.stderr

        with site.master_of(other).client() as commands:
            commands.zadd(f"due:{{{other}}}", {forgotten["hold_id"]: 0})
            eventually(lambda: buyer.look_up(forgotten).status_code == 410, "its end", WAITS_S)
            lose_event(commands, other)
        eventually(lambda: site.shows_as_sold(other), f"{other}, opened again", WAITS_S)
    assert_nobody_noticed(crowds, away)
    assert crowds[away].outcomes.refused_holds.keys() <= AWAY
