"""Redis is lost between a payment's last check there and its insert. Until that payment must have
ended, no buyer is told that nothing was charged."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from tests.support.application import application_with
from tests.support.factories import (
    BUYER,
    WAY_BACK,
    a_booking,
    be_sure,
    put_on_sale,
    small_hall,
    unique,
)
from tests.support.redis_stores import seats_on
from tests.support.shop import TOKENS, Shop, going_back, lose, reconciler_of, undo_payment
from web.adapters.mongodb.client import CALL_TIMEOUT_S
from web.adapters.redis.event_scripts import ASK_AGAIN_S
from web.adapters.stripe.gateway import StripeGateway
from web.domain.refusals import (
    NOT_COMPLETED,
    AlreadyBooked,
    EarlierRefusal,
    EventChanged,
    HoldExpired,
    IdempotencyKeyReused,
    InvalidRequest,
    NotKnownNow,
    PaymentDeclined,
    PaymentNotFound,
    PaymentPending,
    SeatTaken,
    Unavailable,
)
from web.domain.sales import LAST_STEP_S
from web.ports.payment_gateway import NotAccepted, NotExecuted
from web.use_cases import gateway_ledger, opening, reconciliation
from web.use_cases.checkout import _digest
from web.use_cases.opening import Opening
from web.use_cases.payment_steps import INSERT_TRIES
from web.use_cases.reconciliation import Reconciler

INSERT_S = INSERT_TRIES * CALL_TIMEOUT_S


@pytest.fixture
def shop(event, seats, bookings, sandbox):
    return Shop(event, seats, bookings, StripeGateway("sk_test_loss", sandbox.url))


def rebuild_event(shop: Shop) -> None:
    Opening(shop.catalogue, shop.seats, shop.bookings, shop.gateway).open_event(shop.event)


def rebuild_event_elsewhere(shop: Shop) -> None:
    """In another process, so that this one does not know the new epoch."""
    seats = seats_on(shop.redis_servers)
    Opening(seats._catalogue, seats, shop.bookings, shop.gateway).open_event(shop.event)


def pay_while(shop: Shop, happens: Callable[[], None]) -> None:
    """``happens`` between the payment's last look at Redis and its insert."""
    insert = shop.bookings.insert

    def slowly(booking):
        del shop.bookings.insert
        happens()
        return insert(booking)

    shop.bookings.insert = slowly
    shop.pay()


def ask_in_every_way(shop: Shop) -> None:
    for ask in (shop.pay, lambda: shop.pay("another key")):
        with pytest.raises(NotKnownNow):
            ask()
    for look in (shop.box_office.hold, shop.box_office.extend, shop.box_office.release):
        with pytest.raises(NotKnownNow):
            look(shop.ref)
    with pytest.raises(PaymentPending):
        shop.checkout.payment(shop.ref, _digest(shop.hold.id, "key"))


@pytest.mark.parametrize("how", ["it costs nothing", "the list cannot be read", "the list is late"])
def test_a_payment_that_redis_has_lost_is_not_called_off_before_it_must_have_ended(shop, how):
    if how == "it costs nothing":
        shop.hold_again("free-F-1")

    def redis_is_lost():
        lose(shop)
        if how == "the list cannot be read":
            shop.gateway.fail("list", NotExecuted("down"))
        elif how == "the list is late":
            shop.gateway.list = lambda since: iter(())
        rebuild_event(shop)
        ask_in_every_way(shop)

    pay_while(shop, redis_is_lost)
    assert shop.pay().replayed
    with pytest.raises(AlreadyBooked):
        shop.box_office.release(shop.ref)
    with pytest.raises(AlreadyBooked):
        shop.box_office.extend(shop.ref)
    assert shop.state() == "s"


