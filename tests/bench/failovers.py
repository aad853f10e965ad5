"""Fails Redis over in mid-sale, on a cluster and behind Sentinels, and prints the tables of
``docs/failures.md``: for how long nobody got a hold, and how many acknowledged holds were lost.

    python -m tests.bench.failovers
"""

import logging
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count, pairwise
from pathlib import Path

import redis

from ops.redis_cluster import RedisCluster
from ops.redis_sentinels import RedisSentinels
from ops.server_groups import wait_for
from ops.servers import Redis
from tests.faults.event_file import write_event_file
from tests.faults.replication import without_replication
from tests.support.factories import put_on_sale
from tests.support.redis_stores import seats_at
from web.adapters.event_files import read_event_files
from web.adapters.redis.seat_store import RedisSeatStore
from web.domain.events import Event
from web.domain.refusals import Unavailable

DOWN_AFTER_MS = 1000
"""``cluster-node-timeout``, and the Sentinels' ``down-after-milliseconds``."""
PAUSE_MS = 5000
"""The same, for the failover in which the master makes writes wait as long at most."""

BUYERS = 4
PAUSE_S = 0.004
BEFORE_S = 1.5
AFTER_S = 1.5

EVENT_ID = "failovers"
SAFETY = {
    "neither": (0, {}),
    "`REDIS_WAIT_REPLICAS=1`": (1, {}),
    "`min-replicas-to-write 1`, `min-replicas-max-lag 1`": (
        0,
        {"min-replicas-to-write": 1, "min-replicas-max-lag": 1},
    ),
}
PAUSED = "planned, with a pause of writes"
PLANNED = ("planned", PAUSED)
FAULTS = (*PLANNED, "killed", "hangs", "loses its replicas, 3 s later killed")
ALONE_S = 3

Group = RedisCluster | RedisSentinels


class Buyers:
    """Buyers hold seats while the block of ``buying`` runs. ``acknowledged`` has each hold's id and
    when its buyer heard of it."""

    def __init__(self, seats: RedisSeatStore, event: Event):
        self._seats, self._event = seats, event
        self._numbers = count()
        self._over = threading.Event()
        self.acknowledged: list[tuple[float, str]] = []

    @contextmanager
    def buying(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._buy) for _ in range(BUYERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def longest_pause_s(self) -> float:
        heard_s = sorted(at_s for at_s, _ in self.acknowledged)
        return max(later - sooner for sooner, later in pairwise(heard_s))

    def _buy(self) -> None:
        section = self._event.sections[0]
        while not self._over.wait(PAUSE_S):
            hold_id = f"hld_{next(self._numbers)}"
            with suppress(Unavailable):
                self._seats.hold_best(self._event, hold_id, f"client {hold_id}", section, 1)
                self.acknowledged.append((time.monotonic(), hold_id))


def group_in(folder: Path, kind: str, fault: str) -> Group:
    if kind == "Cluster":
        return RedisCluster(folder, folder, replicas=2, node_timeout_ms=DOWN_AFTER_MS)
    down_after_ms = PAUSE_MS if fault == PAUSED else DOWN_AFTER_MS
    return RedisSentinels(
        folder, folder, down_after_ms=down_after_ms, failover_timeout_ms=DOWN_AFTER_MS
    )


def master_of(group: Group) -> Redis:
    return group.master if isinstance(group, RedisSentinels) else group.master_of(f"{{{EVENT_ID}}}")


def servers_of(group: Group) -> Sequence[Redis]:
    return group.servers if isinstance(group, RedisSentinels) else group.members


def fail_over(group: Group, master: Redis, fault: str) -> Redis:
    """Returns the new master."""
    if fault in PLANNED:
        if isinstance(group, RedisSentinels):
            return group.failover(paused=fault == PAUSED)
        return group.failover(master)
    if fault == "hangs":
        master.hang()
        return new_master_of(group, master)
    if fault == "killed":
        master.kill()
        return new_master_of(group, master)
    with ExitStack() as cut_off:
        for replica in filter(is_replica, servers_of(group)):
            cut_off.enter_context(without_replication(replica))
        time.sleep(ALONE_S)
        master.kill()
        return new_master_of(group, master)


def new_master_of(group: Group, former: Redis) -> Redis:
    if isinstance(group, RedisSentinels):
        return group.new_master(former)
    return group.new_master_of(f"{{{EVENT_ID}}}", former)


def is_replica(server: Redis) -> bool:
    # A server that becomes one closes its connections.
    with suppress(redis.ConnectionError), server.client() as client:
        return bool(client.info("replication")["role"] == "slave")
    return False


def measured(kind: str, fault: str, replicas: int, options: dict[str, int]) -> tuple[float, int]:
    """For how many seconds nobody got a hold, and how many holds were lost."""
    folder = Path(tempfile.mkdtemp())
    (event,), _ = read_event_files([write_event_file(folder / "events", EVENT_ID, 50_000, 600)])
    with group_in(folder / "redis", kind, fault) as group:
        seats = seats_at(group.url, replicas=replicas)
        put_on_sale(seats, event)
        for server in servers_of(group):
            with server.client() as client:
                for name, value in options.items():
                    client.config_set(name, value)
        buyers = Buyers(seats, event)
        with buyers.buying():
            time.sleep(BEFORE_S)
            former = master_of(group)
            successor = fail_over(group, former, fault)
            before = len(buyers.acknowledged)
            wait_for(lambda: len(buyers.acknowledged) > before + 20, "holds again")
            if fault in PLANNED:
                wait_for(lambda: is_replica(former), "the former master as a replica")
            time.sleep(AFTER_S)
        with successor.client() as client:
            kept = set(client.hkeys(f"holds:{{{EVENT_ID}}}"))
        for member in group.members:
            if member.hangs:
                member.resume()
        lost = sum(hold_id not in kept for _, hold_id in buyers.acknowledged)
        return buyers.longest_pause_s(), lost


def main() -> None:
    logging.disable(logging.WARNING)  # a line for each refused hold
    print("| | fails over | " + " | ".join(f"{name}: 503, holds lost" for name in SAFETY) + " |")
    print("|---" * (2 + len(SAFETY)) + "|")
    for kind in ("Cluster", "Sentinel"):
        for fault in FAULTS:
            if fault == PAUSED and kind == "Cluster":
                continue  # there the master pauses by itself
            cells = [kind, fault]
            for replicas, options in SAFETY.values():
                pause_s, lost = measured(kind, fault, replicas, options)
                cells.append(f"{pause_s:.1f} s, {lost}")
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
