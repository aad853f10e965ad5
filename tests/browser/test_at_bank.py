"""Cards whose bank asks on a page of its own: to the bank and back, in all the ways in which people
do that. What Stripe.js does without leaving the page is in ``test_bank_in_page.py``."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import move
from tests.browser.states import ASKING, AT_BANK, DECLINED, ready_to_pay
from tests.support.bank import run_out_of_time
from tests.support.factories import put_on_sale, small_hall
from tests.support.site import Site
from tests.support.waiting import eventually

AGAIN = "These seats are yours to buy"


@pytest.fixture
def at_bank(page_at, seats) -> Callable[..., Page]:
    """Two seats, paid with a card whose bank asks; the arguments are those of ``page_at``."""

    def paid(**options: object) -> Page:
        event = small_hall()
        put_on_sale(seats, event)
        page = ready_to_pay(page_at(f"/events/{event.id}", **options))
        page.get_by_label(ASKING).check()
        page.get_by_role("button", name="Pay").dblclick(no_wait_after=True)
        heading_is(page, AT_BANK)
        return page

    return paid


def heading_is(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def go_to_bank(page: Page) -> None:
    page.get_by_role("link", name="Continue to your bank").click()
    heading_is(page, "Your bank")


def answer(page: Page, button: str) -> None:
    page.get_by_role("button", name=button).click()


def is_paid(page: Page) -> None:
    expect(page).to_have_url(re.compile("/receipts/"))
    heading_is(page, "You are in")


def is_looked_at(page: Page) -> None:
    """As when the buyer comes back to this tab, which was not shown meanwhile."""
    move(page)  # Buyers take longer than a second for all this.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def payments_of(stack: Site, page_url: str) -> list:
    hold_id = re.search("hld_[^/]+", page_url)[0]
    return [payment for payment in stack.payments() if payment.key.startswith(hold_id)]


@pytest.mark.parametrize("javascript", [True, False], ids=["JavaScript", "no JavaScript"])
def test_to_the_bank_and_back_to_the_receipt(at_bank, stack, javascript):
    page = at_bank(javascript=javascript)
    hold = page.url
    go_to_bank(page)
    page.reload()
    answer(page, "Yes, pay")
    is_paid(page)
    move(page)  # Buyers take longer than a second for all this.
    page.goto(hold)
    is_paid(page)
    assert stack.charges(hold) == [5000]
    assert len(payments_of(stack, hold)) == 1, "a double click on Pay is one payment"


def test_with_the_keyboard_alone(at_bank):
    page = at_bank()
    page.get_by_role("link", name="A small evening").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Continue to your bank")).to_be_focused()
    page.keyboard.press("Enter")
    heading_is(page, "Your bank")


def test_the_time_to_confirm_runs(at_bank):
    page = at_bank()
    left = page.locator("#time-left .time")
    expect(left).to_have_text(re.compile("^5 minutes 5[0-8] seconds"))
    expect(page.get_by_text("when this page was made")).to_be_hidden()


def test_the_bank_does_not_learn_the_address_of_the_hold(at_bank):
    page = at_bank()
    go_to_bank(page)
    assert page.evaluate("document.referrer") == ""


def test_the_back_button_at_the_bank_leads_to_the_question_again(at_bank, stack):
    page = at_bank()
    hold = page.url
    go_to_bank(page)
    page.go_back()
    heading_is(page, AT_BANK)
    go_to_bank(page)
    answer(page, "Yes, pay")
    is_paid(page)
    assert stack.charges(hold) == [5000]


def test_who_refuses_may_cancel_and_pay_with_another_card(at_bank, stack):
    page = at_bank()
    hold = page.url
    go_to_bank(page)
    answer(page, "No, do not pay")
    expect(page.get_by_text("The payment was not confirmed at your bank.")).to_be_visible()
    page.get_by_label("Name").fill("Ada Lovelace")
    page.get_by_label("E-mail address").fill("ada@example.org")
    page.get_by_label(ASKING).check()
    page.get_by_role("button", name="Pay").click()
    page.get_by_role("button", name="Cancel this payment").dblclick()
    expect(page.get_by_text("This payment was canceled. Nothing was charged.")).to_be_visible()
    assert stack.charges(hold) == []


def test_a_closed_tab_is_booked_all_the_same(at_bank, stack, redis_client, seats):
    """The buyer says yes in the bank's app; the worker finds that out."""
    page = at_bank()
    hold, context = page.url, page.context
    [payment] = payments_of(stack, hold)
    page.close()
    stack.sandbox.decide(payment.payment_id, "accept")
    event_id, hold_id = re.search("/events/(.*)/holds/(.*)", hold).groups()
    run_out_of_time(redis_client, event_id, hold_id)
    eventually(lambda: seats.read_seats(event_id).seats.count("s") == 2, "the booking")
    page = context.new_page()
    page.goto("/basket")
    page.get_by_role("link", name="Show the receipt").click()
    is_paid(page)
    assert stack.charges(hold) == [5000]


def test_a_yes_in_the_banks_app_shows_when_the_buyer_comes_back_to_the_tab(at_bank, stack):
    page = at_bank()
    [payment] = payments_of(stack, page.url)
    with page.expect_response("**/holds/hld_*"):
        is_looked_at(page)
    heading_is(page, AT_BANK)
    stack.sandbox.decide(payment.payment_id, "accept")
    is_looked_at(page)
    is_paid(page)


def test_the_app_of_the_bank_opens_another_browser(at_bank, page_at):
    page = at_bank()
    link = page.get_by_role("link", name="Continue to your bank").get_attribute("href")
    other = page_at(link)
    answer(other, "Yes, pay")
    heading_is(other, "Please go back to the browser in which you chose your seats")
    is_looked_at(page)
    is_paid(page)


def test_two_tabs_with_two_cards_are_one_payment(at_bank, stack):
    page = at_bank()
    hold = page.url
    page.get_by_role("button", name="Cancel this payment").click()
    heading_is(page, AGAIN)
    second = page.context.new_page()
    second.goto(hold)
    for tab, card in ((page, ASKING), (second, DECLINED)):
        tab.get_by_label("Name").fill("Ada Lovelace")
        tab.get_by_label("E-mail address").fill("ada@example.org")
        tab.get_by_label(card).check()
        tab.get_by_role("button", name="Pay").click()
        heading_is(tab, AT_BANK)
    go_to_bank(second)
    answer(second, "Yes, pay")
    is_paid(second)
    is_looked_at(page)
    is_paid(page)
    assert stack.charges(hold) == [5000]


def test_what_is_not_confirmed_in_time_ends_at_the_form_to_pay(at_bank, redis_client, seats):
    page = at_bank()
    event_id, hold_id = re.search("/events/(.*)/holds/(.*)", page.url).groups()
    link = page.get_by_role("link", name="Continue to your bank").get_attribute("href")
    run_out_of_time(redis_client, event_id, hold_id)
    eventually(lambda: "p" not in seats.read_seats(event_id).seats, "the end of the payment")
    is_looked_at(page)
    heading_is(page, AGAIN)
    expect(page.get_by_text("was not confirmed at your bank in time.")).to_be_visible()
    page.goto(link)
    expect(page.get_by_role("button", name="Yes, pay")).to_be_hidden()
