"""``make bench``: requests per second of each path, as a ratio to nginx's own ``return 409``.

Everything runs on this machine at the same time, wrk included, so figures of different machines
or different runs are not comparable; the ratios of one run are.
"""

import os
import platform
import re
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from ops.processes import free_port
from ops.stack import Stack
from tests.bench.measurements import CONNECTIONS, GOALS, MEASUREMENTS, REPETITIONS, YARDSTICK, Bench

INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "WEB_CONCURRENCY")


def main() -> None:
    environ = {name: os.environ[name] for name in INHERITED if name in os.environ}
    figures: dict[str, list[float]] = {measurement.name: [] for measurement in MEASUREMENTS}
    p99s_ms: dict[str, list[float]] = {measurement.name: [] for measurement in MEASUREMENTS}
    with tempfile.TemporaryDirectory(prefix="tickets-bench-") as name:
        folder = Path(name)
        stack = Stack(folder / "stack", environ)
        try:
            stack.start(free_port())
            with Bench(stack, folder) as bench:
                # Round by round, so that a slow minute of the machine is everybody's.
                for repetition in range(1, REPETITIONS + 1):
                    print(f"round {repetition} of {REPETITIONS}", file=sys.stderr, flush=True)
                    for measurement in MEASUREMENTS:
                        result = bench.measure(measurement)
                        figures[measurement.name].append(result.per_second)
                        p99s_ms[measurement.name].append(result.p99_ms)
                notes = bench.notes
        finally:
            stack.stop()
    report(figures, p99s_ms, notes)


def report(
    figures: dict[str, list[float]], p99s_ms: dict[str, list[float]], notes: list[str]
) -> None:
    """Markdown: the median of the repetitions, their spread, the ratio of medians; then how each
    goal stands."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    print(f"\n{machine()}; wrk with {CONNECTIONS} connections on the same machine.\n")
    print("| path | per second | lowest to highest | ratio | 99th percentile |")
    print("|---|---|---|---|---|")
    for name, values in figures.items():
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        ratio = medians[name] / medians[YARDSTICK]
        p99_ms = statistics.median(p99s_ms[name])
        print(f"| {name} | {medians[name]:,.0f} | {spread} | {ratio:.4f} | {p99_ms:,.1f} ms |")
    print("\n| goal | is | |\n|---|---|---|")
    for goal in GOALS:
        ratio = medians[goal.path] / medians[goal.to]
        verdict = "yes" if ratio >= goal.at_least else "no"
        print(f"| {goal.name}: at least {goal.at_least} | {ratio:.2f} | {verdict} |")
    for note in notes:
        print(f"\n{note}")


def machine() -> str:
    """One line: processor, cores, versions."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    parts = " ".join(f"{name} {version(name)}" for name in ("flask", "gunicorn", "gevent", "redis"))
    return (
        f"{os.cpu_count()} cores of {cpu[1] if cpu else platform.processor()}, "
        f"Python {platform.python_version()}, {parts}"
    )


if __name__ == "__main__":
    main()
