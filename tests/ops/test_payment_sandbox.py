"""The sandbox's side of Stripe's protocol, spoken by hand."""

import itertools
import re
import socket
import sqlite3
import sys
import threading
import time
from contextlib import closing

import pytest
import requests

from ops.processes import Process, free_port
from ops.sandbox import cards
from ops.servers import REPOSITORY, Sandbox
from tests.support.environment import inherited
from tests.support.sandbox import Receiver, telling
from tests.support.waiting import eventually

CARD_PAYMENT = {
    "amount": "1200",
    "currency": "gbp",
    "payment_method": "pm_card_visa",
    "capture_method": "manual",
    "confirm": "true",
    "error_on_requires_action": "true",
    "automatic_payment_methods[enabled]": "true",
    "automatic_payment_methods[allow_redirects]": "never",
}

_numbers = itertools.count()


class Caller:
    def __init__(self, url: str):
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = "Bearer sk_test_caller"

    def post(self, path="", parameters=None, key=None):
        headers = {"Idempotency-Key": key} if key else {}
        url = f"{self._url}/v1/payment_intents{path}"
        return self._session.post(url, data=parameters or {}, headers=headers, timeout=10)

    def get(self, path="", headers=None, **query):
        url = f"{self._url}/v1/payment_intents{path}"
        return self._session.get(url, params=query, headers=headers, timeout=10)

    def refund(self, intent_id, key=None, **parameters):
        return self._session.post(
            f"{self._url}/v1/refunds",
            data={"payment_intent": intent_id, **parameters},
            headers={"Idempotency-Key": key} if key else {},
            timeout=10,
        )

    def refunds(self, **query):
        return self._session.get(f"{self._url}/v1/refunds", params=query, timeout=10)

    def captured(self, **changes):
        """The id of a payment whose money was taken."""
        intent_id = self.pay(**changes).json()["id"]
        assert self.post(f"/{intent_id}/capture").status_code == 200
        return intent_id

    def charge(self, intent_id):
        return self.get(f"/{intent_id}", **{"expand[]": "latest_charge"}).json()["latest_charge"]

    def pay(self, key=None, **changes):
        return self.post(parameters={**CARD_PAYMENT, **changes}, key=key)

    def payments(self, **metadata):
        """All payments with this metadata, newest first."""
        intents = self.get(limit=100).json()["data"]
        return [intent for intent in intents if metadata.items() <= intent["metadata"].items()]


@pytest.fixture
def caller(sandbox):
    return Caller(sandbox.url)


@pytest.fixture
def set_faults(sandbox):
    yield sandbox.set_faults
    sandbox.set_faults()


def await_fault(sandbox):
    """Until a call has met the first fault, which with its key happens in one go."""
    eventually(lambda: sandbox.faults()[0]["happened"], "a call that meets the fault")


@pytest.fixture
def key():
    return f"key-{next(_numbers)}"


def error_of(response):
    return response.json()["error"]


def test_a_payment_that_is_captured_by_hand_waits_for_it(caller):
    response = caller.pay(**{"metadata[event]": "gala", "metadata[seats]": "2"})

    intent = response.json()
    assert response.status_code == 200
    assert response.headers["Request-Id"].startswith("req_")
    assert intent["id"].startswith("pi_")
    assert intent["object"] == "payment_intent"
    assert intent["status"] == "requires_capture"
    assert (intent["amount"], intent["amount_capturable"], intent["amount_received"]) == (
        1200,
        1200,
        0,
    )
    assert intent["currency"] == "gbp"
    assert intent["latest_charge"].startswith("ch_")
    assert intent["metadata"] == {"event": "gala", "seats": "2"}
    assert caller.get(f"/{intent['id']}").json() == intent


def test_a_payment_that_is_captured_by_itself_has_the_money(caller):
    intent = caller.pay(capture_method="automatic").json()

    assert intent["status"] == "succeeded"
    assert (intent["amount_capturable"], intent["amount_received"]) == (0, 1200)


def test_a_payment_intent_can_be_confirmed_later(caller):
    later = {name: CARD_PAYMENT[name] for name in ("amount", "currency", "capture_method")}
    later["automatic_payment_methods[enabled]"] = "true"
    later["automatic_payment_methods[allow_redirects]"] = "never"
    intent = caller.post(parameters=later).json()
    assert intent["status"] == "requires_payment_method"
    assert (
        error_of(caller.post(f"/{intent['id']}/confirm"))["code"]
        == "payment_intent_unexpected_state"
    )

    confirmed = caller.post(f"/{intent['id']}/confirm", {"payment_method": "pm_card_amex"})

    assert confirmed.json()["status"] == "requires_capture"


def test_a_declined_payment_intent_takes_another_card(caller):
    declined = error_of(caller.pay(payment_method="pm_card_visa_chargeDeclined"))
    path = f"/{declined['payment_intent']['id']}/confirm"

    assert caller.post(path, {"payment_method": "pm_card_visa"}).json()["status"] == (
        "requires_capture"
    )


