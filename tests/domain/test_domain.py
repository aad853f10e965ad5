from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from tests.support.factories import FLOOR, FREE, SMALL_HALL, STALLS, small_hall
from web.domain.events import Event
from web.domain.sales import booking_id_of, hold_id_of


def test_seats_stand_in_the_order_of_the_file():
    assert SMALL_HALL.seats[:2] == ("stalls-A-1", "stalls-A-2")
    assert SMALL_HALL.seats[19:21] == ("stalls-C-5", "floor-GA-1")
    assert SMALL_HALL.positions["free-F-6"] == len(SMALL_HALL.seats) - 1 == 37


def test_the_amount_is_the_sum_of_the_sections_prices():
    positions = [SMALL_HALL.positions[s] for s in ("stalls-A-1", "floor-GA-3", "free-F-1")]
    assert SMALL_HALL.amount_minor(positions) == 2500 + 1500 + 0


def test_the_first_block_of_a_row_begins_it():
    blocks = [(block.start, block.begins_row) for block in SMALL_HALL.spans["stalls"].blocks]
    assert blocks == [(0, True), (4, False), (8, True), (16, True), (19, False)]


def test_any_change_of_a_definition_gives_another_version():
    later = SMALL_HALL.sale_opens_at + timedelta(seconds=1)
    assert replace(SMALL_HALL, sale_opens_at=later).version != SMALL_HALL.version
    assert replace(SMALL_HALL, name="Another evening").version != SMALL_HALL.version
    copy = msgspec.json.decode(SMALL_HALL.definition, type=Event)
    assert copy.version == SMALL_HALL.version
    assert copy.seats == SMALL_HALL.seats


def test_a_hold_and_its_booking_name_each_other():
    assert hold_id_of(booking_id_of("hld_0123")) == "hld_0123"


@pytest.mark.parametrize(
    ("change", "is_another"),
    [
        ({"name": "Another evening", "hold_ms": 1, "max_seats_per_hold": 1}, False),
        ({"sections": (replace(STALLS, name="Parterre"), FLOOR, FREE)}, False),
        ({"sections": (replace(STALLS, price_minor=1), FLOOR, FREE)}, True),
        ({"sections": (FLOOR, STALLS, FREE)}, True),
        ({"sections": (replace(STALLS, rows=STALLS.rows[1:]), FLOOR, FREE)}, True),
        ({"currency": "EUR"}, True),
    ],
)
def test_the_layout_is_another_when_seats_or_prices_are(change, is_another):
    hall = small_hall()
    assert (replace(hall, **change).layout != hall.layout) is is_another
