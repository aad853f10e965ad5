"""The basket remembers eight holds. What ended gives way to another, what can be paid never."""

import secrets
import time
from dataclasses import replace

import pytest

from tests.pages.browser import Browser, Page
from tests.pages.conftest import BUYER
from tests.support.factories import STALLS, numbers, put_on_sale, small_hall
from tests.support.http_client import assert_problem
from web.domain.events import Row, Section
from web.pages.basket import MAX_HOLDS
from web.use_cases.refunds import Refunds

ROOMY = {"max_held_per_client": 40}
COOKIE_BYTES = 4096
"""Of name, value and attributes, RFC 6265, 6.1."""


@pytest.fixture
def hold(ada):
    """Ada holds the best place on the floor; returns the hold's page. Each hold comes from another
    IP address, or the rate limit would make the test wait."""

    def hold(address: str) -> Page:
        ada.move()
        return ada.get(address).press("Hold the best", section="floor", quantity="1")

    return hold


@pytest.fixture
def full(hold, hall_with) -> tuple[str, list[Page]]:
    """An event, and eight live holds of it, oldest first."""
    address = hall_with(**ROOMY)
    return address, [hold(address) for _ in range(MAX_HOLDS)]


def held_in(seats, address: str) -> int:
    return seats.read_seats(address.rpartition("/")[2]).seats.count("h")


def in_basket(ada) -> list[str]:
    """Ids of holds, newest first."""
    return [card["id"] for card in ada.get("/basket").root.all("li", class_="card")]


def id_of(page: Page) -> str:
    return page.address.rpartition("/")[2]


@pytest.mark.parametrize(
    ("button", "wish"),
    [
        ("Hold the best", {"section": "floor", "quantity": "1"}),
        ("Hold the chosen", {"seats": "stalls-A-1"}),
    ],
)
def test_a_ninth_live_hold_is_refused_before_anything_is_held(ada, seats, full, button, wish):
    address, pages = full
    refused = ada.get(address).press(button, **wish)
    assert refused.status == 409
    assert refused.root.one(id="mistakes").one("h2").text == "Your basket is full"
    assert "8 unpaid holds" in refused.text
    assert held_in(seats, address) == MAX_HOLDS
    assert in_basket(ada) == [id_of(page) for page in reversed(pages)]
    pages[0].press("Give the seats back")
    assert ada.get(address).press(button, **wish).status == 200


def test_the_map_hears_that_the_basket_is_full(ada, full):
    address, _ = full
    page = ada.get(address)
    ada.headers["Accept"] = "application/json"
    assert_problem(page.send("Hold the best", section="floor"), 409, "basket_full")


def test_a_form_that_is_sent_again_needs_no_room(ada, hold, hall_with):
    address = hall_with(**ROOMY)
    for _ in range(MAX_HOLDS - 1):
        hold(address)
    form = ada.get(address)
    first, again = (form.press("Hold the best", section="floor") for _ in range(2))
    assert first.address == again.address


def test_what_ran_out_goes_first(ada, hold, hall_with):
    address = hall_with(**ROOMY)
    booked = hold(address)
    booked.press("Pay", **BUYER)
    short = hold(hall_with(hold_ms=1000))
    others = [hold(address) for _ in range(MAX_HOLDS - 2)]
    time.sleep(1.1)
    ninth = hold(address)
    assert ninth.status == 200
    assert in_basket(ada) == [id_of(page) for page in (ninth, *reversed(others), booked)]
    assert id_of(short) not in in_basket(ada)


def test_next_is_what_was_refunded_then_the_oldest_booking(
    ada, hold, full, seats, catalogue, bookings, stack
):
    address, pages = full
    for number in (1, 3, 5):
        pages[number].press("Pay", **BUYER)
    booking_id = id_of(pages[5]).replace("hld_", "bkg_")
    Refunds(catalogue, seats, bookings, stack.gateway()).refund(booking_id)
    hold(address)
    assert id_of(pages[5]) not in in_basket(ada)
    hold(address)
    left = in_basket(ada)
    assert id_of(pages[1]) not in left
    assert {id_of(pages[n]) for n in (0, 2, 3, 4, 6, 7)} <= {*left}


def test_two_tabs_fill_one_basket(ada, full):
    """Each has the earlier form, but the browser's current cookie."""
    address, _ = full
    tabs = [ada.get(address) for _ in range(2)]
    assert [tab.press("Hold the best", section="floor").status for tab in tabs] == [409, 409]


def test_also_for_a_hall_that_sold_out_meanwhile_the_way_leads_to_the_basket(ada, seats, full):
    event = small_hall(sections=(STALLS,))
    put_on_sale(seats, event)
    page = ada.get(f"/events/{event.id}")
    seats.open_event(event, sold=event.seats)
    refused = page.press("Hold the best", section="stalls", quantity="1")
    assert "Sold out." in refused.text
    assert refused.link("Open your basket").title == "Your basket"


def test_the_longest_names_fit_the_cookie(stack, seats):
    """Random letters, which do not shrink; events and sections have names of at most 64."""
    ada = Browser(stack.url)
    for _ in range(MAX_HOLDS):
        event_id, section_id = secrets.token_hex(32), secrets.token_hex(32)
        row = Row(secrets.token_hex(8), (numbers(1000, 1049),))
        section = Section(section_id, "Long", "seated", 0, (row,))
        event = replace(small_hall(sections=(section,), **ROOMY), id=event_id)
        put_on_sale(seats, event)
        ada.move()
        page = ada.get(f"/events/{event_id}").press("Hold the best", quantity="6")
        assert page.status == 200
    assert len(in_basket(ada)) == MAX_HOLDS
    assert size_of_cookie(ada) < COOKIE_BYTES


def test_the_most_seats_fit_the_cookie(ada, seats):
    """As short names as there are: there is room for the most of them."""
    rows = tuple(Row(letter, (numbers(1, 50),)) for letter in "abcdefgh")
    section = Section("s", "Short", "seated", 0, rows)
    event = small_hall(sections=(section,), max_seats_per_hold=50, max_held_per_client=1000)
    put_on_sale(seats, event)
    for row in rows:
        ada.move()
        chosen = [f"s-{row.id}-{number}" for number in range(1, 51)]
        assert ada.get(f"/events/{event.id}").press("Hold the chosen", seats=chosen).status == 200
    assert len(in_basket(ada)) == MAX_HOLDS
    assert size_of_cookie(ada) < COOKIE_BYTES


def size_of_cookie(ada: Browser) -> int:
    """Over TLS, with a login of the organiser and a message beside the basket."""
    (cookie,) = (cookie for cookie in ada.cookies if cookie.name == "tickets")
    attributes = "; Secure; HttpOnly; Path=/; SameSite=Lax; Expires=Mon, 28 Dec 2026 17:30:05 GMT"
    return len(f"__Host-tickets={cookie.value}{attributes}") + 400
