"""Payments whose bank asks the owner of the card, on real Redis, MongoDB and sandbox with its
bank."""

import logging
import re
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.factories import BUYER, WAY_BACK, a_booking
from tests.support.sandbox import client_of
from tests.support.shop import (
    Shop,
    checks_of,
    going_back,
    look_like_another_server,
    lose,
    problems,
    reconciler_of,
)
from web.adapters.stripe.gateway import StripeGateway
from web.domain.refusals import (
    AUTHENTICATION_FAILED,
    NOT_COMPLETED,
    NOT_CONFIRMED,
    ActionRequired,
    AlreadyBooked,
    EarlierRefusal,
    HoldNotFound,
    NotKnownNow,
    PaymentDeclined,
    PaymentInProgress,
    PaymentNotFound,
    PaymentPending,
    Unavailable,
)
from web.domain.sales import HoldStatus, booking_id_of
from web.ports.booking_store import InsertUnknown
from web.ports.payment_gateway import NextAction, NotExecuted, OutcomeUnknown
from web.ports.seat_store import SEAT_STORE
from web.use_cases import checkout as checkout_module
from web.use_cases import reconciliation
from web.use_cases.refunds import Refunds

ASKING = replace(BUYER, payment_method="pm_card_authenticationRequired")
ASKING_THEN_REFUSED = replace(BUYER, payment_method="pm_card_threeDSecureRequiredChargeDeclined")


@pytest.fixture
def shop(event, seats, bookings, sandbox):
    return Shop(event, seats, bookings, StripeGateway("sk_test_bank", sandbox.url))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(checkout_module, "REPEAT_WAIT_S", 0.2)


@pytest.fixture
def reconciler(shop):
    return reconciler_of(shop)


def go_to_the_bank(shop, buyer=ASKING, key="key", way_back=WAY_BACK) -> ActionRequired:
    with pytest.raises(ActionRequired) as required:
        shop.pay(key, buyer, way_back)
    return required.value


def run_out(shop) -> None:
    """The time to confirm is over; the worker has not looked yet."""
    shop.checkout._bank._confirmation *= 0
    raw = shop.redis.hget(f"holds:{{{shop.event.id}}}", shop.hold.id)
    text = raw if isinstance(raw, str) else raw.decode()
    before, after = text.split('"until_ms":', 1)
    rest = after.lstrip("0123456789.e+")
    shop.redis.hset(f"holds:{{{shop.event.id}}}", shop.hold.id, f'{before}"until_ms":1{rest}')
    shop.let_leases_run_out()


def come_back(shop):
    return shop.checkout.come_back(shop.event.id, shop.hold.id)


def decide(sandbox, required, decision):
    return sandbox.decide(required.bank_step.payment_id, decision)


def hold_now(shop):
    return shop.box_office.hold(shop.ref)


def test_a_buyer_whose_bank_asks_confirms_and_has_the_seat(shop, sandbox):
    required = go_to_the_bank(shop)
    assert required.bank_step.url.startswith(sandbox.bank_url)
    assert 0 < required.bank_step.expires_in_ms <= 360_000
    assert (shop.state(), shop.charges(), shop.booking()) == ("p", ["action_required"], None)
    decide(sandbox, required, "accept")
    receipt = come_back(shop)
    assert (shop.state(), shop.charges()) == ("s", ["captured"])
    assert shop.booking().receipt() == receipt
    assert shop.pay(buyer=ASKING).receipt == receipt


def test_the_same_payment_again_is_the_same_question_until_it_is_answered(shop, sandbox):
    first, again = go_to_the_bank(shop), go_to_the_bank(shop)
    assert again.bank_step.url == first.bank_step.url
    assert again.bank_step.until_ms == first.bank_step.until_ms
    assert again.key_digest == first.key_digest
    assert hold_now(shop).bank_step.url == first.bank_step.url
    decide(sandbox, first, "accept")
    assert shop.pay(buyer=ASKING).receipt == shop.booking().receipt()
    assert shop.charges() == ["captured"]


def test_who_asks_about_the_payment_hears_the_question_and_then_the_outcome(shop, sandbox):
    required = go_to_the_bank(shop)

    def ask():
        return shop.checkout.payment(shop.ref, required.key_digest)

    with pytest.raises(ActionRequired) as again:
        ask()
    assert again.value.bank_step.url == required.bank_step.url
    decide(sandbox, required, "accept")
    come_back(shop)
    assert ask() == shop.booking().receipt()


