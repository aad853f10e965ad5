"""StripeGateway, against the sandbox where the provider behaves and against a socket where it
does not. What a provider that behaves does holds for the gateway of the simulator, too."""

import itertools
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from urllib.parse import parse_qsl

import pytest
import requests
import stripe

from ops.servers import Sandbox
from tests.simulator.gateway import SimulatedGateway
from tests.support.factories import WAY_BACK
from tests.support.local_server import LocalServer, QuietHandler
from tests.support.sandbox import client_of
from tests.support.waiting import eventually
from web.adapters.stripe import gateway as adapter
from web.adapters.stripe.gateway import StripeGateway
from web.domain.refusals import InvalidRequest, PaymentDeclined
from web.ports.payment_gateway import (
    BadSignature,
    GatewayError,
    KeyUsed,
    NotAccepted,
    NotAllowed,
    NotExecuted,
    OutcomeUnknown,
)

API_KEY = "sk_test_gateway"
WEBHOOK_SECRET = "whsec_gateway"
IMPATIENT = {"connect_timeout_s": 0.2, "read_timeout_s": 0.2}

_numbers = itertools.count()


@pytest.fixture
def stripe_gateway(sandbox):
    return StripeGateway(API_KEY, sandbox.url)


@pytest.fixture(params=[pytest.param("Stripe", marks=pytest.mark.stack), "simulated"])
def gateway(request):
    if request.param == "simulated":
        return SimulatedGateway()
    return request.getfixturevalue("stripe_gateway")


@pytest.fixture
def key():
    return f"hld_{next(_numbers)}-1"


@pytest.fixture
def start():
    """A moment before the payments of a test."""
    return datetime.now(UTC)


def authorize(gateway, key, payment_method="pm_card_visa", **changes):
    details = {"amount_minor": 4200, "currency": "GBP", "metadata": {"event": "gala"}}
    details |= {"way_back": WAY_BACK, **changes}
    return gateway.authorize(key=key, payment_method=payment_method, **details)


def captured(gateway, key, payment_method="pm_card_visa"):
    payment_id = authorize(gateway, key, payment_method).payment_id
    gateway.capture(payment_id)
    return payment_id


def intents_of(sandbox, key):
    """Whatever their kind."""
    listed = requests.get(
        f"{sandbox.url}/v1/payment_intents",
        params={"limit": 100},
        headers={"Authorization": f"Bearer {API_KEY}"},
        timeout=5,
    ).json()["data"]
    return [intent for intent in listed if intent["metadata"].get("payment_key") == key]


def refunds_of(sandbox, payment_id):
    return requests.get(
        f"{sandbox.url}/v1/refunds",
        params={"payment_intent": payment_id},
        headers={"Authorization": f"Bearer {API_KEY}"},
        timeout=5,
    ).json()["data"]


# ---------------------------------------------------------------- a provider that behaves


def test_an_authorization_reserves_the_money_and_says_what_for(gateway, key, start):
    payment = authorize(gateway, key)

    assert payment.status == "authorized"
    assert payment.payment_id.startswith("pi_")
    assert (payment.amount_minor, payment.currency) == (4200, "GBP")
    assert payment.key == key
    assert payment.metadata == {"event": "gala"}
    assert start - timedelta(seconds=1) <= payment.created <= datetime.now(UTC)


def test_a_repeated_authorization_reserves_the_money_once(gateway, key, start):
    first = authorize(gateway, key)

    assert authorize(gateway, key) == first
    assert [found.key for found in gateway.list(start)].count(key) == 1


@pytest.mark.parametrize(
    ("payment_method", "reason", "message"),
    [
        ("pm_card_visa_chargeDeclined", "generic_decline", "Your card was declined."),
        # Who holds a stolen card is not told what the bank knows.
        ("pm_card_visa_chargeDeclinedStolenCard", "generic_decline", "Your card was declined."),
        ("pm_card_visa_chargeDeclinedLostCard", "generic_decline", "Your card was declined."),
        (
            "pm_card_visa_chargeDeclinedInsufficientFunds",
            "insufficient_funds",
            "Your card has insufficient funds.",
        ),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "Your card has expired."),
    ],
)
def test_a_declined_card_says_why_each_time_and_charges_nothing(
    gateway, key, start, payment_method, reason, message
):
    for _ in range(2):
        with pytest.raises(PaymentDeclined) as declined:
            authorize(gateway, key, payment_method)
        assert (declined.value.reason, declined.value.message) == (reason, message)

    found = gateway.find(key, start)
    assert found.status == "declined"
    assert (found.decline.reason, found.decline.message) == (reason, message)


def test_an_unknown_payment_method_is_the_buyers_mistake(gateway, key, start):
    with pytest.raises(InvalidRequest) as invalid:
        authorize(gateway, key, "pm_card_none")

    assert invalid.value.field == "payment_method"
    assert gateway.find(key, start) is None


def test_a_card_that_was_charged_before_is_the_buyers_mistake(stripe_gateway, sandbox, key, start):
    intents = stripe.StripeClient(API_KEY, base_addresses={"api": sandbox.url}).v1.payment_intents
    used = intents.retrieve(authorize(stripe_gateway, key).payment_id).payment_method

    with pytest.raises(InvalidRequest, match="enter the card again") as invalid:
        authorize(stripe_gateway, f"{key}-again", used)

    assert invalid.value.field == "payment_method"
    assert stripe_gateway.find(f"{key}-again", start) is None


@pytest.mark.parametrize(
    ("amount_minor", "currency", "says"),
    [
        (20, "GBP", "at least 0.30 gbp"),
        (10**8, "GBP", "no more than 999,999.99 gbp"),
        (5124, "KWD", "must end in 0"),
        (150_050, "ISK", "divisible by 100"),
        (4200, "GPB", "Invalid currency: gpb"),
    ],
)
def test_a_payment_that_stripe_never_takes_is_refused_for_good(
    stripe_gateway, key, start, amount_minor, currency, says
):
    with pytest.raises(NotAccepted, match=says):
        authorize(stripe_gateway, key, amount_minor=amount_minor, currency=currency)
    assert stripe_gateway.find(key, start) is None


def test_the_key_of_another_payment_charges_nothing_again(gateway, key, start):
    first = authorize(gateway, key)

    with pytest.raises(KeyUsed):
        authorize(gateway, key, "pm_card_amex")
    assert gateway.find(key, start) == first


def test_a_retired_key_never_charges_anything(gateway, key, start):
    for _ in range(2):
        gateway.retire(key, 4200, "GBP", "of ada")

    for _ in range(2):
        with pytest.raises(KeyUsed):
            authorize(gateway, key)
    with pytest.raises(KeyUsed):
        gateway.retire(key, 4200, "GBP", "of eve")
    found = gateway.find(key, start)
    assert (found.status, found.metadata["fingerprint"]) == ("voided", "of ada")
    assert key not in [found.key for found in gateway.list(start)]


