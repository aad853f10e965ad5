"""Events taken off the list and out of Redis, on real stores."""

import pytest

from tests.support.shop import Shop, problems, reconciler_of
from web.adapters.redis.event_catalogue import RedisEventCatalogue
from web.adapters.stripe.gateway import StripeGateway
from web.domain.refusals import EventNotFound
from web.ports.seat_store import EventInUse
from web.use_cases.opening import Opening
from web.use_cases.refunds import Refunds
from web.use_cases.withdrawal import withdraw


@pytest.fixture
def shop(raw_redis, event, seats, bookings, sandbox):
    shop = Shop(event, seats, bookings, StripeGateway("sk_test_withdrawing", sandbox.url))
    shop.catalogue.add([event.id])
    return shop


def take_off(shop) -> None:
    withdraw(shop.catalogue, shop.seats, shop.event.id)


def is_on_sale(shop) -> bool:
    return shop.event.id in shop.catalogue.event_ids()


def test_an_event_is_not_withdrawn_while_anything_of_it_is_held(shop):
    with pytest.raises(EventInUse) as refused:
        take_off(shop)
    assert (refused.value.holds, refused.value.payments) == (1, 0)
    assert is_on_sale(shop)
    assert shop.state() == "h"


def test_a_withdrawn_event_is_not_found_and_its_bookings_stay(shop):
    receipt = shop.pay().receipt
    take_off(shop)
    assert not is_on_sale(shop)
    with pytest.raises(EventNotFound):  # Also in a process that has sold it.
        shop.seats.read_seats(shop.event.id)
    with pytest.raises(EventNotFound):
        RedisEventCatalogue(shop.seats._target._client).current_event(shop.event.id)
    booking = shop.box_office.booking(shop.event.id, receipt.booking_id, shop.ref.token)
    assert booking.receipt() == receipt
    with pytest.raises(EventNotFound):
        take_off(shop)


def test_no_worker_brings_a_withdrawn_event_back(shop):
    shop.pay()
    worker = reconciler_of(shop)
    worker.round()
    take_off(shop)
    for each in (worker, reconciler_of(shop)):
        each.round()
        assert not is_on_sale(shop)
        assert not shop.redis.exists(f"event:{{{shop.event.id}}}")


@pytest.mark.parametrize(
    ("part", "method", "after"),
    [("catalogue", "withdraw", False), ("catalogue", "withdraw", True)],
)
def test_a_withdrawal_that_is_killed_can_be_repeated(shop, part, method, after):
    shop.pay()
    getattr(shop, part).fail(method, KeyboardInterrupt(), after=after)
    with pytest.raises(KeyboardInterrupt):
        take_off(shop)
    getattr(shop, part).heal()
    reconciler_of(shop).round()
    assert is_on_sale(shop) is not after
    take_off(shop)
    assert not shop.redis.exists(f"event:{{{shop.event.id}}}")


def test_an_event_that_was_withdrawn_can_be_opened_again_with_its_bookings(shop):
    shop.pay()
    take_off(shop)
    Opening(shop.catalogue, shop.seats, shop.bookings, shop.gateway).open_event(shop.event)
    assert is_on_sale(shop)
    assert shop.state() == "s"
    assert problems(shop) == ""


def test_a_booking_of_a_withdrawn_event_can_be_refunded(shop):
    receipt = shop.pay().receipt
    take_off(shop)
    refunds = Refunds(shop.catalogue, shop.seats, shop.bookings, shop.gateway)
    assert refunds.refund(receipt.booking_id).refunded_at
    assert shop.charges() == ["refunded"]
