"""An independent client pays with cards whose bank asks their owner, through nginx, against real
servers."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import stripe

from tests.support.bank import run_out_of_time
from tests.support.http_client import TIMEOUT_S, Client, assert_problem, bearer
from tests.support.site import Site
from tests.support.waiting import eventually

ASKING = "pm_card_authenticationRequired"
DECLINED_AFTER_YES = "pm_card_threeDSecureRequiredChargeDeclined"
THANKS = "https://shop.example.org/thanks?order=17"

MOST_CONFIRMATION_MS = 360_000


@pytest.fixture
def ada(stack, event) -> Client:
    return Client(stack.url, event.id)


@pytest.fixture
def hold(ada) -> dict:
    return ada.held("stalls-A-1")


@pytest.fixture
def asked(ada, hold) -> requests.Response:
    """The answer to Ada's payment for ``hold``, with the key ``key-1``."""
    return ada.pay(hold, method=ASKING)


@pytest.fixture
def decide(stack, hold):
    """The owner answers at the bank, and does not come back."""

    def answer(decision: str) -> str:
        [payment] = payments_of(stack, hold)
        return stack.sandbox.decide(payment.payment_id, decision)["status"]

    return answer


def payments_of(site: Site, hold: dict) -> list:
    return [payment for payment in site.payments() if payment.key.startswith(hold["hold_id"])]


