"""How many mails a worker sends, with the mailbox of ``make run`` as its mail server:

    python -m tests.bench.mails

prints, for each round, mails a second, and the processor time of a mail in the worker, in MongoDB
and in the mailbox. Each mail is the ticket of a party of two: three codes and a calendar file.
"""

import statistics
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from ops.servers import Mailbox, MongoDB, Redis
from tests.support.application import application_with
from tests.support.factories import a_booking, put_on_sale, small_hall
from tests.support.redis_stores import seats_on
from web.adapters.redis.shard import connect
from web.domain.sales import Booking, SoldAs

MAILS, ROUNDS = 200, 7


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        Redis(Path(name, "redis"), Path(name, "redis.log")) as redis,
        MongoDB(Path(name, "mongodb"), Path(name, "mongodb.log")) as mongo,
        Mailbox(Path(name, "mails"), Path(name, "mailbox.log")) as mailbox,
    ):
        event = replace(small_hall(), starts_at=datetime(2036, 12, 12, 19, 30, tzinfo=UTC))
        put_on_sale(seats_on(connect(redis.url)), event)
        app = application_with(
            REDIS_URL=redis.url,
            MONGODB_URI=mongo.url,
            SMTP_URL=mailbox.smtp_url,
            MAIL_FROM="Rosewood Tickets <tickets@example.org>",
            PUBLIC_URL="https://tickets.example.org",
        )
        services = app.extensions["services"]
        services.bookings.create_indexes()
        servers = [psutil.Process(mongo.pid), psutil.Process(mailbox.pid)]
        rows = []
        print(f"{MAILS} mails a round\n")
        print("| a second | worker | MongoDB | mailbox |\n|---|---|---|---|")
        for number in range(ROUNDS):
            for mail in range(MAILS):
                services.bookings.insert(_party(event.id, number * MAILS + mail))
            before = [sum(process.cpu_times()[:2]) for process in servers]
            began_s, worked_s = time.perf_counter(), time.process_time()
            services.ticket_mail.send_due()
            took_s, costs = time.perf_counter() - began_s, [time.process_time() - worked_s]
            after = [sum(process.cpu_times()[:2]) for process in servers]
            costs += [end - begin for begin, end in zip(before, after, strict=True)]
            rows.append([MAILS / took_s, *(1000 * cost / MAILS for cost in costs)])
            print(_row(rows[-1]), flush=True)
        assert len(list(Path(name, "mails").glob("*.eml"))) == MAILS * ROUNDS
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        print(f"\nmedian:\n{_row(medians)}")


def _party(event_id: str, number: int) -> Booking:
    places = (2 * number + 1, 2 * number + 2)
    names = tuple(f"Hall, row A, seat {place}" for place in places)
    return replace(
        a_booking(event_id, *(f"hall-A-{place}" for place in places)),
        email=f"buyer-{number}@example.org",
        sold_as=SoldAs("An evening", "Hall", names),
    )


def _row(numbers: list[float]) -> str:
    mails, *costs = numbers
    return f"| {mails:.0f} | " + " | ".join(f"{cost:.1f} ms" for cost in costs) + " |"


if __name__ == "__main__":
    main()
