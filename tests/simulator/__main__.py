"""``make simulate``: random sales in which several things go wrong, or one of them again.

    make simulate MINUTES=60     as many as there is time for, from seed FIRST (1,000,000) on
    make simulate SEED=4716      one run, and its story

A run that breaks a rule is shortened and described, and the exit code is 1. KEEP=1 writes the
figures into docs/failures.md.
"""

import os
import re
import sys
from datetime import UTC, datetime
from itertools import count
from typing import Annotated

import msgspec
from msgspec import Meta

from ops.servers import REPOSITORY
from tests.simulator.chance import plan_of
from tests.simulator.hunting import Hunt, hunt, shortest, told
from tests.simulator.redis_memory import redis_memory
from tests.simulator.world import run
from tests.support.machine import machine
from tests.support.parameters import BadParameter, read_parameters

PAGE = REPOSITORY / "docs/failures.md"
BEGIN, END = "<!-- simulated -->\n", "<!-- end of simulated -->"

MOST = 10
"""After this many runs that broke a rule the search ends."""


class Parameters(msgspec.Struct):
    """``first`` is the first seed, above those of the tests; with ``seed`` only that one is run."""

    minutes: Annotated[float, Meta(ge=0.1, le=10_080)] = 1
    seed: Annotated[int, Meta(ge=0)] = -1
    first: Annotated[int, Meta(ge=0)] = 1_000_000
    keep: Annotated[int, Meta(ge=0, le=1)] = 0


def main() -> int:
    try:
        parameters = read_parameters(os.environ, Parameters)
    except BadParameter as error:
        sys.exit(str(error))
    with redis_memory() as memory:
        if parameters.seed >= 0:
            ran = run(plan_of(parameters.seed), memory)
            print(told(shortest(ran, memory) if ran.broken else ran))
            return 1 if ran.broken else 0
        hunted = hunt(count(parameters.first), memory, parameters.minutes, most=MOST)
        for ran in hunted.found.values():
            print(told(shortest(ran, memory)), end="\n\n")
    print(section(hunted))
    if parameters.keep:
        keep(hunted)
    return 1 if hunted.found else 0


def section(hunted: Hunt) -> str:
    """As Markdown."""
    rows = [
        f"| {kind} | {hunted.happened[kind]:,} | {100 * runs / hunted.runs:.1f} % |"
        for kind, runs in hunted.in_runs.most_common()
    ]
    found = ", ".join(str(seed) for seed in hunted.found) or "none"
    return "\n".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d}, {hunted.took_s / 60:.0f} minutes on {machine()}:",
            f"{hunted.runs:,} runs. Seeds that broke a rule: {found}.",
            "",
            "| what happened | times | in so many runs |",
            "| --- | --- | --- |",
            *rows,
        ]
    )


def keep(hunted: Hunt) -> None:
    page = PAGE.read_text()
    kept = f"{BEGIN}{section(hunted)}\n{END}"
    PAGE.write_text(re.sub(f"{BEGIN}.*?{END}", lambda _: kept, page, flags=re.DOTALL))


if __name__ == "__main__":
    sys.exit(main())
