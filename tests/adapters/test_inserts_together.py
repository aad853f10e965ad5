"""Bookings that are inserted together: each buyer gets the outcome of its own."""

import threading
from types import SimpleNamespace

import pytest
from pymongo.errors import AutoReconnect, BulkWriteError

from tests.support.booking_stores import bookings_at
from tests.support.factories import a_booking, unique
from tests.support.waiting import eventually
from web.domain.refusals import SeatTaken
from web.ports.booking_store import InsertUnknown

PATIENCE_S = 10


@pytest.fixture
def store(mongo_server):
    return bookings_at(mongo_server.url)


def inserted_together(store, *bookings) -> list:
    """All but the first wait while that is under way. Gives what each got: a booking or an
    exception."""
    written, may_write = [], threading.Event()
    insert_all = store._inserts._send

    def held_back(documents):
        written.append(len(documents))
        assert may_write.wait(PATIENCE_S)
        return insert_all(documents)

    store._inserts._send = held_back
    outcomes: list = [None] * len(bookings)

    def insert(number):
        try:
            outcomes[number] = store.insert(bookings[number])
        except (SeatTaken, InsertUnknown) as error:
            outcomes[number] = error

    threads = [threading.Thread(target=insert, args=(n,)) for n in range(len(bookings))]
    for number, thread in enumerate(threads):
        thread.start()
        eventually(
            lambda number=number: len(store._inserts._waiting) + len(written) > number,
            "a booking that is written, or waits for that",
        )
    may_write.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert written == [1, len(bookings) - 1]
    return outcomes


def test_a_lost_race_in_a_group_is_lost_by_its_buyer_alone(store, bookings):
    event = unique("evening")
    first, second, third = (a_booking(event, f"A-{n}") for n in range(1, 4))
    rival = a_booking(event, "A-2", "A-9")
    outcomes = inserted_together(store, first, second, rival, third)
    assert outcomes[0] == first
    assert outcomes[3] == third
    winner, loser = (1, 2) if outcomes[1] == second else (2, 1)
    assert outcomes[winner] == (second, rival)[winner - 1]
    assert isinstance(outcomes[loser], SeatTaken)
    assert outcomes[loser].seats == ("A-2",)
    assert set(store.sold_seats(event)) == {"A-1", "A-3", *outcomes[winner].seats}


def test_a_booking_that_is_there_already_is_found_also_in_a_group(store, bookings):
    event = unique("evening")
    before, other = a_booking(event, "A-1"), a_booking(event, "A-2")
    bookings.insert(before)
    assert inserted_together(store, other, before, a_booking(event, "A-3"))[1] == before


def broken(store, error):
    """MongoDB writes as ever, and of a group then says ``error``."""
    collection = store._collection

    def insert_many(documents, ordered):
        assert not ordered
        collection.insert_many(documents, ordered=False)
        if len(documents) > 1:
            raise error

    store._collection = SimpleNamespace(insert_many=insert_many, find=collection.find)


@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect("the connection was lost"),
        BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"errmsg": "no majority"}]}),
    ],
)
def test_when_the_answer_is_lost_nobody_of_a_group_knows(store, error):
    event = unique("evening")
    broken(store, error)
    first, *others = inserted_together(store, *(a_booking(event, f"A-{n}") for n in range(1, 4)))
    assert first.event_id == event
    assert [type(outcome) for outcome in others] == [InsertUnknown] * 2


def test_a_write_that_failed_for_another_reason_is_unknown_to_its_buyer_alone(store):
    failure = {"index": 1, "code": 50, "errmsg": "it took too long"}
    details = {"writeErrors": [failure], "writeConcernErrors": []}
    store._collection = SimpleNamespace(insert_many=lambda *_, **__: fail(BulkWriteError(details)))
    first, second, third = store._insert_all([{}, {}, {}])
    assert (first, third) == (True, True)
    assert second.code == 50


def fail(error):
    raise error
