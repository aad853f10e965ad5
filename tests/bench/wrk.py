"""Load by wrk, with the scripts of this folder, which print a line of JSON at their end."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from tests.bench.parts import NOBODY, Roots, Spent, stopwatch

SECONDS = 2
"""The length of a measurement; shorter ones are noisy, longer ones need more seats than a hall
has."""

CHECK_SECONDS = 1
"""The length of the check of the statuses before a burst is measured."""

CONNECTIONS = 64
THREADS = 2
FOLDER = Path(__file__).parent


class Surprise(Exception):
    """A measurement got answers with unexpected statuses."""


@dataclass(frozen=True)
class Result:
    """Of one run. ``processor_us`` is the processor time of each part for one call, and ``wrk_us``
    that of the load generator. ``others`` and ``stolen`` are shares of the machine: what programs
    that have no part in the run took, and other virtual machines."""

    per_second: float
    p99_ms: float
    processor_us: Mapping[str, float]
    wrk_us: float
    others: float
    stolen: float

    @property
    def all_parts_us(self) -> float:
        return sum(self.processor_us.values())

    def with_part(self, part: str, spent_us: float) -> Self:
        return replace(self, processor_us={**self.processor_us, part: spent_us})


@dataclass(frozen=True)
class Run:
    """``numbers`` is the JSON that a script of this folder prints at its end."""

    numbers: dict[str, Any]
    spent: Spent
    wrk_s: float

    def result(self, counts: str) -> Result:
        """``counts`` names the number of calls."""
        calls = self.numbers[counts]
        spent = self.spent
        others_s = spent.machine - sum(spent.by_part.values()) - self.wrk_s
        return Result(
            per_second=calls / self.numbers["seconds"],
            p99_ms=self.numbers["p99_ms"],
            processor_us={part: 1e6 * s / calls for part, s in spent.by_part.items()},
            wrk_us=1e6 * self.wrk_s / calls,
            others=max(others_s, 0) / spent.available,
            stolen=spent.stolen / spent.available,
        )


def wrk(
    script: str,
    url: str,
    *arguments: str,
    seconds: int = SECONDS,
    connections: int = CONNECTIONS,
    roots: Roots = NOBODY,
) -> Run:
    """``roots`` are the processes whose processor time is measured."""
    spent = stopwatch(roots)
    with start_wrk(script, url, *arguments, seconds=seconds, connections=connections) as running:
        output = running.stdout.read()
        # Not by Popen, which does not tell what the process has spent.
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise Surprise(f"wrk failed: {output}")
    numbers = json.loads(output.splitlines()[-1])
    return Run(numbers, spent(), usage.ru_utime + usage.ru_stime)


def start_wrk(
    script: str, url: str, *arguments: str, seconds: int, connections: int
) -> subprocess.Popen:
    options = [f"-t{THREADS}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    return subprocess.Popen(
        ["wrk", *options, "-s", FOLDER / f"{script}.lua", url, "--", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


def burst(
    url: str, method: str, path: str, clients: int, expected: set[int], **options: Any
) -> Result:
    """All clients send the same request as fast as they can; ``options`` are those of ``wrk``.
    Raises Surprise when an answer has a status that is not ``expected``. This is checked before
    the measurement, because it slows wrk."""
    arguments = (method, path, str(clients))
    checked = wrk("burst", url, *arguments, "check", seconds=CHECK_SECONDS).numbers
    if not checked["statuses"] or not set(map(int, checked["statuses"])) <= expected:
        raise Surprise(f"{method} {path}: {checked}")
    run = wrk("burst", url, *arguments, **options)
    if run.numbers["errors"]:
        raise Surprise(f"{method} {path}: {run.numbers}")
    return run.result("answers")


def buyers(
    url: str, hall_id: str, *arguments: str, counts: str = "answers", **options: Any
) -> Result:
    """``arguments`` are those of buyers.lua after the event, ``counts`` names the number that is
    the result, ``options`` are those of ``wrk``. Raises Surprise."""
    run = wrk("buyers", url, hall_id, *arguments, **options)
    if run.numbers["surprises"]:
        raise Surprise(f"{arguments}: {run.numbers}")
    return run.result(counts)
