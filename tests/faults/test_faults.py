"""The fault matrix: a complete TicketS on real processes, buyers who keep buying, and one fault
after another. ``docs/failures.md`` describes what each means for buyers."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from ops.servers import MongoDB
from ops.stores import REDIS
from tests.faults.breakable_site import WAITS_S, BreakableSite, breakable_site
from tests.support.factories import put_on_sale, small_hall
from tests.support.redis_clock import scripts_on_test_clock, set_clock
from tests.support.redis_stores import seats_on, servers_at
from tests.support.shop import Shop, lose, problems
from tests.support.waiting import eventually
from web.adapters.stripe.gateway import StripeGateway
from web.domain.refusals import HoldExpired, PaymentPending, Refusal
from web.use_cases.opening import Opening

LEASE_S = 3

DAY_MS = 24 * 60 * 60 * 1000

pytestmark = pytest.mark.timeout(300)
"""More than all waits of a test together, so that a wait that fails can name what did not come."""


@pytest.fixture(scope="module")
def site(tmp_path_factory, redis_kind) -> Iterator[BreakableSite]:
    folder = tmp_path_factory.mktemp("faults")
    mongo = MongoDB(folder / "mongo", folder / "mongod.log")
    redis_store = REDIS[redis_kind].make(folder / "redis", folder, ())
    with breakable_site(folder, mongo, LEASE_S, redis_store) as running:
        yield running


# ---------------------------------------------------------------- Redis


@pytest.mark.one_redis
def test_redis_killed_and_started_again_from_its_append_only_file(site):
    with site.crowd():
        site.redis.kill()
        time.sleep(1)
        site.redis.start()


def test_redis_loses_everything_and_the_sale_goes_on_by_itself(site):
    with site.crowd() as crowd:
        site.await_payment_under_way()
        sold = {
            seat for receipt in list(crowd.outcomes.receipts.values()) for seat in receipt["seats"]
        }
        site.redis_client.flushall()
        answers = await_map(site)
        assert set(answers[:-1]) <= {503}, "it is not there, and not empty"
        for seat, state in seat_states(site).items():
            assert state == "s" or seat not in sold, f"{seat} is sold, and shown as {state}"


def await_map(site) -> list[int]:
    """Poll the seat map until it is there; returns all answers."""
    answers = []
    while answers[-1:] != [200]:
        answers.append(site.client().call("GET", "seats").status_code)
        assert len(answers) < 400, "the event is not opened again"
        time.sleep(0.05)
    return answers


def seat_states(site) -> dict[str, str]:
    client = site.client()
    sections = client.call("GET", "").json()["sections"]
    seats = [seat for section in sections for row in section["rows"] for seat in row["seats"]]
    return dict(zip(seats, client.seat_map(), strict=True))


def test_redis_forgets_the_scripts(site):
    with site.crowd() as crowd:
        for _ in range(5):
            site.redis_client.script_flush()
            crowd.await_bookings(1)
    assert set(crowd.outcomes.answers) <= {"201 booked", "402 payment_declined"}, "nobody noticed"


@pytest.mark.one_redis
def test_redis_out_of_memory_refuses_and_loses_nothing(site):
    with site.crowd() as crowd:
        site.redis_client.config_set("maxmemory", 1)
        try:
            eventually(
                lambda: crowd.outcomes.refused_holds["503 unavailable"] > 5,
                "refused holds",
                WAITS_S,
            )
        finally:
            site.redis_client.config_set("maxmemory", 0)
    assert set(crowd.outcomes.refused_holds) <= {"503 unavailable"}


# ---------------------------------------------------------------- MongoDB

# Without free seats: MongoDB's time-outs are longer than the short lease here, and then only the
# gateway shows that a payment was under way.


def test_mongodb_killed_under_load_and_started_again(site):
    with site.crowd("stalls"):
        site.mongo.kill()
        time.sleep(1)
        site.mongo.start()


def test_mongodbs_primary_steps_down(site):
    with site.crowd("stalls"):
        admin = site.collection.database.client.admin
        admin.command("replSetStepDown", 2, secondaryCatchUpPeriodSecs=0, force=True)


# ---------------------------------------------------------------- the gateway


def test_the_gateway_is_down_for_a_while(site):
    with site.crowd() as crowd:
        site.sandbox.kill()
        eventually(
            lambda: crowd.outcomes.answers["503 unavailable"] > 5, "refused payments", WAITS_S
        )
        site.sandbox.start()


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        ("slow_before", 2),
        ("error_after", 0),
        ("error_kept", 0),
        ("duplicate", 0),
        ("drop_after", 0),
    ],
)
def test_the_gateway_misbehaves(site, kind, seconds):
    with site.crowd():
        fault = {"operation": "any", "kind": kind, "seconds": seconds}
        site.sandbox.set_faults(fault)
        try:
            eventually(
                lambda: site.sandbox.faults()[0]["happened"] >= 10, "ten calls gone wrong", WAITS_S
            )
        finally:
            site.sandbox.set_faults()


@pytest.mark.parametrize("kind", ["rate_limited", "lock_timeout"])
def test_the_gateway_has_no_time_for_a_while(site, kind):
    with site.crowd() as crowd:
        site.sandbox.set_faults({"operation": "any", "kind": kind})
        try:
            eventually(lambda: site.sandbox.faults()[0]["happened"] >= 10, "ten calls", WAITS_S)
        finally:
            site.sandbox.set_faults()
    assert "503 unavailable" not in crowd.outcomes.answers, "all payments waited for it"


# ---------------------------------------------------------------- processes


def test_web_workers_are_killed_in_mid_payment(site):
    with site.crowd(), slow_gateway(site, "create", 0.5):
        site.await_charge_under_way()
        for pid in site.web_workers():
            os.kill(pid, signal.SIGKILL)


def test_the_worker_is_killed_in_mid_repair(site):
    with site.crowd():
        with slow_gateway(site, "create", 0.5):
            site.await_charge_under_way()
            for pid in site.web_workers():
                os.kill(pid, signal.SIGKILL)
        with slow_gateway(site, "list", 2):
            # When the lease of a payment has ended, at the latest with the next check of all.
            eventually(
                lambda: site.sandbox.faults()[0]["happened"], "a look at the gateway's list", 60
            )
            site.stack["worker"].kill()
        site.stack["worker"].start()


def test_the_application_is_stopped_in_mid_burst_and_started_again(site):
    with site.crowd() as crowd:
        site.stack["web"].stop()
        assert site.stack["web"].exit_code == 0
        site.stack["web"].start()
    assert "202 paying" not in crowd.outcomes.answers, "what was under way has ended"


@contextmanager
def slow_gateway(site, operation: str, seconds: float) -> Iterator[None]:
    site.sandbox.set_faults({"operation": operation, "kind": "slow_before", "seconds": seconds})
    try:
        yield
    finally:
        site.sandbox.set_faults()


# ---------------------------------------------------------------- the unique index


def test_a_dropped_unique_index_is_noticed_and_made_again(site):
    with site.crowd():
        drop_unique_index(site)
        eventually(lambda: has_unique_index(site), "the index made again", WAITS_S)


def test_the_audit_notices_that_the_unique_index_was_dropped(site):
    site.stack["worker"].stop()  # it would make it again
    drop_unique_index(site)
    audited = site.flask("audit")
    site.collection.create_index([("event", 1), ("seats", 1)], unique=True)
    site.stack["worker"].start()
    assert audited.returncode == 1
    assert "no unique index on bookings (event, seats)" in audited.stdout


def drop_unique_index(site) -> None:
    site.collection.drop_index([("event", 1), ("seats", 1)])


def has_unique_index(site) -> bool:
    return any(index.get("unique") for index in site.collection.index_information().values())


# ---------------------------------------------------------------- the clock of Redis


@pytest.fixture
def clocked_shop(private_redis_url, raw_redis, bookings, sandbox) -> Shop:
    """A shop whose Redis has a clock that the test sets."""
    store = seats_on(servers_at(private_redis_url), scripts=scripts_on_test_clock())
    hall = small_hall()
    put_on_sale(store, hall)
    set_clock(raw_redis, hall.id, now_ms())
    return Shop(hall, store, bookings, StripeGateway("sk_test_clocks", sandbox.url))


def now_ms() -> int:
    return int(time.time() * 1000)


def test_redis_clock_set_forward_ends_holds_and_no_payment(clocked_shop):
    shop = clocked_shop
    paying = shop.hold, shop.ref
    shop.gateway.fail("authorize", KeyboardInterrupt(), after=True)
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.gateway.heal()
    shop.hold_again("stalls-B-2")

    set_clock(shop.redis, shop.event.id, now_ms() + DAY_MS)
    with pytest.raises(HoldExpired):
        shop.pay()
    shop.hold_again("stalls-B-2")
    shop.pay()
    assert shop.seats._target.read_seats(shop.event.id).seats[8:10] == "ps"
    shop.work()
    shop.hold, shop.ref = paying
    assert shop.state() == "s"
    assert shop.charges() == ["captured"]
    assert not problems(shop)


def test_redis_clock_set_back_lets_holds_live_longer_and_sells_nothing_twice(clocked_shop):
    shop = clocked_shop
    set_clock(shop.redis, shop.event.id, now_ms() - DAY_MS)
    receipt = shop.pay().receipt
    shop.hold_again("stalls-B-2")
    set_clock(shop.redis, shop.event.id, now_ms())
    with pytest.raises(HoldExpired):
        shop.pay()
    assert receipt.status == "booked"
    assert shop.seats._target.read_seats(shop.event.id).seats[8:10] == "s0"
    assert not problems(shop)


def test_a_payment_is_found_although_the_clock_of_redis_is_ahead_of_the_gateways(clocked_shop):
    shop = clocked_shop
    set_clock(shop.redis, shop.event.id, now_ms() + DAY_MS)
    shop.hold_again("stalls-B-2")
    shop.gateway.fail("authorize", KeyboardInterrupt(), after=True)
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.gateway.heal()
    shop.work()
    assert (shop.state(), shop.charges()) == ("s", ["captured"])


def test_an_event_that_is_rebuilt_after_the_clock_went_back_has_a_higher_revision_all_the_same(
    seats, event
):
    seen = (now_ms() + DAY_MS) * 1000  # built when the clock was a day ahead
    seats.open_event(event, [], lost_revision=seen)
    assert seats.revision(event.id) > seen


# ---------------------------------------------------------------- Redis lost in mid-payment


@pytest.fixture
def shop(event, seats, bookings, sandbox) -> Shop:
    return Shop(event, seats, bookings, StripeGateway("sk_test_faults", sandbox.url))


def test_nobody_is_told_that_nothing_was_charged_while_the_payment_goes_on(shop):
    """Redis is lost, and the event is rebuilt from a list of payments that is slightly out of date.
    The buyer, whose connection broke, retries the payment, and only then the first attempt goes
    on."""
    heard = []
    insert, authorize = shop.bookings.insert, shop.gateway.authorize

    def authorize_when_redis_is_gone(*arguments):
        lose(shop)
        return authorize(*arguments)

    def insert_when_the_event_is_there_again(booking):
        put_on_sale(shop.seats._target, shop.event)
        with pytest.raises(Refusal) as refusal:
            shop.pay()
        heard.append(refusal.value)
        return insert(booking)

    shop.gateway.authorize = authorize_when_redis_is_gone
    shop.bookings.insert = insert_when_the_event_is_there_again
    with suppress(PaymentPending):
        shop.pay()
    told_not_charged = any(isinstance(refusal, HoldExpired) for refusal in heard)
    assert not (told_not_charged and "captured" in shop.charges())


def test_a_process_that_comes_to_itself_after_a_loss_of_redis_takes_no_money_from_a_booking(shop):
    """The process was paused; the worker booked and was killed before the capture; then Redis was
    lost."""
    authorize = shop.gateway.authorize

    def stopped_meanwhile(*arguments):
        authorization = authorize(*arguments)
        shop.gateway.fail("capture", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            shop.work()
        shop.gateway.heal()
        lose(shop)
        Opening(shop.catalogue._target, shop.seats._target, shop.bookings, shop.gateway).open_event(
            shop.event
        )
        return authorization

    shop.gateway.authorize = stopped_meanwhile
    with suppress(PaymentPending):
        shop.pay()
    assert shop.booking()
    assert "voided" not in shop.charges()
