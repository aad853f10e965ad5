"""A buyer whose browser runs no scripts, on the whole way through nginx."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.states import DECLINED, choose, pay
from tests.support.factories import put_on_sale, small_hall

HOLD = "Hold the chosen seats"


@pytest.fixture
def open_page(page_at):
    """Pages without scripts."""

    def opened(address: str = "/", **options: object) -> Page:
        return page_at(address, javascript=False, **options)

    return opened


@pytest.fixture
def hall(seats):
    """Puts a hall on sale; returns the address of its page."""

    def put(**changes: object) -> str:
        event = small_hall(**changes)
        put_on_sale(seats, event)
        return f"/events/{event.id}"

    return put


@pytest.fixture
def charges(stack):
    return stack.charges


def press(page: Page, button: str) -> None:
    page.get_by_role("button", name=button).click()


def hold(page: Page, *seats: str) -> str:
    """Returns the address of the hold."""
    choose(page, *seats)
    press(page, HOLD)
    expect(page).to_have_url(re.compile("/holds/hld_"))
    return page.url


def assert_booked(page: Page) -> None:
    expect(page).to_have_url(re.compile("/receipts/"))
    expect(page.get_by_role("heading", level=1)).to_have_text("You are in")


def test_from_the_list_of_events_to_the_receipt(open_page, charges):
    page = open_page("/")
    page.get_by_role("link", name="The Winter's Tale").first.click()
    page.get_by_label("Section").select_option("stalls")
    page.get_by_label("Number of seats").select_option("2")
    press(page, "Hold the best seats")
    expect(page.get_by_role("heading", level=1)).to_have_text("These seats are yours to buy")
    held = page.url
    pay(page)
    assert_booked(page)
    expect(page.get_by_role("img", name="Ticket code", exact=True)).to_be_visible()
    assert charges(held) == [9000]
    page.get_by_role("navigation").get_by_role("link", name="Basket").click()
    page.get_by_role("link", name="Show the receipt").click()
    assert_booked(page)


def test_a_refused_card_and_then_a_good_one_is_charged_once(open_page, hall, charges):
    page = open_page(hall())
    held = hold(page, "stalls-A-1")
    pay(page, DECLINED)
    summary = page.locator("#mistakes")
    expect(summary).to_be_focused()
    expect(summary).to_contain_text("Nothing was charged.")
    expect(page.get_by_label("Name")).to_have_value("Ada Lovelace")
    page.get_by_label("Visa that is accepted").check()
    press(page, "Pay £25.00")
    assert_booked(page)
    assert charges(held) == [2500]


def test_of_two_browsers_that_want_one_seat_one_gets_it(open_page, hall):
    address = hall()
    first, second = open_page(address), open_page(address)
    for page in (first, second):
        choose(page, "stalls-A-1")
        page.get_by_role("button", name=HOLD).press("Enter", no_wait_after=True)
    answers = [page.get_by_role("heading", level=1) for page in (first, second)]
    for page in (first, second):
        page.wait_for_url(re.compile("/holds"))
    titles = sorted(answer.inner_text() for answer in answers)
    assert titles == ["A small evening", "These seats are yours to buy"]
    loser = first if "hld_" in second.url else second
    expect(loser.locator("#mistakes")).to_contain_text("Stalls, row A, seat 1 is taken")
    expect(loser.locator('[value="stalls-A-1"]')).to_be_disabled()


def test_a_hold_that_runs_out_while_the_form_is_filled_in_is_not_charged(open_page, hall, charges):
    page = open_page(hall(hold_ms=3000))
    held = hold(page, "stalls-A-1", "stalls-A-2")
    page.wait_for_timeout(3000)
    pay(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("The time for these seats ran out")
    expect(page.get_by_role("main")).to_contain_text("Nothing was charged.")
    assert charges(held) == []
    press(page, "Hold the same seats again")
    expect(page.get_by_role("heading", level=1)).to_have_text("These seats are yours to buy")


def test_a_double_click_on_pay_charges_once(open_page, hall, charges):
    page = open_page(hall())
    held = hold(page, "stalls-A-1")
    page.get_by_label("Name").fill("Ada Lovelace")
    page.get_by_label("E-mail").fill("ada@example.org")
    page.get_by_role("button", name="Pay").dblclick(no_wait_after=True)
    assert_booked(page)
    assert charges(held) == [2500]


def test_two_tabs_that_pay_at_once_charge_once(open_page, hall, charges):
    first = open_page(hall())
    held = hold(first, "stalls-A-1")
    second = first.context.new_page()
    second.goto(held)
    for tab in (first, second):
        tab.get_by_label("Name").fill("Ada Lovelace")
        tab.get_by_label("E-mail").fill("ada@example.org")
    for tab in (first, second):
        tab.get_by_role("button", name="Pay").press("Enter", no_wait_after=True)
    for tab in (first, second):
        assert_booked(tab)
    assert first.url == second.url
    assert charges(held) == [2500]


def test_back_to_the_form_and_reload_lead_to_the_one_receipt(open_page, hall, charges):
    page = open_page(hall())
    held = hold(page, "stalls-A-1")
    pay(page)
    assert_booked(page)
    receipt = page.url
    page.go_back()
    if page.get_by_role("button", name="Pay").is_visible():
        pay(page)
    expect(page).to_have_url(receipt)
    page.reload()
    assert_booked(page)
    assert charges(held) == [2500]


def test_to_reload_the_page_of_a_refused_card_sends_nothing_new(open_page, hall, charges):
    page = open_page(hall())
    held = hold(page, "stalls-A-1")
    pay(page, DECLINED)
    expect(page.locator("#mistakes")).to_be_visible()
    left = page.get_by_text("more cards can be tried")
    before = left.inner_text()
    answer = page.reload()
    assert (answer.request.method, answer.status) == ("POST", 402)
    assert left.inner_text() == before
    assert charges(held) == []