def test_a_repeated_key_answers_the_same_payment_intent(caller, key):
    first = caller.pay(key, **{"metadata[key]": key})
    second = caller.pay(key, **{"metadata[key]": key})

    assert second.status_code == 200
    assert second.content == first.content
    assert second.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert len(caller.payments(key=key)) == 1


def test_a_repeated_key_answers_as_it_did_although_the_payment_went_on(caller, key):
    first = caller.pay(key)
    caller.post(f"/{first.json()['id']}/capture")

    assert caller.pay(key).content == first.content


def test_a_repeated_key_repeats_a_decline(caller, key):
    decline = {"payment_method": "pm_card_visa_chargeDeclined", "metadata[key]": key}
    first = caller.pay(key, **decline)
    second = caller.pay(key, **decline)

    assert (first.status_code, second.status_code) == (402, 402)
    assert second.content == first.content
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(caller.payments(key=key)) == 1


def test_the_order_of_parameters_does_not_make_another_request(caller, key):
    first = caller.pay(key)
    second = caller.post(parameters=dict(reversed(CARD_PAYMENT.items())), key=key)

    assert second.content == first.content


def test_a_key_is_refused_with_other_parameters(caller, key):
    caller.pay(key, **{"metadata[key]": key})
    response = caller.pay(key, **{"metadata[key]": key, "amount": "1300"})

    assert response.status_code == 400
    assert error_of(response)["type"] == "idempotency_error"
    assert len(caller.payments(key=key)) == 1


def test_a_key_is_refused_at_another_endpoint(caller, key):
    path = f"/{caller.pay().json()['id']}"
    captured = caller.post(f"{path}/capture", key=key).json()
    response = caller.post(f"{path}/cancel", key=key)

    assert response.status_code == 400
    assert error_of(response)["type"] == "idempotency_error"
    assert caller.get(path).json() == captured


def test_the_slow_card_takes_three_seconds():
    assert cards.CARDS["pm_sandbox_slow"].takes_s == 3


def test_a_key_is_in_use_until_its_request_has_ended(caller, sandbox, set_faults, key):
    marked = {"metadata[key]": key}
    set_faults({"operation": "create", "kind": "slow_before", "calls": 1, "seconds": 1})
    answers = []
    began = time.monotonic()
    first = threading.Thread(target=lambda: answers.append(caller.pay(key, **marked)))
    first.start()
    await_fault(sandbox)

    meanwhile = caller.pay(key, **marked)
    first.join()
    took_s = time.monotonic() - began
    afterwards = caller.pay(key, **marked)

    assert meanwhile.status_code == 409
    assert error_of(meanwhile)["code"] == "idempotency_key_in_use"
    assert 1 <= took_s < 10
    assert answers[0].json()["status"] == "requires_capture"
    assert afterwards.content == answers[0].content
    assert len(caller.payments(key=key)) == 1


def test_a_request_that_was_killed_has_done_nothing_and_its_key_is_free(tmp_path, key):
    sandbox = Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log").start()
    killed = Caller(sandbox.url)
    before = killed.pay("before")
    sandbox.set_faults({"operation": "create", "kind": "slow_before", "seconds": 60})

    def pay_without_an_answer():
        with pytest.raises(requests.ConnectionError):
            killed.pay(key)

    under_way = threading.Thread(target=pay_without_an_answer)
    under_way.start()
    await_fault(sandbox)
    sandbox.kill()
    under_way.join()

    sandbox = Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log").start()
    try:
        restarted = Caller(sandbox.url)
        assert restarted.pay("before").content == before.content
        assert restarted.payments() == [before.json()]
        # A key that was ever used would not take another request.
        assert restarted.pay(key).status_code == 200
    finally:
        sandbox.stop()


def test_a_refused_parameter_leaves_the_key_free(caller, key):
    assert caller.pay(key, amount="none").status_code == 400

    assert caller.pay(key).status_code == 200


def test_an_answer_that_was_found_out_by_trying_is_kept(caller, key):
    first = caller.post("/pi_none/capture", key=key)

    assert first.status_code == 404
    assert caller.post("/pi_none/capture", key=key).headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("payment_method", "code", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_visa_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        (
            "pm_card_visa_chargeDeclinedVelocityLimitExceeded",
            "card_declined",
            "card_velocity_exceeded",
        ),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", None),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", None),
        ("pm_card_authenticationRequired", "authentication_required", "authentication_not_handled"),
        ("pm_card_threeDSecure2Required", "authentication_required", "authentication_not_handled"),
    ],
)
def test_a_card_is_declined_as_stripe_documents_it(caller, payment_method, code, decline_code):
    response = caller.pay(payment_method=payment_method)

    error = error_of(response)
    assert response.status_code == 402
    assert error["type"] == "card_error"
    assert error["code"] == code
    assert error.get("decline_code") == decline_code
    assert error["message"]
    intent = error["payment_intent"]
    assert intent["status"] == "requires_payment_method"
    assert intent["last_payment_error"]["code"] == code
    assert caller.get(f"/{intent['id']}").json() == intent


