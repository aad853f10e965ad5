"""Redis loses one key of an event, or a part of it, and keeps the others: an operator deleted it,
or a restore was interrupted. Until the worker has rebuilt the event no buyer gets an answer that
may be wrong, and then everything is as after the loss of the whole event."""

from collections.abc import Callable

import pytest

from tests.support.factories import BUYER, WAY_BACK, unique
from tests.support.shop import Shop, problems, reconciler_of
from web.adapters.redis.event_catalogue import CATALOGUE_KEY
from web.adapters.stripe.gateway import StripeGateway
from web.domain.refusals import AlreadyBooked, PaymentInProgress, Refusal, SeatTaken, Unavailable
from web.use_cases import checkout
from web.use_cases.opening import Opening

SOLD, HELD, FREE = "stalls-A-1", "stalls-A-2", "stalls-A-3"
"""Besides, stalls-B-1 is being paid for."""

KEYS = ("event", "seats", "holds", "due", "clients", "payments", "journal")


def delete(redis, key: str) -> None:
    redis.delete(key)


def make_another_type(redis, key: str) -> None:
    redis.delete(key)
    redis.lpush(key, "something else")


def lose_field(field: str) -> Callable:
    def lose(redis, key: str) -> None:
        redis.hdel(key, field)

    lose.__name__ = f"lose_{field}"
    return lose


def lose_one(redis, key: str) -> None:
    """Remove one member of the key, or the end of a string."""
    match redis.type(key):
        case "string":
            redis.set(key, redis.get(key)[:-3])
        case "hash":
            redis.hdel(key, redis.hkeys(key)[0])
        case "zset":
            redis.zpopmin(key)


LOSSES = (
    [(key, delete) for key in KEYS]
    + [(key, make_another_type) for key in KEYS]
    + [(key, lose_one) for key in ("seats", "holds", "due", "payments")]
    + [
        ("event", lose_field(field))
        for field in ("version", "definition", "revision", "opens_at_ms", "hold_ms", "max_held")
    ]
)
NAMES = [f"{key}-{lose.__name__}" for key, lose in LOSSES]


@pytest.fixture
def shop(event, seats, catalogue, bookings, sandbox, raw_redis):
    """A seat in each state; the process that was paying has been killed after the authorisation."""
    raw_redis.delete(CATALOGUE_KEY)
    catalogue.add([event.id])
    shop = Shop(event, seats, bookings, StripeGateway("sk_test_partial_loss", sandbox.url))
    shop.gateway.fail("authorize", KeyboardInterrupt(), after=True)
    with pytest.raises(KeyboardInterrupt):
        shop.pay("paying")
    shop.gateway.heal()
    shop.paying = (shop.hold, shop.ref)
    shop.hold_again(SOLD)
    shop.pay("sold")
    shop.hold_again(HELD)
    return shop


def calls(shop) -> dict[str, Callable[[], object]]:
    """Every request that buyers make, for a seat in each state."""
    event_id, office, ref = shop.event.id, shop.box_office, shop.ref
    _, paying = shop.paying
    return {
        "map": lambda: shop.seats._target.read_seats(event_id),
        "hold": lambda: office.hold_seat(event_id, unique("client"), FREE),
        "sold": lambda: office.hold_seat(event_id, unique("client"), SOLD),
        "best": lambda: office.hold_best(event_id, unique("client"), "stalls", 2),
        "look": lambda: office.hold(ref),
        "extend": lambda: office.extend(ref),
        "repeat": lambda: shop.checkout.pay(paying, "paying", BUYER, WAY_BACK),
        "pay": lambda: shop.checkout.pay(ref, "held", BUYER, WAY_BACK),
        "release": lambda: office.release(ref),
    }


REFUSED = {
    "sold": SeatTaken,
    "repeat": PaymentInProgress,
    "release": (AlreadyBooked, PaymentInProgress),  # it comes after "pay"
}
"""The answers of a shop that has lost nothing."""


