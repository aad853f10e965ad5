"""Thousands of small sales in which several things go wrong at once: every rule holds."""

import pytest

from tests.simulator.chance import LOST_KEYS, plan_of
from tests.simulator.hunting import hunt, shortest, told
from tests.simulator.plans import Hold, Killed, Plan, Request, Spot
from tests.simulator.shrinking import shrunk
from tests.simulator.world import run

SEEDS = range(1_500)
"""The same in every run: a red run is somebody's change. ``make simulate`` tries others."""

MINUTES = 1.5
"""As many of them as there is time for, on a machine that has much else to do."""

KINDS = {
    "process stopped",
    "process killed",
    "effect late",
    "answer lost",
    "request lost",
    "call sent twice",
    "Redis away",
    "MongoDB away",
    "gateway away",
    "gateway's list late",
    "Redis loses everything",
    "Redis loses the event",
    "Redis goes back in time",
    "clock of a process wrong",
    "clock of Redis wrong",
    "clock of the gateway wrong",
    *(f"Redis loses {kind}" for kind in LOST_KEYS),
}


@pytest.mark.timeout(300)
def test_every_rule_holds_whatever_goes_wrong_at_once(memory):
    hunted = hunt(SEEDS, memory, MINUTES)
    for ran in hunted.found.values():
        pytest.fail(told(shortest(ran, memory)), pytrace=False)
    if hunted.runs == len(SEEDS):
        assert not KINDS - hunted.happened.keys(), "each kind of fault comes to pass"


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
    assert "ada-k1-last-0    hears 201 booked" in ran.story.until(1e9)


def test_what_fails_is_made_as_short_as_it_can_be():
    assert shrunk(range(100), lambda part: {17, 70} <= set(part)) == [17, 70]
    assert shrunk([1], lambda part: True) == []
