"""``make bench``: requests per second of each path, as a ratio to nginx's own ``return 409``.

Everything runs on this machine at the same time, including wrk, so do not compare figures of
different machines or different runs, only ratios within one run. ``KEEP=1`` writes the figures,
their page and their picture to docs/bench.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ops.processes import free_port
from ops.servers import REPOSITORY
from ops.stack import Stack
from tests.bench.measurements import (
    GOALS,
    GOALS_BESIDE_EXPRESS,
    MEASUREMENTS,
    OF_EXPRESS,
    REPETITIONS,
    Figures,
)
from tests.bench.report import Report
from tests.bench.servers import Bench, can_run_express
from tests.support.environment import inherited
from tests.support.parameters import BadParameter, MongoDBKind, RedisKind, read_parameters

KEPT_DIR = REPOSITORY / "docs/bench"


class Parameters(msgspec.Struct):
    redis: RedisKind = "server"
    mongodb: MongoDBKind = "1"
    keep: Annotated[int, Meta(ge=0, le=1)] = 0


def main() -> None:
    try:
        parameters = read_parameters(os.environ, Parameters, others=("WEB_CONCURRENCY",))
    except BadParameter as error:
        sys.exit(str(error))
    kinds = {"REDIS": parameters.redis, "MONGODB": parameters.mongodb}
    if parameters.keep and kinds != {"REDIS": "server", "MONGODB": "1"}:
        sys.exit("KEEP=1: what is kept is of one Redis and one MongoDB")
    with_express = can_run_express() and parameters.redis == "server"
    measurements, goals = MEASUREMENTS, GOALS
    if with_express:
        measurements, goals = measurements + OF_EXPRESS, goals + GOALS_BESIDE_EXPRESS
    figures = Figures({measurement.name: [] for measurement in measurements})
    with tempfile.TemporaryDirectory(prefix="tickets-bench-") as name:
        folder = Path(name)
        stack = Stack(folder / "stack", inherited("WEB_CONCURRENCY") | kinds)
        try:
            stack.start(free_port())
            with Bench(stack, folder, with_express=with_express) as bench:
                # Round by round, so that a slow minute of the machine affects all measurements.
                for repetition in range(1, REPETITIONS + 1):
                    print(f"round {repetition} of {REPETITIONS}", file=sys.stderr, flush=True)
                    for measurement in measurements:
                        with bench.hall(measurement.seats) as hall:
                            result = measurement.measure(bench, hall)
                        figures.results[measurement.name].append(result)
                notes = list(bench.notes)
        finally:
            stack.stop()
    if parameters.redis != "server":
        notes.append("The Express application can use only a single Redis, so it was left out.")
    elif not with_express:
        notes.append("Without Node.js and npm there is no Express to compare with.")
    report = Report(figures, goals, notes)
    print(report.markdown())
    if parameters.keep:
        KEPT_DIR.mkdir(exist_ok=True)
        figures_file = KEPT_DIR / "bench.json"
        figures_file.write_bytes(report.json())
        # The page and the picture show the figures as rounded in the file.
        report = Report.read(figures_file.read_bytes())
        (KEPT_DIR / "bench.md").write_text(report.markdown())
        (KEPT_DIR / "bench.svg").write_text(report.svg())


if __name__ == "__main__":
    main()