@pytest.mark.parametrize(("key", "lose"), LOSSES, ids=NAMES)
def test_until_the_worker_has_looked_nobody_is_told_what_may_be_wrong(shop, key, lose, monkeypatch):
    monkeypatch.setattr(checkout, "REPEAT_WAIT_S", 0)
    lose(shop.redis, f"{key}:{{{shop.event.id}}}")
    for name, call in calls(shop).items():
        try:
            answer = call()
        except Unavailable:
            continue
        except Refusal as refusal:
            assert isinstance(refusal, REFUSED.get(name, ())), name
            continue
        if name == "map":
            assert len(answer.seats) == len(shop.event.seats)
            assert (answer.seats[:3], answer.seats[8]) == ("sh0", "p")


@pytest.mark.parametrize(("key", "lose"), LOSSES, ids=NAMES)
def test_the_worker_builds_an_event_again_that_has_lost_a_part(shop, key, lose):
    reconciler = reconciler_of(shop)
    reconciler.round()
    lose(shop.redis, f"{key}:{{{shop.event.id}}}")
    reconciler.round()
    shop.let_leases_run_out()
    reconciler.round()
    assert not problems(shop)
    seat_map = shop.seats._target.read_seats(shop.event.id).seats
    assert (seat_map[0], seat_map[2], seat_map[8]) == ("s", "0", "s")
    shop.hold, shop.ref = shop.paying
    assert shop.pay("paying").replayed and shop.charges() == ["captured"]
    shop.hold_again(FREE)
    shop.pay("another")
    assert not problems(shop)


@pytest.mark.parametrize(("key", "lose"), LOSSES, ids=NAMES)
def test_so_does_a_worker_that_never_saw_it_whole(shop, key, lose):
    lose(shop.redis, f"{key}:{{{shop.event.id}}}")
    reconciler = reconciler_of(shop)
    for _ in range(2):
        reconciler.round()
        shop.let_leases_run_out()
    assert not problems(shop)


@pytest.mark.parametrize("knew_it", [True, False])
def test_an_event_that_is_older_than_its_journal_is_opened_again(shop, raw_redis, knew_it):
    """The next changes cannot be recorded under their revisions."""
    event_key = f"event:{{{shop.event.id}}}"
    before = raw_redis.dump(event_key)
    reconciler = reconciler_of(shop)
    shop.pay("held")
    if knew_it:
        reconciler.round()
    raw_redis.restore(event_key, 0, before, replace=True)
    shop.hold_again(FREE)
    shop.pay("another")
    reconciler.round()
    assert reconciler.repairs["reopened"] == 1
    shop.let_leases_run_out()
    reconciler.round()
    assert not problems(shop)


def test_all_that_says_who_holds_is_lost_at_once(shop):
    """Only the map shows that there were holds."""
    for key in ("holds", "due", "payments", "clients"):
        delete(shop.redis, f"{key}:{{{shop.event.id}}}")
    reconciler = reconciler_of(shop)
    reconciler.round()
    shop.let_leases_run_out()
    reconciler.round()
    assert not problems(shop)


def test_an_operator_who_opens_the_event_repairs_it_too(shop):
    delete(shop.redis, f"seats:{{{shop.event.id}}}")
    Opening(shop.catalogue, shop.seats, shop.bookings, shop.gateway).open_events([shop.event])
    assert shop.seats._target.read_seats(shop.event.id).seats[0] == "s"


@pytest.mark.parametrize("lose", [delete, make_another_type])
def test_the_list_of_what_is_on_sale_is_lost(shop, lose):
    reconciler = reconciler_of(shop)
    reconciler.round()
    lose(shop.redis, CATALOGUE_KEY)
    with pytest.raises(Unavailable):
        shop.catalogue._target.event_ids()
    reconciler.round()
    assert shop.catalogue._target.event_ids() == [shop.event.id]
