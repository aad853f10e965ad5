"""The pace of calls to Stripe: with places that the tests give, and at a sandbox that has Stripe's
limit."""

import json
import os
import subprocess
import sys
import threading

import pytest

from ops.servers import REPOSITORY, Sandbox
from sidecar.client import LimiterClient
from sidecar.places import Place
from sidecar.sliding_log import NS_PER_S, Rate
from tests.support.factories import WAY_BACK
from tests.support.sandbox import client_of
from tests.support.sidecars import START_UP_S
from web.adapters.stripe import pace as module
from web.adapters.stripe.errors import cause_of
from web.adapters.stripe.gateway import StripeGateway
from web.adapters.stripe.pace import MARGIN_NS, Pace
from web.ports.payment_gateway import NotExecuted, TooBusy

RATE = Rate(25, NS_PER_S)


class Limiter:
    """Gives the next of ``places``, and remembers who asked."""

    def __init__(self, *places: Place):
        self.asked = []
        self._places = list(places)

    def take_place(self, key, rate, max_wait_ns):
        self.asked.append((key, rate, max_wait_ns))
        return self._places.pop(0) if self._places else Place(True, 0)


@pytest.fixture
def slept_s(monkeypatch) -> list[float]:
    slept_s = []
    monkeypatch.setattr(module, "_sleep", slept_s.append)
    return slept_s


