"""Run many plans, and describe the runs in which a rule was broken."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.simulator.chance import plan_of
from tests.simulator.plans import Part, Plan
from tests.simulator.redis_memory import RedisMemory
from tests.simulator.shrinking import shrunk
from tests.simulator.words import part_in_words
from tests.simulator.world import Run, run


@dataclass
class Hunt:
    """``happened`` counts the faults by kind, ``in_runs`` the runs in which they happened.
    ``found`` has the runs in which a rule was broken, by seed."""

    runs: int = 0
    took_s: float = 0.0
    happened: Counter = field(default_factory=Counter)
    in_runs: Counter = field(default_factory=Counter)
    found: dict[int, Run] = field(default_factory=dict)


def hunt(
    seeds: Iterable[int],
    memory: RedisMemory,
    minutes: float = float("inf"),
    most: int = 1,
) -> Hunt:
    """Run the plans of these seeds, until the time is over or ``most`` of them broke a rule."""
    hunted, began_s = Hunt(), time.monotonic()
    for seed in seeds:
        hunted.took_s = time.monotonic() - began_s
        if len(hunted.found) >= most or hunted.took_s > 60 * minutes:
            break
        ran = run(plan_of(seed), memory)
        hunted.runs += 1
        hunted.happened.update(ran.happened)
        hunted.in_runs.update(ran.happened.keys())
        if ran.broken:
            hunted.found[seed] = ran
    return hunted


def shortest(ran: Run, memory: RedisMemory) -> Run:
    """A run of the shortest part of its plan that breaks the same rule first."""
    rule = ran.broken[0].rule

    def still_breaks(parts: list) -> bool:
        return rule in run(ran.plan.only(parts), memory).rules

    return run(ran.plan.only(shrunk(ran.plan.parts, still_breaks)), memory)


def told(ran: Run) -> str:
    """A description for people: the broken rules, the plan, and the story up to then."""
    first_of_rule = {broken.rule: broken for broken in reversed(ran.broken)}.values()
    until_s = max((broken.at_s for broken in first_of_rule), default=float("inf"))
    return "\n".join(
        [
            f"Seed {ran.plan.seed}: {'a rule is broken' if ran.broken else 'every rule holds'}.",
            *(f"  {broken}" for broken in sorted(first_of_rule, key=lambda b: b.at_s)),
            f"To repeat it: make simulate SEED={ran.plan.seed}",
            "",
            f"The plan{_shortened(ran.plan)}; seconds are from the beginning:",
            *(f"  - {part_in_words(part)}" for part in sorted(ran.plan.parts, key=_begins_s)),
            "",
            "What happened (!!! is a fault of the plan):",
            ran.story.until(until_s),
        ]
    )


def _begins_s(part: Part) -> float:
    """When the part begins; faults come last, because most of them wait for a spot."""
    return getattr(part, "at_s", float("inf"))


def _shortened(plan: Plan) -> str:
    whole = len(plan_of(plan.seed).parts)
    return f", {len(plan.parts)} of its {whole} parts" if len(plan.parts) < whole else ""