def test_a_payment_that_redis_has_lost_is_not_called_off_when_redis_went_back_in_time(
    shop,
):
    go_back = going_back(shop)
    shop.hold_again("free-F-1")
    reconciler = reconciler_of(shop)
    reconciler.round()

    def redis_goes_back():
        go_back()
        reconciler.round()
        ask_in_every_way(shop)

    pay_while(shop, redis_goes_back)
    assert shop.pay().replayed


def test_after_that_it_is_known_that_nothing_was_charged(shop):
    lose(shop)
    rebuild_event(shop)
    until_ms = int(shop.redis.hget(f"event:{{{shop.event.id}}}", "unsure_until_ms"))
    assert LAST_STEP_S - 5 < until_ms / 1000 - time.time() <= LAST_STEP_S
    with pytest.raises(NotKnownNow):
        shop.pay()
    be_sure(shop.redis, shop.event.id)
    with pytest.raises(HoldExpired):
        shop.pay()
    with pytest.raises(PaymentNotFound):
        shop.checkout.payment(shop.ref, "digest")
    shop.box_office.release(shop.ref)


@pytest.mark.parametrize("list_is", ["unreadable", "too long", "of somebody else's seat"])
def test_while_money_may_be_reserved_for_it_nobody_is_told_that_nothing_was_charged(
    shop, list_is, monkeypatch
):
    """The event was built without this payment. A second loss would bring it back."""
    shop.gateway.fail("authorize", KeyboardInterrupt(), after=True)
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.gateway.heal()
    first = shop.hold, shop.ref
    shop.hold_again("stalls-B-2")
    shop.pay("newer, so that it is listed before")
    shop.hold, shop.ref = first
    lose(shop)
    if list_is == "unreadable":
        shop.gateway.fail("list", NotExecuted("down"))
    elif list_is == "too long":
        monkeypatch.setattr(opening, "LISTING_S", -1)
    else:
        shop.bookings._target.insert(a_booking(shop.event.id, "stalls-B-1"))
    rebuild_event(shop)
    shop.gateway.heal()
    shop.redis.hset(f"event:{{{shop.event.id}}}", "unsure_until_ms", 0)

    ask_in_every_way(shop)
    reconciler_of(shop).round()
    ask_in_every_way(shop)
    monkeypatch.setattr(reconciliation, "LAST_STEP", timedelta(seconds=-1))
    shop.gateway.fail("void", NotExecuted("down"))
    reconciler_of(shop).round()
    ask_in_every_way(shop)
    shop.gateway.heal()
    reconciler = reconciler_of(shop)
    reconciler.round()
    while reconciler.has_more:  # The list is read a page at a time.
        reconciler.round()
    assert shop.charges() == ["voided"]
    with pytest.raises(HoldExpired):
        shop.pay()


@pytest.mark.parametrize("whose", ["its booking's", "another of the same hold"])
def test_money_for_a_hold_that_is_booked_keeps_no_other_buyer_waiting(shop, whose):
    """Its booking decides the answers to its keys, whatever happens to the money."""
    other = shop.hold, shop.ref
    shop.hold_again("stalls-B-2")
    shop.bookings.fail("insert", KeyboardInterrupt(), after=True)
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.bookings.heal()
    if whose != "its booking's":
        metadata = next(shop.gateway._target.list(shop.began)).metadata
        shop.gateway.capture(shop.booking().payment_id)
        shop.gateway.authorize(f"{shop.hold.id}-2", 2500, "GBP", "pm_card_visa", metadata, WAY_BACK)
    assert "authorized" in shop.charges()
    lose(shop)
    rebuild_event(shop)
    be_sure(shop.redis, shop.event.id)
    assert shop.pay().replayed
    shop.hold, shop.ref = other
    with pytest.raises(HoldExpired):
        shop.pay()