def test_a_refusal_at_the_bank_is_a_refused_card_and_cannot_be_confirmed_later(shop, sandbox):
    required = go_to_the_bank(shop)
    decide(sandbox, required, "refuse")
    with pytest.raises(PaymentDeclined) as declined:
        come_back(shop)
    assert (declined.value.reason, declined.value.attempts_left) == (AUTHENTICATION_FAILED, 4)
    assert (shop.state(), shop.charges()) == ("h", ["voided"])
    assert hold_now(shop).last_refusal.reason == AUTHENTICATION_FAILED
    with pytest.raises(EarlierRefusal) as earlier:
        shop.pay(buyer=ASKING)
    assert earlier.value.refusal.reason == AUTHENTICATION_FAILED
    shop.pay("another key")
    assert shop.charges().count("captured") == 1


def test_a_card_that_is_declined_after_its_owner_has_confirmed(shop, sandbox):
    required = go_to_the_bank(shop, ASKING_THEN_REFUSED)
    decide(sandbox, required, "accept")
    with pytest.raises(PaymentDeclined) as declined:
        come_back(shop)
    assert (declined.value.reason, declined.value.attempts_left) == ("generic_decline", 4)
    assert (shop.state(), shop.charges()) == ("h", ["voided"])


def test_who_comes_back_early_is_asked_still(shop):
    required = go_to_the_bank(shop)
    with pytest.raises(ActionRequired) as again:
        come_back(shop)
    assert again.value.bank_step.until_ms == required.bank_step.until_ms
    assert shop.charges() == ["action_required"]


def test_the_worker_leaves_a_payment_that_has_time(shop, reconciler):
    required = go_to_the_bank(shop)
    shop.let_leases_run_out()  # as after a webhook
    reconciler.round()
    assert shop.charges() == ["action_required"]
    assert hold_now(shop).bank_step.until_ms == required.bank_step.until_ms


def test_the_worker_cancels_what_was_not_confirmed_in_time(shop, reconciler):
    go_to_the_bank(shop)
    run_out(shop)
    reconciler.round()
    assert (shop.state(), shop.charges()) == ("h", ["voided"])
    with pytest.raises(EarlierRefusal) as earlier:
        shop.pay(buyer=ASKING)
    assert earlier.value.refusal.reason == NOT_CONFIRMED
    assert hold_now(shop).refused_cards == 1


def test_a_buyer_who_confirmed_and_never_came_back_has_the_seat(shop, sandbox, reconciler):
    decide(sandbox, go_to_the_bank(shop), "accept")
    shop.let_leases_run_out()
    reconciler.round()
    assert (shop.state(), shop.charges()) == ("s", ["captured"])


def test_who_confirmed_in_time_and_comes_back_late_has_the_seat(shop, sandbox):
    decide(sandbox, go_to_the_bank(shop), "accept")
    run_out(shop)
    assert come_back(shop) == shop.booking().receipt()
    assert shop.charges() == ["captured"]


def test_a_webhook_makes_the_worker_look_within_a_second_or_two(shop, sandbox):
    required = go_to_the_bank(shop)
    decide(sandbox, required, "accept")
    shop.checkout.shorten_lease(shop.gateway.retrieve(required.bank_step.payment_id))
    lapses_ms = shop.redis.zscore(f"payments:{{{shop.event.id}}}", shop.hold.id)
    assert lapses_ms <= time.time() * 1000 + checkout_module.LOOK_AT_BANK_WITHIN_MS


def test_a_payment_at_the_bank_can_be_given_up(shop, sandbox):
    required = go_to_the_bank(shop)
    for _ in range(2):
        shop.checkout.cancel(shop.ref, required.key_digest)
        assert (shop.state(), shop.charges()) == ("h", ["voided"])
    assert decide(sandbox, required, "accept")["status"] == "canceled"
    assert hold_now(shop).refused_cards == 0, "no card was refused"
    with pytest.raises(EarlierRefusal) as earlier:
        shop.pay(buyer=ASKING)
    assert earlier.value.refusal.reason == NOT_COMPLETED
    shop.pay("another key")
    with pytest.raises(EarlierRefusal):
        shop.checkout.payment(shop.ref, required.key_digest)


