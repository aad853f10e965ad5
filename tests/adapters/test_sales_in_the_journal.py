"""What the journal says was sold between two revisions, on a real Redis."""

import pytest

from tests.support.factories import a_booking, unique
from tests.support.redis_stores import commands_of
from web.adapters.redis import seat_store
from web.domain.refusals import EventChanged


@pytest.fixture
def since(seats, event) -> int:
    return revision(seats, event)


def revision(seats, event) -> int:
    return seats.read_seats(event.id).revision


def sell(seats, event, *sold: str):
    booking = a_booking(event.id, *sold)
    seats.confirm_booking(event, booking)
    return booking


def hold_and_release(seats, event) -> None:
    hold_id = unique("hld")
    seats.hold_seats(event, hold_id, "a client", [0])
    seats.release_hold(event.id, hold_id)


def test_what_was_sold_and_nothing_that_was_only_held(seats, event, since):
    sell(seats, event, "stalls-B-1", "stalls-B-2")
    hold_and_release(seats, event)
    sell(seats, event, "stalls-A-5")
    until = revision(seats, event)
    sell(seats, event, "stalls-A-6")
    sold = seats.sold_between(event, since, until)
    assert sold == ("stalls-A-5", "stalls-B-1", "stalls-B-2")


def test_also_what_was_refunded_since(seats, event, since):
    booking = sell(seats, event, "stalls-B-1")
    seats.return_seats(event, booking, booking.seats)
    assert seats.sold_between(event, since, revision(seats, event)) == ("stalls-B-1",)


def test_nothing_when_nothing_has_changed(seats, event, since):
    assert seats.sold_between(event, since, since) == ()


def test_a_long_journal_is_read_in_pages(seats, event, since, monkeypatch):
    monkeypatch.setattr(seat_store, "JOURNAL_PAGE", 2)
    for seat in event.seats[:5]:
        sell(seats, event, seat)
    assert seats.sold_between(event, since, revision(seats, event)) == event.seats[:5]


def test_it_does_not_tell_when_the_whole_map_was_replaced_meanwhile(seats, event, since):
    sell(seats, event, "stalls-B-1")
    seats.open_event(event, sold=["stalls-B-1", "stalls-B-2"])
    assert seats.sold_between(event, since, revision(seats, event)) is None


def test_it_does_not_tell_when_it_was_trimmed(seats, event, since):
    for seat in event.seats[:3]:
        sell(seats, event, seat)
    commands = commands_of(seats, event.id)
    commands.xtrim(f"journal:{{{event.id}}}", maxlen=1, approximate=False)
    assert seats.sold_between(event, since, revision(seats, event)) is None


def test_positions_of_another_definition_are_not_taken_for_its_seats(seats, event, since):
    sell(seats, event, "stalls-B-1")
    commands_of(seats, event.id).hset(f"event:{{{event.id}}}", "version", "another")
    with pytest.raises(EventChanged):
        seats.sold_between(event, since, since + 1)
