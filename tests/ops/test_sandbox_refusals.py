"""What Stripe refuses, the sandbox refuses: asked through Stripe's own SDK."""

import subprocess
import sys
import threading
import time

import pytest
import requests
import stripe
from stripe.params import (
    PaymentIntentCancelParams,
    PaymentIntentCaptureParams,
    PaymentIntentConfirmParams,
    PaymentIntentCreateParams,
    PaymentIntentListParams,
    PaymentIntentRetrieveParams,
    RefundCreateParams,
    RefundListParams,
)

from ops.sandbox.form import names_of
from ops.servers import REPOSITORY, Sandbox
from tests.support.sandbox import client_of, refused

NO_REDIRECTS = {"enabled": True, "allow_redirects": "never"}
PAID = {
    "amount": 1200,
    "currency": "gbp",
    "payment_method": "pm_card_visa",
    "confirm": True,
    "automatic_payment_methods": NO_REDIRECTS,
}
RESERVED = {**PAID, "capture_method": "manual"}


@pytest.fixture
def client(sandbox):
    return client_of(sandbox)


@pytest.fixture
def intents(client):
    return client.payment_intents


def words_of(error):
    return error.param, error.code, error.user_message


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("automatic", "param", "code", "message"),
    [
        (
            {"allow_redirects": "never"},
            "automatic_payment_methods[enabled]",
            "parameter_missing",
            "Missing required param: automatic_payment_methods[enabled].",
        ),
        (
            {"enabled": True, "allow_redirects": "sometimes"},
            "automatic_payment_methods[allow_redirects]",
            None,
            "Invalid automatic_payment_methods[allow_redirects]: must be one of always or never",
        ),
        (
            {"enabled": True, "allow_redirect": "never"},
            "automatic_payment_methods[allow_redirect]",
            "parameter_unknown",
            "Received unknown parameter: automatic_payment_methods[allow_redirect]",
        ),
        (
            {"enabled": "yes"},
            "automatic_payment_methods[enabled]",
            None,
            "Invalid boolean: yes",
        ),
        ("never", "automatic_payment_methods", None, "Invalid object"),
    ],
)
def test_automatic_payment_methods_are_read_strictly(intents, automatic, param, code, message):
    error = refused(intents.create, {**PAID, "automatic_payment_methods": automatic})

    assert words_of(error) == (param, code, message)


@pytest.mark.parametrize("automatic", [None, {"enabled": True}])
def test_payment_methods_that_may_redirect_need_somewhere_to_return_to(intents, automatic):
    wanted = {**PAID, "automatic_payment_methods": automatic}
    if automatic is None:
        del wanted["automatic_payment_methods"]

    assert "`return_url` must be specified" in refused(intents.create, wanted).user_message
    paid = intents.create({**wanted, "return_url": "https://tickets.example"})
    assert paid.automatic_payment_methods.to_dict() == {
        "allow_redirects": "always",
        "enabled": True,
    }


def test_payment_methods_that_are_not_automatic_are_cards_and_redirect_nobody(intents):
    paid = intents.create({**PAID, "automatic_payment_methods": {"enabled": False}})

    assert (paid.status, paid.automatic_payment_methods.enabled) == ("succeeded", False)


def test_the_parameters_that_change_nothing_here_are_known(intents):
    paid = intents.create(
        {
            **PAID,
            "use_stripe_sdk": True,
            "setup_future_usage": "off_session",
        }
    )

    assert (paid.status, paid.setup_future_usage) == ("succeeded", "off_session")


def test_the_types_of_payment_methods_can_be_named_instead(intents):
    wanted = {**PAID, "allowed_payment_method_types": ["ideal", "card"]}
    del wanted["automatic_payment_methods"]

    paid = intents.create({**wanted, "confirmation_method": "manual"})

    assert paid.payment_method_types == ["card"]
    assert paid.confirmation_method == "manual"
    assert paid.automatic_payment_methods is None