def test_what_is_booked_cannot_be_given_up(shop, sandbox):
    required = go_to_the_bank(shop)
    decide(sandbox, required, "accept")
    come_back(shop)
    with pytest.raises(AlreadyBooked):
        shop.checkout.cancel(shop.ref, required.key_digest)
    lose(shop)
    with pytest.raises(AlreadyBooked):
        shop.checkout.cancel(shop.ref, required.key_digest)
    assert shop.charges() == ["captured"]


def test_what_is_booked_cannot_be_given_up_when_redis_has_forgotten_it(shop, sandbox):
    """It was restored to a moment at which the payment was at the bank."""
    required = go_to_the_bank(shop)
    go_back = going_back(shop)
    decide(sandbox, required, "accept")
    receipt = come_back(shop)
    go_back()
    with pytest.raises(AlreadyBooked):
        shop.checkout.cancel(shop.ref, required.key_digest)
    assert (shop.charges(), shop.booking().receipt()) == (["captured"], receipt)
    assert shop.pay(buyer=ASKING).receipt == receipt
    assert (shop.state(), shop.charges()) == ("s", ["captured"])


def test_giving_up_needs_the_token_and_a_payment(shop):
    go_to_the_bank(shop)
    for no_payment in ("no such payment", ""):
        with pytest.raises(PaymentNotFound):
            shop.checkout.cancel(shop.ref, no_payment)
    with pytest.raises(HoldNotFound):
        shop.checkout.cancel(replace(shop.ref, token="wrong"), "no such payment")
    assert shop.charges() == ["action_required"]


def test_the_bank_said_yes_just_before_the_buyer_gave_up(shop, sandbox):
    required = go_to_the_bank(shop)
    decide(sandbox, required, "accept")
    shop.checkout.cancel(shop.ref, required.key_digest)
    assert (shop.state(), shop.charges(), shop.booking()) == ("h", ["voided"], None)


def test_a_second_card_waits_for_the_first(shop):
    first = go_to_the_bank(shop)
    with pytest.raises(PaymentInProgress):
        shop.pay("another key")
    with pytest.raises(PaymentInProgress):
        shop.pay(buyer=BUYER)  # the same key, another card
    assert shop.charges() == ["action_required"]
    assert hold_now(shop).bank_step.url == first.bank_step.url


def test_a_hold_at_the_bank_cannot_be_given_back_or_extended_and_does_not_expire(shop):
    go_to_the_bank(shop)
    for change in (shop.box_office.release, shop.box_office.extend):
        with pytest.raises(PaymentInProgress):
            change(shop.ref)
    assert hold_now(shop).status is HoldStatus.PAYING


def test_nothing_is_at_the_bank_when_nobody_pays(shop):
    with pytest.raises(PaymentNotFound):
        come_back(shop)
    shop.pay()
    with pytest.raises(PaymentNotFound):
        come_back(shop)


def test_stripe_js_gets_the_secret_and_no_address(shop):
    required = go_to_the_bank(shop, way_back=replace(WAY_BACK, in_page=True))
    assert required.bank_step.url == ""
    assert required.bank_step.client_secret.startswith(required.bank_step.payment_id)
    assert required.bank_step.client_secret not in f"{required} {required!r} {hold_now(shop)!r}"


# ---------------------------------------------------------------- hands in Stripe's dashboard


@pytest.fixture
def dashboard(sandbox):
    """What the shop's people can do there, which Stripe does by the same calls."""
    return client_of(sandbox)


def test_a_payment_that_is_canceled_by_hand_at_the_bank_was_not_charged(shop, dashboard):
    required = go_to_the_bank(shop)
    dashboard.payment_intents.cancel(required.bank_step.payment_id)
    with pytest.raises(PaymentDeclined) as declined:
        come_back(shop)
    assert (declined.value.reason, declined.value.attempts_left) == (NOT_COMPLETED, 5)
    assert (shop.state(), shop.charges(), shop.booking()) == ("h", ["voided"], None)


