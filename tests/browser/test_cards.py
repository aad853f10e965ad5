"""Stripe's card field, with a stand-in for the script that comes from Stripe: no request leaves
this machine, and the charge is the payment sandbox's."""

import re
import threading
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect
from werkzeug.serving import make_server

from tests.application import application_with
from tests.browser.states import ready_to_pay
from tests.factories import put_on_sale, small_hall

STAND_IN = """
window.Stripe = (key) => ({
    elements: () => ({ create: (kind) => ({
        mount: (place) => {
            const frame = document.createElement("iframe");
            frame.src = `https://js.stripe.com/v3/${kind}.html`;
            place.append(frame);
        },
        update() {}, on() {}, focus() { window.focused = true; },
    }) }),
    createPaymentMethod: async ({ billing_details }) => {
        (window.asked ||= []).push({ key, ...billing_details });
        return window.refused
            ? { error: { message: "Your card number is incomplete." } }
            : { paymentMethod: { id: window.card || "pm_card_visa" } };
    },
});
"""
"""Answers as https://docs.stripe.com/js says."""


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
    """A page with a hold, and the buyer's name and address typed in."""

    def hold(script: str | None = STAND_IN, **options: object) -> Page:
        put_on_sale(seats, event := small_hall())
        page = page_at("about:blank", **options)

        def answer(route):
            if script is None:
                return route.abort()
            is_frame = route.request.url.endswith(".html")
            page.stripe.append(route.request.url)
            kind, body = ("text/html", "<input>") if is_frame else ("text/javascript", script)
            return route.fulfill(content_type=kind, body=body)

        page.stripe = []
        page.context.route(re.compile("^https://"), answer)
        page.goto(f"{shop}/events/{event.id}")
        return ready_to_pay(page)

    return hold


def pay(page: Page) -> None:
    page.locator(".pay-button").click()


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
    page.evaluate("window.refused = true")
    pay(page)
    told = page.get_by_role("alert")
    expect(told).to_have_text("Your card number is incomplete. Nothing was charged.")
    assert page.evaluate("focused")
    page.evaluate("window.refused = false")
    # Not with the mouse: for a moment Chromium takes the frame to be where it was.
    page.locator(".pay-button").press("Enter")
    page.wait_for_url("**/receipts/**")


def test_a_card_that_the_bank_refuses_leads_to_a_form_for_another(held):
    page = held()
    page.evaluate("window.card = 'pm_card_visa_chargeDeclined'")
    pay(page)
    expect(page.get_by_role("heading", name="The card was refused")).to_be_visible()
    expect(page.locator("#mistakes")).to_contain_text("Nothing was charged.")
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


def test_when_the_field_cannot_be_loaded_nothing_is_sent(held):
    page = held(script=None)
    expect(page.locator("#card-wrong")).to_contain_text("could not be loaded")
    sent = []
    page.on("request", lambda request: sent.append(request.url.rpartition("/")[2]))
    pay(page)
    page.wait_for_timeout(500)
    expect(page.locator(".pay-button")).to_be_enabled()
    expect(page.locator(".pay [data-offline]")).to_be_hidden()
    assert sent == ["healthz"]


def test_without_javascript_nothing_is_charged(held):
    page = held(javascript=False)
    pay(page)
    expect(page.locator("#mistakes")).to_contain_text("Choose a card.")
