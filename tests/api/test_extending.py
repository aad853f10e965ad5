"""A hold that gets its time once more."""

import time

import pytest

from tests.support.factories import BUYER, put_on_sale, small_hall, unique
from tests.support.http_client import Client, assert_problem, bearer
from web.domain.refusals import AlreadyExtended, PaymentDeclined, PaymentInProgress

HOLD_MS = 60_000


@pytest.fixture
def buyer(stack, event) -> Client:
    return Client(stack.url, event.id)


def extend(client: Client, hold: dict):
    return client.call("POST", f"holds/{hold['hold_id']}/extend", headers=bearer(hold))


def test_a_hold_gets_as_much_time_again_as_a_new_one_has(buyer):
    hold = buyer.held("stalls-A-1", "stalls-A-2")
    answer = extend(buyer, hold)
    assert answer.status_code == 200
    extended = answer.json()
    assert HOLD_MS < extended["expires_in_ms"] <= 2 * HOLD_MS
    changed = {name for name in extended if extended[name] != hold[name]}
    assert changed == {"expires_in_ms", "expires_at"}
    assert buyer.look_up(hold).json()["expires_at"] == extended["expires_at"]


def test_it_does_so_once(buyer):
    hold = buyer.held("stalls-A-1")
    extended = extend(buyer, hold).json()
    assert_problem(extend(buyer, hold), 409, "already_extended")
    assert buyer.look_up(hold).json()["expires_at"] == extended["expires_at"]


def test_the_seats_stay_held_for_that_long_and_no_longer(seats, redis_client):
    hall = small_hall(hold_ms=2000)
    put_on_sale(seats, hall)
    hold = seats.hold_seats(hall, unique("hld"), "client", [0])
    seats.extend_hold(hall, hold.id)
    assert redis_client.zscore(f"due:{{{hall.id}}}", hold.id) == hold.expires_at_ms + 2000
    time.sleep(2.05)
    seats.sweep_holds(hall.id)
    assert seats.read_hold(hall, hold.id)
    time.sleep(2)
    assert seats.extend_hold(hall, hold.id) is None
    seats.sweep_holds(hall.id)
    assert seats.read_seats(hall.id).seats[0] == "0"


def test_a_hold_that_ran_out_is_not_brought_back(stack, seats):
    hall = small_hall(hold_ms=100)
    put_on_sale(seats, hall)
    buyer = Client(stack.url, hall.id)
    hold = buyer.held("stalls-A-1")
    time.sleep(0.15)
    assert_problem(extend(buyer, hold), 410, "hold_expired")
    assert buyer.seat_map()[0] == "0"


def test_without_its_token_there_is_no_such_hold(buyer):
    hold = buyer.held("stalls-A-1")
    other = hold | {"hold_token": "wrong"}
    assert_problem(extend(buyer, other), 404, "hold_not_found")
    assert buyer.look_up(hold).json()["expires_at"] == hold["expires_at"]


def test_what_is_booked_needs_no_more_time(buyer):
    hold = buyer.held("stalls-A-1")
    receipt = buyer.pay(hold).json()
    problem = assert_problem(extend(buyer, hold), 409, "already_booked")
    assert problem["booking_id"] == receipt["booking_id"]


def test_a_payment_under_way_needs_none_and_keeps_the_extension_when_it_is_undone(seats, event):
    hold = seats.hold_seats(event, unique("hld"), "client", [0])
    extended = seats.extend_hold(event, hold.id)
    payment = seats.begin_payment(event, hold.id, BUYER, "digest", "fingerprint")
    with pytest.raises(PaymentInProgress):
        seats.extend_hold(event, hold.id)
    seats.undo_payment(payment, PaymentDeclined("generic_decline", "Your card was declined."))
    known = seats.read_hold(event, hold.id)
    assert known.expires_at_ms == extended.expires_at_ms
    assert (known.extended, known.refused_cards) == (True, 1)
    with pytest.raises(AlreadyExtended):
        seats.extend_hold(event, hold.id)


def test_a_call_that_is_sent_again_after_a_lost_answer_hears_the_same(seats, event, monkeypatch):
    monkeypatch.setattr(
        "web.adapters.redis.seat_store.secrets.token_hex", lambda length: "one call"
    )
    hold = seats.hold_seats(event, unique("hld"), "client", [0])
    first, again = seats.extend_hold(event, hold.id), seats.extend_hold(event, hold.id)
    assert first.expires_at_ms == again.expires_at_ms == hold.expires_at_ms + event.hold_ms
