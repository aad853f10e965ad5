"""Payments whose bank asks, on real processes: buyers are at the bank, answer it, or do not, and
something is killed or away. ``docs/failures.md`` describes what each means for buyers."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest
import requests

from ops.servers import HttpServer, MongoDB
from ops.stores import REDIS
from tests.faults.breakable_site import EVENT, WAITS_S, BreakableSite, breakable_site
from tests.faults.crowd import RETRY_S
from tests.support.http_client import Client, bearer
from tests.support.site import another_web, another_worker
from tests.support.waiting import eventually

LEASE_S = 3

TIME_S = 60
SHORT_TIME_S = 3
"""PAYMENT_CONFIRMATION_S of the site, which is more than a test takes, and that of another web
host, for buyers who do not confirm in time."""

ASKING_CARD = "pm_card_authenticationRequired"

BUYERS = 10

SALES = 10
"""Of a crowd, between two faults."""

REPAIRED_S = 60.0
"""For what a worker does after a lease or two, or when it looks at the gateway's list, every 30 s;
on a busy machine."""

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def site(tmp_path_factory, redis_kind) -> Iterator[BreakableSite]:
    folder = tmp_path_factory.mktemp("at-bank")
    mongo = MongoDB(folder / "mongo", folder / "mongod.log")
    redis_store = REDIS[redis_kind].make(folder / "redis", folder, ())
    time_for_it = {"PAYMENT_CONFIRMATION_S": str(TIME_S)}
    with breakable_site(
        folder, mongo, LEASE_S, redis_store, webhooks=True, **time_for_it
    ) as running:
        yield running


@pytest.fixture(scope="module")
def hasty_web(site, tmp_path_factory) -> Iterator[HttpServer]:
    """A web host whose buyers have little time at the bank."""
    log_path = tmp_path_factory.mktemp("hasty") / "web.log"
    with another_web(site.stack, log_path, PAYMENT_CONFIRMATION_S=str(SHORT_TIME_S)) as web:
        yield web


@pytest.fixture(autouse=True)
def all_is_well_afterwards(site) -> Iterator[None]:
    yield
    site.sandbox.set_faults()
    site.sandbox.set_bank()
    site.await_clean_audit()
    site.assert_paid_once()


@dataclass
class Buyer:
    """Holds a seat and has not paid for it. ``bank_url`` is where the bank asks, after
    ``go_to_the_bank``, ``location`` the address of the payment."""

    client: Client
    hold: dict
    bank_url: str = ""
    location: str = ""

    @classmethod
    def of(cls, site: BreakableSite, web: HttpServer | None = None) -> "Buyer":
        """``web`` answers the buyer without nginx."""
        client = Client((web or site.stack["nginx"]).url, EVENT)
        held = client.hold_best("stalls", 1)
        assert held.status_code == 201, held.text
        return cls(client, held.json())

    @property
    def hold_id(self) -> str:
        return self.hold["hold_id"]

    def pay(self) -> requests.Response:
        return self.client.pay(self.hold, "key", ASKING_CARD)

    def go_to_the_bank(self) -> "Buyer":
        asked = self.pay()
        assert outcome_of(asked) == "action_required", asked.text
        self.bank_url = asked.json()["next_action"]["url"]
        self.location = asked.headers["Location"]
        return self

    def answer(self, answer: str = "accept") -> str:
        """At the bank's page; returns where it leads."""
        led = requests.post(
            self.bank_url, data={"answer": answer}, allow_redirects=False, timeout=WAITS_S
        )
        assert led.status_code == 303, led.text
        return led.headers["Location"]

    def come_back(self, url: str) -> None:
        back = self.client.get(url, allow_redirects=False, timeout=WAITS_S)
        assert back.status_code == 303, back.text

    def cancel(self) -> requests.Response:
        return self.client.call("POST", f"{self.location}/cancel", headers=bearer(self.hold))

    def status(self) -> str:
        """Of the hold; a look does not make anybody look at the payment."""
        return self.client.look_up(self.hold).json().get("status", "")


def outcome_of(answer: requests.Response) -> str:
    """``booked``; the reason of a declined payment, and the code of another refusal."""
    body = answer.json()
    return body.get("reason") or body.get("code") or body["status"]


def await_outcome(buyer: Buyer, outcome: str) -> None:
    """The buyer repeats the payment until then."""
    await_being(lambda: outcome_of(buyer.pay()), outcome)