def test_a_payment_that_is_captured_by_hand_has_the_seat(shop, sandbox, dashboard):
    required = go_to_the_bank(shop)
    decide(sandbox, required, "accept")
    dashboard.payment_intents.capture(required.bank_step.payment_id)
    assert come_back(shop) == shop.booking().receipt()
    assert (shop.state(), shop.charges()) == ("s", ["captured"])


def test_a_payment_that_is_captured_by_hand_in_part_is_given_back(shop, sandbox, dashboard):
    required = go_to_the_bank(shop)
    decide(sandbox, required, "accept")
    dashboard.payment_intents.capture(required.bank_step.payment_id, {"amount_to_capture": 100})
    with pytest.raises(PaymentDeclined) as declined:
        come_back(shop)
    assert declined.value.reason == NOT_COMPLETED
    assert (shop.state(), shop.charges(), shop.booking()) == ("h", ["refunded"], None)


def test_a_payment_that_is_refunded_by_hand_at_the_bank_was_not_charged(shop, sandbox, dashboard):
    required = go_to_the_bank(shop)
    decide(sandbox, required, "accept")
    dashboard.payment_intents.capture(required.bank_step.payment_id)
    dashboard.refunds.create({"payment_intent": required.bank_step.payment_id})
    with pytest.raises(PaymentDeclined) as declined:
        come_back(shop)
    assert declined.value.reason == NOT_COMPLETED
    assert (shop.state(), shop.charges(), shop.booking()) == ("h", ["refunded"], None)


# ---------------------------------------------------------------- questions that cannot be shown


def ask_without_address(shop, method="authorize"):
    """The gateway asks in a way that only Stripe.js could show."""
    call = getattr(shop.gateway, method)

    def asked(*arguments):
        found = call(*arguments)
        return replace(found, next_action=NextAction(url="", client_secret="secret"))

    setattr(shop.gateway, method, asked)


def test_a_question_that_cannot_be_shown_is_a_refused_card_at_once(shop):
    ask_without_address(shop)
    with pytest.raises(PaymentDeclined, match="another card") as declined:
        shop.pay(buyer=ASKING)
    assert (declined.value.reason, declined.value.attempts_left) == ("authentication_required", 4)
    assert (shop.state(), shop.charges()) == ("h", ["voided"])
    shop.pay("another key")


def test_the_worker_leaves_no_question_that_cannot_be_shown(shop, reconciler):
    shop.seats.fail("wait_for_bank", Unavailable(SEAT_STORE), times=1)
    with pytest.raises(PaymentPending):
        shop.pay(buyer=ASKING)
    ask_without_address(shop, "retrieve")
    find_all = shop.gateway.find_all

    def found_without_address(keys, since):
        asks = NextAction(url="", client_secret="secret")
        return {key: replace(p, next_action=asks) for key, p in find_all(keys, since).items()}

    shop.gateway.find_all = found_without_address
    shop.let_leases_run_out()
    reconciler.round()
    assert (shop.state(), shop.charges()) == ("h", ["voided"])


def test_stripe_js_shows_whatever_question_there_is(shop):
    ask_without_address(shop)
    required = go_to_the_bank(shop, way_back=replace(WAY_BACK, in_page=True))
    assert required.bank_step.client_secret == "secret"
    assert shop.charges() == ["action_required"]


def test_after_a_loss_of_redis_a_question_for_stripe_js_is_asked_still(shop, sandbox, reconciler):
    """Nobody knows then which way the buyer took."""
    reconciler.round()
    required = go_to_the_bank(shop, way_back=replace(WAY_BACK, in_page=True))
    lose(shop)
    reconciler.round()
    shop.let_leases_run_out()
    reconciler.round()
    assert hold_now(shop).bank_step.client_secret == required.bank_step.client_secret
    decide(sandbox, required, "accept")
    come_back(shop)
    assert (shop.state(), shop.charges()) == ("s", ["captured"])


@pytest.fixture(params=["its hold", "its beginning", "that the bank asks"])
def payment_that_redis_forgets(request, shop, reconciler):
    """The payment, at the bank; what takes Redis back to before ``param``; and whether Redis then
    takes it for one that a process is working on."""
    to_the_hold = going_back(shop)
    if request.param == "its hold":
        shop.box_office.release(shop.ref)
        to_before = going_back(shop)
        to_the_hold()
    else:
        to_before = going_back(shop)
    reconciler.round()

    def note(checkpoint: str) -> None:
        nonlocal to_before
        if request.param == "that the bank asks" and checkpoint == "asked_by_bank":
            to_before = going_back(shop)

    shop.checkout._steps.on_checkpoint = note
    required = go_to_the_bank(shop)
    shop.checkout._steps.on_checkpoint = lambda checkpoint: None
    return required, to_before, request.param == "that the bank asks"


