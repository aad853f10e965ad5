"""A webhook makes the worker look sooner, and can do nothing else."""

import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import requests

from ops.sandbox.webhooks import sign
from tests.attacks.clients import new_address
from tests.support.application import application_with
from tests.support.factories import BUYER
from tests.support.http_client import TIMEOUT_S, Client, assert_problem
from tests.support.site import WEBHOOK_SECRET
from web import settings
from web.domain.events import Event
from web.domain.sales import PaymentAttempt
from web.signing.shop_tags import shop_tag


@pytest.fixture
def payment(seats, event) -> PaymentAttempt:
    """A payment that is under way, but that no process works on."""
    seats.hold_seats(event, "hld_webhook", "ada", [0])
    return seats.begin_payment(event, "hld_webhook", BUYER, "key", "fingerprint")


def lease_left_ms(redis_client, event: Event) -> float:
    ends_ms = redis_client.zscore(f"payments:{{{event.id}}}", "hld_webhook")
    return ends_ms - time.time() * 1000


def told_by_stripe(stack, payment: PaymentAttempt, kind: str = "payment_intent.succeeded") -> bytes:
    return told_of_shop(stack.environment["SECRET_KEY"], payment, kind)


def told_of_shop(
    secret_key: str, payment: PaymentAttempt, kind: str = "payment_intent.succeeded"
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


CROWD = 120
"""In about a second: what Stripe tells of forty payments, and all of it from one address."""


def answers_to_crowd(
    stack, address: str, size: int, sign_one: Callable[[bytes], str]
) -> list[requests.Response]:
    """Through nginx, all from ``address``, as fast as they go."""

    def post_one(number: int) -> requests.Response:
        payload = json.dumps({"type": "customer.created", "number": number}).encode()
        headers = {"Stripe-Signature": sign_one(payload), "X-Forwarded-For": address}
        url = f"{stack.url}/webhooks/stripe"
        return requests.post(url, data=payload, headers=headers, timeout=TIMEOUT_S)

    with ThreadPoolExecutor(20) as pool:
        return list(pool.map(post_one, range(size)))


def test_a_sale_full_of_webhooks_from_one_address_is_heard(stack):
    stripe = new_address()
    answers = answers_to_crowd(stack, stripe, CROWD, signed)
    assert Counter(answer.status_code for answer in answers) == {204: CROWD}
    for answer in answers:
        assert answer.headers["RateLimit-Policy"] == '"webhooks";q=200;w=1'
        assert answer.headers["RateLimit"].startswith('"webhooks";r=')


@pytest.mark.parametrize(
    "sign_one",
    [
        lambda payload: "",
        lambda payload: signed(payload, secret="whsec_another"),
        lambda payload: signed(payload, age_s=301),
        lambda payload: signed(payload) + ",v1=00" * 200,
    ],
    ids=["unsigned", "forged", "old", "with too many signatures"],
)
def test_what_is_not_signed_counts_like_any_other_request(stack, sign_one):
    began_s = time.monotonic()
    answers = answers_to_crowd(stack, new_address(), 35, sign_one)
    allowed = 10 * (1 + int(time.monotonic() - began_s))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses.keys() == {400, 429}
    assert statuses[400] <= allowed
    assert_problem(
        next(answer for answer in answers if answer.status_code == 429), 429, "rate_limited"
    )


def test_neither_a_signed_webhook_nor_a_request_takes_from_the_others_limit(stack):
    address = new_address()
    buyer = Client(stack.url, "any", address)
    answers_to_crowd(stack, address, 30, signed)
    statuses = [buyer.call("GET", "/api/events").status_code for _ in range(30)]
    assert statuses[0] == 200 and statuses[-1] == 429
    assert answers_to_crowd(stack, address, 1, signed)[0].status_code == 204


def test_signed_webhooks_have_a_limit_too_for_one_can_be_sent_again_and_again(monkeypatch):
    monkeypatch.setattr(settings, "RATE_OF_WEBHOOKS", "3/hour")
    app = application_with(STRIPE_WEBHOOK_SECRET=WEBHOOK_SECRET)
    headers = {"Stripe-Signature": signed(b"{}"), "X-Forwarded-For": new_address()}
    told = [
        app.test_client().post("/webhooks/stripe", data=b"{}", headers=headers) for _ in range(4)
    ]
    assert [answer.status_code for answer in told] == [204, 204, 204, 429]
    assert told[-1].json["code"] == "rate_limited"
    assert told[-1].headers["RateLimit-Policy"] == '"webhooks";q=3;w=3600'


def test_a_body_that_is_too_long_is_refused_whatever_its_signature(stack):
    payload = b"x" * (64 * 1024 + 1)
    headers = {"Stripe-Signature": signed(payload)}
    answer = Client(stack.web_url, "any").call(
        "POST", "/webhooks/stripe", data=payload, headers=headers
    )
    assert_problem(answer, 413, "body_too_large")


def signed(payload: bytes, age_s: int = 0, secret: str = WEBHOOK_SECRET) -> str:
    return sign(payload, secret, int(time.time()) - age_s)


def test_a_webhook_shortens_the_lease_of_its_payment(stack, redis_client, event, payment):
    payload = told_by_stripe(stack, payment)
    assert post(stack, payload, signed(payload)).status_code == 204
    assert 10_000 < lease_left_ms(redis_client, event) < 15_001


def test_a_payment_has_lapsed_when_its_shortened_lease_is_over(seats, event, payment):
    assert not seats.lapsed_holds(event.id)
    seats.shorten_lease(event.id, payment.hold_id, within_ms=0)
    assert list(seats.lapsed_holds(event.id)) == [payment.hold_id]


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
