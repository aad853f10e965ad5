"""Payments whose steps fail, on real Redis, MongoDB and sandbox.

The one thing that is not real is the fault: a wrapper around the real gateway or store fails in
the named call, before the call's effect or after it.
"""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from redis import ResponseError

from ops.servers import REPOSITORY
from tests.support.factories import BUYER, WAY_BACK, a_booking, put_on_sale, small_hall
from tests.support.shop import TOKENS, Shop, going_back, lose, undo_payment
from web.adapters.mongodb.client import CALL_TIMEOUT_S
from web.adapters.redis import seat_store
from web.adapters.stripe.connection import CONNECT_TIMEOUT_S, READ_TIMEOUT_S
from web.adapters.stripe.gateway import MAX_WAIT_S, StripeGateway
from web.domain.refusals import (
    NOT_COMPLETED,
    AlreadyBooked,
    EarlierRefusal,
    EventChanged,
    EventNotFound,
    HoldExpired,
    IdempotencyKeyReused,
    PaymentDeclined,
    PaymentInProgress,
    PaymentPending,
    PaymentsBusy,
    PaymentsClosed,
    SeatTaken,
    Unavailable,
)
from web.domain.sales import DEFAULT_LEASE_S, LAST_STEP_S, MAX_REFUSED_CARDS, booking_id_of
from web.ports.booking_store import InsertUnknown
from web.ports.payment_gateway import NotAccepted, NotAllowed, NotExecuted, OutcomeUnknown, TooBusy
from web.ports.seat_store import SEAT_STORE
from web.use_cases import checkout, opening
from web.use_cases.checkout import Checkout
from web.use_cases.current_event import DEFINITION_TRIES
from web.use_cases.opening import Opening
from web.use_cases.payment_steps import INSERT_TRIES

NGINX_PROXY = (REPOSITORY / "ops/nginx/proxy.conf.j2").read_text()
LONGEST_LEASE_S = 3600
"""That the settings allow."""


@pytest.fixture
def shop(event, seats, bookings, sandbox):
    return Shop(event, seats, bookings, StripeGateway("sk_test_checkout", sandbox.url))


def test_the_steps_of_a_payment_stand_in_the_order_of_the_design(shop):
    every_call = []
    for part in (shop.seats, shop.bookings, shop.gateway):
        part.calls = every_call
    shop.pay()
    steps = ("begin_payment", "authorize", "insert", "capture", "confirm_booking")
    assert [name for name in every_call if name in steps] == list(steps)


def test_a_paid_seat_is_sold_charged_and_booked(shop):
    receipt = shop.pay().receipt
    assert shop.state() == "s"
    assert shop.charges() == ["captured"]
    assert shop.booking().receipt() == receipt


def test_a_process_that_was_stopped_for_longer_than_its_lease_books_nothing(shop):
    """The worker may have undone the payment and told its buyer so."""
    shop.checkout._steps.fence_s = 0.2
    authorize = shop.gateway.authorize

    def stopped(*arguments):
        time.sleep(0.3)
        return authorize(*arguments)

    shop.gateway.authorize = stopped
    with pytest.raises(PaymentPending):
        shop.pay()
    assert shop.booking() is None


def test_a_process_that_finds_its_payment_undone_charges_nothing(shop):
    authorize = shop.gateway.authorize

    def meanwhile_the_worker_undid_it(*arguments):
        shop.work()
        shop.box_office.release(shop.ref)
        return authorize(*arguments)

    shop.gateway.authorize = meanwhile_the_worker_undid_it
    heard = []
    for _ in range(2):
        with pytest.raises(EarlierRefusal) as final:
            shop.pay()
        heard.append(final.value.refusal)
    assert heard[0].reason == NOT_COMPLETED
    assert vars(heard[0]) == vars(heard[1]), "one final answer"
    assert shop.booking() is None
    assert shop.charges() == []


def test_a_payment_that_redis_forgets_in_the_middle_is_left_to_the_worker(shop):
    authorize = shop.gateway.authorize

    def meanwhile_redis_lost_it(*arguments):
        lose(shop)
        return authorize(*arguments)

    shop.gateway.authorize = meanwhile_redis_lost_it
    with pytest.raises(PaymentPending):
        shop.pay()
    Opening(shop.catalogue, shop.seats, shop.bookings, shop.gateway).open_event(shop.event)
    assert shop.state() == "p"
    shop.work()
    assert shop.pay().receipt == shop.booking().receipt()
    assert shop.charges() == ["captured"]


