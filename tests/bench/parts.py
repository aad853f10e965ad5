"""The parts of a running program, and the processor time that they spend.

Of all figures processor time depends the least on what else runs on the machine, so programs are
compared by it.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import psutil

from ops.stack import Stack

PARTS = ("nginx", "web", "limiter", "redis", "sentinel", "mongod", "worker")

Roots = Mapping[int, str]
"""Process ids, each with the name of the part that the process and its children are."""

NOBODY: Roots = {}


def roots_of(stack: Stack) -> Roots:
    """Without the payment sandbox, which stands in for Stripe."""
    return roots_among({running.pid: running.name for running in stack.processes})


def roots_among(names: Mapping[int, str]) -> Roots:
    """Of a stack's processes, by id. Members of a group are redis-1, redis-2 and so on: together
    they are one part."""
    parts = {pid: name.partition("-")[0] for pid, name in names.items()}
    return {pid: part for pid, part in parts.items() if part in PARTS}


def processes(roots: Roots) -> Iterator[tuple[str, psutil.Process]]:
    """Each process that runs now, with its part. The limiter, which the web process starts, is a
    part of its own."""
    for pid, part in roots.items():
        first = psutil.Process(pid)
        for process in (first, *first.children(recursive=True)):
            # The child in which Redis rewrites its file may have ended by now.
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                is_limiter = "sidecar.server" in process.cmdline()
                yield "limiter" if is_limiter else part, process


def by_part(roots: Roots, read: Callable[[psutil.Process], float]) -> Counter[str]:
    """The sum of ``read(process)`` for each part."""
    sums = Counter[str]()
    for part, process in processes(roots):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            sums[part] += read(process)
    return sums


@dataclass(frozen=True)
class Spent:
    """Seconds of processor time. ``machine`` is of all programs there are, ``stolen`` what other
    virtual machines took, ``available`` what all cores have."""

    by_part: Mapping[str, float]
    machine: float
    stolen: float
    available: float


def processor_s(process: psutil.Process) -> float:
    """User's and system's time of all threads, also of those that have ended, in nanoseconds'
    precision: psutil has it in hundredths of a second. Raises OSError when the process is gone."""
    # What clock_getcpuclockid(3) would return, which Python does not have.
    return time.clock_gettime(~process.pid << 3 | 2)


def stopwatch(roots: Roots) -> Callable[[], Spent]:
    """Returns a function that says what has been spent since this call."""
    machine_before, before = psutil.cpu_times(), _processor_s(roots)

    def spent() -> Spent:
        by_part = Counter[str]()
        for process, (part, now_s) in _processor_s(roots).items():
            by_part[part] += now_s - before.get(process, (part, 0.0))[1]
        machine = {
            name: after - getattr(machine_before, name)
            for name, after in psutil.cpu_times()._asdict().items()
            # Linux counts the time of guests a second time, as user's.
            if not name.startswith("guest")
        }
        available = sum(machine.values())
        busy = available - machine["idle"] - machine["iowait"] - machine["steal"]
        return Spent(by_part, busy, machine["steal"], available)

    return spent


def _processor_s(roots: Roots) -> dict[psutil.Process, tuple[str, float]]:
    times = {}
    for part, process in processes(roots):
        with contextlib.suppress(OSError):
            times[process] = (part, processor_s(process))
    return times