@pytest.fixture
def unsettled(shop, monkeypatch):
    """The event was built without a payment whose money is still reserved; that was long ago."""
    break_off_after(shop, "authorize")
    lose(shop)
    shop.gateway.fail("list", NotExecuted("down"))
    rebuild_event(shop)
    shop.gateway.heal()
    be_sure(shop.redis, shop.event.id)
    monkeypatch.setattr(reconciliation, "LAST_STEP", timedelta(seconds=-1))
    monkeypatch.setattr(gateway_ledger, "LEDGER_PAGE", 1)
    monkeypatch.setattr(reconciliation, "COMPARING_S", 0)
    with pytest.raises(NotKnownNow):
        shop.pay()


def compare_all(reconciler: Reconciler) -> None:
    """The list is read a page at a time."""
    reconciler.round()
    while reconciler.has_more:
        reconciler.round()


def is_settled(shop: Shop) -> bool:
    try:
        shop.box_office.hold(shop.ref)
    except HoldExpired:
        return True
    except NotKnownNow:
        return False


@pytest.fixture
def neighbour(seats, bookings, shop):
    """Another event, whose name comes first."""
    hall = replace(small_hall(), id=unique("a-hall"))
    put_on_sale(seats, hall)
    return Shop(hall, seats, bookings, shop.gateway._target)


@pytest.mark.usefixtures("unsettled")
def test_an_event_that_cannot_be_opened_keeps_no_buyer_of_another_waiting(
    shop, neighbour, bookings
):
    reconciler = reconciler_of(shop)
    reconciler.declare([neighbour.event, shop.event])
    bookings.insert(a_booking(neighbour.event.id, "gone-A-1"))
    lose(neighbour)
    compare_all(reconciler)
    assert reconciler.not_done > 1, "in every round"
    assert shop.charges() == ["voided"]
    assert is_settled(shop)


@pytest.mark.usefixtures("unsettled")
def test_money_of_another_event_that_cannot_be_released_keeps_no_buyer_waiting(shop, neighbour):
    break_off_after(neighbour, "authorize")
    undo_payment(neighbour)
    neighbours, void = next(shop.gateway._target.list(shop.began)), shop.gateway._target.void

    def only_the_shops(payment_id):
        if payment_id == neighbours.payment_id:
            raise NotExecuted("it cannot be released")
        void(payment_id)

    shop.gateway.void = only_the_shops
    compare_all(reconciler_of(shop))
    assert (shop.charges(), neighbour.charges()) == (["voided"], ["authorized"])
    assert is_settled(shop)


@pytest.mark.usefixtures("unsettled")
def test_money_of_a_booking_that_cannot_be_captured_keeps_no_other_buyer_waiting(shop):
    other = shop.hold, shop.ref
    shop.hold_again("stalls-B-2")
    shop.gateway.fail("capture", NotExecuted("down"))
    with pytest.raises(PaymentPending):
        shop.pay()
    compare_all(reconciler_of(shop))
    assert shop.charges() == ["authorized"]
    shop.hold, shop.ref = other
    assert is_settled(shop)


@pytest.mark.usefixtures("unsettled")
def test_an_event_that_cannot_be_settled_keeps_no_buyer_of_another_waiting(shop, neighbour):
    settle_epoch = shop.seats._target.settle_epoch
    shop.redis.hset(f"event:{{{neighbour.event.id}}}", "unsettled", 1)

    def only_the_shops(event_id, epoch):
        if event_id == neighbour.event.id:
            raise Unavailable("seats")
        settle_epoch(event_id, epoch)

    shop.seats.settle_epoch = only_the_shops
    compare_all(reconciler_of(shop))
    assert is_settled(shop)


@pytest.mark.usefixtures("unsettled")
def test_a_payment_that_redis_cannot_tell_of_now_may_still_have_money_reserved(shop):
    shop.seats.fail("read_payment", Unavailable("seats"))
    compare_all(reconciler_of(shop))
    assert shop.charges() == ["authorized"]
    assert not is_settled(shop)
    shop.seats.heal()
    compare_all(reconciler_of(shop))
    assert shop.charges() == ["voided"]
    assert is_settled(shop)


