"""The end of a sale, as Redis keeps it: by the file, or at once by the organiser."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.factories import BUYER, lose_event, put_on_sale, small_hall, unique
from tests.support.redis_stores import commands_of
from web.domain.refusals import SaleClosed, SeatTaken
from web.domain.sales import HoldStatus

NOW = datetime.now(UTC)


def on_sale(seats, **changes):
    event = small_hall(**changes)
    put_on_sale(seats, event)
    return event


def hold(seats, event, position=0):
    return seats.hold_seats(event, unique("hld"), unique("ada"), [position])


@pytest.mark.parametrize(
    "changes",
    [{"sale_closes_at": NOW - timedelta(seconds=1)}, {"declared_status": "cancelled"}],
)
def test_nothing_is_held_after_the_end_of_the_sale(seats, changes):
    event = on_sale(seats, **changes)
    with pytest.raises(SaleClosed):
        hold(seats, event)
    with pytest.raises(SaleClosed):
        seats.hold_best(event, unique("hld"), "ada", event.sections[0], 2)


def test_a_sale_ends_by_the_clock_of_redis(seats):
    event = on_sale(seats, sale_closes_at=NOW + timedelta(hours=1))
    hold(seats, event)


def test_an_event_without_an_end_of_its_sale_is_sold(seats):
    hold(seats, on_sale(seats, timezone=None, starts_at=None, sale_closes_at=None))


def test_a_new_end_in_the_file_counts_at_once(seats):
    event = on_sale(seats)
    ended = small_hall(sale_closes_at=NOW - timedelta(seconds=1))
    ended = type(event)(**{**vars_of(ended), "id": event.id})
    seats.open_event(ended, sold=[])
    with pytest.raises(SaleClosed):
        hold(seats, ended)
    seats.open_event(event, sold=[])
    hold(seats, event)


def vars_of(event):
    return {name: getattr(event, name) for name in event.__dataclass_fields__}


def test_a_sale_that_is_closed_by_hand_can_be_opened_again(seats):
    event = on_sale(seats)
    assert seats.closed_sales([event.id]) == {}
    assert seats.close_sale(event.id)
    assert not seats.close_sale(event.id), "it is closed"
    assert seats.closed_sales([event.id, "no such event"]).keys() == {event.id}
    with pytest.raises(SaleClosed):
        hold(seats, event)
    seats.open_event(event, sold=["stalls-B-1"])
    with pytest.raises(SaleClosed):
        hold(seats, event)
    assert seats.reopen_sale(event.id)
    assert not seats.reopen_sale(event.id)
    hold(seats, event)


def test_what_is_held_when_a_sale_is_closed_can_be_paid(seats):
    event = on_sale(seats)
    held = hold(seats, event)
    seats.close_sale(event.id)
    payment = seats.begin_payment(event, held.id, BUYER, "key", "fingerprint")
    assert seats.renew_lease(payment)
    assert seats.read_hold(event, held.id).status is HoldStatus.PAYING


def test_the_answer_to_a_repeated_hold_is_the_hold(seats):
    """redis-py sends a call again when the reply to it was lost."""
    event = on_sale(seats)
    hold_id = unique("hld")
    first = seats.hold_seats(event, hold_id, "ada", [0])
    seats.close_sale(event.id)
    assert seats.hold_seats(event, hold_id, "ada", [0]).seats == first.seats


def test_a_seat_that_is_taken_is_taken_until_the_end(seats):
    event = on_sale(seats)
    hold(seats, event)
    with pytest.raises(SeatTaken):
        hold(seats, event)


def test_an_event_that_redis_lost_is_sold_as_its_file_says(seats):
    event = on_sale(seats)
    seats.close_sale(event.id)
    lose_event(commands_of(seats, event.id), event.id)
    put_on_sale(seats, event)
    hold(seats, event)
