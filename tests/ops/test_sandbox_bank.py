"""Cards whose owner has to confirm the payment on the page of a bank."""

import re
import threading
import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import stripe

from ops.servers import Sandbox
from tests.support.sandbox import Receiver, client_of, refused, telling
from tests.support.waiting import eventually

BACK = "https://tickets.example/holds/7/return?from=bank#seats"
ASKED = {
    "amount": 1200,
    "currency": "gbp",
    "payment_method": "pm_card_threeDSecure2Required",
    "capture_method": "manual",
    "confirm": True,
    "allowed_payment_method_types": ["card"],
    "return_url": BACK,
}


@pytest.fixture
def intents(sandbox):
    return client_of(sandbox).payment_intents


@pytest.fixture
def bank(sandbox):
    """The sandbox, whose bank does the usual again afterwards."""
    yield sandbox
    sandbox.set_bank()


def page_of(intent):
    return intent.next_action.redirect_to_url.url


def answer(page, decision):
    return requests.post(page, data={"answer": decision}, allow_redirects=False, timeout=10)


def test_the_bank_has_its_page_on_another_origin(sandbox, intents):
    intent = intents.create(ASKED)

    assert (intent.status, intent.next_action.type) == ("requires_action", "redirect_to_url")
    assert intent.next_action.redirect_to_url.return_url == BACK
    assert (intent.amount_capturable, intent.latest_charge) == (0, None)
    assert page_of(intent).startswith(f"{sandbox.bank_url}/")
    assert urlsplit(sandbox.bank_url).netloc != urlsplit(sandbox.url).netloc


def test_the_page_asks_yes_or_no_without_javascript(intents):
    page = requests.get(page_of(intents.create(ASKED)), timeout=10)

    assert page.status_code == 200
    assert "GBP 12.00" in page.text
    assert re.findall('<button name="answer" value="([a-z]+)">', page.text) == ["accept", "refuse"]
    assert "<script" not in page.text


def test_a_payment_that_its_owner_confirms_is_reserved_and_leads_back_to_the_shop(intents):
    intent = intents.create(ASKED)

    answered = answer(page_of(intent), "accept")

    assert answered.status_code == 303
    back = urlsplit(answered.headers["Location"])
    assert back._replace(query="").geturl() == BACK.replace("?from=bank", "")
    assert parse_qs(back.query) == {
        "from": ["bank"],
        "payment_intent": [intent.id],
        "payment_intent_client_secret": [intent.client_secret],
    }
    after = intents.retrieve(intent.id)
    assert (after.status, after.amount_capturable) == ("requires_capture", 1200)
    assert (after.next_action, after.last_payment_error) == (None, None)
    assert after.latest_charge
    assert intents.capture(intent.id).amount_received == 1200


def test_a_payment_that_is_captured_by_itself_succeeds_when_its_owner_confirms(intents):
    intent = intents.create({**ASKED, "capture_method": "automatic"})

    answer(page_of(intent), "accept")

    assert intents.retrieve(intent.id).status == "succeeded"


def test_a_payment_that_its_owner_refuses_needs_another_card(intents):
    intent = intents.create(ASKED)

    answered = answer(page_of(intent), "refuse")

    assert f"payment_intent={intent.id}&" in answered.headers["Location"]
    after = intents.retrieve(intent.id)
    assert (after.status, after.payment_method) == ("requires_payment_method", None)
    assert (after.next_action, after.latest_charge) == (None, None)
    error = after.last_payment_error
    assert (error.type, error.code) == (
        "invalid_request_error",
        "payment_intent_authentication_failure",
    )
    assert error.payment_method.id == intent.payment_method
    same = {"payment_method": intent.payment_method, "return_url": BACK}
    assert "may not be used again" in refused(intents.confirm, intent.id, same).user_message
    again = {"payment_method": "pm_card_visa", "return_url": BACK}
    assert intents.confirm(intent.id, again).status == "requires_capture"


