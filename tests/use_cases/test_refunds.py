"""Refunds on real Redis, MongoDB and sandbox, broken off at each step."""

import logging
from contextlib import suppress

import pytest

from tests.support.shop import Shop, problems, reconciler_of
from web.adapters.stripe.gateway import StripeGateway
from web.domain.refusals import BookingNotFound, InvalidRequest, PaymentPending, Unavailable
from web.ports.payment_gateway import NotAccepted, NotExecuted, OutcomeUnknown
from web.use_cases.opening import Opening
from web.use_cases.refunds import Refunds


@pytest.fixture
def shop(raw_redis, event, seats, bookings, sandbox):
    shop = Shop(event, seats, bookings, StripeGateway("sk_test_refunding", sandbox.url))
    shop.refunds = Refunds(shop.catalogue, shop.seats, shop.bookings, shop.gateway)
    return shop


def test_a_refund_gives_the_money_back_and_the_seat_to_the_next_buyer(shop):
    receipt = shop.pay().receipt
    refunded = shop.refunds.refund(receipt.booking_id)
    assert refunded.receipt_now().status == "refunded"
    assert (shop.charges(), shop.state()) == (["refunded"], "0")
    assert shop.pay().receipt == receipt, "a repeated payment still gets what it got"
    assert problems(shop) == ""
    shop.hold_again("stalls-B-1")
    assert shop.pay().receipt.booking_id != receipt.booking_id
    assert problems(shop) == ""


def test_a_refund_may_be_repeated_also_when_the_seat_is_sold_again(shop):
    receipt = shop.pay().receipt
    refunded = shop.refunds.refund(receipt.booking_id)
    assert shop.refunds.refund(receipt.booking_id) == refunded
    shop.hold_again("stalls-B-1")
    shop.pay()
    assert shop.refunds.refund(receipt.booking_id) == refunded
    assert shop.state() == "s"
    assert problems(shop) == ""


def test_free_seats_can_be_given_back_too(shop):
    shop.hold_again("free-F-1")
    shop.refunds.refund(shop.pay().receipt.booking_id)
    assert shop.state() == "0"


def test_a_booking_that_is_not_there_is_not_refunded(shop):
    with pytest.raises(BookingNotFound):
        shop.refunds.refund("bkg_nobody")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("part", "method"),
    [
        ("gateway", "refund"),
        ("bookings", "mark_refunded"),
        ("seats", "return_seats"),
        ("bookings", "end_refund"),
    ],
)
def test_a_refund_that_breaks_off_is_ended_by_the_worker(shop, part, method, after, caplog):
    caplog.set_level(logging.INFO)
    booking_id = shop.pay().receipt.booking_id
    getattr(shop, part).fail(method, KeyboardInterrupt(), after=after)
    with pytest.raises(KeyboardInterrupt):
        shop.refunds.refund(booking_id)
    getattr(shop, part).heal()
    reconciler_of(shop, dry_run=True).round()
    assert (method, after) == ("end_refund", True) or (
        f"refund would be ended: {booking_id} (" in caplog.text
    )
    worker = reconciler_of(shop)
    worker.round()
    assert worker.repairs["refund ended"] or (method, after) == ("end_refund", True)
    assert (shop.charges(), shop.state()) == (["refunded"], "0")
    assert problems(shop) == ""
    idle = reconciler_of(shop)
    idle.round()
    assert not idle.repairs


@pytest.mark.parametrize(
    ("part", "method", "error", "charge"),
    [
        ("gateway", "capture", KeyboardInterrupt(), "voided"),
        ("seats", "confirm_booking", Unavailable("seat store"), "refunded"),
    ],
)
def test_a_booking_can_be_refunded_before_its_payment_is_ended(shop, part, method, error, charge):
    getattr(shop, part).fail(method, error)
    with suppress(KeyboardInterrupt):
        shop.pay()
    getattr(shop, part).heal()
    shop.refunds.refund(shop.booking().id)
    shop.let_leases_run_out()
    reconciler_of(shop).round()
    assert (shop.charges(), shop.state()) == ([charge], "0")
    assert shop.booking().refunded_at
    assert shop.pay().receipt.booking_id == shop.booking().id, "the key still gets its receipt"
    assert problems(shop) == ""