@pytest.mark.parametrize("payment_method", ["pm_card_visa", "pm_card_visa_chargeDeclined"])
def test_a_key_that_was_used_is_not_retired(gateway, key, start, payment_method):
    with suppress(PaymentDeclined):
        authorize(gateway, key, payment_method)
    before = gateway.find(key, start)

    with pytest.raises(KeyUsed):
        gateway.retire(key, 4200, "GBP", "of ada")
    assert gateway.find(key, start) == before


def test_a_key_is_not_retired_while_a_card_is_being_charged(
    stripe_gateway, sandbox, key, set_faults
):
    set_faults({"operation": "create", "kind": "slow_before", "seconds": 0.5, "calls": 1})
    with ThreadPoolExecutor() as pool:
        charge = pool.submit(authorize, stripe_gateway, key)
        time.sleep(0.2)
        with pytest.raises(OutcomeUnknown):
            stripe_gateway.retire(key, 4200, "GBP", "of ada")
        assert charge.result().status == "authorized"


def test_a_payment_that_was_refused_before_stripe_began_leaves_its_key_to_be_retired(
    stripe_gateway, key
):
    with pytest.raises(NotAccepted):
        authorize(stripe_gateway, key, amount_minor=1)
    stripe_gateway.retire(key, 4200, "GBP", "of ada")
    with pytest.raises(KeyUsed):
        authorize(stripe_gateway, key)


def test_a_retired_key_leaves_a_cancelled_payment_at_stripe(stripe_gateway, sandbox, key):
    stripe_gateway.retire(key, 4200, "GBP", "of ada")
    found = intents_of(sandbox, key)
    assert [(i["status"], i["payment_method"], i["amount"]) for i in found] == [
        ("canceled", None, 4200)
    ]
    assert key in found[0]["description"]


@pytest.mark.parametrize("kind", ["error_before", "drop_after"])
def test_a_retirement_that_broke_off_is_completed_by_repeating_it(
    stripe_gateway, sandbox, key, start, set_faults, kind
):
    set_faults({"operation": "cancel", "kind": kind, "calls": 1})
    with pytest.raises(OutcomeUnknown):
        stripe_gateway.retire(key, 4200, "GBP", "of ada")
    found = stripe_gateway.find(key, start)
    assert found is None or found.status == "voided", "no card was refused"
    stripe_gateway.retire(key, 4200, "GBP", "of ada")
    assert [intent["status"] for intent in intents_of(sandbox, key)] == ["canceled"]


def test_stripes_clock_is_told_by_its_answers(key):
    hours_ago = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
    headers = {"Date": format_datetime(hours_ago, usegmt=True)}
    empty = b'{"object": "list", "url": "/v1/payment_intents", "has_more": false, "data": []}'
    with Provider(200, empty, headers) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        assert hours_ago <= gateway.now() <= hours_ago + timedelta(seconds=5)
        assert len(provider.requests) == 1
        gateway.now()
        assert len(provider.requests) == 1, "the clock is known now"


def test_without_an_answer_stripes_clock_is_not_known():
    with listening() as (_, url), pytest.raises(GatewayError):
        StripeGateway(API_KEY, url, **IMPATIENT).now()


def test_several_payments_are_found_in_one_reading_of_the_list(gateway, key, start):
    paid, declined = authorize(gateway, key), f"{key} declined"
    with pytest.raises(PaymentDeclined):
        authorize(gateway, declined, "pm_card_visa_chargeDeclined")

    found = gateway.find_all([key, declined, f"{key} of nobody"], start)
    assert {of: charge.status for of, charge in found.items()} == {
        key: "authorized",
        declined: "declined",
    }
    assert found[key] == paid
    assert gateway.find_all([], start) == {}


def test_a_capture_takes_the_money_and_may_be_repeated(gateway, key, start):
    payment_id = authorize(gateway, key).payment_id

    gateway.capture(payment_id)
    gateway.capture(payment_id)

    assert gateway.find(key, start).status == "captured"


def test_a_void_lets_the_money_go_and_may_be_repeated(gateway, key, start):
    payment_id = authorize(gateway, key).payment_id

    gateway.void(payment_id)
    gateway.void(payment_id)

    assert gateway.find(key, start).status == "voided"


def test_money_that_was_taken_cannot_be_let_go(gateway, key, start):
    payment_id = authorize(gateway, key).payment_id
    gateway.capture(payment_id)

    with pytest.raises(NotExecuted, match="succeeded"):
        gateway.void(payment_id)
    assert gateway.find(key, start).status == "captured"


def test_money_that_was_let_go_cannot_be_taken(gateway, key, start):
    payment_id = authorize(gateway, key).payment_id
    gateway.void(payment_id)

    with pytest.raises(NotExecuted, match="canceled"):
        gateway.capture(payment_id)
    assert gateway.find(key, start).status == "voided"


def test_a_refund_gives_the_money_back_once_however_often_it_is_repeated(
    stripe_gateway, sandbox, key, start
):
    payment_id = captured(stripe_gateway, key)

    stripe_gateway.refund(payment_id, f"{key}-refund")
    stripe_gateway.refund(payment_id, f"{key}-refund")
    # Stripe has forgotten the key by the next day.
    stripe_gateway.refund(payment_id, f"{key}-refund-the-next-day")

    assert [refund["amount"] for refund in refunds_of(sandbox, payment_id)] == [4200]
    assert stripe_gateway.find(key, start).status == "refunded"


def test_a_part_is_given_back_once_for_each_key_and_the_payment_stays_captured(gateway, key, start):
    payment_id = captured(gateway, key)
    for _ in range(2):
        gateway.refund_part(payment_id, 1000, f"{key}-one-seat")
    found = gateway.find(key, start)
    assert (found.status, found.amount_minor, found.refunded_minor) == ("captured", 4200, 1000)
    gateway.refund_part(payment_id, 200, f"{key}-another")
    with pytest.raises(NotAccepted):
        gateway.refund_part(payment_id, 3001, f"{key}-too-much")
    assert gateway.retrieve(payment_id).refunded_minor == 1200
    gateway.refund(payment_id, f"{key}-refund")
    gateway.refund_part(payment_id, 1000, f"{key}-late")
    assert gateway.find(key, start).status == "refunded"


