"""One count for several hosts on the master that Sentinels name, whichever that is by then."""

import time
from collections.abc import Iterator

import pytest

from ops.redis_sentinels import RedisSentinels
from ops.servers import Access, Redis
from sidecar.client import LimiterClient
from sidecar.redis_server import SENTINEL_INTERVAL_S
from tests.sidecar.test_shared_limit import shares_again
from tests.support.certificates import issue_certificates
from tests.support.factories import unique
from tests.support.sidecars import LIMIT, PATIENCE_S, RATE
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def group(tmp_path_factory) -> Iterator[RedisSentinels]:
    folder = tmp_path_factory.mktemp("sentinels")
    access = Access("limiter", "p@ss/word", issue_certificates(folder))
    with RedisSentinels(
        folder / "state",
        folder / "logs",
        down_after_ms=1000,
        failover_timeout_ms=1000,
        access=access,
    ) as running:
        yield running


@pytest.fixture
def sentinels(group) -> Iterator[RedisSentinels]:
    """All members run. A former master may still have to learn from the Sentinels that it is a
    replica, which takes ten seconds: who needs it waits for it."""
    yield group
    group.revive()


@pytest.fixture
def start_limiter(start_host, sentinels):
    ca = sentinels.servers[0].access.certificates.authority
    return lambda url: start_host(url, ca=str(ca))


@pytest.fixture
def start_worker(start_limiter, sentinels):
    """A worker on a host of its own, whose limiter is told of the Sentinels."""
    return lambda url=sentinels.url: start_limiter(url).client()


@pytest.fixture
def hosts(start_worker, sentinels) -> list[LimiterClient]:
    clients = [start_worker(), start_worker(sentinels.url.replace("rediss+", "valkeys+"))]
    for client in clients:
        shares_again(client)
    return clients


def counted_by(server: Redis, client: LimiterClient) -> bool:
    key = unique("client")
    assert client.check(key, RATE).remaining == LIMIT - 1
    with server.client() as raw:
        return bool(raw.exists(f"accepted:{{limiter}}:{RATE.limit}/3600000000:{key}"))


def role(server: Redis) -> str:
    with server.client() as raw:
        return raw.role()[0]


def have_one_count(hosts: list[LimiterClient]) -> bool:
    key = unique("client")
    return sum(hosts[n % 2].check(key, RATE).allowed for n in range(2 * LIMIT)) == LIMIT


def test_sentinels_may_ask_for_a_user_of_their_own(start_limiter, start_worker, sentinels):
    for sentinel in sentinels.sentinels:
        with sentinel.client() as raw:
            allowed = "+auth +hello +sentinel|master"
            raw.execute_command("ACL SETUSER asker on >secret", *allowed.split())
    as_asker = f"{sentinels.url}?sentinel_username=asker&sentinel_password="
    shares_again(start_worker(f"{as_asker}secret"))
    refused = start_limiter(f"{as_asker}wrong")
    assert refused.client().stats()["shared"] == 0
    refused.process.terminate()
    (said,) = refused.process.communicate(timeout=PATIENCE_S)[1].splitlines()
    why = "invalid username-password pair or user is disabled."
    assert f"the shared log does not answer (no master 'tickets': {why})" in said


def test_after_a_planned_failover_the_former_master_is_left_while_it_still_takes_writes(
    hosts, sentinels
):
    former = sentinels.master
    assert all(counted_by(former, client) for client in hosts)
    successor = sentinels.failover()
    for client in hosts:
        eventually(lambda client=client: counted_by(successor, client), "the new master's count")
    assert role(former) == "master", "some ten seconds long"
    assert have_one_count(hosts)


@pytest.mark.parametrize("harm", [Redis.kill, Redis.hang])
def test_a_master_that_is_gone_is_replaced_and_hosts_count_by_themselves_meanwhile(
    hosts, sentinels, harm
):
    former = sentinels.master
    harm(former)
    for client in hosts:
        assert client.check("a", RATE).allowed
        assert client.stats()["shared"] == 0
    successor = sentinels.new_master(former)
    for client in hosts:
        shares_again(client)
        assert counted_by(successor, client)
        assert client.fallbacks == 0
    assert have_one_count(hosts)


def test_sentinels_that_hang_hold_nobody_up_and_without_any_the_master_stays(
    hosts, start_worker, sentinels
):
    """The last one here: Sentinels that hung do nothing for half a minute (their TILT mode)."""
    first, second, third = sentinels.sentinels
    first.hang()
    second.hang()
    shares_again(start_worker())
    third.kill()
    newcomer = start_worker()
    assert newcomer.stats()["shared"] == 0
    assert newcomer.check("a", RATE).allowed
    deadline_s = time.monotonic() + 2 * SENTINEL_INTERVAL_S
    while time.monotonic() < deadline_s:
        assert have_one_count(hosts)
    assert [client.stats()["shared_fallbacks"] for client in hosts] == [0, 0]
    first.resume()
    shares_again(newcomer)
