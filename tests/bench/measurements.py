"""The measurements of ``make bench``, and their goals."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import requests

from tests.bench.servers import Bench
from tests.bench.wrk import (
    CHECK_SECONDS,
    CONNECTIONS,
    SECONDS,
    Result,
    burst,
    buyers,
    start_wrk,
)
from tests.support.http_client import answers_of_application
from tests.support.meanwhile import meanwhile
from tests.support.redis_stores import audited
from web.domain.events import Event

REPETITIONS = 3

CAPACITY = 150_000
"""Seats of a hall, half of them free of charge; more than one measurement holds."""

MAP_SEATS = 50_000

CROWD = 60_000
"""Clients of a burst: at 100,000 requests a second, each asks less than twice a second."""

RELEASE_INTERVAL_S = 0.3
SALE_INTERVAL_S = 0.02

FLOOD_CONNECTIONS = 32
FLOOD_DELAY_MS = 5
"""About 6,000 requests a second from one client, 600 times its limit."""
NEIGHBOURS = 8
"""Connections of the buyers whom the flood must not slow down."""


@dataclass(frozen=True)
class Measurement:
    """A row of the table: ``measure`` runs it once, in a new hall."""

    name: str
    measure: Callable[[Bench, Event], Result]
    seats: int = CAPACITY


@dataclass(frozen=True)
class Figures:
    """The results of all rounds, by the name of the measurement."""

    results: dict[str, list[Result]]

    def per_second(self, name: str) -> float:
        return median(result.per_second for result in self.results[name])

    def p99_ms(self, name: str) -> float:
        return median(result.p99_ms for result in self.results[name])

    def ratio(self, name: str, to: str) -> float:
        return self.per_second(name) / self.per_second(to)


@dataclass(frozen=True)
class Goal:
    """``value`` must be at least ``bound``, or at most ``bound`` if it ``is_a_limit``."""

    name: str
    value: Callable[[Figures], float]
    bound: float
    is_a_limit: bool = False

    def is_reached(self, figures: Figures) -> bool:
        value = self.value(figures)
        return value <= self.bound if self.is_a_limit else value >= self.bound


def hold_path(hall: Event, seat: str = "paid-GA-1") -> str:
    return f"/api/events/{hall.id}/seats/{seat}/hold"


def take(bench: Bench, hall: Event) -> None:
    assert requests.post(bench.url + hold_path(hall), timeout=10).status_code == 201


def everyone_at_the_yardstick(bench: Bench, hall: Event) -> Result:
    return burst(bench.yardstick_url, "POST", hold_path(hall), CROWD, {409})


def everyone_at_a_taken_seat(bench: Bench, hall: Event) -> Result:
    take(bench, hall)
    before = answers_of_application(bench.web_url)
    measured = burst(bench.url, "POST", hold_path(hall), CROWD, {409})
    reached = answers_of_application(bench.web_url) - before
    bench.notes.append(
        f"Burst on a taken seat, hall {hall.id}: {reached:,.0f} requests reached the "
        f"application in {SECONDS + CHECK_SECONDS} s, of some {measured.per_second * SECONDS:,.0f}."
    )
    return measured


def everyone_at_a_seat_that_comes_back(bench: Bench, hall: Event) -> Result:
    """The holder of the seat loses it again and again, and one of the crowd gets it."""
    take(bench, hall)
    with coming_back(bench, hall) as times:
        measured = burst(bench.url, "POST", hold_path(hall), CROWD, {201, 409})
    bench.notes.append(f"Seat that comes back, hall {hall.id}: it had {len(times)} holders.")
    return measured


@contextlib.contextmanager
def coming_back(bench: Bench, hall: Event) -> Iterator[set[str]]:
    """Release every hold, again and again; yields the list of these holds."""
    holders = set()

    def release() -> None:
        for hold in audited(bench.seats).snapshot(hall).holds:
            holders.add(hold)
            bench.seats.release_hold(hall.id, hold)

    with meanwhile(release, RELEASE_INTERVAL_S):
        yield holders


def one_bot(bench: Bench, hall: Event) -> Result:
    return burst(bench.url, "POST", hold_path(hall), 1, {201, 409, 429})


def neighbours_of_a_flood(bench: Bench, hall: Event, flooded_url: str) -> Result:
    """Holds of free seats while one client floods ``flooded_url`` far beyond its limit."""
    flood = start_wrk(
        "burst",
        flooded_url,
        *("POST", hold_path(hall, "free-GA-1"), "1", str(FLOOD_DELAY_MS)),
        seconds=SECONDS + 2,
        connections=FLOOD_CONNECTIONS,
    )
    with flood:
        try:
            return holds(bench.url, hall, connections=NEIGHBOURS)
        finally:
            flood.kill()


def holds(url: str, hall: Event, **options: Any) -> Result:
    return buyers(url, hall.id, "free", "paid", **options)


def purchases(url: str, hall: Event, **options: Any) -> Result:
    return buyers(url, hall.id, "buy", "free", "", counts="bookings", **options)


def with_costs(
    what: str, measure: Callable[[Bench, Event], Result]
) -> Callable[[Bench, Event], Result]:
    """Add the processor time of each part for one request: of all figures it depends the least on
    what else the machine does."""

    def measured(bench: Bench, hall: Event) -> Result:
        before = bench.processor_s()
        result = measure(bench, hall)
        count = result.per_second * SECONDS
        costs = {part: s - before[part] for part, s in bench.processor_s().items()}
        shares = ", ".join(f"{part} {1e6 * s / count:,.0f}" for part, s in costs.items())
        bench.notes.append(f"Processor time of {what}, in microseconds: {shares}.")
        return result

    return measured


def holds_at_half_speed(bench: Bench, hall: Event) -> Result:
    """Every connection pauses between requests so that the rate is half of the current maximum."""
    fastest = holds(bench.url, hall).per_second
    pause_ms = round(1000 * CONNECTIONS / (fastest / 2))
    return buyers(bench.url, hall.id, "free", "free", str(pause_ms))


def everyone_at_the_map(bench: Bench, hall: Event) -> Result:
    """Read the map while seats are being held."""
    positions = iter(range(len(hall.seats)))

    def sell() -> None:
        position = next(positions)
        bench.seats.hold_seats(hall, f"hld_{position}", f"buyer-{position}", [position])

    with meanwhile(sell, SALE_INTERVAL_S):
        return burst(bench.url, "GET", f"/api/events/{hall.id}/seats", CROWD, {200})


YARDSTICK = "nginx's own `return 409`"
TAKEN = "one taken seat, everyone at once"
COMING_BACK = "one seat that is given back again and again, everyone at once"
MAP = "map of 50,000 seats, while they are sold"
HOLD = "hold a free seat, ten thousand clients within their limit"
HALF_SPEED = "the same at half of that speed"
WITH_LIMITER = "hold a free seat, straight at gunicorn"
WITHOUT_LIMITER = "hold a free seat, straight at gunicorn, no limiter"
EXPRESS_HOLD = "hold a free seat, Express and ioredis with the same script"
BESIDE_NOTHING = "hold a free seat, 8 buyers, a bot elsewhere"
BESIDE_A_BOT = "hold a free seat, 8 buyers, a bot beside them"
PURCHASE = "purchase, free of charge (hold, pay, durable booking)"
EXPRESS_PURCHASE = "hold and insert, Express and MongoDB's driver"

MEASUREMENTS = (
    Measurement(YARDSTICK, everyone_at_the_yardstick),
    Measurement(TAKEN, everyone_at_a_taken_seat),
    Measurement(COMING_BACK, everyone_at_a_seat_that_comes_back),
    Measurement("one bot at full speed", one_bot),
    Measurement(MAP, everyone_at_the_map, seats=MAP_SEATS),
    Measurement(HOLD, with_costs("a hold", lambda bench, hall: holds(bench.url, hall))),
    Measurement(HALF_SPEED, holds_at_half_speed),
    Measurement(WITH_LIMITER, lambda bench, hall: holds(bench.web_url, hall)),
    Measurement(WITHOUT_LIMITER, lambda bench, hall: holds(bench.unlimited_url, hall)),
    Measurement(BESIDE_NOTHING, lambda b, hall: neighbours_of_a_flood(b, hall, b.yardstick_url)),
    Measurement(BESIDE_A_BOT, lambda b, hall: neighbours_of_a_flood(b, hall, b.url)),
    Measurement(PURCHASE, with_costs("a purchase", lambda bench, hall: purchases(bench.url, hall))),
    Measurement(
        "purchase through the payment sandbox",
        lambda b, hall: buyers(b.url, hall.id, "buy", "paid", "pm_card_visa", counts="bookings"),
    ),
)

OF_EXPRESS = (
    Measurement(EXPRESS_HOLD, lambda bench, hall: holds(bench.express_url, hall)),
    Measurement(EXPRESS_PURCHASE, lambda bench, hall: purchases(bench.express_url, hall)),
)
"""A common alternative on the same machine, for comparison; if Node.js is installed."""

GOALS = (
    Goal("a taken seat, to the yardstick", lambda f: f.ratio(TAKEN, YARDSTICK), 0.85),
    Goal("99th percentile of that burst, ms", lambda f: f.p99_ms(TAKEN), 10, is_a_limit=True),
    Goal(
        "holds with a limiter, to those without",
        lambda f: f.ratio(WITH_LIMITER, WITHOUT_LIMITER),
        0.85,
    ),
    Goal(
        "holds beside a bot, to those with the bot elsewhere",
        lambda f: f.ratio(BESIDE_A_BOT, BESIDE_NOTHING),
        0.9,
    ),
    Goal("maps of 50,000 seats a second", lambda f: f.per_second(MAP), 20_000),
    Goal("purchases, free of charge, a second", lambda f: f.per_second(PURCHASE), 1100),
    Goal(
        "99th percentile of a hold at half speed, ms",
        lambda f: f.p99_ms(HALF_SPEED),
        10,
        is_a_limit=True,
    ),
)

GOALS_BESIDE_EXPRESS = (
    Goal("holds, to those of Express", lambda f: f.ratio(WITH_LIMITER, EXPRESS_HOLD), 0.75),
)