def test_a_card_may_wait_for_its_owner(caller):
    response = caller.pay(
        payment_method="pm_card_authenticationRequired", error_on_requires_action="false"
    )

    assert response.status_code == 200
    assert response.json()["status"] == "requires_action"
    assert response.json()["amount_capturable"] == 0


def test_a_capture_takes_what_was_reserved_once(caller):
    path = f"/{caller.pay().json()['id']}/capture"
    captured = caller.post(path).json()
    again = caller.post(path)

    assert captured["status"] == "succeeded"
    assert (captured["amount_capturable"], captured["amount_received"]) == (0, 1200)
    assert again.status_code == 400
    assert error_of(again)["code"] == "payment_intent_unexpected_state"
    assert error_of(again)["payment_intent"] == captured


def test_a_capture_takes_a_part_but_never_more(caller):
    path = f"/{caller.pay().json()['id']}/capture"

    assert error_of(caller.post(path, {"amount_to_capture": "1201"}))["code"] == "amount_too_large"
    part = caller.post(path, {"amount_to_capture": "1000"}).json()
    assert (part["status"], part["amount_received"]) == ("succeeded", 1000)


def test_a_cancelled_payment_lets_the_money_go(caller):
    intent_id = caller.pay().json()["id"]
    canceled = caller.post(f"/{intent_id}/cancel", {"cancellation_reason": "abandoned"}).json()

    assert (canceled["status"], canceled["amount_capturable"]) == ("canceled", 0)
    assert canceled["cancellation_reason"] == "abandoned"
    assert canceled["canceled_at"] >= canceled["created"]
    for call in ("cancel", "capture", "confirm"):
        refused = caller.post(f"/{intent_id}/{call}")
        assert refused.status_code == 400
        assert error_of(refused)["code"] == "payment_intent_unexpected_state"


def test_a_captured_payment_cannot_be_cancelled(caller):
    intent_id = caller.pay().json()["id"]
    caller.post(f"/{intent_id}/capture")

    refused = caller.post(f"/{intent_id}/cancel")

    assert error_of(refused)["code"] == "payment_intent_unexpected_state"
    assert caller.get(f"/{intent_id}").json()["amount_received"] == 1200


def test_a_refund_gives_all_back_once(caller):
    intent_id = caller.captured()

    refund = caller.refund(intent_id, reason="requested_by_customer").json()
    again = caller.refund(intent_id)

    assert refund["id"].startswith("re_")
    assert (refund["object"], refund["status"]) == ("refund", "succeeded")
    assert (refund["amount"], refund["currency"]) == (1200, "gbp")
    assert (refund["payment_intent"], refund["reason"]) == (intent_id, "requested_by_customer")
    assert again.status_code == 400
    assert error_of(again)["code"] == "charge_already_refunded"
    assert caller.refunds(payment_intent=intent_id).json() == {
        "object": "list",
        "url": "/v1/refunds",
        "has_more": False,
        "data": [refund],
    }


def test_a_refund_gives_back_what_was_captured(caller):
    intent_id = caller.pay().json()["id"]
    caller.post(f"/{intent_id}/capture", {"amount_to_capture": "1000"})
    assert (caller.charge(intent_id)["amount_refunded"], caller.charge(intent_id)["refunded"]) == (
        200,
        False,
    )

    assert caller.refund(intent_id).json()["amount"] == 1000
    assert (caller.charge(intent_id)["amount_refunded"], caller.charge(intent_id)["refunded"]) == (
        1200,
        True,
    )


def test_a_repeated_key_repeats_a_refund(caller, key):
    intent_id = caller.captured()

    first = caller.refund(intent_id, key)
    second = caller.refund(intent_id, key)

    assert first.status_code == 200
    assert second.content == first.content
    assert second.headers["Idempotent-Replayed"] == "true"


def test_a_refund_may_be_pending(caller):
    refund = caller.refund(caller.captured(payment_method="pm_card_pendingRefund"))

    assert refund.json()["status"] == "pending"


def test_refunds_are_listed_newest_first(caller):
    made = [caller.refund(caller.captured()).json()["id"] for _ in range(3)][::-1]

    first = caller.refunds(limit=2).json()
    second = caller.refunds(limit=1, starting_after=made[1]).json()

    assert [refund["id"] for refund in first["data"] + second["data"]] == made
    assert first["has_more"]


