"""A cancelled event on real Redis, MongoDB and sandbox: whoever begins, and whoever is killed,
every booking is refunded once, and nothing stays held or reserved."""

from contextlib import suppress
from dataclasses import replace

import pytest

from tests.support.factories import BUYER
from tests.support.shop import Shop, checks_of, lose, problems, reconciler_of
from web.adapters.stripe.gateway import StripeGateway
from web.domain.events import SeatState
from web.domain.refusals import ActionRequired, EarlierRefusal, HoldExpired, PaymentPending
from web.domain.sales import HoldStatus
from web.ports.payment_gateway import NotExecuted, OutcomeUnknown, TooBusy
from web.use_cases.cancellation import end_sale, refund_side_by_side
from web.use_cases.opening import Opening
from web.use_cases.refunds import Refunds

SEATS = ("stalls-A-1", "stalls-A-2", "stalls-A-3")


@pytest.fixture
def shop(raw_redis, event, seats, bookings, sandbox):
    shop = Shop(event, seats, bookings, StripeGateway("sk_test_cancelling", sandbox.url))
    shop.refunds = Refunds(shop.catalogue, shop.seats, shop.bookings, shop.gateway)
    return shop


def sell(shop, *held_seats) -> list[str]:
    """Each seat in a booking of its own. Returns their ids."""
    sold = []
    for seat in held_seats:
        shop.hold_again(seat)
        sold.append(shop.pay(key=seat).receipt.booking_id)
    return sold


def cancel(shop) -> None:
    """As `events open` does with a file that says so, before it refunds."""
    shop.event = replace(shop.event, declared_status="cancelled")
    opening = Opening(shop.catalogue, shop.seats, shop.bookings, shop.gateway)
    assert opening.open_events([shop.event]) == {shop.event.id: True}
    end_sale(shop.seats, shop.event.id)


def refund_all(shop) -> list:
    ids = shop.bookings.booked_ids(shop.event.id)
    return [outcome for _, outcome in refund_side_by_side(shop.refunds.refund, ids)]


def seat_map(shop) -> set[str]:
    return set(shop.seats.read_seats(shop.event.id).seats)


def payments(shop) -> list[str]:
    found = shop.gateway._target.list(shop.began)
    return [p.status for p in found if p.metadata.get("event") == shop.event.id]


def test_all_bookings_of_a_cancelled_event_are_refunded_and_the_audit_counts_those_that_are_left(
    shop, monkeypatch
):
    monkeypatch.setattr(shop.bookings._target, "_sends_mails", True)
    sell(shop, *SEATS)
    cancel(shop)
    (left,) = problems(shop).splitlines()
    assert "it was cancelled, and 3 bookings are not refunded yet" in left
    refunded = refund_all(shop)
    assert {booking.receipt_now().status for booking in refunded} == {"refunded"}
    assert [list(booking.news) for booking in refunded] == [["cancelled"]] * 3
    assert payments(shop) == ["refunded"] * 3
    assert seat_map(shop) == {SeatState.FREE}
    assert problems(shop) == ""


def test_what_is_held_when_an_event_is_cancelled_is_released_and_cannot_be_paid(shop):
    assert shop.state() == "h"
    shop.event = replace(shop.event, declared_status="cancelled")
    shop.seats.open_event(shop.event, sold=[])
    with pytest.raises(HoldExpired):
        shop.pay()
    assert shop.state() == "0"
    assert not payments(shop)


def test_the_worker_releases_what_is_held_and_refunds_what_was_booked_after_the_look(shop):
    sell(shop, SEATS[0])
    shop.hold_again(SEATS[1])
    held = shop.hold
    shop.event = replace(shop.event, declared_status="cancelled")
    shop.seats.open_event(shop.event, sold=list(SEATS[:1]))
    worker = reconciler_of(shop)
    worker.round()
    assert shop.seats.read_hold(shop.event, held.id) is None
    assert worker.repairs["refund ended"] == 1
    assert problems(shop) == ""


def test_a_payment_that_is_being_made_ends_and_its_booking_is_refunded(shop):
    shop.gateway.fail("capture", OutcomeUnknown("lost"))
    with pytest.raises(PaymentPending):
        shop.pay()
    shop.gateway.heal()
    shop.event = replace(shop.event, declared_status="cancelled")
    shop.seats.open_event(shop.event, sold=[])
    assert end_sale(shop.seats, shop.event.id) == 1
    assert shop.seats.read_hold(shop.event, shop.hold.id).status is HoldStatus.PAYING
    shop.let_leases_run_out()
    reconciler_of(shop).round()
    assert shop.booking().refunded_at
    assert (shop.charges(), problems(shop)) == (["refunded"], "")


