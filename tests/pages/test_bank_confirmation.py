"""Cards whose bank asks their owner, as buyers without JavaScript see it: to the bank and back."""

import re
from urllib.parse import urljoin, urlsplit

import pytest
import requests

from tests.pages.browser import TIMEOUT_S, Browser, Page
from tests.pages.conftest import BUYER
from tests.support.bank import outlive_its_hold, run_out_of_time
from tests.support.waiting import eventually
from web.pages.rendering import policy

ASKING = BUYER | {"payment_method": "pm_card_authenticationRequired"}
ASKS = "Your bank asks you to confirm"
QUERY = "?payment_intent=pi_1&payment_intent_client_secret=pi_1_secret_1&redirect_status=succeeded"


@pytest.fixture
def at_bank(held) -> Page:
    """The page of Ada's hold of two seats, while her bank asks."""
    return held.press("Pay", **ASKING)


@pytest.fixture
def outcomes(stack):
    """How the payments of the hold on this page stand at the gateway, newest first."""

    def read(page: Page) -> list[str]:
        hold_id = page.address.split("/")[4]
        return [p.status for p in stack.payments() if p.key.startswith(hold_id)]

    return read


def answer_at_the_bank(page: Page, answer: str) -> str:
    """The owner opens the link to the bank and answers. Returns where the bank leads to."""
    url = page.root.one("a", rel="external noreferrer")["href"]
    assert "Continue" in page.root.one("a", rel="external noreferrer").text
    answered = requests.post(url, {"answer": answer}, timeout=TIMEOUT_S, allow_redirects=False)
    return answered.headers["Location"]


def back_from_the_bank(page: Page, answer: str) -> Page:
    return page.browser.get(answer_at_the_bank(page, answer))


def ids_of(page: Page) -> tuple[str, str]:
    _, _, event_id, _, hold_id = page.address.split("/")
    return event_id, hold_id


# ---------------------------------------------------------------- to the bank


def test_the_form_leads_to_the_page_of_the_hold_and_a_link_from_there_to_the_bank(held, stack):
    sent = held.send("Pay", **ASKING)
    assert (sent.status_code, sent.headers["Location"]) == (303, held.address)
    page = held.browser.get(held.address)
    assert (page.status, page.title) == (202, ASKS)
    assert "Nothing has been charged yet" in page.text
    assert re.search(r"(6 minutes|5 minutes \d+ seconds) left to confirm", page.text)
    link = page.root.one("a", rel="external noreferrer")
    assert link["href"].startswith(f"{stack.sandbox.bank_url}/challenges/")
    for what in ("row A, seat 1", "row A, seat 2", "£50.00"):
        assert what in page.text


def test_no_other_site_learns_an_address_of_ours_and_no_form_leads_to_one(at_bank):
    assert at_bank.headers["Content-Security-Policy"] == policy()
    assert "form-action 'self'" in policy()
    assert at_bank.headers["Referrer-Policy"] == "same-origin"
    assert at_bank.headers["Cache-Control"] == "no-store"
    assert "noindex" in at_bank.headers["X-Robots-Tag"]
    ours = urlsplit(at_bank.answer.url).netloc
    for form in at_bank.root.all("form"):
        assert urlsplit(urljoin(at_bank.answer.url, form["action"])).netloc == ours


def test_reloading_and_paying_again_asks_the_same_question(held, at_bank, outcomes):
    first = at_bank.root.one("a", rel="external noreferrer")["href"]
    for page in (held.press("Pay", **ASKING), held.browser.get(held.address)):
        assert page.root.one("a", rel="external noreferrer")["href"] == first
    assert outcomes(held) == ["action_required"]


# ---------------------------------------------------------------- and back


def test_who_confirms_has_the_seats(at_bank, charges):
    receipt = back_from_the_bank(at_bank, "accept")
    assert (receipt.status, receipt.title) == (200, "You are in")
    assert charges(at_bank) == [5000]


def test_the_way_back_ignores_what_its_query_says(at_bank, outcomes):
    page = at_bank.browser.get(f"{at_bank.address}/return{QUERY}")
    assert (page.status, page.title) == (202, ASKS)
    assert outcomes(at_bank) == ["action_required"]


def test_the_way_back_is_a_redirect_that_nobody_keeps(at_bank):
    for method in ("GET", "HEAD"):
        answer = at_bank.browser.request(
            method,
            f"{at_bank.answer.url}/return{QUERY}",
            allow_redirects=False,
            timeout=TIMEOUT_S,
        )
        assert (answer.status_code, answer.headers["Location"]) == (303, at_bank.address)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "secret" not in answer.text


