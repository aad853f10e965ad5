"""Stripe's Payment Element, with a stand-in for the script that comes from Stripe: no request
leaves this machine, and the charge is the payment sandbox's."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import stripe_stand_in
from tests.browser.conftest import NEEDED, WAYS_TO_LACK_A_SCRIPT
from tests.browser.states import fill_in
from tests.browser.stripe_stand_in import (
    CARD_OF_ANOTHER_WORLD,
    DECLINED_CARD,
    ELEMENT,
    ELEMENT_URL,
    NO_SCRIPT,
    SCRIPT_URL,
    choose_wallet,
    pass_seconds,
    pay_with_element,
    type_card,
)
from tests.browser.test_older_browsers import BASIC, NEWER

INCOMPLETE = "Your card number is incomplete. Nothing was charged."

NO_ELEMENT = {
    "no answer": lambda route: None,
    "a frame that stays empty": lambda route: route.fulfill(content_type="text/html", body=""),
    "an error": lambda route: route.fulfill(
        content_type="text/html",
        body="<script>parent.postMessage({ event: 'loaderror' }, '*')</script>",
    ),
}
"""What may come instead of the element's frame."""

EDGE = """() => {
    const probe = document.body.appendChild(document.createElement("p"));
    probe.style.color = "var(--edge)";
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
}"""
"""The colour of the borders of the site's own fields."""

IN_THE_WAY = {
    **BASIC,
    "matchMedia that is no more than a name": "window.matchMedia = () => null",
    "no append": "delete Element.prototype.append",
    "no reportValidity": "delete HTMLFormElement.prototype.reportValidity",
    "no styles to read": "delete window.getComputedStyle",
}

OF_THE_ELEMENT = [
    "no AbortController",
    "no matchMedia",
    "matchMedia that is no more than a name",
    "no append",
    "no reportValidity",
    "no styles to read",
]
"""What its script uses of these."""


def press_twice_at_once(page: Page) -> None:
    """The form is not sent, but keeps what it would have sent."""
    page.evaluate("document.querySelector('.pay').submit = () => {}")
    page.evaluate("for (const _ of [1, 2]) document.querySelector('.pay-button').click()")
    expect(page.locator("[name=confirmation_token]")).to_have_value(re.compile("^ctoken_"))


def test_a_card_that_is_typed_into_the_element_of_stripe_pays(held):
    page = held()
    pay_with_element(page)
    page.wait_for_url("**/receipts/**")
    assert page.stripe.asked == [SCRIPT_URL, ELEMENT_URL]


def test_a_token_is_asked_for_once_with_the_name_and_address_of_the_buyer(held):
    page = held()
    press_twice_at_once(page)
    (asked,) = page.stripe.tokens
    assert asked["payment_method_data[billing_details][name]"] == "Ada Lovelace"
    assert asked["payment_method_data[billing_details][email]"] == "ada@example.org"


def test_the_element_has_the_amount_of_the_hold_and_the_address_that_was_typed(held):
    page = held()
    page.get_by_label("E-mail address").fill("grace@example.org")
    page.get_by_label("Name").press("Tab")
    options = page.evaluate("stripe.made.options")
    assert (options["amount"], options["currency"]) == (5000, "gbp")
    known = page.evaluate("stripe.made.element.options.defaultValues.billingDetails")
    assert known == {"name": "Ada Lovelace", "email": "grace@example.org"}


def test_a_wallet_pays_in_its_own_window_however_long_the_buyer_takes(held):
    page = held()
    choose_wallet(page)
    with page.expect_popup() as popup:
        pay_with_element(page)
    wallet = popup.value
    pass_seconds(page, 31)
    told = page.locator("#card-wrong")
    expect(told).to_contain_text("If a window for paying is open, go on there")
    pay_with_element(page)
    expect(page.locator(".pay-button")).to_be_enabled()
    wallet.get_by_role("button", name="Pay").click()
    page.wait_for_url("**/receipts/**")
    assert len(page.stripe.tokens) == 1


def test_a_card_that_is_not_complete_is_told_and_can_be_completed(held):
    page = held()
    type_card(page, "4242")
    pay_with_element(page)
    expect(page.get_by_role("alert")).to_have_text(INCOMPLETE)
    number = page.frame_locator(ELEMENT).get_by_label("Card number")
    expect(number).to_be_focused()
    type_card(page)
    expect(page.locator("#card-wrong")).to_be_empty()
    pay_with_element(page)
    page.wait_for_url("**/receipts/**")


def test_a_card_that_stripe_makes_no_token_of_is_told_and_can_be_typed_again(held):
    page = held()
    type_card(page, CARD_OF_ANOTHER_WORLD)
    pay_with_element(page)
    told = page.get_by_role("alert")
    expect(told).to_have_text("Your card number is incorrect. Nothing was charged.")
    type_card(page)
    pay_with_element(page)
    page.wait_for_url("**/receipts/**")


