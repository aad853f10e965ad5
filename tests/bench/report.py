"""The results of the measurements: for the terminal, as JSON, and as a picture."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import log10
from typing import Any, Self

import msgspec

from tests.bench.measurements import (
    GOALS,
    GOALS_BESIDE_EXPRESS,
    REPETITIONS,
    YARDSTICK,
    Figures,
    Goal,
)
from tests.bench.wrk import CONNECTIONS, SECONDS, Result
from tests.support.machine import circumstances
from tests.support.svg import QUIET, RULE, Picture

WIDTH, ROW_HEIGHT, LABELS, BARS, TOP = 900, 32, 420, 400, 38
FEWEST = 100
"""The start of the picture's logarithmic scale."""

BAR, SPREAD = "#6ea8dc", "#a3430c"

HEADING = """\
# The last bench

`make bench`, {day}, on {machine}. Medians of
{rounds} rounds of {seconds} seconds; wrk with {connections} connections on the same machine.

The ratio is to nginx saying no by itself, in the same run.
[performance.md](../performance.md) says what each path is, and what limits it.
"""


@dataclass(frozen=True)
class Report:
    figures: Figures
    goals: Sequence[Goal]
    notes: Sequence[str]
    circumstances: Mapping[str, Any] = field(default_factory=circumstances)

    @classmethod
    def read(cls, text: bytes) -> Self:
        """Read a report from the output of ``json``."""
        document = msgspec.json.decode(text)
        results = {
            name: [Result(**result) for result in results]
            for name, results in document["measurements"].items()
        }
        names = {goal["name"] for goal in document["goals"]}
        goals = [goal for goal in GOALS + GOALS_BESIDE_EXPRESS if goal.name in names]
        made = {name: document[name] for name in ("made_at", "machine", "versions")}
        return cls(Figures(results), goals, document["notes"], made)

    def markdown(self) -> str:
        """A table of medians, spreads and ratios of medians, and whether each goal is reached."""
        made_at = datetime.fromisoformat(self.circumstances["made_at"])
        return "\n".join(
            (
                HEADING.format(
                    day=f"{made_at:%-d %B %Y}",
                    machine=self.circumstances["machine"],
                    rounds=REPETITIONS,
                    seconds=SECONDS,
                    connections=CONNECTIONS,
                ),
                "| path | per second | lowest to highest | ratio | 99th percentile |",
                "|---|---|---|---|---|",
                *(" | ".join(("", *row, "")).strip() for row in self._rows()),
                "",
                "| goal | is | |",
                "|---|---|---|",
                *(" | ".join(("", *row, "")).strip() for row in self._goal_rows()),
                "",
                *(f"- {note}" for note in self.notes),
                "",
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
            **self.circumstances,
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
        """A bar for each measurement, on a logarithmic scale, with its median and spread."""
        names = list(self.figures.results)
        bottom = TOP + ROW_HEIGHT * len(names)
        most = max(r.per_second for results in self.figures.results.values() for r in results)

        def x(per_second: float) -> float:
            return LABELS + BARS * log10(per_second / FEWEST) / log10(most / FEWEST)

        picture = Picture(
            WIDTH,
            bottom + 12,
            "Requests a second by path, on a logarithmic scale: " + self._words(),
        )
        for decade in range(round(log10(FEWEST)), int(log10(most)) + 1):
            at = x(10**decade)
            picture.line(at, TOP - 4, at, bottom, RULE)
            picture.text(at, TOP - 12, f"{10**decade:,}/s", size=11, ink=QUIET, anchor="middle")
        for number, name in enumerate(names):
            speeds = [result.per_second for result in self.figures.results[name]]
            middle = self.figures.per_second(name)
            y = TOP + ROW_HEIGHT * number
            picture.text(LABELS - 10, y + 18, name.replace("`", ""), anchor="end")
            picture.rectangle(LABELS, y + 4, x(middle) - LABELS, 19, BAR, round_=2)
            picture.line(x(min(speeds)), y + 13.5, x(max(speeds)), y + 13.5, SPREAD)
            picture.text(x(max(speeds)) + 7, y + 18, f"{middle:,.0f}", bold=True)
        return str(picture)

    def _words(self) -> str:
        return "; ".join(f"{row[0]} {row[1]}" for row in self._rows())
