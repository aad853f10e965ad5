"""``make bench``: the processor time of each path, its requests per second, and the goals.

Everything runs on this machine at the same time, including wrk, so do not compare figures of
different machines or different runs, only ratios within one run. ``ONLY=purchase`` measures one
group of rows, ``ROUNDS=3`` is quicker. ``KEEP=1`` writes the figures, their page and their picture
to docs/bench.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ops.processes import free_port
from ops.servers import REPOSITORY
from ops.stack import Stack
from tests.bench.figures import Figures
from tests.bench.measurements import GROUPS, OF_EXPRESS, OF_FASTAPI, Measurement
from tests.bench.parts import Spent, stopwatch
from tests.bench.report import Report
from tests.bench.servers import Bench, available_peers
from tests.bench.wrk import SECONDS, Result
from tests.support.environment import inherited
from tests.support.parameters import BadParameter, MongoDBKind, RedisKind, read_parameters

KEPT_DIR = REPOSITORY / "docs/bench"

ROUNDS = 7

ALL = "all"

WORKER_S = 62
"""After the sales: the worker compares what has changed once a minute."""


class Parameters(msgspec.Struct):
    redis: RedisKind = "server"
    mongodb: MongoDBKind = "1"
    keep: Annotated[int, Meta(ge=0, le=1)] = 0
    only: Annotated[Literal[(*GROUPS, ALL)], Meta(description="a group of rows")] = ALL
    rounds: Annotated[int, Meta(ge=1, le=100)] = ROUNDS


def main() -> None:
    try:
        parameters = read_parameters(os.environ, Parameters, others=("WEB_CONCURRENCY",))
    except BadParameter as error:
        sys.exit(str(error))
    kinds = {"REDIS": parameters.redis, "MONGODB": parameters.mongodb}
    if parameters.keep and kinds != {"REDIS": "server", "MONGODB": "1"}:
        sys.exit("KEEP=1: what is kept is of one Redis and one MongoDB")
    if parameters.keep and (parameters.only != ALL or parameters.rounds != ROUNDS):
        sys.exit("KEEP=1: what is kept is of all groups and rounds")
    peers, notes = available_peers(), []
    if parameters.redis != "server":
        peers = set()
        notes.append("Express and FastAPI can use only a single Redis, so they were left out.")
    else:
        if "express" not in peers:
            notes.append("Without Node.js and npm there is no Express to compare with.")
        if "fastapi" not in peers:
            notes.append("FastAPI could not be installed, so there is none to compare with.")
    groups = [group for name, group in GROUPS.items() if parameters.only in (ALL, name)]
    results: dict[str, list[Result]] = {}
    with tempfile.TemporaryDirectory(prefix="tickets-bench-") as name:
        folder = Path(name)
        stack = Stack(folder / "stack", inherited("WEB_CONCURRENCY") | kinds)
        try:
            stack.start(free_port())
            with Bench(stack, folder, peers) as bench:
                for group in groups:
                    rows = [row for row in group if is_available(row, peers)]
                    spent = stopwatch(bench.tickets.roots)
                    results |= measure(bench, rows, parameters.rounds)
                    sellers = [row.name for row in rows if row.sells]
                    # One group of rows is for a quick look.
                    if sellers and parameters.only == ALL:
                        of_sellers = {seller: results[seller] for seller in sellers}
                        results |= with_worker(bench, of_sellers, spent)
                counts = bench.counts
        finally:
            stack.stop()
    report = Report(Figures(results), counts, notes, parameters.rounds)
    print(report.markdown())
    if parameters.keep:
        KEPT_DIR.mkdir(exist_ok=True)
        figures_file = KEPT_DIR / "bench.json"
        figures_file.write_bytes(report.json())
        # The page and the picture show the figures as rounded in the file.
        report = Report.read(figures_file.read_bytes())
        (KEPT_DIR / "bench.md").write_text(report.markdown())
        (KEPT_DIR / "bench.svg").write_text(report.svg())


def is_available(row: Measurement, peers: set[str]) -> bool:
    if row.name in OF_EXPRESS:
        return "express" in peers
    return row.name not in OF_FASTAPI or "fastapi" in peers


def measure(bench: Bench, rows: list[Measurement], rounds: int) -> dict[str, list[Result]]:
    results: dict[str, list[Result]] = {row.name: [] for row in rows}
    for number in range(rounds):
        print(f"{rows[0].name}, …: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        # There and back, so that none always has the same one before it.
        for row in rows[:: -1 if number % 2 else 1]:
            with bench.hall(row.seats, is_kept=row.sells) as hall:
                result = row.measure(bench, hall)
            bench.latest[row.name] = result
            results[row.name].append(result)
    return results


def with_worker(
    bench: Bench, results: dict[str, list[Result]], spent: Callable[[], Spent]
) -> dict[str, list[Result]]:
    """The same, with each purchase's share of what the worker does from the first sale until it has
    looked at the last one. It works in rounds, of which a measurement sees none or too many."""
    print(f"The worker looks at what was sold: {WORKER_S} s", file=sys.stderr, flush=True)
    time.sleep(WORKER_S)
    bench.close_kept_halls()
    sold = sum(result.per_second * SECONDS for of_one in results.values() for result in of_one)
    share_us = 1e6 * spent().by_part["worker"] / sold
    return {
        name: [result.with_part("worker", share_us) for result in of_one]
        for name, of_one in results.items()
    }


if __name__ == "__main__":
    main()