@pytest.mark.parametrize("first", ["accept", "refuse"])
@pytest.mark.parametrize("second", ["accept", "refuse"])
def test_only_the_first_answer_counts(intents, first, second):
    intent = intents.create(ASKED)
    answer(page_of(intent), first)
    before = intents.retrieve(intent.id)

    late = answer(page_of(intent), second)

    assert late.status_code == 303
    assert intents.retrieve(intent.id) == before


def test_an_answer_after_the_payment_was_canceled_changes_nothing(intents):
    intent = intents.create(ASKED)
    assert intents.cancel(intent.id).next_action is None

    assert answer(page_of(intent), "accept").status_code == 303

    assert intents.retrieve(intent.id).status == "canceled"
    page = requests.get(page_of(intent), timeout=10)
    assert page.status_code == 410
    assert f"payment_intent={intent.id}&" in page.text


def test_a_page_that_is_closed_leaves_the_question_open(intents):
    intent = intents.create(ASKED)
    for _ in range(2):
        requests.get(page_of(intent), timeout=10)

    assert intents.retrieve(intent.id) == intent


def test_an_answer_that_is_neither_yes_nor_no_leaves_the_question_open(intents):
    intent = intents.create(ASKED)

    assert answer(page_of(intent), "perhaps").status_code == 400
    assert intents.retrieve(intent.id) == intent


def test_a_page_that_the_bank_does_not_know(sandbox):
    for page in ("challenges/payatt_none", "challenges"):
        assert requests.get(f"{sandbox.bank_url}/{page}", timeout=10).status_code == 404
    assert answer(f"{sandbox.bank_url}/challenges/payatt_none", "accept").status_code == 404


def test_another_card_makes_the_question_about_the_first_one_void(intents):
    intent = intents.create(ASKED)
    first_page = page_of(intent)
    again = intents.confirm(
        intent.id, {"payment_method": "pm_card_authenticationRequired", "return_url": BACK}
    )
    assert page_of(again) != first_page

    answer(first_page, "accept")
    assert intents.retrieve(intent.id).status == "requires_action"
    answer(page_of(again), "accept")
    assert intents.retrieve(intent.id).payment_method == again.payment_method


def test_a_card_that_was_declined_before_is_no_reserved_money(tmp_path):
    with Receiver() as receiver, telling(receiver, tmp_path) as sandbox:
        intents = client_of(sandbox).payment_intents
        wanted = {**ASKED, "payment_method": "pm_card_visa_chargeDeclined"}
        declined = refused(intents.create, wanted, kind=stripe.CardError).error.payment_intent
        owner_needed = {"payment_method": ASKED["payment_method"], "return_url": BACK}
        asked = intents.confirm(declined.id, {**owner_needed, "expand": ["latest_charge"]})
        intents.cancel(declined.id)
        told = sorted(event["type"] for event in receiver.events(3))

    assert (asked.status, asked.latest_charge) == ("requires_action", None)
    assert told == [
        "payment_intent.canceled",
        "payment_intent.payment_failed",
        "payment_intent.requires_action",
    ]


@pytest.mark.parametrize("changes", [{"use_stripe_sdk": True}, {"return_url": None}])
def test_stripe_js_leads_the_buyer_to_the_bank_when_the_shop_wants_that(intents, changes):
    wanted = {name: value for name, value in {**ASKED, **changes}.items() if value is not None}

    intent = intents.create(wanted)

    assert intent.next_action.type == "use_stripe_sdk"
    assert "redirect_to_url" not in intent.next_action
    answered = answer(intent.next_action.use_stripe_sdk["stripe_js"], "accept")
    assert answered.status_code == 200, "a frame over the shop's page does not lead to the shop"
    assert intents.retrieve(intent.id).status == "requires_capture"


