"""What runs on every page: the time left, the opening of a sale, and forms that are sent once."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from tests.browser.states import ready_to_pay
from tests.support.factories import put_on_sale, small_hall
from web.domain.sales import rfc3339


@pytest.fixture
def held(page_at, seats) -> Callable[..., Page]:
    """A page with a hold of two seats, and the buyer's name and address typed in."""

    def hold(**changes: object) -> Page:
        event = small_hall(**changes)
        put_on_sale(seats, event)
        return ready_to_pay(page_at(f"/events/{event.id}"))

    return hold


def seconds_left(page: Page) -> int:
    """Of the text "1 minute 5 seconds"."""
    found = re.findall(r"(\d+) (minute|second)", page.locator("#time-left .time").inner_text())
    return sum(int(number) * {"minute": 60, "second": 1}[unit] for number, unit in found)


def test_the_time_left_runs_and_a_reload_does_not_extend_it(held):
    page = held()
    expect(page.locator("#time-left .time")).to_have_text(re.compile("^5[0-8] seconds"))
    left = seconds_left(page)
    page.reload()
    assert seconds_left(page) <= left


def test_a_wrong_clock_does_not_change_the_time_left(page_at, held):
    page = held()
    page.add_init_script("const now = Date.now; Date.now = () => now() + 86400000")
    page.reload()
    assert 40 <= seconds_left(page) <= 60


def test_after_the_computer_slept_the_server_is_asked_what_is_left(held):
    page = held()
    other = page.context.new_page()
    other.goto(page.url)
    other.get_by_role("button", name="Give me 1 minute more").click()
    other.get_by_text("You have more time now.").wait_for()
    assert seconds_left(page) <= 60
    page.evaluate("const now = Date.now; Date.now = () => now() + 3600000")
    expect(page.locator("#time-left .time")).to_have_text(re.compile("^1 minute [345]"))
    expect(page.get_by_label("Name")).to_have_value("Ada Lovelace")


def test_the_time_left_is_announced_at_few_moments(held):
    page = held(hold_ms=14_000)
    said = page.locator("main > [role=status].unseen")
    expect(said).to_have_text("10 seconds left to pay.")


def test_when_the_time_is_over_the_page_says_so_and_offers_the_seats_again(held):
    page = held(hold_ms=4000)
    expect(page.get_by_role("heading", level=1)).to_have_text("The time for these seats ran out")
    page.get_by_role("button", name="Hold the same seats again").click()
    page.wait_for_url("**/holds/hld_*")


def test_pressing_pay_twice_sends_one_form(held):
    page = held()
    asked = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    page.evaluate("for (const _ of [1, 2]) document.querySelector('.pay-button').click()")
    page.wait_for_url("**/receipts/**")
    assert asked.count("pay") == 1
    assert "healthz" not in asked, "there is no need to ask: the browser does not say it is offline"


def test_back_from_the_receipt_and_a_reload_lead_to_the_receipt(held):
    page = held()
    page.locator(".pay-button").click()
    page.wait_for_url("**/receipts/**")
    page.go_back()
    page.wait_for_url("**/receipts/**")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are in")


def test_the_form_can_be_sent_again_when_the_buyer_comes_back_to_it(held):
    page = held()
    page.evaluate("document.querySelector('.pay').submit = () => {}")
    page.locator(".pay-button").click()
    expect(page.locator(".pay-button")).to_be_disabled()
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(page.locator(".pay-button")).to_be_enabled()


@pytest.mark.parametrize("address", ["jürgen@example.de", "ada@münchen.example"])
def test_an_international_address_is_no_hindrance_to_the_browser(held, address):
    page = held()
    page.get_by_label("E-mail address").fill(address)
    page.locator(".pay-button").click()
    page.wait_for_url("**/receipts/**")


def test_offline_the_payment_is_not_sent_and_what_was_typed_stays(held):
    page = held()
    page.context.set_offline(True)
    page.locator(".pay-button").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was sent and nothing was charged")
    expect(page.get_by_label("Name")).to_have_value("Ada Lovelace")
    expect(page.locator(".pay-button")).to_be_enabled()
    page.context.set_offline(False)
    page.locator(".pay-button").click()
    page.wait_for_url("**/receipts/**")


