"""Pages of an event that was edited meanwhile: history keeps its names, and sold seats can be shown
for ever."""

import time
from dataclasses import replace
from datetime import datetime

import pytest
import redis

from tests.pages.conftest import BUYER
from tests.support.factories import FLOOR, FREE, STALLS, lose_event, numbers, small_hall, unique
from tests.support.http_client import Client, bearer
from tests.support.site import ORGANISER_TOKEN
from web.adapters.redis.event_catalogue import CATALOGUE_KEY
from web.domain.events import Row, Section
from web.use_cases.refunds import Refunds

GALLERY = Section("gallery", "Gallery", "seated", 700, (Row("A", (numbers(1, 4),)),))


@pytest.fixture
def event_id(address):
    return address.rpartition("/")[2]


@pytest.fixture
def edit(seats, catalogue, event_id):
    def edited(**changes):
        now = catalogue.current_event(event_id)
        seats.open_event(replace(now, **changes), sold=[])

    return edited


@pytest.fixture
def booked(ada, address):
    """Ada's receipt for a place on the floor, the section in the middle."""
    held = ada.get(address).press("Hold the best", section="floor", quantity="1")
    return held.press("Pay", **BUYER)


@pytest.fixture
def refund(seats, catalogue, bookings, stack, event_id):
    """Refunds the one booking of the event."""

    def refunded():
        (booking,) = bookings.list(event_id)
        Refunds(catalogue, seats, bookings, stack.gateway()).refund(booking.id)
        return booking

    return refunded


@pytest.fixture
def cold(application, stack):
    """Another process of the same shop, with an empty cache."""
    return application(SECRET_KEY=stack.environment["SECRET_KEY"], RATE_LIMIT="1000/second")


@pytest.fixture
def withdraw(redis_client, event_id):
    def withdrawn():
        lose_event(redis_client, event_id)
        redis_client.srem(CATALOGUE_KEY, event_id)

    return withdrawn


@pytest.fixture
def journal(eve, address):
    """Seats by change, as the organiser sees them, newest first."""
    eve.get("/organiser").press("Log in", token=ORGANISER_TOKEN)

    def rows():
        page = eve.get(f"/organiser{address}")
        assert page.status == 200
        cells = [
            [cell.text for cell in row.all("td")] for row in page.root.one(id="journal").all("tr")
        ]
        return [(row[0], row[1]) for row in cells[1:]]

    return rows


# ---------------------------------------------------------------- the organiser's page


def test_seats_that_were_dropped_keep_their_names_in_the_journal(ada, address, edit, journal):
    held = ada.get(address).press("Hold the best", section="floor", quantity="1")
    held.press("Give the seats back")
    edit(sections=(STALLS, FREE))
    assert journal() == [
        ("opened, or changed by its file", ""),
        ("given back", "Floor, place 1"),
        ("on hold", "Floor, place 1"),
        ("opened, or changed by its file", ""),
        ("opened, or changed by its file", ""),
    ]


def test_seats_keep_their_names_when_others_come_before_them(ada, address, edit, journal):
    ada.get(address).press("Hold the chosen", seats="stalls-A-1").press("Give the seats back")
    edit(sections=(GALLERY, STALLS, FLOOR, FREE))
    ada.get(address).press("Hold the chosen", seats="gallery-A-1")
    assert journal()[:4] == [
        ("on hold", "Gallery, row A, seat 1"),
        ("opened, or changed by its file", ""),
        ("given back", "Stalls, row A, seat 1"),
        ("on hold", "Stalls, row A, seat 1"),
    ]


def test_a_section_that_was_renamed_twice_has_three_names_in_the_journal(
    ada, address, edit, journal
):
    for name in ("Parterre", "Orchestra"):
        ada.get(address).press("Hold the chosen", seats="stalls-A-1").press("Give the seats back")
        edit(sections=(replace(STALLS, name=name), FLOOR, FREE))
    ada.get(address).press("Hold the chosen", seats="stalls-A-1")
    assert [seats for change, seats in journal() if change == "on hold"] == [
        "Orchestra, row A, seat 1",
        "Parterre, row A, seat 1",
        "Stalls, row A, seat 1",
    ]


