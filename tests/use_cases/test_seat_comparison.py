"""Which of the worker's comparisons finds what, and what it reads for that; on real Redis and
MongoDB."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.factories import a_booking, put_on_sale, small_hall, unique
from tests.support.shop import Shop, problems, reconciler_of
from web.adapters.stripe.gateway import StripeGateway
from web.domain.refusals import Unavailable
from web.use_cases import seat_comparison
from web.use_cases.opening import Opening
from web.use_cases.refunds import Refunds

AT_ONCE = timedelta(0)
NOT_NOW = timedelta(days=1)


@pytest.fixture(autouse=True)
def no_other_events(raw_redis):
    raw_redis.flushdb()


@pytest.fixture
def shop(event, seats, bookings, sandbox):
    return Shop(event, seats, bookings, StripeGateway("sk_test_comparing", sandbox.url))


@pytest.fixture
def worker(shop, monkeypatch):
    """It has compared the event as a whole, twice. From now on it looks at it in every round in
    which it has changed, and compares no portion until ``compare_portions``."""
    monkeypatch.setattr(seat_comparison, "LAST_STEP", AT_ONCE)
    monkeypatch.setattr(seat_comparison, "LOOK_EVERY", AT_ONCE)
    monkeypatch.setattr(seat_comparison, "WHOLE_EVERY", NOT_NOW)
    worker = reconciler_of(shop)
    for _ in range(2):
        worker.round()
    return worker


@pytest.fixture
def compare_portions(monkeypatch):
    """From now on, one in each round."""

    def compare() -> None:
        monkeypatch.setattr(seat_comparison, "WHOLE_EVERY", AT_ONCE)
        monkeypatch.setattr(seat_comparison, "PORTION_EVERY", AT_ONCE)

    return compare


@pytest.fixture
def asked(shop, monkeypatch):
    """What MongoDB is asked for when sold seats are read."""
    asked = []
    sold_seats = shop.bookings._target.sold_seats

    def read(event_id: str, **which) -> list[str]:
        asked.append(which)
        return sold_seats(event_id, **which)

    monkeypatch.setattr(shop.bookings._target, "sold_seats", read)
    return asked


def change_something(shop: Shop) -> None:
    hold, token = shop.box_office.hold_best(shop.event.id, unique("client"), "floor", 1)
    shop.box_office.release(replace(shop.ref, hold_id=hold.id, token=token))


def insert(shop: Shop, seat: str, ago: timedelta = AT_ONCE) -> str:
    """A booking of which Redis does not know; returns its id."""
    booking = a_booking(shop.event.id, seat)
    shop.bookings._target.insert(replace(booking, booked_at=booking.booked_at - ago))
    return booking.id


def state_of(shop: Shop, seat: str) -> str:
    seats = shop.seats._target.read_seats(shop.event.id).seats
    return seats[shop.event.positions[seat]]


def change_by_hand(shop: Shop, booking_id: str, **changes) -> None:
    shop.bookings._target._collection.update_one({"_id": booking_id}, {"$set": changes})


def refund_by_hand(shop: Shop, booking_id: str) -> None:
    """In MongoDB alone."""
    change_by_hand(shop, booking_id, status="refunded", refunded_at=datetime.now(UTC))


def test_a_look_reads_the_bookings_made_since_the_one_before(shop, worker, asked):
    change_something(shop)
    began = shop.seats._target.now(shop.event.id)
    worker.round()
    change_something(shop)
    worker.round()
    assert [list(which) for which in asked] == [["since"], ["since"]]
    before, now = (which["since"] + seat_comparison.LATE for which in asked)
    assert before < began <= now


def test_a_booking_that_redis_does_not_know_is_found_by_the_next_look(shop, worker):
    insert(shop, "stalls-A-1")
    change_something(shop)
    worker.round()
    assert state_of(shop, "stalls-A-1") == "s"
    assert worker.repairs["marked sold"] == 1


def test_also_when_it_came_so_late_that_a_look_was_before_it(shop, worker):
    """Its process stood still, or MongoDB carried out the insert when its caller had given up."""
    for _ in range(2):
        change_something(shop)
        worker.round()
    insert(shop, "stalls-A-1", ago=seat_comparison.LATE - timedelta(seconds=5))
    change_something(shop)
    worker.round()
    assert state_of(shop, "stalls-A-1") == "s"


def test_also_when_the_clock_of_redis_was_ahead_and_is_right_now(shop, worker, monkeypatch):
    now = shop.seats._target.now
    with monkeypatch.context() as wrong_clock:
        wrong_clock.setattr(
            shop.seats._target, "now", lambda event_id: now(event_id) + timedelta(hours=1)
        )
        change_something(shop)
        worker.round()
    insert(shop, "stalls-A-1")
    change_something(shop)
    worker.round()
    assert state_of(shop, "stalls-A-1") == "s"


def test_also_when_nothing_else_has_changed_but_later(shop, worker, monkeypatch):
    insert(shop, "stalls-A-1")
    worker.round()
    assert state_of(shop, "stalls-A-1") == "0"
    monkeypatch.setattr(seat_comparison, "QUIET_LOOK_EVERY", AT_ONCE)
    worker.round()
    assert state_of(shop, "stalls-A-1") == "s"


def test_a_booking_that_is_older_than_any_look_goes_back_is_found_with_its_portion(
    shop, worker, compare_portions
):
    insert(shop, "stalls-A-1", ago=timedelta(days=20))
    change_something(shop)
    worker.round()
    assert state_of(shop, "stalls-A-1") == "0"
    compare_portions()
    worker.round()
    assert state_of(shop, "stalls-A-1") == "s"


def test_a_booking_that_was_refunded_by_hand_is_found_with_its_portion(
    shop, worker, compare_portions
):
    shop.pay()
    worker.round()
    refund_by_hand(shop, shop.booking().id)
    change_something(shop)
    worker.round()
    assert shop.state() == "s"
    compare_portions()
    worker.round()
    assert shop.state() == "0"
    assert worker.repairs["returned"] == 1


def test_a_sold_seat_whose_booking_was_deleted_by_hand_stays_sold(shop, worker, compare_portions):
    shop.pay()
    shop.bookings._target._collection.delete_one({"_id": shop.booking().id})
    compare_portions()
    worker.round()
    assert shop.state() == "s"
    assert not worker.repairs


def test_a_booking_by_hand_of_a_seat_that_the_hall_does_not_have_is_named_and_holds_up_no_refund(
    shop, worker, compare_portions, caplog
):
    shop.pay()
    refund_by_hand(shop, shop.booking().id)
    insert(shop, "stalls-Z-99")
    compare_portions()
    worker.round()
    assert shop.state() == "0"
    assert "the file no longer has seats that are sold: stalls-Z-99" in caplog.text
    assert "unexpected" not in caplog.text


def test_an_event_that_is_opened_with_seats_that_are_being_refunded_gets_them_back_at_the_next_look(
    shop, worker
):
    booking_id = shop.pay().receipt.booking_id
    worker.round()
    sold = shop.bookings.sold_seats(shop.event.id)
    Refunds(shop.catalogue, shop.seats, shop.bookings, shop.gateway).refund(booking_id)
    shop.bookings.sold_seats = lambda event_id: sold
    Opening(shop.catalogue, shop.seats, shop.bookings, shop.gateway).open_event(shop.event)
    del shop.bookings.sold_seats
    assert shop.state() == "s"
    for _ in range(2):
        worker.round()
    assert shop.state() == "0"
    assert problems(shop) == ""


def confirm_after_refund(shop: Shop) -> None:
    """A process that stood still since it booked, marks the seat as sold; it was refunded since."""
    booking = shop.booking()
    Refunds(shop.catalogue, shop.seats, shop.bookings, shop.gateway).refund(booking.id)
    shop.seats.confirm_booking(shop.event, booking)
    assert shop.state() == "s"


def test_a_seat_that_is_marked_as_sold_after_its_refund_is_back_on_sale_at_the_next_look(
    shop, worker
):
    shop.pay()
    worker.round()
    confirm_after_refund(shop)
    worker.round()
    assert shop.state() == "0"
    assert worker.repairs == {"returned": 1}


def test_a_booking_that_is_confirmed_late_is_looked_up_by_its_seats(shop, worker, asked):
    """Its payment had broken off. All refunded bookings would be many to search."""
    booking_id = insert(shop, "stalls-A-1", ago=timedelta(days=2))
    shop.seats.confirm_booking(shop.event, shop.bookings._target.find(booking_id))
    shop.bookings.calls.clear()
    worker.round()
    assert asked[1:] == [{"among": ["stalls-A-1"]}]
    assert "refunded" not in shop.bookings.calls


def test_in_a_rush_that_is_found_with_its_portion(shop, worker, compare_portions, monkeypatch):
    monkeypatch.setattr(seat_comparison, "CHANGES_READ", 1)
    shop.pay()
    worker.round()
    confirm_after_refund(shop)
    worker.round()
    assert shop.state() == "s"
    compare_portions()
    worker.round()
    assert shop.state() == "0"


def test_who_holds_pays_and_is_booked_during_a_look_is_nothing_to_repair(shop, worker, monkeypatch):
    sold_seats = shop.bookings._target.sold_seats

    def read(event_id: str, **which) -> list[str]:
        monkeypatch.setattr(shop.bookings._target, "sold_seats", sold_seats)
        shop.hold_again("stalls-A-1")
        shop.pay()
        return sold_seats(event_id, **which)

    change_something(shop)
    monkeypatch.setattr(shop.bookings._target, "sold_seats", read)
    worker.round()
    assert shop.state() == "s"
    assert not worker.repairs


# ---------------------------------------------------------------- portions


@pytest.fixture
def portions_of_ten(monkeypatch):
    monkeypatch.setattr(seat_comparison, "PORTION_SEATS", 10)
    monkeypatch.setattr(seat_comparison, "URGENT_SEATS", 10)
    monkeypatch.setattr(seat_comparison, "FEWEST_SEATS", 1)


def test_a_portion_has_only_so_many_seats_and_all_have_their_turn(
    shop, worker, asked, compare_portions, portions_of_ten
):
    compare_portions()
    for _ in range(8):
        worker.round()
    seats = shop.event.seats
    portions = [seats[first : first + 10] for first in range(0, len(seats), 10)]
    assert [which["among"] for which in asked] == 2 * portions


def test_a_sold_seat_of_a_later_portion_is_compared_with_its_own_booking(
    shop, worker, compare_portions, portions_of_ten
):
    last = shop.event.seats[-1]
    shop.hold_again(last)
    shop.pay()
    worker.round()
    refund_by_hand(shop, shop.booking().id)
    compare_portions()
    for _ in range(8):
        worker.round()
    assert state_of(shop, last) == "0"


def test_a_portion_is_of_several_small_events(shop, worker, seats, compare_portions, monkeypatch):
    halls = [shop.event]
    for _ in range(3):
        halls.append(small_hall())
        put_on_sale(seats, halls[-1])
    for _ in range(3):
        worker.round()
    monkeypatch.setattr(seat_comparison, "PORTION_SEATS", 2 * len(shop.event.seats))
    monkeypatch.setattr(seat_comparison, "FEWEST_SEATS", 1)
    compare_portions()
    read = []
    read_seats = seats.read_seats
    monkeypatch.setattr(seats, "read_seats", lambda e: read.append(e) or read_seats(e))
    worker.round()
    assert len(read) == 2
    worker.round()
    assert {*read} == {hall.id for hall in halls}


def test_between_two_portions_there_is_a_pause(
    shop, worker, asked, compare_portions, portions_of_ten, monkeypatch
):
    compare_portions()
    monkeypatch.setattr(seat_comparison, "PORTION_EVERY", NOT_NOW)
    for _ in range(3):
        worker.round()
    assert len(asked) == 1


def test_a_worker_that_starts_compares_the_largest_hall_at_once(shop, portions_of_ten, asked):
    """Without pauses between its portions."""
    insert(shop, shop.event.seats[-1], ago=timedelta(days=20))
    worker = reconciler_of(shop)
    worker.round()
    assert state_of(shop, shop.event.seats[-1]) == "s"


def test_while_a_large_hall_is_compared_looks_go_on(
    shop, worker, compare_portions, portions_of_ten
):
    compare_portions()
    worker.round()
    insert(shop, "stalls-A-1")
    change_something(shop)
    worker.round()
    assert state_of(shop, "stalls-A-1") == "s"


def test_what_is_booked_while_a_large_hall_is_compared_is_looked_for_from_the_last_look_on(
    shop, worker, asked, compare_portions, portions_of_ten
):
    """Its own portion may come in an hour."""
    looked = shop.seats._target.now(shop.event.id)
    compare_portions()
    worker.round()
    change_something(shop)
    worker.round()
    (since,) = (which["since"] for which in asked if "since" in which)
    assert since + seat_comparison.LATE <= looked


def test_a_portion_that_cannot_be_read_now_is_read_later(
    shop, worker, compare_portions, portions_of_ten
):
    insert(shop, "stalls-A-1", ago=timedelta(days=20))
    compare_portions()
    shop.bookings.fail("sold_seats", Unavailable("bookings"))
    worker.round()
    assert state_of(shop, "stalls-A-1") == "0"
    shop.bookings.heal()
    worker.round()
    assert state_of(shop, "stalls-A-1") == "s"
