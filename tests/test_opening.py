"""Events on sale follow their files and the bookings, and never un-sell a seat."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.factories import BUYER, FLOOR, FREE, STALLS, numbers, small_hall, unique
from web.domain import (
    Booking,
    EventChanged,
    EventNotFound,
    HoldExpired,
    Row,
    SeatTaken,
    Unavailable,
)
from web.stores.seat_store import CATALOGUE_KEY, RedisSeatStore
from web.use_cases.opening import OpeningRefused, open_events


@pytest.fixture
def hall(seats, bookings):
    made = small_hall()
    open_events([made], seats, bookings)
    return made


def sell(hall, bookings, *sold: str) -> Booking:
    hold_id = unique("hld")
    return bookings.insert(
        Booking(
            id=hold_id.replace("hld", "bkg"),
            hold_id=hold_id,
            event_id=hall.id,
            seats=sold,
            amount_minor=1,
            currency="GBP",
            payment_id=None,
            booked_at=datetime.now(UTC).replace(microsecond=0),
            email="ada@example.org",
            name="Ada",
            key_digest="k",
            fingerprint="f",
        )
    )


def seat_map(seats, hall) -> str:
    return seats.read_seats(hall.id).seats


def with_sections(hall, *sections):
    return replace(hall, sections=sections)


def test_opening_again_changes_nothing(seats, bookings, hall):
    before = seats.read_seats(hall.id)
    assert open_events([hall], seats, bookings) == {hall.id: False}
    assert seats.read_seats(hall.id) == before


def test_opening_again_keeps_what_is_held_and_paid(seats, bookings, hall):
    seats.hold_seats(hall, unique("hld"), "ada", [0, 1])
    open_events([replace(hall, name="Another name")], seats, bookings)
    assert seat_map(seats, hall)[:3] == "hh0"


def test_sold_seats_come_from_mongodb_when_redis_has_lost_the_event(seats, bookings, hall):
    sell(hall, bookings, "stalls-A-2", "floor-GA-12")
    revision = seats.read_seats(hall.id).revision
    seats._redis.delete(*seats._redis.keys(f"*{{{hall.id}}}*"))
    with pytest.raises(Unavailable):
        seats.read_seats(hall.id)
    open_events([hall], seats, bookings)
    after = seats.read_seats(hall.id)
    assert [hall.seats[p] for p, s in enumerate(after.seats) if s == "s"] == [
        "stalls-A-2",
        "floor-GA-12",
    ]
    assert after.revision > revision, "a client that knew the former map sees a newer one"
    with pytest.raises(SeatTaken):
        seats.hold_seats(hall, unique("hld"), "ada", [1])


def test_a_seat_that_mongodb_has_sold_is_marked_whatever_redis_thought(seats, bookings, hall):
    hold = seats.hold_seats(hall, unique("hld"), "ada", [0, 1])
    sell(hall, bookings, "stalls-A-1")
    assert open_events([hall], seats, bookings) == {hall.id: True}
    assert seat_map(seats, hall)[:3] == "sh0"
    with pytest.raises(HoldExpired):
        seats.begin_payment(hall, hold.id, BUYER, "key", "fingerprint")
    assert seat_map(seats, hall)[:3] == "s00"


def test_a_new_price_is_that_of_the_next_hold(seats, bookings, hall):
    before = seats.hold_seats(hall, unique("hld"), "ada", [0])
    dearer = with_sections(hall, replace(STALLS, price_minor=9900), FLOOR, FREE)
    open_events([dearer], seats, bookings)
    assert seats.read_hold(dearer, before.id).amount_minor == 2500
    assert seats.hold_seats(dearer, unique("hld"), "ada", [1]).amount_minor == 9900


def test_who_knows_the_old_definition_is_told_to_look_again(seats, bookings, hall):
    open_events([replace(hall, name="Another name")], seats, bookings)
    with pytest.raises(EventChanged):
        seats.hold_seats(hall, unique("hld"), "ada", [0])
    assert seats.known_event(hall.id).name == "Another name"


def test_seats_can_be_added_at_the_end_of_a_hall(seats, bookings, hall):
    sell(hall, bookings, "free-F-6")
    seats.hold_seats(hall, unique("hld"), "ada", [0])
    larger = with_sections(hall, STALLS, FLOOR, replace(FREE, rows=(Row("F", (numbers(1, 9),)),)))
    open_events([larger], seats, bookings)
    assert seat_map(seats, hall) == "h" + "0" * 36 + "s" + "000"


@pytest.mark.parametrize("how", ["sold", "held"])
def test_a_file_that_renumbers_a_taken_seat_is_refused_and_changes_nothing(
    seats, bookings, hall, how
):
    if how == "sold":
        sell(hall, bookings, "stalls-B-3")
        open_events([hall], seats, bookings)
    else:
        seats.hold_seats(hall, unique("hld"), "ada", [hall.positions["stalls-B-3"]])
    before = seats.read_seats(hall.id)
    row_0 = Row("0", (numbers(1, 2),))
    renumbered = with_sections(hall, replace(STALLS, rows=(row_0, *STALLS.rows)), FLOOR, FREE)
    with pytest.raises(OpeningRefused, match="stalls-B-3"):
        open_events([renumbered], seats, bookings)
    assert seats.read_seats(hall.id) == before
    assert seats.current_event(hall.id).version == hall.version


def test_a_file_without_a_sold_seat_is_refused_even_when_redis_is_empty(seats, bookings, hall):
    sell(hall, bookings, "free-F-6")
    seats._redis.delete(*seats._redis.keys(f"*{{{hall.id}}}*"))
    smaller = with_sections(hall, STALLS, FLOOR)
    with pytest.raises(OpeningRefused, match="no longer has seats that are sold: free-F-6"):
        open_events([smaller], seats, bookings)


def test_free_seats_may_go_and_move(seats, bookings, hall):
    open_events([with_sections(hall, FLOOR, STALLS)], seats, bookings)
    assert seat_map(seats, hall) == "0" * 32


def test_nothing_in_redis_is_not_the_same_as_no_such_event(seats, redis_server, hall):
    with pytest.raises(EventNotFound):
        seats.current_event("nobody-opened-this")
    listed = unique("listed")
    seats.announce([listed])
    with pytest.raises(Unavailable):
        seats.current_event(listed)
    seats._redis.srem(CATALOGUE_KEY, listed)

    catalogue = seats._redis.smembers(CATALOGUE_KEY)
    seats._redis.delete(CATALOGUE_KEY)
    try:
        with pytest.raises(Unavailable):
            seats.current_event("nobody-opened-this")
        with pytest.raises(Unavailable):
            seats.event_ids()
    finally:
        seats._redis.sadd(CATALOGUE_KEY, *catalogue)


def test_two_processes_that_open_at_once_agree(seats, bookings):
    hall = small_hall()
    other = RedisSeatStore(seats._redis)

    class Interrupting(RedisSeatStore):
        """Another process opens the event between this one's look and its change."""

        def current_event(self, event_id):
            try:
                return super().current_event(event_id)
            finally:
                if not seats._redis.exists(f"event:{{{event_id}}}"):
                    other.open_event(replace(hall, name="Another name"), sold=[])

    assert open_events([hall], Interrupting(seats._redis), bookings) == {hall.id: True}
    assert seats.current_event(hall.id).name == hall.name
