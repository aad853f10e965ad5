"""Which clients and networks unpaid seats count for, including holds of older releases."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.factories import (
    BUYER,
    SMALL_HALL,
    lose_event,
    put_on_sale,
    small_hall,
    two_halves,
    unique,
)
from tests.support.redis_stores import commands_of
from tests.support.shop import TOKENS
from web.domain.refusals import PaymentDeclined, TooManyHeldByNetwork
from web.domain.sales import Booking, booking_id_of
from web.ports.payment_gateway import GatewayPayment
from web.ports.seat_store import LostPayments
from web.use_cases.box_office import BoxOffice
from web.use_cases.gateway_metadata import metadata_of, payment_of

NEIGHBOURS = ("2001:db8:1:1::/64", "2001:db8:1:2::/64")


@pytest.fixture
def counted(redis_client, event):
    def read() -> dict[str, str]:
        return redis_client.hgetall(f"clients:{{{event.id}}}")

    return read


@pytest.fixture
def hold(seats, event):
    return seats.hold_seats(event, unique("hld"), "ada", [0, 1], "home")


def end_by_release(seats, event, hold):
    seats.release_hold(event.id, hold.id)


def end_by_refused_cards(seats, event, hold):
    for number in range(5):
        payment = seats.begin_payment(event, hold.id, BUYER, f"key-{number}", "fingerprint")
        seats.undo_payment(payment, PaymentDeclined("generic_decline", "Declined."))


def end_by_booking(seats, event, hold):
    payment = seats.begin_payment(event, hold.id, BUYER, "key", "fingerprint")
    booking = Booking(
        id=booking_id_of(hold.id),
        hold_id=hold.id,
        event_id=event.id,
        seats=hold.seats,
        amount_minor=hold.amount_minor,
        currency=hold.currency,
        payment_id=None,
        booked_at=datetime.now(UTC),
        email=BUYER.email,
        name=BUYER.name,
        key_digest=payment.key_digest,
        fingerprint=payment.fingerprint,
    )
    seats.confirm_booking(event, booking)


def end_by_time(seats, event, hold):
    key = f"{{{event.id}}}"
    commands = commands_of(seats, event.id)
    stored = json.loads(commands.hget(f"holds:{key}", hold.id)) | {"deadline_ms": 1}
    commands.hset(f"holds:{key}", hold.id, json.dumps(stored))
    commands.zadd(f"due:{key}", {hold.id: 1})
    seats.sweep_holds(event.id)


ENDS = [end_by_release, end_by_refused_cards, end_by_booking, end_by_time]


@pytest.mark.parametrize("end", ENDS)
def test_a_hold_counts_for_client_and_network_until_it_ends(seats, event, hold, counted, end):
    assert counted() == {"ada": "2", "home": "2"}
    end(seats, event, hold)
    assert counted() == {}


@pytest.mark.parametrize("end", ENDS)
def test_a_hold_of_a_former_release_has_no_network_to_count_for(
    seats, event, hold, counted, redis_client, end
):
    holds, clients = f"holds:{{{event.id}}}", f"clients:{{{event.id}}}"
    stored = json.loads(redis_client.hget(holds, hold.id))
    del stored["network"]
    redis_client.hset(holds, hold.id, json.dumps(stored))
    redis_client.hdel(clients, "home")
    neighbours = seats.hold_seats(event, unique("hld"), "bob", [8], "home")
    end(seats, event, hold)
    assert counted() == {"bob": "1", "home": "1"}
    seats.release_hold(event.id, neighbours.id)
    assert counted() == {}


def test_a_payment_and_an_extension_change_no_count(seats, event, hold, counted):
    seats.extend_hold(event, hold.id)
    payment = seats.begin_payment(event, hold.id, BUYER, "key", "fingerprint")
    assert counted() == {"ada": "2", "home": "2"}
    seats.undo_payment(payment, None)
    assert counted() == {"ada": "2", "home": "2"}


def test_a_definition_of_a_former_release_keeps_its_version(seats, catalogue, redis_client):
    """Otherwise no script would take it for the one on sale."""
    former = {"timezone": None, "starts_at": None, "sale_closes_at": None}
    assert replace(SMALL_HALL, **former).version == "0c23bdc8882c096a"
    event = small_hall(**former)
    put_on_sale(seats, event)
    assert b"network" not in event.definition
    found = catalogue.current_event(event.id)
    assert (found.version, found.network_max) == (event.version, 32)


@pytest.mark.parametrize(
    ("capacity", "declared", "most"), [(900, None, 64), (50_000, None, 1000), (50_000, 20, 20)]
)
def test_a_network_may_hold_as_much_as_four_clients_or_a_fiftieth_of_the_hall(
    capacity, declared, most
):
    event = two_halves("hall", capacity // 2, max_held_per_client=16, max_held_per_network=declared)
    assert event.network_max == most


def test_payments_under_way_count_for_their_network_after_redis_was_lost(
    seats, catalogue, bookings, redis_client
):
    event = small_hall(max_held_per_network=8)
    put_on_sale(seats, event)
    box_office = BoxOffice(catalogue, seats, bookings, TOKENS)
    ada, bob = NEIGHBOURS
    six, _ = box_office.hold_seats(event.id, ada, event.seats[:6])
    payment = seats.begin_payment(event, six.id, BUYER, "key", "fingerprint")
    metadata = metadata_of(payment)
    assert "2001:db8" not in str(metadata)
    told = GatewayPayment("pi_1", "key", 1, "GBP", "authorized", datetime.now(UTC), metadata)
    lose_event(redis_client, event.id)
    seats.build_event(event)
    seats.open_event(event, sold=[], payments=LostPayments([payment_of(told)]))
    with pytest.raises(TooManyHeldByNetwork):
        box_office.hold_seats(event.id, bob, event.seats[8:11])
    box_office.hold_seats(event.id, bob, event.seats[8:10])
    seats.undo_payment(payment_of(told), None)
    box_office.hold_seats(event.id, bob, event.seats[10:14])