def test_only_captured_money_is_refunded(caller):
    reserved = caller.pay().json()["id"]
    let_go = caller.pay().json()["id"]
    caller.post(f"/{let_go}/cancel")
    declined = error_of(caller.pay(payment_method="pm_card_visa_chargeDeclined"))["payment_intent"]

    for intent_id, message in (
        (reserved, "You must cancel the PaymentIntent"),
        (let_go, "does not have a successful charge"),
        (declined["id"], "does not have a successful charge"),
    ):
        refused = caller.refund(intent_id)
        assert refused.status_code == 400
        assert message in error_of(refused)["message"]
        assert caller.refunds(payment_intent=intent_id).json()["data"] == []


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "1201"}, "amount"),
        ({"reason": "regret"}, "reason"),
        ({"payment_intent": ""}, "payment_intent"),
        ({"payment_intent": "pi_none"}, "payment_intent"),
        ({"charge": "ch_1"}, "charge"),
    ],
)
def test_a_wrong_refund_parameter_is_refused_by_name(caller, parameters, param):
    intent_id = caller.captured()
    response = caller.refund(intent_id, **parameters)

    assert response.status_code == 400
    assert error_of(response)["param"] == param
    assert caller.charge(intent_id)["amount_refunded"] == 0
    assert caller.refund(intent_id, amount="1200").status_code == 200


def test_a_charge_is_shown_whole_to_who_asks(caller):
    intent = caller.pay(**{"metadata[event]": "gala"}).json()

    charge = caller.charge(intent["id"])
    listed = caller.get(limit=1, **{"expand[]": "data.latest_charge"}).json()["data"][0]

    assert charge["id"] == intent["latest_charge"]
    assert (charge["object"], charge["status"]) == ("charge", "succeeded")
    assert (charge["captured"], charge["refunded"], charge["amount_refunded"]) == (False, False, 0)
    assert charge["payment_intent"] == intent["id"]
    assert charge["metadata"] == {"event": "gala"}
    assert listed == {**intent, "latest_charge": charge}
    assert caller.get(limit=1).json()["data"] == [intent]


def test_reserved_money_that_was_let_go_counts_as_refunded_but_not_as_captured(caller):
    intent_id = caller.pay().json()["id"]
    caller.post(f"/{intent_id}/cancel")

    charge = caller.charge(intent_id)
    assert (charge["captured"], charge["refunded"]) == (False, True)
    assert caller.refunds(payment_intent=intent_id).json()["data"] == []


def test_the_charge_of_a_declined_card_has_failed(caller):
    intent = error_of(caller.pay(payment_method="pm_card_visa_chargeDeclined"))["payment_intent"]
    caller.post(f"/{intent['id']}/cancel")

    charge = caller.charge(intent["id"])
    assert (charge["status"], charge["paid"], charge["refunded"]) == ("failed", False, False)


def test_nothing_else_can_be_shown_whole(caller):
    intent_id = caller.pay().json()["id"]

    for path, name in ((f"/{intent_id}", "customer"), ("", "latest_charge")):
        response = caller.get(path, **{"expand[]": name})
        assert response.status_code == 400
        assert name in error_of(response)["message"]


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"amount": ""}, "amount", "parameter_invalid_empty"),
        ({"amount": "0"}, "amount", "parameter_invalid_integer"),
        ({"amount": "-5"}, "amount", "parameter_invalid_integer"),
        ({"amount": "12.5"}, "amount", "parameter_invalid_integer"),
        ({"amount": "100000000"}, "amount", "amount_too_large"),
        ({"currency": ""}, "currency", "parameter_invalid_empty"),
        ({"currency": "pounds"}, "currency", None),
        ({"currency": "xxz"}, "currency", None),
        ({"amount": "29"}, "amount", "amount_too_small"),
        ({"amount": "1", "currency": "usd"}, "amount", "amount_too_small"),
        ({"amount": "5124", "currency": "kwd"}, "amount", "invalid_charge_amount"),
        (
            {"amount": "150050", "currency": "isk"},
            "amount",
            "invalid_charge_amount_no_decimal_compatible",
        ),
        (
            {"amount": "5000050", "currency": "ugx"},
            "amount",
            "invalid_charge_amount_no_decimal_compatible",
        ),
        ({"amount": "10000000000", "currency": "cop"}, "amount", "amount_too_large"),
        ({"confirm": "yes"}, "confirm", None),
        ({"capture_method": "never"}, "capture_method", None),
        ({"payment_method": "pm_card_none"}, "payment_method", "resource_missing"),
        ({"metadata": "gala"}, "metadata", None),
        ({"metadata[a]": "1", "metadata[a][b]": "2"}, "metadata[a][b]", None),
        ({"metadata[a]": "1" * 501}, "metadata", None),
        ({"amont": "1200"}, "amont", "parameter_unknown"),
        (
            {"payment_method_types[]": "card"},
            "payment_method_types",
            "payment_method_types_no_longer_supported",
        ),
        ({"automatic_payment_methods[allow_redirects]": "always"}, None, None),
        ({"confirm": "false"}, "error_on_requires_action", None),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(caller, changes, param, code):
    response = caller.pay(**changes)

    error = error_of(response)
    assert response.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert (error.get("param"), error.get("code")) == (param, code)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("30", "gbp"),
        ("99999999", "gbp"),
        ("50", "jpy"),
        ("5120", "kwd"),
        ("150000", "isk"),
        ("1045000", "huf"),
        ("80045", "twd"),
        ("999999999999", "idr"),
        ("400000000000", "lbp"),
    ],
)
def test_an_amount_that_stripe_takes_is_taken(caller, amount, currency):
    assert caller.pay(amount=amount, currency=currency).json()["amount"] == int(amount)


