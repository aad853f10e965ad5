"""The cost of calls as the hall, its holds and the number of events grow; on real Redis and
MongoDB.

Redis's time is by its own clock: the sum of INFO for scripts, or its main thread's processor time.
Python's is the calling thread's processor time. Of several batches of calls the cheapest counts,
because other work on the machine can only add to it.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import pymongo.monitoring
from flask.testing import FlaskClient

from ops.servers import MongoDB, Redis
from tests.support.application import application_with
from tests.support.booking_stores import bookings_at
from tests.support.factories import BUYER, a_booking, numbers, put_on_sale, unique
from tests.support.redis_stores import audited, seats_on
from web.adapters.mongodb.documents import document_of
from web.adapters.redis.shard import connect
from web.domain.events import Event, Row, Section
from web.domain.refusals import SeatTaken, SoldOut
from web.domain.sales import Booking, Hold, PaymentAttempt, booking_id_of
from web.use_cases.audit import audit
from web.use_cases.reconciliation import Reconciler

HALL_SIZES = (300, 1_000, 3_000, 10_000, 50_000)
HELD_SHARES_PERCENT = (0, 25, 50, 75, 90, 95)
HALL_OF_SHARES = 10_000
LIVE_HOLDS = (10, 100, 1_000, 10_000)
HALL_OF_HOLDS = 50_000
OPEN_EVENTS = (1, 10, 100, 1_000)
HALL_OF_EVENTS = 300
SEATS_A_HOLD = (1, 2, 4, 8, 16, 32, 50)
"""Up to the maximum of an event file."""
SOLD_OUT_HALL = 50_000
SEATS_A_BOOKING = 2

ROW_LENGTH = 50
LAST_SEATS = 100
"""Free seats in a nearly full hall: enough for a batch of calls."""
SECTION = "hall"

BATCHES = 15
CALLS_A_BATCH = 20
RECEIPTS_WEIGHED = 500
HOLDS_SWEPT = 100
"""The holds that one call sweeps: SWEEP_LIMIT of lua/include/sweep.lua."""
ROUNDS_OF_A_NEW_WORKER = 10

Made = TypeVar("Made")


@dataclass(frozen=True)
class Cost:
    """The cost of one call of a script."""

    redis_us: float
    python_us: float


@dataclass(frozen=True)
class Work:
    """The cost of one request, or of one round of the worker. ``redis_reads`` counts Redis's reads
    from the client: one for a single call, and one for a pipeline."""

    redis_reads: int
    redis_us: int
    mongodb_calls: int
    python_us: int
    elapsed_us: int


class MongoCalls(pymongo.monitoring.CommandListener):
    """Counts the commands of all clients that are created after it was registered."""

    def __init__(self):
        self.count = 0

    def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:
        self.count += 1

    def succeeded(self, event: pymongo.monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: pymongo.monitoring.CommandFailedEvent) -> None:
        pass


class NoGateway:
    """A gateway without payments: its list grows with recent payments, not with the hall."""

    def list(self, since: datetime) -> Iterator:
        return iter(())

    def refunded(self, since: datetime) -> Iterator:
        return iter(())


def hall_of(seats: int, kind: str = "seated") -> Event:
    """A hall of one section, the worst case, since a search never leaves its section. Each row has
    an aisle in the middle."""
    half = ROW_LENGTH // 2
    blocks = (numbers(1, half), numbers(half + 1, ROW_LENGTH))
    if kind == "general":
        rows = (Row("GA", (numbers(1, seats),)),)
    else:
        rows = tuple(Row(f"R{number}", blocks) for number in range(seats // ROW_LENGTH))
    return Event(
        id=unique("growth"),
        name="A hall that grows",
        venue="The bench",
        currency="GBP",
        sale_opens_at=datetime(2026, 1, 1, tzinfo=UTC),
        hold_ms=3_600_000,
        max_seats_per_hold=max(SEATS_A_HOLD),
        max_held_per_client=1_000,
        sections=(Section(SECTION, "Hall", kind, 2500, rows),),
    )


class Bench:
    """``redis_server`` and ``mongo_server`` must not be used by anything else."""

    def __init__(self, redis_server: Redis, mongo_server: MongoDB):
        self._mongo_calls = MongoCalls()
        pymongo.monitoring.register(self._mongo_calls)
        self.redis = connect(redis_server.url)
        self.seats = seats_on(self.redis)
        self.bookings = bookings_at(mongo_server.url)
        self.bookings.create_indexes()
        self.http = _application(redis_server, mongo_server)

    def cost(
        self,
        act: Callable[[Made], object],
        prepare: Callable[[], Made] = lambda: None,
        undo: Callable[[object], object] = lambda outcome: None,
        calls: int = CALLS_A_BATCH,
    ) -> Cost:
        """The cost of ``act``, which calls one script. It gets the result of ``prepare``, and
        ``undo`` gets its result."""
        costs = []
        for _ in range(BATCHES):
            prepared = [prepare() for _ in range(calls)]
            before_us, began_ns = self._scripts_us(), time.thread_time_ns()
            outcomes = [act(made) for made in prepared]
            python_us = (time.thread_time_ns() - began_ns) / 1000 / calls
            costs.append(Cost((self._scripts_us() - before_us) / calls, python_us))
            for outcome in outcomes:
                undo(outcome)
        return Cost(
            round(min(cost.redis_us for cost in costs), 1),
            round(min(cost.python_us for cost in costs), 1),
        )

    def _scripts_us(self) -> int:
        return self.redis.info("commandstats").get("cmdstat_evalsha", {"usec": 0})["usec"]

    def work(self, act: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> Work:
        """The cheapest of several calls, without a first one that warms up."""
        act()
        works = []
        for _ in range(BATCHES):
            prepare()
            reads, busy_us = self._reads_and_busy_us()
            reads_of_look, busy_us_of_look = self._reads_and_busy_us()
            mongodb_calls = self._mongo_calls.count
            began_s, began_ns = time.perf_counter(), time.thread_time_ns()
            act()
            python_us = (time.thread_time_ns() - began_ns) // 1000
            elapsed_us = round((time.perf_counter() - began_s) * 1_000_000)
            reads_after, busy_us_after = self._reads_and_busy_us()
            # The difference of two readings contains the cost of the first one.
            works.append(
                Work(
                    redis_reads=reads_after - 2 * reads_of_look + reads,
                    redis_us=max(0, round(busy_us_after - 2 * busy_us_of_look + busy_us)),
                    mongodb_calls=self._mongo_calls.count - mongodb_calls,
                    python_us=python_us,
                    elapsed_us=elapsed_us,
                )
            )
        return min(works, key=lambda work: work.python_us)

    def _reads_and_busy_us(self) -> tuple[int, float]:
        info = self.redis.info("stats", "cpu")
        busy_s = info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"]
        return info["total_reads_processed"], busy_s * 1_000_000

    # ------------------------------------------------------------ what is put on sale

    def on_sale(self, seats: int, kind: str = "seated") -> Event:
        event = hall_of(seats, kind)
        put_on_sale(self.seats, event)
        return event

    def hold(self, event: Event, positions: list[int], client: str = "") -> Hold:
        return self.seats.hold_seats(event, unique("hld"), client or unique("client"), positions)

    def paint(self, event: Event, states: str) -> None:
        """Set the seats' states directly, without holds."""
        self.redis.set(f"seats:{{{event.id}}}", states)

    def forget(self, event: Event) -> None:
        self.redis.delete(*self.redis.keys(f"*{{{event.id}}}*"))
        self.redis.srem("events", event.id)

    # ------------------------------------------------------------ what is measured

    def calls_against_seats(self, size: int) -> dict[str, Cost]:
        """Each call in halls of different sizes, with all seats free unless the name says
        otherwise."""
        event = self.on_sale(size)
        free = Draw(size)
        costs = {
            "hold 1 seat": self._cost_of_hold(event, free, 1),
            "hold 8 seats apart": self._cost_of_hold(event, free, 8),
            "hold, seat taken": self._cost_of_refusal(event),
            "best 4, empty": self._cost_of_best(event, 4),
            "best 8, empty": self._cost_of_best(event, 8),
            **self._payment_costs(event, free),
            "map, changed": self.cost(lambda _: self.seats.read_seats(event.id)),
        }
        revision = self.seats.read_seats(event.id).revision
        costs["map, unchanged"] = self.cost(
            lambda _: self.seats.read_changed_seats(event.id, revision)
        )
        last_seats_free = "s" * (size - LAST_SEATS) + "0" * LAST_SEATS
        for name, states in {
            "nearly full": last_seats_free,
            "every other seat free": "0s" * (size // 2),
            "four free only across rows": ("00" + "s" * (ROW_LENGTH - 4) + "00")
            * (size // ROW_LENGTH),
        }.items():
            self.paint(event, states)
            costs[f"best 4, {name}"] = self._cost_of_best(event, 4)
            # Its undoing is the release.
            costs[f"best 4, {name}, after a release"] = self._cost_of_best(event, 4, calls=1)
        self.paint(event, "s" * (size - 4) + "0000")
        costs["best 4, sold out"] = self._cost_of_late_best(event)
        self.forget(event)

        floor = self.on_sale(size, "general")
        costs["standing 4, empty"] = self._cost_of_best(floor, 4)
        self.paint(floor, last_seats_free)
        costs["standing 4, nearly full"] = self._cost_of_best(floor, 4)
        self.forget(floor)
        return costs

    def calls_against_share(self, percent: int) -> dict[str, Cost]:
        """Each call with different shares of a hall held, by holds of four random seats."""
        event, free = self.on_sale(HALL_OF_SHARES), Draw(HALL_OF_SHARES)
        for _ in range(HALL_OF_SHARES * percent // 100 // 4):
            self.hold(event, free.draw(4))
        costs = {
            "hold 1 seat": self._cost_of_hold(event, free, 1),
            "hold 8 seats apart": self._cost_of_hold(event, free, 8),
            "hold, seat taken": self._cost_of_refusal(event),
            "best 1": self._cost_of_best(event, 1, calls=4),
            "best 4": self._cost_of_best(event, 4, calls=4),
            "best 8": self._cost_of_best(event, 8, calls=4),
            "map, changed": self.cost(lambda _: self.seats.read_seats(event.id)),
        }
        self.forget(event)
        return costs

    def calls_against_holds(self) -> dict[int, dict[str, Cost]]:
        """Each call with different numbers of holds of two seats, in one hall that fills."""
        event, free = self.on_sale(HALL_OF_HOLDS), Draw(HALL_OF_HOLDS)
        costs, alive = {}, 0
        for count in LIVE_HOLDS:
            for _ in range(alive, count):
                self.hold(event, free.draw(2))
            alive = count
            costs[count] = {
                "hold 1 seat": self._cost_of_hold(event, free, 1),
                "best 4": self._cost_of_best(event, 4, calls=4),
                **self._payment_costs(event, free),
            }
        self.forget(event)
        return costs

    def calls_against_quantity(self, quantity: int) -> dict[str, Cost]:
        """Each call with different numbers of seats in one hold."""
        event, free = self.on_sale(HALL_OF_SHARES), Draw(HALL_OF_SHARES)
        costs = {
            "hold, apart": self._cost_of_hold(event, free, quantity),
            "best": self._cost_of_best(event, quantity),
            **self._payment_costs(event, free, quantity),
            "sweep 100 holds": self._cost_of_sweep(event, free, quantity),
        }
        self.forget(event)
        return costs

    def work_against_events(self) -> dict[int, dict[str, Cost | Work]]:
        """Each kind of work with different numbers of events on sale, without buyers."""
        made: list[Event] = []
        works = {}
        for count in OPEN_EVENTS:
            made += [self.on_sale(HALL_OF_EVENTS) for _ in range(len(made), count)]
            event, free = made[-1], Draw(HALL_OF_EVENTS)
            worker = self._worker(made)
            # A new worker has compared nothing yet, and does so over some rounds.
            for _ in range(ROUNDS_OF_A_NEW_WORKER):
                worker.round()
            works[count] = {
                "hold 1 seat": self._cost_of_hold(event, free, 1),
                "GET /api/events": self.work(lambda: self._get("/api/events")),
                "GET /api/events/{event}": self.work(
                    lambda event=event: self._get(f"/api/events/{event.id}")
                ),
                "a round of the worker": self.work(worker.round),
                "the worker's first round": self.work(partial(self._first_round, made)),
                "an audit": self.work(
                    lambda: audit(
                        self.seats._catalogue, audited(self.seats), self.bookings, NoGateway()
                    )
                ),
            }
        for event in made:
            self.forget(event)
        return works

    def sold_out_hall(self) -> dict[str, dict]:
        """A hall that is free, then held, then sold out, two seats a time: the bytes of each key,
        and the worker's rounds in the end."""
        event = self.on_sale(SOLD_OUT_HALL)
        weights = {"free": self._weigh(event)}
        holds = [
            self.hold(event, list(range(first, first + SEATS_A_BOOKING)))
            for first in range(0, SOLD_OUT_HALL, SEATS_A_BOOKING)
        ]
        weights["held"] = self._weigh(event)
        sold = [_booking_of(hold) for hold in holds]
        for booking in sold:
            self.seats.begin_payment(
                event, booking.hold_id, BUYER, booking.key_digest, booking.fingerprint
            )
            self.seats.confirm_booking(event, booking)
        weights["sold"] = self._weigh(event)
        self.bookings._insert_all([document_of(booking) for booking in sold])
        worker = self._worker([event])
        rounds = {
            "a round that compares": self.work(partial(self._first_round, [event])),
            "a quiet round": self.work(worker.round),
        }
        self.forget(event)
        return {"bytes": weights, **rounds}

    # ------------------------------------------------------------ how

    def _cost_of_hold(self, event: Event, free: "Draw", quantity: int) -> Cost:
        return self.cost(
            act=lambda positions: self.hold(event, positions),
            prepare=lambda: free.draw(quantity),
            undo=lambda hold: self._release(event, free, hold),
            calls=free.calls(quantity),
        )

    def _cost_of_refusal(self, event: Event) -> Cost:
        section = event.sections[0]
        hold = self.seats.hold_best(event, unique("hld"), "first", section, 1)
        position = event.positions[hold.seats[0]]

        def lose(_) -> None:
            with suppress(SeatTaken):
                self.hold(event, [position], "late")

        cost = self.cost(lose)
        self.seats.release_hold(event.id, hold.id)
        return cost

    def _cost_of_best(self, event: Event, quantity: int, calls: int = CALLS_A_BATCH) -> Cost:
        section = event.sections[0]

        def hold_best(_) -> Hold | None:
            with suppress(SoldOut):
                return self.seats.hold_best(
                    event, unique("hld"), unique("client"), section, quantity
                )

        def release(hold: Hold | None) -> None:
            if hold:
                self.seats.release_hold(event.id, hold.id)

        return self.cost(
            hold_best, undo=release, calls=min(calls, len(event.seats) // 2 // quantity)
        )

    def _cost_of_late_best(self, event: Event) -> Cost:
        """When somebody has just got the last four seats."""
        section = event.sections[0]
        self.seats.hold_best(event, unique("hld"), "first", section, 4)

        def lose(_) -> None:
            with suppress(SoldOut):
                self.seats.hold_best(event, unique("hld"), "late", section, 4)

        return self.cost(lose)

    def _payment_costs(self, event: Event, free: "Draw", quantity: int = 1) -> dict[str, Cost]:
        """Of what comes after a hold; each leaves the hall as it was."""
        calls = free.calls(quantity)

        def held() -> Hold:
            return self.hold(event, free.draw(quantity))

        def begin(hold: Hold) -> PaymentAttempt:
            return self.seats.begin_payment(event, hold.id, BUYER, hold.id, "fingerprint")

        def undo(payment: PaymentAttempt) -> None:
            self.seats.undo_payment(payment, None)
            self.seats.release_hold(event.id, payment.hold_id)
            free.put_back(event, payment.seats)

        def paying() -> Hold:
            hold = held()
            begin(hold)
            return hold

        def confirm(hold: Hold) -> Booking:
            booking = _booking_of(hold)
            self.seats.confirm_booking(event, booking)
            return booking

        def give_back(booking: Booking) -> None:
            self.seats.return_seats(event, booking, booking.seats)
            free.put_back(event, booking.seats)

        def release(hold: Hold) -> Hold:
            self.seats.release_hold(event.id, hold.id)
            return hold

        hold = held()
        costs = {
            "look at a hold": self.cost(lambda _: self.seats.read_hold(event, hold.id)),
            "extend a hold": self.cost(
                act=lambda hold: self.seats.extend_hold(event, hold.id),
                prepare=held,
                undo=lambda hold: self._release(event, free, hold),
                calls=calls,
            ),
            "begin a payment": self.cost(begin, held, undo, calls),
            "confirm a booking": self.cost(confirm, paying, give_back, calls),
            "release a hold": self.cost(
                release, held, lambda hold: free.put_back(event, hold.seats), calls
            ),
        }
        self._release(event, free, hold)
        return costs

    def _cost_of_sweep(self, event: Event, free: "Draw", quantity: int) -> Cost:
        """Of the call that frees a hundred holds."""

        def run_out() -> list[Hold]:
            holds = [self.hold(event, free.draw(quantity)) for _ in range(HOLDS_SWEPT)]
            self.redis.zadd(f"due:{{{event.id}}}", {hold.id: 1 for hold in holds})
            return holds

        def sweep(holds: list[Hold]) -> list[Hold]:
            self.seats.sweep_holds(event.id)
            return holds

        def put_back(holds: list[Hold]) -> None:
            for hold in holds:
                free.put_back(event, hold.seats)

        return self.cost(sweep, run_out, put_back, calls=1)

    def _release(self, event: Event, free: "Draw", hold: Hold) -> None:
        self.seats.release_hold(event.id, hold.id)
        free.put_back(event, hold.seats)

    def _worker(self, events: list[Event]) -> Reconciler:
        checkout = None  # nobody pays
        return Reconciler(
            self.seats._catalogue, self.seats, self.bookings, NoGateway(), checkout, events
        )

    def _first_round(self, events: list[Event]) -> None:
        self._worker(events).round()

    def _get(self, path: str) -> None:
        assert self.http.get(path).status_code == 200

    def _weigh(self, event: Event) -> dict[str, int]:
        """Bytes of each key of the event; of receipts all together."""
        names = ("event", "seats", "holds", "due", "clients", "journal", "payments")
        weights = {
            name: self.redis.memory_usage(f"{name}:{{{event.id}}}", samples=0) or 0
            for name in names
        }
        receipts = self.redis.keys(f"receipt:{{{event.id}}}:*")
        weighed = receipts[:RECEIPTS_WEIGHED]
        each = sum(self.redis.memory_usage(key) for key in weighed) / max(1, len(weighed))
        return weights | {"receipts": round(each * len(receipts))}


class Draw:
    """Free seats of a hall in an order that nobody foresees, the same in every run."""

    def __init__(self, seats: int):
        self._free = list(range(seats))
        random.Random(seats).shuffle(self._free)

    def calls(self, quantity: int) -> int:
        """How many calls a batch can have: each takes so many seats, and half stay."""
        return max(1, min(CALLS_A_BATCH, len(self._free) // 2 // quantity))

    def draw(self, quantity: int) -> list[int]:
        return [self._free.pop() for _ in range(quantity)]

    def put_back(self, event: Event, seats: tuple[str, ...]) -> None:
        self._free.extend(event.positions[seat] for seat in seats)


def _booking_of(hold: Hold) -> Booking:
    booking = a_booking(hold.event_id, *hold.seats, payment_id="pi_of_the_bench")
    return replace(booking, id=booking_id_of(hold.id), hold_id=hold.id, key_digest=hold.id)


def _application(redis_server: Redis, mongo_server: MongoDB) -> FlaskClient:
    """The application without what wraps it: the limiter does not know how large a hall is."""
    app = application_with(REDIS_URL=redis_server.url, MONGODB_URI=mongo_server.url)
    del app.wsgi_app  # back to Flask's own
    return app.test_client()
