"""What a Redis behind Sentinels goes through while buyers buy: the master is killed, is failed over
by plan, and has no replica left. No receipt is taken back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import requests

from ops.redis_sentinels import RedisSentinels
from ops.servers import MongoDB
from tests.faults.breakable_site import WAITS_S, BreakableSite, breakable_site
from tests.faults.crowd import AWAY, HOLDS_ARE_LOST_S, Crowd
from tests.support.http_client import assert_problem
from tests.support.waiting import eventually

LEASE_S = 3
DOWN_AFTER_MS = 1000


pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Site:
    """TicketS, and the servers of its Redis."""

    whole: BreakableSite
    servers: RedisSentinels

    @contextmanager
    def crowd(self, *sections: str) -> Iterator[Crowd]:
        """Buyers while the block runs. Who cannot hold seats hears 503 and nothing else. At the end
        all servers run again, though the former master need not be a replica yet: that takes the
        Sentinels ten seconds. There are replicas enough for two failovers."""
        with self.whole.crowd(*sections, patience_s=HOLDS_ARE_LOST_S) as crowd:
            yield crowd
            self.servers.revive()
        assert crowd.outcomes.refused_holds.keys() <= AWAY

    def is_ready(self) -> bool:
        return requests.get(self.whole.stack["web"].url + "/readyz", timeout=15).ok


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("redis-sentinels")
    servers = RedisSentinels(
        folder / "redis",
        folder / "logs",
        down_after_ms=DOWN_AFTER_MS,
        failover_timeout_ms=DOWN_AFTER_MS,
    )
    mongo = MongoDB(folder / "mongo", folder / "mongod.log")
    with breakable_site(folder, mongo, LEASE_S, servers) as running:
        yield Site(running, servers)


def test_the_sentinels_have_a_killed_master_replaced(site):
    with site.crowd():
        master = site.servers.master
        master.kill()
        site.servers.new_master(master)


def test_the_sentinels_replace_the_master_by_plan(site):
    # Nobody pays money: that of a lost payment is released only after 30 s.
    with site.crowd("free"):
        site.servers.failover()


def test_a_master_that_dies_without_a_replica_is_waited_for(site):
    with site.crowd():
        master = site.servers.master
        for server in site.servers.servers:
            server.kill()
        assert_problem(site.whole.client().hold_best("stalls", 1), 503, "unavailable")
        eventually(lambda: not site.is_ready(), "a host that is not ready", WAITS_S)
        refused = site.whole.flask("audit")
        assert refused.returncode == 2
        assert "every receipt is in MongoDB" in refused.stdout
        master.start()
        eventually(site.is_ready, "a host that is ready", WAITS_S)