def test_a_journal_of_a_release_without_former_names_is_shown(
    ada, address, event_id, edit, journal, redis_client
):
    ada.get(address).press("Hold the chosen", seats="free-F-6").press("Give the seats back")
    edit(sections=(STALLS,))
    key = f"journal:{{{event_id}}}"
    newest, entry = redis_client.xrevrange(key, count=1)[0]
    redis_client.xdel(key, newest)
    entry.pop("was")
    redis_client.xadd(key, entry, id=f"{newest.partition('-')[0]}-2")
    assert ("on hold", "seat 38 of a former seating plan") in journal()


# ---------------------------------------------------------------- receipts and the basket


def test_a_receipt_outlives_its_section(cold, booked, edit, refund):
    refund()
    edit(sections=(STALLS, FREE))
    page = cold.get(booked.address)
    assert page.status_code == 200
    assert "This booking was refunded" in page.text and "Floor, place 1" in page.text


def test_a_receipt_has_the_names_that_were_sold(ada, booked, edit):
    edit(sections=(STALLS, replace(FLOOR, name="Pit"), FREE))
    assert "Floor, place 1" in ada.get(booked.address).text
    assert "Floor, place 1" in ada.get("/basket").text


def test_a_page_that_a_process_has_shown_before_has_the_names_of_now(ada, cold, booked, edit):
    ada.get("/basket"), cold.get(booked.address)
    edit(name="A grand evening", venue="The Other Hall")
    receipts = [ada.get(booked.address).text, cold.get(booked.address).text]
    for text in (*receipts, ada.get("/basket").text):
        assert "A grand evening" in text and "A small evening" not in text
    assert all("The Other Hall" in text for text in receipts)


def test_a_page_has_the_names_known_last_while_redis_is_away(cold, booked, edit, monkeypatch):
    edit(name="A grand evening")
    cold.get(booked.address)
    away = redis.ConnectionError("away")
    monkeypatch.setattr(redis.Redis, "execute_command", raising(away))
    monkeypatch.setattr(redis.client.Pipeline, "execute", raising(away))
    assert "A grand evening" in cold.get(booked.address).text


def raising(error):
    def raise_it(*_, **__):
        raise error

    return raise_it


def test_a_receipt_outlives_its_event(ada, cold, booked, withdraw):
    withdraw()
    for text in (
        ada.get(booked.address).text,
        ada.get("/basket").text,
        cold.get(booked.address).text,
    ):
        assert "A small evening" in text and "Floor, place 1" in text


def test_what_was_sold_before_names_were_kept_is_shown_as_its_seats_say(
    cold, booked, bookings, edit, refund
):
    booking = refund()
    edit(sections=(STALLS, FREE))
    names = {"event_name": 1, "venue": 1, "seat_names": 1}
    bookings._collection.update_one({"_id": booking.id}, {"$unset": names})
    page = cold.get(booked.address)
    assert page.status_code == 200
    assert "Floor, place 1" in page.text and "A small evening" in page.text


def test_a_receipt_of_an_event_that_nobody_remembers_is_shown(
    cold, booked, event_id, bookings, withdraw
):
    (booking,) = bookings.list(event_id)
    bookings._collection.update_one({"_id": booking.id}, {"$unset": {"event_name": 1}})
    withdraw()
    receipt = cold.get(booked.address)
    assert receipt.status_code == 200
    assert "Floor, place 1" in receipt.text and "Small hall" in receipt.text


def test_a_refund_after_the_event_is_gone_gives_the_money_back(
    booked, event_id, bookings, refund, seats, withdraw
):
    withdraw()
    seats._catalogue.changed(event_id)
    refund()
    (booking,) = bookings.list(event_id)
    assert booking.refunded_at
    assert booking.id not in {unfinished.id for unfinished in bookings.unfinished_refunds()}


def test_a_refund_is_safe_to_repeat_after_its_section_was_dropped(booked, edit, refund):
    refund()
    edit(sections=(STALLS, FREE))
    refund()


def test_the_answer_to_a_key_outlives_its_event(stack, cold, event_id, withdraw):
    buyer = Client(stack.url, event_id)
    hold = buyer.held("stalls-A-1")
    receipt = buyer.pay(hold)
    withdraw()
    address = f"/api/events/{event_id}/holds/{hold['hold_id']}"
    body = {"payment_method": "pm_card_visa", "email": "ada@example.org", "name": "Ada Lovelace"}
    again = cold.post(
        f"{address}/pay", json=body, headers=bearer(hold) | {"Idempotency-Key": "key-1"}
    )
    assert (again.status_code, again.data) == (201, receipt.content)
    assert cold.get(address, headers=bearer(hold)).json["status"] == "booked"


