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
from tests.faults.crowd import AS_EVER, AWAY, HOLDS_ARE_LOST_S, PAID_LATER, PATIENCE_S, Crowd
from tests.faults.replication import without_replication
from tests.support.application import application_with
from tests.support.factories import lose_event
from tests.support.http_client import Client, assert_problem
from tests.support.waiting import eventually

LEASE_S = 3
NODE_TIMEOUT_MS = 1000

EVENTS = ("concert", "opera", "circus")
"""One on each shard. The opera's has the list of events, too."""

QUIET_EVENT = "recital"
"""On the shard of the circus."""

LOAD = 3
"""How many sales of each event to wait for before a fault, and after it."""

LOST_SALES = 10

SHOWN_S = 8
"""Within this time the worker must have made several rounds."""


pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Site:
    """TicketS, and the servers of its Redis Cluster."""

    whole: BreakableSite
    cluster: RedisCluster

    @contextmanager
    def crowds(
        self,
        event_ids: Sequence[str] = EVENTS,
        *sections: str,
        patience_s: float = PATIENCE_S,
    ) -> Iterator[dict[str, Crowd]]:
        """Buyers of these events while the block runs. At the end the cluster is whole again."""
        with self.whole.crowds(event_ids, *sections, patience_s=patience_s, load=LOAD) as crowds:
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


@pytest.fixture(autouse=True)
def mended(site) -> Iterator[None]:
    """A test that fails leaves nothing broken to the next one."""
    yield
    worker = site.whole.stack["worker"]
    if worker.hangs:
        worker.resume()
    site.cluster.start()


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


def test_nobody_notices_a_planned_failover_and_an_event_that_moves_is_sold_all_the_same(site):
    with site.crowds() as crowds:
        site.cluster.failover(site.master_of("opera"))
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


# ---------------------------------------------------------------- back with old data


class OpenPage:
    """A seat map in a browser, which asks only for what has changed."""

    def __init__(self, client: Client):
        self._client, self._etag, self.seats = client, "", ""

    def look(self) -> None:
        answer = self._client.call("GET", "seats", headers={"If-None-Match": self._etag})
        if answer.status_code == 200:
            self._etag, self.seats = answer.headers["ETag"], answer.json()["seats"]


def bought(buyer: Client) -> tuple[dict, requests.Response]:
    """A hold and its payment."""
    hold = buyer.hold_best("stalls", 1).json()
    receipt = buyer.pay(hold)
    assert receipt.status_code == 201
    return hold, receipt


@pytest.mark.parametrize("sale", ["busy", "idle"])
def test_nobody_loses_a_seat_to_a_replica_with_old_data_that_takes_over(site, sale):
    worker = site.whole.stack["worker"]
    buyer = site.whole.client("concert")
    page = OpenPage(site.whole.client("concert"))
    # Nobody pays money in the busy sale: that of a lost payment is released only after 30 s.
    event_ids, section = (EVENTS, "free") if sale == "busy" else (EVENTS[1:], "stalls")
    with site.crowds(event_ids, section, patience_s=HOLDS_ARE_LOST_S) as crowds:
        master = site.master_of("concert")
        with without_replication(site.cluster.replica_of(master)):
            hold, receipt = bought(buyer)
            lost = buyer.hold_best("stalls", 1).json()
            if sale == "busy":
                crowds["concert"].await_bookings(LOST_SALES)
                worker.hang()
            page.look()
            master.kill()
            site.await_new_master_of("concert", master)
        if sale == "busy":
            # More changes than were lost, before the worker can look.
            crowds["concert"].await_bookings(2 * LOST_SALES)
            page.look()
            worker.resume()
        eventually(lambda: site.shows_as_sold("concert"), "all sold seats", SHOWN_S)
        assert buyer.look_up(lost).status_code in (410, 503)
        assert buyer.pay(lost, "another key").status_code in (410, 503)
        again = buyer.pay(hold)
        assert (again.status_code, again.content) == (201, receipt.content)
        site.cluster.start()
    assert_nobody_noticed(crowds, "concert")
    page.look()
    assert page.seats == buyer.seat_map()


def test_a_hold_that_no_replica_has_is_refused_where_replicas_have_to_confirm(site):
    environment = site.whole.stack.environment | {"REDIS_WAIT_REPLICAS": "1"}
    buyer = application_with(**environment).test_client()
    holds = f"/api/events/{QUIET_EVENT}/sections/stalls/best/1/hold"
    master = site.master_of(QUIET_EVENT)
    before = site.whole.client(QUIET_EVENT).seat_map()
    with without_replication(site.cluster.replica_of(master)):
        refused = buyer.post(holds)
        assert (refused.status_code, refused.json["code"]) == (503, "unavailable")
        assert site.whole.client(QUIET_EVENT).seat_map() == before
    held = eventually(
        lambda: (answer := buyer.post(holds)).status_code == 201 and answer.json,
        "a hold that the replica confirms",
        WAITS_S,
    )
    master.kill()
    site.await_new_master_of(QUIET_EVENT, master)
    holder = site.whole.client(QUIET_EVENT)
    eventually(lambda: holder.look_up(held).status_code == 200, "the same hold", WAITS_S)
