"""The results of the measurements: for the terminal, as JSON, and as a picture."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from math import log10
from statistics import median
from typing import Any, Self

import msgspec

from tests.bench.figures import (
    COMPARISONS,
    GOALS,
    Figures,
    Goal,
    Spread,
    p99_ms,
    per_second,
    processor_us,
)
from tests.bench.parts import PARTS
from tests.bench.wrk import CONNECTIONS, SECONDS, Result
from tests.support.machine import circumstances
from tests.support.svg import QUIET, RULE, Picture

WIDTH, ROW_HEIGHT, LABELS, BARS, TOP = 960, 32, 420, 360, 38
LEAST_US = 5
"""The start of the picture's logarithmic scale."""

BAR, SPREAD = "#6ea8dc", "#a3430c"

TITLES = {"web": "application", "redis": "Redis", "mongod": "MongoDB", "sentinel": "Sentinels"}

HEADING = """\
# The last bench

`make bench`, {day}, on {machine}.
{rounds} rounds of {seconds} seconds, in which rows that are compared take turns; wrk with
{connections} connections on the same machine. Medians, with the lowest and the highest round.

Processor time is that of one call: of all processes of the program, its Redis and its MongoDB. It
depends the least on what else the machine does, so goals are judged by it where they can be.
[performance.md](../performance.md) says what each path is, and what limits it.
"""


OTHERS = """\
The last column has the shares of the machine that programs took which have no part in the
measurement, and that other virtual machines took (steal)."""