def await_status(status: str, *buyers: Buyer) -> None:
    """Whoever sees to it, it is none of these buyers."""
    for buyer in buyers:
        await_being(buyer.status, status)


def await_being(look: Callable[[], str], wanted: str) -> None:
    """Looks a few times a second, as a client may."""
    deadline_s = time.monotonic() + REPAIRED_S
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline_s, f"{seen}, and not {wanted}"
        time.sleep(RETRY_S)


def charges_of(site: BreakableSite, buyer: Buyer) -> list[str]:
    return [
        payment.status
        for payment in site.payments()
        if payment.metadata["hold_id"] == buyer.hold_id
    ]


# ---------------------------------------------------------------- the bank


def test_who_confirms_and_closes_the_page_is_booked_as_soon_as_stripe_says_so(site):
    buyer = Buyer.of(site).go_to_the_bank()
    buyer.answer("accept")
    await_status("booked", buyer)
    assert outcome_of(buyer.pay()) == "booked"


def test_a_bank_that_says_yes_twice_is_paid_once(site):
    buyer = Buyer.of(site).go_to_the_bank()
    ways_back = [buyer.answer("accept") for _ in range(2)]
    for way_back in ways_back:
        buyer.come_back(way_back)
    await_status("booked", buyer)
    assert charges_of(site, buyer) == ["captured"]


def test_a_bank_that_is_down_does_not_keep_a_buyer_from_another_card(site):
    buyer = Buyer.of(site).go_to_the_bank()
    site.sandbox.set_bank("down")
    assert requests.get(buyer.bank_url, timeout=WAITS_S).status_code == 503
    assert outcome_of(buyer.pay()) == "action_required"
    assert buyer.cancel().status_code == 204
    assert outcome_of(buyer.pay()) == "not_completed"
    assert outcome_of(buyer.client.pay(buyer.hold, "another key")) == "booked"
    assert sorted(charges_of(site, buyer)) == ["captured", "voided"]


def test_a_bank_that_is_slower_than_its_buyer_is_heard_all_the_same(site):
    buyer = Buyer.of(site).go_to_the_bank()
    site.sandbox.set_bank("accept", seconds=1.0)
    with pytest.raises(requests.Timeout):
        requests.get(buyer.bank_url, timeout=0.3)
    await_status("booked", buyer)


def test_a_second_card_in_another_tab_waits_for_the_first(site):
    buyer = Buyer.of(site).go_to_the_bank()
    second = buyer.client.pay(buyer.hold, "another key")
    assert (second.status_code, outcome_of(second)) == (409, "payment_in_progress")
    assert buyer.cancel().status_code == 204
    assert outcome_of(buyer.client.pay(buyer.hold, "another key")) == "booked"


def test_a_booking_is_refunded_once_when_an_earlier_payment_of_its_hold_was_canceled(site):
    buyer = Buyer.of(site).go_to_the_bank()
    assert buyer.cancel().status_code == 204
    receipt = buyer.client.pay(buyer.hold, "another key").json()
    refunded = site.flask("bookings", "refund", receipt["booking_id"])
    assert refunded.returncode == 0, refunded.stderr
    assert sorted(charges_of(site, buyer)) == ["refunded", "voided"]


# ---------------------------------------------------------------- the time runs out


def test_two_workers_cancel_what_nobody_has_confirmed_and_a_late_yes_changes_nothing(
    site, hasty_web, tmp_path
):
    with another_worker(site.stack.environment, tmp_path / "worker.log"):
        buyers = [Buyer.of(site, hasty_web).go_to_the_bank() for _ in range(BUYERS)]
        await_status("held", *buyers)
    for buyer in buyers:
        buyer.answer("accept")
        refused = buyer.pay()
        assert (refused.status_code, outcome_of(refused)) == (402, "not_confirmed")
        assert charges_of(site, buyer) == ["voided"]


def test_the_bank_says_yes_and_the_worker_is_killed_between_the_look_and_the_cancellation(
    site, hasty_web
):
    buyer = Buyer.of(site, hasty_web).go_to_the_bank()
    # The call that the worker leaves behind takes effect when the next one is done with it.
    with slow_gateway(site, "cancel", 2 * LEASE_S):
        eventually(lambda: site.sandbox.faults()[0]["happened"], "a cancellation", REPAIRED_S)
        buyer.answer("accept")
        assert charges_of(site, buyer) == ["authorized"]
        site.stack["worker"].kill()
    site.stack["worker"].start()
    await_status("held", buyer)
    assert outcome_of(buyer.pay()) == "not_confirmed"
    assert charges_of(site, buyer) == ["voided"]