def test_a_card_that_the_bank_refuses_leads_to_a_form_for_another(held):
    page = held()
    type_card(page, DECLINED_CARD)
    pay_with_element(page)
    expect(page.get_by_role("heading", name="The card was refused")).to_be_visible()
    expect(page.locator("#mistakes")).to_contain_text("Nothing was charged.")
    type_card(page)
    pay_with_element(page)
    page.wait_for_url("**/receipts/**")


def test_a_token_that_was_used_before_has_to_be_made_again(held):
    """As when a form is sent again that a browser has kept."""
    page = held()
    used = page.stripe.used_token()
    page.evaluate("document.querySelector('.pay').prepare = () => true")
    page.locator("[name=confirmation_token]").evaluate("(field, id) => field.value = id", used)
    pay_with_element(page)
    expect(page.locator("#mistakes")).to_contain_text("Enter the card again. Nothing was charged.")
    type_card(page)
    pay_with_element(page)
    page.wait_for_url("**/receipts/**")


def test_without_a_name_stripe_is_not_asked_and_the_card_stays(held):
    page = held()
    page.get_by_label("Name").fill("")
    pay_with_element(page)
    expect(page.get_by_label("Name")).to_be_focused()
    expect(page.locator(".pay-button")).to_be_enabled()
    assert page.stripe.tokens == []


def test_the_element_looks_like_the_page_in_the_light_and_in_the_dark(held):
    page = held()
    body = page.frame_locator(ELEMENT).locator("body")
    number = page.frame_locator(ELEMENT).get_by_label("Card number")
    for scheme, background, ink in (
        ("light", "rgb(255, 255, 255)", "rgb(31, 26, 36)"),
        ("dark", "rgb(32, 28, 37)", "rgb(240, 236, 242)"),
    ):
        page.emulate_media(color_scheme=scheme)
        expect(body).to_have_css("background-color", background)
        expect(body).to_have_css("color", ink)
        expect(number).to_have_css("border-color", page.evaluate(EDGE))


@pytest.mark.parametrize("what", NO_SCRIPT)
def test_when_the_element_cannot_be_loaded_it_says_so_and_loads_again_with_all_that_was_typed(
    held, what
):
    page = held(NO_SCRIPT[what], may_fail=True)
    if what == "no answer":
        pass_seconds(page, 10)
    wrong = page.locator("#card-wrong")
    expect(wrong).to_contain_text("could not be loaded. Nothing was charged")
    expect(wrong).to_contain_text("js.stripe.com")
    again = page.get_by_role("button", name="Load the payment form again")
    sent = []
    page.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    pay_with_element(page)
    expect(again).to_be_focused()
    expect(page.locator(".pay-button")).to_be_enabled()
    expect(page.locator(".pay [data-offline]")).to_be_hidden()
    assert sent == []
    page.stripe.script = stripe_stand_in.script
    again.click()
    type_card(page)
    expect(again).to_be_hidden()
    expect(wrong).to_be_empty()
    pay_with_element(page)
    page.wait_for_url("**/receipts/**")


def test_an_element_that_is_still_being_loaded_is_waited_for(held):
    routes = []
    page = held(routes.append)
    pay_with_element(page)
    expect(page.locator("#card-wrong")).to_contain_text("still being loaded. Nothing was charged")
    stripe_stand_in.script(routes[0])
    type_card(page)
    pay_with_element(page)
    page.wait_for_url("**/receipts/**")


@pytest.mark.parametrize("what", NO_ELEMENT)
def test_an_element_of_stripe_that_never_gets_ready_is_told_and_put_in_again(held, what):
    page = held(element=NO_ELEMENT[what])
    expect(page.locator(ELEMENT)).to_be_attached()
    if what != "an error":
        pass_seconds(page, 10)
    expect(page.locator("#card-wrong")).to_contain_text("could not be loaded")
    pay_with_element(page)
    again = page.get_by_role("button", name="Load the payment form again")
    expect(again).to_be_focused()
    page.stripe.element = stripe_stand_in.element
    again.click()
    type_card(page)
    expect(page.locator("#card-wrong")).to_be_empty()
    expect(page.locator(ELEMENT)).to_have_count(1)
    pay_with_element(page)
    page.wait_for_url("**/receipts/**")


