"""``make soak``: does anything grow when TicketS runs for a long time?

Half of this machine's maximum load; run it by hand on an otherwise idle machine. Holds expire and
their seats are held again, and a few buyers pay. Every quarter of a minute it samples the memory
and open files of each part, Redis's memory and the journal. Writes docs/bench/soak.json and a
picture of the memory.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import msgspec
import psutil
import redis
from msgspec import Meta

from ops.processes import free_port
from ops.servers import REPOSITORY
from ops.stack import Stack
from tests.bench.line_chart import LineChart
from tests.bench.parts import by_part, roots_of
from tests.bench.wrk import start_wrk
from tests.support.environment import inherited
from tests.support.factories import put_on_sale, two_halves
from tests.support.machine import circumstances
from tests.support.parameters import BadParameter, read_parameters
from tests.support.redis_stores import seats_on
from web.adapters.redis.shard import connect

SAMPLE_S = 15
HOLD_MS = 10_000
SEATS = 100_000
"""Seats of the section where holds expire: more than are held in three times HOLD_MS."""
HOLDERS, HOLDERS_PAUSE_MS = 64, 21
"""About 3,000 holds a second."""
PAYERS, PAYERS_PAUSE_MS = 4, 400
"""About five purchases a second."""
POINTS = 10
"""Points of a line in the picture."""
KEPT = REPOSITORY / "docs/bench/soak.json"


class Parameters(msgspec.Struct):
    minutes: Annotated[float, Meta(ge=1, le=10_080)] = 30
    """A week at most."""


def main() -> None:
    try:
        parameters = read_parameters(os.environ, Parameters, others=("WEB_CONCURRENCY",))
    except BadParameter as error:
        sys.exit(str(error))
    seconds = round(60 * parameters.minutes)
    with tempfile.TemporaryDirectory(prefix="tickets-soak-") as name:
        stack = Stack(Path(name) / "stack", inherited("WEB_CONCURRENCY"))
        try:
            stack.start(free_port())
            client = connect(stack.environment["REDIS_URL"])
            put_on_sale(seats_on(client), HALL)
            url = stack["nginx"].url
            free = ("free", "free", str(HOLDERS_PAUSE_MS), str(SEATS))
            buy = ("buy", "paid", "pm_card_visa", str(PAYERS_PAUSE_MS))
            loads = {
                "holds": start_wrk(
                    "buyers", url, HALL.id, *free, seconds=seconds, connections=HOLDERS
                ),
                "purchases": start_wrk(
                    "buyers", url, HALL.id, *buy, seconds=seconds, connections=PAYERS
                ),
            }
            try:
                samples = watch(stack, client, list(loads.values()))
                answers = {
                    what: json.loads(load.communicate()[0].splitlines()[-1])
                    for what, load in loads.items()
                }
            finally:
                for load in loads.values():
                    load.kill()
        finally:
            stack.stop()
    document = {
        **circumstances(),
        "load": answers,
        "samples": samples,
    }
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(document, indent=1) + "\n")
    KEPT.with_suffix(".svg").write_text(memory_chart(samples).svg())


def memory_chart(samples: list[dict]) -> LineChart:
    shown = [*samples[: -1 : max(1, len(samples) // POINTS)], samples[-1]]
    lines = {
        part: [(round(sample["s"] / 60), sample["memory_mib"][part]) for sample in shown]
        for part in shown[0]["memory_mib"]
    }
    title = "Memory at half load, all processes of a part together"
    return LineChart(title, "minutes", "MiB", lines, even_x=True)


HALL = two_halves("soak", SEATS, hold_ms=HOLD_MS, max_held_per_client=1000)


def watch(stack: Stack, client: redis.Redis, loads: list[subprocess.Popen]) -> list[dict]:
    """Take a sample every SAMPLE_S seconds until the load ends."""
    samples, began_s = [], time.monotonic()
    while all(load.poll() is None for load in loads):
        samples.append({"s": round(time.monotonic() - began_s), **sample(stack, client)})
        time.sleep(SAMPLE_S)
    return samples


def sample(stack: Stack, client: redis.Redis) -> dict:
    """Memory in MiB, summed over the processes of each part; ``files`` counts their open files and
    connections."""
    roots = roots_of(stack)
    memory = by_part(roots, lambda process: process.memory_info().rss / 2**20)
    return {
        "memory_mib": {name: round(mib, 1) for name, mib in memory.items()},
        "files": by_part(roots, psutil.Process.num_fds),
        "redis_mib": round(client.info("memory")["used_memory"] / 2**20, 1),
        "redis_clients": client.info("clients")["connected_clients"],
        "journal_entries": client.xlen(f"journal:{{{HALL.id}}}"),
        "holds": client.hlen(f"holds:{{{HALL.id}}}"),
        "receipts": sum(1 for _ in client.scan_iter(f"receipt:{{{HALL.id}}}:*", count=5000)),
    }


if __name__ == "__main__":
    main()