def test_whoever_holds_a_refunded_seat_keeps_it_when_its_former_payment_is_ended(shop):
    """The sale was known from MongoDB only: its payment was still under way in Redis."""
    shop.gateway.fail("capture", NotExecuted("down"))
    with pytest.raises(PaymentPending):
        shop.pay()
    shop.gateway.heal()
    Opening(shop.catalogue, shop.seats, shop.bookings, shop.gateway).open_event(shop.event)
    assert shop.state() == "s"
    shop.refunds.refund(shop.booking().id)
    assert shop.state() == "0"
    shop.hold_again("stalls-B-1")
    shop.let_leases_run_out()
    reconciler_of(shop).round()
    assert shop.state() == "h"
    assert problems(shop) == ""


def test_an_event_that_is_opened_while_a_refund_ends_gets_its_seat_back(shop):
    receipt = shop.pay().receipt
    sold = shop.bookings.sold_seats(shop.event.id)
    shop.refunds.refund(receipt.booking_id)
    shop.bookings.sold_seats = lambda event_id: sold
    Opening(shop.catalogue, shop.seats, shop.bookings, shop.gateway).open_event(shop.event)
    del shop.bookings.sold_seats
    assert shop.state() == "s"
    reconciler_of(shop).round()
    assert shop.state() == "0"
    assert problems(shop) == ""


def test_a_sold_seat_without_any_booking_is_left_alone(shop):
    shop.bookings._target._collection.delete_one({"_id": shop.pay().receipt.booking_id})
    reconciler_of(shop).round()
    assert shop.state() == "s"


def test_a_refund_that_the_gateway_refuses_is_not_tried_each_second(shop):
    receipt = shop.pay().receipt
    shop.gateway.fail("refund", NotExecuted("disputed"))
    shop.gateway.fail("void", NotExecuted("captured"))
    with pytest.raises(NotExecuted, match="disputed"):
        shop.refunds.refund(receipt.booking_id)
    reconciler, tries = reconciler_of(shop), shop.gateway.calls.count("refund")
    for _ in range(3):
        reconciler.round()
    assert shop.gateway.calls.count("refund") == tries + 1


def test_a_refund_without_an_answer_is_repeated_and_happens_once(shop):
    booking_id = shop.pay().receipt.booking_id
    shop.gateway.fail("refund", OutcomeUnknown("time-out"), times=1, after=True)
    with pytest.raises(OutcomeUnknown):
        shop.refunds.refund(booking_id)
    shop.refunds.refund(booking_id)
    assert shop.charges() == ["refunded"]


def test_a_refund_made_at_the_gateway_frees_the_seats(shop):
    receipt = shop.pay().receipt
    shop.gateway._target.refund(receipt.payment_id, "by hand")
    assert f"booking {receipt.booking_id}" in problems(shop)
    reconciler_of(shop).round()
    assert shop.state() == "0"
    assert problems(shop) == ""


