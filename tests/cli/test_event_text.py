"""Each change of a definition is a line of words, and none is left out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.support.factories import FLOOR, FREE, SMALL_HALL, STALLS, numbers
from web.cli.event_text import changes, described, opening_time, state_of_sale, warnings
from web.domain.events import Availability, Row


def with_stalls(**changed):
    return replace(SMALL_HALL, sections=(replace(STALLS, **changed), FLOOR, FREE))


@pytest.mark.parametrize(
    ("after", "line"),
    [
        (replace(SMALL_HALL, name="Late"), "name Late, was A small evening"),
        (replace(SMALL_HALL, venue="Barn"), "venue Barn, was Small Hall"),
        (
            replace(SMALL_HALL, sale_opens_at=datetime(2036, 1, 12, 9, 30, 5, tzinfo=UTC)),
            (
                "opening Saturday 12 January 2036, 09:30:05 GMT, "
                "was Thursday 1 January 2026, 00:00 GMT"
            ),
        ),
        (replace(SMALL_HALL, hold_ms=90_000), "time of a hold 1 minute 30 seconds, was 1 minute"),
        (replace(SMALL_HALL, hold_ms=100), "time of a hold 0.1 seconds, was 1 minute"),
        (replace(SMALL_HALL, max_seats_per_hold=4), "seats in a hold, at most 4, was 6"),
        (
            replace(SMALL_HALL, max_held_per_client=9),
            "unpaid seats of one connection, at most 9, was 8",
        ),
        (
            replace(SMALL_HALL, max_held_per_network=40),
            "limit of unpaid seats of one network 40, was the default",
        ),
        (with_stalls(price_minor=0), "Stalls: free of charge, was £25.00"),
        (with_stalls(price_minor=2550), "Stalls: £25.50, was £25.00"),
        (with_stalls(name="Pit"), "Pit: new name, was Stalls"),
        (with_stalls(rows=STALLS.rows[:2]), "Stalls: 16 seats, was 20"),
        (
            with_stalls(rows=(*STALLS.rows[:2], Row("C", (numbers(1, 4),)))),
            "Stalls: 20 seats as before, in other rows or places",
        ),
        (replace(SMALL_HALL, sections=(STALLS, FLOOR)), "Free of charge: gone, with 6 seats"),
        (
            replace(SMALL_HALL, sections=(*SMALL_HALL.sections, replace(FLOOR, id="b", name="B"))),
            "B: new, 12 × £15.00",
        ),
        (replace(SMALL_HALL, sections=(FLOOR, STALLS, FREE)), "sections in another order"),
    ],
)
def test_a_change_is_told_with_what_it_was(after, line):
    assert changes(SMALL_HALL, after) == [line]


def test_another_currency_is_told_with_each_price_in_it():
    assert changes(SMALL_HALL, replace(SMALL_HALL, currency="JPY")) == [
        "currency JPY, was GBP",
        "Stalls: JP¥2,500, was £25.00",
        "Floor: JP¥1,500, was £15.00",
        "Free of charge: free of charge, was free of charge",
    ]


def test_the_same_definition_is_no_change():
    assert changes(SMALL_HALL, replace(SMALL_HALL)) == []


def test_times_are_in_the_time_zone_of_the_venue():
    hall = replace(SMALL_HALL, timezone="America/New_York")
    assert opening_time(replace(hall, sale_opens_at=datetime(2036, 7, 10, 14, tzinfo=UTC))) == (
        "on sale from Thursday 10 July 2036, 10:00 EDT to Saturday 12 December 2099, 14:30 EST"
    )
    assert "Thursday 1 January 2026, 00:00 GMT (open already) to" in opening_time(SMALL_HALL)


def test_a_definition_from_before_events_had_zones_has_that_of_its_opening():
    there = timezone(timedelta(hours=-5))
    hall = replace(SMALL_HALL, timezone=None, starts_at=None, sale_closes_at=None)
    assert opening_time(replace(hall, sale_opens_at=datetime(2036, 1, 10, 10, tzinfo=there))) == (
        "on sale from Thursday 10 January 2036, 10:00 UTC-05:00"
    )


def test_one_seat_is_no_seats():
    one = replace(FLOOR, rows=(Row("GA", (numbers(1, 1),)),))
    lines = described(replace(SMALL_HALL, sections=(one,), max_seats_per_hold=1, hold_ms=60_500))
    assert lines[3].startswith("1 seat, on sale from")
    assert lines[4].startswith("at most 1 seat in a hold, for 60.5 seconds; ")
    smaller = replace(SMALL_HALL, sections=(STALLS, one, FREE))
    assert changes(SMALL_HALL, smaller) == ["Floor: 1 seat, was 12"]


def test_prices_stand_below_each_other():
    assert described(SMALL_HALL)[2:5] == [
        "Stalls          20 × £25.00",
        "Floor           12 × £15.00",
        "Free of charge   6 × free of charge",
    ]


@pytest.mark.parametrize(
    ("currency", "price", "says"),
    [
        ("GBP", 45, "£0.45 a seat; prices are in the smallest unit, so that £45.00 is 4500"),
        ("KWD", 250, "so that KWD250.000 is 250000"),
        ("GBP", 100, None),
        ("GBP", 0, None),
        ("JPY", 50, None),
    ],
)
def test_a_price_below_one_of_its_currency_is_warned_of(currency, price, says):
    hall = replace(with_stalls(price_minor=price), currency=currency)
    told = " ".join(warnings(hall)).replace("\xa0", "")
    assert says in told if says else not told


@pytest.mark.parametrize(
    ("states", "opens_at", "state"),
    [
        ("0hs", datetime(2036, 1, 1, tzinfo=UTC), "not open yet"),
        ("0hs", datetime(2026, 1, 1, tzinfo=UTC), "on sale"),
        ("hps", datetime(2026, 1, 1, tzinfo=UTC), "none available"),
        ("sss", datetime(2026, 1, 1, tzinfo=UTC), "sold out"),
    ],
)
def test_the_state_of_a_sale(states, opens_at, state):
    hall = replace(SMALL_HALL, sale_opens_at=opens_at)
    now = datetime(2026, 6, 1, tzinfo=UTC)
    assert state_of_sale(hall, Availability.of(states), now) == state


@pytest.mark.parametrize(
    ("changes", "is_closed", "state"),
    [
        ({"declared_status": "cancelled"}, False, "cancelled"),
        ({"declared_status": "postponed"}, False, "on sale"),
        ({"sale_closes_at": datetime(2026, 5, 1, tzinfo=UTC)}, False, "closed"),
        ({}, True, "closed"),
        ({"sale_opens_at": datetime(2036, 1, 1, tzinfo=UTC)}, True, "closed"),
    ],
)
def test_the_state_of_a_sale_that_has_ended(changes, is_closed, state):
    now = datetime(2026, 6, 1, tzinfo=UTC)
    hall, seats = replace(SMALL_HALL, **changes), Availability.of("0hs")
    assert state_of_sale(hall, seats, now, is_closed=is_closed) == state