def test_a_part_is_given_back_once_when_stripe_has_forgotten_the_key(stripe_gateway, sandbox, key):
    payment_id = captured(stripe_gateway, key)
    stripe_gateway.refund_part(payment_id, 1000, f"{key}-one-seat")
    creations = []
    stripe_gateway._refunds.create = lambda *arguments: creations.append(arguments)
    stripe_gateway.refund_part(payment_id, 1000, f"{key}-one-seat")
    assert not creations, "the list of refunds has it"
    del stripe_gateway._refunds.create


def test_a_part_that_was_refused_once_is_not_refused_for_a_day(stripe_gateway, sandbox, key):
    payment_id = authorize(stripe_gateway, key).payment_id
    with pytest.raises(NotAccepted):
        stripe_gateway.refund_part(payment_id, 1000, f"{key}-one-seat")
    stripe_gateway.capture(payment_id)
    for _ in range(2):
        stripe_gateway.refund_part(payment_id, 1000, f"{key}-one-seat")
    assert [refund["amount"] for refund in refunds_of(sandbox, payment_id)] == [1000]


def test_a_refund_that_the_bank_has_yet_to_carry_out_is_done(gateway, key, start):
    gateway.refund(captured(gateway, key, "pm_card_pendingRefund"), f"{key}-refund")

    assert gateway.find(key, start).status == "refunded"


def test_money_that_was_not_taken_cannot_be_given_back(gateway, key, start):
    payment_id = authorize(gateway, key).payment_id

    with pytest.raises(NotExecuted, match="uncaptured"):
        gateway.refund(payment_id, f"{key}-refund")
    gateway.void(payment_id)
    with pytest.raises(NotExecuted):
        gateway.refund(payment_id, f"{key}-refund")
    assert gateway.find(key, start).status == "voided"


def test_a_refund_that_was_refused_once_is_not_refused_for_a_day(stripe_gateway, sandbox, key):
    payment_id = authorize(stripe_gateway, key).payment_id
    with pytest.raises(NotExecuted):
        stripe_gateway.refund(payment_id, f"{key}-refund")
    stripe_gateway.capture(payment_id)

    stripe_gateway.refund(payment_id, f"{key}-refund")

    assert len(refunds_of(sandbox, payment_id)) == 1


def test_money_that_was_given_back_can_be_neither_let_go_nor_taken_again(gateway, key, start):
    payment_id = captured(gateway, key)
    gateway.refund(payment_id, f"{key}-refund")

    with pytest.raises(NotExecuted):
        gateway.void(payment_id)
    gateway.capture(payment_id)
    assert gateway.find(key, start).status == "refunded"


def test_an_unknown_payment_can_be_neither_taken_nor_let_go_nor_given_back(gateway, key):
    for call in (gateway.capture, gateway.void, lambda payment_id: gateway.refund(payment_id, key)):
        with pytest.raises(NotExecuted):
            call("pi_none")


def test_a_payment_is_found_by_its_key(gateway, key, start):
    payment = authorize(gateway, key)
    authorize(gateway, f"{key}-other")

    assert gateway.find(key, start) == payment
    assert gateway.find("hld_none-1", start) is None


def test_a_payment_is_found_although_stripes_clock_is_behind(gateway, key):
    payment = authorize(gateway, key)

    assert gateway.find(key, datetime.now(UTC) + timedelta(seconds=30)) == payment


def test_payments_are_listed_newest_first_over_many_pages(gateway, key, start, monkeypatch):
    monkeypatch.setattr(adapter, "PAGE_SIZE", 2)
    keys = [f"{key}-{number}" for number in range(5)]
    for each in keys:
        authorize(gateway, each)

    listed = [found.key for found in gateway.list(start) if found.key in keys]

    assert listed == keys[::-1]


def test_refunds_are_listed_as_such_on_every_page(gateway, key, start, monkeypatch):
    monkeypatch.setattr(adapter, "PAGE_SIZE", 1)
    keys = [f"{key}-{number}" for number in range(3)]
    for each in keys:
        gateway.refund(captured(gateway, each), f"{each}-refund")

    listed = [found.status for found in gateway.list(start) if found.key in keys]

    assert listed == ["refunded"] * 3


def test_payments_from_before_are_not_listed(gateway, key):
    authorize(gateway, key)

    assert list(gateway.list(datetime.now(UTC) + timedelta(seconds=2))) == []


def test_payments_of_others_on_the_same_account_are_left_out(stripe_gateway, sandbox, start):
    foreign = requests.post(
        f"{sandbox.url}/v1/payment_intents",
        data={"amount": 50, "currency": "eur", "metadata[shop]": "hats"},
        headers={"Authorization": f"Bearer {API_KEY}"},
        timeout=5,
    ).json()["id"]

    assert foreign not in [found.payment_id for found in stripe_gateway.list(start)]


def test_two_shops_on_one_account_do_not_see_each_others_payments(sandbox, key, start):
    production, staging = (
        StripeGateway(API_KEY, sandbox.url, shop=shop) for shop in ("production", "staging")
    )
    ours = authorize(production, key)
    untagged = authorize(StripeGateway(API_KEY, sandbox.url), f"{key}-untagged")

    assert ours.metadata == {"event": "gala"}
    assert production.find(key, start) == ours
    assert list(production.list(start)) == [ours]
    assert production.find(untagged.key, start) is None
    assert staging.find_all([key], start) == {}
    assert list(staging.list(start)) == []


def test_payments_with_a_former_tag_are_still_seen(sandbox, key, start):
    former = authorize(StripeGateway(API_KEY, sandbox.url, shop="former"), key)
    gateway = StripeGateway(API_KEY, sandbox.url, shop="new", former_shops=["older", "former"])
    new = authorize(gateway, f"{key}-new")

    assert gateway.find(key, start) == former
    assert list(gateway.list(start)) == [new, former]
    assert list(StripeGateway(API_KEY, sandbox.url, shop="new").list(start)) == [new]


def test_without_a_tag_the_payments_of_all_shops_are_seen(stripe_gateway, sandbox, key, start):
    tagged = authorize(StripeGateway(API_KEY, sandbox.url, shop="production"), key)

    assert stripe_gateway.find(key, start) == tagged
    assert tagged in stripe_gateway.list(start)


def test_of_money_that_was_captured_in_part_only_the_part_counts(stripe_gateway, sandbox, key):
    """As somebody can do it in Stripe's dashboard."""
    payment = authorize(stripe_gateway, key)
    client_of(sandbox).payment_intents.capture(payment.payment_id, {"amount_to_capture": 4000})

    found = stripe_gateway.retrieve(payment.payment_id)
    assert (payment.amount_minor, found.amount_minor, found.status) == (4200, 4000, "captured")
    stripe_gateway.capture(payment.payment_id)
    stripe_gateway.refund(payment.payment_id, f"{key}-refund")
    assert [refund["amount"] for refund in refunds_of(sandbox, payment.payment_id)] == [4000]
    assert stripe_gateway.retrieve(payment.payment_id).status == "refunded"


