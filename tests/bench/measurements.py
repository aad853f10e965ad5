"""The measurements of ``make bench``, in groups of those that are compared with each other."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import requests

from tests.bench.servers import Bench, Program
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

CAPACITY = 100_000
"""Seats of a hall, half of them free of charge; more than one measurement holds."""

MAP_SEATS = 50_000

SALE_SEATS = 20_000
"""The same where they are sold. The worker compares these halls with their bookings."""

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
    """A row of the tables: ``measure`` runs it once, in a new hall of ``seats``. ``sells`` through
    TicketS, whose worker then compares the seats with the bookings."""

    name: str
    measure: Callable[[Bench, Event], Result]
    seats: int = CAPACITY
    sells: bool = False


def hold_path(hall: Event, seat: str = "paid-GA-1") -> str:
    return f"/api/events/{hall.id}/seats/{seat}/hold"


def take(bench: Bench, hall: Event) -> None:
    assert requests.post(bench.tickets.url + hold_path(hall), timeout=10).status_code == 201


def everyone(program: Program, method: str, path: str, expected: set[int]) -> Result:
    return burst(program.url, method, path, CROWD, expected, roots=program.roots)


def everyone_at_the_yardstick(bench: Bench, hall: Event) -> Result:
    return everyone(bench.yardstick, "POST", hold_path(hall), {409})


def everyone_at_a_taken_seat(bench: Bench, hall: Event) -> Result:
    take(bench, hall)
    before = answers_of_application(bench.straight.url)
    measured = everyone(bench.tickets, "POST", hold_path(hall), {409})
    reached = answers_of_application(bench.straight.url) - before
    bench.count(
        "One taken seat: requests a second that reached the application",
        reached / (SECONDS + CHECK_SECONDS),
    )
    return measured


def everyone_at_a_seat_that_comes_back(bench: Bench, hall: Event) -> Result:
    """The holder of the seat loses it again and again, and one of the crowd gets it."""
    take(bench, hall)
    with coming_back(bench, hall) as holders:
        measured = everyone(bench.tickets, "POST", hold_path(hall), {201, 409})
    bench.count("One seat that is given back: its holders", len(holders))
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
    program = bench.tickets
    expected = {201, 409, 429}
    return burst(program.url, "POST", hold_path(hall), 1, expected, roots=program.roots)


def neighbours_of_a_flood(bench: Bench, hall: Event, flooded: Program) -> Result:
    """Holds of free seats while one client floods a program far beyond its limit."""
    flood = start_wrk(
        "burst",
        flooded.url,
        *("POST", hold_path(hall, "free-GA-1"), "1", str(FLOOD_DELAY_MS)),
        seconds=SECONDS + 2,
        connections=FLOOD_CONNECTIONS,
    )
    with flood:
        try:
            return hold(bench.tickets, hall, connections=NEIGHBOURS)
        finally:
            flood.kill()


def holds(url: str, hall: Event, **options: Any) -> Result:
    return buyers(url, hall.id, "free", "paid", **options)


def purchases(url: str, hall: Event, **options: Any) -> Result:
    return buyers(url, hall.id, "buy", "free", "", counts="bookings", **options)


def hold(program: Program, hall: Event, **options: Any) -> Result:
    return holds(program.url, hall, roots=program.roots, **options)


def purchase(program: Program, hall: Event) -> Result:
    return purchases(program.url, hall, roots=program.roots)


def paid_purchase(bench: Bench, hall: Event) -> Result:
    program, arguments = bench.tickets, ("buy", "paid", "pm_card_visa")
    return buyers(program.url, hall.id, *arguments, counts="bookings", roots=program.roots)


def pause_ms(requests_per_second: float) -> str:
    """How long every connection pauses between requests for half of that rate."""
    return str(round(1000 * CONNECTIONS / (requests_per_second / 2)))


def holds_at_half_speed(bench: Bench, hall: Event) -> Result:
    arguments = ("free", "free", pause_ms(bench.latest[HOLD].per_second))
    return buyers(bench.tickets.url, hall.id, *arguments, roots=bench.tickets.roots)


def purchases_at_half_speed(bench: Bench, hall: Event) -> Result:
    # A purchase is two requests.
    pause = pause_ms(2 * bench.latest[PURCHASE].per_second)
    program, arguments = bench.tickets, ("buy", "free", "", pause)
    return buyers(program.url, hall.id, *arguments, counts="bookings", roots=program.roots)


def everyone_at_the_map(bench: Bench, hall: Event) -> Result:
    """Read the map while seats are being held."""
    positions = iter(range(len(hall.seats)))

    def sell() -> None:
        position = next(positions)
        bench.seats.hold_seats(hall, f"hld_{position}", f"buyer-{position}", [position])

    with meanwhile(sell, SALE_INTERVAL_S):
        return everyone(bench.tickets, "GET", f"/api/events/{hall.id}/seats", {200})


YARDSTICK = "nginx's own `return 409`"
TAKEN = "one taken seat, everyone at once"
COMING_BACK = "one seat that is given back again and again, everyone at once"
BOT = "one bot at full speed"
MAP = "map of 50,000 seats, while they are sold"
HOLD = "hold a free seat, ten thousand clients within their limit"
HOLD_AT_HALF_SPEED = "hold a free seat, at half of that speed"
STRAIGHT_HOLD = "hold a free seat, straight at gunicorn"
UNLIMITED_HOLD = "hold a free seat, straight at gunicorn, no limiter"
EXPRESS_HOLD = "hold a free seat, Express and ioredis with the same script"
FASTAPI_HOLD = "hold a free seat, FastAPI and redis-py with the same script"
BESIDE_NOTHING = "hold a free seat, 8 buyers, a bot elsewhere"
BESIDE_A_BOT = "hold a free seat, 8 buyers, a bot beside them"
PURCHASE = "purchase, free of charge (hold, pay, durable booking)"
PURCHASE_AT_HALF_SPEED = "purchase, free of charge, at half of that speed"
STRAIGHT_PURCHASE = "purchase, free of charge, straight at gunicorn"
PAID_PURCHASE = "purchase through the payment sandbox"
EXPRESS_PURCHASE = "hold and insert, Express and MongoDB's driver"
FASTAPI_PURCHASE = "hold and insert, FastAPI and PyMongo"

GROUPS: dict[str, tuple[Measurement, ...]] = {
    "edge": (
        Measurement(YARDSTICK, everyone_at_the_yardstick),
        Measurement(TAKEN, everyone_at_a_taken_seat),
        Measurement(COMING_BACK, everyone_at_a_seat_that_comes_back),
        Measurement(BOT, one_bot),
        Measurement(MAP, everyone_at_the_map, seats=MAP_SEATS),
    ),
    "hold": (
        Measurement(HOLD, lambda bench, hall: hold(bench.tickets, hall)),
        Measurement(STRAIGHT_HOLD, lambda bench, hall: hold(bench.straight, hall)),
        Measurement(EXPRESS_HOLD, lambda bench, hall: hold(bench.express, hall)),
        Measurement(FASTAPI_HOLD, lambda bench, hall: hold(bench.fastapi, hall)),
        Measurement(UNLIMITED_HOLD, lambda bench, hall: hold(bench.unlimited, hall)),
        Measurement(HOLD_AT_HALF_SPEED, holds_at_half_speed),
    ),
    "bot": (
        Measurement(BESIDE_NOTHING, lambda b, hall: neighbours_of_a_flood(b, hall, b.yardstick)),
        Measurement(BESIDE_A_BOT, lambda b, hall: neighbours_of_a_flood(b, hall, b.tickets)),
    ),
    "purchase": (
        Measurement(PURCHASE, lambda b, hall: purchase(b.tickets, hall), SALE_SEATS, sells=True),
        Measurement(EXPRESS_PURCHASE, lambda b, hall: purchase(b.express, hall), SALE_SEATS),
        Measurement(FASTAPI_PURCHASE, lambda b, hall: purchase(b.fastapi, hall), SALE_SEATS),
        Measurement(
            STRAIGHT_PURCHASE, lambda b, hall: purchase(b.straight, hall), SALE_SEATS, sells=True
        ),
        Measurement(PURCHASE_AT_HALF_SPEED, purchases_at_half_speed, SALE_SEATS, sells=True),
    ),
    # By itself: the worker reads these payments in the gateway's list, for a quarter of an hour.
    "paid": (Measurement(PAID_PURCHASE, paid_purchase, SALE_SEATS, sells=True),),
}
"""In a group, rows that are compared stand near each other: so they are measured within seconds."""

OF_EXPRESS = {EXPRESS_HOLD, EXPRESS_PURCHASE}
OF_FASTAPI = {FASTAPI_HOLD, FASTAPI_PURCHASE}
