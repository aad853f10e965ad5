"""``python -m tests.bench.worker_classes``: the cost of a request with each WEB_WORKER_CLASS.

It measures the processor time of the gunicorn worker, which depends little on what else the machine
does. The classes take turns, and ratios are of one round, so that a slow minute affects both. There
is no nginx and no limiter: they cost the same with either class.
"""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import psutil

from ops.processes import free_port
from ops.servers import HOST, REPOSITORY, HttpServer
from ops.stack import Stack
from tests.bench.parts import processor_s
from tests.bench.wrk import CONNECTIONS, Surprise, buyers, wrk
from tests.support.environment import inherited
from tests.support.factories import put_on_sale, two_halves
from tests.support.redis_stores import seats_on
from web.adapters.redis.seat_store import RedisSeatStore
from web.adapters.redis.shard import connect
from web.settings import WORKER_CLASSES

ROUNDS = 7
SECONDS = 3


def healthz(url: str, _seats: RedisSeatStore) -> float:
    """The request with the least application code. Returns how many were made."""
    numbers = wrk("burst", url, "GET", "/healthz", "1000", seconds=SECONDS).numbers
    if numbers["errors"]:
        raise Surprise(str(numbers))
    return numbers["answers"]


def hold(url: str, seats: RedisSeatStore) -> float:
    hall = two_halves("bench", 30_000, hold_ms=300_000, max_held_per_client=16)
    put_on_sale(seats, hall)
    result = buyers(url, hall.id, "free", "paid", seconds=SECONDS, connections=CONNECTIONS)
    return result.per_second * SECONDS


MEASURED: dict[str, Callable[[str, RedisSeatStore], float]] = {
    "`GET /healthz`": healthz,
    "hold a free seat": hold,
}


def main() -> None:
    costs: dict[str, dict[str, list[float]]] = {
        what: {name: [] for name in WORKER_CLASSES} for what in MEASURED
    }
    with contextlib.ExitStack() as end:
        folder = end.enter_context(tempfile.TemporaryDirectory(prefix="tickets-bench-"))
        stack = Stack(Path(folder) / "stack", inherited())
        end.callback(stack.stop)
        stack.start(free_port())
        seats = seats_on(connect(stack.environment["REDIS_URL"]))
        servers = {
            name: end.enter_context(serving(stack, name, Path(folder))) for name in WORKER_CLASSES
        }
        for number in range(ROUNDS):
            for what, measure in MEASURED.items():
                for name in sorted(servers, reverse=number % 2 == 1):
                    before_s = worker_s(servers[name])
                    count = measure(servers[name].url, seats)
                    costs[what][name].append(1e6 * (worker_s(servers[name]) - before_s) / count)
    print("| request | " + " | ".join(f"`{name}`, µs" for name in WORKER_CLASSES) + " | ratio |")
    print("|---" * (len(WORKER_CLASSES) + 2) + "|")
    for what, by_class in costs.items():
        ratios = [other / ours for ours, other in zip(*by_class.values(), strict=True)]
        cells = [f"{median(figures):.0f}" for figures in by_class.values()]
        spread = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {what} | {' | '.join(cells)} | {spread} |")


@contextlib.contextmanager
def serving(stack: Stack, worker_class: str, folder: Path) -> Iterator[HttpServer]:
    port = free_port()
    own = {
        "PORT": str(port),
        "WEB_HOST": HOST,
        "WEB_CONCURRENCY": "1",
        "WEB_WORKER_CLASS": worker_class,
    }
    with HttpServer(
        worker_class,
        [sys.executable, "-m", "gunicorn", "tests.bench.unlimited:app"],
        folder / f"{worker_class}.log",
        port,
        ready_path="/readyz",
        env=stack.environment | own,
        cwd=REPOSITORY,
    ) as server:
        yield server


def worker_s(server: HttpServer) -> float:
    (worker,) = psutil.Process(server.pid).children()
    return processor_s(worker)


if __name__ == "__main__":
    main()
