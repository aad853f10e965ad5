"""Events and buyers for tests. Every event has a unique id, so that tests can share servers."""

import itertools
import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import redis

from tests.support.redis_stores import commands_of
from web.adapters.redis.seat_store import RedisSeatStore
from web.domain.events import Event, Row, Section
from web.domain.sales import Booking, Buyer, WayBack, booking_id_of

_numbers = itertools.count(1)

WAY_BACK = WayBack("https://tickets.example/return")

BUYER = Buyer(payment_method="pm_card_visa", email="ada@example.org", name="Ada Lovelace")


def unique(name: str) -> str:
    return f"{name}-{os.getpid()}-{next(_numbers)}"


def numbers(first: int, last: int) -> tuple[str, ...]:
    return tuple(map(str, range(first, last + 1)))


STALLS = Section(
    "stalls",
    "Stalls",
    "seated",
    2500,
    (
        Row("A", (numbers(1, 4), numbers(5, 8))),
        Row("B", (numbers(1, 8),)),
        Row("C", (numbers(1, 3), ("5",))),
    ),
)
FLOOR = Section("floor", "Floor", "general", 1500, (Row("GA", (numbers(1, 12),)),))
FREE = Section("free", "Free of charge", "seated", 0, (Row("F", (numbers(1, 6),)),))

SMALL_HALL = Event(
    id="small-hall",
    name="A small evening",
    venue="Small Hall",
    currency="GBP",
    sale_opens_at=datetime(2026, 1, 1, tzinfo=UTC),
    hold_ms=60_000,
    max_seats_per_hold=6,
    max_held_per_client=8,
    sections=(STALLS, FLOOR, FREE),
    timezone="Europe/London",
    starts_at=datetime(2099, 12, 12, 19, 30, tzinfo=UTC),
    sale_closes_at=datetime(2099, 12, 12, 19, 30, tzinfo=UTC),
)
"""Positions: stalls A 0-7, B 8-15, C 16-19; floor 20-31; free 32-37."""


EVENT_FILE = """
id = "{id}"
name = "An evening"
venue = "Hall"
currency = "GBP"
timezone = "Europe/London"
starts_at = 2099-12-12T19:30:00
sale_opens_at = 2026-01-01T10:00:00Z
[[sections]]
id = "floor"
name = "Floor"
kind = "general"
price = 900
capacity = {capacity}
"""
"""General admission, at £9."""


GOOD_EVENT_FILE = """
id = "evening"
name = "An evening"
venue = "Hall"
currency = "GBP"
timezone = "Europe/London"
starts_at = 2099-12-12T19:30:00
sale_opens_at = 2026-01-01T10:00:00Z
[[sections]]
id = "stalls"
name = "Stalls"
price = 1200
rows = [{ ids = "A-B, D", seats = "1-3, 6-5" }, { ids = "10-11", seats = "1-5/2" }]
[[sections]]
id = "floor"
name = "Floor"
kind = "general"
price = 900
capacity = 3
"""
"""Seats in rows, and general admission."""


def small_hall(**changes) -> Event:
    return replace(SMALL_HALL, id=unique("small-hall"), **changes)


def two_halves(name: str, seats: int, **changes) -> Event:
    """An event for load: general admission, ``seats`` seats each in the sections "paid" and
    "free"."""
    rows = (Row("GA", (numbers(1, seats),)),)
    sections = (
        Section("paid", "Paid", "general", 2500, rows),
        Section("free", "Free of charge", "general", 0, rows),
    )
    return replace(SMALL_HALL, id=unique(name), sections=sections, **changes)


def a_booking(event_id: str, *seats: str, payment_id: str | None = None) -> Booking:
    """A booking by somebody else, made now."""
    hold_id = unique("hld")
    return Booking(
        id=booking_id_of(hold_id),
        hold_id=hold_id,
        event_id=event_id,
        seats=seats,
        amount_minor=2500 * len(seats),
        currency="GBP",
        payment_id=payment_id,
        booked_at=datetime.now(UTC).replace(microsecond=0),
        email="eve@example.org",
        name="Eve",
        key_digest="eve's key",
        fingerprint="eve's payment",
    )


def lose_event(client: redis.Redis, event_id: str) -> None:
    """Delete the event's keys, as if Redis had lost it."""
    client.delete(*client.keys(f"*{{{event_id}}}*"))


def put_on_sale(seats: RedisSeatStore, event: Event, sold: Iterable[str] = ()) -> None:
    """Build and open the event directly, as if that had happened long ago."""
    seats._catalogue.add([event.id])
    seats.build_event(event)
    seats.open_event(event, sold=sold)
    be_sure(commands_of(seats, event.id), event.id)


def be_sure(client: redis.Redis, event_id: str) -> None:
    """Make the event's epoch old, so that no payment from before it can be booked any more."""
    client.hset(f"event:{{{event_id}}}", "unsure_until_ms", 0)
