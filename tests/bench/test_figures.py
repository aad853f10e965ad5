"""What the bench makes of the rounds that it has measured."""

import pytest

from tests.bench.figures import GOALS, Comparison, Figures, Spread, cheap_enough, processor_us
from tests.bench.measurements import GROUPS
from tests.bench.parts import Spent
from tests.bench.wrk import Result, Run


def result(spent_us: float, per_second: float = 1000) -> Result:
    parts = {"web": spent_us * 0.75, "redis": spent_us * 0.25}
    return Result(per_second, 5.0, parts, wrk_us=10.0, others=0.0, stolen=0.0)


FIGURES = Figures(
    {
        "ours": [result(100, 2000), result(300, 500), result(90, 1800)],
        "theirs": [result(200, 1000), result(600, 250), result(100, 1800)],
    }
)
OURS_TO_THEIRS = Comparison("ours, to theirs", "ours", "theirs")


def test_a_call_costs_what_all_parts_spend_and_the_load_generator_does_not():
    spent = Spent({"web": 1.5, "redis": 0.5}, machine=3.0, stolen=0.2, available=4.0)
    run = Run({"bookings": 1000, "seconds": 2.0, "p99_ms": 7.0}, spent, wrk_s=0.4)
    measured = run.result("bookings")
    assert measured.processor_us == {"web": 1500, "redis": 500}
    assert measured.all_parts_us == 2000
    assert measured.wrk_us == pytest.approx(400)
    assert measured.per_second == 500
    # Of 4 s there are, all programs together spent 3 s, and these 2.4 s of them.
    assert measured.others == pytest.approx(0.15)
    assert measured.stolen == pytest.approx(0.05)


def test_the_spread_is_that_of_the_rounds():
    assert FIGURES.spread("ours", processor_us) == Spread(100, 90, 300)


def test_a_ratio_is_of_two_measurements_of_one_round():
    """The second round was slow for both: a ratio of medians would not see it, nor would it see
    that every round says about the same."""
    assert OURS_TO_THEIRS.processor_time(FIGURES) == Spread(0.5, 0.5, 0.9)
    assert OURS_TO_THEIRS.throughput(FIGURES) == Spread(2, 1, 2)


def test_what_is_added_to_a_call_may_only_be_a_share_of_it():
    goal = cheap_enough("theirs, with something added", "theirs", "ours", 0.6)
    assert goal.value(FIGURES).middle == 0.5
    assert not goal.is_reached(FIGURES)


def test_every_goal_is_about_measurements_that_there_are():
    names = [row.name for rows in GROUPS.values() for row in rows]
    assert len(names) == len(set(names))
    for goal in GOALS:
        assert set(goal.needs) <= set(names), goal.name