@pytest.mark.parametrize(
    ("changes", "param", "code", "message"),
    [
        (
            {"allowed_payment_method_types": ["card"]},
            "allowed_payment_method_types",
            None,
            (
                "You may only specify one of these parameters: allowed_payment_method_types, "
                "automatic_payment_methods."
            ),
        ),
        (
            {"confirmation_method": "manual"},
            "automatic_payment_methods",
            None,
            (
                "You may only specify one of these parameters: automatic_payment_methods, "
                "confirmation_method."
            ),
        ),
        (
            {"setup_future_usage": "sometimes"},
            "setup_future_usage",
            None,
            "Invalid setup_future_usage: must be one of off_session or on_session",
        ),
        (
            {"capture_method": "never"},
            "capture_method",
            None,
            "Invalid capture_method: must be one of automatic, automatic_async, or manual",
        ),
        ({"use_stripe_sdk": "yes"}, "use_stripe_sdk", None, "Invalid boolean: yes"),
        (
            {"amont": 1, "curency": "gbp"},
            "amont",
            "parameter_unknown",
            "Received unknown parameters: amont, curency",
        ),
        (
            {"customer": "cus_1"},
            "customer",
            None,
            "The sandbox does not have this parameter of Stripe's: customer",
        ),
        (
            {"description": ""},
            "description",
            "parameter_invalid_empty",
            (
                "You passed an empty string for 'description'. We assume empty values are an "
                "attempt to unset a parameter; however 'description' cannot be unset. You should "
                "remove 'description' from your request or supply a non-empty value."
            ),
        ),
        (
            {"metadata": {f"field {number}": "1" for number in range(51)}},
            "metadata",
            None,
            (
                "Metadata can have up to 50 keys, but you've set 51. Email us at "
                "support+metadata@stripe.com for more information."
            ),
        ),
        (
            {"metadata": {"k" * 41: "1"}},
            "metadata",
            None,
            (
                "Metadata keys can have up to 40 characters, but you passed in a key that is 41 "
                f"characters. Invalid key: {'k' * 41}"
            ),
        ),
        (
            {"metadata": {"event": "v" * 501}},
            "metadata",
            None,
            (
                "Metadata values can have up to 500 characters, but you passed in a value that is "
                f"501 characters. Invalid value: {'v' * 501}"
            ),
        ),
        ({"expand": "latest_charge"}, "expand", None, "Invalid array"),
        ({"expand": ["review"]}, "expand", None, "This property cannot be expanded (review)."),
    ],
)
def test_a_wrong_parameter_is_refused_in_stripes_words(intents, changes, param, code, message):
    error = refused(intents.create, {**PAID, **changes})

    assert words_of(error) == (param, code, message)


@pytest.mark.parametrize("missing", ["amount", "currency"])
def test_what_is_missing_is_named(intents, missing):
    wanted = {name: value for name, value in PAID.items() if name != missing}

    error = refused(intents.create, wanted)
    assert words_of(error) == (missing, "parameter_missing", f"Missing required param: {missing}.")


def test_an_intent_without_a_type_of_payment_method_that_is_activated_is_refused(intents):
    wanted = {"amount": 1200, "currency": "gbp"}

    error = refused(intents.create, {**wanted, "allowed_payment_method_types": ["ideal"]})
    assert "No valid payment method types" in error.user_message
    error = refused(intents.create, {**wanted, "allowed_payment_method_types": ["card", "cheque"]})
    assert error.param == "allowed_payment_method_types[1]"
    assert "must be one of acss_debit, affirm," in error.user_message


@pytest.mark.parametrize("limit", [0, 101])
def test_a_page_has_between_one_and_a_hundred(client, limit):
    for call in (client.payment_intents.list, client.refunds.list):
        error = refused(call, {"limit": limit})
        assert (error.param, error.code) == ("limit", "parameter_invalid_integer")


def test_a_list_begins_at_something_that_exists(client):
    for call in (client.payment_intents.list, client.refunds.list):
        error = refused(call, {"starting_after": "none"})
        assert (error.param, error.code) == ("starting_after", "resource_missing")
        error = refused(call, {"starting_after": "one", "ending_before": "two"})
        assert "may only specify one of these" in error.user_message


def test_what_a_list_shows_whole_is_in_its_data(client):
    error = refused(client.payment_intents.list, {"expand": ["latest_charge"]})

    assert error.user_message == (
        "This property cannot be expanded (latest_charge). You may want to try expanding "
        "'data.latest_charge' instead."
    )