def test_a_lease_is_renewed_for_the_attempt_that_is_under_way_only(shop):
    begin, store = shop.seats._target.begin_payment, shop.seats._target
    first = begin(shop.event, shop.hold.id, BUYER, "key-1", "fingerprint")
    assert store.renew_lease(first)
    store.undo_payment(first, None)
    assert not store.renew_lease(first)
    second = begin(shop.event, shop.hold.id, BUYER, "key-2", "fingerprint")
    assert not store.renew_lease(first)
    assert store.renew_lease(second)


def test_an_event_that_is_edited_at_every_look_asks_its_buyer_to_come_again(shop):
    shop.seats.fail("begin_payment", EventChanged())
    with pytest.raises(Unavailable):
        shop.pay()
    assert shop.seats.calls.count("begin_payment") == DEFINITION_TRIES
    shop.seats.heal()
    assert not shop.pay().replayed


@pytest.mark.parametrize("error", [EventNotFound("x"), ResponseError("MISCONF"), KeyError("bug")])
def test_a_receipt_stands_whatever_is_wrong_with_redis_after_the_commit(shop, error):
    shop.seats.fail("confirm_booking", error)
    assert shop.pay().receipt == shop.booking().receipt()
    assert shop.charges() == ["captured"]


def test_a_redis_that_is_away_after_the_commit_is_one_line_in_the_log(shop, caplog):
    shop.seats.fail("confirm_booking", Unavailable(SEAT_STORE))
    shop.pay()
    (told,) = (record for record in caplog.records if "could not be told" in record.message)
    assert not told.exc_info


def test_a_hold_that_redis_remembers_as_unpaid_is_not_paid_again(shop):
    """Redis went back in time: it has forgotten the payment, MongoDB has not."""
    go_back = going_back(shop)
    shop.pay()
    go_back()
    for _ in range(2):
        with pytest.raises(AlreadyBooked):
            shop.pay("another key", replace(BUYER, name="Eve"))
    assert shop.state() == "s"
    assert sorted(shop.charges()) == ["captured", "voided"]


