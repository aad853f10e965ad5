"""Stripe's card field, with a stand-in for the script that comes from Stripe: no request leaves
this machine, and the charge is the payment sandbox's."""

import re
import threading
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, Route, expect
from werkzeug.serving import make_server

from tests.browser.states import fill_in, ready_to_pay
from tests.browser.test_older_browsers import BASIC, NEWER
from tests.support.application import application_with
from tests.support.factories import put_on_sale, small_hall

STAND_IN = """
window.Stripe = (key) => (window.stripe = {
    elements: () => ({ create: (kind) => ({
        mount: (place) => {
            const frame = document.createElement("iframe");
            frame.src = `https://js.stripe.com/v3/${kind}.html`;
            frame.onload = () => window.ready();
            place.appendChild(frame);
        },
        unmount() { document.querySelector(".card-field").textContent = ""; },
        on(what, heard) { window[what] = heard; },
        update() {}, focus() { window.focused = true; },
    }) }),
    __proto__: { createPaymentMethod: async ({ billing_details }) => {
        (window.asked ||= []).push({ key, ...billing_details });
        return window.refused
            ? { error: { message: window.refused } }
            : { paymentMethod: { id: window.card || "pm_card_visa" } };
    } },
});
"""
"""Answers as https://docs.stripe.com/js says."""


def a_field(route: Route) -> None:
    route.fulfill(content_type="text/html", body="<input>")


def stand_in(route: Route) -> None:
    route.fulfill(content_type="text/javascript", body=STAND_IN)


NO_SCRIPT = {
    "blocked": lambda route: route.abort(),
    "an error": lambda route: route.fulfill(status=503, body="later"),
    "somebody else's page": lambda route: route.fulfill(content_type="text/html", body="<h1>Hi"),
    "no Stripe in it": lambda route: route.fulfill(content_type="text/javascript", body="let a"),
    "no answer": lambda route: None,
}
"""What may come instead of Stripe's script."""


NEEDED = ("card.js", "asking.js")
"""Scripts of this site without which there is no card field."""

WAYS_TO_LACK_A_SCRIPT = {"blocked": lambda route: route.abort(), "no answer": lambda route: None}

IN_THE_WAY = {
    **BASIC,
    "matchMedia that is no more than a name": "window.matchMedia = () => null",
    "no append": "delete Element.prototype.append",
    "no reportValidity": "delete HTMLFormElement.prototype.reportValidity",
    "no styles to read": "delete window.getComputedStyle",
}

OF_THE_CARD_FIELD = [
    "no AbortController",
    "no matchMedia",
    "matchMedia that is no more than a name",
    "no append",
    "no reportValidity",
    "no styles to read",
]
"""What its script uses of these."""


@pytest.fixture(scope="module")
def shop(stack) -> Iterator[str]:
    """The stack's own application with a publishable key; its address."""
    # Without nginx the static files count, too.
    also = {"STRIPE_PUBLISHABLE_KEY": "pk_test_browser", "RATE_LIMIT": "1000/second"}
    app = application_with(**stack.environment | also)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def held(page_at, seats, shop) -> Callable[..., Page]:
    """A page with a hold, and the buyer's name and address typed in. ``before`` is a script that
    runs before the site's own; ``without`` is one of those, answered in ``way``."""

    def hold(
        script: Callable[[Route], None] = stand_in,
        frames: Callable[[Route], None] = a_field,
        before: str = "",
        without: str = "",
        way: str = "blocked",
        **options: object,
    ) -> Page:
        put_on_sale(seats, event := small_hall())
        page = page_at("about:blank", **options)
        page.clock.install()
        page.add_init_script(before)

        def answer(route):
            page.stripe.append(route.request.url)
            is_frame = route.request.url.endswith(".html")
            (page.frames_answer if is_frame else page.answer)(route)

        page.stripe = []
        page.answer, page.frames_answer = script, frames
        page.context.route(re.compile("^https://"), answer)
        page.goto(f"{shop}/events/{event.id}")
        if without:
            page.route(f"**/{without}", WAYS_TO_LACK_A_SCRIPT[way])
        ready_to_pay(page, wait_until="commit")
        if without not in NEEDED and options.get("javascript", True):
            expect(page.locator(".card-field p")).to_have_count(0)
            if script is stand_in:
                expect(page.locator(".card-field iframe")).to_be_attached()
        return page

    return hold


def pass_seconds(page: Page, seconds: int) -> None:
    page.clock.run_for(1000 * seconds)


