"""Inject the faults of a plan at their times, until everything is repaired."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, replace
from functools import partial

from tests.simulator.gateway import SimulatedGateway
from tests.simulator.plans import (
    CALL_FAULTS,
    HALL,
    PARTIES,
    WORKERS,
    Away,
    CallFault,
    Forgetful,
    GoesBack,
    Killed,
    Late,
    Loss,
    Part,
    Plan,
    Stopped,
    When,
    WrongClock,
)
from tests.simulator.redis_memory import RedisMemory
from tests.simulator.scheduler import Killed as ProcessKilled
from tests.simulator.scheduler import Scheduler
from tests.simulator.story import Story
from tests.simulator.wires import TIMEOUTS_S
from web.domain.sales import LAST_STEP_S
from web.use_cases.payment_steps import INSERT_TRIES

STOPS_BEFORE_INSERT_S = LAST_STEP_S - INSERT_TRIES * TIMEOUTS_S["bookings"]
"""A process that is stopped for longer between the last check of its lease and its insert is not
covered by the promises (docs/failures.md, "Where it ends")."""


RESTART_S = 3.0
"""After this time a killed worker has been restarted."""

_SpotKey = tuple[str, str, int, str]
"""A Spot as a tuple, which is faster to create: each call needs two."""


class Troubles:
    """``happened`` counts the faults that happened, by kind."""

    def __init__(
        self,
        plan: Plan,
        scheduler: Scheduler,
        memory: RedisMemory,
        gateway: SimulatedGateway,
        story: Story,
        set_clock: Callable[[str, float], None],
        lost: Callable[[float, set[str] | None], None],
        who_saw_more_than: Callable[[int], set[str]],
        workers_know_epoch: Callable[[], bool],
        cancels_until: Callable[[str, float], None],
    ):
        """``set_clock`` makes a clock wrong. ``lost`` is called when Redis has lost something, with
        the delay until an idle worker looks, and the workers that can notice it (None: all).
        ``who_saw_more_than`` returns the workers that know the event with a later revision,
        ``workers_know_epoch`` whether all have seen it since Redis last lost something.
        ``cancels_until`` is told of a payment whose cancellation may still be carried out."""
        self._plan = plan
        self._scheduler = scheduler
        self._memory = memory
        self._gateway = gateway
        self._story = story
        self._set_clock = set_clock
        self._lost = lost
        self._who_saw_more_than = who_saw_more_than
        self._workers_know_epoch = workers_know_epoch
        self._cancels_until = cancels_until
        self._mended = False
        self._lost_at_s = -1.0
        self._losses = 0
        self._away_until_s: dict[str, float] = {}
        self._stopped_s: Counter = Counter()
        self._watched: dict[_SpotKey, list[Callable[[], None]]] = {}
        self._stops: dict[_SpotKey, Stopped | Killed] = {
            astuple(part.spot): part for part in plan.of(Stopped, Killed)
        }
        self._call_faults: dict[tuple[str, str, int], CallFault] = {
            (part.spot.process, part.spot.call, part.spot.nth + later): part
            for part in plan.of(*CALL_FAULTS)
            for later in range(part.times)
        }
        self.happened: Counter = Counter()
        self.last_s = 0.0
        """Since this moment nothing has been wrong."""
        for part in plan.of(Away, Loss, Forgetful, WrongClock):
            self._when(part.when, partial(self._go_wrong, part))
        for part in plan.of(GoesBack):
            self._when(part.to, partial(self._save_for, part))

    def mend(self) -> None:
        """End all faults; processes that are stopped, and calls that are late, end by
        themselves."""
        self._mended = True
        self._gateway.list_lag_s = 0
        self._stops.clear()
        self._story.note(self._scheduler.now_s, "---", "everything works from here on")

    # ------------------------------------------------------------ what the wires ask

    def reach(self, process: str, call: str, nth: int = 1, side: str = "after") -> None:
        spot = (process, call, nth, side)
        for act in self._watched.pop(spot, ()):
            act()
        match self._stops.pop(spot, None):
            case Stopped() as part:
                part = replace(part, for_s=self._bounded(part))
                self._happens(part, f"{process} stands still for {part.for_s:g} s")
                self._scheduler.sleep(part.for_s)
            case Killed() as part:
                if process in WORKERS and self.must_be_known():
                    return
                self._happens(part, f"{process} is killed")
                raise ProcessKilled

    def of_call(self, party: str, process: str, call: str, nth: int) -> CallFault | None:
        fault = None if self._mended else self._call_faults.get((process, call, nth))
        if fault:
            self.count(f"{fault.kind}: {PARTIES[party]}")
            self._note(f"{fault.kind}: {call} of {process}")
            if isinstance(fault, Late) and call == "void":
                self.count("cancellation late")
            late_s = fault.by_s if isinstance(fault, Late) else 0
            self._lasts(late_s + TIMEOUTS_S[party])
        return fault

    def arrives_late(self, call: str, arguments: tuple, at_s: float) -> None:
        if call == "void":
            self._cancels_until(arguments[0], at_s)

    def is_away(self, party: str) -> bool:
        return not self._mended and self._scheduler.now_s < self._away_until_s.get(party, 0)

    def must_be_known(self) -> bool:
        """Whether Redis was lost again, so that only a worker that has seen the event since the
        first loss may build it: a new one does not know the answers that buyers got in between
        (docs/failures.md, "Where it ends")."""
        return self._losses > 1 and not self._workers_know_epoch()

    # ------------------------------------------------------------ how

    def _when(self, when: When, act: Callable[[], None]) -> None:
        def unless_healed() -> None:
            if not self._mended:
                act()

        def later() -> None:
            self._scheduler.call_at(self._scheduler.now_s + when.after_s, unless_healed)

        if when.spot:
            self._watched.setdefault(astuple(when.spot), []).append(later)
        else:
            self._scheduler.call_at(when.after_s, unless_healed)

    def _go_wrong(self, part: Part) -> None:
        scheduler = self._scheduler
        match part:
            case Away(party=party, for_s=for_s):
                self._happens(part, f"{part.kind} for {for_s:g} s")
                self._away_until_s[party] = scheduler.now_s + for_s
            case Loss(what=what):
                if self._losses and not self._workers_know_epoch():
                    return
                self._happens(part, part.kind)
                if what == "everything":
                    self._memory.lose_everything()
                elif what == "event":
                    self._memory.lose_event(HALL.id)
                elif what == "events":
                    self._memory.client.delete("events")
                else:
                    self._memory.lose_keys(what, HALL.id)
                self._loses(part.noticed_s)
            case Forgetful(for_s=for_s, lag_s=lag_s):
                self._happens(part, f"payments of the next {for_s:g} s are listed {lag_s:g} s late")
                self._gateway.list_lag_s = lag_s
                scheduler.call_at(scheduler.now_s + for_s, self._list_is_prompt)
            case WrongClock(of=of, ahead_s=ahead_s):
                self._happens(part, f"the clock of {of} is {ahead_s:+g} s wrong")
                self._set_clock(of, ahead_s)

    def _loses(self, noticed_s: float, can_tell: set[str] | None = None) -> None:
        self._lost_at_s = self._scheduler.now_s
        self._losses += 1
        self._lost(noticed_s, can_tell)

    def _list_is_prompt(self) -> None:
        self._gateway.list_lag_s = 0

    def _save_for(self, part: GoesBack) -> None:
        saved, saved_at_s = self._memory.saved(), self._scheduler.now_s
        revision = self._memory.revision(HALL.id)

        def go_back() -> None:
            # Not covered by the promises ("Where it ends"): a file from before a loss, and exactly
            # what the worker saw last, restored into a Redis that is not restarted.
            can_tell = None if part.starts else self._who_saw_more_than(revision)
            is_older = saved_at_s <= self._lost_at_s and not part.of_before_a_loss
            if is_older or can_tell == set():
                return
            if self._losses and not self._workers_know_epoch():
                return
            self._happens(part, f"{part.kind}: it is what it was at {saved_at_s:.3f} s")
            self._memory.go_back_to(saved, part.starts)
            self._loses(part.noticed_s, can_tell)

        self._when(part.when, go_back)

    def _bounded(self, part: Stopped) -> float:
        """How long the process stops; before an insert the sum of its stops is bounded."""
        if not part.is_before_insert:
            return part.for_s
        process = part.spot.process
        for_s = min(part.for_s, STOPS_BEFORE_INSERT_S - self._stopped_s[process])
        self._stopped_s[process] += for_s
        return for_s

    def _happens(self, part: Part, said: str) -> None:
        self.count(part.kind)
        self._lasts(_lasts_s(part))
        self._note(said)

    def count(self, kind: str) -> None:
        self.happened[kind] += 1

    def _lasts(self, for_s: float) -> None:
        self.last_s = max(self.last_s, self._scheduler.now_s + for_s)

    def _note(self, said: str) -> None:
        self._story.note(self._scheduler.now_s, "!!!", said)


def _lasts_s(part: Part) -> float:
    match part:
        case Stopped() | Away():
            return part.for_s
        case Killed():
            return RESTART_S
        case Loss() | GoesBack():
            return part.noticed_s
        case Forgetful():
            return part.for_s + part.lag_s
        case WrongClock(of="Redis" | "the gateway"):
            return math.inf
    return 0.0