def test_a_call_waits_for_its_turn_and_the_wait_is_noted(slept_s):
    noted = []
    limiter = Limiter(Place(True, 0), Place(True, 3 * NS_PER_S // 2))
    pace = Pace(limiter, RATE, lambda *wait: noted.append(wait))
    for _ in range(2):
        pace.wait_for_turn("capture", 7.0)
    assert slept_s == [1.5]
    assert noted == [("capture", 1.5)]


def test_calls_are_spread_over_the_window_with_a_margin(slept_s):
    limiter = Limiter()
    Pace(limiter, RATE).wait_for_turn("create", 7.0)
    (name, rate, max_wait_ns) = limiter.asked[0]
    assert (name, max_wait_ns) == ("stripe:create", 7 * NS_PER_S)
    assert rate == Rate(1, (NS_PER_S + MARGIN_NS) // 25)


def test_who_would_wait_too_long_hears_at_once_for_how_long(slept_s):
    limiter = Limiter(Place(False, 12_340_000_000))
    with pytest.raises(TooBusy, match=r"create wait 12\.3 s") as busy:
        Pace(limiter, RATE).wait_for_turn("create", 7.0)
    assert busy.value.retry_after_s == 12.34
    assert cause_of(busy.value) == "queue_full"
    assert slept_s == []


def test_no_sleep_is_too_short(monkeypatch):
    """As a greenlet's may be."""
    now_s = [0.0]

    def sleep(seconds):
        now_s[0] += min(seconds, 0.3)

    monkeypatch.setattr(module.time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(module.time, "sleep", sleep)
    module._sleep(1.0)
    assert now_s[0] == pytest.approx(1.0)


@pytest.fixture
def paced(sandbox, slept_s):
    """A gateway and the limiter that it asks."""
    limiter = Limiter()
    return StripeGateway("sk_test_gateway", sandbox.url, pace=Pace(limiter, RATE)), limiter


def authorize(gateway, key):
    return gateway.authorize(key, 4200, "GBP", "pm_card_visa", {"event": "gala"}, WAY_BACK)


def test_each_kind_of_call_has_a_queue_of_its_own(paced):
    gateway, limiter = paced
    payment = authorize(gateway, "hld_pace-1")
    gateway.capture(payment.payment_id)
    with pytest.raises(NotExecuted):
        gateway.void(payment.payment_id)
    gateway.refund(payment.payment_id, "hld_pace-refund")
    gateway.find("hld_pace-1", payment.created)
    gateway.retire("hld_pace-2", 4200, "GBP", "of ada")
    assert [name for name, _, _ in limiter.asked] == [
        f"stripe:{endpoint}"
        for endpoint in "create capture cancel retrieve refund list create cancel".split()
    ]


def test_a_call_that_gets_no_turn_is_not_made(sandbox, slept_s):
    limiter = Limiter(Place(False, 8 * NS_PER_S))
    counted = []
    gateway = StripeGateway(
        "sk_test_gateway", sandbox.url, pace=Pace(limiter, RATE), count_failure=counted.append
    )
    with pytest.raises(TooBusy):
        authorize(gateway, "hld_pace-none")
    assert counted == ["queue_full"]
    assert len(limiter.asked) == 1, "asking again would only take longer"


def test_a_call_that_stripe_refused_is_repeated_on_its_turn(paced, sandbox):
    gateway, limiter = paced
    sandbox.set_faults({"operation": "create", "kind": "rate_limited", "calls": 2})
    try:
        assert authorize(gateway, "hld_pace-429").status == "authorized"
    finally:
        sandbox.set_faults()
    assert len(limiter.asked) == 1


def test_after_a_long_wait_there_is_still_time_to_repeat_a_call(sandbox, monkeypatch):
    gateway = StripeGateway(
        "sk_test_gateway", sandbox.url, max_wait_s=0.0, pace=Pace(Limiter(), RATE)
    )
    sandbox.set_faults({"operation": "create", "kind": "rate_limited", "calls": 1})
    try:
        assert authorize(gateway, "hld_pace-late").status == "authorized"
    finally:
        sandbox.set_faults()


def test_a_process_without_a_limiter_keeps_the_pace_by_itself(caplog):
    pace = Pace(LimiterClient(""), Rate(1, 60 * NS_PER_S))
    pace.wait_for_turn("create", 0.0)
    pace.wait_for_turn("capture", 0.0)
    with pytest.raises(TooBusy) as busy:
        pace.wait_for_turn("create", 7.0)
    assert 55 < busy.value.retry_after_s <= 60
    assert caplog.messages == [], "nothing is wrong with it"


# ---------------------------------------------------------------- with Stripe's limit


@pytest.fixture
def paying(tmp_path):
    """Has two processes below one sidecar begin so many payments each at the same moment. Returns
    what they say."""

    def paying(url: str, payments: int) -> list[dict]:
        worker = [sys.executable, "-m", "tests.support.paying_process", url, "25/second"]
        both = (
            "import subprocess, sys\n"
            "start = lambda: subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
            "for process in [start(), start()]: print(process.communicate()[0].decode())\n"
        )
        finished = subprocess.run(
            [sys.executable, "-m", "sidecar", sys.executable, "-c", both, *worker, str(payments)],
            cwd=REPOSITORY,
            env={**os.environ, "LIMITER_SOCKET": str(tmp_path / "socket")},
            stdout=subprocess.PIPE,
            timeout=START_UP_S,
            check=True,
        )
        return [json.loads(line) for line in finished.stdout.splitlines()]

    return paying


def limited_sandbox(folder):
    return Sandbox(folder / "ledger.db", folder / "sandbox.log", rate_limit=25)


@pytest.mark.stack
def test_a_hundred_payments_at_once_from_two_processes_are_all_made_in_time(tmp_path, paying):
    with limited_sandbox(tmp_path) as limited:
        told = paying(limited.url, 50)

    assert len({payment for process in told for payment in process["paid"]}) == 100
    assert [(process["declined"], process["sent_away"]) for process in told] == [(0, [])] * 2
    waits_s = [wait_s for process in told for wait_s in process["waits_s"]]
    assert max(waits_s) > 60 / 25, "one queue for both, of which neither has more than 50"
    # Without a pace Stripe refuses hundreds of calls. With one it may refuse a few of a process
    # that did not get to run for a while.
    assert sum(process["answers_429"] for process in told) < 20
    assert [process["fallbacks"] for process in told] == [0, 0]


@pytest.mark.stack
def test_who_cannot_pay_in_time_hears_when_to_come_again_and_is_not_charged(tmp_path):
    crowd, told_s, paid = 60, [], []
    with limited_sandbox(tmp_path) as limited:
        pace = Pace(LimiterClient(""), RATE)
        gateway = StripeGateway("sk_test_gateway", limited.url, max_wait_s=0.5, pace=pace)

        def pay(number):
            try:
                paid.append(authorize(gateway, f"hld_crowd-{number}").payment_id)
            except TooBusy as busy:
                told_s.append(busy.retry_after_s)

        threads = [threading.Thread(target=pay, args=(number,)) for number in range(crowd)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        intents = client_of(limited).payment_intents.list({"limit": 100}).data
        made = [intent.id for intent in intents]

    assert len(paid) + len(told_s) == crowd
    assert sorted(made) == sorted(paid)
    assert len(told_s) > 20
    assert min(told_s) > 0.5
    told_s.sort()
    assert told_s[-1] - told_s[0] > 0.8 * (len(told_s) - 1) / 25, "one after the other"
