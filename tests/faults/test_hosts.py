"""Two nginx in front of three web hosts, two workers, one Redis, one MongoDB and one shared limit:
a burst of buyers goes on while hosts come and go."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pymongo
import pytest
import requests

from ops.servers import HttpServer
from tests.faults.crowd import AS_EVER, BUYERS, Crowd
from tests.faults.event_file import write_event_file
from tests.support.behind_nginx import NO_ENVELOPE, local_nginx
from tests.support.commands import flask
from tests.support.processes import children_of
from tests.support.site import another_web, another_worker
from tests.support.waiting import eventually

EVENT = "hosts"
CAPACITY = 3000
LEASE_S = 3
SALES = 15
"""Made before something happens to a host, and after it."""


pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Hosts:
    webs: list[HttpServer]
    nginx_urls: list[str]
    collection: pymongo.collection.Collection

    @contextmanager
    def burst(self) -> Iterator[list[Crowd]]:
        """Buyers at both nginx while the block runs. At its end everybody has an answer, and the
        bookings are what they were told."""
        crowds = [Crowd(url, EVENT, ("stalls", "free")) for url in self.nginx_urls]
        with ExitStack() as stack:
            for crowd in crowds:
                stack.enter_context(crowd.buying())
            for crowd in crowds:
                crowd.await_bookings(SALES)
            yield crowds
            for crowd in crowds:
                crowd.await_bookings(SALES, timeout_s=60)
        booked = {found["hold_id"]: found for found in self.collection.find({"event": EVENT})}
        for crowd in crowds:
            print(dict(crowd.outcomes.answers), dict(crowd.outcomes.refused_holds))
            assert not crowd.outcomes.unanswered, crowd.outcomes.answers
            assert crowd.outcomes.receipts.keys() <= booked.keys(), "a receipt for nothing"
            assert not crowd.outcomes.not_charged & booked.keys(), (
                "charged against the buyer's answer"
            )
        seats = Counter(seat for booking in booked.values() for seat in booking["seats"])
        assert set(seats.values()) == {1}, "a seat was sold twice"


@pytest.fixture(scope="module")
def hosts(stack, mongo_client, redis_server, tmp_path_factory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("hosts")
    event_file = write_event_file(folder / "events", EVENT, CAPACITY, 60)
    opened = flask(stack.environment, "events", "open", event_file)
    assert opened.returncode == 0, opened.stderr
    settings = {
        "PAYMENT_LEASE_S": str(LEASE_S),
        "LIMITER_REDIS_URL": redis_server.url,
        "WEB_CONCURRENCY": "1",
    }
    worker = another_worker(stack.environment | settings, folder / "worker.log")
    webs = [another_web(stack, folder / f"web{number}.log", **settings) for number in range(3)]
    with ExitStack() as running:
        for process in (worker, *webs):
            running.enter_context(process)
        addresses = [web.url.removeprefix("http://") for web in webs]
        nginx_urls = []
        for number in range(2):
            state_dir = folder / f"nginx{number}"
            state_dir.mkdir()
            nginx = local_nginx(state_dir, *addresses, rate=NO_ENVELOPE)
            nginx_urls.append(running.enter_context(nginx).url)
        yield Hosts(webs, nginx_urls, mongo_client.get_default_database().bookings)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    return [pid, *(one for child in children_of(pid) for one in family(child))]


def test_hosts_are_restarted_one_after_the_other_in_mid_burst(hosts):
    with hosts.burst() as crowds:
        for web in hosts.webs:
            web.stop()
            assert web.exit_code == 0
            web.start()
    for crowd in crowds:
        assert crowd.outcomes.answers.keys() <= AS_EVER
        assert not crowd.outcomes.refused_holds


def test_gunicorns_load_the_code_again_in_mid_burst(hosts):
    with hosts.burst() as crowds:
        for web in hosts.webs:
            before = set(family(web.pid))
            os.kill(web.pid, signal.SIGHUP)
            eventually(lambda web=web, before=before: before - set(family(web.pid)), "new workers")
            web.wait_until_ready()
    for crowd in crowds:
        assert crowd.outcomes.answers.keys() <= AS_EVER
        assert not crowd.outcomes.refused_holds


def test_a_host_is_killed_in_mid_burst(hosts):
    with hosts.burst() as crowds:
        hosts.webs[0].kill()
    hosts.webs[0].start()
    for crowd in crowds:
        assert crowd.outcomes.refused_holds.keys() <= {"503 unavailable"}
        # At most what each buyer was asking it for at that moment.
        assert crowd.outcomes.answers["504 outcome_unknown"] <= BUYERS
        assert crowd.outcomes.refused_holds["503 unavailable"] <= BUYERS


def test_a_host_that_hangs_in_mid_burst_is_left_out(hosts):
    stopped = family(hosts.webs[0].pid)
    with hosts.burst():
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            # As open pages of many buyers do. Each time it is another host's turn.
            for number, url in enumerate(hosts.nginx_urls * 9):
                seats = f"{url}/api/events/{EVENT}/seats"
                address = {"X-Forwarded-For": f"198.51.100.{number}"}
                assert requests.get(seats, headers=address, timeout=15).status_code == 200
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