def test_what_was_refunded_since_then_is_found_by_its_refunds(sandbox, key, monkeypatch):
    """Also what was paid for long before, and in several pages."""
    monkeypatch.setattr(adapter, "PAGE_SIZE", 2)
    ours, others = (StripeGateway(API_KEY, sandbox.url, shop=shop) for shop in ("refunder", "else"))
    whole, part, *_ = paid = [authorize(ours, f"{key}-{number}") for number in range(3)]
    foreign = authorize(others, key)
    for payment in (*paid, foreign):
        ours.capture(payment.payment_id)
    time.sleep(1.1)
    start = ours.now()
    assert list(ours.refunded(start)) == []
    ours.refund_part(whole.payment_id, 1200, f"{key}-first")
    ours.refund(part.payment_id, f"{key}-second")
    others.refund(foreign.payment_id, f"{key}-third")
    client_of(sandbox).refunds.create({"payment_intent": whole.payment_id})
    found = [(p.payment_id, p.status, p.refunded_minor) for p in ours.refunded(start)]
    all_of_it = (whole.payment_id, "refunded", 4200)
    assert found == [all_of_it, (part.payment_id, "refunded", 4200), all_of_it]


def test_a_wrong_api_key_has_done_nothing(sandbox, key):
    with pytest.raises(NotExecuted):
        authorize(StripeGateway("sk_live_none", sandbox.url), key)


# ---------------------------------------------------------------- a provider that stumbles


@pytest.fixture
def set_faults(sandbox):
    yield sandbox.set_faults
    sandbox.set_faults()


LOST = ["drop_before", "drop_after", "error_before", "error_after", "error_kept", "hang_after"]


@pytest.mark.parametrize("kind", LOST)
def test_a_refund_whose_answer_was_lost_is_repeated_and_refunds_once(
    sandbox, key, set_faults, kind
):
    gateway = StripeGateway(API_KEY, sandbox.url, read_timeout_s=0.5)
    payment_id = captured(gateway, key)
    set_faults({"operation": "refund", "kind": kind, "calls": 1})

    with pytest.raises(OutcomeUnknown):
        gateway.refund(payment_id, f"{key}-refund")
    gateway.refund(payment_id, f"{key}-refund")

    assert len(refunds_of(sandbox, payment_id)) == 1


def test_a_refund_that_arrives_twice_refunds_once(stripe_gateway, sandbox, key, set_faults):
    payment_id = captured(stripe_gateway, key)
    set_faults({"operation": "refund", "kind": "duplicate"})

    stripe_gateway.refund(payment_id, f"{key}-refund")

    assert len(refunds_of(sandbox, payment_id)) == 1


@pytest.mark.parametrize("kind", ["rate_limited", "lock_timeout"])
def test_a_call_for_which_stripe_has_no_time_is_made_again_until_it_has(
    stripe_gateway, sandbox, key, start, set_faults, kind
):
    set_faults(
        *(
            {"operation": operation, "kind": kind, "calls": 2}
            for operation in ("create", "capture", "cancel", "refund", "list", "retrieve")
        )
    )

    payment_id = captured(stripe_gateway, key)
    stripe_gateway.refund(payment_id, f"{key}-refund")
    released = authorize(stripe_gateway, f"{key}-released").payment_id
    stripe_gateway.void(released)

    assert stripe_gateway.find(key, start).status == "refunded"
    assert stripe_gateway.retrieve(released).status == "voided"
    assert [fault["happened"] for fault in sandbox.faults()] == [2] * 6
    assert len(refunds_of(sandbox, payment_id)) == 1


@pytest.mark.parametrize("kind", ["rate_limited", "lock_timeout"])
def test_a_call_for_which_stripe_never_has_time_has_done_nothing(
    gateway, sandbox, key, start, set_faults, kind
):
    payment_id = captured(gateway, key)
    impatient = StripeGateway(API_KEY, sandbox.url, max_wait_s=0.5)
    set_faults({"operation": "refund", "kind": kind}, {"operation": "create", "kind": kind})

    began_s = time.monotonic()
    with pytest.raises(NotExecuted):
        impatient.refund(payment_id, f"{key}-refund")
    with pytest.raises(NotExecuted):
        authorize(impatient, f"{key}-late")

    assert time.monotonic() - began_s < 6
    assert refunds_of(sandbox, payment_id) == []
    assert gateway.find(f"{key}-late", start) is None


def test_who_waits_for_stripe_to_have_time_keeps_no_turn(sandbox, key, set_faults):
    one_at_a_time = StripeGateway(API_KEY, sandbox.url, max_calls=1, max_wait_s=5)
    payment_id = authorize(one_at_a_time, key).payment_id
    set_faults({"operation": "create", "kind": "rate_limited"})

    def wait_in_vain():
        with pytest.raises(NotExecuted):
            authorize(one_at_a_time, f"{key}-waits")

    waiting = threading.Thread(target=wait_in_vain)
    waiting.start()
    eventually(lambda: sandbox.faults()[0]["happened"], "a payment that waits")
    one_at_a_time.capture(payment_id)
    assert waiting.is_alive()
    waiting.join()


@pytest.mark.stack
def test_more_payments_than_stripe_takes_a_second_are_all_made(tmp_path, key):
    with Sandbox(tmp_path / "ledger.db", tmp_path / "sandbox.log", rate_limit=25) as limited:
        gateway = StripeGateway(API_KEY, limited.url)
        with ThreadPoolExecutor(60) as pool:
            numbers = range(60)
            paid = list(pool.map(lambda number: captured(gateway, f"{key}-{number}"), numbers))

    assert len(set(paid)) == 60


@pytest.mark.parametrize("kind", LOST)
@pytest.mark.parametrize(
    ("operation", "call", "status"),
    [
        ("capture", StripeGateway.capture, "captured"),
        ("cancel", StripeGateway.void, "voided"),
    ],
)
def test_a_capture_or_void_whose_answer_was_lost_is_repeated(
    sandbox, key, start, set_faults, operation, call, status, kind
):
    gateway = StripeGateway(API_KEY, sandbox.url, read_timeout_s=0.5)
    payment_id = authorize(gateway, key).payment_id
    set_faults({"operation": operation, "kind": kind, "calls": 1})

    with pytest.raises(OutcomeUnknown):
        call(gateway, payment_id)
    call(gateway, payment_id)

    assert gateway.find(key, start).status == status


@pytest.mark.parametrize("kind", ["drop_after", "error_after", "error_kept", "hang_after"])
def test_an_authorization_whose_answer_was_lost_is_found(sandbox, key, start, set_faults, kind):
    gateway = StripeGateway(API_KEY, sandbox.url, read_timeout_s=0.5)
    set_faults({"operation": "create", "kind": kind, "calls": 1})

    with pytest.raises(OutcomeUnknown):
        authorize(gateway, key)

    assert gateway.find(key, start).status == "authorized"