def test_seats_that_ran_out_and_were_dropped_are_called_so(ada, hall_with, seats, catalogue):
    address = hall_with(hold_ms=300)
    event_id = address.rpartition("/")[2]
    held = ada.get(address).press("Hold the chosen", seats=["stalls-A-1", "free-F-1"])
    time.sleep(0.4)
    seats.sweep_holds(event_id)
    seats.open_event(replace(catalogue.current_event(event_id), sections=(STALLS, FLOOR)), sold=[])
    for ended in (ada.get(held.address), ada.get("/basket")):
        assert "Stalls, row A, seat 1" in ended.text and "Free, row F, seat 1" in ended.text
    assert "No longer on sale Free, row F, seat 1" in ada.get(held.address).text


# ---------------------------------------------------------------- forms


@pytest.mark.parametrize("page_of", ["", "/sections/floor"])
def test_a_section_that_was_dropped_while_its_form_was_open(ada, address, edit, page_of):
    page = ada.get(address + page_of)
    edit(sections=(STALLS, FREE))
    options = {} if page_of else {"section": "floor"}
    refused = page.press("Hold the best", quantity="1", **options)
    assert refused.status == 404
    assert "That section is not on sale" in refused.text
    assert refused.press("Hold the best", section="stalls", quantity="1").status == 200


def test_seats_that_were_dropped_while_their_form_was_open(ada, address, edit):
    page = ada.get(address)
    edit(sections=(STALLS, FLOOR))
    refused = page.press("Hold the chosen", seats=["stalls-A-1", "free-F-1"])
    assert refused.status == 422
    assert "this event has no seat free-F-1" in refused.text
    boxes = refused.root.all("input", name="seats")
    assert [box["value"] for box in boxes if "checked" in box] == ["stalls-A-1"]


# ---------------------------------------------------------------- prices

CHANGED = "The price has changed since you chose these seats."
DEARER = (replace(STALLS, price_minor=9900), replace(FLOOR, price_minor=1000), FREE)


@pytest.mark.parametrize("page_of", ["", "/sections/stalls"])
@pytest.mark.parametrize(
    ("button", "wish"),
    [("Hold the chosen", {"seats": "stalls-A-1"}), ("Hold the best", {"quantity": "1"})],
)
def test_a_price_that_changed_while_the_page_was_open_is_told_before_paying(
    ada, address, edit, page_of, button, wish
):
    page = ada.get(address + page_of)
    edit(sections=DEARER)
    if button == "Hold the best" and not page_of:
        wish = wish | {"section": "stalls"}
    held = page.press(button, **wish)
    assert f"{CHANGED} It was £25.00 and is £99.00 now. Nothing has been charged." in held.text
    assert CHANGED in ada.get(held.address).text, "also when it is loaded again"
    assert CHANGED in held.press("Pay", name="").text
    assert held.press("Pay £99.00", **BUYER).title == "You are in"


def test_a_price_that_fell_is_told_too(ada, address, edit):
    page = ada.get(address)
    edit(sections=DEARER)
    held = page.press("Hold the best", section="floor", quantity="2")
    assert f"{CHANGED} It was £30.00 and is £20.00 now." in held.text


def test_a_price_that_did_not_change_is_no_news(ada, address, edit):
    page = ada.get(address)
    edit(name="Another name", sections=(STALLS, replace(FLOOR, price_minor=9), FREE))
    assert CHANGED not in page.press("Hold the chosen", seats="stalls-A-1").text


@pytest.mark.parametrize("prices", ["", "GBP", "GBP stalls:x", "XXX stalls:1", "£ :: é", "GBP :1"])
def test_a_form_that_says_nonsense_of_prices_holds_all_the_same(ada, address, prices):
    held = ada.get(address).press("Hold the chosen", seats="stalls-A-1", prices=prices)
    assert held.status == 200 and CHANGED not in held.text


def test_the_time_that_ran_out_does_not_hide_a_new_price(ada, hall_with, seats, catalogue):
    address = hall_with(hold_ms=500)
    held = ada.get(address).press("Hold the chosen", seats="stalls-A-1")
    time.sleep(0.6)
    ended = ada.get(held.address)
    assert "£25.00" in ended.text
    event = catalogue.current_event(address.rpartition("/")[2])
    seats.open_event(replace(event, sections=DEARER), sold=[])
    assert CHANGED in ended.press("Hold the same seats again").text