def test_an_amount_that_is_refused_is_told_its_bound_in_money(caller):
    small = error_of(caller.pay(amount="29"))["message"]
    large = error_of(caller.pay(amount="100000000", currency="usd"))["message"]
    assert (small, large) == (
        "Amount must be at least 0.30 gbp",
        "Amount must be no more than 999,999.99 usd",
    )


def test_an_unknown_payment_intent_is_not_found(caller):
    for response in (caller.get("/pi_none"), caller.post("/pi_none/cancel")):
        assert response.status_code == 404
        assert error_of(response)["code"] == "resource_missing"


@pytest.mark.parametrize(
    "authorization", [None, "Bearer sk_live_mistake", "Basic c2tfbGl2ZV94Og=="]
)
def test_a_call_without_a_test_key_is_refused(sandbox, authorization):
    headers = {"Authorization": authorization} if authorization else {}
    response = requests.get(f"{sandbox.url}/v1/payment_intents", headers=headers, timeout=10)

    assert response.status_code == 401
    assert error_of(response)["type"] == "invalid_request_error"
    assert "mistake" not in response.text


def test_a_restricted_test_key_is_a_test_key(sandbox):
    for key, status in (("rk_test_caller", 200), ("rk_live_caller", 401)):
        headers = {"Authorization": f"Bearer {key}"}
        response = requests.get(f"{sandbox.url}/v1/payment_intents", headers=headers, timeout=10)
        assert response.status_code == status


def test_a_test_key_may_come_as_a_user_name(caller):
    basic = {"Authorization": requests.auth._basic_auth_str("sk_test_caller", "")}

    assert caller.get(headers=basic).status_code == 200


def test_an_unknown_url_is_refused_like_the_rest(sandbox):
    headers = {"Authorization": "Bearer sk_test_caller"}
    response = requests.get(f"{sandbox.url}/v1/charges", headers=headers, timeout=10)

    assert response.status_code == 404
    assert error_of(response)["type"] == "invalid_request_error"


def test_a_request_that_is_too_long_is_refused(caller):
    response = caller.pay(description="x" * 70_000)

    assert response.status_code == 413
    assert error_of(response)["type"] == "invalid_request_error"


def test_the_list_goes_back_in_time_page_by_page(caller, key):
    made = [caller.pay(**{"metadata[key]": key}).json()["id"] for _ in range(5)]
    newest_first = made[::-1]

    first = caller.get(limit=2).json()
    second = caller.get(limit=2, starting_after=newest_first[1]).json()
    back = caller.get(limit=2, ending_before=newest_first[3]).json()

    assert (first["object"], first["url"]) == ("list", "/v1/payment_intents")
    assert [intent["id"] for intent in first["data"]] == newest_first[:2]
    assert [intent["id"] for intent in second["data"]] == newest_first[2:4]
    assert [intent["id"] for intent in back["data"]] == newest_first[1:3]
    assert first["has_more"] and second["has_more"] and back["has_more"]


def test_the_last_page_says_that_it_is_the_last(caller):
    caller.pay()
    oldest = caller.get(limit=100).json()
    assert not oldest["has_more"]

    assert caller.get(starting_after=oldest["data"][-1]["id"]).json() == {
        "object": "list",
        "url": "/v1/payment_intents",
        "has_more": False,
        "data": [],
    }


def test_the_list_can_be_limited_in_time(caller):
    intent = caller.pay().json()
    created_s = intent["created"]

    def ids(**bounds):
        query = {f"created[{name}]": bound_s for name, bound_s in bounds.items()}
        return [found["id"] for found in caller.get(limit=100, **query).json()["data"]]

    assert intent["id"] in ids(gte=created_s, lte=created_s)
    assert intent["id"] in ids(gt=created_s - 1, lt=created_s + 1)
    assert intent["id"] not in ids(gt=created_s)
    assert intent["id"] not in ids(lt=created_s)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"starting_after": "pi_none"}, "starting_after"),
        ({"created[since]": 5}, "created[since]"),
        ({"customer": "cus_1"}, "customer"),
    ],
)
def test_a_wrong_list_parameter_is_refused_by_name(caller, query, param):
    response = caller.get(**query)

    assert response.status_code == 400
    assert error_of(response)["param"] == param


def test_the_sandbox_stops_at_once_although_clients_keep_connections(tmp_path):
    sandbox = Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log").start()
    caller = Caller(sandbox.url)
    caller.pay()
    began = time.monotonic()

    sandbox.stop()
    assert sandbox.exit_code == 0
    assert time.monotonic() - began < 8