def assert_asks(answer: requests.Response, hold: dict) -> dict:
    """Assert that this is the contract's answer while the bank waits, and return its body."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (202, "application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Retry-After"] == "2"
    body = answer.json()
    assert list(body) == ["hold_id", "event", "status", "next_action", "expires_in_ms"]
    assert (body["hold_id"], body["event"]) == (hold["hold_id"], hold["event"])
    assert body["status"] == "action_required"
    assert list(body["next_action"]) == ["type", "url"]
    assert body["next_action"]["type"] == "redirect_to_url"
    assert 0 < body["expires_in_ms"] <= MOST_CONFIRMATION_MS
    payments = f"/api/events/{hold['event']}/holds/{hold['hold_id']}/payments/"
    assert answer.headers["Location"].startswith(payments)
    return body


def look(client: Client, asked: requests.Response, hold: dict) -> requests.Response:
    return client.call("GET", asked.headers["Location"], headers=bearer(hold))


def cancel(client: Client, asked: requests.Response, hold: dict) -> requests.Response:
    return client.call("POST", f"{asked.headers['Location']}/cancel", headers=bearer(hold))


def at_the_bank(asked: requests.Response, answer: str) -> requests.Response:
    """The owner answers in a browser, which is led back; not followed."""
    url = asked.json()["next_action"]["url"]
    return requests.post(url, {"answer": answer}, timeout=TIMEOUT_S, allow_redirects=False)


# ---------------------------------------------------------------- the question


def payments_at_bank(site: Site) -> float:
    metrics = requests.get(f"{site.web_url}/metrics", timeout=TIMEOUT_S).text
    return float(re.search(r"^tickets_payments_at_bank_total (\S+)$", metrics, re.MULTILINE)[1])


def test_a_card_whose_bank_asks_leads_to_the_bank(ada, hold, stack):
    before = payments_at_bank(stack)
    asked = [ada.pay(hold, method=ASKING) for _ in range(2)][-1]
    assert payments_at_bank(stack) == before + 1
    body = assert_asks(asked, hold)
    assert body["next_action"]["url"].startswith(stack.sandbox.bank_url)
    found = ada.look_up(hold).json()
    assert (found["status"], found["seats"]) == ("paying", ["stalls-A-1"])
    assert stack.charges(f"/holds/{hold['hold_id']}") == []


def test_location_and_a_retry_say_the_same_until_it_is_decided(ada, hold, asked):
    first = assert_asks(asked, hold)
    for answer in (look(ada, asked, hold), ada.pay(hold, method=ASKING)):
        again = assert_asks(answer, hold)
        assert again["next_action"] == first["next_action"]
        assert again["expires_in_ms"] <= first["expires_in_ms"]
        assert answer.headers["Location"] == asked.headers["Location"]


def test_without_the_right_token_nobody_learns_of_the_bank(ada, hold, asked):
    wrong = {**hold, "hold_token": "wrong"}
    for call in (look, cancel):
        assert_problem(call(ada, asked, wrong), 404, "hold_not_found")
    other = ada.held("stalls-A-2")
    assert_problem(look(ada, asked, other), 404, "hold_not_found")


# ---------------------------------------------------------------- the way back


def test_the_same_post_ends_with_the_receipt_once_the_owner_has_confirmed(
    ada, hold, asked, stack, decide
):
    assert decide("accept") == "requires_capture"
    paid = ada.pay(hold, method=ASKING)
    assert paid.status_code == 201
    assert "Idempotent-Replayed" not in paid.headers
    again = ada.pay(hold, method=ASKING)
    assert (again.status_code, again.content) == (201, paid.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    located = look(ada, asked, hold)
    assert (located.status_code, located.content) == (200, paid.content)
    assert stack.charges(f"/holds/{hold['hold_id']}") == [2500]


def test_who_never_asks_again_finds_the_receipt_at_location(ada, hold, asked):
    """The browser comes back to our page, which makes the service look."""
    back = at_the_bank(asked, "accept").headers["Location"]
    path = f"/events/{hold['event']}/holds/{hold['hold_id']}/return"
    assert back.startswith(f"{ada.base_url}{path}?payment_intent=pi_")
    assert "payment_intent_client_secret=pi_" in back
    assert ada.call("GET", path, allow_redirects=False).status_code == 303
    assert look(ada, asked, hold).json()["status"] == "booked"


def test_the_bank_sends_the_buyer_to_the_return_url(ada, hold):
    asked = ada.pay(hold, method=ASKING, return_url=THANKS)
    back = at_the_bank(asked, "accept").headers["Location"]
    assert back.startswith(f"{THANKS}&payment_intent=pi_")
    assert ada.pay(hold, method=ASKING, return_url=THANKS).status_code == 201


def test_a_refusal_at_the_bank_is_a_refused_card(ada, hold, asked, decide):
    decide("refuse")
    refused = ada.pay(hold, method=ASKING)
    problem = assert_problem(refused, 402, "payment_declined")
    assert (problem["reason"], problem["attempts_left"]) == ("authentication_failed", 4)
    assert problem["detail"] == (
        "The payment was not confirmed at your bank. Nothing was charged. "
        "You can try 4 more cards with a new Idempotency-Key."
    )
    again = ada.pay(hold, method=ASKING)
    assert (again.status_code, again.content) == (402, refused.content)
    assert assert_problem(look(ada, asked, hold), 402, "payment_declined") == problem
    assert ada.look_up(hold).json()["status"] == "held"
    assert ada.pay(hold, "key-2").status_code == 201


def test_a_card_that_its_bank_declines_after_the_yes(ada, hold, decide):
    ada.pay(hold, method=DECLINED_AFTER_YES)
    decide("accept")
    refused = ada.pay(hold, method=DECLINED_AFTER_YES)
    problem = assert_problem(refused, 402, "payment_declined")
    assert (problem["reason"], problem["attempts_left"]) == ("generic_decline", 4)


# ---------------------------------------------------------------- meanwhile


def test_meanwhile_a_second_card_and_a_release_are_refused(ada, hold, asked):
    refusals = [
        lambda: ada.pay(hold, "key-2"),
        lambda: ada.pay(hold),  # the same key, another card
        lambda: ada.pay(hold, method=ASKING, return_url=THANKS),
        lambda: ada.release(hold),
        lambda: ada.call("POST", f"holds/{hold['hold_id']}/extend", headers=bearer(hold)),
    ]
    with ThreadPoolExecutor(len(refusals)) as pool:
        answers = list(pool.map(lambda call: call(), refusals))
    for refused in answers:
        assert_problem(refused, 409, "payment_in_progress")
        assert refused.headers["Retry-After"] == "1"
    assert_asks(look(ada, asked, hold), hold)


def test_a_retry_with_another_return_url_is_another_payment(ada, hold, asked, decide):
    decide("accept")
    ada.pay(hold, method=ASKING)
    refused = ada.pay(hold, method=ASKING, return_url=THANKS)
    assert_problem(refused, 422, "idempotency_key_reused")


# ---------------------------------------------------------------- giving up


def test_a_payment_at_the_bank_can_be_given_up(ada, hold, asked, stack, decide):
    for _ in range(2):
        given_up = cancel(ada, asked, hold)
        assert (given_up.status_code, given_up.content) == (204, b"")
    assert ada.look_up(hold).json()["status"] == "held"
    assert decide("accept") == "canceled"
    used = assert_problem(ada.pay(hold, method=ASKING), 402, "payment_declined")
    assert (used["reason"], used["attempts_left"]) == ("not_completed", 5)
    assert_problem(look(ada, asked, hold), 402, "payment_declined")
    assert stack.charges(f"/holds/{hold['hold_id']}") == []
    assert ada.pay(hold, "key-2").status_code == 201
    assert cancel(ada, asked, hold).status_code == 204, "the other payment was given up, still"


def test_what_is_booked_cannot_be_given_up(ada, hold, asked, decide):
    decide("accept")
    receipt = ada.pay(hold, method=ASKING).json()
    problem = assert_problem(cancel(ada, asked, hold), 409, "already_booked")
    assert problem["booking_id"] == receipt["booking_id"]


def test_no_payment_at_all_cannot_be_given_up(ada, hold):
    path = f"holds/{hold['hold_id']}/payments/{'0' * 64}/cancel"
    nothing = ada.call("POST", path, headers=bearer(hold))
    assert_problem(nothing, 404, "payment_not_found")
    wrong = ada.call("POST", path, headers={"Authorization": "Bearer wrong"})
    assert_problem(wrong, 404, "hold_not_found")
    assert_problem(ada.call("POST", path), 404, "hold_not_found")
    assert_problem(ada.call("GET", path, headers=bearer(hold)), 405, "method_not_allowed")


def test_giving_up_while_stripe_is_away_is_not_known_yet(ada, hold, asked, stack):
    cancels = {"operation": "cancel", "kind": "error_before", "calls": 100}
    stack.sandbox.set_faults(cancels)
    try:
        pending = cancel(ada, asked, hold)
    finally:
        stack.sandbox.set_faults()
    assert (pending.status_code, pending.json()["status"]) == (202, "paying")
    assert pending.headers["Location"] == asked.headers["Location"]
    assert pending.headers["Retry-After"] == "2"
    assert look(ada, asked, hold).json()["status"] == "paying", "it leads to the bank no more"


# ---------------------------------------------------------------- what is sent


@pytest.mark.parametrize(
    ("return_url", "problem"),
    [
        ("/thanks", "must be an absolute address such as https://shop.example.org/thanks"),
        ("javascript:alert(1)", "must be an absolute address such as"),
        ("http://shop.example.org/", "must begin with https:// (http:// only for localhost)"),
        ("https://shop.example.org/" + "x" * 500, "must have at most 500 characters"),
        ("https://bücher.example/", "in ASCII and without spaces"),
        (17, "must be a text, not a number"),
        ({"$ne": 1}, "must be a text, not an object"),
        ("", "must be an absolute address"),
    ],
)
def test_a_return_url_that_cannot_be_one_is_named_and_nothing_happens(
    ada, hold, return_url, problem
):
    refused = ada.pay(hold, return_url=return_url)
    told = assert_problem(refused, 422, "invalid_request")
    assert told["field"] == "return_url"
    assert problem in told["detail"]
    assert ada.pay(hold).status_code == 201, "its key was not used up"


@pytest.fixture
def token_of(stack):
    """Makes ConfirmationTokens, as Stripe.js does."""
    client = stripe.StripeClient(
        stack.environment["STRIPE_API_KEY"], base_addresses={"api": stack.sandbox.url}
    )

    def made(payment_method: str = "pm_card_visa") -> str:
        wanted = {"payment_method": payment_method}
        return client.v1.test_helpers.confirmation_tokens.create(wanted).id

    return made


def test_a_confirmation_token_pays_in_place_of_a_payment_method(ada, hold, token_of):
    token = token_of()
    paid = ada.pay(hold, payment_method=None, confirmation_token=token)
    assert paid.status_code == 201
    assert ada.pay(hold, payment_method=None, confirmation_token=token).content == paid.content
    other = ada.held("stalls-A-2")
    used = ada.pay(other, payment_method=None, confirmation_token=token)
    told = assert_problem(used, 422, "invalid_request")
    assert told["field"] == "confirmation_token"
    assert "was used or has expired: enter the card again" in told["detail"]


def test_the_bank_asks_about_a_confirmation_token_too(ada, hold, token_of, decide):
    token = token_of(ASKING)
    assert_asks(ada.pay(hold, payment_method=None, confirmation_token=token), hold)
    decide("accept")
    assert ada.pay(hold, payment_method=None, confirmation_token=token).status_code == 201


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"confirmation_token": "ctoken_1"}, "cannot be sent together with payment_method"),
        ({"payment_method": None, "confirmation_token": "pm_card_visa"}, "must begin with ctoken_"),
        ({"payment_method": None, "confirmation_token": "ctoken_ü"}, "has characters that cannot"),
        ({"payment_method": None, "confirmation_token": "ctoken_" + "x" * 255}, "at most 255"),
        ({"payment_method": None, "confirmation_token": None}, "is required"),
        ({"payment_method": None, "confirmation_token": "ctoken_nonsense"}, "was used or has exp"),
    ],
)
def test_a_confirmation_token_that_cannot_be_one_is_named(ada, hold, changes, problem):
    told = assert_problem(ada.pay(hold, **changes), 422, "invalid_request")
    field = "payment_method" if changes.get("confirmation_token", "") is None else None
    assert told["field"] == (field or "confirmation_token")
    assert problem in told["detail"]
    assert ada.look_up(hold).json()["status"] == "held"


# ---------------------------------------------------------------- in time


def test_what_nobody_confirms_in_time_is_a_refused_card(ada, hold, asked, redis_client, seats):
    """The worker ends it, without any call of ours."""
    run_out_of_time(redis_client, hold["event"], hold["hold_id"])
    eventually(lambda: seats.read_seats(hold["event"]).seats[0] == "h", "the payment's end")
    problem = assert_problem(ada.pay(hold, method=ASKING), 402, "payment_declined")
    assert (problem["reason"], problem["attempts_left"]) == ("not_confirmed", 4)
    assert problem["detail"] == (
        "The payment was not confirmed at your bank in time. Nothing was charged. "
        "You can try 4 more cards with a new Idempotency-Key."
    )
    assert assert_problem(look(ada, asked, hold), 402, "payment_declined") == problem
    over = at_the_bank(asked, "accept")
    assert over.status_code == 303
    assert assert_problem(look(ada, asked, hold), 402, "payment_declined") == problem
