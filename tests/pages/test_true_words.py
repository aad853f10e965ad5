"""What a page says about seats, holds and connections is true for every reader."""

import time

import pytest
import requests

from tests.pages.browser import TIMEOUT_S, Browser, Page
from tests.support.factories import FLOOR, STALLS, put_on_sale, small_hall, unique
from tests.support.http_client import Client, assert_problem


def card_of(page, event) -> str:
    """What the list of events says of this one."""
    heading = next(a for a in page.root.all("a") if a["href"] == f"/events/{event.id}")
    return next(li.text for li in page.root.all("li", class_="card") if heading in li.all("a"))


def the_only_holds(seats, event, count: int) -> None:
    """Somebody else's, of the first ``count`` seats."""
    current = seats._catalogue.current_event(event.id)
    seats.hold_seats(current, unique("hld"), unique("eve"), list(range(count)))


def test_a_sold_out_event_says_so_and_offers_nothing(ada, seats):
    event = small_hall(sections=(STALLS,))
    put_on_sale(seats, event, sold=event.seats)
    card = card_of(ada.get("/"), event)
    assert "Sold out" in card and "On sale" not in card
    for path in ("", "/sections/stalls"):
        page = ada.get(f"/events/{event.id}{path}")
        assert "Sold out." in page.text
        assert "hold and" not in page.root.one(id="sale").text
        offers = [b for b in page.root.all("button") if "Hold" in b.text and "hidden" not in b]
        assert not offers
        assert page.root.one(id="seats-title").text == "Seats"
        assert "Up to" not in page.text and "up to" not in page.text


def test_seats_that_are_all_on_hold_may_come_back_and_are_counted(ada, seats):
    event = small_hall(sections=(STALLS,))
    put_on_sale(seats, event, sold=event.seats[5:])
    the_only_holds(seats, event, 5)
    assert "5 seats are on hold and may come back" in card_of(ada.get("/"), event)
    page = ada.get(f"/events/{event.id}")
    assert "No seats are available right now." in page.text
    assert "5 seats are on hold and may come back" in page.text
    assert page.form("Hold the best")


def test_seats_are_available_and_only_a_price_is_free(ada, seats):
    event = small_hall(sections=(STALLS, FLOOR))
    put_on_sale(seats, event, sold=["stalls-A-1"])
    assert "On sale now" in card_of(ada.get("/"), event)
    page = ada.get(f"/events/{event.id}")
    assert "31 of 32 seats are available." in page.text
    for path in ("", "/sections/stalls"):
        assert " free" not in ada.get(f"/events/{event.id}{path}").text


def test_what_ran_out_is_not_said_to_be_held(ada, seats, hall_with):
    address = hall_with(hold_ms=3000)
    ada.get(address).press("Hold the chosen", seats=["stalls-A-1", "stalls-A-2"])
    assert "You are holding seats for this event" in ada.get(address).text
    time.sleep(3.05)
    page = ada.get(address)
    assert "You are holding" not in page.text and "You have booked" not in page.text


def test_what_was_booked_is_not_said_to_be_held(ada, held, address):
    held.press("Pay", name="Ada", email="ada@example.org")
    page = ada.get(address)
    assert "You have booked seats for this event" in page.text
    assert "You are holding" not in page.text


def test_a_neighbour_who_holds_nothing_is_told_whose_seats_are_counted(stack, ada, hall_with):
    address = hall_with(max_held_per_client=2, max_seats_per_hold=2)
    neighbour = Browser(stack.url)
    neighbour.headers["X-Forwarded-For"] = ada.headers["X-Forwarded-For"]
    ada.get(address).press("Hold the chosen", seats=["stalls-A-1", "stalls-A-2"])
    refused = neighbour.get(address).press("Hold the chosen", seats="stalls-A-3")
    assert refused.status == 409
    summary = refused.root.one(id="mistakes").text
    assert summary.startswith("Your connection holds many seats already")
    assert "None of them is yours: " in summary
    assert "basket" not in summary
    theirs = ada.get(address).press("Hold the chosen", seats="stalls-A-3")
    assert "None of them is yours" not in theirs.text


def test_a_program_is_told_that_a_connection_is_counted_and_not_a_person(stack, seats):
    event = small_hall(max_held_per_client=2, max_seats_per_hold=2)
    put_on_sale(seats, event)
    client = Client(stack.url, event.id)
    assert client.hold_best("stalls", 2).status_code == 201
    refused = client.hold_best("stalls", 1)
    assert refused.json()["detail"].startswith("Your connection holds 2 unpaid seats")


# ---------------------------------------------------------------- cookies


def sent_without_cookie(ada, page, button: str, **headers: str):
    """The message to a browser without cookies when it sends the form."""
    fields = page.fields(button)
    action = page.form(button)["action"]
    ada.cookies.clear()
    headers = {name: ada.headers[name] for name in ("Accept", "X-Forwarded-For")} | headers
    url = ada.base_url + action
    return requests.post(url, fields, headers=headers, timeout=TIMEOUT_S, allow_redirects=False)


@pytest.mark.parametrize("button", ["Hold the chosen", "Hold the best"])
def test_without_cookies_a_form_says_that_it_needs_them_and_how(ada, address, button):
    refused = Page(ada, sent_without_cookie(ada, ada.get(address), button))
    assert (refused.status, refused.title) == (400, "This needs a cookie")
    assert "Allow cookies for this site in the browser's settings" in refused.text


@pytest.mark.parametrize("button", ["Pay", "Give me", "Give the seats back"])
def test_so_does_each_form_of_a_hold(ada, held, button):
    refused = Page(ada, sent_without_cookie(ada, held, button))
    assert refused.title == "This needs a cookie"


def test_the_map_hears_of_cookies_in_its_own_language(ada, address):
    page = ada.get(address)
    refused = sent_without_cookie(ada, page, "Hold the best", Accept="application/json")
    assert assert_problem(refused, 400, "cookies_needed")["detail"].count("cookie") > 1


def test_a_form_of_before_another_cookie_can_be_sent_after_loading_it_again(ada, address):
    old = ada.get(address)
    ada.cookies.clear()
    new = ada.get(address)
    refused = old.press("Hold the best")
    assert (refused.status, refused.title) == (400, "Please send the form again")
    assert "cookies" not in refused.text
    assert new.press("Hold the best").title == "These seats are yours to buy"


def test_seats_without_a_price_are_free_of_charge_everywhere(ada, hall_with):
    address = hall_with()
    assert "up to £25, some seats free of charge" in ada.get("/").text
    held = ada.get(address).press("Hold the chosen", seats="free-F-1")
    pages = [held, ada.get("/basket")]
    receipt = held.press("Book", name="Ada", email="ada@example.org")
    pages += [receipt, ada.get("/basket")]
    for page in pages:
        assert "ree of charge" in page.text and "£0" not in page.text
    assert "Paid" not in receipt.text