@pytest.mark.parametrize("worker", ["the same worker", "one that is new"])
@pytest.mark.parametrize("confirmed", ["before the worker looks", "afterwards"])
def test_who_is_at_the_bank_when_redis_goes_back_in_time_has_the_seat(
    shop, sandbox, reconciler, payment_that_redis_forgets, confirmed, worker
):
    required, go_back, has_lease = payment_that_redis_forgets
    go_back()
    look_like_another_server(shop)
    if worker == "one that is new":
        reconciler = reconciler_of(shop)
    if confirmed == "before the worker looks":
        decide(sandbox, required, "accept")
    reconciler.round()
    assert shop.state() == "p"
    if has_lease or confirmed == "before the worker looks":
        shop.let_leases_run_out()
    reconciler.round()
    if confirmed == "afterwards":
        assert go_to_the_bank(shop).bank_step.url == required.bank_step.url
        decide(sandbox, required, "accept")
        come_back(shop)
    assert (shop.state(), shop.charges()) == ("s", ["captured"])
    assert shop.pay(buyer=ASKING).replayed
    assert not problems(shop)


def test_who_asks_before_the_worker_has_seen_that_redis_went_back_is_not_told_no(
    shop, reconciler, payment_that_redis_forgets
):
    _, go_back, _ = payment_that_redis_forgets
    go_back()
    look_like_another_server(shop)
    shop.redis.zadd(f"due:{{{shop.event.id}}}", {shop.hold.id: 1}, xx=True)
    with pytest.raises((NotKnownNow, PaymentInProgress, PaymentPending)):
        shop.pay(buyer=ASKING)
    reconciler.round()
    shop.let_leases_run_out()
    reconciler.round()
    go_to_the_bank(shop)


def test_seats_that_others_have_meanwhile_stay_theirs(shop, sandbox, reconciler, monkeypatch):
    monkeypatch.setattr(reconciliation, "LAST_STEP", timedelta(0))
    shop.box_office.release(shop.ref)
    reconciler.round()
    to_before = going_back(shop)
    shop.hold_again("stalls-B-1")
    required, lost = go_to_the_bank(shop), (shop.hold, shop.ref)
    to_before()
    shop.hold_again("stalls-B-1")
    look_like_another_server(shop)
    reconciler.round()
    assert shop.state() == "h"
    decide(sandbox, required, "accept")
    shop.pay()
    assert shop.charges() == ["captured"]
    shop.hold, shop.ref = lost
    for _ in range(3):
        reconciler._next_gateway_look = timedelta.min
        reconciler.round()
    assert (shop.booking(), shop.charges()) == (None, ["voided"])
    assert not problems(shop)


# ---------------------------------------------------------------- faults


def test_an_intent_that_redis_was_not_told_of_is_put_at_the_bank_by_the_worker(
    shop, sandbox, reconciler
):
    shop.seats.fail("wait_for_bank", Unavailable(SEAT_STORE), times=1)
    with pytest.raises(PaymentPending) as pending:
        shop.pay(buyer=ASKING)
    assert not isinstance(pending.value, ActionRequired)
    shop.let_leases_run_out()
    reconciler.round()
    required = go_to_the_bank(shop)
    assert shop.charges() == ["action_required"]
    decide(sandbox, required, "accept")
    come_back(shop)
    assert shop.charges() == ["captured"]


def test_a_question_whose_answer_was_lost_is_asked_all_the_same(shop, sandbox):
    shop.gateway.fail("authorize", OutcomeUnknown("time-out"), times=2, after=True)
    required = go_to_the_bank(shop)
    decide(sandbox, required, "accept")
    come_back(shop)
    assert shop.charges() == ["captured"]