def pay(page: Page) -> None:
    # Not with the mouse: while text comes and goes above it the button moves.
    page.locator(".pay-button").press("Enter")


def test_a_card_that_is_typed_into_the_field_of_stripe_pays(held):
    page = held()
    expect(page.frame_locator(".card-field iframe").locator("input")).to_be_visible()
    pay(page)
    page.wait_for_url("**/receipts/**")
    urls = ["https://js.stripe.com/v3/", "https://js.stripe.com/v3/card.html"]
    assert page.stripe == urls


def test_the_card_is_asked_for_once_with_the_name_and_address_of_the_buyer(held):
    page = held()
    page.evaluate("document.querySelector('.pay').submit = () => {}")
    page.evaluate("for (const _ of [1, 2]) document.querySelector('.pay-button').click()")
    expect(page.locator("[name=payment_method]")).to_have_value("pm_card_visa")
    buyer = {"key": "pk_test_browser", "name": "Ada Lovelace", "email": "ada@example.org"}
    assert page.evaluate("asked") == [buyer]


def test_a_card_that_stripe_does_not_take_is_told_at_the_field_and_can_be_typed_again(held):
    page = held()
    page.evaluate("window.refused = 'Your card number is incomplete.'")
    pay(page)
    told = page.get_by_role("alert")
    expect(told).to_have_text("Your card number is incomplete. Nothing was charged.")
    assert page.evaluate("focused")
    page.evaluate("window.refused = undefined")
    pay(page)
    page.wait_for_url("**/receipts/**")


def test_a_card_that_the_bank_refuses_leads_to_a_form_for_another(held):
    page = held()
    page.evaluate("window.card = 'pm_card_visa_chargeDeclined'")
    pay(page)
    expect(page.get_by_role("heading", name="The card was refused")).to_be_visible()
    expect(page.locator("#mistakes")).to_contain_text("Nothing was charged.")
    expect(page.locator(".card-field iframe")).to_be_visible()
    pay(page)
    page.wait_for_url("**/receipts/**")


def test_a_card_whose_owner_would_have_to_confirm_is_refused_with_words(held):
    page = held()
    page.evaluate("window.card = 'pm_card_authenticationRequired'")
    pay(page)
    expect(page.locator("#mistakes")).to_contain_text("asks its owner to confirm")


def test_without_a_name_stripe_is_not_asked_and_the_card_stays(held):
    page = held()
    page.get_by_label("Name").fill("")
    pay(page)
    expect(page.get_by_label("Name")).to_be_focused()
    expect(page.locator(".pay-button")).to_be_enabled()
    assert page.evaluate("window.asked") is None


@pytest.mark.parametrize("what", NO_SCRIPT)
def test_when_the_field_cannot_be_loaded_it_says_so_and_loads_again_with_all_that_was_typed(
    held, what
):
    page = held(NO_SCRIPT[what], may_fail=True)
    if what == "no answer":
        pass_seconds(page, 10)
    wrong = page.locator("#card-wrong")
    expect(wrong).to_contain_text("could not be loaded. Nothing was charged")
    expect(wrong).to_contain_text("js.stripe.com")
    again = page.get_by_role("button", name="Load the card field again")
    sent = []
    page.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    pay(page)
    expect(again).to_be_focused()
    expect(page.locator(".pay-button")).to_be_enabled()
    expect(page.locator(".pay [data-offline]")).to_be_hidden()
    assert sent == []
    page.answer = stand_in
    again.click()
    expect(page.frame_locator(".card-field iframe").locator("input")).to_be_visible()
    expect(again).to_be_hidden()
    expect(wrong).to_be_empty()
    pay(page)
    page.wait_for_url("**/receipts/**")


def test_a_field_that_is_still_being_loaded_is_waited_for(held):
    routes = []
    page = held(routes.append)
    pay(page)
    expect(page.locator("#card-wrong")).to_contain_text("still being loaded. Nothing was charged")
    stand_in(routes[0])
    expect(page.locator(".card-field iframe")).to_be_visible()
    pay(page)
    page.wait_for_url("**/receipts/**")


def test_a_field_of_stripe_that_stays_empty_is_told_and_put_in_again(held):
    page = held(frames=lambda route: None)
    expect(page.locator(".card-field iframe")).to_be_attached()
    pass_seconds(page, 10)
    expect(page.locator("#card-wrong")).to_contain_text("could not be loaded")
    page.frames_answer = a_field
    page.get_by_role("button", name="Load the card field again").click()
    expect(page.frame_locator(".card-field iframe").locator("input")).to_be_visible()
    expect(page.locator("#card-wrong")).to_be_empty()