# ---------------------------------------------------------------- a refund is not a booking


def test_refunded_seats_can_be_held_again_by_the_same_form(ada, address, refund):
    page = ada.get(address)
    held = page.press("Hold the chosen", seats="stalls-A-1")
    held.press("Pay", **BUYER)
    refund()
    again = page.press("Hold the chosen", seats="stalls-A-1")
    assert (again.status, again.title) == (200, "These seats are yours to buy")
    assert again.address != held.address


def test_refunded_best_seats_can_be_held_again_by_the_same_form(ada, address, refund):
    page = ada.get(address)
    page.press("Hold the best", section="floor", quantity="2").press("Pay", **BUYER)
    refund()
    again = page.press("Hold the best", section="floor", quantity="2")
    assert (again.status, again.title) == (200, "These seats are yours to buy")


def test_refunded_seats_that_somebody_else_bought_are_taken(ada, eve, address, refund):
    page = ada.get(address)
    page.press("Hold the chosen", seats="stalls-A-1").press("Pay", **BUYER)
    refund()
    eve.get(address).press("Hold the chosen", seats="stalls-A-1")
    assert page.press("Hold the chosen", seats="stalls-A-1").status == 409


def test_seats_that_the_same_form_has_booked_lead_to_their_receipt(ada, address):
    page = ada.get(address)
    receipt = page.press("Hold the chosen", seats="stalls-A-1").press("Pay", **BUYER)
    assert page.press("Hold the chosen", seats="stalls-A-1").address == receipt.address


def test_more_places_than_were_booked_with_the_same_form_are_a_new_hold(ada, address):
    """Back from the receipt, for friends who want to come along."""
    page = ada.get(address)
    page.press("Hold the best", section="floor", quantity="2").press("Pay", **BUYER)
    more = page.press("Hold the best", section="floor", quantity="2")
    assert more.title == "These seats are yours to buy"
    assert "Floor, place 3 Floor, place 4" in more.text
    assert page.press("Hold the best", section="floor", quantity="2").address == more.address


def test_the_basket_says_what_was_refunded(ada, address, booked, refund):
    assert "Booked." in ada.get("/basket").text
    assert "booked" in ada.get(address).text
    refund()
    basket = ada.get("/basket").text
    assert "Refunded. £15.00" in basket
    assert "Booked" not in basket
    assert "your basket" not in ada.get(address).text


# ---------------------------------------------------------------- lists of events


@pytest.fixture
def lists(cold):
    """What both lists of events say of one."""

    def of(name):
        assert cold.get("/api/events").status_code == cold.get("/").status_code == 200
        listed = [e for e in cold.get("/api/events").json["events"] if e["name"] == name]
        return listed, name in cold.get("/").text

    return of


@pytest.mark.parametrize(
    ("opens_at", "told"),
    [
        ("9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59.999Z"),
        ("0001-01-01T00:00:00+05:00", "1-01-01T00:00:00.000Z"),
    ],
)
def test_an_opening_that_no_file_may_have_any_more_is_shown(cold, hall_with, lists, opens_at, told):
    name = unique("The end of time")
    opens = datetime.fromisoformat(opens_at)
    address = hall_with(
        name=name, sale_opens_at=opens, timezone=None, starts_at=None, sale_closes_at=None
    )
    (event,), on_page = lists(name)
    assert on_page and event["sale_opens_at"] == told
    assert cold.get(address).status_code == 200


def test_an_event_that_cannot_be_read_hides_no_other(cold, hall_with, lists, redis_client, caplog):
    broken, good = unique("broken"), unique("good")
    address, _ = hall_with(name=broken), hall_with(name=good)
    key = f"event:{{{address.rpartition('/')[2]}}}"
    redis_client.hset(key, "definition", '{"id": 1}')
    assert lists(broken) == ([], False)
    assert lists(good)[1]
    assert cold.get(address).status_code == 503
    assert caplog.text.count("its definition in Redis cannot be read") == 1
    redis_client.delete(key)


def test_an_event_that_is_being_built_hides_no_other(seats, catalogue, hall_with, lists):
    name = unique("good")
    hall_with(name=name)
    building = small_hall()
    catalogue.add([building.id])
    seats.build_event(building)
    assert lists(name)[1]
    seats.open_event(building, sold=[])
