"""Which seats are the best, against a plain search; also in halls too large to search each time."""

import random
from dataclasses import replace

from tests.support.factories import STALLS, numbers, put_on_sale, small_hall, unique
from tests.support.model import Model
from web.domain.events import Event, Row
from web.domain.refusals import SoldOut

MAPS = 400
SEATS_OF_A_LARGE_HALL = 3_000
"""More than hold_best searches each time."""


def best(seats, hall: Event, section_id: str, quantity: int) -> tuple[str, ...] | None:
    """Where the seats are that a hold gets; it is given back."""
    section = hall.section_of[section_id]
    try:
        hold = seats.hold_best(hall, unique("hld"), "ada", section, quantity)
    except SoldOut:
        return None
    seats.release_hold(hall.id, hold.id)
    return hold.seats


def paint(redis_client, hall: Event, states: str) -> None:
    redis_client.set(f"seats:{{{hall.id}}}", states)


def test_in_any_hall_the_best_seats_are_those_that_a_plain_search_finds(seats, redis_client, event):
    chance = random.Random(1)
    for _ in range(MAPS):
        weights = [chance.choice([1, 2, 5]), 2]
        states = "".join(chance.choices("0s", weights, k=len(event.seats)))
        section_id, quantity = chance.choice(list(event.spans)), chance.randint(1, 6)
        paint(redis_client, event, states)
        model = Model(event)
        model.hall = list(states)
        expected = model.best(section_id, quantity)
        found = best(seats, event, section_id, quantity)
        assert found == (event.seats_at(expected) if expected else None), (states, quantity)


def test_what_was_searched_in_vain_is_searched_again_when_a_seat_was_freed(seats, redis_client):
    rows = tuple(Row(f"R{row}", (numbers(1, 10),)) for row in range(SEATS_OF_A_LARGE_HALL // 10))
    hall = small_hall(sections=(replace(STALLS, rows=rows),))
    put_on_sale(seats, hall)
    first = seats.hold_best(hall, unique("hld"), "eve", hall.sections[0], 2)
    paint(redis_client, hall, "s" * 4 + "hh" + "s" * (SEATS_OF_A_LARGE_HALL - 16) + "0" * 10)
    assert best(seats, hall, "stalls", 2) == ("stalls-R299-5", "stalls-R299-6")
    assert redis_client.hkeys(f"event:{{{hall.id}}}").count("searched:0:2") == 1
    seats.release_hold(hall.id, first.id)
    assert best(seats, hall, "stalls", 2) == first.seats