def test_every_call_can_show_more(client, intents):
    paid = intents.create({**RESERVED, "expand": ["latest_charge", "payment_method"]})
    assert paid.latest_charge.payment_intent == paid.id
    assert paid.payment_method.card.brand == "visa"
    captured = intents.capture(paid.id, {"expand": ["latest_charge"]})
    assert captured.latest_charge.captured
    back = client.refunds.create({"payment_intent": paid.id, "expand": ["charge"]})
    assert back.charge.refunded
    listed = client.refunds.list({"payment_intent": paid.id, "expand": ["data.payment_intent"]})
    assert listed.data[0].payment_intent.id == paid.id


@pytest.mark.parametrize(
    ("of_stripe", "call"),
    [
        (PaymentIntentCreateParams, lambda client, given: client.payment_intents.create(given)),
        (PaymentIntentListParams, lambda client, given: client.payment_intents.list(given)),
        (
            PaymentIntentRetrieveParams,
            lambda client, given: client.payment_intents.retrieve("pi_1", given),
        ),
        (
            PaymentIntentConfirmParams,
            lambda client, given: client.payment_intents.confirm("pi_1", given),
        ),
        (
            PaymentIntentCaptureParams,
            lambda client, given: client.payment_intents.capture("pi_1", given),
        ),
        (
            PaymentIntentCancelParams,
            lambda client, given: client.payment_intents.cancel("pi_1", given),
        ),
        (RefundCreateParams, lambda client, given: client.refunds.create(given)),
        (RefundListParams, lambda client, given: client.refunds.list(given)),
    ],
)
def test_no_parameter_of_stripes_is_called_unknown(client, of_stripe, call):
    required = {"amount": 1200, "currency": "gbp"} if of_stripe is PaymentIntentCreateParams else {}
    for name in names_of(of_stripe):
        try:
            call(client, {**required, name: "x"})
        except stripe.InvalidRequestError as error:
            assert error.code != "parameter_unknown", name


# ---------------------------------------------------------------- cards are for one charge


def test_a_test_card_is_another_payment_method_each_time(intents):
    first, second = intents.create(PAID), intents.create(PAID)

    assert first.payment_method.startswith("pm_") and second.payment_method.startswith("pm_")
    assert len({first.payment_method, second.payment_method, "pm_card_visa"}) == 3


def test_a_payment_method_that_was_charged_may_not_be_used_again(intents):
    used = intents.create(PAID).payment_method

    for wanted in ({**PAID, "payment_method": used}, {**RESERVED, "payment_method": used}):
        error = refused(intents.create, wanted)
        assert words_of(error)[:2] == (None, None)
        assert error.user_message.startswith("The provided PaymentMethod was previously used with")
        assert "It may not be used again." in error.user_message


def test_a_payment_method_that_was_declined_may_not_be_used_again(intents):
    wanted = {**PAID, "payment_method": "pm_card_visa_chargeDeclined"}
    declined = refused(intents.create, wanted, kind=stripe.CardError)
    used = declined.error.payment_method.id

    error = refused(intents.create, {**PAID, "payment_method": used})
    assert "may not be used again" in error.user_message
    again = {"payment_method": used}
    error = refused(intents.confirm, declined.error.payment_intent.id, again)
    assert "may not be used again" in error.user_message
    paid = intents.confirm(declined.error.payment_intent.id, {"payment_method": "pm_card_visa"})
    assert paid.status == "succeeded"


def test_a_payment_method_that_was_not_charged_yet_can_be_used(intents):
    waiting = intents.create(
        {name: PAID[name] for name in ("amount", "currency", "payment_method")}
        | {"automatic_payment_methods": NO_REDIRECTS}
    )
    assert waiting.status == "requires_confirmation"

    assert intents.create({**PAID, "payment_method": waiting.payment_method}).status == "succeeded"
    error = refused(intents.confirm, waiting.id)
    assert "may not be used again" in error.user_message


def test_a_repeat_of_the_request_that_used_a_payment_method_gets_the_first_answer(intents):
    wanted = {
        name: PAID[name]
        for name in ("amount", "currency", "payment_method", "automatic_payment_methods")
    }
    unused = intents.create(wanted).payment_method
    options = {"idempotency_key": f"repeat of {unused}"}

    first = intents.create({**PAID, "payment_method": unused}, options)
    second = intents.create({**PAID, "payment_method": unused}, options)

    assert (second.id, second.status) == (first.id, "succeeded")


