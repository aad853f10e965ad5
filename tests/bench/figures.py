"""What the rounds of ``make bench`` have measured, and the goals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self

from tests.bench.measurements import (
    BESIDE_A_BOT,
    BESIDE_NOTHING,
    EXPRESS_HOLD,
    EXPRESS_PURCHASE,
    FASTAPI_HOLD,
    FASTAPI_PURCHASE,
    HOLD,
    HOLD_AT_HALF_SPEED,
    MAP,
    PURCHASE,
    PURCHASE_AT_HALF_SPEED,
    STRAIGHT_HOLD,
    STRAIGHT_PURCHASE,
    TAKEN,
    UNLIMITED_HOLD,
    YARDSTICK,
)
from tests.bench.wrk import Result


@dataclass(frozen=True)
class Spread:
    middle: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Self:
        return cls(median(figures), min(figures), max(figures))


def processor_us(result: Result) -> float:
    return result.all_parts_us


def per_second(result: Result) -> float:
    return result.per_second


def p99_ms(result: Result) -> float:
    return result.p99_ms


@dataclass(frozen=True)
class Figures:
    """The results of each measurement by its name, in the order of the rounds."""

    results: Mapping[str, Sequence[Result]]

    def spread(self, name: str, read: Callable[[Result], float]) -> Spread:
        return Spread.of([read(result) for result in self.results[name]])

    def ratio(self, name: str, to: str, read: Callable[[Result], float]) -> Spread:
        """Of two measurements that were made in turn: a slow moment of the machine affects both."""
        pairs = zip(self.results[name], self.results[to], strict=True)
        return Spread.of([read(ours) / read(theirs) for ours, theirs in pairs])


@dataclass(frozen=True)
class Comparison:
    """``name`` says what is compared, ``measured`` and ``to`` are the names of measurements."""

    name: str
    measured: str
    to: str

    def processor_time(self, figures: Figures) -> Spread:
        return figures.ratio(self.measured, self.to, processor_us)

    def throughput(self, figures: Figures) -> Spread:
        return figures.ratio(self.measured, self.to, per_second)


COMPARISONS = (
    Comparison("a taken seat, to the yardstick", TAKEN, YARDSTICK),
    Comparison("holds straight at gunicorn, to Express", STRAIGHT_HOLD, EXPRESS_HOLD),
    Comparison("holds straight at gunicorn, to FastAPI", STRAIGHT_HOLD, FASTAPI_HOLD),
    Comparison("holds through nginx, to straight at gunicorn", HOLD, STRAIGHT_HOLD),
    Comparison("holds with the limiter, to without", STRAIGHT_HOLD, UNLIMITED_HOLD),
    Comparison("holds beside a bot, to with the bot elsewhere", BESIDE_A_BOT, BESIDE_NOTHING),
    Comparison("purchases, to Express's hold and insert", PURCHASE, EXPRESS_PURCHASE),
    Comparison("purchases, to FastAPI's", PURCHASE, FASTAPI_PURCHASE),
    Comparison("purchases straight at gunicorn, to Express's", STRAIGHT_PURCHASE, EXPRESS_PURCHASE),
    Comparison("purchases straight at gunicorn, to FastAPI's", STRAIGHT_PURCHASE, FASTAPI_PURCHASE),
)


@dataclass(frozen=True)
class Goal:
    """``value`` must be at least ``bound``, or at most ``bound`` if it ``is_a_limit``. ``beside``
    is what is told with it: throughput, where processor time is judged, and the other way round.
    ``needs`` are the measurements that it is about."""

    name: str
    needs: tuple[str, ...]
    value: Callable[[Figures], Spread]
    bound: float
    is_a_limit: bool
    beside: tuple[str, Callable[[Figures], Spread]] | None = None

    def is_reached(self, figures: Figures) -> bool:
        value = self.value(figures).middle
        return value <= self.bound if self.is_a_limit else value >= self.bound


def less_processor_time(name: str, measured: str, to: str, most: float) -> Goal:
    """At most ``most`` of the other's."""
    compared = Comparison(name, measured, to)
    beside = ("throughput", compared.throughput)
    return Goal(
        f"{name}: processor time", (measured, to), compared.processor_time, most, True, beside
    )


def more_throughput(name: str, measured: str, to: str, least: float) -> Goal:
    compared = Comparison(name, measured, to)
    beside = ("processor time", compared.processor_time)
    return Goal(f"{name}: throughput", (measured, to), compared.throughput, least, False, beside)


def p99(name: str, measured: str, most_ms: float) -> Goal:
    def value(figures: Figures) -> Spread:
        return figures.spread(measured, p99_ms)

    return Goal(f"99th percentile of {name}, ms", (measured,), value, most_ms, True)


def cheap_enough(name: str, measured: str, to: str, least: float) -> Goal:
    """The processor time of ``to`` is at least ``least`` of it: a part that may be added to it."""
    added = Comparison(name, to, measured)
    throughput = Comparison(name, measured, to).throughput
    beside = ("throughput", throughput)
    return Goal(name, (measured, to), added.processor_time, least, False, beside)


GOALS = (
    less_processor_time(
        "purchases, free of charge, to Express's hold and insert", PURCHASE, EXPRESS_PURCHASE, 0.8
    ),
    more_throughput(
        "purchases, free of charge, to Express's hold and insert", PURCHASE, EXPRESS_PURCHASE, 1.25
    ),
    less_processor_time("holds straight at gunicorn, to Express", STRAIGHT_HOLD, EXPRESS_HOLD, 0.8),
    more_throughput("holds straight at gunicorn, to Express", STRAIGHT_HOLD, EXPRESS_HOLD, 1.25),
    more_throughput("holds through nginx, to straight at gunicorn", HOLD, STRAIGHT_HOLD, 0.9),
    Goal(
        "processor time of a purchase, all processes, µs",
        (PURCHASE,),
        lambda figures: figures.spread(PURCHASE, processor_us),
        1000,
        True,
        ("a second", lambda figures: figures.spread(PURCHASE, per_second)),
    ),
    cheap_enough("a taken seat, to the yardstick", TAKEN, YARDSTICK, 0.85),
    p99("the burst on a taken seat", TAKEN, 10),
    p99("a hold at half speed", HOLD_AT_HALF_SPEED, 5),
    p99("a request of a purchase at half speed", PURCHASE_AT_HALF_SPEED, 15),
    cheap_enough("holds with the limiter, to without", STRAIGHT_HOLD, UNLIMITED_HOLD, 0.85),
    more_throughput(
        "holds beside a bot, to with the bot elsewhere", BESIDE_A_BOT, BESIDE_NOTHING, 0.9
    ),
    Goal(
        "maps of 50,000 seats a second",
        (MAP,),
        lambda figures: figures.spread(MAP, per_second),
        20_000,
        False,
        ("µs a map", lambda figures: figures.spread(MAP, processor_us)),
    ),
)
