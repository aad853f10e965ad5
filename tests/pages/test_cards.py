"""How the form to pay asks for a card, with and without a publishable key of Stripe's."""

import re

import pytest
import stripe

from tests.pages.browser import HTML, csrf_token_in
from tests.pages.conftest import BUYER
from web.pages.rendering import policy

LIVE = {"STRIPE_API_KEY": "sk_live_pages", "STRIPE_PUBLISHABLE_KEY": "pk_live_pages"}
TEST = {"STRIPE_API_KEY": "sk_test_pages", "STRIPE_PUBLISHABLE_KEY": "pk_test_pages"}


@pytest.fixture
def hold_page(application, address):
    """The page of a new hold in a shop with these settings."""

    def opened(seat: str, **settings: str):
        browser = application(RATE_LIMIT="1000/second", **settings)
        secret = csrf_token_in(browser.get(address, headers=HTML).text)
        form = {"csrf_token": secret, "seats": seat}
        return browser.post(f"{address}/holds", data=form, headers=HTML, follow_redirects=True)

    return opened


def test_a_card_that_was_charged_before_has_to_be_entered_again(application, address, stack):
    settings = TEST | {"STRIPE_API_KEY": stack.environment["STRIPE_API_KEY"]}
    browser = application(STRIPE_API_BASE=stack.sandbox.url, **settings)
    secret = csrf_token_in(browser.get(address, headers=HTML).text)
    form = {"csrf_token": secret, "seats": "stalls-A-1"}
    hold = browser.post(f"{address}/holds", data=form, headers=HTML, follow_redirects=True)
    key = re.search(r'name="key" value="([^"]+)"', hold.text)[1]
    form = {"csrf_token": csrf_token_in(hold.text), "key": key, **BUYER}

    answer = browser.post(
        f"{hold.request.path}/pay", data=form | {"payment_method": stack.used_card()}, headers=HTML
    )

    assert answer.status_code == 422
    assert "Enter the card again. Nothing was charged." in answer.text
    assert "try again" not in answer.text.lower()


ASKING = {"payment_method": "pm_card_threeDSecure2Required", "in_page": "1"}


@pytest.fixture
def at_bank(application, address, stack):
    """A browser, and the page that it gets for a payment whose bank asks."""

    def paid(form=ASKING, **settings: str):
        browser = application(
            STRIPE_API_KEY=stack.environment["STRIPE_API_KEY"],
            STRIPE_API_BASE=stack.sandbox.url,
            RATE_LIMIT="1000/second",
            **settings,
        )
        secret = csrf_token_in(browser.get(address, headers=HTML).text)
        seats = {"csrf_token": secret, "seats": "stalls-A-1"}
        hold = browser.post(f"{address}/holds", data=seats, headers=HTML, follow_redirects=True)
        key = re.search(r'name="key" value="([^"]+)"', hold.text)[1]
        form = {"csrf_token": csrf_token_in(hold.text), "key": key, **BUYER, **form}
        pay = f"{hold.request.path}/pay"
        return browser, browser.post(pay, data=form, headers=HTML, follow_redirects=True)

    return paid


def secret_in(answer) -> str:
    found = re.search(r'data-client-secret="([^"]+)"', answer.text)
    return found[1] if found else ""


def test_stripe_may_ask_on_the_page_of_a_payment_at_the_bank_and_only_there(at_bank):
    browser, page = at_bank(STRIPE_PUBLISHABLE_KEY="pk_test_pages")
    assert page.status_code == 202
    assert "/payment.js" in page.text and 'data-key="pk_test_pages"' in page.text
    assert sources(page, "frame-src")[0] == "https://js.stripe.com"
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin-allow-popups"
    assert page.headers["Cache-Control"] == "no-store"
    basket = browser.get("/basket", headers=HTML)
    assert basket.headers["Content-Security-Policy"] == policy()
    assert "_secret_" not in basket.text


def test_the_secret_of_a_payment_is_for_the_browser_that_has_the_hold(at_bank, application, stack):
    browser, page = at_bank(STRIPE_PUBLISHABLE_KEY="pk_test_pages")
    secret = secret_in(page)
    intents = stripe.StripeClient(
        stack.environment["STRIPE_API_KEY"], base_addresses={"api": stack.sandbox.url}
    ).v1.payment_intents
    assert intents.retrieve(secret.partition("_secret_")[0]).client_secret == secret

    hold = page.request.path
    for path in (hold, f"{hold}/return", f"{hold}/elsewhere"):
        told = application().get(path, headers=HTML, follow_redirects=True)
        assert secret not in told.text
    elsewhere = browser.get(f"{hold}/elsewhere", headers=HTML)
    assert secret not in elsewhere.text