def test_what_was_refused_at_the_bank_before_anybody_heard_of_it_is_canceled_too(shop, sandbox):
    shop.gateway.fail("authorize", OutcomeUnknown("time-out"), times=2, after=True)
    find = shop.gateway.find

    def find_after_the_no(key, since):
        sandbox.decide(find(key, since).payment_id, "refuse")
        return find(key, since)

    shop.gateway.find = find_after_the_no
    with pytest.raises(PaymentDeclined) as declined:
        shop.pay(buyer=ASKING)
    assert (declined.value.reason, declined.value.attempts_left) == (AUTHENTICATION_FAILED, 4)
    assert (shop.state(), shop.charges()) == ("h", ["voided"])


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("part", "call", "error"),
    [
        ("gateway", "retrieve", OutcomeUnknown("time-out")),
        ("seats", "renew_lease", Unavailable(SEAT_STORE)),
        ("seats", "now", Unavailable(SEAT_STORE)),
        ("bookings", "insert", InsertUnknown()),
        ("gateway", "capture", OutcomeUnknown("time-out")),
    ],
)
def test_a_confirmed_payment_that_breaks_off_is_finished(
    shop, sandbox, reconciler, part, call, error, after
):
    required = go_to_the_bank(shop)
    decide(sandbox, required, "accept")
    getattr(shop, part).fail(call, error, after=after)
    with pytest.raises(PaymentPending):
        come_back(shop)
    getattr(shop, part).heal()
    shop.let_leases_run_out()
    reconciler.round()
    assert (shop.state(), shop.charges()) == ("s", ["captured"])
    assert shop.pay(buyer=ASKING).receipt == shop.booking().receipt()


@pytest.mark.parametrize("after", [False, True])
def test_one_lost_answer_of_the_gateway_costs_who_comes_back_no_time(shop, sandbox, after):
    decide(sandbox, go_to_the_bank(shop), "accept")
    shop.gateway.fail("retrieve", OutcomeUnknown("time-out"), times=1, after=after)
    assert come_back(shop) == shop.booking().receipt()


@pytest.mark.parametrize("after", [False, True])
def test_one_lost_answer_of_the_gateway_costs_who_gives_up_no_time(shop, after):
    required = go_to_the_bank(shop)
    shop.gateway.fail("void", OutcomeUnknown("time-out"), times=1, after=after)
    shop.checkout.cancel(shop.ref, required.key_digest)
    assert (shop.state(), shop.charges()) == ("h", ["voided"])


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("part", "call", "error"),
    [
        ("seats", "begin_cancel", Unavailable(SEAT_STORE)),
        ("gateway", "void", OutcomeUnknown("time-out")),
        ("seats", "undo_payment", Unavailable(SEAT_STORE)),
    ],
)
def test_a_cancellation_that_breaks_off_is_finished(shop, reconciler, part, call, error, after):
    required = go_to_the_bank(shop)
    getattr(shop, part).fail(call, error, after=after)
    with suppress(PaymentPending, Unavailable):
        shop.checkout.cancel(shop.ref, required.key_digest)
    getattr(shop, part).heal()
    shop.let_leases_run_out()
    reconciler.round()
    if (call, after) == ("begin_cancel", False):
        assert shop.charges() == ["action_required"], "nobody knows that the buyer gave up"
        return
    assert (shop.state(), shop.charges()) == ("h", ["voided"])
    with pytest.raises(EarlierRefusal) as earlier:
        shop.pay(buyer=ASKING)
    assert earlier.value.refusal.reason == NOT_COMPLETED


def test_what_is_being_canceled_is_never_booked(shop, sandbox, reconciler):
    """The cancellation may be carried out at any later moment."""
    required = go_to_the_bank(shop)
    shop.gateway.fail("void", OutcomeUnknown("time-out"), times=2)
    with pytest.raises(PaymentPending):
        shop.checkout.cancel(shop.ref, required.key_digest)
    decide(sandbox, required, "accept")
    shop.let_leases_run_out()
    reconciler.round()
    assert (shop.state(), shop.charges(), shop.booking()) == ("h", ["voided"], None)


def test_the_bank_says_yes_between_the_look_and_the_cancellation(shop, sandbox, reconciler):
    required = go_to_the_bank(shop)
    run_out(shop)
    retrieve = shop.gateway.retrieve

    def retrieve_before_the_yes(payment_id):
        found = retrieve(payment_id)
        decide(sandbox, required, "accept")
        return found

    shop.gateway.retrieve = retrieve_before_the_yes
    reconciler.round()
    assert (shop.state(), shop.charges(), shop.booking()) == ("h", ["voided"], None)


