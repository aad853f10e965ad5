"""What came of the measurements: for the terminal, for programs, and as a picture."""

import os
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from math import log10
from pathlib import Path

import msgspec

from ops.processes import output_of
from tests.bench.measurements import YARDSTICK, Figures, Goal
from tests.bench.wrk import CONNECTIONS, SECONDS

LIBRARIES = ("flask", "gunicorn", "gevent", "httptools", "redis", "hiredis", "pymongo", "uvloop")
SERVERS = {"nginx": "nginx -v", "Redis": "redis-server --version", "wrk": "wrk -v"}

WIDTH, ROW_HEIGHT, LABEL_WIDTH, TOP = 860, 34, 430, 34
FEWEST = 10
"""Where the picture's scale begins; it is logarithmic."""


@dataclass(frozen=True)
class Report:
    figures: Figures
    goals: Sequence[Goal]
    notes: Sequence[str]

    def markdown(self) -> str:
        """The median of the repetitions, their spread, the ratio of medians; how each goal
        stands."""
        return "\n".join(
            (
                f"{machine()}; wrk with {CONNECTIONS} connections on the same machine.",
                "",
                "| path | per second | lowest to highest | ratio | 99th percentile |",
                "|---|---|---|---|---|",
                *(" | ".join(("", *row, "")).strip() for row in self._rows()),
                "",
                "| goal | is | |",
                "|---|---|---|",
                *(" | ".join(("", *row, "")).strip() for row in self._goal_rows()),
                "",
                *self.notes,
            )
        )

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for name, results in self.figures.results.items():
            speeds = [result.per_second for result in results]
            yield (
                name,
                f"{self.figures.per_second(name):,.0f}",
                f"{min(speeds):,.0f} to {max(speeds):,.0f}",
                f"{self.figures.ratio(name, YARDSTICK):.4f}",
                f"{self.figures.p99_ms(name):,.1f} ms",
            )

    def _goal_rows(self) -> Iterator[tuple[str, ...]]:
        for goal in self.goals:
            bound = f"at {'most' if goal.is_a_limit else 'least'} {goal.bound:,}"
            value = goal.value(self.figures)
            shown = f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
            yield f"{goal.name}: {bound}", shown, "yes" if goal.is_reached(self.figures) else "no"

    def json(self) -> bytes:
        document = {
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": versions(),
            "seconds": SECONDS,
            "connections": CONNECTIONS,
            "measurements": {
                name: [
                    {"per_second": round(r.per_second, 1), "p99_ms": round(r.p99_ms, 3)}
                    for r in results
                ]
                for name, results in self.figures.results.items()
            },
            "goals": [
                {
                    "name": goal.name,
                    "value": round(goal.value(self.figures), 3),
                    "bound": goal.bound,
                    "reached": goal.is_reached(self.figures),
                }
                for goal in self.goals
            ],
            "notes": self.notes,
        }
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"

    def svg(self) -> str:
        """A bar a measurement, as long as the logarithm of its median, with its spread."""
        names = list(self.figures.results)
        height = TOP + ROW_HEIGHT * len(names) + 10
        most = max(r.per_second for results in self.figures.results.values() for r in results)
        decades = range(int(log10(FEWEST)), int(log10(most)) + 1)

        def x(per_second: float) -> float:
            span = log10(most / FEWEST)
            return LABEL_WIDTH + (WIDTH - LABEL_WIDTH - 90) * log10(per_second / FEWEST) / span

        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            'aria-labelledby="title">',
            "<title id='title'>Requests a second by path, on a logarithmic scale</title>",
            f"<style>{STYLE}</style>",
        ]
        for decade in decades:
            at = x(10**decade)
            parts.append(f'<path class="grid" d="M{at:.1f} {TOP - 6}V{height - 8}"/>')
            parts.append(f'<text class="scale" x="{at:.1f}" y="{TOP - 14}">{10**decade:,}</text>')
        for number, name in enumerate(names):
            speeds = [result.per_second for result in self.figures.results[name]]
            middle = self.figures.per_second(name)
            y = TOP + ROW_HEIGHT * number
            parts.append(
                f'<text class="label" x="{LABEL_WIDTH - 10}" y="{y + 18}">{escape(name)}</text>'
                f'<rect x="{LABEL_WIDTH}" y="{y + 4}" width="{x(middle) - LABEL_WIDTH:.1f}" '
                f'height="20" rx="2"/>'
                f'<path class="spread" d="M{x(min(speeds)):.1f} {y + 14}H{x(max(speeds)):.1f}"/>'
                f'<text x="{x(max(speeds)) + 6:.1f}" y="{y + 19}">{middle:,.0f}</text>'
            )
        return "\n".join((*parts, "</svg>\n"))


STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.label{text-anchor:end}"
    ".scale{text-anchor:middle;fill:#666;font-size:11px}rect{fill:#2f6fb5}"
    ".grid{stroke:#ccc;stroke-width:1}.spread{stroke:#d9822b;stroke-width:3}"
    "@media(prefers-color-scheme:dark){text{fill:#eee}.scale{fill:#aaa}rect{fill:#5b9bd5}"
    ".grid{stroke:#444}}"
)


def machine() -> str:
    """One line: processor, cores, memory, system."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores of {cpu[1] if cpu else platform.processor()}, "
        f"{memory_gib:.0f} GiB, {platform.freedesktop_os_release()['PRETTY_NAME']}, "
        f"Python {platform.python_version()}"
    )