# ---------------------------------------------------------------- a provider that does not


class Provider(LocalServer):
    """Answers every call with the same status and body, and remembers what it was asked."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str] | None = None):
        self.requests = []
        self.bodies = []
        self.connections = 0
        provider = self

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                super().setup()
                provider.connections += 1

            def do_POST(self):
                provider.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                provider.requests.append(self.headers)
                self.send_response_only(status)
                for name, value in {"Date": self.date_time_string(), **(headers or {})}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST

        super().__init__(Handler)


@contextmanager
def listening(backlog=5):
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as listener:
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def one_connection(behave):
    """A provider that does ``behave(connection)`` with the first connection when a request has
    come, and then closes it."""
    with listening() as (listener, url):

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                behave(connection)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield url
        server.join(5)


def hear_it_out(connection):
    """Until the client gives up; headers and body may come one after the other."""
    while connection.recv(65536):
        pass


def intent(**changes):
    document = {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 4200,
        "currency": "gbp",
        "status": "requires_capture",
        "created": 1790000000,
        "metadata": {"payment_key": "hld_1-1"},
        **changes,
    }
    return json.dumps(document).encode()


def stripe_error(kind, code, **details):
    error = {"type": kind, "code": code, "message": "No.", **details}
    return json.dumps({"error": error}).encode()


def test_a_refused_connection_has_done_nothing(key):
    with listening() as (_, url):
        pass

    with pytest.raises(NotExecuted):
        authorize(StripeGateway(API_KEY, url), key)


def test_a_host_that_takes_no_connection_has_done_nothing(key):
    with listening(backlog=0) as (listener, url):
        waiting = []
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            waiting.append(client)

        with pytest.raises(NotExecuted):
            authorize(StripeGateway(API_KEY, url, **IMPATIENT), key)
        for client in waiting:
            client.close()


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(lambda connection: None, id="closes"),
        pytest.param(
            lambda connection: connection.setsockopt(
                # Closing with a linger time of zero sends a reset.
                socket.SOL_SOCKET,
                socket.SO_LINGER,
                b"\x01\0\0\0\0\0\0\0",
            ),
            id="resets",
        ),
        pytest.param(lambda connection: connection.recv(1), id="never answers"),
        pytest.param(
            lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
            id="breaks off",
        ),
        pytest.param(
            lambda connection: (
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
                connection.recv(1),
            ),
            id="stalls",
        ),
        pytest.param(lambda connection: connection.sendall(b"hello\r\n\r\n"), id="is not HTTP"),
    ],
)
def test_an_answer_that_does_not_arrive_leaves_the_outcome_unknown(key, behave):
    with one_connection(behave) as url, pytest.raises(OutcomeUnknown):
        authorize(StripeGateway(API_KEY, url, **IMPATIENT), key)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, stripe_error("api_error", None)),
        (503, b"<html>Service Unavailable</html>"),
        (502, b'{"error": "Bad Gateway"}'),
        (409, stripe_error("idempotency_error", "idempotency_key_in_use")),
        (302, b""),
        (200, b""),
        (200, b"<html>Welcome</html>"),
        (200, b"null"),
        (200, b"[]"),
        (200, b"{}"),
        (200, intent(metadata={})),
    ],
)
def test_an_answer_that_makes_no_sense_leaves_the_outcome_unknown(key, status, body):
    with Provider(status, body, {"Location": "/elsewhere"}) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        with pytest.raises(OutcomeUnknown):
            authorize(gateway, key)
        with pytest.raises(OutcomeUnknown):
            gateway.capture("pi_1")
        assert len(provider.requests) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"has_more": false}',
        b'{"has_more": true, "data": []}',
        b'{"has_more": false, "data": [{"id": "pi_1"}]}',
        b'{"has_more": false, "data": [%s]}' % intent(metadata=None),
    ],
)
def test_a_page_of_the_list_that_makes_no_sense_is_not_the_end_of_the_list(start, body):
    with Provider(200, body) as provider, pytest.raises(OutcomeUnknown):
        list(StripeGateway(API_KEY, provider.url).list(start))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, stripe_error("invalid_request_error", "rate_limit")),
        (429, stripe_error("invalid_request_error", "lock_timeout")),
        (429, b"<html>Slow down</html>"),
        (401, stripe_error("invalid_request_error", None)),
        (403, stripe_error("invalid_request_error", None)),
    ],
)
def test_a_provider_that_did_not_look_has_done_nothing(key, status, body):
    with Provider(status, body) as provider:
        gateway = StripeGateway(API_KEY, provider.url, max_wait_s=0)
        with pytest.raises(NotExecuted):
            authorize(gateway, key)
        with pytest.raises(NotExecuted):
            gateway.void("pi_1")
        with pytest.raises(NotExecuted):
            next(gateway.list(datetime.now(UTC)))
        assert len(provider.requests) == 3


@pytest.mark.parametrize(
    "error",
    [
        {"code": "resource_missing", "param": "payment_method"},
        {"code": "payment_method_currency_mismatch"},
        {"code": "payment_method_unsupported_type"},
        {"code": "payment_intent_incompatible_payment_method"},
    ],
)
def test_what_is_wrong_with_the_card_is_the_buyers_mistake(key, error):
    body = stripe_error("invalid_request_error", **error)
    with Provider(400, body) as provider, pytest.raises(InvalidRequest) as invalid:
        authorize(StripeGateway(API_KEY, provider.url), key)
    assert invalid.value.field == "payment_method"
    assert invalid.value.problem == "No."


@pytest.mark.parametrize(
    ("code", "details"),
    [
        ("amount_too_small", {"param": "amount"}),
        ("amount_too_large", {"param": "amount"}),
        ("invalid_charge_amount", {"param": "amount"}),
        ("parameter_invalid_integer", {"param": "amount"}),
        ("parameter_unknown", {"param": "error_on_requires_action"}),
        (None, {"param": "currency"}),
        ("testmode_charges_only", {}),
        ("country_unsupported", {}),
        ("capability_not_active", {}),
        ("payment_method_unactivated", {}),
        (None, {}),
    ],
)
def test_what_is_wrong_with_the_shop_is_refused_for_good(key, code, details):
    body = stripe_error("invalid_request_error", code, **details)
    with Provider(400, body) as provider, pytest.raises(NotAccepted):
        authorize(StripeGateway(API_KEY, provider.url), key)


def test_an_amount_that_not_every_card_takes_is_no_refusal_of_the_shop(key, caplog):
    body = stripe_error("invalid_request_error", "amount_too_large", param="amount")
    with Provider(400, body) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        with pytest.raises(PaymentDeclined, match="Please use another card") as declined:
            authorize(gateway, key, amount_minor=1_000_000_000, currency="LBP")
        assert declined.value.reason == "amount_too_large"
        assert not caplog.records
        with pytest.raises(NotAccepted):
            authorize(gateway, key, amount_minor=999_999_999, currency="LBP")


@pytest.mark.parametrize("status", [401, 403])
def test_a_shop_that_is_not_let_in_is_told_apart_from_one_that_is_too_fast(key, status):
    body = stripe_error("invalid_request_error", "api_key_expired")
    with Provider(status, body) as provider, pytest.raises(NotAllowed):
        authorize(StripeGateway(API_KEY, provider.url), key)
    body = stripe_error("invalid_request_error", "lock_timeout")
    with Provider(429, body) as provider, pytest.raises(NotExecuted) as told:
        authorize(StripeGateway(API_KEY, provider.url, max_wait_s=0), key)
    assert not isinstance(told.value, NotAccepted | NotAllowed)


@pytest.mark.parametrize(
    ("status", "code"), [(400, "amount_too_small"), (401, None), (403, "account_invalid")]
)
def test_why_payments_are_refused_is_logged_once_for_each_cause(caplog, key, status, code):
    body = stripe_error("invalid_request_error", code)
    with Provider(status, body, {"Request-Id": "req_7"}) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        for event in ("gala", "gala", "finale"):
            with pytest.raises(NotExecuted):
                authorize(gateway, key, metadata={"event": event})
    logged = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert len(logged) == 2
    for line, event in zip(logged, ("gala", "finale"), strict=True):
        assert f"payments for {event}" in line
        assert "req_7" in line and "No." in line and str(code or status) in line


def failures_of(gateway_with, key, caplog, calls=3) -> tuple[list[str], list[str]]:
    """The causes that were counted and the warnings that were logged, of so many payments."""
    counted = []
    gateway = gateway_with(count_failure=counted.append)
    for _ in range(calls):
        with pytest.raises(GatewayError):
            authorize(gateway, key)
    return counted, [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


def test_a_gateway_that_takes_no_connection_is_logged_once_and_counted_each_time(caplog, key):
    with listening() as (_, url):
        pass
    counted, [line] = failures_of(partial(StripeGateway, API_KEY, url), key, caplog)
    assert counted == ["not_connected"] * 3
    assert "not_connected" in line and "Connection refused" in line


def test_so_is_one_that_does_not_answer_in_time(caplog, key):
    with one_connection(hear_it_out) as url:
        counted, [line] = failures_of(
            partial(StripeGateway, API_KEY, url, **IMPATIENT), key, caplog, calls=1
        )
    assert counted == ["timeout"]
    assert "timed out" in line


def test_so_is_one_that_hangs_up(caplog, key):
    with one_connection(lambda connection: None) as url:
        counted, [line] = failures_of(partial(StripeGateway, API_KEY, url), key, caplog, calls=1)
    assert counted == ["connection_lost"]
    assert "connection_lost" in line


@pytest.mark.parametrize(
    ("status", "cause"),
    [(429, "rate_limited"), (401, "not_allowed"), (403, "not_allowed"), (500, "server_error")],
)
def test_so_is_one_that_says_no_and_in_its_own_words(caplog, key, status, cause):
    body = stripe_error("invalid_request_error", "some_code")
    with Provider(status, body, {"Request-Id": "req_7"}) as provider:
        gateway = partial(StripeGateway, API_KEY, provider.url, max_wait_s=0)
        counted, [line] = failures_of(gateway, key, caplog)
    assert counted == [cause] * 3
    assert cause in line and "req_7" in line and "No." in line


def test_a_failure_that_lasts_is_logged_again_after_a_minute(caplog, key, monkeypatch):
    with listening() as (_, url):
        pass
    gateway = StripeGateway(API_KEY, url)
    now_s = time.monotonic()
    for later_s in (0, 59, 61, 62):
        monkeypatch.setattr(time, "monotonic", lambda later_s=later_s: now_s + later_s)
        with pytest.raises(NotExecuted):
            authorize(gateway, key)
    assert len(caplog.records) == 2


def test_a_payment_that_no_card_can_make_is_no_failure_of_the_gateway(caplog, key):
    body = stripe_error("invalid_request_error", "amount_too_small", param="amount")
    with Provider(400, body) as provider:
        failures = failures_of(partial(StripeGateway, API_KEY, provider.url), key, caplog)
    assert failures == ([], [])


@pytest.mark.parametrize("status", ["succeeded", "canceled", "processing"])
def test_only_reserved_money_is_an_authorization(key, status):
    with Provider(200, intent(status=status)) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        with pytest.raises(OutcomeUnknown, match=f"^payment pi_1 is {status}"):
            authorize(gateway, key)


REDIRECT = {"return_url": "https://tickets.example/return", "url": "https://hooks.stripe.com/3ds"}


@pytest.mark.parametrize(
    ("next_action", "url", "client_secret"),
    [
        ({"type": "redirect_to_url", "redirect_to_url": REDIRECT}, REDIRECT["url"], ""),
        ({"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "stripe_3ds2"}}, "", "the secret"),
        ({"type": "redirect_to_url", "redirect_to_url": {"url": None}}, "", "the secret"),
        ({"type": "card_await_notification", "card_await_notification": {}}, "", "the secret"),
        ({"type": "some_new_type"}, "", "the secret"),
        (None, "", "the secret"),
    ],
)
@pytest.mark.parametrize("call", ["authorize", "retrieve"])
def test_an_owner_is_asked_at_an_address_or_by_stripe_js(
    key, next_action, url, client_secret, call
):
    body = intent(status="requires_action", client_secret="the secret", next_action=next_action)
    with Provider(200, body) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        asked = authorize(gateway, key) if call == "authorize" else gateway.retrieve("pi_1")
    assert asked.status == "action_required"
    assert (asked.next_action.url, asked.next_action.client_secret) == (url, client_secret)


def test_the_owner_is_led_back_or_asked_in_the_page():
    """Not left to Stripe's defaults, which differ between payment methods and tokens."""
    with Provider(200, intent()) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        for payment_method in ("pm_1", "ctoken_1"):
            for in_page in (False, True):
                authorize(
                    gateway, "key", payment_method, way_back=replace(WAY_BACK, in_page=in_page)
                )
    sent = [dict(parse_qsl(body.decode())) for body in provider.bodies]
    assert [each["use_stripe_sdk"] for each in sent] == ["false", "true"] * 2
    assert [each.get("confirmation_token") for each in sent] == [None] * 2 + ["ctoken_1"] * 2
    assert [each.get("payment_method") for each in sent] == ["pm_1"] * 2 + [None] * 2
    always = {
        "amount": "4200",
        "currency": "gbp",
        "capture_method": "manual",
        "confirm": "true",
        "return_url": WAY_BACK.return_url,
        "allowed_payment_method_types[0]": "card",
        "allowed_payment_method_types[1]": "link",
    }
    for each in sent:
        assert always.items() <= each.items()
        names = {name.split("[")[0] for name in each} - {name.split("[")[0] for name in always}
        assert names <= {"use_stripe_sdk", "confirmation_token", "payment_method", "metadata"}


