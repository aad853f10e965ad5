"""ConfirmationTokens, and cards by their number: what a browser sends to Stripe."""

from datetime import UTC, datetime

import pytest
import stripe

from ops.sandbox.card_details import NUMBERS
from ops.sandbox.cards import CARDS
from ops.sandbox.confirmation_tokens import LIFE_S, ConfirmationToken
from ops.sandbox.errors import ApiError
from ops.sandbox.intent_parameters import Confirmation
from tests.support.sandbox import client_of, refused

BACK = "https://tickets.example/return"
PAID = {
    "amount": 1200,
    "currency": "gbp",
    "confirm": True,
    "capture_method": "manual",
    "allowed_payment_method_types": ["card"],
}
NEXT_YEAR = datetime.now(UTC).year + 1


def card(number="4242424242424242", **changes):
    details = {"number": number, "exp_month": 12, "exp_year": NEXT_YEAR, "cvc": "123"}
    return {"type": "card", "card": {**details, **changes}}


@pytest.fixture
def client(sandbox):
    return client_of(sandbox)


@pytest.fixture
def intents(client):
    return client.payment_intents


@pytest.fixture
def token_of(client):
    def made(**wanted):
        return client.test_helpers.confirmation_tokens.create(
            wanted or {"payment_method": "pm_card_visa"}
        )

    return made


def test_a_token_pays_once(client, intents, token_of):
    token = token_of(payment_method_data=card(), setup_future_usage="off_session")
    assert token.id.startswith("ctoken_")
    assert token.expires_at == token.created + LIFE_S
    assert token.payment_method_preview.card.brand == "visa"
    assert client.confirmation_tokens.retrieve(token.id) == token

    paid = intents.create({**PAID, "confirmation_token": token.id})

    assert (paid.status, paid.setup_future_usage) == ("requires_capture", "off_session")
    assert paid.payment_method.startswith("pm_")
    used = client.confirmation_tokens.retrieve(token.id)
    assert (used.payment_intent, used.expires_at) == (paid.id, None)
    error = refused(intents.create, {**PAID, "confirmation_token": token.id})
    assert (error.http_status, error.param) == (400, "confirmation_token")


def test_a_repeat_of_the_request_that_used_a_token_gets_the_first_answer(intents, token_of):
    wanted = {**PAID, "confirmation_token": token_of().id}
    options = {"idempotency_key": wanted["confirmation_token"]}

    assert intents.create(wanted, options).id == intents.create(wanted, options).id


def test_a_token_of_a_card_that_is_declined_is_used_too(client, intents, token_of):
    token = token_of(payment_method="pm_card_visa_chargeDeclined")
    wanted = {**PAID, "confirmation_token": token.id}

    declined = refused(intents.create, wanted, kind=stripe.CardError).error.payment_intent

    assert client.confirmation_tokens.retrieve(token.id).payment_intent == declined.id
    again = {"confirmation_token": token_of().id}
    assert intents.confirm(declined.id, again).status == "requires_capture"


def test_stripe_js_leads_the_buyer_of_a_token_to_the_bank_unless_told_otherwise(intents, token_of):
    def action_of(**wanted):
        token = token_of(payment_method="pm_card_threeDSecure2Required", return_url=BACK)
        return intents.create({**PAID, "confirmation_token": token.id, **wanted}).next_action

    assert action_of().type == "use_stripe_sdk"
    redirected = action_of(use_stripe_sdk=False)
    assert redirected.redirect_to_url.return_url == BACK
    elsewhere = action_of(use_stripe_sdk=False, return_url="https://other.example")
    assert elsewhere.redirect_to_url.return_url == "https://other.example"


def test_a_token_is_only_for_confirming_and_has_to_exist(intents, token_of):
    error = refused(intents.create, {**PAID, "confirm": False, "confirmation_token": "ctoken_1"})
    assert error.param == "confirmation_token"
    error = refused(intents.create, {**PAID, "confirmation_token": "ctoken_1"})
    assert (error.http_status, error.param, error.code) == (
        400,
        "confirmation_token",
        "resource_missing",
    )


def test_a_token_expires():
    token = ConfirmationToken("ctoken_1", 1_000, "pm_card_visa", "pm_card_visa", None, None)
    confirmation = Confirmation(None, False, None, None, None, token.id)

    assert token.complete(confirmation, 999 + LIFE_S).payment_method == "pm_card_visa"
    with pytest.raises(ApiError, match="expired"):
        token.complete(confirmation, 1_000 + LIFE_S)


def test_a_wrong_token_is_refused_by_name(client, token_of):
    create = client.test_helpers.confirmation_tokens.create
    for wanted, param in (
        ({}, "payment_method"),
        ({"payment_method": "pm_none"}, "payment_method"),
        ({"payment_method": "pm_card_visa", "payment_method_data": card()}, "payment_method"),
        ({"payment_method": "pm_card_visa", "shipping": {"name": "Ada"}}, "shipping"),
        ({"payment_method": "pm_card_visa", "amount": 1}, "amount"),
        ({"payment_method_data": {"type": "klarna"}}, "payment_method_data[type]"),
        ({"payment_method_data": {"type": "card"}}, "payment_method_data[card]"),
    ):
        assert refused(create, wanted).param == param, wanted


# ---------------------------------------------------------------- card numbers


def test_a_number_belongs_to_a_test_card():
    assert set(NUMBERS.values()) <= set(CARDS)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        ("4242 4242 4242 4242", "requires_capture"),
        ("4000000000003220", "requires_action"),
        ("4000002760003184", "requires_action"),
        ("4000000000003055", "requires_capture"),
    ],
)
def test_a_card_can_be_given_by_its_number(intents, number, status):
    assert intents.create({**PAID, "payment_method_data": card(number)}).status == status


@pytest.mark.parametrize(
    ("data", "code", "param"),
    [
        (card("4000000000000002"), "card_declined", None),
        (card("4242424242424241"), "incorrect_number", "number"),
        (card("4539578763621486"), "card_declined", None),
        (card("four"), "incorrect_number", "number"),
        (card(exp_month=13), "invalid_expiry_month", "exp_month"),
        (card(exp_year=2020), "invalid_expiry_year", "exp_year"),
    ],
)
def test_a_wrong_card_is_declined(intents, data, code, param):
    wanted = {**PAID, "payment_method_data": data}

    error = refused(intents.create, wanted, kind=stripe.CardError)
    assert (error.http_status, error.code, error.param) == (402, code, param)


def test_the_ledger_has_no_card_numbers(sandbox, intents, token_of):
    token_of(payment_method_data=card("4000000000003220"))
    intents.create({**PAID, "payment_method_data": card("4000000000003220")})

    for file in sandbox.state_dir.glob("ledger.db*"):
        assert b"4000000000003220" not in file.read_bytes()