def test_a_shop_that_confirms_by_hand_confirms_again_after_the_owner(intents):
    intent = intents.create({**ASKED, "confirmation_method": "manual"})
    answer(page_of(intent), "accept")
    assert intents.retrieve(intent.id).status == "requires_confirmation"

    assert intents.confirm(intent.id).status == "requires_capture"


def test_what_one_owner_confirmed_says_nothing_about_another_card(intents):
    intent = intents.create({**ASKED, "confirmation_method": "manual"})
    answer(page_of(intent), "accept")

    other = {"payment_method": "pm_card_authenticationRequired"}
    assert intents.confirm(intent.id, other).status == "requires_action"


@pytest.mark.parametrize(
    "card",
    [
        "pm_card_authenticationRequired",
        "pm_card_authenticationRequiredOnSetup",
        "pm_card_authenticationRequiredSetupForOffSession",
        "pm_card_threeDSecureRequired",
        "pm_card_threeDSecure2Required",
    ],
)
def test_the_owner_of_this_card_confirms_and_it_is_charged(sandbox, intents, card):
    intent = intents.create({**ASKED, "payment_method": card})
    assert intent.status == "requires_action"

    assert sandbox.decide(intent.id, "accept")["status"] == "requires_capture"


@pytest.mark.parametrize(
    ("card", "decline_code"),
    [
        ("pm_card_threeDSecureRequiredChargeDeclined", "generic_decline"),
        ("pm_card_authenticationRequiredChargeDeclinedInsufficientFunds", "insufficient_funds"),
    ],
)
def test_the_owner_of_this_card_confirms_and_it_is_declined(sandbox, intents, card, decline_code):
    intent = intents.create({**ASKED, "payment_method": card})
    assert intent.status == "requires_action"

    declined = sandbox.decide(intent.id, "accept")

    assert declined["status"] == "requires_payment_method"
    assert declined["last_payment_error"]["code"] == "card_declined"
    assert declined["last_payment_error"]["decline_code"] == decline_code
    assert declined["latest_charge"] == declined["last_payment_error"]["charge"]


@pytest.mark.parametrize(
    "card",
    [
        "pm_card_threeDSecureOptional",
        "pm_card_threeDSecureOptionalProcessingError",
        "pm_card_amex_threeDSecureNotSupported",
    ],
)
def test_nobody_asks_the_owner_of_this_card(intents, card):
    assert intents.create({**ASKED, "payment_method": card}).status == "requires_capture"


def test_a_bank_that_cannot_be_asked_declines(intents):
    wanted = {**ASKED, "payment_method": "pm_card_threeDSecureRequiredProcessingError"}

    error = refused(intents.create, wanted, kind=stripe.CardError)
    assert error.code == "card_declined"


# ---------------------------------------------------------------- what tests say the bank does


@pytest.mark.parametrize(
    ("does", "status"), [("accept", "requires_capture"), ("refuse", "requires_payment_method")]
)
def test_the_bank_decides_by_itself(bank, intents, does, status):
    intent = intents.create(ASKED)
    bank.set_bank(does)

    arrived = requests.get(page_of(intent), allow_redirects=False, timeout=10)

    assert arrived.status_code == 303
    assert intents.retrieve(intent.id).status == status


def test_the_owner_answers_in_the_app_of_the_bank(sandbox, intents):
    intent = intents.create(ASKED)

    assert sandbox.decide(intent.id, "accept")["status"] == "requires_capture"
    assert requests.get(page_of(intent), timeout=10).status_code == 410
    # Nothing is asked any more.
    assert sandbox.decide(intent.id, "refuse")["status"] == "requires_capture"


def test_a_slow_bank_decides_although_the_browser_has_left(bank, intents):
    intent = intents.create(ASKED)
    bank.set_bank(seconds=1.0)

    with pytest.raises(requests.ReadTimeout):
        requests.post(page_of(intent), data={"answer": "accept"}, timeout=0.3)

    assert intents.retrieve(intent.id).status == "requires_action"
    eventually(
        lambda: intents.retrieve(intent.id).status == "requires_capture", "the bank's decision"
    )


