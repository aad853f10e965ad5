"""Events on sale follow their files and the bookings, and never un-sell a seat."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import redis

from tests.support.factories import (
    BUYER,
    FLOOR,
    FREE,
    STALLS,
    a_booking,
    be_sure,
    lose_event,
    numbers,
    small_hall,
    unique,
)
from tests.support.redis_stores import audited, commands_of, servers_at
from tests.support.shop import Faulty
from web.adapters.redis.client import RedisClient
from web.adapters.redis.event_catalogue import CATALOGUE_KEY, RedisEventCatalogue
from web.adapters.redis.seat_store import RedisSeatStore
from web.adapters.redis.shard import Shard
from web.adapters.stripe.gateway import StripeGateway
from web.domain.events import Row
from web.domain.refusals import EventChanged, EventNotFound, HoldExpired, SeatTaken, Unavailable
from web.domain.sales import Booking
from web.use_cases.opening import Opening, OpeningRefused


@pytest.fixture
def opening(seats, catalogue, bookings, sandbox):
    return Opening(catalogue, seats, bookings, StripeGateway("sk_test_opening", sandbox.url))


@pytest.fixture
def hall(opening, seats):
    made = small_hall()
    opening.open_events([made])
    be_sure(commands_of(seats, made.id), made.id)
    return made


def sell(hall, bookings, *sold: str) -> Booking:
    return bookings.insert(a_booking(hall.id, *sold))


def seat_map(seats, hall) -> str:
    return seats.read_seats(hall.id).seats


def with_sections(hall, *sections):
    return replace(hall, sections=sections)


def test_opening_again_changes_nothing(seats, opening, hall):
    before = seats.read_seats(hall.id)
    assert opening.open_events([hall]) == {hall.id: False}
    assert seats.read_seats(hall.id) == before


def test_a_worker_that_repairs_an_event_keeps_what_the_organiser_has_opened_meanwhile(
    seats, catalogue, opening, bookings, hall
):
    moved = replace(hall, name="Another evening")
    opening.open_events([moved])
    sell(hall, bookings, "stalls-A-1")
    opening.open_event(hall, is_repair=True)
    assert catalogue.current_event(hall.id).name == "Another evening"
    assert seat_map(seats, hall).startswith("s"), "and repairs it"


def test_seats_that_all_cost_nothing_are_opened_without_the_gateway(seats, catalogue, bookings):
    gateway = Faulty(None)
    free = small_hall(sections=(FREE,))
    assert Opening(catalogue, seats, bookings, gateway).open_events([free]) == {free.id: True}
    assert gateway.calls == []
    assert seat_map(seats, free) == "0" * len(free.seats)


def test_an_opening_that_others_overtake_again_and_again_is_refused(
    seats, catalogue, bookings, sandbox
):
    overtaken = Faulty(seats)
    overtaken.fail("open_event", EventChanged())
    gateway = StripeGateway("sk_test_opening", sandbox.url)
    with pytest.raises(OpeningRefused, match="another definition"):
        Opening(catalogue, overtaken, bookings, gateway).open_event(small_hall())


def test_opening_again_keeps_what_is_held_and_paid(seats, bookings, opening, hall):
    seats.hold_seats(hall, unique("hld"), "ada", [0, 1])
    opening.open_events([replace(hall, name="Another name")])
    assert seat_map(seats, hall)[:3] == "hh0"


def test_sold_seats_come_from_mongodb_when_redis_has_lost_the_event(
    seats, bookings, opening, hall, raw_redis
):
    sell(hall, bookings, "stalls-A-2", "floor-GA-12")
    revision = seats.read_seats(hall.id).revision
    lose_event(raw_redis, hall.id)
    with pytest.raises(Unavailable):
        seats.read_seats(hall.id)
    opening.open_events([hall])
    after = seats.read_seats(hall.id)
    assert [hall.seats[p] for p, s in enumerate(after.seats) if s == "s"] == [
        "stalls-A-2",
        "floor-GA-12",
    ]
    assert after.revision > revision, "a client that knew the former map sees a newer one"
    with pytest.raises(SeatTaken):
        seats.hold_seats(hall, unique("hld"), "ada", [1])


def test_a_seat_that_mongodb_has_sold_is_marked_and_its_hold_is_over(
    seats, bookings, opening, hall
):
    hold = seats.hold_seats(hall, unique("hld"), "ada", [0, 1])
    other = seats.hold_seats(hall, unique("hld"), "ada", [3])
    sell(hall, bookings, "stalls-A-1")
    assert opening.open_events([hall]) == {hall.id: True}
    assert seat_map(seats, hall)[:4] == "s00h"
    with pytest.raises(HoldExpired):
        seats.begin_payment(hall, hold.id, BUYER, "key", "fingerprint")
    assert seats.read_hold(hall, other.id)
    seat_map_now = seats.read_seats(hall.id)
    assert audited(seats).replay_journal(hall.id, seat_map_now.revision) == seat_map_now


def test_a_new_price_is_that_of_the_next_hold(seats, bookings, opening, hall):
    before = seats.hold_seats(hall, unique("hld"), "ada", [0])
    dearer = with_sections(hall, replace(STALLS, price_minor=9900), FLOOR, FREE)
    opening.open_events([dearer])
    assert seats.read_hold(dearer, before.id).amount_minor == 2500
    assert seats.hold_seats(dearer, unique("hld"), "ada", [1]).amount_minor == 9900


def test_who_knows_the_old_definition_is_told_to_look_again(
    seats, catalogue, bookings, opening, hall
):
    opening.open_events([replace(hall, name="Another name")])
    with pytest.raises(EventChanged):
        seats.hold_seats(hall, unique("hld"), "ada", [0])
    assert catalogue.cached_event(hall.id).name == "Another name"


def test_seats_can_be_added_at_the_end_of_a_hall(seats, bookings, opening, hall):
    sell(hall, bookings, "free-F-6")
    seats.hold_seats(hall, unique("hld"), "ada", [0])
    larger = with_sections(hall, STALLS, FLOOR, replace(FREE, rows=(Row("F", (numbers(1, 9),)),)))
    opening.open_events([larger])
    assert seat_map(seats, hall) == "h" + "0" * 36 + "s" + "000"


@pytest.mark.parametrize("how", ["sold", "held"])
def test_a_file_that_renumbers_a_taken_seat_is_refused_and_changes_nothing(
    seats, catalogue, bookings, opening, hall, how
):
    if how == "sold":
        sell(hall, bookings, "stalls-B-3")
        opening.open_events([hall])
    else:
        seats.hold_seats(hall, unique("hld"), "ada", [hall.positions["stalls-B-3"]])
    before = seats.read_seats(hall.id)
    row_0 = Row("0", (numbers(1, 2),))
    renumbered = with_sections(hall, replace(STALLS, rows=(row_0, *STALLS.rows)), FLOOR, FREE)
    with pytest.raises(OpeningRefused, match="stalls-B-3"):
        opening.open_event(renumbered)
    assert seats.read_seats(hall.id) == before
    assert catalogue.current_event(hall.id).version == hall.version


def test_a_file_without_a_sold_seat_is_refused_even_when_redis_is_empty(
    seats, bookings, opening, hall, raw_redis
):
    sell(hall, bookings, "free-F-6")
    lose_event(raw_redis, hall.id)
    smaller = with_sections(hall, STALLS, FLOOR)
    with pytest.raises(OpeningRefused, match="no longer has seats that are sold: free-F-6"):
        opening.open_event(smaller)


def test_another_currency_is_refused_while_somebody_holds_a_seat(seats, catalogue, opening, hall):
    hold = seats.hold_seats(hall, unique("hld"), "ada", [0])
    with pytest.raises(OpeningRefused, match=r"from GBP to JPY while seats are held .*: stalls-A"):
        opening.open_event(replace(hall, currency="JPY"))
    seats.release_hold(hall.id, hold.id)
    opening.open_events([replace(hall, currency="JPY")])
    assert catalogue.current_event(hall.id).currency == "JPY"


def test_another_currency_is_refused_after_sales_and_the_currency_is_the_reason(
    seats, catalogue, bookings, opening, hall, raw_redis
):
    booking = sell(hall, bookings, "stalls-A-1")
    opening.open_events([hall])
    in_yen = replace(hall, currency="JPY")
    says = "the currency cannot change to JPY, because seats are sold in GBP: stalls-A-1"
    for look in (opening.check, opening.open_event):
        with pytest.raises(OpeningRefused, match=says):
            look(in_yen)
    lose_event(raw_redis, hall.id)
    with pytest.raises(OpeningRefused, match=says):
        opening.open_event(in_yen)
    bookings.mark_refunded(booking.id, booking.booked_at)
    opening.open_events([in_yen])
    assert catalogue.current_event(hall.id).currency == "JPY"


def test_a_check_refuses_what_an_opening_would_and_changes_nothing(
    seats, catalogue, bookings, opening, hall
):
    seats.hold_seats(hall, unique("hld"), "ada", [0])
    before = seats.read_seats(hall.id)
    assert opening.check(hall).version == hall.version
    assert opening.check(replace(hall, name="Another name")).name == hall.name
    with pytest.raises(OpeningRefused, match=r"renumber or drop .*: stalls-A-1;"):
        opening.check(with_sections(hall, FLOOR, STALLS))
    with pytest.raises(OpeningRefused, match="currency cannot change from GBP to JPY while"):
        opening.check(replace(hall, currency="JPY"))
    assert seats.read_seats(hall.id) == before
    assert catalogue.current_event(hall.id).version == hall.version


def test_a_check_of_an_event_that_is_not_on_sale_does_not_put_it_there(
    seats, catalogue, bookings, opening
):
    hall = small_hall()
    assert opening.check(hall) is None
    assert hall.id not in catalogue.event_ids()
    sell(hall, bookings, "free-F-6")
    with pytest.raises(OpeningRefused, match="no longer has seats that are sold: free-F-6"):
        opening.check(with_sections(hall, STALLS, FLOOR))


def test_a_hold_that_is_sent_again_after_a_new_price_has_the_old_one(seats, opening, hall):
    hold = seats.hold_seats(hall, unique("hld"), "ada", [0])
    dearer = with_sections(hall, replace(STALLS, price_minor=9900), FLOOR, FREE)
    opening.open_events([dearer])
    assert seats.hold_seats(dearer, hold.id, "ada", [0]).amount_minor == 2500


@pytest.mark.parametrize(
    ("changes", "is_news"),
    [
        ({"declared_status": "postponed"}, True),
        ({"starts_at": datetime(2099, 3, 1, 20, tzinfo=UTC)}, True),
        ({"name": "Another name"}, False),
        ({"declared_status": "scheduled"}, False),
    ],
)
def test_the_buyers_of_an_event_with_another_date_have_to_be_told(
    bookings, opening, hall, changes, is_news, monkeypatch
):
    monkeypatch.setattr(bookings, "_sends_mails", True)
    booking = sell(hall, bookings, "stalls-A-2")
    for _ in range(2):
        opening.open_events([replace(hall, **changes)])
        assert ("postponed" in bookings.find(booking.id).news) is is_news
    assert bookings.find(booking.id).receipt() == booking.receipt()


def test_a_refused_event_keeps_no_other_from_being_opened(seats, catalogue, opening, hall):
    seats.hold_seats(hall, unique("hld"), "ada", [0])
    other = small_hall()
    outcomes = opening.open_events([with_sections(hall, FLOOR), other])
    assert "stalls-A-1" in str(outcomes[hall.id])
    assert outcomes[other.id] is True
    assert catalogue.current_event(other.id).id == other.id


def test_a_shop_without_events_is_not_one_that_has_lost_them(catalogue, opening, raw_redis):
    listed = raw_redis.smembers(CATALOGUE_KEY)
    raw_redis.delete(CATALOGUE_KEY)
    try:
        opening.open_events([])
        assert catalogue.event_ids() == []
    finally:
        raw_redis.sadd(CATALOGUE_KEY, *listed)


def test_a_seat_that_is_bought_while_a_file_drops_it_keeps_that_file_closed(
    seats, catalogue, bookings, opening, hall
):
    class Selling(Faulty):
        """Somebody buys between the first look at the bookings and the opening."""

        def add(self, event_ids):
            sell(hall, bookings, "free-F-6")
            return catalogue.add(event_ids)

    opening._catalogue = Selling(catalogue)
    with pytest.raises(OpeningRefused, match="no longer has seats that are sold: free-F-6"):
        opening.open_event(with_sections(hall, STALLS, FLOOR))


def test_an_event_that_this_process_knew_is_never_not_found(seats, catalogue, hall, raw_redis):
    catalogue.current_event(hall.id)
    lose_event(raw_redis, hall.id)
    raw_redis.srem(CATALOGUE_KEY, hall.id)
    with pytest.raises(Unavailable):
        seats.read_seats(hall.id)


@pytest.mark.parametrize(
    "answer", ["MISCONF Redis is configured to", "BUSY Redis is busy", "ERR a mistake in a script"]
)
def test_a_redis_that_cannot_serve_now_is_unavailable(seats, hall, monkeypatch, answer):
    def refuse(*_):
        raise redis.ResponseError(answer)

    monkeypatch.setattr(Shard, "call", refuse)
    expected = Unavailable if answer.startswith(("MISCONF", "BUSY")) else redis.ResponseError
    with pytest.raises(expected):
        seats.read_seats(hall.id)


def test_free_seats_may_go_and_move(seats, bookings, opening, hall):
    opening.open_events([with_sections(hall, FLOOR, STALLS)])
    assert seat_map(seats, hall) == "0" * 32


def test_nothing_in_redis_is_not_the_same_as_no_such_event(catalogue, hall, raw_redis):
    with pytest.raises(EventNotFound):
        catalogue.current_event("nobody-opened-this")
    listed = unique("listed")
    catalogue.add([listed])
    with pytest.raises(Unavailable):
        catalogue.current_event(listed)
    raw_redis.srem(CATALOGUE_KEY, listed)

    listed = raw_redis.smembers(CATALOGUE_KEY)
    raw_redis.delete(CATALOGUE_KEY)
    try:
        with pytest.raises(Unavailable):
            catalogue.current_event("nobody-opened-this")
        with pytest.raises(Unavailable):
            catalogue.event_ids()
    finally:
        raw_redis.sadd(CATALOGUE_KEY, *listed)


def test_two_processes_that_open_at_once_agree(
    seats, catalogue, bookings, opening, hall, private_redis_url
):
    class Interrupted(RedisEventCatalogue):
        """Another process opens the event between this one's look and its change."""

        interruptions = 2

        def current_event(self, event_id):
            event = super().current_event(event_id)
            if self.interruptions:
                self.interruptions -= 1
                seats.open_event(replace(hall, name=f"Name {self.interruptions}"), sold=[])
            return event

    renamed = replace(hall, name="The last word")
    client = RedisClient(servers_at(private_redis_url))
    interrupted = Interrupted(client)
    opening = Opening(interrupted, RedisSeatStore(client, interrupted), bookings, opening._gateway)
    assert opening.open_events([renamed]) == {hall.id: True}
    assert catalogue.current_event(hall.id).name == "The last word"


