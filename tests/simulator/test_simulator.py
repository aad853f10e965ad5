"""Thousands of small sales in which several things go wrong at once: every rule holds."""

import pytest

from tests.simulator.hunting import hunt, shortest, told
from tests.simulator.plans import GoesBack, Hold, Killed, Loss, Plan, Request, Spot, plan_of
from tests.simulator.shrinking import shrunk
from tests.simulator.world import run

SEEDS = range(500)
"""The same in every run: a red run is somebody's change. ``make simulate`` tries others."""


def plan_without_losses(seed: int) -> Plan:
    plan = plan_of(seed)
    return plan.only([part for part in plan.parts if not isinstance(part, (Loss, GoesBack))])


@pytest.mark.timeout(600)
def test_every_rule_holds_while_redis_keeps_its_memory(memory):
    hunted = hunt(SEEDS, memory, plan=plan_without_losses)
    for ran in hunted.found.values():
        pytest.fail(told(shortest(ran, memory)), pytrace=False)
    assert len(hunted.happened) >= 12, hunted.happened


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
