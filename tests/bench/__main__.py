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
from tests.bench.parts import stopwatch
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

REST_S, RESTS = 5, 4
"""Before them: the least of so many periods counts, so that what another program disturbs is not
taken off the purchases."""


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
                    # One group of rows is for a quick look.
                    waits = parameters.only == ALL
                    results |= measure(bench, rows, parameters.rounds, waits_for_worker=waits)
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


def measure(
    bench: Bench, rows: list[Measurement], rounds: int, *, waits_for_worker: bool
) -> dict[str, list[Result]]:
    results: dict[str, list[Result]] = {row.name: [] for row in rows}
    sellers = [row.name for row in rows if row.sells]
    print(f"{rows[0].name}, …: the halls are opened", file=sys.stderr, flush=True)
    # All of them before the first round: what the worker does about a new hall goes on for a while.
    sizes = {(number, row.name): row.seats for number in range(rounds) for row in rows}
    with bench.halls(sizes) as halls:
        share_us = worker_share(bench) if sellers and waits_for_worker else None
        for number in range(rounds):
            print(f"{rows[0].name}, …: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            # There and back, so that none always has the same one before it.
            for row in rows[:: -1 if number % 2 else 1]:
                result = row.measure(bench, halls[number, row.name])
                bench.latest[row.name] = result
                results[row.name].append(result)
        if share_us:
            sold = sum(
                result.per_second * SECONDS for seller in sellers for result in results[seller]
            )
            us = share_us(sold)
            for seller in sellers:
                results[seller] = [result.with_part("worker", us) for result in results[seller]]
    return results


def worker_share(bench: Bench) -> Callable[[float], float]:
    """Returns a function that takes the number of purchases since this call, and says how many
    microseconds the worker has spent on each until it has looked at the last one, beyond what it
    spends at rest. It works in rounds, of which a measurement sees none or too many."""
    print(f"The worker at rest: {RESTS * REST_S} s", file=sys.stderr, flush=True)
    at_rest = min(worker_at_rest(bench) for _ in range(RESTS))
    bench.count("The worker when nothing is sold, ms a second", 1000 * at_rest)
    began_s, spent = time.monotonic(), stopwatch(bench.tickets.roots)

    def share_us(sold: float) -> float:
        print(f"The worker looks at what was sold: {WORKER_S} s", file=sys.stderr, flush=True)
        time.sleep(WORKER_S)
        rest_s = at_rest * (time.monotonic() - began_s)
        return 1e6 * (spent().by_part["worker"] - rest_s) / sold

    return share_us


def worker_at_rest(bench: Bench) -> float:
    """What it spends in a second, in seconds."""
    spent = stopwatch(bench.tickets.roots)
    time.sleep(REST_S)
    return spent().by_part["worker"] / REST_S


if __name__ == "__main__":
    main()
