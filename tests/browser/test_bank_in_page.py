"""The question of a bank over the shop's own page, by the stand-in for Stripe's script: the bank is
the sandbox's, in a frame of the stand-in's."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from tests.browser import stripe_stand_in
from tests.browser.states import fill_in
from tests.browser.stripe_stand_in import (
    ASKING_CARD,
    ASKING_CARD_WITHOUT_MONEY,
    NO_SCRIPT,
    pass_seconds,
    pay_with_element,
    type_card,
)

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


@pytest.mark.parametrize("what", NO_SCRIPT)
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


def test_a_script_that_comes_late_still_asks_and_only_once(held, stack):
    page = held()
    routes = []
    page.stripe.script = routes.append
    pay_with(page, ASKING_CARD)
    expect(page.get_by_role("heading", name="Your bank asks you to confirm")).to_be_visible()
    hold = page.url
    pass_seconds(page, 10)
    page.get_by_role("button", name="Try again").click()
    for route in routes:
        stripe_stand_in.script(route)
    expect(page.locator("#bank-wrong")).to_be_empty()
    answer(page, "Yes, pay")
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
    expect(plain.locator(".mistakes")).to_contain_text("your browser has to run JavaScript")
    plain.get_by_role("button", name="Cancel this payment").click()
    expect(plain.get_by_role("heading", name="These seats are yours to buy")).to_be_visible()
    assert stack.charges(asked.url) == []


def test_a_page_at_the_bank_without_a_question_goes_on_when_the_payment_has(asked, stack):
    hold = asked.url
    asked.stripe.script = NO_SCRIPT["blocked"]
    waiting = asked.context.new_page()
    waiting.clock.install()
    waiting.goto(hold)
    answer(asked, "Yes, pay")
    is_paid(asked, stack, hold)
    pass_seconds(waiting, 16)
    is_paid(waiting, stack, hold)
