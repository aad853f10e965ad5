"""The sandbox's side of Stripe's protocol, spoken by hand."""

import itertools
import threading
import time

import pytest
import requests

from ops.servers import Sandbox

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


def test_a_key_is_in_use_until_its_request_has_ended(caller, key):
    slow = {"payment_method": "pm_sandbox_slow", "metadata[key]": key}
    answers = []
    began = time.monotonic()
    first = threading.Thread(target=lambda: answers.append(caller.pay(key, **slow)))
    first.start()
    time.sleep(0.3)

    meanwhile = caller.pay(key, **slow)
    first.join()
    took_s = time.monotonic() - began
    afterwards = caller.pay(key, **slow)

    assert meanwhile.status_code == 409
    assert error_of(meanwhile)["code"] == "idempotency_key_in_use"
    assert 3 <= took_s < 4
    assert answers[0].json()["status"] == "requires_capture"
    assert afterwards.content == answers[0].content
    assert len(caller.payments(key=key)) == 1


def test_a_request_that_was_killed_has_done_nothing_and_its_key_is_free(tmp_path, key):
    slow = {"payment_method": "pm_sandbox_slow"}
    sandbox = Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log").start()
    killed = Caller(sandbox.url)
    before = killed.pay("before")

    def pay_without_an_answer():
        with pytest.raises(requests.ConnectionError):
            killed.pay(key, **slow)

    under_way = threading.Thread(target=pay_without_an_answer)
    under_way.start()
    time.sleep(0.3)
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


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"amount": ""}, "amount", "parameter_missing"),
        ({"amount": "0"}, "amount", "parameter_invalid_integer"),
        ({"amount": "-5"}, "amount", "parameter_invalid_integer"),
        ({"amount": "12.5"}, "amount", "parameter_invalid_integer"),
        ({"amount": "100000000"}, "amount", "amount_too_large"),
        ({"currency": ""}, "currency", "parameter_missing"),
        ({"currency": "pounds"}, "currency", None),
        ({"confirm": "yes"}, "confirm", None),
        ({"capture_method": "never"}, "capture_method", None),
        ({"payment_method": "pm_card_none"}, "payment_method", "resource_missing"),
        ({"metadata": "gala"}, "metadata", None),
        ({"metadata[a]": "1", "metadata[a][b]": "2"}, "metadata[a][b]", None),
        ({"metadata[a]": "1" * 501}, "metadata[a]", None),
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
        ({"created[since]": 5}, "since"),
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
    assert time.monotonic() - began < 2


def test_the_sandbox_ends_what_is_under_way_before_it_stops(tmp_path):
    sandbox = Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log").start()
    caller = Caller(sandbox.url)
    answers = []
    slow = threading.Thread(
        target=lambda: answers.append(caller.pay(payment_method="pm_sandbox_slow"))
    )
    slow.start()
    time.sleep(0.3)

    sandbox.stop()
    assert sandbox.exit_code == 0
    slow.join()
    assert answers[0].json()["status"] == "requires_capture"