def test_a_payment_at_the_bank_is_canceled_there_before_its_seats_are_free(shop):
    with pytest.raises(ActionRequired):
        shop.pay(buyer=replace(BUYER, payment_method="pm_card_authenticationRequired"))
    shop.event = replace(shop.event, declared_status="cancelled")
    shop.seats.open_event(shop.event, sold=[])
    assert end_sale(shop.seats, shop.event.id) == 1
    worker = reconciler_of(shop)
    worker.round()
    worker.round()
    assert (shop.charges(), shop.state()) == (["voided"], "0")
    with pytest.raises(EarlierRefusal) as refused:
        shop.pay(buyer=replace(BUYER, payment_method="pm_card_authenticationRequired"))
    assert refused.value.refusal.message == "The event was cancelled."
    assert problems(shop) == ""


def test_only_payments_of_cancelled_events_are_called_off(shop):
    with pytest.raises(ActionRequired):
        shop.pay(buyer=replace(BUYER, payment_method="pm_card_authenticationRequired"))
    assert end_sale(shop.seats, shop.event.id) == 0
    reconciler_of(shop).round()
    assert shop.charges() == ["action_required"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("part", "method"),
    [
        ("bookings", "begin_refund"),
        ("gateway", "refund"),
        ("bookings", "mark_refunded"),
        ("seats", "return_seats"),
        ("bookings", "end_refund"),
    ],
)
def test_a_cancellation_that_is_killed_is_finished_by_the_worker_and_nobody_is_refunded_twice(
    shop, part, method, after
):
    sell(shop, *SEATS)
    cancel(shop)
    getattr(shop, part).fail(method, KeyboardInterrupt(), after=after)
    ids = shop.bookings.booked_ids(shop.event.id)
    with suppress(KeyboardInterrupt):
        shop.refunds.refund(ids[0])
    getattr(shop, part).heal()
    reconciler_of(shop).round()
    assert payments(shop) == ["refunded"] * 3
    assert problems(shop) == ""
    idle = reconciler_of(shop)
    idle.round()
    assert not idle.repairs


def test_one_refund_that_the_gateway_refuses_holds_up_no_other(shop):
    sell(shop, *SEATS)
    cancel(shop)
    shop.gateway.fail("refund", NotExecuted("disputed"), times=1)
    shop.gateway.fail("void", NotExecuted("captured"), times=1)
    worker = reconciler_of(shop)
    worker.round()
    assert worker.repairs["refund ended"] == 2
    assert worker.not_done == 1
    assert "1 booking is not refunded yet" in problems(shop)
    reconciler_of(shop).round()
    assert problems(shop) == ""


def test_a_gateway_that_is_busy_is_asked_again_until_it_has_time(shop):
    sell(shop, *SEATS)
    cancel(shop)
    shop.gateway.fail("refund", TooBusy("busy", retry_after_s=0.01), times=4)
    shop.gateway.fail("void", TooBusy("busy", retry_after_s=0.01), times=4)
    assert len(refund_all(shop)) == 3
    assert problems(shop) == ""


def test_an_event_stays_cancelled_when_redis_is_lost(shop):
    sell(shop, *SEATS)
    cancel(shop)
    worker = reconciler_of(shop)
    lose(shop)
    worker.round()
    assert shop.catalogue.current_event(shop.event.id).status == "cancelled"
    worker.round()
    reconciler_of(shop).round()
    assert payments(shop) == ["refunded"] * 3
    assert problems(shop) == ""


def test_a_dry_run_of_the_worker_says_what_it_would_refund(shop, caplog):
    caplog.set_level("INFO")
    (booking_id,) = sell(shop, SEATS[0])
    cancel(shop)
    reconciler_of(shop, dry_run=True).round()
    assert f"refund would be ended: {booking_id} ({shop.event.id} was cancelled)" in caplog.text
    assert checks_of(shop)
    assert payments(shop) == ["captured"]


def test_an_event_that_is_on_sale_again_keeps_what_was_not_refunded_yet(shop):
    sell(shop, *SEATS)
    cancel(shop)
    shop.event = replace(shop.event, declared_status=None)
    shop.seats.open_event(shop.event, sold=list(SEATS))
    reconciler_of(shop).round()
    assert payments(shop) == ["captured"] * 3