def test_the_sandbox_ends_what_is_under_way_before_it_stops(tmp_path):
    sandbox = Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log").start()
    caller = Caller(sandbox.url)
    sandbox.set_faults({"operation": "create", "kind": "slow_before", "seconds": 0.5})
    answers = []
    slow = threading.Thread(target=lambda: answers.append(caller.pay()))
    slow.start()
    await_fault(sandbox)

    sandbox.stop()
    assert sandbox.exit_code == 0
    slow.join()
    assert answers[0].json()["status"] == "requires_capture"


# ---------------------------------------------------------------- faults


def capture(sandbox, intent_id, key):
    """Impatient: gives up after half a second. Returns the response, or None without one."""
    try:
        return requests.post(
            f"{sandbox.url}/v1/payment_intents/{intent_id}/capture",
            headers={"Authorization": "Bearer sk_test_caller", "Idempotency-Key": key},
            timeout=0.5,
        )
    except (requests.ConnectionError, requests.ReadTimeout):
        return None


@pytest.mark.parametrize(
    ("kind", "status", "then_it_is", "key_answers"),
    [
        ("error_before", 500, "requires_capture", 200),
        ("error_after", 500, "succeeded", 200),
        ("error_kept", 500, "succeeded", 500),
        ("rate_limited", 429, "requires_capture", 200),
        ("drop_before", None, "requires_capture", 200),
        ("drop_after", None, "succeeded", 200),
        ("hang_before", None, "requires_capture", 200),
        ("hang_after", None, "succeeded", 200),
        ("duplicate", 200, "succeeded", 200),
    ],
)
def test_a_call_goes_wrong_as_it_was_told(
    caller, sandbox, set_faults, key, kind, status, then_it_is, key_answers
):
    intent_id = caller.pay().json()["id"]
    set_faults({"operation": "capture", "kind": kind, "calls": 1})

    response = capture(sandbox, intent_id, key)

    assert (response.status_code if response is not None else None) == status
    assert caller.get(f"/{intent_id}").json()["status"] == then_it_is
    assert capture(sandbox, intent_id, key).status_code == key_answers
    assert caller.get(f"/{intent_id}").json()["status"] == "succeeded"


@pytest.mark.parametrize(
    ("kind", "meanwhile", "key_answers"),
    [("slow_before", "requires_capture", 409), ("slow_after", "succeeded", 200)],
)
def test_a_slow_call_takes_effect_although_nobody_waits_for_it(
    caller, sandbox, set_faults, key, kind, meanwhile, key_answers
):
    intent_id = caller.pay().json()["id"]
    set_faults({"operation": "capture", "kind": kind, "calls": 1, "seconds": 1.5})

    assert capture(sandbox, intent_id, key) is None
    assert caller.get(f"/{intent_id}").json()["status"] == meanwhile
    assert capture(sandbox, intent_id, key).status_code == key_answers
    eventually(lambda: caller.get(f"/{intent_id}").json()["status"] == "succeeded", "the effect")


def test_a_call_that_arrives_twice_is_one_payment_only_with_a_key(caller, set_faults, key):
    set_faults({"operation": "create", "kind": "duplicate"})

    with_key = caller.pay(key, **{"metadata[key]": key})
    caller.pay(**{"metadata[key]": f"no-{key}"})

    assert with_key.headers["Idempotent-Replayed"] == "true"
    assert len(caller.payments(key=key)) == 1
    assert len(caller.payments(key=f"no-{key}")) == 2


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("create", lambda caller, intent_id: caller.pay()),
        ("confirm", lambda caller, intent_id: caller.post(f"/{intent_id}/confirm")),
        ("capture", lambda caller, intent_id: caller.post(f"/{intent_id}/capture")),
        ("cancel", lambda caller, intent_id: caller.post(f"/{intent_id}/cancel")),
        ("retrieve", lambda caller, intent_id: caller.get(f"/{intent_id}")),
        ("list", lambda caller, intent_id: caller.get()),
        ("refund", lambda caller, intent_id: caller.refund(intent_id)),
        ("list_refunds", lambda caller, intent_id: caller.refunds()),
    ],
)
@pytest.mark.parametrize("kind", ["error_before", "error_kept"])
def test_a_fault_is_for_one_operation(caller, sandbox, set_faults, operation, call, kind):
    intent_id = caller.pay().json()["id"]
    others = {"create", "list"} - {operation}
    set_faults(
        *({"operation": other, "kind": "rate_limited"} for other in others),
        {"operation": operation, "kind": kind},
    )

    assert call(caller, intent_id).status_code == 500
    assert [fault["happened"] for fault in sandbox.faults()] == [0] * len(others) + [1]


