"""Thousands of small sales in which several things go wrong at once: every rule holds."""

from typing import get_args

import pytest

from tests.simulator.chance import LOST_KEYS, PARTY_OF, plan_of
from tests.simulator.gateway import ASKING_CARD
from tests.simulator.hunting import hunt, shortest, told
from tests.simulator.plans import PARTIES, Hold, Killed, Late, Owner, Part, Plan, Request, Spot
from tests.simulator.rules import Rules
from tests.simulator.shrinking import shrunk
from tests.simulator.words import part_in_words
from tests.simulator.world import run
from web.ports.booking_store import BookingStore
from web.ports.event_catalogue import EventCatalogue
from web.ports.payment_gateway import Gateway
from web.ports.seat_store import SeatStore

SEEDS = range(2_000)
"""The same in every run: a red run is somebody's change. ``make simulate`` tries others."""

MINUTES = 1.5
"""As many of them as there is time for, on a machine that has much else to do."""

ENOUGH = 0.019
"""In so large a part of the runs each kind of fault comes to pass."""

KINDS = {
    "process stopped",
    "process stopped for longer than its lease",
    "process killed",
    *(
        f"{fault}: {party}"
        for fault in ("effect late", "answer lost", "request lost", "call sent twice")
        for party in PARTIES.values()
    ),
    *(f"{party} away" for party in PARTIES.values()),
    "gateway's list late",
    "Redis loses everything",
    "Redis loses the event",
    "Redis goes back in time",
    "Redis goes back in time, the same server",
    "clock of a process wrong",
    "clock of Redis wrong",
    "clock of the gateway wrong",
    *(f"Redis loses {kind}" for kind in LOST_KEYS),
    "two workers",
    "webhook",
    "webhook lost",
    "bank asks",
    "bank asks, and is never answered",
    *(f"owner answers: {answer}" for answer in ("yes", "no", "other card")),
    "owner answers what is answered",
    "owner answers what is canceled",
    "buyer comes back",
    "payment canceled by its buyer",
    "cancellation late",
    "refund",
    "seats refunded",
    "event cancelled",
    "event opened again",
}


ADA_BOOKS_LATE = (
    Hold("ada", 1, ("stalls-A-1",)),
    Request("ada-pay-1", "ada", 2, "pay", "k1"),
    Late(Spot("ada-pay-1", "insert", 1, "before"), by_s=7, times=1),
)


@pytest.mark.timeout(300)
def test_every_rule_holds_whatever_goes_wrong_at_once(memory):
    hunted = hunt(SEEDS, memory, MINUTES)
    for ran in hunted.found.values():
        pytest.fail(told(shortest(ran, memory)), pytrace=False)
    if hunted.runs == len(SEEDS):
        rare = {kind: n for kind in KINDS if (n := hunted.in_runs[kind]) < ENOUGH * len(SEEDS)}
        assert not rare, "each kind of fault comes to pass often enough to meet the others"


def test_every_call_that_chance_troubles_is_one_that_its_party_has():
    methods = {
        "seats": {*vars(EventCatalogue), *vars(SeatStore)},
        "bookings": {*vars(BookingStore)},
        "gateway": {*vars(Gateway)},
    }
    assert [call for call, party in PARTY_OF.items() if call not in methods[party]] == []


def test_a_run_is_the_same_whenever_it_is_run(memory):
    stories = [run(plan_of(8), memory).story.until(1e9) for _ in range(2)]
    assert stories[0] == stories[1]
    assert "authorize" in stories[0]


def test_a_part_of_a_plan_means_the_same_without_the_others(memory):
    """Otherwise no plan could be made shorter."""
    ada = (Hold("ada", 1, ("stalls-A-1",)), Request("ada-pay-1", "ada", 2, "pay", "k1"))
    bob = (Hold("bob", 1, ("stalls-A-2",)), Request("bob-pay-1", "bob", 2, "pay", "k1"))

    def hers(parts):
        lines = run(Plan(1, parts), memory).story.lines
        return [(line.at_s, line.call) for line in lines if line.who == "ada-pay-1"]

    assert hers(ada) == hers(ada + bob)


def test_a_process_that_is_killed_is_finished_by_the_worker(memory):
    ran = run(
        Plan(
            1,
            (
                Hold("ada", 1, ("stalls-A-1",)),
                Request("ada-pay-1", "ada", 2, "pay", "k1"),
                Killed(Spot("ada-pay-1", "booked")),
            ),
        ),
        memory,
    )
    assert not ran.broken
    assert ran.happened == {"process killed": 1}
    assert "ada-k1-last-0    is answered 201 booked" in ran.story.until(1e9)


def test_a_payment_whose_bank_asks_is_told_in_words(memory):
    ran = run(
        Plan(
            1,
            (
                Hold("ada", 1, ("stalls-A-1",)),
                Request("ada-pay-1", "ada", 2, "pay", "k1", ASKING_CARD),
                Owner("ada", 3, "yes"),
                Request("ada-back", "ada", 9, "come back"),
            ),
        ),
        memory,
    )
    assert not ran.broken
    story = told(ran)
    for said in (
        "to pay, with key k1 and a card whose bank asks its owner (ada-pay-1)\n",
        "  - the owner of ada's card says yes at the bank, 3 s later\n",
        "  - 9 s: ada comes back from the bank (ada-back)\n",
        "ada-pay-1        is answered 202 action_required\n",
        "bank             pi_1, action_required: yes\n",
        "ada-back         is answered 200 booked\n",
    ):
        assert said in story


def test_a_story_says_in_words_what_was_asked_what_failed_and_how_to_repeat_it(memory):
    story = told(run(Plan(1, ADA_BOOKS_LATE), memory))
    for said in (
        "To repeat it: make simulate SEED=1\n",
        "  - 1 s: ada asks web-1 to hold stalls-A-1\n",
        "  - 2 s: ada asks web-1 to pay, with key k1 and a good card (ada-pay-1)\n",
        "  - ada-pay-1: its first call of insert: arrives 7 s late\n",
        "ada asks to pay with key k1\n",
        "!!!              effect late: insert of ada-pay-1\n",
        "inserts the booking into MongoDB [insert(bkg_ada_",
        "ada-pay-1        is answered 201 booked\n",
    ):
        assert said in story


def test_every_part_of_a_plan_has_words(memory):
    told_kinds = set()
    for seed in range(300):
        for part in plan_of(seed).parts:
            assert part_in_words(part)
            told_kinds.add(type(part))
    assert told_kinds == set(get_args(Part))


def test_a_plan_that_breaks_a_rule_is_told_as_the_few_parts_that_break_it(memory, monkeypatch):
    def ada_may_not_buy(rules, booking):
        if "_ada_" in booking.id:
            rules._break("ada does not buy", booking.id)

    monkeypatch.setattr(Rules, "booked", ada_may_not_buy)
    hunted = hunt(SEEDS, memory)
    (ran,) = hunted.found.values()
    short = shortest(ran, memory)
    assert [type(part) for part in short.plan.parts] == [Hold, Request]
    assert len(ran.plan.parts) > 5
    assert "ada does not buy: bkg_ada_" in told(short)
    assert f"The plan, 2 of its {len(ran.plan.parts)} parts;" in told(short)


def test_what_fails_is_made_as_short_as_it_can_be():
    assert shrunk(range(100), lambda part: {17, 70} <= set(part)) == [17, 70]
    assert shrunk([1], lambda part: True) == []