def test_the_last_step_of_a_payment_is_shorter_than_the_time_that_is_waited_for_it():
    assert 1.5 * INSERT_S <= LAST_STEP_S


def test_holds_made_after_the_event_was_built_are_known_at_once(shop):
    """Also by a process that knew it before, and when it is on sale for the first time."""
    lose(shop)
    rebuild_event_elsewhere(shop)
    shop.hold_again("stalls-B-2")
    shop.box_office.release(shop.ref)
    with pytest.raises(HoldExpired):
        shop.pay()
    with pytest.raises(HoldExpired):
        shop.box_office.hold(shop.ref)


def test_a_hold_is_not_made_under_an_epoch_that_is_over(shop, seats):
    lose(shop)
    rebuild_event_elsewhere(shop)
    with pytest.raises(EventChanged):
        seats.hold_seats(shop.event, TOKENS.new_hold_id("0a1b2c"), "ada", [0])


def test_holds_of_a_former_release_go_on(shop, catalogue):
    """Their ids have no epoch, and neither has an event that it opened."""
    shop.redis.hdel(f"event:{{{shop.event.id}}}", "epoch", "unsure_until_ms")
    catalogue.current_event(shop.event.id)
    shop.hold_again("stalls-B-2")
    assert shop.hold.id.count("_") == 1
    shop.pay()
    shop.hold_again("stalls-B-3")
    shop.box_office.release(shop.ref)
    with pytest.raises(HoldExpired):
        shop.pay()
    lose(shop)
    rebuild_event(shop)
    with pytest.raises(NotKnownNow):
        shop.pay()


def test_a_worker_looks_at_redis_once_more_before_it_books(shop):
    """It has claimed fifty payments, and ends them one after the other."""
    shop.hold_again("free-F-1")
    shop.bookings.fail("insert", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.bookings.heal()
    shop.let_leases_run_out()
    payment = shop.seats._target.claim_lapsed_payment(shop.event)
    lose(shop)
    rebuild_event(shop)
    be_sure(shop.redis, shop.event.id)
    with pytest.raises(HoldExpired):
        shop.pay()
    with pytest.raises(PaymentPending):
        shop.checkout.resume(payment)
    assert shop.booking() is None


# ---------------------------------------------------------------- what it looks like


@pytest.fixture
def client(private_redis_url, mongo_server, sandbox) -> FlaskClient:
    app = application_with(
        REDIS_URL=private_redis_url,
        MONGODB_URI=mongo_server.url.replace("/tickets", "/private"),
        STRIPE_API_BASE=sandbox.url,
        RATE_LIMIT="1000/second",
    )
    return app.test_client()


def test_a_client_is_asked_to_come_back(shop, client):
    made = client.post(f"/api/events/{shop.event.id}/seats/stalls-A-1/hold")
    path, token = made.headers["Location"], made.json["hold_token"]
    lose(shop)
    rebuild_event(shop)
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "key"}
    buyer = {"payment_method": "pm_card_visa", "email": "ada@example.org", "name": "Ada"}
    for answer in (
        client.post(f"{path}/pay", json=buyer, headers=headers),
        client.get(path, headers=headers),
        client.delete(path, headers=headers),
        client.post(f"{path}/extend", headers=headers),
    ):
        assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
        assert 1 <= int(answer.headers["Retry-After"]) <= ASK_AGAIN_S
    asked = client.get(f"{path}/payments/digest", headers=headers)
    assert (asked.status_code, asked.json["status"]) == (202, "paying")


# ---------------------------------------------------------------- a refusal stays


DECLINED = replace(BUYER, payment_method="pm_card_visa_chargeDeclinedInsufficientFunds")


@pytest.fixture
def go_back(shop):
    """Redis has the state from when the hold was made. No worker has noticed it yet."""
    to_the_hold = going_back(shop)

    def go_back() -> None:
        to_the_hold()
        # No server starts or takes over within the millisecond in which a payment begins.
        time.sleep(0.002)

    return go_back