def test_faults_happen_in_order_and_as_often_as_they_were_planned(caller, sandbox, set_faults):
    set_faults(
        {"operation": "list", "kind": "error_before", "calls": 2},
        {"operation": "any", "kind": "rate_limited", "calls": 1},
    )

    assert [caller.get().status_code for _ in range(5)] == [500, 500, 429, 200, 200]
    assert sandbox.faults() == [
        {
            "operation": "list",
            "kind": "error_before",
            "calls": 2,
            "seconds": 0.0,
            "happened": 2,
        },
        {"operation": "any", "kind": "rate_limited", "calls": 1, "seconds": 0.0, "happened": 1},
    ]


def test_a_fault_without_a_number_happens_until_it_is_cleared(caller, sandbox, set_faults):
    set_faults({"operation": "any", "kind": "error_before"})
    assert [caller.get().status_code for _ in range(3)] == [500, 500, 500]

    cleared = requests.delete(f"{sandbox.url}/_sandbox/faults", timeout=5)

    assert cleared.json() == {"faults": []}
    assert caller.get().status_code == 200


@pytest.mark.parametrize(
    "fault",
    [
        {"operation": "charge", "kind": "error_before"},
        {"operation": "list", "kind": "explode"},
        {"operation": "list", "kind": "error_before", "calls": 0},
        {"operation": "list", "kind": "error_before", "times": 1},
        {"operation": "list", "kind": "error_before", "seconds": 1},
        {"operation": "list", "kind": "slow_before"},
        {"operation": "list", "kind": "slow_after", "seconds": -1},
        {"operation": "list"},
    ],
)
def test_a_wrong_fault_is_refused_and_plans_nothing(sandbox, set_faults, fault):
    with pytest.raises(ValueError, match="Invalid faults"):
        set_faults({"operation": "list", "kind": "error_before"}, fault)

    assert sandbox.faults() == []


def test_a_call_that_hangs_does_not_keep_the_sandbox_from_stopping(tmp_path):
    sandbox = Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log").start()
    intent_id = Caller(sandbox.url).pay().json()["id"]
    sandbox.set_faults({"operation": "capture", "kind": "hang_before"})
    hanging = threading.Thread(target=capture, args=(sandbox, intent_id, "key"))
    hanging.start()
    await_fault(sandbox)
    began = time.monotonic()

    sandbox.stop()
    assert sandbox.exit_code == 0
    assert time.monotonic() - began < 8
    hanging.join()
    assert "Traceback" not in (tmp_path / "sandbox.log").read_text()


def test_a_call_that_hangs_ends_quietly_although_its_caller_has_reset_the_connection(tmp_path):
    with Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log") as sandbox:
        sandbox.set_faults({"operation": "list", "kind": "hang_before"})
        with socket.create_connection(("127.0.0.1", sandbox.port)) as connection:
            # Closing with a linger time of zero sends a reset.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            connection.sendall(
                b"GET /v1/payment_intents HTTP/1.1\r\nHost: sandbox\r\n"
                b"Authorization: Bearer sk_test_caller\r\n\r\n"
            )
            await_fault(sandbox)
        sandbox.set_faults()
        assert Caller(sandbox.url).get().status_code == 200

    assert "Traceback" not in (tmp_path / "sandbox.log").read_text()


def test_started_by_hand_it_says_with_which_settings_it_is_asked(tmp_path):
    command = [sys.executable, "-m", "ops.sandbox", "--port", "0"]
    environ = inherited() | {"PYTHONPATH": str(REPOSITORY)}
    process = Process("sandbox", command, tmp_path / "log", env=environ, cwd=tmp_path)
    with process:
        settings = eventually(
            lambda: re.search(r"STRIPE_API_BASE=(\S+) STRIPE_API_KEY=(\S+)$", process.log_tail()),
            "its greeting",
        )
        url, key = settings.groups()
        assert Caller(url).get(headers={"Authorization": f"Bearer {key}"}).status_code == 200
        assert (tmp_path / "var/sandbox.db").exists()


# ---------------------------------------------------------------- webhooks


def test_webhooks_tell_what_has_happened_once(tmp_path, key):
    with Receiver() as receiver, telling(receiver, tmp_path) as sandbox:
        caller = Caller(sandbox.url)
        intent_id = caller.pay(key).json()["id"]
        caller.pay(key)
        caller.post(f"/{intent_id}/capture")
        caller.post(f"/{intent_id}/capture")
        caller.refund(intent_id)
        caller.refund(intent_id)
        caller.pay(payment_method="pm_card_visa_chargeDeclined")
        caller.post(f"/{caller.pay().json()['id']}/cancel")
        events = receiver.events(7)

    assert sorted(event["type"] for event in events) == [
        "charge.refunded",
        # Of the cancelled intent: the uncaptured authorisation is released.
        "charge.refunded",
        "payment_intent.amount_capturable_updated",
        "payment_intent.amount_capturable_updated",
        "payment_intent.canceled",
        "payment_intent.payment_failed",
        "payment_intent.succeeded",
    ]
    told = {event["type"]: event["data"]["object"] for event in events}
    assert told["payment_intent.succeeded"]["id"] == intent_id
    assert told["payment_intent.succeeded"]["amount_received"] == 1200
    assert told["payment_intent.payment_failed"]["last_payment_error"]["code"] == "card_declined"
    assert {event["object"] for event in events} == {"event"}
    assert key in [event["request"]["idempotency_key"] for event in events]