def test_while_the_gateway_is_away_at_the_end_the_seats_stay_paying(shop, reconciler):
    go_to_the_bank(shop)
    run_out(shop)
    shop.gateway.fail("void", OutcomeUnknown("time-out"))
    reconciler.round()
    assert shop.state() == "p"
    shop.gateway.heal()
    shop.let_leases_run_out()
    reconciler.round()
    assert (shop.state(), shop.charges()) == ("h", ["voided"])


def test_while_the_gateway_cannot_be_asked_at_the_end_the_worker_asks_once_in_a_while(
    shop, reconciler
):
    go_to_the_bank(shop)
    run_out(shop)
    shop.gateway.fail("retrieve", NotExecuted("no connection"))
    for _ in range(2):
        reconciler.round()
    assert shop.gateway.calls.count("retrieve") == 1
    shop.gateway.heal()
    shop.let_leases_run_out()
    reconciler.round()
    assert (shop.state(), shop.charges()) == ("h", ["voided"])


def test_a_process_that_was_stopped_while_another_canceled_books_nothing(shop, sandbox):
    """It read that the bank had said yes, and then stood still for longer than its lease."""
    required = go_to_the_bank(shop)
    decide(sandbox, required, "accept")
    retrieve = shop.gateway.retrieve

    def stand_still(payment_id):
        found = retrieve(payment_id)
        shop.gateway.retrieve = retrieve
        shop.let_leases_run_out()
        shop.checkout.cancel(shop.ref, required.key_digest)
        return found

    shop.gateway.retrieve = stand_still
    with pytest.raises(PaymentPending):
        come_back(shop)
    assert (shop.state(), shop.charges(), shop.booking()) == ("h", ["voided"], None)


def test_many_who_look_at_the_same_moment_book_once(shop, sandbox):
    required = go_to_the_bank(shop)
    decide(sandbox, required, "accept")
    outcomes = []

    def look():
        try:
            outcomes.append(come_back(shop))
        except (PaymentInProgress, PaymentNotFound) as refusal:
            outcomes.append(refusal)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    receipts = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    assert receipts == [shop.booking().receipt()]
    assert shop.charges() == ["captured"]
    assert shop.gateway.calls.count("capture") == 1


# ---------------------------------------------------------------- the worker's other work


def test_after_a_loss_of_redis_the_buyer_can_still_confirm(shop, sandbox, reconciler):
    reconciler.round()
    required = go_to_the_bank(shop)
    lose(shop)
    reconciler.round()
    assert shop.state() == "p"
    shop.let_leases_run_out()
    reconciler.round()
    assert hold_now(shop).bank_step.url == required.bank_step.url
    decide(sandbox, required, "accept")
    come_back(shop)
    assert (shop.state(), shop.charges()) == ("s", ["captured"])


def test_an_open_intent_that_nobody_needs_is_canceled(shop, reconciler):
    required = go_to_the_bank(shop)
    shop.let_leases_run_out()
    payment = shop.seats._target.claim_lapsed_payment(shop.event)
    shop.seats._target.undo_payment(payment, None)  # as if Redis had been restored
    reconciler.round()
    assert shop.charges() == ["voided"]
    assert shop.gateway.retrieve(required.bank_step.payment_id).status == "voided"


def test_a_declined_intent_is_canceled_too(shop, reconciler):
    """Its secret may be known: another card could be confirmed with it."""
    with pytest.raises(PaymentDeclined):
        shop.pay(buyer=replace(BUYER, payment_method="pm_card_visa_chargeDeclined"))
    assert shop.charges() == ["declined"]
    reconciler.round()
    assert shop.charges() == ["voided"]


def test_an_intent_that_could_not_be_canceled_is_looked_for_until_it_can(
    shop, reconciler, monkeypatch
):
    go_to_the_bank(shop)
    forget(shop)
    shop.gateway.fail("void", OutcomeUnknown("time-out"))
    monkeypatch.setattr(reconciliation, "GATEWAY_EVERY", timedelta(0))
    monkeypatch.setattr(reconciliation, "GATEWAY_WINDOW", timedelta(days=-1))  # long ago
    for _ in range(2):
        reconciler.round()
        assert shop.charges() == ["action_required"]
    shop.gateway.heal()
    reconciler.round()
    assert shop.charges() == ["voided"]


