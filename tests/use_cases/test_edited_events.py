"""An event that is edited while it sells: processes that have not noticed it yet answer nothing
that is no longer true. ``warm`` is such a process, with the old event in its cache."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.support.factories import FLOOR, FREE, STALLS, numbers, put_on_sale, small_hall
from tests.support.redis_stores import seats_at
from tests.support.shop import TOKENS
from web.adapters.redis.seat_store import RedisSeatStore
from web.domain.events import Row, Section
from web.domain.refusals import (
    InvalidRequest,
    SeatNotFound,
    SeatTaken,
    SectionNotFound,
    TooManyHeld,
)
from web.use_cases.box_office import BoxOffice

BALCONY = Section("balcony", "Balcony", "seated", 900, (Row("A", (numbers(1, 4),)),))
LARGER = (STALLS, FLOOR, FREE, BALCONY)


@pytest.fixture
def hall(seats):
    made = small_hall()
    put_on_sale(seats, made)
    return made


@pytest.fixture
def warm_seats(private_redis_url, hall) -> RedisSeatStore:
    store = seats_at(private_redis_url)
    store._catalogue.current_event(hall.id)
    return store


@pytest.fixture
def warm(warm_seats, bookings) -> BoxOffice:
    return BoxOffice(warm_seats._catalogue, warm_seats, bookings, TOKENS)


@pytest.fixture
def edit(seats, hall):
    """Opens the event again, in another process, with changes."""

    def edited(**changes):
        seats.open_event(replace(hall, **changes), sold=[])

    return edited


def test_a_seat_that_was_added_can_be_held(warm, hall, edit):
    edit(sections=LARGER)
    hold, _ = warm.hold_seat(hall.id, "ada", "balcony-A-1")
    assert hold.amount_minor == 900


def test_seats_that_were_added_can_be_held_together(warm, hall, edit):
    edit(sections=LARGER)
    hold, _ = warm.hold_seats(hall.id, "ada", ["balcony-A-1", "stalls-A-1"])
    assert hold.seats == ("balcony-A-1", "stalls-A-1")


def test_the_best_seats_of_a_section_that_was_added_can_be_held(warm, hall, edit):
    edit(sections=LARGER)
    hold, _ = warm.hold_best(hall.id, "ada", "balcony", 2)
    assert hold.amount_minor == 1800


def test_more_seats_can_be_held_once_more_are_allowed(warm, hall, edit):
    seven = [f"stalls-A-{number}" for number in range(1, 8)]
    with pytest.raises(InvalidRequest):
        warm.hold_seats(hall.id, "ada", seven)
    edit(max_seats_per_hold=7)
    warm.hold_seats(hall.id, "ada", seven)
    edit(max_seats_per_hold=8, max_held_per_client=16)
    hold, _ = warm.hold_best(hall.id, "ada", "stalls", 8)
    assert len(hold.seats) == 8


def test_more_seats_can_be_held_by_a_client_once_it_may(warm, hall, edit):
    warm.hold_best(hall.id, "ada", "stalls", 6)
    with pytest.raises(TooManyHeld):
        warm.hold_best(hall.id, "ada", "stalls", 3)
    edit(max_held_per_client=9)
    warm.hold_best(hall.id, "ada", "stalls", 3)


def test_fewer_seats_can_be_held_once_fewer_are_allowed(warm, hall, edit):
    edit(max_seats_per_hold=2, max_held_per_client=4)
    with pytest.raises(InvalidRequest, match=r"quantity.*1 to 2"):
        warm.hold_best(hall.id, "ada", "stalls", 3)
    with pytest.raises(InvalidRequest, match=r"seats.*1 to 2"):
        warm.hold_seats(hall.id, "ada", ["stalls-A-1", "stalls-A-2", "stalls-A-3"])


def test_seats_that_were_dropped_while_free_cannot_be_held(warm, hall, edit):
    edit(sections=(STALLS, FREE))
    with pytest.raises(SeatNotFound):
        warm.hold_seat(hall.id, "ada", "floor-GA-1")
    with pytest.raises(SectionNotFound):
        warm.hold_best(hall.id, "ada", "floor", 1)
    with pytest.raises(InvalidRequest, match="has no seat floor-GA-1"):
        warm.hold_seats(hall.id, "ada", ["stalls-A-1", "floor-GA-1"])
    hold, _ = warm.hold_seat(hall.id, "ada", "free-F-1")
    assert hold.seats == ("free-F-1",)


def test_what_no_edit_could_have_changed_is_refused_as_ever(warm, hall, edit):
    edit(sections=LARGER)
    with pytest.raises(SeatNotFound):
        warm.hold_seat(hall.id, "ada", "balcony-A-5")
    with pytest.raises(SectionNotFound):
        warm.hold_best(hall.id, "ada", "gallery", 1)
    with pytest.raises(InvalidRequest):
        warm.hold_best(hall.id, "ada", "balcony", 0)
    warm.hold_seat(hall.id, "ada", "balcony-A-1")
    with pytest.raises(SeatTaken):
        warm.hold_seat(hall.id, "eve", "balcony-A-1")


def test_a_flood_of_nonsense_shares_the_reads_that_it_costs(warm, warm_seats, hall, monkeypatch):
    catalogue, reads = warm_seats._catalogue, []
    read = catalogue._fields_of

    def slowly(event_ids, *fields):
        reads.extend(fields)
        time.sleep(0.05)
        return read(event_ids, *fields)

    monkeypatch.setattr(catalogue, "_fields_of", slowly)

    def ask(number):
        with pytest.raises(SeatNotFound):
            warm.hold_seat(hall.id, f"client {number}", "nonsense")

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(ask, range(20)))
    assert reads.count("version") <= 5, "one under way, and one for all who wait meanwhile"