def test_who_comes_back_early_is_told_that_the_bank_still_waits(at_bank):
    page = at_bank.link("Check the payment")
    assert (page.status, page.title) == (202, ASKS)
    assert "Your bank has not told us yet that you have confirmed the payment." in page.text
    assert back_from_the_bank(page, "accept").title == "You are in"


def test_who_refuses_at_the_bank_may_try_again(at_bank, charges):
    page = back_from_the_bank(at_bank, "refuse")
    assert (page.status, page.address) == (200, at_bank.address)
    told = page.root.one("p", role="status", class_="mistakes").text
    assert told == (
        "Your seats are not paid for yet. The payment was not confirmed at your bank. Nothing was "
        "charged."
    )
    assert "4 more cards can be tried" in page.text
    assert page.press("Pay", **BUYER).title == "You are in"
    assert charges(at_bank) == [5000]


def test_a_card_that_is_declined_after_its_owner_has_confirmed(held, charges):
    declined = "pm_card_threeDSecureRequiredChargeDeclined"
    page = held.press("Pay", **BUYER | {"payment_method": declined})
    back = back_from_the_bank(page, "accept")
    assert "Your card was declined. Nothing was charged." in back.text
    assert charges(held) == []


def test_after_the_last_refusal_at_the_bank_the_seats_are_given_back(held):
    page = held
    for _ in range(5):
        page.browser.move()
        page = back_from_the_bank(page.press("Pay", **ASKING), "refuse")
    assert (page.status, page.title) == (410, "The seats were given back")
    assert "The payment was not confirmed at your bank. Nothing was charged." in page.text
    assert page.press("Hold the same seats again").title == "These seats are yours to buy"


def test_a_refusal_after_the_holds_time_gives_the_seats_back(at_bank, redis_client):
    outlive_its_hold(redis_client, *ids_of(at_bank))
    back = back_from_the_bank(at_bank, "refuse")
    assert (back.status, back.title) == (410, "The seats were given back")
    assert "Their time was over, or no more cards can be tried for them." in back.text


def test_what_is_not_confirmed_in_time_is_a_refused_card(at_bank, redis_client, seats):
    event_id, hold_id = ids_of(at_bank)
    run_out_of_time(redis_client, event_id, hold_id)
    eventually(lambda: seats.read_seats(event_id).seats[:2] == "hh", "the end of the payment")
    page = at_bank.browser.get(at_bank.address)
    assert (page.status, page.title) == (200, "These seats are yours to buy")
    assert "The payment was not confirmed at your bank in time. Nothing was charged." in page.text
    assert back_from_the_bank(at_bank, "accept").address == at_bank.address, "it is too late"


# ---------------------------------------------------------------- Stripe is away


@pytest.fixture
def stripe_fails(stack):
    """``stripe_fails("retrieve")``, until the end of the test."""
    yield lambda operation: stack.sandbox.set_faults(
        {"operation": operation, "kind": "error_before", "calls": 100}
    )
    stack.sandbox.set_faults()


def test_while_stripe_is_away_who_comes_back_is_told_that_we_keep_asking(at_bank, stripe_fails):
    back = answer_at_the_bank(at_bank, "accept")
    stripe_fails("retrieve")
    page = at_bank.browser.get(back)
    assert (page.status, page.address) == (202, at_bank.address)
    assert "We could not find out yet what your bank has decided. We keep asking." in page.text


def test_a_cancellation_that_stripe_does_not_answer_is_not_certain_yet(at_bank, stripe_fails):
    stripe_fails("cancel")
    page = at_bank.press("Cancel this payment")
    assert (page.status, page.title) == (202, "Your payment is being checked")
    assert "We do not know yet whether the payment could be canceled. We keep asking." in page.text


# ---------------------------------------------------------------- giving up


def test_a_payment_at_the_bank_can_be_given_up_for_another_card(at_bank, charges):
    sent = at_bank.send("Cancel this payment")
    assert (sent.status_code, sent.headers["Location"]) == (303, at_bank.address)
    page = at_bank.browser.get(at_bank.address)
    told = page.root.one("p", role="status", class_="told").text
    assert told == (
        "Your seats are not paid for yet. This payment was canceled. Nothing was charged."
    )
    assert "can be tried" not in page.text, "no card was refused"
    assert page.press("Pay", **BUYER).title == "You are in"
    assert charges(at_bank) == [5000]
    late = at_bank.press("Cancel this payment")
    assert late.title == "You are in"