def test_the_list_is_read_back_to_what_was_not_settled_at_the_last_reading(
    shop, reconciler, monkeypatch
):
    """However long a lease is."""
    monkeypatch.setattr(reconciliation, "GATEWAY_EVERY", timedelta(0))
    monkeypatch.setattr(reconciliation, "GATEWAY_WINDOW", timedelta(0))
    go_to_the_bank(shop)
    forget(shop)
    reconciler._settles_after = timedelta(hours=2)
    reconciler.round()
    assert shop.charges() == ["action_required"], "it is not settled yet"
    assert reconciler._gateway_since < shop.gateway.now() - timedelta(hours=1)


def forget(shop):
    shop.let_leases_run_out()
    payment = shop.seats._target.claim_lapsed_payment(shop.event)
    shop.seats._target.undo_payment(payment, None)
    return payment


def test_a_forgotten_intent_is_no_danger_to_the_booking_of_its_hold(shop, reconciler):
    """Redis went back in time, and the buyer paid with another card."""
    go_to_the_bank(shop)
    forget(shop)
    shop.pay("another key")
    reconciler.round()
    assert sorted(shop.charges()) == ["captured", "voided"]
    assert problems(shop) == ""


def test_a_payment_at_the_bank_is_canceled_when_another_has_booked(shop, reconciler):
    """Redis lost the payment that has booked, and the hold was paid for again."""
    required = go_to_the_bank(shop)
    shop.bookings._target.insert(
        replace(
            a_booking(shop.event.id, *shop.hold.seats),
            id=booking_id_of(shop.hold.id),
            hold_id=shop.hold.id,
        )
    )
    shop.let_leases_run_out()
    reconciler.round()
    assert shop.gateway.retrieve(required.bank_step.payment_id).status == "voided"
    assert shop.state() == "s"


def test_the_audit_knows_payments_at_the_bank(shop):
    go_to_the_bank(shop)
    assert problems(shop) == ""
    forget(shop)
    assert "can still be confirmed at the bank, and no payment is under way" in problems(shop)


def test_the_audit_says_how_many_are_at_the_bank_and_how_long_they_have(shop):
    def note() -> str | None:
        (check,) = (c for c in checks_of(shop) if c.rule == "holds and payments end in time")
        return check.note

    assert note() is None
    go_to_the_bank(shop)
    assert re.fullmatch("1 payment is at the bank, for at most 3[56][0-9] s from now", note())
    shop.hold_again("stalls-B-2")
    go_to_the_bank(shop, key="another key")
    assert note().startswith("2 payments are at the bank, for at most 3")


def test_the_audit_and_a_dry_run_name_payments_at_the_bank_whose_time_is_over(shop, caplog):
    go_to_the_bank(shop)
    run_out(shop)
    assert re.search(f"{shop.hold.id} is [0-9]+ ms over its time at the bank", problems(shop))
    with caplog.at_level(logging.INFO):
        reconciler_of(shop, dry_run=True).round()
    assert f"would be ended: {shop.hold.id} (its time at the bank is over)" in caplog.text
    assert shop.charges() == ["action_required"]


def test_a_payment_that_the_worker_leaves_at_the_bank_is_no_repair(shop, reconciler, caplog):
    go_to_the_bank(shop)
    shop.let_leases_run_out()
    with caplog.at_level(logging.INFO):
        reconciler.round()
    assert f"left at the bank: {shop.hold.id}" in caplog.text
    assert f"ended: {shop.hold.id}" not in caplog.text


def test_a_refunded_booking_and_a_late_yes(shop, sandbox, reconciler):
    required = go_to_the_bank(shop)
    decide(sandbox, required, "accept")
    come_back(shop)
    refunds = Refunds(shop.catalogue, shop.seats, shop.bookings, shop.gateway)
    refunds.refund(shop.booking().id)
    assert (shop.state(), shop.charges()) == ("0", ["refunded"])
    with pytest.raises(PaymentNotFound):
        come_back(shop)
