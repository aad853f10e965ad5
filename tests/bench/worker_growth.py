"""What a minute of the worker costs with ever more bookings in MongoDB:

    python -m tests.bench.worker_growth [BOOKINGS ...]

prints docs/performance.md's table: processor time of the worker, MongoDB and Redis in milliseconds
a minute. The events are the same each time, one of 440,000 seats, 20 of 16,500 and 1,000 of 330;
only more of their seats are sold. Each minute something changes in every event, and a few buy.

The minutes follow each other without pauses: the worker's clock is moved forward from round to
round, so that nothing but its work is measured.
"""

import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import psutil

from ops.servers import MongoDB, Redis
from tests.support.factories import BUYER, a_booking, put_on_sale, small_hall, unique
from tests.support.redis_stores import seats_on
from web.adapters.mongodb.booking_store import MongoBookingStore
from web.adapters.mongodb.client import collection_at
from web.adapters.mongodb.documents import document_of
from web.adapters.redis.shard import connect
from web.domain.events import Event, Row, Section
from web.domain.sales import Booking, SoldAs, booking_id_of
from web.use_cases.reconciliation import Reconciler

SIZES = (0, 10_000, 100_000, 1_000_000)
HALLS = {440_000: 1, 16_500: 20, 330: 1_000}
"""How many events have so many seats."""
ROW_LENGTH = 100

MINUTES = 5
ROUNDS_A_MINUTE = 60
SALES_A_MINUTE = 300
FILLED_TOGETHER = 10_000
BOOKED_OVER = timedelta(days=20)
SETTLES_S = 15 * 60.0
"""On the worker's clock: long enough that whatever it does now and then is due again."""

ON_THE_CLOCK = ("reconciliation", "seat_comparison", "gateway_ledger", "opening")