def test_what_was_confirmed_before_it_was_given_up_is_the_receipt(at_bank):
    assert back_from_the_bank(at_bank, "accept").title == "You are in"
    page = at_bank.press("Cancel this payment")
    assert page.title == "You are in"
    assert "The payment went through before it could be canceled." in page.text


@pytest.mark.parametrize("payment", ["", "0" * 64, "%"])
def test_another_payment_than_that_of_the_page_is_not_given_up(at_bank, outcomes, payment):
    assert at_bank.press("Cancel this payment", payment=payment).title == ASKS
    assert outcomes(at_bank) == ["action_required"]


def test_only_the_browser_with_the_hold_gives_it_up(at_bank, eve, outcomes):
    eve.get("/")
    path = f"{at_bank.address}/cancel"
    fields = dict(at_bank.fields("Cancel this payment"))
    assert eve.post(path, list(fields.items())).status_code == 400
    forged = at_bank.browser.post(path, [("payment", fields["payment"])])
    assert forged.status_code == 400, "without the secret of the form"
    assert outcomes(at_bank) == ["action_required"]


def test_the_address_of_the_form_leads_to_the_hold(at_bank):
    assert at_bank.browser.get(f"{at_bank.address}/cancel").address == at_bank.address


# ---------------------------------------------------------------- other places


def test_another_browser_is_led_to_the_first_one(at_bank, eve):
    """The bank's app has opened it."""
    page = eve.get(answer_at_the_bank(at_bank, "accept"))
    assert (page.status, page.address) == (200, f"{at_bank.address}/returned")
    assert page.title == "Please go back to the browser in which you chose your seats"
    assert "secret" not in page.answer.url
    for word in ("Ada", "£", "Stalls"):
        assert word not in page.text
    assert at_bank.browser.get(at_bank.address).title == "You are in"


@pytest.mark.parametrize("path", ["/events/nothing/holds/hld_x", "/events/{}/holds/hld_x"])
def test_who_comes_back_for_nothing_learns_nothing(eve, address, path):
    page = eve.get(f"{path.format(address.rpartition('/')[2])}/return{QUERY}")
    assert page.title == "Please go back to the browser in which you chose your seats"


def test_the_basket_leads_back_to_the_question(ada, at_bank):
    line = ada.get("/basket")
    assert "Your bank asks you to confirm the payment. £50.00" in line.text
    assert line.link("Go on to confirm").title == ASKS


def test_two_tabs_with_two_cards_are_one_payment_at_the_bank(held, at_bank, charges, outcomes):
    assert held.press("Pay", **BUYER).title == ASKS, "the second card was not tried"
    assert outcomes(held) == ["action_required"]
    assert back_from_the_bank(at_bank, "accept").title == "You are in"
    assert charges(held) == [5000]


def test_seats_at_the_bank_can_be_neither_given_back_nor_extended(held, at_bank):
    for button in ("Give the seats back", "Give me 1 minute more"):
        assert held.press(button).title == ASKS


def test_a_link_to_another_device_works_again_after_the_payment(ada, eve, held):
    elsewhere = held.link("Continue on another device")
    address = elsewhere.root.one("p", class_="code").one("a")["href"]
    offered = eve.get(address)
    page = held.press("Pay", **ASKING)
    assert ada.get(f"{held.address}/elsewhere").title == ASKS
    for busy in (eve.get(address), offered.press("Put them into this basket")):
        assert (busy.status, busy.title) == (409, "These seats are being paid for")
        assert busy.headers["Referrer-Policy"] == "no-referrer"
    back_from_the_bank(page, "refuse")
    assert busy.link("Try the link again").title == "Continue with these seats here?"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_the_way_back_takes_no_other_method(at_bank, outcomes, method):
    answer = at_bank.browser.request(
        method, f"{at_bank.answer.url}/return{QUERY}", timeout=TIMEOUT_S
    )
    assert answer.status_code == 405
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert outcomes(at_bank) == ["action_required"]


def test_over_the_limit_the_page_still_sends_no_address_on(stack):
    browser = Browser(stack.web_url)
    answers = [
        requests.Session.get(
            browser, f"{stack.web_url}/events/e/holds/h/return{QUERY}", allow_redirects=False
        )
        for _ in range(30)
    ]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["Referrer-Policy"] == "no-referrer"