@pytest.mark.parametrize(
    "answer", ["new Promise(() => {})", "Promise.reject(new Error('lost'))", "Promise.resolve({})"]
)
def test_when_stripe_does_not_answer_about_the_card_the_buyer_hears_it_and_can_go_on(held, answer):
    page = held()
    page.evaluate(
        f"""() => {{
            stripe.createPaymentMethod = () => {{
                delete stripe.createPaymentMethod;
                return {answer};
            }};
        }}"""
    )
    pay(page)
    if "new Promise" in answer:
        pass_seconds(page, 20)
    expect(page.locator("#card-wrong")).to_contain_text("has not answered about this card")
    expect(page.locator("#card-wrong")).to_contain_text("Nothing was charged")
    pay(page)
    page.wait_for_url("**/receipts/**")


@pytest.mark.parametrize("way", WAYS_TO_LACK_A_SCRIPT)
def test_a_card_pays_on_a_page_without_the_script_that_all_pages_have(held, way):
    page = held(without="pages.js", way=way)
    expect(page.frame_locator(".card-field iframe").locator("input")).to_be_visible()
    page.evaluate("window.refused = 'Your card number is incomplete.'")
    pay(page)
    expect(page.locator("#card-wrong")).to_have_text(
        "Your card number is incomplete. Nothing was charged."
    )
    page.evaluate("window.refused = undefined")
    pay(page)
    page.wait_for_url("**/receipts/**", wait_until="commit")


def test_without_that_script_too_the_card_is_asked_for_once(held):
    page = held(without="pages.js")
    page.evaluate("document.querySelector('.pay').submit = () => {}")
    page.evaluate("for (const _ of [1, 2]) document.querySelector('.pay-button').click()")
    expect(page.locator("[name=payment_method]")).to_have_value("pm_card_visa")
    assert len(page.evaluate("asked")) == 1


@pytest.mark.parametrize("way", WAYS_TO_LACK_A_SCRIPT)
@pytest.mark.parametrize("missing", NEEDED)
def test_where_a_script_of_the_card_field_is_missing_its_place_leads_to_another_try(
    held, missing, way
):
    page = held(without=missing, way=way)
    place = page.locator(".card-field")
    expect(place).to_contain_text("If it does not appear, load this page again.")
    with page.expect_request(f"**/{missing}"):  # of the page that follows, which lacks it too
        pay(page)
    told = page.locator("#mistakes")
    expect(told).to_contain_text("Nothing was charged.")
    expect(told).to_contain_text("load this page again")
    expect(told).not_to_contain_text("Stripe")
    page.route(f"**/{missing}", lambda route: route.continue_())
    place.get_by_role("link", name="load this page again").click()
    expect(page.frame_locator(".card-field iframe").locator("input")).to_be_visible()
    expect(place).to_have_text("")


def test_a_card_is_asked_for_by_a_browser_that_lacks_one_thing_of_the_field(held):
    held_page = held(may_fail=True)
    for missing in OF_THE_CARD_FIELD:
        page = held_page.context.new_page()
        page.add_init_script(IN_THE_WAY[missing])
        page.goto(held_page.url)
        fill_in(page)
        expect(page.locator(".card-field iframe"), missing).to_be_visible()
        page.evaluate("document.querySelector('.pay').submit = () => {}")
        pay(page)
        card = page.locator("[name=payment_method]")
        expect(card, missing).to_have_value("pm_card_visa")
        page.close()


def test_a_card_pays_in_a_browser_with_all_of_this_in_the_way(held):
    before = [f"{{{script}}}\n" for script in (NEWER | IN_THE_WAY).values()]
    page = held(before="".join(before), may_fail=True)
    pay(page)
    page.wait_for_url("**/receipts/**")


@pytest.mark.parametrize("error", ["{}", "{ message: '' }"])
def test_an_error_of_stripe_without_words_gets_ours(held, error):
    page = held()
    page.wait_for_function("typeof stripe !== 'undefined'")
    page.evaluate(f"void (stripe.createPaymentMethod = async () => ({{ error: {error} }}))")
    pay(page)
    expect(page.locator("#card-wrong")).to_have_text(
        "Stripe did not accept this card. Nothing was charged."
    )


def test_without_javascript_nothing_is_charged(held):
    page = held(javascript=False)
    pay(page)
    expect(page.locator("#mistakes")).to_contain_text("Nothing was charged.")
    expect(page.locator("#mistakes")).to_contain_text("needs JavaScript")