@pytest.mark.parametrize(
    ("form", "settings"),
    [(ASKING, {}), (ASKING | {"in_page": ""}, {"STRIPE_PUBLISHABLE_KEY": "pk_test_pages"})],
    ids=["no publishable key", "no script"],
)
def test_without_the_script_of_stripe_a_link_leads_to_the_bank(at_bank, stack, form, settings):
    _, page = at_bank(form, **settings)
    assert re.search(f'href="{stack.sandbox.bank_url}/[^"]+"', page.text)
    assert secret_in(page) == ""
    assert page.headers["Content-Security-Policy"] == policy()
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"


def sources(answer, directive: str) -> list[str]:
    found = re.search(rf"{directive} ([^;]*)", answer.headers["Content-Security-Policy"])
    return found[1].split() if found else []


@pytest.mark.parametrize("settings", [LIVE, TEST], ids=["live", "test"])
def test_with_a_publishable_key_the_form_has_the_element_of_stripe(hold_page, settings):
    answer = hold_page("stalls-A-1", **settings)
    assert "/card.js" in answer.text
    assert '<script src="https://js.stripe.com' not in answer.text, "it would hold up the others"
    assert f'data-key="{settings["STRIPE_PUBLISHABLE_KEY"]}"' in answer.text
    assert 'data-amount="2500" data-currency="gbp"' in answer.text
    assert 'name="confirmation_token">' in answer.text
    assert 'name="payment_method"' not in answer.text
    assert "your browser has to run JavaScript" in answer.text.partition("<noscript>")[2]
    assert ("4242" in answer.text) == (settings is TEST)


def test_what_stripe_needs_may_run_there_and_nothing_else(hold_page):
    answer = hold_page("stalls-A-1", **LIVE)
    script = ["https://js.stripe.com", "https://*.js.stripe.com"]
    link = ["https://link.com", "https://*.link.com"]
    assert sources(answer, "script-src") == ["'self'", *script]
    assert sources(answer, "frame-src") == [*script, "https://hooks.stripe.com", *link]
    assert sources(answer, "connect-src") == ["'self'", "https://api.stripe.com", *link]
    assert sources(answer, "img-src") == ["'self'", "https://*.link.com"]
    for directive in ("style-src", "form-action"):
        assert sources(answer, directive) == ["'self'"]
    assert sources(answer, "default-src") == ["'none'"]
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin-allow-popups"


@pytest.mark.parametrize(
    ("cards", "mistake"),
    [
        ({"confirmation_token": "pm_card_visa"}, "Enter the card again."),
        ({"confirmation_token": f"ctoken_{'x' * 255}"}, "Field cannot be longer"),
        (
            {"confirmation_token": "ctoken_1", "payment_method": "pm_card_visa"},
            "Choose one card: two came with the form.",
        ),
    ],
    ids=["no token", "too long", "two cards"],
)
def test_a_wrong_token_is_told_at_the_card(application, address, cards, mistake):
    browser = application(**TEST)
    secret = csrf_token_in(browser.get(address, headers=HTML).text)
    form = {"csrf_token": secret, "seats": "stalls-A-1"}
    hold = browser.post(f"{address}/holds", data=form, headers=HTML, follow_redirects=True)
    key = re.search(r'name="key" value="([^"]+)"', hold.text)[1]
    form = {"csrf_token": csrf_token_in(hold.text), "key": key, **BUYER, **cards}
    answer = browser.post(f"{hold.request.path}/pay", data=form, headers=HTML)
    assert answer.status_code == 422
    assert re.search(f'href="#payment_method-0"[^>]*>{mistake}', answer.text)


@pytest.mark.parametrize(
    ("seat", "settings"),
    [("free-F-1", LIVE), ("stalls-A-1", {"STRIPE_API_KEY": "sk_test_pages"})],
    ids=["free seats", "no publishable key"],
)
def test_stripe_hears_of_nobody_who_does_not_need_it(hold_page, seat, settings):
    answer = hold_page(seat, **settings)
    assert "stripe.com" not in answer.text
    assert "/card.js" not in answer.text
    assert answer.headers["Content-Security-Policy"] == policy()
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
