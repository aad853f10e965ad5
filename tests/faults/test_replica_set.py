"""What MongoDB's replica set of three members goes through while buyers buy: the primary is killed,
hangs, steps down; the majority is gone and comes back; the secondaries lag, and then the primary is
lost. In all of it seat maps, holds and ``/readyz`` go on, and no receipt is taken back."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
import requests
from pymongo.read_concern import ReadConcern

from ops.mongodb_set import Member, MongoReplicaSet
from tests.faults.breakable_site import EVENT, WAITS_S, BreakableSite, breakable_site
from tests.faults.crowd import AS_EVER, PAID_LATER, Crowd
from tests.support.waiting import eventually
from web.adapters.mongodb.client import COLLECTION

LEASE_S = 8
"""Its share for the gateway is 3.2 s: a payment that waits for longer is captured by the worker."""

ELECTION_TIMEOUT_MS = 1_000

MEMBER_OPTIONS = (
    *("--setParameter", "enableTestCommands=1"),
    # A secondary leaves a sync source that hangs after 4 s instead of 12.
    *("--setParameter", "oplogNetworkTimeoutBufferSeconds=1"),
)

LOOKS_EVERY_S = 0.2
ANSWERED_WITHIN_S = 3
"""A balancer waits no longer. A call that waits for an election takes four seconds."""


pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Site:
    """TicketS, and the members of its MongoDB."""

    whole: BreakableSite
    members: MongoReplicaSet

    @contextmanager
    def crowd(self) -> Iterator[tuple[Crowd, Counter[str]]]:
        """Buyers while the block runs, all of whom can hold seats, and what others hear meanwhile
        who look at the seat map, or ask whether the host is ready: that it is. At the end the set
        is whole again."""
        with self.looking() as looks, self.whole.crowd("stalls") as crowd:
            yield crowd, looks
        assert looks.keys() == {"map: 200", "ready: 200"}
        assert not crowd.outcomes.refused_holds
        self.members.wait_until_whole()

    @contextmanager
    def looking(self) -> Iterator[Counter[str]]:
        looks: Counter[str] = Counter()
        over = threading.Event()
        urls = {
            "map": f"{self.whole.stack['nginx'].url}/api/events/{EVENT}/seats",
            "ready": f"{self.whole.stack['web'].url}/readyz",
        }

        def look():
            while not over.wait(LOOKS_EVERY_S):
                for what, url in urls.items():
                    try:
                        heard = requests.get(url, timeout=ANSWERED_WITHIN_S).status_code
                    except requests.RequestException:
                        heard = "nothing"
                    looks[f"{what}: {heard}"] += 1

        looker = threading.Thread(target=look)
        looker.start()
        try:
            yield looks
        finally:
            over.set()
            looker.join()

    def leases(self) -> dict[str, float]:
        """Until when each payment under way belongs to whoever works on it, by hold."""
        key = f"payments:{{{EVENT}}}"
        leases = self.whole.redis_client.zrange(key, 0, -1, withscores=True)
        return {hold_id.decode(): until_ms for hold_id, until_ms in leases}

    def primary(self) -> Member:
        return eventually(self.members.primary, "a primary", WAITS_S)

    def await_another_primary(self, than: Member) -> None:
        eventually(lambda: self.members.primary() not in (None, than), "another primary", WAITS_S)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("replica-set")
    members = MongoReplicaSet(
        folder / "mongo",
        folder / "logs",
        election_timeout_ms=ELECTION_TIMEOUT_MS,
        options=MEMBER_OPTIONS,
    )
    with breakable_site(folder, members, LEASE_S) as running:
        yield Site(running, members)


def test_nobody_notices_that_mongodbs_primary_steps_down(site):
    with site.crowd() as (crowd, _):
        with site.primary().client() as client:
            client.admin.command("replSetStepDown", 10, secondaryCatchUpPeriodSecs=10)
        crowd.await_bookings(1)
    assert crowd.outcomes.answers.keys() <= AS_EVER


def test_buyers_wait_when_mongodbs_primary_is_killed(site):
    with site.crowd() as (crowd, _):
        primary = site.primary()
        primary.kill()
        site.await_another_primary(primary)
        crowd.await_bookings(1)
        primary.start()
    assert crowd.outcomes.answers.keys() <= AS_EVER


def test_mongodbs_primary_hangs_and_comes_back(site):
    with site.crowd() as (crowd, _):
        primary = site.primary()
        primary.hang()
        try:
            site.await_another_primary(primary)
            crowd.await_bookings(1)
        finally:
            primary.resume()
    assert crowd.outcomes.answers.keys() <= AS_EVER | PAID_LATER


def test_mongodb_loses_its_majority_and_gets_it_back(site):
    with site.crowd() as (crowd, looks):
        lost = site.members.secondaries()
        for member in lost:
            member.kill()
        eventually(lambda: site.members.primary() is None, "a primary that gives up", WAITS_S)
        enough = looks["ready: 200"] + ANSWERED_WITHIN_S / LOOKS_EVERY_S
        eventually(lambda: looks["ready: 200"] > enough, "that the host is ready", WAITS_S)
        held = site.whole.client().hold_best("stalls", 2)
        assert held.status_code == 201
        lost[0].start()
        crowd.await_bookings(1)
        lost[1].start()
    assert crowd.outcomes.answers.keys() <= AS_EVER | PAID_LATER


def test_a_booking_that_no_majority_had_is_made_again_after_a_crash_and_no_receipt_is_lost(site):
    with site.whole.crowd("stalls") as crowd:
        primary, secondaries = site.primary(), site.members.secondaries()
        with ExitStack() as lagging:
            for member in secondaries:
                lagging.enter_context(no_replication(member))
            alone = eventually(lambda: bookings_of_no_majority(primary), "such bookings", WAITS_S)
            leases = site.leases()
            for pid in site.whole.web_workers():
                os.kill(pid, signal.SIGKILL)  # They would insert them again.
            eventually(
                lambda: any(
                    site.leases().get(hold) != leases[hold] for hold in alone & leases.keys()
                ),
                "a payment that the worker looks at",
                WAITS_S + LEASE_S,
            )
            time.sleep(1)  # in which a worker that believes the primary gives a receipt
            primary.kill()
        site.await_another_primary(primary)
        crowd.await_bookings(1)
        primary.start()
    site.members.wait_until_whole()
    stored = site.whole.collection.find({"hold_id": {"$in": [*alone]}})
    assert {booking["hold_id"] for booking in stored} == alone


@contextmanager
def no_replication(member: Member) -> Iterator[None]:
    """It takes part in elections, and gets nothing of what is written."""
    with member.client() as client:
        client.admin.command("configureFailPoint", "stopReplProducer", mode="alwaysOn")
    try:
        yield
    finally:
        with member.client() as client:
            client.admin.command("configureFailPoint", "stopReplProducer", mode="off")


def bookings_of_no_majority(primary: Member) -> set[str]:
    """The holds of bookings that the primary has, and that an election would take back."""
    with primary.client() as client:
        database = client.get_database("tickets")
        local, safe = (
            {
                booking["hold_id"]
                for booking in database.get_collection(
                    COLLECTION, read_concern=ReadConcern(level)
                ).find()
            }
            for level in ("local", "majority")
        )
    return local - safe