def test_an_event_that_is_being_built_is_unavailable_and_not_free(
    seats, catalogue, bookings, opening
):
    hall = small_hall()
    sell(hall, bookings, "stalls-A-1")
    catalogue.add([hall.id])
    seats.build_event(hall)
    for look in (
        lambda: seats.read_seats(hall.id),
        lambda: seats.hold_seats(hall, unique("hld"), "ada", [1]),
        lambda: seats.hold_best(hall, unique("hld"), "ada", hall.section_of["stalls"], 1),
        lambda: seats.read_hold(hall, "hld_1"),
        lambda: seats.release_hold(hall.id, "hld_1"),
        lambda: seats.read_payment(hall.id, "hld_1", "key"),
        lambda: seats.begin_payment(hall, "hld_1", BUYER, "key", "fingerprint"),
    ):
        with pytest.raises(Unavailable):
            look()
    opening.open_events([hall])
    assert seat_map(seats, hall)[:2] == "s0"


def test_a_booking_made_while_the_event_is_built_is_sold_when_it_opens(seats, bookings, opening):
    hall = small_hall()
    seats.build_event(hall)
    booking = sell(hall, bookings, "stalls-A-1")
    seats.confirm_booking(hall, booking)
    seats.open_event(hall, sold=[])  # whoever builds it has read the bookings before
    assert seat_map(seats, hall)[:2] == "s0"


