"""The question of a bank over the shop's own page, by the stand-in for Stripe's script: the bank is
the sandbox's, in a frame of the stand-in's."""

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from tests.browser import stripe_stand_in
from tests.browser.chromium import NARROW, move
from tests.browser.states import fill_in, pay, ready_to_pay
from tests.browser.stripe_stand_in import (
    ASKING_CARD,
    ASKING_CARD_WITHOUT_MONEY,
    ELEMENT,
    NO_SCRIPT,
    pass_seconds,
    pay_with_element,
    type_card,
)
from tests.browser.test_accessibility import barriers
from tests.browser.test_cards import IN_THE_WAY
from tests.browser.test_older_browsers import NEWER
from tests.support.factories import BUYER, put_on_sale, small_hall

NOT_CONFIRMED = "The payment was not confirmed at your bank. Nothing was charged."


@pytest.fixture
def asked(held) -> Iterator[Page]:
    """A page over which the bank asks."""
    page = held()
    pay_with(page, ASKING_CARD)
    expect(question_over(page).get_by_role("button", name="Yes, pay")).to_be_visible()
    return page


def pay_with(page: Page, card: str) -> None:
    fill_in(page)
    type_card(page, card)
    pay_with_element(page)


def stripes_frame(page: Page) -> FrameLocator:
    return page.frame_locator("iframe[title='Stripe: your bank']")


def question_over(page: Page) -> FrameLocator:
    return stripes_frame(page).frame_locator("iframe")


def answer(page: Page, button: str) -> None:
    question_over(page).get_by_role("button", name=button).click()


def is_paid(page: Page, stack, hold_address: str) -> None:
    page.wait_for_url("**/receipts/**")
    assert stack.charges(hold_address) == [5000]


def can_pay_with_another_card(page: Page, stack, hold_address: str) -> None:
    assert stack.charges(hold_address) == []
    expect(page.get_by_label("Name")).to_have_value("Ada Lovelace")
    expect(page.get_by_label("E-mail address")).to_have_value("ada@example.org")
    type_card(page)
    pay_with_element(page)
    is_paid(page, stack, hold_address)


def test_a_buyer_whose_bank_asks_says_yes_and_never_leaves_the_shop(held, stack):
    page = held()
    left = []
    page.on(
        "framenavigated",
        lambda frame: frame == page.main_frame and left.append(frame.url.split("/")[2]),
    )
    pay_with(page, ASKING_CARD)
    expect(page.get_by_role("heading", name="Your bank asks you to confirm")).to_be_visible()
    hold = page.url
    answer(page, "Yes, pay")
    is_paid(page, stack, hold)
    assert set(left) == {hold.split("/")[2]}


def test_a_buyer_who_says_no_can_pay_with_another_card(asked, stack):
    hold = asked.url
    answer(asked, "No, do not pay")
    expect(asked.get_by_role("status").first).to_contain_text(NOT_CONFIRMED)
    can_pay_with_another_card(asked, stack, hold)


def test_a_buyer_who_closes_the_question_can_pay_with_another_card(asked, stack):
    hold = asked.url
    stripes_frame(asked).get_by_role("button", name="Close").click()
    expect(asked.get_by_role("status").first).to_contain_text(NOT_CONFIRMED)
    can_pay_with_another_card(asked, stack, hold)


def test_a_card_that_is_declined_after_its_owner_has_confirmed_is_told_as_any(held, stack):
    page = held()
    pay_with(page, ASKING_CARD_WITHOUT_MONEY)
    hold = page.url
    answer(page, "Yes, pay")
    told = page.get_by_role("status").first
    expect(told).to_contain_text("insufficient funds. Nothing was charged.")
    can_pay_with_another_card(page, stack, hold)


def test_an_answer_in_the_app_of_the_bank_counts_for_the_page_that_asks(asked, stack):
    hold = asked.url
    stack.sandbox.decide(asked.stripe.intent_id, "accept")
    is_paid(asked, stack, hold)