def test_a_booking_that_was_not_captured_yet_is_let_go(shop):
    shop.gateway.fail("capture", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.gateway.heal()
    shop.refunds.refund(shop.booking().id)
    assert shop.charges() == ["voided"]


THREE = ("stalls-A-1", "stalls-A-2", "stalls-A-3")


@pytest.fixture
def party(shop):
    """A booking of three seats."""
    shop.hold_again(*THREE)
    return shop.pay().receipt


def map_of(shop) -> str:
    states = shop.seats.read_seats(shop.event.id).seats
    return "".join(states[shop.event.positions[seat]] for seat in THREE)


def refunded_minor(shop) -> list[int]:
    found = shop.gateway._target.list(shop.began)
    return [p.refunded_minor for p in found if p.metadata["hold_id"] == shop.hold.id]


def test_single_seats_of_a_booking_are_refunded_and_sold_again_while_the_others_stay(
    shop, party, monkeypatch
):
    monkeypatch.setattr(shop.bookings._target, "_sends_mails", True)
    booking = shop.refunds.refund_seats(party.booking_id, [THREE[1]])
    price = booking.amount_minor // 3
    assert (booking.refunded_seats, booking.refunded_minor) == ((THREE[1],), price)
    assert booking.seats_left == (THREE[0], THREE[2])
    assert (booking.receipt(), booking.receipt_now()) == (party, party)
    assert list(booking.news) == ["refunded"]
    assert (refunded_minor(shop), shop.charges(), map_of(shop)) == ([price], ["captured"], "s0s")
    assert shop.pay().receipt == party, "a repeated payment still gets what it got"
    assert problems(shop) == ""
    first = shop.hold
    shop.hold_again(THREE[1])
    assert shop.pay("another").receipt.seats == (THREE[1],)
    assert map_of(shop) == "sss"
    shop.hold = first
    assert shop.refunds.refund_seats(party.booking_id, [THREE[1]]) == booking, "idempotent"
    assert map_of(shop) == "sss", "it is somebody else's now"
    assert problems(shop) == ""


def test_a_booking_whose_seats_are_refunded_one_by_one_is_refunded(shop, party):
    for seat in THREE:
        booking = shop.refunds.refund_seats(party.booking_id, [seat])
    assert booking.receipt_now().status == "refunded"
    assert (shop.charges(), map_of(shop)) == (["refunded"], "000")
    assert problems(shop) == ""


def test_what_is_left_of_a_booking_can_be_refunded_as_a_whole(shop, party):
    shop.refunds.refund_seats(party.booking_id, THREE[:1])
    assert shop.refunds.refund(party.booking_id).refunded_at
    assert (shop.charges(), map_of(shop)) == (["refunded"], "000")
    assert problems(shop) == ""


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("part", "method"),
    [
        ("bookings", "begin_seat_refund"),
        ("gateway", "refund_part"),
        ("bookings", "mark_seats_refunded"),
        ("seats", "return_seats"),
        ("bookings", "end_seat_refund"),
    ],
)
def test_a_refund_of_seats_that_breaks_off_is_ended_by_the_worker(shop, party, part, method, after):
    getattr(shop, part).fail(method, KeyboardInterrupt(), after=after)
    with pytest.raises(KeyboardInterrupt):
        shop.refunds.refund_seats(party.booking_id, THREE[:2])
    getattr(shop, part).heal()
    worker = reconciler_of(shop)
    worker.round()
    begun = (method, after) != ("begin_seat_refund", False)
    assert map_of(shop) == ("00s" if begun else "sss")
    assert refunded_minor(shop) == [party.amount * 2 // 3 if begun else 0]
    assert problems(shop) == ""
    shop.refunds.refund_seats(party.booking_id, THREE[:2])
    assert refunded_minor(shop) == [party.amount * 2 // 3]
    idle = reconciler_of(shop)
    idle.round()
    assert not idle.repairs
    assert problems(shop) == ""


def test_a_refund_of_seats_for_which_no_money_is_left_is_refused_and_forgotten(shop, party):
    shop.gateway._target.refund_part(party.payment_id, party.amount - 1, "a part by hand")
    with pytest.raises(NotAccepted):
        shop.refunds.refund_seats(party.booking_id, THREE[:1])
    assert map_of(shop) == "sss"
    assert "was refunded, and" in problems(shop)
    assert not shop.booking().seat_refund
    assert shop.refunds.refund(party.booking_id).refunded_at


def test_a_seat_of_another_booking_is_not_refunded(shop, party):
    with pytest.raises(InvalidRequest, match="not in this booking"):
        shop.refunds.refund_seats(party.booking_id, [THREE[0], "stalls-B-1"])
    assert map_of(shop) == "sss"


def test_the_price_of_a_seat_is_that_of_the_sale(shop):
    shop.hold_again("stalls-A-1", "free-F-1")
    receipt = shop.pay().receipt
    assert shop.booking().sold_as.prices_minor == (receipt.amount, 0)
    booking = shop.refunds.refund_seats(receipt.booking_id, ["free-F-1"])
    assert (booking.refunded_minor, refunded_minor(shop)) == (0, [0])
    assert problems(shop) == ""
