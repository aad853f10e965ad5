"""What the organiser's pages cost with 50,000 bookings of one event, on a real MongoDB:

    python -m tests.bench.organiser_pages

prints docs/performance.md's table. Processor time of the application and of MongoDB; of several
calls the cheapest counts, because other work on the machine can only add to it.
"""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from flask.testing import FlaskClient

from ops.servers import MongoDB, Redis
from tests.pages.browser import HTML, csrf_token_in
from tests.support.application import application_with
from tests.support.booking_stores import bookings_at
from tests.support.factories import a_booking, put_on_sale, small_hall
from tests.support.redis_stores import seats_on
from web.adapters.mongodb.documents import document_of
from web.adapters.redis.shard import connect
from web.domain.references import reference_of
from web.domain.sales import Booking, SoldAs

BOOKINGS = 50_000
SEATS_A_BOOKING = 2
CALLS = 7
TOKEN = "the organiser's token of a bench"
GIVEN = "Ada Björn Zoë José François Łukasz Søren Anna Peter Mary Grace Alan".split()
FAMILY = "Lovelace Müller O'Brien García Strauß Nguyễn Smith Jones Turing Hopper".split()
BEGUN = datetime(2026, 11, 1, 10, tzinfo=UTC)


def booked(event_id: str) -> Iterator[Booking]:
    chance = random.Random(1843)
    for number in range(BOOKINGS):
        places = [SEATS_A_BOOKING * number + place + 1 for place in range(SEATS_A_BOOKING)]
        given, family = chance.choice(GIVEN), chance.choice(FAMILY)
        seats = [f"hall-A-{place}" for place in places]
        names = tuple(f"Hall, row A, seat {place}" for place in places)
        yield replace(
            a_booking(event_id, *seats, payment_id=f"pi_{number}"),
            id=f"bkg_{chance.randbytes(10).hex()}_0",
            name=f"{given} {family}",
            email=f"{given}.{family}.{number}@example.org".lower(),
            booked_at=BEGUN + timedelta(milliseconds=37 * number),
            sold_as=SoldAs("A bench", "Hall", names),
        )


def cost(mongod: psutil.Process, call: Callable[[], object]) -> str:
    """In milliseconds: of the application, of MongoDB, and from the request to the response."""
    costs = []
    for _ in range(CALLS):
        before = (time.process_time(), sum(mongod.cpu_times()[:2]), time.perf_counter())
        call()
        after = (time.process_time(), sum(mongod.cpu_times()[:2]), time.perf_counter())
        costs.append([1000 * (end - begin) for begin, end in zip(before, after, strict=True)])
    return " | ".join(f"{min(column):,.0f}" for column in zip(*costs, strict=True))


def log_in(browser: FlaskClient) -> None:
    secret = csrf_token_in(browser.get("/organiser", headers=HTML).text)
    form = {"token": TOKEN, "csrf_token": secret}
    assert browser.post("/organiser/login", data=form, headers=HTML).status_code == 303


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Redis(Path(folder, "redis"), Path(folder, "redis.log")) as redis,
        MongoDB(Path(folder, "mongodb"), Path(folder, "mongodb.log")) as mongo,
    ):
        event = small_hall()
        put_on_sale(seats_on(connect(redis.url)), event)
        store = bookings_at(mongo.url)
        store.create_indexes()
        bookings = list(booked(event.id))
        for first in range(0, BOOKINGS, 1_000):
            batch = bookings[first : first + 1_000]
            store._insert_all([document_of(booking) for booking in batch])
        app = application_with(
            REDIS_URL=redis.url,
            MONGODB_URI=mongo.url,
            ORGANISER_TOKEN=TOKEN,
            RATE_LIMIT="10000/second",
        )
        for endpoint in ("show_bookings", "show_booking", "download_bookings"):
            name = f"pages.{endpoint}"  # The view without its limit, of a few calls a minute.
            app.view_functions[name] = app.view_functions[name].__wrapped__
        browser = app.test_client()
        log_in(browser)
        path = f"/organiser/events/{event.id}/bookings"
        middle = bookings[BOOKINGS // 2]
        place = f"{round(middle.booked_at.timestamp() * 1000)}-{middle.id}"
        mongod = psutil.Process(mongo.pid)
        print("| | application | MongoDB | in all |\n|---|---|---|---|")
        for what, address in (
            ("the sale", path.removesuffix("/bookings")),
            ("the newest 50 bookings", path),
            ("50 from the middle", f"{path}?before={place}"),
            ("one booking", f"/organiser/bookings/{middle.id}"),
            ("search: many are found", f"{path}?q=muller"),
            ("search: one address", f"{path}?q={middle.email}"),
            ("search: one seat", f"{path}?q=hall-A-50001"),
            ("search: a booking's number", f"{path}?q={middle.id}"),
            ("search: a reference", f"{path}?q={reference_of(event.id, middle.id)}"),
            ("search: nobody is found", f"{path}?q=nobody+at+all"),
            ("all as CSV", f"{path}.csv"),
        ):

            def call(address: str = address) -> None:
                response = browser.get(address, headers=HTML)
                assert (response.status_code, bool(response.data)) == (200, True)

            print(f"| {what} | {cost(mongod, call)} |", flush=True)


if __name__ == "__main__":
    main()