def test_while_stripe_is_down_at_the_end_the_seats_stay_and_then_the_payment_is_canceled(
    site, hasty_web
):
    buyer = Buyer.of(site, hasty_web).go_to_the_bank()
    log_path = site.stack["worker"].log_path
    before = len(log_path.read_text())
    site.sandbox.kill()
    eventually(
        lambda: "retrieve:" in log_path.read_text()[before:], "a look at the end", REPAIRED_S
    )
    assert buyer.status() == "paying"
    assert outcome_of(buyer.pay()) == "paying", "it may still be confirmed"
    site.sandbox.start()
    await_outcome(buyer, "not_confirmed")
    assert buyer.status() == "held"
    assert charges_of(site, buyer) == ["voided"]


# ---------------------------------------------------------------- a part is killed or away


def test_a_web_process_is_killed_before_redis_knows_that_the_bank_asks(site):
    buyer = Buyer.of(site)
    with slow_gateway(site, "create", 1.0), leaving(buyer.pay):
        site.await_charge_under_way()
        for pid in site.web_workers():
            os.kill(pid, signal.SIGKILL)
    await_outcome(buyer, "action_required")
    buyer.go_to_the_bank()
    buyer.come_back(buyer.answer("accept"))
    await_status("booked", buyer)
    assert charges_of(site, buyer) == ["captured"]


@pytest.mark.parametrize(
    "fault", [pytest.param("killed", marks=pytest.mark.one_redis), "loses everything"]
)
def test_redis_is_lost_while_ten_are_at_the_bank(site, fault):
    """Half of them confirm while it is away."""
    buyers = [Buyer.of(site).go_to_the_bank() for _ in range(BUYERS)]
    if fault == "killed":
        site.redis.kill()
    else:
        site.redis_client.flushall()
    for buyer in buyers[::2]:
        buyer.answer("accept")
    if fault == "killed":
        site.redis.start()
    for buyer in buyers[1::2]:
        asked_at = buyer.bank_url
        await_outcome(buyer, "action_required")
        assert buyer.go_to_the_bank().bank_url == asked_at
        buyer.come_back(buyer.answer("accept"))
    await_status("booked", *buyers)
    for buyer in buyers:
        assert outcome_of(buyer.pay()) == "booked"
        assert charges_of(site, buyer) == ["captured"]


def test_mongodb_is_away_when_a_buyer_comes_back(site):
    buyer = Buyer.of(site).go_to_the_bank()
    site.mongo.kill()
    way_back = buyer.answer("accept")
    with leaving(lambda: buyer.come_back(way_back)):
        time.sleep(1)
        site.mongo.start()
    await_status("booked", buyer)
    assert charges_of(site, buyer) == ["captured"]


def test_one_part_after_another_fails_while_many_are_on_their_way_to_the_bank_and_back(site):
    """Some come back, some close the page, some refuse, some give up."""
    with site.crowd("stalls", asked=0.7) as crowd:
        for pid in site.web_workers():
            os.kill(pid, signal.SIGKILL)
        crowd.await_bookings(SALES)
        lost = {"kind": "drop_after", "calls": 2}
        site.sandbox.set_faults(
            *({"operation": each} | lost for each in ("create", "cancel", "capture"))
        )
        eventually(
            lambda: all(fault["happened"] == 2 for fault in site.sandbox.faults()),
            "lost answers",
            REPAIRED_S,
        )
        site.stack["worker"].kill()
        site.stack["worker"].start()
    answers = crowd.outcomes.answers
    assert answers["202 action_required"] > SALES, answers


@contextmanager
def slow_gateway(site, operation: str, seconds: float) -> Iterator[None]:
    site.sandbox.set_faults({"operation": operation, "kind": "slow_before", "seconds": seconds})
    try:
        yield
    finally:
        site.sandbox.set_faults()


@contextmanager
def leaving(request) -> Iterator[None]:
    """While the block runs, a buyer makes a request that may go wrong."""

    def make() -> None:
        with suppress(requests.RequestException):
            request()

    thread = threading.Thread(target=make)
    thread.start()
    try:
        yield
    finally:
        thread.join()