# ---------------------------------------------------------------- what an intent allows


@pytest.fixture
def succeeded(intents):
    return intents.create(PAID).id


@pytest.fixture
def canceled(intents):
    reserved = intents.create(RESERVED).id
    intents.cancel(reserved)
    return reserved


def test_a_payment_that_succeeded_stays_as_it_is(intents, succeeded):
    for call, message in (
        (
            intents.cancel,
            (
                "You cannot cancel this PaymentIntent because it has a status of succeeded. Only a "
                "PaymentIntent with one of the following statuses may be canceled: "
                "requires_payment_method, requires_capture, requires_confirmation, "
                "requires_action, processing."
            ),
        ),
        (
            intents.confirm,
            (
                "You cannot confirm this PaymentIntent because it has already succeeded after "
                "being previously confirmed."
            ),
        ),
        (
            intents.capture,
            "This PaymentIntent could not be captured because it has already been captured.",
        ),
    ):
        error = refused(call, succeeded)
        assert words_of(error) == (None, "payment_intent_unexpected_state", message)
        assert error.http_status == 400
        assert (error.error.payment_intent.id, error.error.payment_intent.status) == (
            succeeded,
            "succeeded",
        )


def test_a_payment_that_was_canceled_stays_as_it_is(intents, canceled):
    for call, arguments, message in (
        (intents.cancel, (), "You cannot cancel this PaymentIntent because it has a status of"),
        (intents.confirm, (), "You cannot confirm this PaymentIntent because it has a status of"),
        (
            intents.confirm,
            ({"payment_method": "pm_card_visa"},),
            "This PaymentIntent's payment_method could not be updated because it has a status of",
        ),
        (intents.capture, (), "This PaymentIntent could not be captured because it has a status"),
    ):
        error = refused(call, canceled, *arguments)
        assert error.code == "payment_intent_unexpected_state"
        assert error.user_message.startswith(message)
        assert error.error.payment_intent.status == "canceled"


def test_reserved_money_is_not_reserved_again(intents):
    reserved = intents.create(RESERVED).id

    error = refused(intents.confirm, reserved)
    assert "has a status of requires_capture" in error.user_message
    error = refused(intents.confirm, reserved, {"payment_method": "pm_card_visa"})
    assert error.user_message.startswith("You cannot provide a new payment method")
    assert intents.retrieve(reserved).amount_capturable == 1200


def test_no_more_is_captured_than_was_reserved(intents):
    reserved = intents.create(RESERVED).id

    error = refused(intents.capture, reserved, {"amount_to_capture": 1201})
    assert (error.param, error.code) == ("amount_to_capture", "amount_too_large")


def test_no_more_is_refunded_than_is_left(client, succeeded):
    part = client.refunds.create({"payment_intent": succeeded, "amount": 1000})
    assert (part.amount, part.status) == (1000, "succeeded")

    error = refused(client.refunds.create, {"payment_intent": succeeded, "amount": 201})
    assert words_of(error) == (
        "amount",
        None,
        "Refund amount (2.01 GBP) is greater than unrefunded amount on charge (2.00 GBP)",
    )
    assert client.refunds.create({"payment_intent": succeeded}).amount == 200
    error = refused(client.refunds.create, {"payment_intent": succeeded})
    assert error.code == "charge_already_refunded"


def test_a_charge_always_has_billing_details(intents):
    for card in ("pm_card_visa", "pm_card_visa_chargeDeclined"):
        try:
            intent_id = intents.create({**PAID, "payment_method": card}).id
        except stripe.CardError as error:
            intent_id = error.error.payment_intent.id
        charge = intents.retrieve(intent_id, {"expand": ["latest_charge"]}).latest_charge
        assert charge.billing_details.to_dict() == {
            "address": dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state")),
            "email": None,
            "name": None,
            "phone": None,
            "tax_id": None,
        }
        assert charge.payment_method.startswith("pm_")


# ---------------------------------------------------------------- errors


def test_an_error_says_where_it_is_explained_and_which_request_it_was(intents):
    error = refused(intents.retrieve, "pi_none")

    assert error.error.doc_url == "https://stripe.com/docs/error-codes/resource-missing"
    assert error.error.request_log_url.startswith(
        f"https://dashboard.stripe.com/test/logs/{error.request_id}?t="
    )