@dataclass(frozen=True)
class Report:
    """``counts`` are figures beside the measurements, one of each round."""

    figures: Figures
    counts: Mapping[str, Sequence[float]]
    notes: Sequence[str]
    rounds: int
    circumstances: Mapping[str, Any] = field(default_factory=circumstances)

    @classmethod
    def read(cls, text: bytes) -> Self:
        """Read a report from the output of ``json``."""
        document = msgspec.json.decode(text)
        results = {
            name: [Result(**result) for result in results]
            for name, results in document["measurements"].items()
        }
        made = {name: document[name] for name in ("made_at", "machine", "versions")}
        return cls(
            Figures(results), document["counts"], document["notes"], document["rounds"], made
        )

    @property
    def goals(self) -> list[Goal]:
        """Those about what was measured."""
        return [goal for goal in GOALS if self.figures.results.keys() >= set(goal.needs)]

    def markdown(self) -> str:
        made_at = datetime.fromisoformat(self.circumstances["made_at"])
        return "\n".join(
            (
                HEADING.format(
                    day=f"{made_at:%-d %B %Y}",
                    machine=self.circumstances["machine"],
                    rounds=self.rounds,
                    seconds=SECONDS,
                    connections=CONNECTIONS,
                ),
                *table(
                    "path|processor time, µs|a second|99th percentile|others, stolen",
                    self._rows(),
                ),
                "",
                OTHERS,
                "",
                "## Processor time by part, in microseconds",
                "",
                *table("|".join(("path", *self._part_titles(), "wrk")), self._part_rows()),
                "",
                "## One to another",
                "",
                *table("|processor time|throughput", self._comparison_rows()),
                "",
                "## Goals",
                "",
                *table("goal|is|beside it|reached", self._goal_rows()),
                "",
                *self._notes(),
                "",
            )
        )

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for name, results in self.figures.results.items():
            others = median(result.others for result in results)
            stolen = median(result.stolen for result in results)
            yield (
                name,
                shown(self.figures.spread(name, processor_us)),
                shown(self.figures.spread(name, per_second)),
                f"{self.figures.spread(name, p99_ms).middle:,.1f} ms",
                f"{others:.0%}, {stolen:.0%}",
            )

    def _parts(self) -> list[str]:
        every = [result for results in self.figures.results.values() for result in results]
        return [part for part in PARTS if any(part in result.processor_us for result in every)]

    def _part_titles(self) -> Iterator[str]:
        return (TITLES.get(part, part) for part in self._parts())

    def _part_rows(self) -> Iterator[tuple[str, ...]]:
        for name, results in self.figures.results.items():
            cells = []
            for part in self._parts():
                spent_us = [r.processor_us[part] for r in results if part in r.processor_us]
                cells.append(f"{median(spent_us):,.1f}" if spent_us else "")
            wrk_us = median(result.wrk_us for result in results)
            yield name, *cells, f"{wrk_us:,.1f}"

    def _comparison_rows(self) -> Iterator[tuple[str, ...]]:
        for compared in COMPARISONS:
            if self.figures.results.keys() >= {compared.measured, compared.to}:
                yield (
                    compared.name,
                    shown(compared.processor_time(self.figures)),
                    shown(compared.throughput(self.figures)),
                )

    def _goal_rows(self) -> Iterator[tuple[str, ...]]:
        for goal in self.goals:
            bound = f"at {'most' if goal.is_a_limit else 'least'} {goal.bound:,}"
            beside = ""
            if goal.beside:
                what, value = goal.beside
                beside = f"{what} {shown(value(self.figures))}"
            reached = "yes" if goal.is_reached(self.figures) else "no"
            yield f"{goal.name}: {bound}", shown(goal.value(self.figures)), beside, reached

    def _notes(self) -> Iterator[str]:
        for what, figures in self.counts.items():
            yield f"- {what}: {shown(Spread.of(figures))}"
        for note in self.notes:
            yield f"- {note}"

    def json(self) -> bytes:
        document = {
            **self.circumstances,
            "rounds": self.rounds,
            "seconds": SECONDS,
            "connections": CONNECTIONS,
            "measurements": {
                name: [rounded(asdict(result)) for result in results]
                for name, results in self.figures.results.items()
            },
            "goals": [
                {
                    "name": goal.name,
                    **rounded(asdict(goal.value(self.figures))),
                    "bound": goal.bound,
                    "reached": goal.is_reached(self.figures),
                }
                for goal in self.goals
            ],
            "counts": rounded(self.counts),
            "notes": self.notes,
        }
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"

    def svg(self) -> str:
        """A bar for each measurement, on a logarithmic scale, with its median and spread."""
        spreads = {name: self.figures.spread(name, processor_us) for name in self.figures.results}
        bottom = TOP + ROW_HEIGHT * len(spreads)
        most_us = max(spread.highest for spread in spreads.values())

        def x(spent_us: float) -> float:
            return LABELS + BARS * log10(max(spent_us / LEAST_US, 1)) / log10(most_us / LEAST_US)

        words = "; ".join(f"{name} {spread.middle:,.0f}" for name, spread in spreads.items())
        picture = Picture(
            WIDTH,
            bottom + 12,
            f"Processor time of a call by path in microseconds, on a logarithmic scale: {words}",
        )
        for decade in range(1, int(log10(most_us)) + 1):
            at = x(10**decade)
            picture.line(at, TOP - 4, at, bottom, RULE)
            picture.text(at, TOP - 12, f"{10**decade:,} µs", size=11, ink=QUIET, anchor="middle")
        for number, (name, spread) in enumerate(spreads.items()):
            y = TOP + ROW_HEIGHT * number
            rate = self.figures.spread(name, per_second).middle
            picture.text(LABELS - 10, y + 18, name.replace("`", ""), anchor="end")
            picture.rectangle(LABELS, y + 4, x(spread.middle) - LABELS, 19, BAR, round_=2)
            picture.line(x(spread.lowest), y + 13.5, x(spread.highest), y + 13.5, SPREAD)
            label = f"{number_of(spread.middle)} µs, {rate:,.0f}/s"
            picture.text(x(spread.highest) + 7, y + 18, label, bold=True)
        return str(picture)


def table(head: str, rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    titles = head.split("|")
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def shown(spread: Spread) -> str:
    middle, lowest, highest = map(number_of, (spread.middle, spread.lowest, spread.highest))
    return f"{middle} ({lowest} to {highest})"


def number_of(figure: float) -> str:
    """With three digits or more."""
    digits = 0 if figure >= 100 else 1 if figure >= 10 else 2
    return f"{figure:,.{digits}f}"


def rounded(value: Any) -> Any:
    """With every number in it rounded to a thousandth."""
    if isinstance(value, Mapping):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, 3) if isinstance(value, float) else value
