"""During an upgrade two versions run side by side. What the newer one stores, the older one reads
and keeps as it is. The newer version is this one, with a field more in whatever it stores."""

import json
from dataclasses import replace

import pytest

from tests.support.factories import BUYER, put_on_sale, small_hall
from tests.support.redis_stores import commands_of, seats_on, servers_at
from tests.support.shop import Shop, lose, problems, reconciler_of
from web.adapters.redis.scripts import LuaScript, read_scripts
from web.adapters.stripe.gateway import StripeGateway
from web.domain.refusals import EarlierRefusal, PaymentDeclined, Unavailable
from web.use_cases.refunds import Refunds

FIELD, VALUE = "of_a_newer_version", "something"
DECLINING = replace(BUYER, payment_method="pm_card_visa_chargeDeclined")


def scripts_of_a_newer_version() -> dict[str, LuaScript]:
    """New holds have the field."""

    def newer(source: str) -> str:
        return f"-- newer\n{source}".replace("refused = 0,", f"refused = 0, {FIELD} = '{VALUE}',")

    return {
        name: replace(script, source=newer(script.source))
        for name, script in read_scripts().items()
    }


@pytest.fixture(autouse=True)
def no_other_events(raw_redis):
    raw_redis.flushdb()


@pytest.fixture
def older(no_other_events, event, seats, bookings, sandbox) -> Shop:
    shop = Shop(event, seats, bookings, StripeGateway("sk_test_two_versions", sandbox.url))
    seats.release_hold(event.id, shop.hold.id)
    return shop


@pytest.fixture
def newer(older, private_redis_url, bookings) -> Shop:
    store = seats_on(servers_at(private_redis_url), scripts=scripts_of_a_newer_version())
    shop = Shop(older.event, store, bookings, older.gateway._target)
    older.hold, older.ref = shop.hold, shop.ref
    return shop


def hold_of(shop: Shop) -> dict:
    return json.loads(shop.redis.hget(f"holds:{{{shop.event.id}}}", shop.hold.id))


def break_off_after_authorizing(shop: Shop) -> None:
    """A payment whose metadata at the gateway has the field, too, and whose process is killed."""
    authorize = shop.gateway._target.authorize

    def authorize_and_die(*arguments):
        *others, metadata, way_back = arguments
        authorize(*others, metadata | {FIELD: VALUE}, way_back)
        raise KeyboardInterrupt

    shop.gateway.authorize = authorize_and_die
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    del shop.gateway.authorize


def test_requests_for_one_hold_may_come_to_hosts_of_both_versions_in_turn(older, newer):
    assert older.seats._target.extend_hold(older.event, older.hold.id)
    for number, shop in enumerate((newer, older)):
        with pytest.raises(PaymentDeclined):
            shop.pay(f"key {number}", DECLINING)
    assert hold_of(older)[FIELD] == VALUE, "the newer version finds what it has stored"
    assert hold_of(older)["refused"] == 2
    receipt = newer.pay().receipt
    assert older.pay().receipt == receipt
    assert problems(older) == problems(newer) == ""
    scripts = [shop.seats._target._client._scripts["begin_payment"] for shop in (older, newer)]
    shas = [script.sha for script in scripts]
    redis = commands_of(older.seats._target, older.event.id)
    assert redis.script_exists(*shas) == [True, True], "each version's own"


def test_an_older_host_repeats_the_refusal_that_a_newer_one_has_stored(older, newer):
    with pytest.raises(PaymentDeclined) as first:
        newer.pay("key", DECLINING)
    (key,) = newer.redis.keys(f"receipt:{{{newer.event.id}}}:*")
    kept = json.loads(newer.redis.get(key))
    kept["outcome"] = json.dumps(json.loads(kept["outcome"]) | {FIELD: VALUE})
    newer.redis.set(key, json.dumps(kept), keepttl=True)
    with pytest.raises(EarlierRefusal) as repeated:
        older.pay("key", DECLINING)
    assert vars(repeated.value.refusal) == vars(first.value)


@pytest.mark.parametrize("redis_was_lost", [False, True])
def test_a_payment_that_broke_off_at_a_newer_host_is_ended_by_an_older_worker(
    older, newer, redis_was_lost
):
    break_off_after_authorizing(newer)
    hold = hold_of(newer)
    hold["intent"] = json.dumps(json.loads(hold["intent"]) | {FIELD: VALUE})
    newer.redis.hset(f"holds:{{{newer.event.id}}}", newer.hold.id, json.dumps(hold))
    worker = reconciler_of(older)
    worker.round()
    if redis_was_lost:
        lose(older)
        worker.round()
    older.let_leases_run_out()
    worker.round()
    assert (older.state(), older.charges()) == ("s", ["captured"])
    assert newer.pay().replayed
    assert problems(older) == ""


def test_an_older_host_shows_and_refunds_a_booking_of_a_newer_one_and_keeps_its_fields(
    older, newer
):
    receipt = newer.pay().receipt
    collection = older.bookings._target._collection
    collection.update_one({"_id": receipt.booking_id}, {"$set": {FIELD: VALUE}})
    assert older.booking().receipt() == receipt
    Refunds(older.catalogue, older.seats, older.bookings, older.gateway).refund(receipt.booking_id)
    assert collection.find_one({"_id": receipt.booking_id})[FIELD] == VALUE
    assert older.state() == "0"
    assert problems(older) == ""


def test_an_older_host_sells_no_event_whose_definition_it_does_not_understand_and_all_others(
    older, newer, seats, bookings
):
    definition = json.loads(older.event.definition) | {FIELD: VALUE}
    key = f"event:{{{older.event.id}}}"
    fields = {"definition": json.dumps(definition), "version": "of a newer version"}
    newer.redis.hset(key, mapping=fields)
    with pytest.raises(Unavailable):
        older.hold_again("stalls-A-1")
    worker = reconciler_of(older)
    worker.declare([])
    worker.round()
    worker.round()
    assert newer.redis.hmget(key, *fields) == list(fields.values()), "the worker leaves it alone"
    other = small_hall()
    put_on_sale(seats, other)
    neighbour = Shop(other, seats, bookings, older.gateway._target)
    assert neighbour.pay().receipt