def lose_receipts(shop: Shop) -> None:
    for key in shop.redis.keys(f"receipt:{{{shop.event.id}}}:*"):
        shop.redis.delete(key)


@pytest.fixture(params=["goes back", "goes back, and the worker looks", "loses the receipt"])
def loss(request, shop, go_back):
    def happens() -> None:
        if request.param == "loses the receipt":
            return lose_receipts(shop)
        reconciler = reconciler_of(shop)
        reconciler.round()
        go_back()
        if "worker" in request.param:
            reconciler.round()

    return happens


def declined(shop: Shop, buyer=DECLINED) -> dict:
    """What the refusal says."""
    with pytest.raises((PaymentDeclined, EarlierRefusal)) as refused:
        shop.pay(buyer=buyer)
    return vars(getattr(refused.value, "refusal", refused.value))


def broken_off(shop: Shop) -> None:
    """Before the card was charged; the worker says so."""
    shop.gateway.fail("authorize", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.gateway.heal()
    shop.work()


def test_a_refused_card_stays_refused(shop, loss):
    first = declined(shop)
    loss()
    assert declined(shop) == first
    assert declined(shop) == first
    assert shop.charges() in (["declined"], ["voided"]), "nobody asks the bank again"
    shop.pay("another key")
    assert shop.charges()[0] == "captured" and len(shop.charges()) == 2


def test_a_payment_that_broke_off_stays_undone(shop, loss):
    broken_off(shop)
    first = declined(shop, BUYER)
    assert first["reason"] == NOT_COMPLETED
    loss()
    assert declined(shop, BUYER) == first
    assert shop.charges() == []
    shop.pay("another key")


@pytest.mark.parametrize("name", ["Ada Lovelace", "Somebody else"])
def test_a_key_that_was_refused_is_good_for_no_other_card(shop, loss, name):
    first = declined(shop)
    loss()
    for _ in range(2):
        with pytest.raises(IdempotencyKeyReused):
            shop.pay(buyer=replace(BUYER, name=name))
    assert declined(shop) == first
    assert shop.charges() in (["declined"], ["voided"])


def test_a_key_whose_payment_broke_off_is_good_for_no_other_card(shop, loss):
    broken_off(shop)
    first = declined(shop, BUYER)
    loss()
    for _ in range(2):
        with pytest.raises(IdempotencyKeyReused):
            shop.pay(buyer=DECLINED)
    assert declined(shop, BUYER) == first
    assert shop.charges() == []


def test_a_lost_seat_stays_lost(shop, loss):
    shop.bookings._target.insert(a_booking(shop.event.id, "stalls-B-1"))
    with pytest.raises(SeatTaken):
        shop.pay()
    loss()
    for _ in range(2):
        with pytest.raises((SeatTaken, EarlierRefusal, HoldExpired, NotKnownNow)):
            shop.pay()
    assert shop.charges() == ["voided"]


def test_a_receipt_stays_a_receipt(shop, loss):
    receipt = shop.pay().receipt
    loss()
    assert shop.pay().receipt == receipt
    with pytest.raises(IdempotencyKeyReused):
        shop.pay(buyer=DECLINED)
    assert shop.charges() == ["captured"]


def test_the_worker_ends_a_repeated_payment_with_its_first_answer(shop, go_back):
    """The process that repeats it is killed at its beginning."""
    first = declined(shop)
    go_back()
    shop.gateway.fail("authorize", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        shop.pay(buyer=DECLINED)
    shop.gateway.heal()
    shop.work()
    assert declined(shop) == first


def test_while_the_gateway_cannot_say_what_became_of_a_key_its_answer_is_not_final(shop, go_back):
    first = declined(shop)
    go_back()
    shop.gateway.fail("find", NotExecuted("down"))
    with pytest.raises(PaymentPending):
        shop.pay(buyer=DECLINED)
    shop.gateway.heal()
    shop.work()
    assert declined(shop) == first


@pytest.mark.parametrize("answer", [PaymentDeclined("card_declined", "No."), None])
def test_a_payment_that_redis_has_forgotten_does_not_end_the_next_one(shop, go_back, answer):
    """Both are the first payment of their hold, as Redis counts them."""
    forgotten = shop.seats.begin_payment(shop.event, shop.hold.id, DECLINED, "first", "print")
    go_back()
    payment = shop.seats.begin_payment(shop.event, shop.hold.id, BUYER, "second", "print")
    assert not shop.seats.renew_lease(forgotten)
    assert shop.seats.undo_payment(forgotten, answer) is None
    assert shop.seats.read_payment(shop.event.id, shop.hold.id, "second") is None
    assert shop.seats.renew_lease(payment)


def test_money_that_redis_has_forgotten_is_left_to_whoever_is_at_work_with_it(shop, go_back):
    """A key whose payment is authorised is not charged again, and the worker finishes it."""
    shop.bookings.fail("insert", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.bookings.heal()
    go_back()
    with pytest.raises(PaymentPending):
        shop.pay()
    shop.work()
    assert shop.pay().replayed
    assert shop.charges() == ["captured"]


def test_a_key_that_came_with_no_such_card_is_good_for_another_one(shop):
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            shop.pay(buyer=replace(BUYER, payment_method="pm_card_none"))
    shop.pay()


def test_a_gateway_may_remember_a_key_that_came_with_no_such_card(shop):
    keys, authorize = [], shop.gateway._target.authorize

    def watched(key, *arguments):
        keys.append(key)
        return authorize(key, *arguments)

    shop.gateway.authorize = watched
    test_a_key_that_came_with_no_such_card_is_good_for_another_one(shop)
    assert len(set(keys)) == 3


def test_a_hold_remembers_the_newest_answers_only(shop):
    """However often somebody asks for what the gateway does not take."""
    shop.gateway.fail("authorize", NotAccepted("too little"))
    for number in range(30):
        with pytest.raises(PaymentDeclined):
            shop.pay(f"key {number}")
    hold = shop.redis.hget(f"holds:{{{shop.event.id}}}", shop.hold.id)
    assert len(json.loads(hold)["keys"]) == 10


@pytest.mark.parametrize("seat", ["stalls-B-2", "free-F-1"])
@pytest.mark.parametrize("it_was", ["held", "being paid for"])
def test_what_was_lost_once_does_not_come_back_with_an_older_file(shop, raw_redis, seat, it_was):
    """Its buyer may have been told that nothing was charged, and that the hold is over."""
    shop.hold_again(seat)
    if it_was == "being paid for":
        shop.bookings.fail("insert", KeyboardInterrupt())
        if seat.startswith("stalls"):
            shop.gateway.fail("authorize", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            shop.pay()
        shop.bookings.heal()
        shop.gateway.heal()
    before = {key: raw_redis.dump(key) for key in raw_redis.keys(f"*{{{shop.event.id}}}*")}
    reconciler = reconciler_of(shop)
    reconciler.round()
    lose(shop)
    reconciler.round()
    reconciler.round()
    be_sure(shop.redis, shop.event.id)
    with pytest.raises(HoldExpired):
        shop.pay()
    lose(shop)
    for key, value in before.items():
        raw_redis.restore(key, 0, value)
    reconciler.round()
    shop.let_leases_run_out()
    reconciler.round()
    with pytest.raises(NotKnownNow):
        shop.pay()
    be_sure(shop.redis, shop.event.id)
    with pytest.raises(HoldExpired):
        shop.pay()
    assert shop.booking() is None


# ---------------------------------------------------------------- Redis is lost twice


def worker_of(shop: Shop) -> Reconciler:
    """With leases as they are: it does not release the money of a moment ago."""
    return Reconciler(
        shop.catalogue, shop.seats, shop.bookings, shop.gateway, shop.checkout, [shop.event]
    )


def lose_and_look(shop: Shop, *workers: Reconciler) -> None:
    """The event is built again, and each of the workers sees it as it is then."""
    lose(shop)
    for worker in workers * 2:
        worker.round()


def end_lapsed_payments(shop: Shop, worker: Reconciler) -> None:
    worker.round()  # another may have built the event
    shop.let_leases_run_out()
    worker.round()


def break_off_after(shop: Shop, method: str) -> None:
    """The process is killed when the call has had its effect."""
    party = shop.gateway if method == "authorize" else shop.seats
    party.fail(method, KeyboardInterrupt(), after=True)
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    party.heal()


@pytest.mark.parametrize(
    "at_first",
    ["it was on its way", "the list was late", "the list was late, and Redis went back to before"],
)
def test_money_whose_buyer_has_heard_no_is_not_revived_by_a_second_loss(shop, at_first):
    worker, go_back = worker_of(shop), going_back(shop)
    if "back" in at_first:
        shop.hold_again("stalls-B-2")
    worker.round()
    if "on its way" in at_first:
        authorize, calls = shop.gateway._target.authorize, []
        shop.gateway.authorize = lambda *call: calls.append(call) or break_here()
        with pytest.raises(KeyboardInterrupt):
            shop.pay()
        lose_and_look(shop, worker)
        authorize(*calls[0])
    else:
        break_off_after(shop, "authorize")
        shop.gateway.list = lambda since: iter(())
        if "back" in at_first:
            go_back()
            worker.round()
            worker.round()
        else:
            lose_and_look(shop, worker)
        del shop.gateway.list
    be_sure(shop.redis, shop.event.id)
    with pytest.raises(HoldExpired):
        shop.pay()

    lose_and_look(shop, worker)
    end_lapsed_payments(shop, worker)
    assert shop.booking() is None
    assert shop.charges() == ["authorized"], "the worker releases it, two leases later"


def break_here():
    raise KeyboardInterrupt


@pytest.mark.parametrize("worker_that_builds", ["the same", "another"])
def test_a_payment_that_was_under_way_at_both_losses_is_booked(shop, worker_that_builds):
    worker, other = worker_of(shop), worker_of(shop)
    worker.round()
    break_off_after(shop, "authorize")
    lose_and_look(shop, worker, other)
    lose_and_look(shop, worker if worker_that_builds == "the same" else other)
    end_lapsed_payments(shop, worker)
    assert shop.pay().replayed
    assert shop.charges() == ["captured"]


def test_a_payment_that_was_begun_between_two_losses_is_booked(shop):
    worker = worker_of(shop)
    lose_and_look(shop, worker)
    shop.hold_again("stalls-B-2")
    break_off_after(shop, "authorize")
    lose_and_look(shop, worker)
    end_lapsed_payments(shop, worker)
    assert shop.pay().replayed


def test_a_payment_that_redis_still_had_when_it_went_back_in_time_is_booked_after_a_loss(
    shop, raw_redis
):
    worker, key = worker_of(shop), f"event:{{{shop.event.id}}}"
    break_off_after(shop, "authorize")
    before = {name: raw_redis.dump(name) for name in raw_redis.keys(f"*{{{shop.event.id}}}*")}
    epoch, paid = raw_redis.hget(key, "epoch"), (shop.hold, shop.ref)
    shop.hold_again("stalls-B-2")
    worker.round()
    lose(shop)
    for name, value in before.items():
        raw_redis.restore(name, 0, value)
    worker.round()
    worker.round()
    assert raw_redis.hget(key, "epoch") != epoch

    shop.hold, shop.ref = paid
    lose_and_look(shop, worker)
    end_lapsed_payments(shop, worker)
    assert shop.pay().replayed