@pytest.mark.parametrize(
    "answer", ["new Promise(() => {})", "Promise.reject(new Error('lost'))", "Promise.resolve({})"]
)
def test_when_stripe_does_not_answer_about_the_card_the_buyer_hears_it_and_can_go_on(held, answer):
    page = held()
    page.evaluate(
        f"""() => {{
            stripe.createConfirmationToken = () => {{
                delete stripe.createConfirmationToken;
                return {answer};
            }};
        }}"""
    )
    pay_with_element(page)
    if "new Promise" in answer:
        pass_seconds(page, 20)
    expect(page.locator("#card-wrong")).to_contain_text("has not answered about this payment")
    expect(page.locator("#card-wrong")).to_contain_text("Nothing was charged")
    pay_with_element(page)
    page.wait_for_url("**/receipts/**")


def test_when_the_api_of_stripe_cannot_be_reached_the_buyer_hears_it_and_can_go_on(held):
    page = held()
    page.stripe.api = lambda route: route.abort()
    pay_with_element(page)
    expect(page.locator("#card-wrong")).to_contain_text("Nothing was charged")
    page.stripe.api = page.stripe.call
    pay_with_element(page)
    page.wait_for_url("**/receipts/**")


def test_when_stripe_hangs_before_it_has_a_card_the_buyer_hears_what_to_do(held):
    page = held()
    page.evaluate("void (stripe.made.submit = () => new Promise(() => {}))")
    pay_with_element(page)
    pass_seconds(page, 20)
    told = page.locator("#card-wrong")
    expect(told).to_contain_text("has not answered yet. Nothing was charged.")
    expect(told).to_contain_text("load this page again")
    page.reload()
    fill_in(page)
    type_card(page)
    pay_with_element(page)
    page.wait_for_url("**/receipts/**")


@pytest.mark.parametrize("way", WAYS_TO_LACK_A_SCRIPT)
def test_a_card_pays_on_a_page_without_the_script_that_all_pages_have(held, way):
    page = held(without="pages.js", way=way)
    type_card(page, "4242")
    pay_with_element(page)
    expect(page.locator("#card-wrong")).to_have_text(INCOMPLETE)
    type_card(page)
    pay_with_element(page)
    page.wait_for_url("**/receipts/**", wait_until="commit")


def test_without_that_script_too_a_token_is_asked_for_once(held):
    page = held(without="pages.js")
    press_twice_at_once(page)
    assert len(page.stripe.tokens) == 1


@pytest.mark.parametrize("way", WAYS_TO_LACK_A_SCRIPT)
@pytest.mark.parametrize("missing", NEEDED)
def test_where_a_script_of_the_element_is_missing_its_place_leads_to_another_try(
    held, missing, way
):
    page = held(without=missing, way=way)
    place = page.locator(".card-field")
    expect(place).to_contain_text("If it does not appear, load this page again.")
    with page.expect_request(f"**/{missing}"):  # of the page that follows, which lacks it too
        pay_with_element(page)
    told = page.locator("#mistakes")
    expect(told).to_contain_text("Nothing was charged.")
    expect(told).to_contain_text("load this page again")
    expect(told).not_to_contain_text("Stripe")
    page.route(f"**/{missing}", lambda route: route.continue_())
    place.get_by_role("link", name="load this page again").click()
    type_card(page)
    expect(place).to_have_text("")


def test_a_card_is_asked_for_by_a_browser_that_lacks_one_thing_of_the_element(held):
    held_page = held(may_fail=True)
    for missing in OF_THE_ELEMENT:
        page = held_page.context.new_page()
        page.add_init_script(IN_THE_WAY[missing])
        page.goto(held_page.url)
        fill_in(page)
        type_card(page)
        page.evaluate("document.querySelector('.pay').submit = () => {}")
        pay_with_element(page)
        token = page.locator("[name=confirmation_token]")
        expect(token, missing).to_have_value(re.compile("^ctoken_"))
        page.close()


def test_a_card_pays_in_a_browser_with_all_of_this_in_the_way(held):
    before = [f"{{{script}}}\n" for script in (NEWER | IN_THE_WAY).values()]
    page = held(before="".join(before), may_fail=True)
    pay_with_element(page)
    page.wait_for_url("**/receipts/**")


@pytest.mark.parametrize("error", ["{}", "{ message: '' }"])
def test_an_error_of_stripe_without_words_gets_ours(held, error):
    page = held()
    page.evaluate(f"void (stripe.createConfirmationToken = async () => ({{ error: {error} }}))")
    pay_with_element(page)
    expect(page.locator("#card-wrong")).to_have_text(
        "Stripe did not accept this card. Nothing was charged."
    )


def test_without_javascript_nothing_is_charged(held):
    page = held(javascript=False)
    pay_with_element(page)
    expect(page.locator("#mistakes")).to_contain_text("Nothing was charged.")
    expect(page.locator("#mistakes")).to_contain_text("needs JavaScript")
