"""What the worker repairs, each broken on purpose, on real Redis, MongoDB and sandbox."""

import logging
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.factories import (
    BUYER,
    WAY_BACK,
    a_booking,
    lose_event,
    put_on_sale,
    small_hall,
    unique,
)
from tests.support.redis_stores import commands_of
from tests.support.sandbox import client_of
from tests.support.shop import (
    Shop,
    going_back,
    look_like_another_server,
    lose,
    problems,
    reconciler_of,
    undo_payment,
)
from web.adapters.mongodb import booking_store
from web.adapters.redis.event_catalogue import CATALOGUE_KEY
from web.adapters.stripe.gateway import StripeGateway
from web.domain.refusals import (
    NOT_COMPLETED,
    EarlierRefusal,
    PaymentDeclined,
    PaymentNotFound,
    PaymentPending,
    SeatTaken,
    Unavailable,
)
from web.ports.booking_store import IndexMissing
from web.ports.payment_gateway import NotExecuted, OutcomeUnknown
from web.use_cases import gateway_ledger, opening, reconciliation, seat_comparison
from web.use_cases.reconciliation import Reconciler
from web.use_cases.refunds import Refunds


@pytest.fixture(autouse=True)
def no_other_events(raw_redis):
    """The worker looks at all there are."""
    raw_redis.flushdb()


@pytest.fixture
def shop(event, seats, bookings, sandbox):
    return Shop(event, seats, bookings, StripeGateway("sk_test_reconciliation", sandbox.url))


@pytest.fixture
def reconciler(shop):
    return reconciler_of(shop)


def pay_until(shop, method: str, part: str = "gateway", after: bool = True) -> None:
    """A payment whose process dies in that call, or just after it."""
    getattr(shop, part).fail(method, KeyboardInterrupt(), after=after)
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    getattr(shop, part).heal()


def test_a_round_without_anything_to_repair_repairs_nothing(shop, reconciler):
    shop.pay()
    reconciler.round()
    assert not reconciler.repairs


def test_an_expired_hold_is_free_on_the_screen(seats, bookings, sandbox):
    hall = small_hall(hold_ms=1)
    put_on_sale(seats, hall)
    shop = Shop(hall, seats, bookings, StripeGateway("sk_test_reconciliation", sandbox.url))
    reconciler = reconciler_of(shop)
    reconciler.round()  # the first also reads the map, which frees it too
    shop.hold_again("stalls-B-1")
    time.sleep(0.01)
    reconciler.round()
    assert shop.redis.getrange(f"seats:{{{hall.id}}}", 8, 8) == "0"


@pytest.mark.parametrize(
    ("method", "part", "after", "charge", "state"),
    [
        ("authorize", "gateway", False, [], "h"),
        ("authorize", "gateway", True, ["captured"], "s"),
        ("insert", "bookings", False, ["captured"], "s"),
        ("insert", "bookings", True, ["captured"], "s"),
        ("capture", "gateway", False, ["captured"], "s"),
        ("capture", "gateway", True, ["captured"], "s"),
        ("confirm_booking", "seats", False, ["captured"], "s"),
    ],
)
def test_a_payment_whose_process_died_is_ended(
    shop, reconciler, method, part, after, charge, state
):
    pay_until(shop, method, part, after)
    reconciler.round()
    assert shop.state() == "p", "not before its lease has run out"
    shop.let_leases_run_out()
    reconciler.round()
    assert (shop.charges(), shop.state()) == (charge, state)
    assert reconciler.repairs["ended"] == 1


def test_payments_that_lapsed_together_are_looked_up_in_one_reading_of_the_list(shop, reconciler):
    holds = []
    for seat in ("stalls-B-1", "stalls-B-2", "stalls-B-3"):
        if holds:
            shop.hold_again(seat)
        holds.append(shop.hold)
        pay_until(shop, "authorize")
    shop.let_leases_run_out()
    shop.gateway.calls.clear()
    reconciler.round()
    for shop.hold in holds:
        assert (shop.state(), shop.charges()) == ("s", ["captured"])
    assert shop.gateway.calls.count("find_all") == 1
    assert "find" not in shop.gateway.calls


def test_an_undone_payment_has_a_final_answer_and_the_next_key_pays(shop, reconciler):
    pay_until(shop, "authorize", after=False)
    shop.let_leases_run_out()
    reconciler.round()
    for _ in range(2):
        with pytest.raises(EarlierRefusal) as answer:
            shop.pay()
        assert answer.value.refusal.reason == NOT_COMPLETED
        assert answer.value.refusal.attempts_left == 5, "no card was refused"
    shop.pay("another key")
    assert shop.charges() == ["captured"]


def test_a_refused_card_whose_answer_was_lost_counts_as_one(shop, reconciler):
    declining = replace(BUYER, payment_method="pm_card_visa_chargeDeclined")
    authorize = shop.gateway._target.authorize

    def refused_and_dead(*arguments):
        with pytest.raises(PaymentDeclined):
            authorize(*arguments)
        raise KeyboardInterrupt

    shop.gateway.authorize = refused_and_dead
    with pytest.raises(KeyboardInterrupt):
        shop.pay(buyer=declining)
    shop.let_leases_run_out()
    reconciler.round()
    with pytest.raises(EarlierRefusal) as answer:
        shop.pay(buyer=declining)
    assert answer.value.refusal.reason == "generic_decline", "as the bank said"
    assert answer.value.refusal.attempts_left == 4