def test_a_slow_bank_decides_once(bank, intents):
    intent = intents.create(ASKED)
    bank.set_bank(seconds=0.5)
    threads = [
        threading.Thread(target=answer, args=(page_of(intent), decision))
        for decision in ("accept", "refuse", "accept")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    decided = intents.retrieve(intent.id)
    assert decided.status in ("requires_capture", "requires_payment_method")
    assert bool(decided.latest_charge) == (decided.status == "requires_capture")


def test_a_bank_that_is_down_leaves_the_question_open(bank, intents):
    intent = intents.create(ASKED)
    bank.set_bank("down")

    assert requests.get(page_of(intent), timeout=10).status_code == 503
    assert answer(page_of(intent), "accept").status_code == 503
    assert intents.retrieve(intent.id) == intent


def test_a_wrong_behaviour_is_refused(bank):
    for wrong in ({"does": "sleep"}, {"seconds": -1.0}):
        with pytest.raises(ValueError, match="Invalid behaviour"):
            bank.set_bank(**wrong)
    with pytest.raises(ValueError, match="Invalid decision"):
        bank.decide("pi_none", "perhaps")
    with pytest.raises(ValueError, match="No such payment_intent"):
        bank.decide("pi_none", "accept")


# ---------------------------------------------------------------- webhooks and restarts


def test_webhooks_tell_that_the_bank_asks_and_what_was_answered(tmp_path):
    with Receiver() as receiver, telling(receiver, tmp_path) as sandbox:
        intents = client_of(sandbox).payment_intents
        accepted, declined, not_confirmed, canceled = (
            intents.create({**ASKED, "payment_method": card}).id
            for card in (
                "pm_card_threeDSecure2Required",
                "pm_card_threeDSecureRequiredChargeDeclined",
                "pm_card_authenticationRequired",
                "pm_card_authenticationRequired",
            )
        )
        sandbox.decide(accepted, "accept")
        sandbox.decide(accepted, "accept")
        sandbox.decide(declined, "accept")
        sandbox.decide(not_confirmed, "refuse")
        intents.cancel(canceled)
        sandbox.decide(canceled, "accept")
        events = receiver.events(8)

    told = sorted((event["data"]["object"]["id"], event["type"]) for event in events)
    assert told == sorted(
        [
            *(
                (intent_id, "payment_intent.requires_action")
                for intent_id in (accepted, declined, not_confirmed, canceled)
            ),
            (accepted, "payment_intent.amount_capturable_updated"),
            (declined, "payment_intent.payment_failed"),
            (not_confirmed, "payment_intent.payment_failed"),
            (canceled, "payment_intent.canceled"),
        ]
    )


def test_the_link_to_the_bank_outlives_the_process(tmp_path):
    sandbox = Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log").start()
    intents = client_of(sandbox).payment_intents
    intent = intents.create(ASKED, {"idempotency_key": "asked"})
    sandbox.kill()
    sandbox.start()
    try:
        assert answer(page_of(intent), "accept").status_code == 303
        assert intents.retrieve(intent.id).status == "requires_capture"
        # The first answer of the key stays what it was.
        again = intents.create(ASKED, {"idempotency_key": "asked"})
        assert (again.id, again.status) == (intent.id, "requires_action")
    finally:
        sandbox.stop()


def test_a_slow_bank_does_not_keep_the_sandbox_from_stopping(tmp_path):
    sandbox = Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log").start()
    intent = client_of(sandbox).payment_intents.create(ASKED)
    sandbox.set_bank(seconds=600)
    with pytest.raises(requests.ReadTimeout):
        requests.get(page_of(intent), timeout=0.3)
    began = time.monotonic()

    sandbox.stop()

    assert sandbox.exit_code == 0
    assert time.monotonic() - began < 8
    assert "Traceback" not in (tmp_path / "sandbox.log").read_text()
