"""A webhook makes the worker look sooner, and can do nothing else."""

import json
import time
from dataclasses import replace

import pytest
import requests

from ops.sandbox.webhooks import sign
from tests.conftest import WEBHOOK_SECRET
from tests.factories import BUYER
from tests.http_client import Client, assert_problem
from web.domain import Event, Payment
from web.shop_tags import shop_tag


@pytest.fixture
def payment(seats, event) -> Payment:
    """One that is under way and that nobody works on."""
    seats.hold_seats(event, "hld_webhook", "ada", [0])
    return seats.begin_payment(event, "hld_webhook", BUYER, "key", "fingerprint")


def lease_left_ms(redis_client, event: Event) -> float:
    ends_ms = redis_client.zscore(f"payments:{{{event.id}}}", "hld_webhook")
    return ends_ms - time.time() * 1000


def told_by_stripe(stack, payment: Payment, kind: str = "payment_intent.succeeded") -> bytes:
    return told_of_shop(stack.environment["SECRET_KEY"], payment, kind)


def told_of_shop(
    secret_key: str, payment: Payment, kind: str = "payment_intent.succeeded"
) -> bytes:
    intent = {
        "id": "pi_webhook",
        "object": "payment_intent",
        "amount": payment.amount_minor,
        "currency": "gbp",
        "status": "requires_capture",
        "created": int(time.time()),
        "metadata": {
            "payment_key": payment.gateway_key,
            "payment_shop": shop_tag(secret_key),
            "event": payment.event_id,
            "hold_id": payment.hold_id,
        },
    }
    event = {"id": "evt_1", "object": "event", "type": kind, "data": {"object": intent}}
    return json.dumps(event | {"created": int(time.time())}).encode()


def post(stack, payload: bytes, signature: str) -> requests.Response:
    client = Client(stack.url, "any")
    headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
    return client.call("POST", "/webhooks/stripe", data=payload, headers=headers)


def signed(payload: bytes, age_s: int = 0, secret: str = WEBHOOK_SECRET) -> str:
    return sign(payload, secret, int(time.time()) - age_s)


def test_a_webhook_shortens_the_lease_of_its_payment(stack, redis_client, event, payment):
    payload = told_by_stripe(stack, payment)
    assert post(stack, payload, signed(payload)).status_code == 204
    assert 10_000 < lease_left_ms(redis_client, event) < 15_001


def test_a_payment_has_lapsed_when_its_shortened_lease_is_over(seats, event, payment):
    assert seats.lapsed_holds(event.id) == []
    seats.hurry_payment(event.id, payment.hold_id, within_ms=0)
    assert seats.lapsed_holds(event.id) == [payment.hold_id]


def test_a_repeated_webhook_does_not_lengthen_it_again(stack, redis_client, event, payment):
    payload = told_by_stripe(stack, payment)
    post(stack, payload, signed(payload))
    before = redis_client.zscore(f"payments:{{{event.id}}}", payment.hold_id)
    time.sleep(0.05)
    assert post(stack, payload, signed(payload)).status_code == 204
    assert redis_client.zscore(f"payments:{{{event.id}}}", payment.hold_id) == before


@pytest.mark.parametrize(
    "forge",
    [
        lambda payload: "",
        lambda payload: "t=1,v1=00",
        lambda payload: signed(payload, secret="whsec_another"),
        lambda payload: signed(payload, age_s=301),
        lambda payload: signed(payload + b" "),
    ],
)
def test_a_forged_or_old_webhook_changes_nothing(stack, redis_client, event, payment, forge):
    payload = told_by_stripe(stack, payment)
    assert_problem(post(stack, payload, forge(payload)), 400, "bad_signature")
    assert lease_left_ms(redis_client, event) > 30_000


def test_a_webhook_about_something_else_is_heard_and_changes_nothing(
    stack, redis_client, event, payment
):
    about_something_else = told_by_stripe(stack, payment, "customer.created")
    of_another_shop = told_of_shop("another secret key of tests", payment)
    for payload in (about_something_else, of_another_shop, b"{}", b"[]", b"not JSON"):
        assert post(stack, payload, signed(payload)).status_code == 204
    assert lease_left_ms(redis_client, event) > 30_000


def test_a_webhook_of_an_event_that_is_not_here_is_heard(stack, payment):
    payload = told_by_stripe(stack, replace(payment, event_id="elsewhere"))
    assert post(stack, payload, signed(payload)).status_code == 204


def test_a_webhook_of_an_ended_payment_starts_none(stack, seats, redis_client, event, payment):
    seats.undo_payment(payment, None)
    payload = told_by_stripe(stack, payment)
    assert post(stack, payload, signed(payload)).status_code == 204
    assert redis_client.zcard(f"payments:{{{event.id}}}") == 0