def test_the_buyer_of_an_unknown_outcome_learns_how_it_ended(shop, reconciler):
    shop.gateway.fail("authorize", OutcomeUnknown("time-out"), after=True)
    shop.gateway.fail("find", OutcomeUnknown("time-out"))
    with pytest.raises(PaymentPending) as pending:
        shop.pay()
    digest = pending.value.key_digest

    def ask():
        return shop.checkout.payment(shop.ref, digest)

    with pytest.raises(PaymentPending):
        ask()
    shop.gateway.heal()
    shop.let_leases_run_out()
    reconciler.round()
    assert ask() == shop.booking().receipt()
    lose(shop)
    assert ask() == shop.booking().receipt(), "the booking remembers"


def test_the_buyer_of_an_undone_payment_learns_that_too(shop, reconciler):
    pay_until(shop, "authorize", after=False)
    with pytest.raises(PaymentNotFound):
        shop.checkout.payment(shop.ref, "no such digest")
    shop.let_leases_run_out()
    payment = shop.seats._target.claim_lapsed_payment(shop.event)
    shop.let_leases_run_out()
    reconciler.round()
    with pytest.raises(EarlierRefusal):
        shop.checkout.payment(shop.ref, payment.key_digest)


# ---------------------------------------------------------------- Redis lost its memory


def test_an_event_that_redis_lost_is_opened_again_with_what_is_sold(shop, reconciler):
    receipt = shop.pay().receipt
    revision = shop.seats._target.read_seats(shop.event.id).revision
    lose(shop)
    assert shop.pay().receipt == receipt, "the booking answers meanwhile"
    reconciler.round()
    assert shop.state() == "s"
    assert shop.seats._target.read_seats(shop.event.id).revision > revision
    assert reconciler.repairs["reopened"] == 1


def test_everything_is_listed_and_opened_again_after_redis_lost_all(shop, reconciler):
    catalogue = shop.redis.smembers(CATALOGUE_KEY)
    shop.redis.delete(CATALOGUE_KEY)
    lose(shop)
    try:
        reconciler.round()
        assert shop.event.id in shop.catalogue._target.event_ids()
        assert shop.state() == "0"
    finally:
        shop.redis.sadd(CATALOGUE_KEY, *catalogue)


def test_a_payment_under_way_when_redis_was_lost_keeps_its_seats_and_is_booked(shop, reconciler):
    pay_until(shop, "authorize")
    lose(shop)
    reconciler.round()
    assert shop.state() == "p"
    with pytest.raises(SeatTaken):
        shop.box_office.hold_seats(shop.event.id, "another", ["stalls-B-1"])
    shop.let_leases_run_out()
    reconciler.round()
    assert (shop.charges(), shop.state()) == (["captured"], "s")
    assert shop.pay().receipt == shop.booking().receipt()
    assert shop.booking().name == BUYER.name


def test_only_open_payments_of_the_event_keep_its_seats_when_it_is_rebuilt(
    shop, reconciler, seats, bookings
):
    other = small_hall()
    put_on_sale(seats, other)
    neighbour = Shop(other, seats, bookings, shop.gateway._target)
    pay_until(neighbour, "authorize")
    pay_until(shop, "authorize")
    for payment in shop.gateway.list(shop.began):
        if payment.metadata["hold_id"] == shop.hold.id:
            shop.gateway.void(payment.payment_id)
    lose(shop)
    reconciler.round()
    assert shop.state() == "0"


def test_a_payment_that_was_booked_before_redis_was_lost_is_sold(shop, reconciler):
    pay_until(shop, "insert", "bookings")
    lose(shop)
    reconciler.round()
    assert (shop.state(), shop.charges()) == ("s", ["captured"])
    assert not shop.seats._target.lapsed_holds(shop.event.id)
    assert shop.redis.zcard(f"payments:{{{shop.event.id}}}") == 0


def test_events_that_were_lost_together_are_opened_after_one_look_at_the_gateway(
    shop, reconciler, neighbours
):
    reconciler.round()
    for hall in neighbours[:3]:
        lose_event(shop.redis, hall.id)
    shop.gateway.calls.clear()
    reconciler.round()
    assert reconciler.repairs["reopened"] == 3
    assert shop.gateway.calls == ["now", "list"]


def test_a_long_list_of_payments_holds_up_the_opening_for_seconds_only(
    shop, reconciler, monkeypatch
):
    pay_until(shop, "authorize")
    newest = shop.gateway._target.list

    def endless(since):
        yield from newest(since)
        while True:
            time.sleep(0.01)
            yield replace(next(newest(since)), metadata={})

    shop.gateway.list = endless
    monkeypatch.setattr(opening, "LISTING_S", 0.1)
    lose(shop)
    reconciler.round()
    assert shop.state() == "p", "the newest payments are known"