def test_a_page_that_is_loaded_again_asks_again(asked, stack):
    hold = asked.url
    asked.reload()
    answer(asked, "Yes, pay")
    is_paid(asked, stack, hold)


@pytest.mark.parametrize("button", ["Yes, pay", "No, do not pay"])
def test_two_tabs_show_what_was_answered_in_one_of_them(asked, stack, button):
    hold = asked.url
    other = asked.context.new_page()
    other.goto(hold)
    answer(other, button)
    for page in (asked, other):
        if button == "Yes, pay":
            is_paid(page, stack, hold)
        else:
            expect(page.get_by_role("status").first).to_contain_text(NOT_CONFIRMED)


def test_a_payment_that_another_tab_gives_up_is_over_in_this_one_too(asked, stack):
    hold = asked.url
    asked.stripe.script = lambda route: route.abort()
    other = asked.context.new_page()
    other.goto(hold)
    other.get_by_role("button", name="Cancel this payment").click()
    for page in (other, asked):
        expect(page.get_by_role("heading", name="These seats are yours to buy")).to_be_visible()
    asked.stripe.script = stripe_stand_in.script
    asked.reload()
    can_pay_with_another_card(asked, stack, hold)


@pytest.mark.parametrize("what", ["no answer", "somebody else's page"])
def test_without_the_script_of_stripe_the_buyer_hears_it_and_can_try_again(held, stack, what):
    page = held(may_fail=True)
    page.stripe.script = NO_SCRIPT[what]
    pay_with(page, ASKING_CARD)
    expect(page.get_by_role("heading", name="Your bank asks you to confirm")).to_be_visible()
    hold = page.url
    if what == "no answer":
        pass_seconds(page, 10)
    wrong = page.locator("#bank-wrong")
    expect(wrong).to_contain_text("could not be loaded")
    expect(wrong).to_contain_text("Nothing was charged")
    page.stripe.script = stripe_stand_in.script
    page.get_by_role("button", name="Try again").click()
    answer(page, "Yes, pay")
    is_paid(page, stack, hold)


def test_without_the_script_of_stripe_the_payment_can_be_given_up(held, stack):
    page = held()
    page.stripe.script = NO_SCRIPT["blocked"]
    pay_with(page, ASKING_CARD)
    expect(page.locator("#bank-wrong")).to_contain_text("cancel this payment")
    hold = page.url
    page.stripe.script = stripe_stand_in.script
    page.get_by_role("button", name="Cancel this payment").click()
    expect(page.get_by_role("heading", name="These seats are yours to buy")).to_be_visible()
    can_pay_with_another_card(page, stack, hold)


def wait_for_one(page, routes) -> None:
    """Until the page has asked for the script. The browser works only while it is waited for."""
    deadline_s = time.monotonic() + 10
    while not routes and time.monotonic() < deadline_s:
        page.wait_for_timeout(50)


def test_a_script_that_comes_late_still_asks_and_only_once(held, stack):
    page = held()
    routes = []
    page.stripe.script = routes.append
    pay_with(page, ASKING_CARD)
    expect(page.get_by_role("heading", name="Your bank asks you to confirm")).to_be_visible()
    hold = page.url
    wait_for_one(page, routes)
    pass_seconds(page, 10)
    page.get_by_role("button", name="Try again").click()
    for route in routes:
        stripe_stand_in.script(route)
    expect(page.locator("#bank-wrong")).to_be_empty()
    answer(page, "Yes, pay")
    is_paid(page, stack, hold)


def test_a_payment_that_was_confirmed_before_the_script_came_is_found_out(held, stack):
    page = held(may_fail=True)
    routes = []
    page.stripe.script = routes.append
    pay_with(page, ASKING_CARD)
    secret = page.locator("[data-client-secret]").get_attribute("data-client-secret")
    hold = page.url
    stack.sandbox.decide(secret.partition("_secret_")[0], "accept")
    wait_for_one(page, routes)
    stripe_stand_in.script(routes[0])
    is_paid(page, stack, hold)