class Clock:
    """``time`` of the worker's modules, which can be moved forward."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead_s

    def sleep(self, seconds: float) -> None:
        self._ahead_s += seconds

    def put_in_place(self) -> None:
        for name in ON_THE_CLOCK:
            if module := sys.modules.get(f"web.use_cases.{name}"):
                module.time = SimpleNamespace(monotonic=self.monotonic)


class NoGateway:
    """The seats cost nothing."""

    def list(self, since: datetime) -> Iterator:
        return iter(())

    def refunded(self, since: datetime) -> Iterator:
        return iter(())

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True)
class Cost:
    """Processor time in milliseconds."""

    worker: float
    mongodb: float
    redis: float


class Bench:
    def __init__(self, redis: Redis, mongo: MongoDB):
        self.seats = seats_on(connect(redis.url))
        self.bookings = MongoBookingStore(collection_at(mongo.url))
        self.events = [hall_of(seats) for seats, count in HALLS.items() for _ in range(count)]
        for event in self.events:
            put_on_sale(self.seats, event)
        self.clock = Clock()
        self._collection = self.bookings._collection
        self._servers = psutil.Process(mongo.pid), psutil.Process(redis.pid)
        self._sold = dict.fromkeys(self.events, 0)
        self._bought = dict.fromkeys(self.events, 0)

    def sell_until(self, count: int) -> None:
        """As if so many bookings had been made in the last weeks: evenly in all events."""
        total = 1.1 * SIZES[-1]
        began_at = datetime.now(UTC) - BOOKED_OVER
        for event in self.events:
            first, last = self._sold[event], int(count * len(event.seats) / total)
            self._sold[event] = last
            documents = _documents(event, range(first, last), began_at)
            while batch := list(islice(documents, FILLED_TOGETHER)):
                self._collection.insert_many(batch, ordered=False)
            if last > first:
                self.seats.open_event(event, self.bookings.sold_seats(event.id))

    def worker(self) -> Reconciler:
        checkout = None  # No payment lapses.
        return Reconciler(
            self.seats._catalogue, self.seats, self.bookings, NoGateway(), checkout, self.events
        )

    def change_everything(self) -> None:
        """Somebody takes a seat in each event and puts it back, and a few buy one."""
        for event in self.events:
            hold_id = unique("hld")
            self.seats.hold_seats(event, hold_id, unique("client"), [len(event.seats) - 1])
            self.seats.release_hold(event.id, hold_id)
        for number in range(SALES_A_MINUTE):
            self._buy(self.events[number % 2 * number])

    def _buy(self, event: Event) -> None:
        self._bought[event] += 1
        position = len(event.seats) - 1 - self._bought[event]
        hold = self.seats.hold_seats(event, unique("hld"), unique("client"), [position])
        booking = replace(
            a_booking(event.id, *hold.seats),
            id=booking_id_of(hold.id),
            hold_id=hold.id,
            key_digest=hold.id,
        )
        self.seats.begin_payment(event, hold.id, BUYER, hold.id, "fingerprint")
        self.bookings.insert(booking)
        self.seats.confirm_booking(event, booking)

    def warm_up(self, worker: Reconciler) -> None:
        """A new worker compares everything once, and once more."""
        for _ in range(2):
            worker.round()
            while worker.has_more:
                worker.round()
            self.clock.sleep(SETTLES_S)

    def minute(self, worker: Reconciler) -> Cost:
        self.change_everything()
        before = self._used_s()
        for _ in range(ROUNDS_A_MINUTE):
            began_s = self.clock.monotonic()
            worker.round()
            self.clock.sleep(max(0.0, began_s + 1 - self.clock.monotonic()))
        return Cost(*(1000 * (a - b) for a, b in zip(self._used_s(), before, strict=True)))

    def _used_s(self) -> list[float]:
        servers = [sum(server.cpu_times()[:2]) for server in self._servers]
        return [time.process_time(), *servers]


def hall_of(seats: int) -> Event:
    rows = tuple(
        Row(f"R{first}", (tuple(str(n + 1) for n in range(ROW_LENGTH)),))
        for first in range(0, seats, ROW_LENGTH)
    )
    section = Section("hall", "Hall", "seated", 0, rows)
    return small_hall(hold_ms=3_600_000, max_seats_per_hold=8, sections=(section,))


def _documents(event: Event, places: range, began_at: datetime) -> Iterator[dict[str, Any]]:
    """Of bookings of one seat each."""
    a_document = document_of(_a_sold_seat(event))
    for place in places:
        hold_id = unique("hld")
        seat = event.seats[place]
        yield a_document | {
            "_id": booking_id_of(hold_id),
            "hold_id": hold_id,
            "seats": [seat],
            "seat_names": [f"Hall, seat {seat}"],
            "key_digest": hold_id,
            "booked_at": began_at + place * BOOKED_OVER / (len(event.seats) + 1),
        }


def _a_sold_seat(event: Event) -> Booking:
    seat = event.seats[0]
    booking = a_booking(event.id, seat)
    return replace(booking, sold_as=SoldAs(event.name, event.venue, (event.seat_name(seat),)))


def main(sizes: Sequence[int]) -> None:
    logging.disable(logging.WARNING)
    with (
        tempfile.TemporaryDirectory() as folder,
        Redis(Path(folder, "redis"), Path(folder, "redis.log")) as redis,
        MongoDB(Path(folder, "mongodb"), Path(folder, "mongodb.log")) as mongo,
    ):
        bench = Bench(redis, mongo)
        bench.bookings.create_indexes()
        bench.clock.put_in_place()
        memory = psutil.Process().memory_info
        print("| bookings | worker | MongoDB | Redis | in all | spread | memory of the worker |")
        print("|---|---|---|---|---|---|---|")
        for size in sizes:
            bench.sell_until(size)
            worker = bench.worker()
            bench.warm_up(worker)
            costs = [bench.minute(worker) for _ in range(MINUTES)]
            sums = sorted(cost.worker + cost.mongodb + cost.redis for cost in costs)
            columns = [median(getattr(c, part) for c in costs) for part in Cost.__annotations__]
            figures = " | ".join(f"{figure:,.0f}" for figure in [*columns, median(sums)])
            spread = f"{sums[0]:,.0f} to {sums[-1]:,.0f}"
            assert not worker.not_done and not worker.repairs, (worker.not_done, worker.repairs)
            print(
                f"| {size:,} | {figures} | {spread} | {memory().rss / 2**20:,.0f} MiB |", flush=True
            )


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or SIZES)