def test_a_browser_that_wrongly_says_it_is_offline_sends_the_payment(held):
    page = held()
    page.evaluate("Object.defineProperty(navigator, 'onLine', { value: false })")
    page.locator(".pay-button").click()
    page.wait_for_url("**/receipts/**")


def test_a_browser_that_says_it_is_offline_sends_the_payment_when_it_is_pressed_again(held):
    page = held()
    page.evaluate("Object.defineProperty(navigator, 'onLine', { value: false })")
    page.route("**/healthz", lambda route: None)
    page.locator(".pay-button").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was sent and nothing was charged")
    page.locator(".pay-button").click()
    page.wait_for_url("**/receipts/**")


def test_offline_at_the_end_of_the_time_the_page_waits_for_the_connection(held):
    page = held(hold_ms=5000)
    page.context.set_offline(True)
    expect(page.locator("#time-left")).to_contain_text("we cannot be reached")
    page.context.set_offline(False)
    expect(page.get_by_role("heading", level=1)).to_have_text("The time for these seats ran out")


def test_a_refused_card_leaves_a_form_that_ends_at_the_page_of_the_hold(held):
    page = held(hold_ms=8000)
    page.get_by_label("Visa that its bank refuses").check()
    page.locator(".pay-button").click()
    expect(page.get_by_role("heading", name="The card was refused")).to_be_visible()
    # Not by sending the refused form once more.
    page.wait_for_url("**/holds/hld_*", timeout=20_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("The time for these seats ran out")


def test_an_opening_that_was_moved_is_told_when_its_time_comes(page_at, seats):
    opens_at = datetime.now(UTC) + timedelta(seconds=3)
    event = small_hall(sale_opens_at=opens_at)
    put_on_sale(seats, event)
    page = page_at(f"/events/{event.id}")
    later = replace(event, sale_opens_at=opens_at + timedelta(seconds=6))
    seats.open_event(later, sold=[])
    said = page.locator("main > [role=status].unseen")
    expect(said).to_contain_text("The opening was moved. The sale opens in", timeout=10_000)
    sale = page.locator("#sale")
    expect(sale).to_contain_text("Not on sale yet.")
    expect(sale).to_contain_text(re.compile("in [1-6] seconds?"))
    moment = sale.locator("time")
    assert moment.get_attribute("datetime") == rfc3339(later.sale_opens_at)
    assert moment.inner_text() == page_at(f"/events/{event.id}").locator("#sale time").inner_text()
    expect(sale).to_have_text("On sale now.", timeout=15_000)


def test_an_opening_that_nobody_can_be_asked_about_is_not_claimed(page_at, seats):
    event = small_hall(sale_opens_at=datetime.now(UTC) + timedelta(seconds=3))
    put_on_sale(seats, event)
    page = page_at(f"/events/{event.id}")
    page.route("**/seats", lambda route: route.fulfill(status=429))
    expect(page.locator("#sale")).to_contain_text("about now", timeout=10_000)
    assert "On sale now" not in page.locator("#sale").inner_text()
    page.unroute("**/seats")
    expect(page.locator("#sale")).to_have_text("On sale now.", timeout=15_000)


def test_the_opening_is_counted_down_and_nothing_is_loaded_for_it(page_at, seats):
    opens_at = datetime.now(UTC) + timedelta(seconds=4)
    event = small_hall(sale_opens_at=opens_at)
    put_on_sale(seats, event)
    page = page_at(f"/events/{event.id}")
    expect(page.locator("#sale")).to_contain_text(re.compile(r"in [1-4] seconds?"))
    loads = []
    page.on("request", lambda request: request.resource_type == "document" and loads.append(1))
    expect(page.locator("#sale")).to_have_text("On sale now.", timeout=10_000)
    assert not loads
    page.get_by_role("button", name="Hold the best seats").click()
    page.wait_for_url("**/holds/hld_*")