def test_when_stripe_cannot_be_reached_the_question_can_be_asked_for_again(held, stack):
    page = held()
    made = page.stripe.call

    def only_tokens(route):
        (made if "confirmation_tokens" in route.request.url else type(route).abort)(route)

    page.stripe.api = only_tokens
    pay_with(page, ASKING_CARD)
    wrong = page.locator("#bank-wrong")
    expect(wrong).to_contain_text("could not show the question of your bank. Nothing was charged.")
    hold = page.url
    page.stripe.api = made
    page.get_by_role("button", name="Try again").click()
    expect(wrong).to_be_empty()
    answer(page, "Yes, pay")
    is_paid(page, stack, hold)


def test_when_javascript_is_gone_meanwhile_the_page_says_what_to_do(asked, page_at, stack):
    plain = page_at(javascript=False, storage_state=asked.context.storage_state())
    plain.goto(asked.url)
    told = plain.locator("noscript .mistakes")
    expect(told).to_contain_text("your browser has to run JavaScript")
    plain.get_by_role("button", name="Cancel this payment").click()
    expect(plain.get_by_role("heading", name="These seats are yours to buy")).to_be_visible()
    assert stack.charges(asked.url) == []


def test_the_bank_asks_in_a_browser_with_all_of_this_in_the_way(held, stack):
    before = [f"{{{script}}}\n" for script in (NEWER | IN_THE_WAY).values()]
    page = held(before="".join(before), may_fail=True)
    page.route("**/pages.js", lambda route: route.abort())
    type_card(page, ASKING_CARD)
    pay_with_element(page)
    question_over(page).get_by_role("button", name="Yes, pay").wait_for()
    hold = page.url
    answer(page, "Yes, pay")
    is_paid(page, stack, hold)


def test_neither_the_element_nor_the_page_at_the_bank_has_barriers(held):
    page = held(viewport=NARROW)
    page.stripe.script = NO_SCRIPT["blocked"]
    page.locator(ELEMENT).evaluate("frame => frame.remove()")  # Stripe's own page
    assert barriers(page) == []
    page.reload()
    expect(page.locator("#card-wrong")).to_contain_text("could not be loaded")
    assert barriers(page) == []
    page.stripe.script = stripe_stand_in.script
    page.get_by_role("button", name="Load the payment form again").click()
    type_card(page, ASKING_CARD)
    page.stripe.script = NO_SCRIPT["blocked"]
    fill_in(page)
    pay_with_element(page)
    expect(page.locator("#bank-wrong")).to_contain_text("could not be loaded")
    for colours in ("light", "dark"):
        page.emulate_media(color_scheme=colours, reduced_motion="reduce")
        assert barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_a_page_of_a_payment_goes_on_by_itself(page_at, seats, stack):
    """The bank was opened in another tab, from a page without Stripe's script."""
    put_on_sale(seats, event := small_hall())
    page = page_at(f"/events/{event.id}")
    page.clock.install()
    ready_to_pay(page)
    hold = page.url
    attempt = seats.begin_payment(event, hold.rpartition("/")[2], BUYER, "digest", "fingerprint")
    page.reload()
    expect(page.get_by_role("heading", name="Your payment is being checked")).to_be_visible()
    seats.undo_payment(attempt, None)
    move(page)
    pass_seconds(page, 5)
    pay(page, "Card whose owner has to confirm each payment")
    at_bank = page.get_by_role("link", name="Continue to your bank").get_attribute("href")
    other = page.context.new_page()
    other.goto(at_bank)
    other.get_by_role("button", name="Yes, pay").click()
    is_paid(other, stack, hold)
    move(page)
    pass_seconds(page, 16)
    is_paid(page, stack, hold)