@pytest.mark.parametrize("reason", ["automatic", "abandoned", None])
def test_money_that_stripe_released_itself_is_not_reserved_any_more(reason):
    """After seven days, or by hand in the dashboard."""
    with Provider(200, intent(status="canceled", cancellation_reason=reason)) as provider:
        found = StripeGateway(API_KEY, provider.url).retrieve("pi_1")
    assert (found.status, found.decline) == ("voided", None)


def test_a_disputed_charge_is_captured_money():
    charge = {"id": "ch_1", "object": "charge", "disputed": True, "refunded": False}
    body = intent(status="succeeded", amount_received=4200, latest_charge=charge)
    with Provider(200, body) as provider:
        found = StripeGateway(API_KEY, provider.url).retrieve("pi_1")
    assert (found.status, found.amount_minor) == ("captured", 4200)


def test_a_capture_that_did_not_succeed_is_not_called_one():
    with Provider(200, intent(status="processing")) as provider, pytest.raises(OutcomeUnknown):
        StripeGateway(API_KEY, provider.url).capture("pi_1")


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_refund_that_failed_is_not_called_one(key, status):
    body = json.dumps({"id": "re_1", "object": "refund", "status": status}).encode()
    with Provider(200, body) as provider, pytest.raises(NotExecuted, match=status):
        StripeGateway(API_KEY, provider.url).refund("pi_1", key)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"id": "re_1", "object": "refund", "status": "requires_action"}'),
        (200, b'{"id": "re_1", "object": "refund", "status": null}'),
        (200, b"{}"),
        (200, b"[]"),
        (500, stripe_error("api_error", None)),
        (409, stripe_error("idempotency_error", "idempotency_key_in_use")),
    ],
)
def test_a_refund_that_may_have_been_made_is_unknown(key, status, body):
    with Provider(status, body) as provider, pytest.raises(OutcomeUnknown):
        StripeGateway(API_KEY, provider.url).refund("pi_1", key)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, stripe_error("invalid_request_error", "charge_disputed")),
        (402, stripe_error("card_error", "card_declined")),
        (429, stripe_error("invalid_request_error", "rate_limit")),
    ],
)
def test_a_refund_that_is_refused_has_done_nothing(key, status, body):
    with Provider(status, body) as provider, pytest.raises(NotExecuted):
        StripeGateway(API_KEY, provider.url, max_wait_s=0).refund("pi_1", key)


