"""A worker whose clock is wrong by an hour does the same as one whose clock is right."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ops.servers import REPOSITORY
from tests.support.application import REQUIRED
from tests.support.environment import inherited
from tests.support.factories import put_on_sale, small_hall
from tests.support.redis_clock import scripts_on_test_clock, set_clock
from tests.support.redis_stores import seats_on, servers_at
from tests.support.shop import Shop, undo_payment
from web.adapters.stripe.gateway import StripeGateway
from web.signing.shop_tags import shop_tag

LEASE_S = 2.0
SETTLED_S = 2 * LEASE_S + 2
"""The resolution of the gateway's clock."""

AN_HOUR = timedelta(hours=1)


@pytest.fixture
def shop(event, seats, bookings, sandbox, raw_redis) -> Shop:
    raw_redis.flushdb()
    put_on_sale(seats, event)
    tag = shop_tag(REQUIRED["SECRET_KEY"])
    return Shop(event, seats, bookings, StripeGateway("sk_test_clocks", sandbox.url, shop=tag))


Round = Callable[[], datetime]


@pytest.fixture(params=["-1h", "+1h"])
def work(request, shop, private_redis_url, mongo_server, sandbox) -> Iterator[Round]:
    """Run a round of a worker with a wrong clock. Returns the time by that clock."""
    worker = subprocess.Popen(
        ["faketime", "-f", request.param, sys.executable, "-m", "tests.faults.shifted_worker"],
        env=inherited()
        | {
            "REDIS_URL": private_redis_url,
            "MONGODB_URI": mongo_server.url.replace("/tickets", "/private"),
            "STRIPE_API_BASE": sandbox.url,
            "PAYMENT_LEASE_S": str(LEASE_S),
        },
        cwd=REPOSITORY,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def round_() -> datetime:
        worker.stdin.write("\n")
        worker.stdin.flush()
        return datetime.fromisoformat(worker.stdout.readline().strip())

    with worker:
        yield round_
        worker.stdin.close()


def pay_and_die(shop: Shop) -> None:
    """When the card is charged."""
    shop.gateway.fail("authorize", KeyboardInterrupt(), after=True)
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.gateway.heal()


def test_money_that_nobody_needs_is_let_go_when_its_time_has_come_and_not_before(shop, work):
    believed = work()
    assert abs(believed - datetime.now(UTC)) > AN_HOUR - timedelta(minutes=1)
    pay_and_die(shop)
    undo_payment(shop)
    work()
    assert shop.charges() == ["authorized"], "somebody may still be at work on it"
    time.sleep(SETTLED_S)
    work()
    assert shop.charges() == ["voided"]


def test_a_payment_whose_process_died_is_finished(shop, work):
    work()
    pay_and_die(shop)
    shop.let_leases_run_out()
    work()
    assert (shop.state(), shop.charges()) == ("s", ["captured"])
    assert abs(shop.booking().booked_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_payment_under_way_when_redis_was_lost_is_finished(shop, work):
    work()
    pay_and_die(shop)
    shop.redis.delete(*shop.redis.keys(f"*{{{shop.event.id}}}*"))
    work()
    assert shop.state() == "p"
    shop.let_leases_run_out()
    work()
    assert (shop.state(), shop.charges()) == ("s", ["captured"])


def test_a_booking_has_its_moment_from_redis(private_redis_url, raw_redis, bookings, sandbox):
    store = seats_on(servers_at(private_redis_url), scripts=scripts_on_test_clock())
    hall = small_hall()
    put_on_sale(store, hall)
    ahead = datetime.now(UTC) + AN_HOUR
    set_clock(raw_redis, hall.id, int(ahead.timestamp() * 1000))
    shop = Shop(hall, store, bookings, StripeGateway("sk_test_clocks", sandbox.url))
    shop.pay()
    assert timedelta(0) <= shop.booking().booked_at - ahead < timedelta(minutes=1)