def test_an_event_that_went_back_in_time_goes_on_above_what_was_seen(seats, opening, hall):
    seen = seats.read_seats(hall.id).revision + 1000
    assert opening.open_event(hall, lost_revision=seen)
    assert seats.read_seats(hall.id).revision > seen


def test_an_aisle_that_is_gone_is_gone_for_searches_that_were_made_before(
    seats, opening, raw_redis
):
    """In a hall so large that Redis remembers what it has searched in vain."""
    numbered = [Row(f"R{number}", (numbers(1, 2), numbers(3, 4))) for number in range(1000)]
    hall = with_sections(small_hall(), replace(STALLS, rows=tuple(numbered)))
    opening.open_events([hall])
    raw_redis.set(f"seats:{{{hall.id}}}", "0s0s0sss" + "s00s" * 998)
    apart = seats.hold_best(hall, unique("hld"), "ada", hall.sections[0], 2)
    assert apart.seats == ("stalls-R0-1", "stalls-R0-3")
    whole_rows = [replace(row, blocks=(numbers(1, 4),)) for row in numbered]
    without_aisle = with_sections(hall, replace(STALLS, rows=tuple(whole_rows)))
    seats.open_event(without_aisle, sold=[])
    assert seats.hold_best(
        without_aisle, unique("hld"), "ada", without_aisle.sections[0], 2
    ).seats == ("stalls-R2-2", "stalls-R2-3")


def test_events_come_in_the_order_in_which_they_are_asked_for(catalogue, opening):
    first, second = small_hall(), small_hall()
    opening.open_events([first, second])
    ids = [first.id, second.id]
    catalogue.current_events(ids)
    catalogue.changed(first.id)  # which is read once more, and after the others
    assert list(catalogue.current_events(ids)) == ids


def test_all_events_on_sale_are_asked_for_together(
    seats, catalogue, opening, hall, monkeypatch, raw_redis
):
    others = [small_hall(), small_hall()]
    opening.open_events(others)
    opening.open_events([replace(others[1], name="Another name")])
    lost = small_hall()
    opening.open_events([lost])
    catalogue.current_event(lost.id)
    raw_redis.delete(f"event:{{{lost.id}}}")
    ids = [hall.id, lost.id, others[0].id, others[1].id]
    names = ["A small evening", "A small evening", "Another name"]
    assert [event.name for event in catalogue.current_events(ids).values()] == names
    monkeypatch.setattr(catalogue, "current_event", None)
    ids.remove(lost.id)
    assert [event.name for event in catalogue.current_events(ids).values()] == names