@pytest.mark.parametrize("status", ["processing", "requires_confirmation"])
def test_a_payment_that_stripe_still_processes_is_not_told_as_refused(start, status):
    """One that is confirmed in the moment of the look has no refusal either."""
    page = b'{"object": "list", "url": "/v1/payment_intents", "has_more": false, "data": [%s]}'
    with Provider(200, page % intent(status=status)) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        assert gateway.find("hld_1-1", start) is None
        assert list(gateway.list(start)) == []


# ---------------------------------------------------------------- webhooks


INTENT = json.loads(intent())
CHARGE = {
    "id": "ch_1",
    "object": "charge",
    "payment_intent": "pi_1",
    "captured": True,
    "refunded": True,
    **{name: INTENT[name] for name in ("amount", "currency", "created", "metadata")},
}


@pytest.fixture
def listener():
    return StripeGateway(API_KEY, "http://127.0.0.1:9", WEBHOOK_SECRET)


def webhook(kind, subject):
    event = {"id": "evt_1", "object": "event", "type": kind, "data": {"object": subject}}
    return json.dumps(event).encode()


def signed(payload, secret=WEBHOOK_SECRET, age_s=0):
    return stripe.WebhookSignature.generate_signature_header(
        payload.decode(), secret, int(time.time()) - age_s
    )


@pytest.mark.stack
def test_a_webhook_tells_what_became_of_a_payment(tmp_path, key):
    with (
        Provider(200, b"{}") as receiver,
        Sandbox(
            tmp_path / "ledger.db",
            tmp_path / "sandbox.log",
            webhook_url=receiver.url,
            webhook_secret=WEBHOOK_SECRET,
        ) as sandbox,
    ):
        gateway = StripeGateway(API_KEY, sandbox.url, WEBHOOK_SECRET)
        told = []

        def hear(count):
            eventually(
                lambda: len(receiver.bodies) >= count and len(receiver.requests) >= count,
                f"{count} more webhooks",
            )
            told.clear()
            for body, headers in zip(receiver.bodies, receiver.requests, strict=True):
                told.append(gateway.read_webhook(body, headers["Stripe-Signature"]))
            receiver.bodies.clear()
            receiver.requests.clear()
            return {each.status for each in told}

        payment = authorize(gateway, key)
        assert hear(1) == {"authorized"}
        assert told == [payment]
        gateway.capture(payment.payment_id)
        assert hear(1) == {"captured"}
        gateway.refund(payment.payment_id, f"{key}-refund")
        assert hear(1) == {"refunded"}
        assert (told[0].payment_id, told[0].key) == (payment.payment_id, key)
        assert told[0].metadata == {"event": "gala"}
        gateway.void(authorize(gateway, f"{key}-void").payment_id)
        assert hear(3) == {"authorized", "voided"}
        with pytest.raises(PaymentDeclined):
            authorize(gateway, f"{key}-declined", "pm_card_visa_chargeDeclined")
        assert hear(1) == {"declined"}


@pytest.mark.parametrize(
    ("captured", "refunded", "status"),
    [(True, True, "refunded"), (True, False, "captured"), (False, True, "voided")],
)
def test_only_captured_money_that_is_back_in_full_is_told_as_refunded(
    listener, captured, refunded, status
):
    payload = webhook("charge.refunded", {**CHARGE, "captured": captured, "refunded": refunded})

    assert listener.read_webhook(payload, signed(payload)).status == status