def test_a_decline_has_the_intent_and_the_card(intents):
    wanted = {**PAID, "payment_method": "pm_card_visa_chargeDeclined"}

    error = refused(intents.create, wanted, kind=stripe.CardError).error

    assert error.doc_url == "https://stripe.com/docs/error-codes/card-declined"
    assert error.payment_method.id == error.payment_intent.last_payment_error.payment_method.id
    assert error.payment_intent.last_payment_error.doc_url == error.doc_url
    assert error.payment_intent.payment_method is None


# ---------------------------------------------------------------- keys and versions


@pytest.mark.parametrize("version", ["1999-01-01", "2026-13-01.endive", "endive", "2026-10-28."])
def test_a_version_that_does_not_exist_is_refused(sandbox, version):
    client = client_of(sandbox, stripe_version=version)

    error = refused(client.payment_intents.list)
    assert error.http_status == 400
    assert words_of(error) == (None, None, f"Invalid Stripe API version: {version}")


@pytest.mark.parametrize("version", ["2026-10-28.endive", "2027-02-24.fennel"])
def test_a_version_of_todays_form_is_taken(sandbox, version):
    client = client_of(sandbox, stripe_version=version)

    assert client.payment_intents.list().last_response.headers["Stripe-Version"] == version


def test_a_publishable_key_is_not_a_secret_one(sandbox):
    client = client_of(sandbox, key="pk_test_refusals")

    error = refused(client.payment_intents.list, kind=stripe.AuthenticationError)
    assert error.error.code == "secret_key_required"
    assert error.user_message.startswith("This API call cannot be made with a publishable API key.")


def test_a_wrong_key_is_told_so_far_that_its_owner_knows_it(sandbox):
    client = client_of(sandbox, key="sk_live_1234567890abcdef")

    error = refused(client.payment_intents.list, kind=stripe.AuthenticationError)
    assert error.user_message == "Invalid API Key provided: sk_live_************cdef"


def test_an_idempotency_key_that_is_empty_is_none(sandbox):
    answer = requests.post(
        f"{sandbox.url}/v1/payment_intents",
        data={"amount": 1200, "currency": "gbp"},
        headers={"Authorization": "Bearer sk_test_refusals", "Idempotency-Key": ""},
        timeout=5,
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "idempotency_error"
    assert "key length is 0 characters long" in answer.json()["error"]["message"]


def test_an_idempotency_key_has_at_most_255_characters(intents):
    assert intents.create(PAID, {"idempotency_key": "k" * 255}).status == "succeeded"

    error = refused(
        intents.create, PAID, {"idempotency_key": "k" * 256}, kind=stripe.IdempotencyError
    )
    assert error.user_message.startswith(
        "Idempotent key length is 256 characters long, which is outside accepted lengths."
    )


# ---------------------------------------------------------------- too many calls


@pytest.fixture
def limited(tmp_path):
    with Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log", rate_limit=25) as process:
        yield process


def test_no_endpoint_is_called_more_than_25_times_a_second(limited):
    client = client_of(limited)
    barrier, said = threading.Barrier(40), []

    def create(_):
        barrier.wait()
        try:
            said.append(client.payment_intents.create(PAID))
        except stripe.RateLimitError as error:
            said.append(error)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(40)]
    began_s = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    errors = [each for each in said if isinstance(each, stripe.RateLimitError)]
    if time.monotonic() - began_s < 1:
        assert len(errors) == 15
    assert {error.error.code for error in errors} == {"rate_limit"}
    assert errors[0].http_status == 429
    assert errors[0].headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    # Another endpoint has not been called yet.
    assert client.payment_intents.list({"limit": 1}).data
    time.sleep(1)
    assert client.payment_intents.create(PAID).status == "succeeded"


def test_a_limit_that_lets_nothing_through_is_refused_at_the_start():
    command = [sys.executable, "-m", "ops.sandbox", "--rate-limit", "0"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "at least 1 call a second" in ended.stderr


def test_by_default_it_takes_as_many_calls_as_come(intents):
    for _ in range(40):
        intents.list({"limit": 1})
