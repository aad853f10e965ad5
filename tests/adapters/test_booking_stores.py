"""What a booking store does, for MongoDB, with and without users and TLS, and for the one of the
simulator alike."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pymongo
import pytest
from pymongo.errors import OperationFailure

from tests.simulator.bookings import SimulatedBookings, row_of
from tests.support.booking_stores import bookings_at
from tests.support.factories import a_booking, unique
from tests.support.guarded_mongodb import GuardedMongoDB, documented_actions
from tests.support.waiting import eventually
from web.adapters.mongodb.booking_store import MongoBookingStore
from web.domain.booking_search import search_for
from web.domain.references import reference_of
from web.domain.refusals import SeatTaken, Unavailable
from web.domain.sales import SeatRefund
from web.ports.booking_store import InsertUnknown, MinuteOfSales, Sales

pytestmark = pytest.mark.stores

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[GuardedMongoDB]:
    with GuardedMongoDB(tmp_path_factory.mktemp("guarded")) as server:
        yield server


@pytest.fixture(scope="module")
def least_privileged(guarded) -> MongoBookingStore:
    """With what docs/deploying.md says that it needs."""
    return bookings_at(guarded.url_for(documented_actions()))


@pytest.fixture(params=["MongoDB", "MongoDB with users and TLS", "simulated"])
def store(request):
    if request.param == "simulated":
        return SimulatedBookings()
    if request.param == "MongoDB":
        url = request.getfixturevalue("mongo_server").url
        store = bookings_at(url.replace("/tickets", "/booking_stores"))
    else:
        store = request.getfixturevalue("least_privileged")
    store.create_indexes()
    return store


@contextmanager
def sending_mails(store) -> Iterator[None]:
    """Inside, the shop sends mails: it records what buyers have to be told, as the simulated one
    always does."""
    store._sends_mails = True
    yield
    store._sends_mails = False


@pytest.fixture
def event_id():
    return unique("event")


def test_a_booking_is_found_as_it_was_inserted(store, event_id):
    booking = a_booking(event_id, "stalls-A-1", "stalls-A-2", payment_id="pi_1")
    assert store.insert(booking) == booking
    assert store.find(booking.id) == booking
    assert store.find_all([booking.id, "bkg_nobody"]) == {booking.id: booking}
    assert store.payment_ids([booking.id, "bkg_nobody"]) == {booking.id: "pi_1"}
    assert list(store.list(event_id)) == [booking]
    assert booking.id in store.ids_like(booking.id[:-1] + "?")


def test_what_is_not_there_is_not_found(store, event_id):
    assert store.find("bkg_nobody") is None
    assert store.find_all([]) == store.payment_ids([]) == {}
    assert store.holding(event_id, ["stalls-A-1"]) == []
    assert store.sold_seats(event_id) == []
    assert store.currencies(event_id) == set()
    assert list(store.list(event_id)) == []
    for change in (store.begin_refund, store.end_refund):
        change("bkg_nobody")
    store.mark_refunded("bkg_nobody", NOON)
    assert store.find("bkg_nobody") is None


def test_a_second_insert_of_a_hold_tells_what_the_first_one_stored(store, event_id):
    first = store.insert(a_booking(event_id, "stalls-A-1", payment_id="pi_1"))
    assert store.insert(replace(first, payment_id="pi_2")) == first
    assert store.find(first.id) == first


def test_a_seat_is_in_one_booking(store, event_id):
    first = store.insert(a_booking(event_id, "stalls-A-1", "stalls-A-2"))
    second = a_booking(event_id, "stalls-A-3", "stalls-A-2")
    with pytest.raises(SeatTaken) as taken:
        store.insert(second)
    assert taken.value.seats == ("stalls-A-2",)
    assert store.find(second.id) is None
    assert store.holding(event_id, second.seats) == [first]


def test_the_same_seat_of_another_event_is_another_seat(store, event_id):
    store.insert(a_booking(event_id, "stalls-A-1"))
    elsewhere = store.insert(a_booking(f"{event_id}-2", "stalls-A-1"))
    assert store.holding(f"{event_id}-2", ["stalls-A-1"]) == [elsewhere]
    assert store.sold_seats(event_id) == ["stalls-A-1"]


def test_sold_seats_can_be_those_of_the_bookings_made_lately(store, event_id):
    store.insert(replace(a_booking(event_id, "stalls-A-1"), booked_at=NOON))
    late = replace(a_booking(event_id, "stalls-A-2"), booked_at=NOON + timedelta(seconds=1))
    store.insert(late)
    refunded = store.insert(replace(late, id=unique("bkg"), seats=("stalls-A-3",)))
    store.mark_refunded(refunded.id, NOON)
    assert store.sold_seats(event_id, since=late.booked_at) == ["stalls-A-2"]
    assert {*store.sold_seats(event_id, since=NOON)} == {"stalls-A-1", "stalls-A-2"}


def test_sold_seats_can_be_those_among_others(store, event_id):
    store.insert(a_booking(event_id, "stalls-A-1", "stalls-A-2"))
    store.insert(a_booking(event_id, "stalls-A-3"))
    refunded = store.insert(a_booking(event_id, "stalls-A-4"))
    store.mark_refunded(refunded.id, NOON)
    among = ["stalls-A-2", "stalls-A-4", "stalls-A-5"]
    assert store.sold_seats(event_id, among=among) == ["stalls-A-2"]
    assert store.sold_seats(event_id, among=[]) == []


def test_a_refunded_seat_can_be_sold_again(store, event_id):
    first = store.insert(a_booking(event_id, "stalls-A-1"))
    with sending_mails(store):
        store.mark_refunded(first.id, NOON)
    refunded = replace(first, refunded_at=NOON, news={"refunded": NOON})
    assert store.find(first.id) == refunded
    assert store.refunded(event_id, ["stalls-A-1"]) == [refunded]
    assert store.sold_seats(event_id) == []
    assert store.currencies(event_id) == set()

    second = store.insert(a_booking(event_id, "stalls-A-1"))
    assert store.holding(event_id, ["stalls-A-1"]) == [second]
    assert store.insert(first) == refunded, "its hold is still the one of the refunded booking"


def test_a_refund_keeps_its_first_moment(store, event_id):
    booking = store.insert(a_booking(event_id, "stalls-A-1"))
    store.mark_refunded(booking.id, NOON)
    store.mark_refunded(booking.id, NOON + timedelta(hours=1))
    assert store.find(booking.id).refunded_at == NOON


def test_a_refund_that_was_begun_is_under_way_until_it_ends(store, event_id):
    booking = store.insert(a_booking(event_id, "stalls-A-1"))

    def under_way():
        return [found.id for found in store.unfinished_refunds() if found.event_id == event_id]

    assert under_way() == []
    store.begin_refund(booking.id)
    store.mark_refunded(booking.id, NOON)
    assert under_way() == [booking.id]
    store.end_refund(booking.id)
    assert under_way() == []


def test_bookings_are_listed_oldest_first(store, event_id):
    moments = [NOON + timedelta(seconds=seconds) for seconds in (2, 0, 1)]
    for number, moment in enumerate(moments):
        store.insert(replace(a_booking(event_id, f"stalls-A-{number}"), booked_at=moment))
    assert [booking.booked_at for booking in store.list(event_id)] == sorted(moments)


def test_the_refunded_seats_of_a_booking_can_be_sold_again_and_its_receipt_stays(store, event_id):
    first = store.insert(a_booking(event_id, "stalls-A-1", "stalls-A-2"))
    refund = SeatRefund(("stalls-A-1",), first.amount_minor // 2)
    store.begin_seat_refund(first.id, refund)
    store.begin_seat_refund(first.id, SeatRefund(("stalls-A-2",), 1))
    begun = store.find(first.id)
    assert begun == replace(first, seat_refund=refund), "one at a time"
    assert begun in store.unfinished_refunds()
    with sending_mails(store):
        store.mark_seats_refunded(begun, refund, NOON)
        store.mark_seats_refunded(begun, refund, NOON + timedelta(hours=1))
    store.end_seat_refund(first.id, refund)
    stored = store.find(first.id)
    assert stored.receipt() == first.receipt()
    assert (stored.refunded_seats, stored.refunded_minor) == (refund.seats, refund.amount_minor)
    assert (stored.seat_refund, stored.news) == (None, {"refunded": NOON})
    assert store.sold_seats(event_id) == ["stalls-A-2"]
    assert store.refunded(event_id, ["stalls-A-1", "stalls-A-2"]) == [stored]
    assert store.sales(event_id, NOON).revenue_minor == first.amount_minor - refund.amount_minor
    store.begin_seat_refund(first.id, refund)
    assert store.find(first.id) == stored, "it is not in the booking any more"
    second = store.insert(a_booking(event_id, "stalls-A-1"))
    assert store.holding(event_id, ["stalls-A-1"]) == [second]
    with pytest.raises(SeatTaken) as taken:
        store.insert(a_booking(event_id, "stalls-A-1", "stalls-A-2"))
    assert taken.value.seats == ("stalls-A-1", "stalls-A-2")


def test_the_buyers_of_an_event_have_to_be_told_until_they_are_refunded(store, event_id):
    first = store.insert(replace(a_booking(event_id, "stalls-A-1"), booked_at=NOON))
    second = store.insert(
        replace(a_booking(event_id, "stalls-A-2"), booked_at=NOON + timedelta(hours=1))
    )
    refunded = store.insert(a_booking(event_id, "stalls-A-3"))
    with sending_mails(store):
        store.mark_refunded(refunded.id, NOON, "cancelled")
        assert set(store.booked_ids(event_id)) == {first.id, second.id}
        store.announce(event_id, "postponed", NOON, since=NOON + timedelta(minutes=1))
        assert [store.find(b.id).news for b in (first, second)] == [{}, {"postponed": NOON}]
        store.announce(event_id, "postponed", NOON)
        news = [store.find(booking.id).news for booking in (first, second, refunded)]
        assert news == [{"postponed": NOON}] * 2 + [{"cancelled": NOON}]


def test_sales_are_summed_up_without_what_was_refunded(store, event_id):
    for seconds, seat in ((0, "stalls-A-1"), (30, "stalls-A-2"), (90, "stalls-A-3")):
        moment = NOON + timedelta(seconds=seconds)
        store.insert(replace(a_booking(event_id, seat), booked_at=moment))
    refunded = store.insert(replace(a_booking(event_id, "stalls-A-4"), booked_at=NOON))
    store.mark_refunded(refunded.id, NOON)
    sales = store.sales(event_id, since=NOON + timedelta(seconds=30))
    assert replace(sales, minutes=tuple(sorted(sales.minutes, key=lambda m: m.minute))) == Sales(
        bookings=3,
        revenue_minor=7500,
        minutes=(MinuteOfSales(NOON, 1), MinuteOfSales(NOON + timedelta(minutes=1), 1)),
    )


def test_nothing_keeps_a_store_with_its_index_from_selling(store):
    store.ping()
    store.create_indexes()
    store.require_index()
    store.require_reachable()


@pytest.mark.parametrize("without", documented_actions())
def test_a_user_of_mongodb_who_may_do_less_than_documented_cannot_run_the_shop(guarded, without):
    bookings_at(guarded.url_for(documented_actions())).create_indexes()
    may_less = [action for action in documented_actions() if action != without]
    store = bookings_at(guarded.url_for(may_less))
    with pytest.raises((Unavailable, InsertUnknown)) as refused:
        sell_and_refund(store)
    assert "not authorized on tickets to execute command" in str(refused.value.__cause__)


def sell_and_refund(store) -> None:
    store.create_indexes()
    booking = store.insert(a_booking(unique("event"), "stalls-A-1"))
    store.find(booking.id)
    store.begin_refund(booking.id)


def test_nothing_but_selling_and_refunding_can_be_done_with_what_is_documented(guarded):
    with pymongo.MongoClient(guarded.url_for(documented_actions())) as client:
        for forbidden, *arguments in (
            (client.tickets.something_else.find_one,),
            (client.admin.system.users.find_one,),
            (client.tickets.bookings.delete_many, {}),
            (client.tickets.bookings.drop_index, "event_1_seats_1"),
        ):
            with pytest.raises(OperationFailure, match="not authorized"):
                forbidden(*arguments)


def test_a_user_whom_mongodb_does_not_let_in_does_not_reach_it(guarded):
    store = bookings_at(guarded.url_for(documented_actions()).replace("://shop", "://nobody"))
    with pytest.raises(Unavailable):
        store.require_reachable()
    eventually(lambda: knows_primary(store), "the primary")
    with pytest.raises(Unavailable):
        store.require_reachable()


def knows_primary(store: MongoBookingStore) -> bool:
    return store._client.topology_description.has_writable_server()


def test_a_mongodb_whose_certificate_nobody_vouches_for_is_not_believed(guarded):
    url = guarded.url_for(documented_actions())
    with pytest.raises(Unavailable):
        bookings_at(re.sub("&tlsCAFile=.*", "", url)).require_reachable()


# ---------------------------------------------------------------- what the organiser looks for


@pytest.fixture
def hundred(store, event_id):
    """Two each second, newest first."""
    booked = [
        replace(
            a_booking(event_id, f"stalls-A-{number}"),
            name=f"Ada Müller {number}",
            booked_at=NOON + timedelta(seconds=number // 2),
        )
        for number in range(100)
    ]
    for booking in booked:
        store.insert(booking)
    rows = map(row_of, booked)
    return sorted(rows, key=lambda row: row.place, reverse=True)


def test_a_list_is_read_in_pages_newest_first_and_back(store, event_id, hundred):
    everything, pages = search_for(""), [[]]
    while page := store.search(
        event_id, everything, 9, before=pages[-1][-1].place if pages[-1] else None
    ):
        pages.append(page)
    assert [row for page in pages for row in page] == hundred
    assert store.search(event_id, everything, 9, after=pages[3][0].place) == pages[2]
    assert store.search(event_id, everything, 9, after=hundred[0].place) == []
    assert store.search(event_id, everything, 9, after=hundred[2].place) == hundred[:2]


def test_the_events_with_bookings_are_known(store, event_id, hundred):
    store.mark_refunded(hundred[0].id, NOON)
    assert store.event_ids().count(event_id) == 1
    assert list(store.event_ids()) == sorted(store.event_ids())


def test_a_refunded_booking_stays_in_the_list(store, event_id, hundred):
    store.mark_refunded(hundred[0].id, NOON)
    first, second = store.search(event_id, search_for(""), 2)
    assert (first, second) == (replace(hundred[0], refunded_at=NOON), hundred[1])


@pytest.mark.parametrize("text", ["muller 7", "MÜLLER ada 7", "ada mueller 7"])
def test_a_name_is_found_however_it_is_typed(store, event_id, hundred, text):
    found = store.search(event_id, search_for(text), 100)
    assert found == [row for row in hundred if "7" in row.name]


def test_a_seat_and_ids_are_found(store, event_id, hundred):
    wanted = next(row for row in hundred if row.seats == ("stalls-A-7",))
    for text in ("stalls-A-7", "Stalls, row A, seat 7", "a 7", wanted.id, f"hld_{wanted.id[4:]}"):
        found = store.search(event_id, search_for(text), 100)
        assert wanted in found, text
    assert store.search(event_id, search_for("stalls-A-7"), 100) == [wanted]


def test_a_reference_is_found_with_its_event(store, event_id):
    ids = [f"bkg_{secrets.token_hex(10)}_0" for _ in range(2)]
    booked = [
        store.insert(replace(a_booking(event, f"stalls-A-{number}"), id=id_))
        for number, (event, id_) in enumerate([(event_id, ids[0]), (event_id, ids[1])])
    ]
    store.insert(replace(a_booking(unique("other"), "stalls-A-1"), id=f"{ids[0]}1"))
    said = reference_of(event_id, ids[0]).lower().replace("-", " ")
    for event in (event_id, None):
        found = store.search(event, search_for(said), 10)
        assert row_of(booked[0]) in found
        assert {row.event_id for row in found} == {event_id}
    assert row_of(booked[1]) not in found


def test_what_is_searched_for_is_no_pattern_and_no_operator(store, event_id, hundred):
    for text in (".*", "[", "(?R)", "\\", "^", "$ne", "{}", "\0zz", "\ud800xyz", "*" * 10_000):
        assert store.search(event_id, search_for(text), 100) == []


def test_a_search_without_an_event_finds_those_of_all(store, event_id, hundred):
    assert store.search(None, search_for(hundred[5].id), 10) == [hundred[5]]
