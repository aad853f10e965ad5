"""``python -m tests.bench.redis_servers``: the cost of a hold and of a purchase by kind of Redis.

It measures processor time, which depends little on what else the machine does. The kinds take
turns. One gunicorn worker sells one event a shard at the same time. There is no nginx and no
limiter: they do not know which Redis it is.
"""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import psutil

from ops.processes import free_port
from ops.redis_cluster import RedisCluster
from ops.redis_sentinels import RedisSentinels
from ops.server_groups import ServerGroup
from ops.servers import HOST, REPOSITORY, HttpServer, Redis
from ops.stack import Stack
from sidecar.server_urls import redis_servers
from tests.bench.measurements import holds, purchases
from tests.bench.parts import processor_s
from tests.bench.wrk import CONNECTIONS
from tests.support.environment import inherited
from tests.support.factories import put_on_sale, two_halves
from tests.support.redis_stores import commands_of, seats_on
from web.adapters.redis.seat_store import RedisSeatStore
from web.adapters.redis.servers import servers_of
from web.domain.events import Event

ROUNDS = 5
SECONDS = 3

MEASURED = {"a hold": holds, "a purchase": purchases}


@dataclass(frozen=True)
class Kind:
    title: str
    shards: int
    server: HttpServer
    seats: RedisSeatStore
    redis: Sequence[Redis]

    def halls(self) -> list[Event]:
        """One on each shard."""
        halls: dict[int, Event] = {}
        while len(halls) < self.shards:
            hall = two_halves("bench", 20_000, hold_ms=300_000, max_held_per_client=16)
            port = commands_of(self.seats, hall.id).connection_pool.connection_kwargs["port"]
            if port not in halls:
                halls[port] = hall
                put_on_sale(self.seats, hall)
        return list(halls.values())


@dataclass(frozen=True)
class Cost:
    """Microseconds of processor time a call. ``busiest`` is of the server that had most to do."""

    application: float
    redis: float
    busiest: float


def main() -> None:
    costs: dict[tuple[str, str], list[Cost]] = {}
    with contextlib.ExitStack() as end:
        kinds = list(started(end))
        for number in range(ROUNDS):
            for what in MEASURED:
                for kind in kinds[:: -1 if number % 2 else 1]:
                    costs.setdefault((what, kind.title), []).append(cost(kind, what))
    print("| | application | all Redis servers | the busiest one | calls a second, at most |")
    print("|---|---|---|---|---|")
    for (what, title), rounds in costs.items():
        application, redis, busiest = (
            f"{median(figures):.0f} ({min(figures):.0f} to {max(figures):.0f})"
            for figures in zip(*((c.application, c.redis, c.busiest) for c in rounds), strict=True)
        )
        most = 1e6 / median(cost.busiest for cost in rounds)
        print(f"| {what}, {title} | {application} | {redis} | {busiest} | {most:,.0f} |")


def cost(kind: Kind, what: str) -> Cost:
    halls = kind.halls()
    before = [processor_s(process) for process in processes_of(kind)]

    def buy(hall: Event) -> float:
        connections = CONNECTIONS // len(halls)
        measure = MEASURED[what]
        result = measure(kind.server.url, hall, seconds=SECONDS, connections=connections)
        return result.per_second * SECONDS

    with ThreadPoolExecutor(len(halls)) as crowd:
        calls = sum(crowd.map(buy, halls))
    after = [processor_s(process) for process in processes_of(kind)]
    application, *redis = (
        1e6 * (end_s - start_s) / calls for start_s, end_s in zip(before, after, strict=True)
    )
    return Cost(application, sum(redis), max(redis))


def processes_of(kind: Kind) -> list[psutil.Process]:
    (worker,) = psutil.Process(kind.server.pid).children()
    return [worker, *(psutil.Process(server.pid) for server in kind.redis)]


def started(end: contextlib.ExitStack) -> Iterator[Kind]:
    folder = Path(end.enter_context(tempfile.TemporaryDirectory(prefix="tickets-bench-")))
    stack = Stack(folder / "stack", inherited())
    end.callback(stack.stop)
    stack.start(free_port())
    kinds: dict[str, tuple[int, Callable[[Path], ServerGroup | Redis]]] = {
        "one server": (1, lambda at: Redis(at, at / "redis.log")),
        "behind Sentinels": (1, lambda at: RedisSentinels(at / "state", at)),
        "a cluster of one shard": (1, partial(cluster, 1)),
        "a cluster of two": (2, partial(cluster, 2)),
        "a cluster of three": (3, partial(cluster, 3)),
    }
    for title, (shards, make) in kinds.items():
        store = end.enter_context(make(folder / title))
        members = [store] if isinstance(store, Redis) else store.members
        redis = [member for member in members if isinstance(member, Redis)]
        seats = seats_on(servers_of(redis_servers("REDIS_URL", store.url), {}))
        own = {"REDIS_URL": store.url, "WEB_CONCURRENCY": "1", "WEB_HOST": HOST}
        port = free_port()
        server = HttpServer(
            title,
            [sys.executable, "-m", "gunicorn", "tests.bench.unlimited:app"],
            folder / f"{title}.log",
            port,
            ready_path="/healthz",
            env=stack.environment | own | {"PORT": str(port)},
            cwd=REPOSITORY,
        )
        yield Kind(title, shards, end.enter_context(server), seats, redis)


def cluster(shards: int, folder: Path) -> RedisCluster:
    return RedisCluster(folder / "state", folder, shards=shards, replicas=0)


if __name__ == "__main__":
    main()
