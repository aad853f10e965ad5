"""What scripts answer before they look at what is asked, for every script that lists it."""

import pytest

from tests.support.factories import BUYER, put_on_sale, small_hall, unique
from tests.support.lua_headers import SCRIPTS, returned_by_header
from web.domain.events import Event
from web.domain.refusals import IdempotencyKeyReused, PaymentDeclined

SWEEP_LIMIT = 100


def scripts_that_answer(answer: str):
    names = [name for name in SCRIPTS if answer in returned_by_header(name)]
    return pytest.mark.parametrize("name", names)


def answer_of(seats, name: str, event: Event, version: str) -> str:
    script = SCRIPTS[name]
    arguments = dict.fromkeys(script.arguments, "1")
    given = {"version": version, "from_version": version, "blocks": ""}
    arguments |= {name: given[name] for name in arguments.keys() & given}
    return seats._client.run(name, event.id, "digest", arguments)[0]


@scripts_that_answer("event_missing")
def test_an_event_that_is_not_there_is_missing(seats, name):
    hall = small_hall()
    assert answer_of(seats, name, hall, hall.version) == "event_missing"


@scripts_that_answer("event_closed")
def test_an_event_that_is_being_built_is_closed(seats, name):
    hall = small_hall()
    seats.build_event(hall)
    assert answer_of(seats, name, hall, hall.version) == "event_closed"


@scripts_that_answer("event_changed")
def test_an_event_that_was_opened_again_has_changed(seats, event, name):
    assert answer_of(seats, name, event, "a former version") == "event_changed"


@scripts_that_answer("sweep_again")
def test_more_expired_holds_than_one_call_frees_ask_for_another(seats, redis_client, name):
    hall = small_hall(hold_ms=60_000)
    put_on_sale(seats, hall)
    held = seats.hold_seats(hall, f"hld_{hall.id}", "first", [0])
    stored = redis_client.hget(f"holds:{{{hall.id}}}", held.id)
    for number in range(SWEEP_LIMIT):
        redis_client.hset(f"holds:{{{hall.id}}}", f"hld_old{number}", stored)
        redis_client.zadd(f"due:{{{hall.id}}}", {f"hld_old{number}": number})
    assert answer_of(seats, name, hall, hall.version) == "sweep_again"
    assert answer_of(seats, name, hall, hall.version) != "sweep_again"


def test_a_seat_map_that_has_not_changed_is_not_sent_again(seats, event):
    revision = seats.read_seats(event.id).revision
    assert seats.read_changed_seats(event.id, revision) is None


def test_a_hold_that_never_was_is_not_found(seats, event):
    assert seats.read_hold(event, "hld_none") is None


def test_a_key_is_good_for_one_payment_only(seats, event):
    hold = seats.hold_seats(event, unique("hld"), "client", [0])
    payment = seats.begin_payment(event, hold.id, BUYER, "digest", "fingerprint")
    seats.undo_payment(payment, PaymentDeclined("generic_decline", "Your card was declined."))
    with pytest.raises(IdempotencyKeyReused):
        seats.begin_payment(event, hold.id, BUYER, "digest", "another fingerprint")