def test_webhooks_tell_of_what_was_done_although_the_answer_was_lost(tmp_path):
    with Receiver() as receiver, telling(receiver, tmp_path) as sandbox:
        sandbox.set_faults({"operation": "create", "kind": "error_kept"})
        assert Caller(sandbox.url).pay().status_code == 500

        (event,) = receiver.events(1)
        assert event["type"] == "payment_intent.amount_capturable_updated"


def test_a_webhook_that_was_not_accepted_is_sent_again(tmp_path):
    with Receiver(fails=1) as receiver, telling(receiver, tmp_path) as sandbox:
        Caller(sandbox.url).pay()

        first, second = receiver.events(2)
        assert first == second


def test_a_receiver_that_is_gone_holds_nothing_up_and_is_told_when_it_is_back(tmp_path):
    # Not one of the ports that outgoing connections get: it is bound again.
    with Receiver(port=free_port()) as gone:
        pass
    with telling(gone, tmp_path) as sandbox:
        began = time.monotonic()
        # More than are delivered at the same time.
        made = {Caller(sandbox.url).pay().json()["id"] for _ in range(6)}
        assert time.monotonic() - began < 5
        with Receiver(port=gone.server_port) as back:
            events = back.events(len(made))

    assert {event["data"]["object"]["id"] for event in events} == made


def test_refunds_outlive_the_process(tmp_path):
    with Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log") as sandbox:
        intent_id = Caller(sandbox.url).captured()
        Caller(sandbox.url).refund(intent_id)
        sandbox.kill()
    with Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log") as sandbox:
        refused = Caller(sandbox.url).refund(intent_id)
        assert error_of(refused)["code"] == "charge_already_refunded"
        assert Caller(sandbox.url).charge(intent_id)["refunded"]


# ---------------------------------------------------------------- an earlier release's ledger


@pytest.fixture
def former(tmp_path):
    """A caller of a sandbox that goes on with the ledger of the first release."""
    dump = REPOSITORY / "tests/support" / "ledger_of_the_first_release.sql"
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        ledger.executescript(dump.read_text())
    with Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log") as process:
        yield Caller(process.url)


def test_the_payments_of_an_earlier_release_are_listed_with_their_charges(former):
    listed = former.get(limit=100, **{"expand[]": "data.latest_charge"})

    assert listed.status_code == 200, listed.text
    intents = listed.json()["data"]
    assert [(each["status"], bool(each["latest_charge"])) for each in intents] == [
        ("requires_confirmation", False),
        ("succeeded", True),
        ("requires_capture", True),
        ("succeeded", True),
        ("requires_payment_method", False),
        ("requires_payment_method", True),
    ]
    assert [each["latest_charge"]["refunded"] for each in intents if each["latest_charge"]] == [
        True,
        False,
        False,
        False,
    ]
    declined = intents[-1]
    assert declined["latest_charge"]["failure_code"] == "card_declined"
    assert declined["latest_charge"]["payment_method"] is None
    assert set(declined) == set(former.pay().json())
    assert set(declined["last_payment_error"]) == set(
        error_of(former.pay(payment_method="pm_card_visa_chargeDeclined"))["payment_intent"][
            "last_payment_error"
        ]
    )


def test_the_payments_of_an_earlier_release_can_be_carried_on(former):
    unconfirmed, _, reserved, captured, asks_owner, declined = (
        each["id"] for each in former.get(limit=100).json()["data"]
    )

    assert former.post(f"/{unconfirmed}/confirm").json()["status"] == "succeeded"
    for refused in (asks_owner, declined):
        again = former.post(f"/{refused}/confirm", {"payment_method": "pm_card_visa"})
        assert again.json()["status"] == "requires_capture"
    # In a currency that the sandbox took then.
    assert former.post(f"/{reserved}/capture").json()["status"] == "succeeded"
    assert "1300.00 XYZ" in error_of(former.refund(reserved, amount=130_000))["message"]
    for payment in (reserved, captured):
        assert former.refund(payment).json()["status"] == "succeeded"
    assert len(former.refunds().json()["data"]) == 3


def test_the_keys_of_an_earlier_release_still_have_their_answers(former):
    metadata = {"metadata[event]": "gala"}
    declined = former.pay("declined", payment_method="pm_card_visa_chargeDeclined", **metadata)
    captured = former.pay("captured", **metadata)

    assert (declined.status_code, captured.status_code) == (402, 200)
    for replayed in (declined, captured):
        assert replayed.headers["Idempotent-Replayed"] == "true"
