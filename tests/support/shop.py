"""A checkout on real stores whose parts can be made to fail, with its worker and its audit."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from tests.support.factories import BUYER, WAY_BACK, lose_event, unique
from tests.support.redis_stores import audited, client_beside
from web.domain.sales import HoldRef, booking_id_of
from web.signing.hold_tokens import HoldTokens
from web.use_cases.audit import Check, audit
from web.use_cases.box_office import BoxOffice
from web.use_cases.checkout import Checkout
from web.use_cases.reconciliation import Reconciler

TOKENS = HoldTokens("a secret key of tests")


class Faulty:
    """``target`` with faults: ``fail(method, error, times=…)``. ``after`` says that the call takes
    effect and only its answer is lost. ``calls`` are the names of all calls that were made."""

    def __init__(self, target):
        self._target = target
        self._faults = {}
        self.calls = []

    def fail(self, method: str, error: Exception, times: int = 10**6, after: bool = False) -> None:
        self._faults[method] = (error, times, after)

    def heal(self) -> None:
        self._faults.clear()

    def __getattr__(self, name):
        method = getattr(self._target, name)

        def call(*arguments, **named):
            self.calls.append(name)
            error, times, after = self._faults.get(name, (None, 0, False))
            if not times:
                return method(*arguments, **named)
            self._faults[name] = (error, times - 1, after)
            if after:
                method(*arguments, **named)
            raise error

        return call


class Shop:
    """A checkout whose parts can be made to fail, and a held seat to pay for."""

    def __init__(self, event, seats, bookings, gateway):
        self.event = event
        self.redis_servers, self.redis = seats._client._servers, client_beside(seats)
        self.catalogue, self.audited_seats = Faulty(seats._catalogue), Faulty(audited(seats))
        self.began = datetime.now(UTC)
        self.seats, self.bookings, self.gateway = Faulty(seats), Faulty(bookings), Faulty(gateway)
        self.box_office = BoxOffice(seats._catalogue, seats, bookings, TOKENS)
        self.checkout = Checkout(self.catalogue, self.seats, self.bookings, self.gateway, TOKENS)
        self.hold_again("stalls-B-1")

    def hold_again(self, *held_seats):
        client = unique("client")
        self.hold, token = self.box_office.hold_seats(self.event.id, client, held_seats)
        self.ref = HoldRef(self.event.id, self.hold.id, token)

    def pay(self, key="key", buyer=BUYER, way_back=WAY_BACK):
        return self.checkout.pay(self.ref, key, buyer, way_back)

    def booking(self):
        return self.bookings._target.find(booking_id_of(self.hold.id))

    def charges(self) -> list[str]:
        """The status at the gateway of each payment for this hold."""
        event_payments = self.gateway._target.list(self.began)
        return [p.status for p in event_payments if p.metadata["hold_id"] == self.hold.id]

    def state(self) -> str:
        position = self.event.positions[self.hold.seats[0]]
        return self.seats._target.read_seats(self.event.id).seats[position]

    def let_leases_run_out(self):
        payments = f"payments:{{{self.event.id}}}"
        for hold_id in self.redis.zrange(payments, 0, -1):
            self.redis.zadd(payments, {hold_id: 0})

    def work(self):
        """Run one round of the worker, after all leases have run out."""
        self.let_leases_run_out()
        while payment := self.seats._target.claim_lapsed_payment(self.event):
            self.checkout.resume(payment)


def lose(shop: Shop) -> None:
    """Delete the event from Redis."""
    lose_event(shop.redis, shop.event.id)


def going_back(shop: Shop) -> Callable[[], None]:
    """Called, it takes what Redis knows of the event back to how it is now, as when it was started
    with an older file or a lagging replica took over."""
    keys = f"*{{{shop.event.id}}}*"
    before = {key: shop.redis.dump(key) for key in shop.redis.keys(keys)}

    def go_back() -> None:
        shop.redis.delete(*shop.redis.keys(keys))
        for key, value in before.items():
            shop.redis.restore(key, 0, value)

    return go_back


def look_like_another_server(shop: Shop) -> None:
    """As if the Redis that opened the event had been another one."""
    shop.redis.hset(f"event:{{{shop.event.id}}}", "server", "another")


def undo_payment(shop: Shop) -> None:
    """Undo the payment in Redis, as if it had never begun there."""
    shop.let_leases_run_out()
    payment = shop.seats._target.claim_lapsed_payment(shop.event)
    shop.seats._target.undo_payment(payment, None)


def reconciler_of(shop: Shop, **options) -> Reconciler:
    """A reconciler that treats even a payment from this second as abandoned."""
    reconciler = Reconciler(
        shop.catalogue,
        shop.seats,
        shop.bookings,
        shop.gateway,
        shop.checkout,
        [shop.event],
        **options,
    )
    reconciler._settles_after = timedelta(seconds=-2)
    return reconciler


class OnlyThisEvent:
    """A store that shows only this event, so that those of other tests are not audited."""

    def __init__(self, store, event_id):
        self._store, self._event_id = store, event_id

    def event_ids(self):
        return [self._event_id]

    def list(self):
        return self._store.list(self._event_id)

    def __getattr__(self, name):
        return getattr(self._store, name)


def stores_of(shop: Shop) -> tuple:
    """The stores that the audit compares."""
    only_its = partial(OnlyThisEvent, event_id=shop.event.id)
    return only_its(shop.catalogue), shop.audited_seats, only_its(shop.bookings)


def checks_of(shop: Shop) -> list[Check]:
    """The audit of the shop's event."""
    shop.gateway.list = lambda since: (
        payment
        for payment in shop.gateway._target.list(since)
        if payment.metadata["event"] == shop.event.id
    )
    return audit(*stores_of(shop), shop.gateway)


def problems(shop: Shop) -> str:
    """Everything that the audit finds wrong with the shop's event."""
    checks = checks_of(shop)
    assert len(checks) == 12
    return "\n".join(finding for check in checks for finding in check.findings)
