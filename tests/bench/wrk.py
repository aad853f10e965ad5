"""Load by wrk, with the scripts of this folder, which print a line of JSON at their end."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from web.domain.events import Event

SECONDS = 5
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
    per_second: float
    p99_ms: float


def wrk(
    script: str,
    url: str,
    *arguments: str,
    seconds: int = SECONDS,
    connections: int = CONNECTIONS,
) -> dict:
    """The JSON that a script of this folder prints at its end."""
    with start_wrk(script, url, *arguments, seconds=seconds, connections=connections) as running:
        output, _ = running.communicate(timeout=seconds + 60)
    if running.returncode:
        raise Surprise(f"wrk failed: {output}")
    return json.loads(output.splitlines()[-1])


def start_wrk(
    script: str, url: str, *arguments: str, seconds: int, connections: int
) -> subprocess.Popen:
    options = [f"-t{THREADS}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    return subprocess.Popen(
        ["wrk", *options, "-s", FOLDER / f"{script}.lua", url, "--", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


def burst(url: str, method: str, path: str, clients: int, expected: set[int]) -> Result:
    """All clients send the same request as fast as they can. Raises Surprise when an answer has a
    status that is not ``expected``. This is checked before the measurement, because it slows
    wrk."""
    arguments = (method, path, str(clients))
    checked = wrk("burst", url, *arguments, "check", seconds=CHECK_SECONDS)
    if not checked["statuses"] or not set(map(int, checked["statuses"])) <= expected:
        raise Surprise(f"{method} {path}: {checked}")
    numbers = wrk("burst", url, *arguments)
    if numbers["errors"]:
        raise Surprise(f"{method} {path}: {numbers}")
    return Result(numbers["answers"] / numbers["seconds"], numbers["p99_ms"])


def buyers(
    url: str, hall: Event, *arguments: str, counts: str = "answers", **options: int
) -> Result:
    """``arguments`` are those of buyers.lua after the event, ``counts`` names the number that is
    the result, ``options`` are those of ``wrk``. Raises Surprise."""
    numbers = wrk("buyers", url, hall.id, *arguments, **options)
    if numbers["surprises"]:
        raise Surprise(f"{arguments}: {numbers}")
    return Result(numbers[counts] / numbers["seconds"], numbers["p99_ms"])