def test_a_long_list_of_payments_is_compared_in_several_rounds(shop, reconciler, monkeypatch):
    for seat in ("stalls-B-1", "stalls-B-2", "stalls-B-3"):
        if seat != "stalls-B-1":
            shop.hold_again(seat)
        pay_until(shop, "authorize")
        undo_payment(shop)
    monkeypatch.setattr(gateway_ledger, "LEDGER_PAGE", 1)
    monkeypatch.setattr(reconciliation, "COMPARING_S", 0)
    monkeypatch.setattr(reconciliation, "GATEWAY_EVERY", timedelta(0))
    voided = []
    for _ in range(3):
        reconciler.round()
        voided.append((reconciler.repairs["voided"], reconciler.has_more))
    assert voided == [(1, True), (2, True), (3, True)]
    assert shop.bookings.calls.count("unfinished_refunds") == 1, "a turn is not over before its end"
    while reconciler.has_more:  # payments of other tests; a test has an end
        reconciler.round()
    assert shop.gateway.calls.count("list") == 1


def reserve_for_nothing(shop) -> None:
    pay_until(shop, "authorize")
    undo_payment(shop)


def break_off_refund(shop) -> None:
    booking_id = shop.pay().receipt.booking_id
    shop.gateway.fail("refund", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        Refunds(shop.catalogue, shop.seats, shop.bookings, shop.gateway).refund(booking_id)
    shop.gateway.heal()


@pytest.mark.parametrize(
    ("breaks_off", "kind"), [(reserve_for_nothing, "voided"), (break_off_refund, "refund ended")]
)
def test_money_that_has_to_move_does_not_keep_a_worker_from_anything_else(
    shop, reconciler, monkeypatch, breaks_off, kind
):
    for seat in ("stalls-B-1", "stalls-B-2", "stalls-B-3"):
        if seat != "stalls-B-1":
            shop.hold_again(seat)
        breaks_off(shop)
    monkeypatch.setattr(reconciliation, "ENDING_S", 0)
    monkeypatch.setattr(reconciliation, "SIDE_BY_SIDE", 1)
    ended = []
    for _ in range(3):
        reconciler.round()
        ended.append(reconciler.repairs[kind])
    assert ended == [1, 2, 3]
    while reconciler.has_more:
        reconciler.round()
    assert reconciler.repairs == {kind: 3}


def test_an_event_is_opened_again_without_the_gateway_and_late_payments_are_void(
    shop, reconciler, monkeypatch
):
    pay_until(shop, "authorize")
    lose(shop)
    shop.gateway.fail("list", NotExecuted("down"))
    reconciler.round()
    assert shop.state() == "0"
    shop.gateway.heal()
    reconciler_of(shop).round()
    assert shop.charges() == ["authorized"], "its process may still be about to book it"
    monkeypatch.setattr(reconciliation, "LAST_STEP", timedelta(seconds=-1))
    reconciler_of(shop).round()
    assert shop.charges() == ["voided"]


def revision(shop) -> int:
    return shop.seats._target.revision(shop.event.id)


@pytest.fixture
def go_back_in_time(shop, reconciler):
    """A seat is paid for, the worker sees it, and Redis is as it was before. Returns the revision
    that was seen."""
    to_the_hold = going_back(shop)

    def go_back() -> int:
        shop.pay()
        reconciler.round()
        seen = revision(shop)
        to_the_hold()
        assert shop.state() == "h"
        return seen

    return go_back


def change_seats(shop, times: int) -> None:
    """Others hold and release."""
    held = []
    for _ in range(times):
        if held:
            shop.seats._target.release_hold(shop.event.id, held.pop())
        else:
            hold, _ = shop.box_office.hold_best(shop.event.id, unique("client"), "free", 1)
            held.append(hold.id)


@pytest.mark.parametrize("more", [-1, 0, 1, 10])
def test_an_event_that_went_back_in_time_gets_its_sold_seats_again(
    shop, reconciler, go_back_in_time, more
):
    """However many changes buyers have made since, compared with those that were lost."""
    seen = go_back_in_time()
    change_seats(shop, seen - revision(shop) + more)
    reconciler.round()
    assert shop.state() == "s"
    assert revision(shop) > seen + max(more, 0)
    assert reconciler.repairs["reopened"] == 1
    reconciler.round()
    assert reconciler.repairs["reopened"] == 1, "once is enough"


def test_after_an_event_was_opened_again_its_bookings_are_compared_in_the_next_round(
    shop, reconciler
):
    """A booking may be stored just after they were read, and its process may not come to say so."""
    reconciler.round()
    lose(shop)
    reconciler.round()
    shop.bookings._target.insert(a_booking(shop.event.id, "stalls-B-1"))
    reconciler.round()
    assert shop.state() == "s"


@pytest.mark.parametrize("worker", ["the same worker", "one that is new"])
def test_a_redis_that_was_started_again_may_have_gone_back_to_just_what_was_seen(
    shop, reconciler, worker
):
    reconciler.round()
    seen, go_back = revision(shop), going_back(shop)
    shop.pay()
    go_back()
    reconciler.round()
    assert (shop.state(), revision(shop)) == ("h", seen), "nothing tells"
    look_like_another_server(shop)
    if worker == "one that is new":
        reconciler = reconciler_of(shop)
    reconciler.round()
    assert shop.state() == "s" and revision(shop) > seen
    assert reconciler.repairs["reopened"] == 1
    reconciler.round()
    assert reconciler.repairs["reopened"] == 1, "once is enough"


@pytest.mark.parametrize("restarted", [False, True], ids=["the same worker", "one that is new"])
def test_they_are_compared_once_more_when_the_last_payment_of_before_must_have_ended(
    shop, reconciler, monkeypatch, restarted
):
    monkeypatch.setattr(seat_comparison, "LAST_STEP", timedelta(seconds=2))
    reconciler.round()
    lose(shop)
    reconciler.round()
    if restarted:
        reconciler = reconciler_of(shop)
    reconciler.round()
    shop.bookings._target.insert(a_booking(shop.event.id, "stalls-B-1"))
    reconciler.round()
    assert shop.state() == "0", "not each time"
    time.sleep(2)
    reconciler.round()
    assert shop.state() == "s"


def test_they_are_compared_once_more_as_soon_as_mongodb_is_back(shop, reconciler, monkeypatch):
    monkeypatch.setattr(seat_comparison, "LAST_STEP", timedelta(0))
    reconciler.round()
    lose(shop)
    reconciler.round()
    shop.bookings._target.insert(a_booking(shop.event.id, "stalls-B-1"))
    shop.bookings.fail("sold_seats", Unavailable("bookings"))
    for _ in range(2):
        reconciler.round()
    shop.bookings.heal()
    reconciler.round()
    assert shop.state() == "s"


def test_that_it_went_back_in_time_is_known_until_its_bookings_could_be_read(
    shop, reconciler, go_back_in_time
):
    go_back_in_time()
    shop.bookings.fail("sold_seats", Unavailable("bookings"))
    for _ in range(3):
        change_seats(shop, 5)
        reconciler.round()
    shop.bookings.heal()
    reconciler.round()
    assert shop.state() == "s"
    assert reconciler.repairs["reopened"] == 1


def test_the_hold_that_a_seat_was_bought_with_is_over_when_redis_went_back_to_it(
    shop, reconciler, go_back_in_time
):
    go_back_in_time()
    reconciler.round()
    assert not problems(shop)
    assert shop.box_office.hold(shop.ref).status == "booked"


def test_a_journal_that_is_gone_begins_again(shop, reconciler):
    shop.pay()
    shop.redis.delete(f"journal:{{{shop.event.id}}}")
    reconciler.round()
    assert not problems(shop)
    assert shop.state() == "s"


def test_a_journal_that_is_gone_before_any_worker_saw_it_begins_again(shop, reconciler):
    """The changes since then look like the end of a long journal."""
    shop.redis.delete(f"journal:{{{shop.event.id}}}")
    shop.hold_again("stalls-B-3")
    assert "there is no map in it" in problems(shop)
    reconciler.round()
    assert problems(shop) == ""
    revision = shop.seats._target.read_seats(shop.event.id).revision
    reconciler.round()
    assert shop.seats._target.read_seats(shop.event.id).revision == revision, (
        "it goes on from there"
    )


def test_a_map_between_two_openings_is_found_again(shop):
    """Otherwise the event would be opened again at each of them."""
    event_key, every = f"event:{{{shop.event.id}}}", 50_000
    revision = int(shop.redis.hget(event_key, "revision"))
    shop.redis.hset(event_key, "revision", revision // every * every + every - 1)
    shop.hold_again("stalls-B-3")
    (upkeep,) = shop.seats._target.maintenance_due([shop.event.id], {}).values()
    assert upkeep.moment.revision % every == 0
    assert not upkeep.history_lost


def test_a_seat_that_is_booked_and_free_in_redis_is_marked(shop, reconciler):
    shop.pay()
    shop.redis.setrange(f"seats:{{{shop.event.id}}}", 8, "0")
    reconciler.round()
    assert shop.state() == "s"
    assert reconciler.repairs["marked sold"] == 1


# ---------------------------------------------------------------- money against seats


def test_a_reserved_payment_that_nobody_needs_is_let_go(shop, reconciler):
    pay_until(shop, "authorize")
    undo_payment(shop)
    reconciler.round()
    assert shop.charges() == ["voided"]
    assert reconciler.repairs["voided"] == 1


def test_a_booking_whose_payment_was_not_captured_is_captured(shop, reconciler):
    pay_until(shop, "insert", "bookings")
    shop.redis.delete(f"holds:{{{shop.event.id}}}", f"payments:{{{shop.event.id}}}")
    reconciler.round()
    assert shop.charges() == ["captured"]


def test_a_payment_that_is_under_way_is_left_alone(shop, reconciler):
    pay_until(shop, "authorize")
    reconciler.round()
    assert shop.charges() == ["authorized"]


def test_money_that_nobody_let_go_after_a_loss_of_redis_is_let_go(shop, reconciler):
    """Redis forgets the payment while its card is charged, and the process cannot void it."""
    authorize = shop.gateway._target.authorize

    def meanwhile_redis_lost_it(*arguments):
        authorization = authorize(*arguments)
        lose(shop)
        put_on_sale(shop.seats._target, shop.event)  # with a list that is too old
        return authorization

    shop.gateway.authorize = meanwhile_redis_lost_it
    shop.gateway.fail("void", OutcomeUnknown("time-out"), times=1)
    with pytest.raises(PaymentPending):
        shop.pay()
    shop.gateway.heal()
    assert shop.charges() == ["authorized"]
    reconciler.round()
    assert shop.charges() == ["voided"]
    assert problems(shop) == ""


def test_a_payment_of_this_moment_is_nobodys_business_yet(shop):
    pay_until(shop, "authorize")
    undo_payment(shop)
    Reconciler(
        shop.catalogue, shop.seats, shop.bookings, shop.gateway, shop.checkout, [shop.event]
    ).round()
    assert shop.charges() == ["authorized"]


def authorize_again(shop) -> str:
    """The id of a second payment of a hold that is booked."""
    metadata = {
        "event": shop.event.id,
        "hold_id": shop.hold.id,
        "booking_id": shop.booking().id,
        "client": "ada",
        "attempt": "2",
        "seats_00": "stalls-B-1",
        "email": "ada@example.org",
        "name": "Ada",
        "key_digest": "another",
        "fingerprint": "another",
        "begun_at": shop.began.isoformat(),
    }
    key = f"{shop.hold.id}-another"
    payment = shop.gateway.authorize(key, 2500, "GBP", "pm_card_visa", metadata, WAY_BACK)
    return payment.payment_id


def test_a_second_authorisation_of_a_booked_hold_is_let_go(shop, reconciler):
    shop.pay()
    authorize_again(shop)
    reconciler.round()
    assert sorted(shop.charges()) == ["captured", "voided"]


def test_a_second_payment_of_a_booked_hold_that_was_captured_is_refunded(shop, reconciler):
    receipt = shop.pay().receipt
    second = authorize_again(shop)
    shop.gateway.capture(second)
    reconciler.round()
    assert shop.gateway.retrieve(second).status == "refunded"
    assert shop.gateway.retrieve(receipt.payment_id).status == "captured"


def test_a_captured_payment_without_a_booking_is_refunded(shop, reconciler):
    receipt = shop.pay().receipt
    shop.bookings._target._collection.delete_one({"_id": receipt.booking_id})
    reconciler.round()
    assert shop.charges() == ["refunded"]
    reconciler_of(shop).round()
    assert shop.charges() == ["refunded"]


def test_a_payment_that_broke_off_and_was_captured_by_hand_in_part_is_given_back(
    shop, reconciler, sandbox
):
    pay_until(shop, "insert", "bookings", after=False)
    (payment_id,) = (
        payment.payment_id
        for payment in shop.gateway._target.list(shop.began)
        if payment.metadata["hold_id"] == shop.hold.id
    )
    client_of(sandbox).payment_intents.capture(payment_id, {"amount_to_capture": 100})
    shop.let_leases_run_out()
    reconciler.round()
    assert (shop.charges(), shop.state(), shop.booking()) == (["refunded"], "h", None)
    shop.pay("another key")


def test_a_booking_whose_reserved_money_was_released_by_hand_is_ended(shop, reconciler, caplog):
    """Or by Stripe itself, after seven days."""
    shop.gateway.fail("capture", OutcomeUnknown("time-out"))
    with pytest.raises(PaymentPending):
        shop.pay()
    shop.gateway.heal()
    shop.gateway._target.void(shop.booking().payment_id)
    with caplog.at_level(logging.INFO):
        reconciler.round()
    assert f"{shop.booking().payment_id} was canceled at the gateway" in caplog.text
    shop.let_leases_run_out()
    reconciler.round()
    assert (shop.state(), shop.charges()) == ("0", ["voided"])
    assert shop.booking().refunded_at
    assert problems(shop) == ""
    assert shop.box_office.hold(shop.ref).refunded
    shop.hold_again("stalls-B-1")
    shop.pay("another key")


@pytest.fixture
def sold_long_ago(shop, reconciler, monkeypatch):
    """As the worker sees it: its next look at the gateway goes back to now only."""
    # So that it goes back to the look before; Stripe's times are whole seconds.
    monkeypatch.setattr(reconciliation, "GATEWAY_WINDOW", -reconciler._settles_after)
    shop.pay()
    time.sleep(1.1)
    reconciler.round()
    return shop.booking().payment_id


def look_at_gateway(reconciler) -> None:
    reconciler._next_gateway_look = timedelta.min
    reconciler.round()


def test_a_booking_that_is_refunded_by_hand_long_after_its_sale_is_found(
    shop, reconciler, sandbox, sold_long_ago, caplog
):
    """In parts, the last of which makes it whole."""
    client_of(sandbox).refunds.create({"payment_intent": sold_long_ago, "amount": 100})
    look_at_gateway(reconciler)
    assert (shop.state(), shop.booking().refunded_at) == ("s", None), "a part is nothing"
    client_of(sandbox).refunds.create({"payment_intent": sold_long_ago})
    with caplog.at_level(logging.INFO):
        look_at_gateway(reconciler)
    assert caplog.text.count(f"{sold_long_ago} was refunded at the gateway") == 1
    assert (shop.state(), shop.charges()) == ("0", ["refunded"])
    assert shop.booking().refunded_at


def test_what_fails_then_is_tried_again_without_reading_all_that_was_sold_since(
    shop, reconciler, sandbox, sold_long_ago
):
    since = reconciler._gateway_since
    client_of(sandbox).refunds.create({"payment_intent": sold_long_ago})
    shop.bookings.fail("begin_refund", Unavailable("booking store"))
    look_at_gateway(reconciler)
    assert (reconciler.not_done, reconciler._gateway_since) == (1, since)
    shop.bookings.heal()
    look_at_gateway(reconciler)
    assert shop.booking().refunded_at


# ---------------------------------------------------------------- events that others open


def test_an_event_that_somebody_else_is_opening_is_not_called_lost(
    shop, reconciler, seats, catalogue, caplog, monkeypatch
):
    reconciler.round()
    caplog.set_level(logging.INFO)
    hall = small_hall()
    catalogue.add([hall.id])
    reconciler.round()
    seats.build_event(hall)
    reconciler.round()
    assert hall.id not in caplog.text
    seats.open_event(hall, sold=[])
    reconciler.round()
    assert hall.id not in caplog.text
    lose_event(shop.redis, hall.id)
    reconciler.round()
    assert f"reopened: {hall.id} (Redis has lost it)" in caplog.text


def test_an_event_that_stays_away_and_has_no_file_is_reported_once(
    shop, reconciler, catalogue, caplog, monkeypatch
):
    monkeypatch.setattr(reconciliation, "OPENING_PATIENCE", timedelta(0))
    listed = small_hall().id
    catalogue.add([listed])
    for _ in range(3):
        reconciler.round()
    assert caplog.text.count(listed) == 1


def test_an_event_whose_worker_died_before_it_was_open_is_opened_without_its_file(
    shop, reconciler, monkeypatch
):
    pay_until(shop, "authorize")
    reconciler.round()
    lose(shop)
    shop.seats.fail("open_event", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        reconciler.round()
    shop.seats.heal()
    restarted = reconciler_of(shop)
    restarted.declare([])
    restarted.round()
    assert not restarted.repairs, "somebody may be opening it"
    monkeypatch.setattr(reconciliation, "OPENING_PATIENCE", timedelta(0))
    restarted.round()
    assert restarted.repairs["reopened"] == 1
    shop.let_leases_run_out()
    restarted.round()
    assert shop.pay().replayed
    shop.hold_again("stalls-B-2")


def test_an_event_whose_file_came_later_waits_to_be_opened_and_is_reported_once(
    shop, reconciler, caplog
):
    caplog.set_level(logging.INFO)
    hall = small_hall()
    for _ in range(3):
        reconciler.declare([shop.event, hall])
        reconciler.round()
    assert hall.id not in shop.catalogue._target.event_ids()
    assert caplog.text.count(hall.id) == 1
    assert f"{hall.id}: its file is there, and it is not on sale; put it on sale" in caplog.text
    put_on_sale(shop.seats._target, hall)
    reconciler.round()
    lose_event(shop.redis, hall.id)
    reconciler.round()
    assert f"reopened: {hall.id} (Redis has lost it)" in caplog.text


def test_a_worker_that_starts_after_the_loss_opens_what_was_sold_though_others_are_listed(shop):
    """Somebody has opened one event before, so that there is a list again."""
    shop.pay()
    lose(shop)
    shop.redis.srem(CATALOGUE_KEY, shop.event.id)
    reconciler_of(shop).round()
    assert shop.state() == "s"


@pytest.fixture
def without_list(shop) -> None:
    """Its server is away. That of the event is not."""
    for method in ("event_ids", "exists", "add"):
        shop.catalogue.fail(method, Unavailable("seat store"))


def test_an_event_that_redis_lost_is_opened_again_without_the_list(shop, reconciler, without_list):
    shop.pay()
    reconciler.round()
    lose(shop)
    reconciler.round()
    assert shop.state() == "s"


def test_without_the_list_a_new_worker_keeps_up_what_is_on_sale_and_opens_nothing(
    shop, reconciler, without_list
):
    never_opened = small_hall()
    reconciler.declare([shop.event, never_opened])
    shop.redis.zadd(f"due:{{{shop.event.id}}}", {shop.hold.id: 0})
    reconciler.round()
    assert shop.state() == "0"
    assert shop.seats._target.revision(never_opened.id) is None


def test_a_redis_that_was_away_for_a_moment_has_lost_nothing(shop, reconciler, monkeypatch):
    hall = small_hall()
    reconciler.declare([shop.event, hall])

    def away():
        raise Unavailable("seat store")

    monkeypatch.setattr(shop.catalogue._target, "event_ids", away)
    reconciler.round()
    monkeypatch.undo()
    assert hall.id not in shop.catalogue._target.event_ids()


def test_an_event_goes_on_as_it_was_on_sale_whatever_its_file_says(shop, reconciler):
    reconciler.round()
    reconciler.declare([replace(shop.event, name="Not opened yet")])
    lose(shop)
    reconciler.round()
    assert shop.catalogue._target.current_event(shop.event.id).name == shop.event.name
    reconciler.declare([])
    lose(shop)
    reconciler.round()
    assert shop.state() == "0"


# ---------------------------------------------------------------- how it goes about it


def test_a_dry_run_says_what_it_would_do_and_does_nothing(shop, caplog):
    pay_until(shop, "authorize")
    shop.let_leases_run_out()
    with caplog.at_level(logging.INFO):
        reconciler_of(shop, dry_run=True).round()
    assert f"would be ended: {shop.hold.id}" in caplog.text
    assert (shop.charges(), shop.state()) == (["authorized"], "p")
    lose(shop)
    with caplog.at_level(logging.INFO):
        reconciler_of(shop, dry_run=True).round()
    assert f"would be reopened: {shop.event.id}" in caplog.text
    with pytest.raises(Unavailable):
        shop.state()


def test_a_dropped_index_stops_the_sale_and_is_made_again(shop, reconciler, monkeypatch):
    monkeypatch.setattr(booking_store, "INDEX_SEEN_FOR_S", 0)
    shop.bookings._target._collection.drop_index("event_1_seats_1")
    with pytest.raises(IndexMissing):
        shop.pay()
    assert shop.state() == "h"
    reconciler.round()
    assert reconciler.repairs["index made"] == 1
    shop.pay()
    assert shop.charges() == ["captured"]


def test_two_workers_at_once_do_no_harm(shop):
    pay_until(shop, "authorize")
    shop.let_leases_run_out()
    first, second = reconciler_of(shop), reconciler_of(shop)
    first.round()
    second.round()
    assert first.repairs["ended"] + second.repairs["ended"] == 1
    assert shop.charges() == ["captured"]


@pytest.fixture
def lapsed(shop) -> list[str]:
    """Of more payments than a worker claims when there are others, the holds."""
    hold_ids = []
    for number in range(1, reconciliation.FEWEST_CLAIMED + 3):
        if hold_ids:
            shop.hold_again(f"stalls-B-{number}")
        hold_ids.append(shop.hold.id)
        pay_until(shop, "authorize")
    shop.let_leases_run_out()
    return hold_ids


def claimed(shop) -> set[str]:
    return set(under_way(shop)) - set(shop.seats._target.lapsed_holds(shop.event.id))


def under_way(shop) -> list[str]:
    return shop.redis.zrange(f"payments:{{{shop.event.id}}}", 0, -1)


def test_a_pile_of_payments_does_not_keep_a_worker_from_anything_else(
    shop, reconciler, lapsed, monkeypatch, seats
):
    monkeypatch.setattr(reconciliation, "ENDING_S", 0)
    other = small_hall()
    put_on_sale(seats, other)
    reconciler.declare([shop.event, other])
    reconciler.round()
    assert reconciler.has_more
    lose_event(shop.redis, other.id)
    reconciler.round()
    assert reconciler.repairs == {"ended": 2, "reopened": 1}
    while reconciler.has_more:
        reconciler.round()
    assert reconciler.repairs["ended"] == len(lapsed)


def test_no_event_waits_for_all_payments_of_another(
    shop, reconciler, lapsed, monkeypatch, seats, bookings
):
    monkeypatch.setattr(reconciliation, "ENDING_S", 0)
    other = small_hall()
    put_on_sale(seats, other)
    neighbour = Shop(other, seats, bookings, shop.gateway._target)
    pay_until(neighbour, "authorize")
    neighbour.let_leases_run_out()
    reconciler.round()
    reconciler.round()
    assert {len(under_way(shop)), len(under_way(neighbour))} == {len(lapsed) - 1, 0}


def test_what_a_worker_is_slow_to_end_is_left_to_others_after_a_lease(shop, lapsed, monkeypatch):
    slow, other = reconciler_of(shop), reconciler_of(shop)
    slow._lease_s = 0.0
    monkeypatch.setattr(reconciliation, "ENDING_S", 0)
    slow.round()  # reads the list for longer than its lease, as it were
    shop.let_leases_run_out()
    monkeypatch.undo()
    other.round()
    slow.round()
    assert (slow.repairs["ended"], other.repairs["ended"]) == (0, len(lapsed))


def test_what_another_worker_has_ended_meanwhile_is_left_out(shop, reconciler, lapsed):
    find_all = shop.gateway._target.find_all

    def meanwhile_another_ends_them(*arguments):
        del shop.gateway.find_all
        shop.let_leases_run_out()
        other = reconciler_of(shop)
        other.round()
        assert other.repairs["ended"] == len(lapsed)
        return find_all(*arguments)

    shop.gateway.find_all = meanwhile_another_ends_them
    reconciler.round()
    assert not reconciler.repairs


def test_a_worker_that_is_asked_to_stop_leaves_its_payments_to_others_at_once(
    shop, lapsed, monkeypatch
):
    monkeypatch.setattr(reconciliation, "ENDING_S", 0)
    stopping, other = reconciler_of(shop), reconciler_of(shop)
    stopping.round()
    assert len(claimed(shop)) == reconciliation.FEWEST_CLAIMED - 1
    stopping.give_back()
    assert not claimed(shop)
    monkeypatch.undo()
    other.round()
    assert other.repairs["ended"] == len(lapsed) - 1


def test_a_round_goes_on_after_what_cannot_be_repaired_now(shop, reconciler):
    pay_until(shop, "insert", "bookings", after=False)
    shop.let_leases_run_out()
    lost = unique("lost")
    shop.catalogue._target.add([lost])  # no file declares it
    shop.gateway.fail("find_all", OutcomeUnknown("down"))
    shop.gateway.fail("list", OutcomeUnknown("down"))
    reconciler.round()
    assert shop.state() == "p"
    shop.gateway.heal()
    shop.let_leases_run_out()
    reconciler.round()
    assert shop.state() == "s"
    shop.redis.srem(CATALOGUE_KEY, lost)


def test_a_round_without_redis_or_mongodb_waits_for_the_next(shop, reconciler):
    for part, method in (
        (shop.catalogue, "event_ids"),
        (shop.catalogue, "add"),
        (shop.seats, "revision"),
    ):
        part.fail(method, Unavailable("seats"))
    reconciler.round()
    assert not reconciler.repairs


# ---------------------------------------------------------------- many events


@pytest.fixture
def neighbours(seats):
    halls = [small_hall() for _ in range(100)]
    for hall in halls:
        put_on_sale(seats, hall)
    return halls


def calls_of_a_round(shop, reconciler) -> list[str]:
    """What it asks Redis and MongoDB."""
    stores = shop.catalogue, shop.seats, shop.bookings
    for store in stores:
        store.calls.clear()
    reconciler.round()
    return [call for store in stores for call in store.calls]


def test_a_round_over_a_hundred_quiet_events_asks_as_often_as_over_one(
    shop, reconciler, neighbours
):
    # A new worker compares each event once, in each round one at least.
    rounds = range(len([shop.event, *neighbours]) + 1)
    assert any("sold_seats" not in calls_of_a_round(shop, reconciler) for _ in rounds)
    assert calls_of_a_round(shop, reconciler) == [
        "event_ids",
        "histories",
        "maintenance_due",
        "require_index",
    ]


def test_what_a_hundred_events_need_is_asked_in_few_round_trips(seats, neighbours, monkeypatch):
    trips = []
    commands = commands_of(seats)
    pipeline = commands.pipeline
    monkeypatch.setattr(
        commands, "pipeline", lambda **options: trips.append(options) or pipeline(**options)
    )
    upkeep = seats.maintenance_due([hall.id for hall in neighbours], seen={})
    assert [hall.version for hall in neighbours] == [found.version for found in upkeep.values()]
    assert 1 <= len(trips) <= 3


def test_sold_seats_are_compared_again_when_the_event_has_changed(shop, reconciler, monkeypatch):
    monkeypatch.setattr(seat_comparison, "LOOK_EVERY", timedelta(0))
    assert "sold_seats" in calls_of_a_round(shop, reconciler)
    assert "sold_seats" not in calls_of_a_round(shop, reconciler)
    shop.pay()
    assert "sold_seats" in calls_of_a_round(shop, reconciler)
    monkeypatch.setattr(seat_comparison, "WHOLE_EVERY", timedelta(0))
    assert "sold_seats" in calls_of_a_round(shop, reconciler), "unchanged, but long ago"


def test_an_event_that_cannot_be_compared_now_waits_a_minute_and_holds_up_no_other(
    shop, reconciler, seats, monkeypatch
):
    monkeypatch.setattr(reconciliation, "COMPARING_S", 0)
    shop.bookings.fail("sold_seats", Unavailable("bookings"), times=1)
    put_on_sale(seats, small_hall())
    assert "sold_seats" in calls_of_a_round(shop, reconciler)
    assert "sold_seats" in calls_of_a_round(shop, reconciler), "the other's turn"
    assert "sold_seats" not in calls_of_a_round(shop, reconciler)
    monkeypatch.setattr(seat_comparison, "LOOK_EVERY", timedelta(0))
    assert "sold_seats" in calls_of_a_round(shop, reconciler)
    assert "sold_seats" not in calls_of_a_round(shop, reconciler)


def test_events_take_turns_when_there_is_no_time_to_compare_them_all(
    shop, reconciler, seats, monkeypatch
):
    monkeypatch.setattr(reconciliation, "COMPARING_S", 0)
    monkeypatch.setattr(seat_comparison, "WHOLE_EVERY", timedelta(0))
    monkeypatch.setattr(seat_comparison, "PORTION_EVERY", timedelta(0))
    for _ in range(2):
        put_on_sale(seats, small_hall())
    compared = []
    read_seats = seats.read_seats
    monkeypatch.setattr(seats, "read_seats", lambda e: compared.append(e) or read_seats(e))
    for _ in range(6):
        reconciler.round()
    assert len(set(compared[:3])) == 3
    assert compared[3:] == compared[:3]


def test_an_event_that_cannot_be_read_holds_up_no_other(shop, reconciler, catalogue, raw_redis):
    pay_until(shop, "authorize", after=False)
    shop.let_leases_run_out()
    broken = small_hall()
    catalogue.add([broken.id])
    raw_redis.set(f"event:{{{broken.id}}}", "no hash")
    reconciler.round()
    assert reconciler.repairs["ended"] == 1