def test_a_payment_that_a_repeat_has_begun_again_keeps_its_money(shop):
    """Redis went back to before the payment, and the buyer sent it again."""
    authorize, go_back = shop.gateway.authorize, going_back(shop)

    def meanwhile_begun_again(*arguments):
        authorized = authorize(*arguments)
        del shop.gateway.authorize
        go_back()
        shop.gateway.fail("authorize", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            shop.pay()
        shop.gateway.heal()
        return authorized

    shop.gateway.authorize = meanwhile_begun_again
    with pytest.raises(PaymentPending):
        shop.pay()
    assert (shop.state(), shop.charges()) == ("p", ["authorized"])
    shop.work()
    assert (shop.state(), shop.charges()) == ("s", ["captured"])


def test_a_retired_key_learns_of_the_booking_with_another_key_and_redis_does_too(shop):
    go_back = going_back(shop)
    shop.gateway.fail("authorize", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.gateway.heal()
    shop.work()  # retires the key
    go_back()
    shop.pay("another key")
    go_back()
    with pytest.raises(AlreadyBooked):
        shop.pay()
    assert shop.state() == "s"
    assert shop.charges() == ["captured"]


def test_the_worker_undoes_a_payment_whose_key_was_used_for_another_one(shop):
    """Redis went back to before the first, so that it took the key again."""
    go_back = going_back(shop)
    lose_the_answer(shop)
    go_back()
    shop.gateway.fail("authorize", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        shop.pay(buyer=replace(BUYER, name="Eve"))
    shop.gateway.heal()
    assert shop.state() == "p"
    shop.work()
    assert (shop.state(), shop.booking()) == ("h", None)
    shop.pay("another key")
    assert shop.state() == "s"


def test_another_attempt_that_booked_first_is_the_only_one_that_costs_money(shop):
    """The first was taken for dead by the worker, and was only slow."""
    authorize = shop.gateway.authorize

    def stopped_before_it_could_book(*arguments):
        shop.gateway.heal()
        del shop.gateway.authorize
        shop.work()  # finds the hold paying and nothing charged
        shop.pay("another key")
        return authorize(*arguments)

    shop.gateway.authorize = stopped_before_it_could_book
    with pytest.raises(EarlierRefusal):
        shop.pay()
    assert shop.charges() == ["captured"]


def test_a_payment_asks_nothing_more_when_its_time_is_over(shop):
    shop.checkout._steps.budget_s = 0
    shop.gateway.fail("authorize", OutcomeUnknown("time-out"), after=True)
    with pytest.raises(PaymentPending):
        shop.pay()
    assert shop.gateway.calls == ["authorize"]


def test_the_time_that_mongodb_took_before_a_payment_is_part_of_its_time(shop):
    def slowly():
        time.sleep(0.3)

    shop.bookings.require_index = slowly
    shop.checkout._steps.budget_s = 0.2
    shop.gateway.fail("authorize", OutcomeUnknown("time-out"), after=True)
    with pytest.raises(PaymentPending):
        shop.pay()
    assert shop.gateway.calls == ["authorize"]


INSERT_S = INSERT_TRIES * CALL_TIMEOUT_S
CALL_S = MAX_WAIT_S + CONNECT_TIMEOUT_S + READ_TIMEOUT_S


def checkout_with(lease_s: float) -> Checkout:
    return Checkout(
        catalogue=None, seats=None, bookings=None, gateway=None, tokens=TOKENS, lease_s=lease_s
    )


def test_a_payment_has_ended_when_the_worker_may_take_it_over():
    checkout = checkout_with(DEFAULT_LEASE_S)
    # The gateway has as long again for a call whose answer nobody waits for any more: the worker
    # undoes what it finds without a charge.
    assert checkout._steps.budget_s + 2 * CALL_S <= DEFAULT_LEASE_S
    assert checkout._steps.fence_s + INSERT_S <= DEFAULT_LEASE_S


@pytest.mark.parametrize("lease_s", [DEFAULT_LEASE_S, LONGEST_LEASE_S])
def test_a_payment_ends_before_nginx_loses_patience(lease_s):
    read_timeout_s = int(re.search(r"proxy_read_timeout (\d+)s", NGINX_PROXY)[1])
    # At most: an authorisation that begins at the last moment, the look for it, the insert.
    assert checkout_with(lease_s)._steps.budget_s + 2 * CALL_S + INSERT_S <= read_timeout_s


def test_free_seats_do_not_trouble_the_gateway(shop):
    shop.hold_again("free-F-1")
    assert shop.pay().receipt.payment_id is None
    assert shop.gateway.calls == []
    assert shop.state() == "s"


@pytest.mark.parametrize(("seat", "asked"), [("free-F-1", False), ("stalls-B-2", True)])
def test_redis_is_asked_again_before_a_booking_when_something_has_to_be_paid(shop, seat, asked):
    shop.hold_again(seat)
    shop.pay()
    assert ("renew_lease" in shop.seats.calls) == asked


def test_free_seats_whose_payment_was_begun_a_while_ago_are_looked_up_once_more(shop):
    """Redis went back in time while the process was stopped, and its buyer gave the seats back."""
    shop.hold_again("free-F-1")
    begin = shop.seats.begin_payment

    def stopped(*arguments):
        begun = begin(*arguments)
        undo_payment(shop)
        shop.box_office.release(shop.ref)
        time.sleep(shop.checkout._steps.beyond_doubt_s)
        return begun

    shop.seats.begin_payment = stopped
    with pytest.raises(PaymentPending):
        shop.pay()
    assert shop.booking() is None


@pytest.mark.parametrize("lease_s", [DEFAULT_LEASE_S, LONGEST_LEASE_S])
def test_what_was_begun_just_now_is_booked_before_a_hold_that_was_lost_is_called_over(lease_s):
    assert checkout_with(lease_s)._steps.beyond_doubt_s + 1.5 * INSERT_S <= LAST_STEP_S


def test_a_gateway_that_was_not_reached_charges_nothing_and_the_key_stays_good(shop):
    shop.gateway.fail("authorize", NotExecuted("refused"))
    with pytest.raises(Unavailable):
        shop.pay()
    assert shop.state() == "h"
    assert shop.charges() == []
    shop.gateway.heal()
    assert not shop.pay().replayed
    assert shop.charges() == ["captured"]


def test_what_the_gateway_refuses_for_good_is_final_and_uses_up_no_card(shop):
    shop.gateway.fail("authorize", NotAccepted("Amount must be at least £0.30 gbp"))
    for number in range(MAX_REFUSED_CARDS + 1):
        with pytest.raises(PaymentDeclined) as declined:
            shop.pay(f"key-{number}")
        assert (declined.value.reason, declined.value.attempts_left) == ("not_accepted", 5)
    assert shop.state() == "h"
    assert shop.charges() == []
    with pytest.raises(EarlierRefusal) as replayed:
        shop.pay("key-0")
    assert replayed.value.refusal.message == declined.value.message
    shop.gateway.heal()
    assert not shop.pay("another key").replayed


def test_a_refusal_for_good_after_a_lost_answer_is_looked_up_first(shop):
    errors = iter([OutcomeUnknown("reset"), NotAccepted("no")])
    authorize = shop.gateway._target.authorize

    def lost_then_refused(*arguments):
        authorize(*arguments)
        raise next(errors)

    shop.gateway.authorize = lost_then_refused
    shop.pay()
    assert shop.charges() == ["captured"]


def test_a_shop_that_the_gateway_does_not_let_in_asks_its_buyers_to_wait_longer(shop):
    shop.gateway.fail("authorize", NotAllowed("Expired API Key"))
    with pytest.raises(Unavailable) as unavailable:
        shop.pay()
    assert isinstance(unavailable.value, PaymentsClosed)
    assert unavailable.value.retry_after_s == 30
    shop.gateway.heal()
    assert not shop.pay().replayed


@pytest.mark.parametrize(("said_s", "told_s"), [(None, 5), (7.0, 7), (7.01, 8), (0.2, 1)])
def test_a_gateway_that_has_no_time_asks_its_buyers_to_wait_until_it_has(shop, said_s, told_s):
    shop.gateway.fail("authorize", TooBusy("rate_limit", said_s))
    with pytest.raises(PaymentsBusy) as unavailable:
        shop.pay()
    assert unavailable.value.retry_after_s == told_s
    shop.gateway.heal()
    assert not shop.pay().replayed


@pytest.mark.parametrize("after", [False, True])
def test_an_unanswered_authorisation_is_asked_again_with_the_same_key(shop, after):
    shop.gateway.fail("authorize", OutcomeUnknown("time-out"), times=1, after=after)
    shop.pay()
    assert shop.charges() == ["captured"]


def test_an_authorisation_whose_answers_are_all_lost_is_looked_up(shop):
    shop.gateway.fail("authorize", OutcomeUnknown("reset"), after=True)
    shop.pay()
    assert shop.charges() == ["captured"]


def test_a_refused_connection_after_a_lost_answer_does_not_mean_that_nothing_happened(shop):
    authorize = shop.gateway._target.authorize
    errors = iter([OutcomeUnknown("reset"), NotExecuted("refused")])

    def lost_then_refused(*arguments):
        authorize(*arguments)
        raise next(errors)

    shop.gateway.authorize = lost_then_refused
    shop.gateway.fail("find", OutcomeUnknown("down"))
    with pytest.raises(PaymentPending):
        shop.pay()
    assert shop.state() == "p"


def test_an_unknown_outcome_keeps_the_seats_and_the_worker_finishes_the_sale(shop):
    shop.gateway.fail("authorize", OutcomeUnknown("time-out"), after=True)
    shop.gateway.fail("find", OutcomeUnknown("time-out"))
    with pytest.raises(PaymentPending):
        shop.pay()
    assert shop.state() == "p"
    shop.gateway.heal()
    shop.work()
    assert shop.state() == "s"
    assert shop.charges() == ["captured"]
    assert shop.pay().replayed


def test_an_unknown_outcome_that_was_nothing_is_undone_by_the_worker(shop):
    shop.gateway.fail("authorize", OutcomeUnknown("time-out"))
    with pytest.raises(PaymentPending):
        shop.pay()
    shop.gateway.heal()
    shop.work()
    assert shop.state() == "h"
    assert shop.charges() == []


def test_the_worker_never_starts_a_charge(shop):
    """A web process that was killed after begin_payment: nobody knows what its buyer was told."""
    shop.gateway.fail("authorize", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.gateway.heal()
    shop.work()
    assert shop.charges() == []
    assert shop.state() == "h"


def test_seats_that_cost_nothing_are_booked_by_the_worker_when_their_payment_broke_off(shop):
    shop.hold_again("free-F-1")
    shop.bookings.fail("insert", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.bookings.heal()
    shop.work()
    assert shop.state() == "s"
    assert shop.pay().receipt == shop.booking().receipt()
    assert shop.gateway.calls == []


def test_a_process_that_comes_to_itself_finds_its_free_seats_booked(shop):
    """It was stopped between its look at Redis and its insert, until the worker took over."""
    shop.hold_again("free-F-1")
    insert = shop.bookings.insert

    def stopped(booking):
        del shop.bookings.insert
        shop.work()
        return insert(booking)

    shop.bookings.insert = stopped
    assert shop.pay().receipt == shop.booking().receipt()
    assert shop.pay().replayed


# ---------------------------------------------------------------- a key that is answered "no"


def lose_the_answer(shop):
    """The card is charged, and its process dies."""
    shop.gateway.fail("authorize", KeyboardInterrupt(), after=True)
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.gateway.heal()


def make_the_list_late(shop):
    shop.gateway.find = lambda key, since: None


def test_nobody_is_told_that_nothing_was_charged_while_the_gateways_list_is_late(shop):
    lose_the_answer(shop)
    make_the_list_late(shop)
    with pytest.raises(PaymentPending):
        shop.work()
    assert shop.state() == "p"
    with pytest.raises(PaymentInProgress):
        shop.pay()
    del shop.gateway.find
    shop.work()
    assert (shop.state(), shop.charges()) == ("s", ["captured"])


def test_a_payment_that_was_undone_is_not_revived_with_an_event_that_redis_lost(shop):
    """The worker gave it up while its process was only stopped, and Redis is lost before the
    process goes on."""
    authorize = shop.gateway.authorize

    def stopped(*arguments):
        del shop.gateway.authorize
        shop.work()
        with pytest.raises(EarlierRefusal):
            shop.pay()
        try:
            return authorize(*arguments)
        finally:
            lose(shop)
            Opening(shop.catalogue, shop.seats, shop.bookings, shop.gateway).open_event(shop.event)
            shop.work()

    shop.gateway.authorize = stopped
    with pytest.raises(PaymentPending):
        shop.pay()
    assert (shop.booking(), shop.charges()) == (None, [])
    assert shop.state() == "0"


def test_a_used_key_whose_payment_is_never_listed_is_given_up_in_the_end(shop, monkeypatch):
    """Stripe keeps a 500 for a key, and nothing may have come of it."""
    lose_the_answer(shop)
    make_the_list_late(shop)
    for module in (checkout, opening):
        monkeypatch.setattr(module, "UNDER_WAY", timedelta(seconds=1))
    time.sleep(2.1)  # the gateway's clock has seconds
    shop.work()
    with pytest.raises(EarlierRefusal) as final:
        shop.pay()
    assert final.value.refusal.reason == NOT_COMPLETED
    lose(shop)
    Opening(shop.catalogue, shop.seats, shop.bookings, shop.gateway).open_event(shop.event)
    assert shop.state() == "0", "what was given up is not put back under way"


def test_a_key_that_cannot_be_retired_now_keeps_its_payment_under_way(shop):
    shop.gateway.fail("authorize", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.gateway.heal()
    shop.gateway.fail("retire", OutcomeUnknown("in use"), after=True)
    with pytest.raises(OutcomeUnknown):
        shop.work()
    assert shop.state() == "p"
    shop.gateway.heal()
    shop.work()
    assert shop.state() == "h"


def test_a_payment_that_was_let_go_is_undone_without_another_look(shop):
    lose_the_answer(shop)
    for payment in shop.gateway.list(shop.began):
        shop.gateway.void(payment.payment_id)
    shop.work()
    assert shop.state() == "h"
    assert "retire" not in shop.gateway.calls


@pytest.mark.parametrize("refusal", [NotExecuted("refused"), NotAccepted("no"), "declined"])
def test_a_process_that_was_overtaken_repeats_the_answer_that_the_worker_gave(shop, refusal):
    def overtaken(*_):
        del shop.gateway.authorize
        shop.work()
        if refusal == "declined":
            raise PaymentDeclined("insufficient_funds", "Your card has insufficient funds.")
        raise refusal

    shop.gateway.authorize = overtaken
    for _ in range(2):
        with pytest.raises(EarlierRefusal) as final:
            shop.pay()
        assert final.value.refusal.reason == NOT_COMPLETED


@pytest.mark.parametrize("after", [False, True])
def test_an_insert_without_an_answer_is_repeated(shop, after):
    shop.bookings.fail("insert", InsertUnknown(), times=1, after=after)
    assert shop.pay().receipt == shop.booking().receipt()
    assert shop.charges() == ["captured"]


def test_a_repeat_waits_for_the_payment_under_way_and_gets_its_receipt(shop):
    authorize, under_way = shop.gateway.authorize, threading.Event()

    def slowly(*arguments):
        under_way.set()
        time.sleep(0.5)
        return authorize(*arguments)

    shop.gateway.authorize = slowly
    with ThreadPoolExecutor() as pool:
        first = pool.submit(shop.pay)
        under_way.wait(5)
        again = shop.pay()
        assert again.replayed
        assert again.receipt == first.result().receipt


@pytest.mark.parametrize("after", [False, True])
def test_a_booking_whose_insert_has_no_answer_is_finished_by_the_worker(shop, after):
    shop.bookings.fail("insert", InsertUnknown(), after=after)
    with pytest.raises(PaymentPending):
        shop.pay()
    assert shop.state() == "p"
    assert shop.charges() == ["authorized"], "no capture before the booking is known to be there"
    shop.bookings.heal()
    shop.work()
    assert shop.state() == "s"
    assert shop.charges() == ["captured"]
    assert shop.pay().receipt == shop.booking().receipt()


@pytest.mark.parametrize("after", [False, True])
def test_an_unanswered_capture_is_finished_by_the_worker(shop, after):
    shop.gateway.fail("capture", OutcomeUnknown("time-out"), after=after)
    with pytest.raises(PaymentPending):
        shop.pay()
    shop.gateway.heal()
    shop.work()
    assert shop.charges() == ["captured"]
    assert shop.state() == "s"


def test_a_sale_stands_when_redis_cannot_be_told_of_it(shop):
    shop.seats.fail("confirm_booking", Unavailable("seats"))
    receipt = shop.pay().receipt
    assert shop.charges() == ["captured"]
    assert shop.state() == "p"
    shop.seats.heal()
    shop.work()
    assert shop.state() == "s"
    assert shop.pay().receipt == receipt


def test_a_seat_that_redis_forgot_is_not_sold_twice_and_the_loser_is_not_charged(shop, bookings):
    shop.hold_again("stalls-B-3", "stalls-B-2")
    bookings.insert(a_booking(shop.event.id, "stalls-B-2", "stalls-B-1"))
    with pytest.raises(SeatTaken) as lost:
        shop.pay()
    assert lost.value.seats == ("stalls-B-2",)
    assert shop.charges() == ["voided"]
    assert bookings.find(booking_id_of(shop.hold.id)) is None
    seat_map = shop.seats._target.read_seats(shop.event.id).seats
    assert seat_map[8:11] == "ss0", "Redis has learnt what is sold, and the rest is free"
    with pytest.raises(EarlierRefusal) as again:
        shop.pay()
    assert again.value.refusal.seats == ("stalls-B-2",)
    with pytest.raises(HoldExpired):
        shop.pay("another key")


def test_free_seats_that_redis_forgot_are_not_booked_twice(shop, bookings):
    shop.hold_again("free-F-1")
    bookings.insert(a_booking(shop.event.id, "free-F-1"))
    with pytest.raises(SeatTaken):
        shop.pay()
    assert shop.gateway.calls == []
    assert shop.state() == "s"


def test_the_worker_leaves_it_to_a_process_that_gave_way_before_it(shop, bookings):
    lose_the_answer(shop)
    bookings.insert(a_booking(shop.event.id, "stalls-B-1"))
    void = shop.gateway.void

    def given_way_meanwhile(payment_id):
        del shop.gateway.void
        shop.work()
        return void(payment_id)

    shop.gateway.void = given_way_meanwhile
    shop.work()
    assert (shop.state(), shop.charges()) == ("s", ["voided"])
    with pytest.raises(EarlierRefusal) as final:
        shop.pay()
    assert final.value.refusal.seats == ("stalls-B-1",)


def test_the_worker_lets_go_of_the_money_when_another_attempt_books_first(shop):
    lose_the_answer(shop)
    first = next(p for p in shop.gateway.list(shop.began) if p.key.startswith(shop.hold.id))
    insert = shop.bookings.insert

    def another_books_first(booking):
        another = shop.gateway.authorize(
            "another key",
            booking.amount_minor,
            booking.currency,
            "pm_card_visa",
            first.metadata,
            WAY_BACK,
        )
        insert(replace(booking, key_digest="another", payment_id=another.payment_id))
        return insert(booking)

    shop.bookings.insert = another_books_first
    shop.work()
    assert shop.state() == "s"
    charged = {p.payment_id: p.status for p in shop.gateway.list(shop.began)}
    assert charged.pop(first.payment_id) == "voided"
    assert charged[shop.booking().payment_id] == "captured"


def test_a_sale_whose_names_cannot_be_read_goes_on_without_them(shop):
    authorize = shop.gateway.authorize

    def meanwhile_redis_goes_away(*arguments):
        shop.catalogue.fail("cached_event", Unavailable("seats"))
        return authorize(*arguments)

    shop.gateway.authorize = meanwhile_redis_goes_away
    assert shop.pay().receipt == shop.booking().receipt()
    assert shop.booking().sold_as is None


def test_money_that_is_not_let_go_at_once_is_let_go_by_the_worker(shop, bookings):
    bookings.insert(a_booking(shop.event.id, "stalls-B-1"))
    shop.gateway.fail("void", OutcomeUnknown("time-out"))
    with pytest.raises(PaymentPending):
        shop.pay()
    assert shop.state() == "p", "nobody is told yet"
    shop.gateway.heal()
    shop.work()
    assert shop.charges() == ["voided"]
    assert shop.state() == "s"
    with pytest.raises(EarlierRefusal):
        shop.pay()


def test_a_hold_that_expires_during_the_charge_still_sells(seats, bookings, sandbox, monkeypatch):
    hall = small_hall(hold_ms=2000)
    put_on_sale(seats, hall)
    gateway = StripeGateway("sk_test_checkout", sandbox.url)
    shop = Shop(hall, seats, bookings, gateway)
    authorize = shop.gateway.authorize

    def slowly(*arguments):
        time.sleep(2.1)
        seats.sweep_holds(hall.id)
        return authorize(*arguments)

    monkeypatch.setattr(shop.gateway, "authorize", slowly, raising=False)
    shop.pay()
    assert shop.state() == "s"


def test_a_card_that_is_refused_after_the_hold_ran_out_frees_the_seats(seats, bookings, sandbox):
    hall = small_hall(hold_ms=2000)
    put_on_sale(seats, hall)
    shop = Shop(hall, seats, bookings, StripeGateway("sk_test_checkout", sandbox.url))

    def slowly_refuse(*_):
        time.sleep(2.1)
        raise PaymentDeclined("generic_decline", "Your card was declined.")

    shop.gateway.authorize = slowly_refuse
    with pytest.raises(PaymentDeclined) as declined:
        shop.pay()
    assert declined.value.attempts_left == 0
    assert shop.state() == "0"


def test_the_booking_answers_when_the_receipt_is_gone(shop):
    receipt = shop.pay().receipt
    shop.redis.delete(*shop.redis.keys(f"receipt:{{{shop.event.id}}}:*"))
    again = shop.pay()
    assert (again.receipt, again.replayed) == (receipt, True)
    with pytest.raises(AlreadyBooked):
        shop.pay("another key")
    with pytest.raises(IdempotencyKeyReused):
        shop.pay(buyer=replace(BUYER, name="Eve"))
    assert shop.charges() == ["captured"]


def test_a_begin_that_is_sent_again_after_a_lost_answer_is_told_that_it_began(shop, monkeypatch):
    """redis-py re-sends a script when the answer was lost; the second is not "in progress"."""
    monkeypatch.setattr(seat_store.secrets, "token_hex", lambda _: "the same call")
    begin = shop.seats._target.begin_payment
    first = begin(shop.event, shop.hold.id, BUYER, "digest", "fingerprint")
    assert begin(shop.event, shop.hold.id, BUYER, "digest", "fingerprint") == first


def test_two_workers_share_the_work(shop):
    shop.gateway.fail("capture", OutcomeUnknown("time-out"))
    with pytest.raises(PaymentPending):
        shop.pay()
    shop.gateway.heal()
    shop.let_leases_run_out()
    claim = shop.seats._target.claim_lapsed_payment
    assert claim(shop.event).hold_id == shop.hold.id
    assert claim(shop.event) is None