@pytest.mark.parametrize(
    "payload",
    [
        webhook("payment_intent.created", {**INTENT, "status": "requires_payment_method"}),
        webhook("payment_intent.succeeded", {**INTENT, "metadata": {"shop": "hats"}}),
        webhook("payment_intent.succeeded", {**INTENT, "status": "processing"}),
        webhook("charge.refunded", {**CHARGE, "metadata": {}}),
        webhook("charge.refunded", {**CHARGE, "captured": False, "refunded": False}),
        webhook("customer.created", {"id": "cus_1"}),
    ],
)
def test_a_webhook_about_something_else_tells_nothing(listener, payload):
    assert listener.read_webhook(payload, signed(payload)) is None


@pytest.mark.parametrize(
    ("subject", "kind"), [(INTENT, "payment_intent.succeeded"), (CHARGE, "charge.refunded")]
)
@pytest.mark.parametrize(
    ("tag", "told"),
    [("new", True), ("former", True), ("staging", False), (None, False)],
)
def test_a_webhook_tells_only_of_payments_of_our_shop(subject, kind, tag, told):
    listener = StripeGateway(
        API_KEY, "http://127.0.0.1:9", WEBHOOK_SECRET, shop="new", former_shops=["former"]
    )
    metadata = subject["metadata"] | ({"payment_shop": tag} if tag else {})
    payload = webhook(kind, {**subject, "metadata": metadata})

    payment = listener.read_webhook(payload, signed(payload))
    assert (payment is not None) == told
    if payment:
        assert payment.metadata == {}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'"event"',
        b"{",
        b'{"nested": %s' % (b"[" * 100_000),
        b'{"type": "payment_intent.succeeded"}',
        b'{"type": "payment_intent.succeeded", "data": null}',
        b'{"type": ["payment_intent.succeeded"], "data": {"object": {}}}',
        webhook("payment_intent.succeeded", None),
        webhook("payment_intent.succeeded", []),
        webhook("payment_intent.succeeded", {**INTENT, "created": 10**30}),
        webhook("payment_intent.succeeded", {**INTENT, "created": 10**15}),
        webhook("payment_intent.succeeded", {**INTENT, "amount": "4200"}),
        webhook("payment_intent.succeeded", {**INTENT, "metadata": None}),
        webhook("payment_intent.succeeded", {**INTENT, "metadata": {"payment_key": 1}}),
        webhook("payment_intent.succeeded", {**INTENT, "status": None}),
        webhook("payment_intent.succeeded", {**INTENT, "id": {"$ne": 1}}),
        webhook("charge.refunded", {**CHARGE, "payment_intent": None}),
    ],
)
def test_a_webhook_that_makes_no_sense_tells_nothing(listener, payload):
    assert listener.read_webhook(payload, signed(payload)) is None


def test_a_webhook_may_be_a_few_minutes_old(listener):
    payload = webhook("payment_intent.succeeded", {**INTENT, "status": "succeeded"})

    assert listener.read_webhook(payload, signed(payload, age_s=290)).status == "captured"


def test_a_forged_webhook_is_refused(listener):
    payload = webhook("payment_intent.succeeded", {**INTENT, "status": "succeeded"})
    good = signed(payload)

    for body, signature in (
        (payload, ""),
        (payload, "nonsense"),
        (payload, "t=1,v1="),
        (payload, good.replace("v1=", "v0=")),
        (payload, good[:-1] + "é"),
        (payload, signed(payload, "whsec_other")),
        (payload, signed(payload, age_s=310)),
        (payload, good.replace("t=", "t=9")),
        (payload.replace(b"4200", b"1"), good),
        (b"\xff" + payload, good),
    ):
        with pytest.raises(BadSignature):
            listener.read_webhook(body, signature)


@pytest.mark.parametrize("secret", ["", " "])
def test_without_a_secret_every_webhook_is_refused(secret):
    payload = webhook("payment_intent.succeeded", INTENT)

    with pytest.raises(BadSignature):
        StripeGateway(API_KEY, "http://127.0.0.1:9", secret).read_webhook(
            payload, signed(payload, secret)
        )


# ---------------------------------------------------------------- how it asks


def test_the_gateway_key_is_the_idempotency_key(key):
    with Provider(200, intent()) as provider:
        authorize(StripeGateway(API_KEY, provider.url), key)

    assert provider.requests[0]["Idempotency-Key"] == key


def test_the_refunds_key_is_the_idempotency_key(key):
    with Provider(200, b'{"id": "re_1", "object": "refund", "status": "succeeded"}') as provider:
        StripeGateway(API_KEY, provider.url).refund("pi_1", key)

    assert [asked["Idempotency-Key"] for asked in provider.requests] == [key]


def test_each_capture_and_void_has_a_key_of_its_own():
    with Provider(500, stripe_error("api_error", None)) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        for call in (gateway.capture, gateway.capture, gateway.void):
            with pytest.raises(OutcomeUnknown):
                call("pi_1")

    assert len({asked["Idempotency-Key"] for asked in provider.requests}) == 3


def test_threads_share_their_connections(key):
    with Provider(200, intent()) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        for _ in range(5):
            thread = threading.Thread(target=authorize, args=(gateway, key))
            thread.start()
            thread.join()

    assert len(provider.requests) == 5
    assert provider.connections == 1


def test_a_call_that_has_no_turn_in_time_has_done_nothing(key):
    asked, answer = threading.Event(), threading.Event()

    def keep_waiting(connection):
        asked.set()
        answer.wait(5)

    with one_connection(keep_waiting) as url:
        gateway = StripeGateway(API_KEY, url, max_calls=1, max_wait_s=0.05)

        def wait_for_an_answer():
            with pytest.raises(OutcomeUnknown):
                authorize(gateway, key)

        first = threading.Thread(target=wait_for_an_answer)
        first.start()
        assert asked.wait(5)
        with pytest.raises(NotExecuted, match="under way"):
            authorize(gateway, key)
        answer.set()
        first.join()


def test_turns_are_given_back_whatever_happens(key):
    with Provider(500, b"") as provider:
        gateway = StripeGateway(API_KEY, provider.url, max_calls=1, max_wait_s=0)
        for _ in range(3):
            with pytest.raises(OutcomeUnknown):
                authorize(gateway, key)


def test_the_environment_changes_nothing(key, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password else")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Provider(200, intent()) as provider:
        authorize(StripeGateway(API_KEY, provider.url), key)

    assert provider.requests[0]["Authorization"] == f"Bearer {API_KEY}"


def test_calls_carry_nothing_from_one_to_the_next(key):
    headers = {"Set-Cookie": "session=1", "Request-Id": "req_1"}
    with Provider(200, intent(), headers) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        authorize(gateway, key)
        authorize(gateway, key)

    assert "Cookie" not in provider.requests[1]
    assert "X-Stripe-Client-Telemetry" not in provider.requests[1]
    assert "platform" not in json.loads(provider.requests[1]["X-Stripe-Client-User-Agent"])
