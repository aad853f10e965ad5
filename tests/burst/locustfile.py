"""The locustfile (``locust --headless --processes N -f …``): the crowd of one sale."""

import os
import time
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.runners import MasterRunner

from tests.burst.asking import Buyer
from tests.burst.bots import BotnetBot, Sweeper
from tests.burst.diary import Diary, Strain
from tests.burst.humans import Human
from tests.burst.plan import BUYER_BROKE, LAST_WORD_S, read_drop

__all__ = ["BotnetBot", "Human", "Sweeper"]

LOOK_S = 0.05
"""Between two measurements of how late this process wakes up."""

drop = Buyer.drop = read_drop(os.environ)
Human.fixed_count = drop.plan.crowd
BotnetBot.fixed_count = drop.plan.bots
Sweeper.fixed_count = drop.plan.sweepers


@events.init.add_listener
def begin(environment: Any, runner: Any, **_: Any) -> None:
    if isinstance(runner, MasterRunner):
        gevent.spawn(quit_when_all_have_left, runner)
        environment.events.quitting.add_listener(say_how_it_ended)
    else:
        # Here and not at import: only now the processes have forked.
        diary = Buyer.diary = Diary(Path(drop.diary_dir))
        gevent.spawn(note_strain, diary)
        environment.events.quitting.add_listener(lambda **_: diary.flush())


def quit_when_all_have_left(runner: MasterRunner) -> None:
    gevent.sleep(max(0.0, drop.closes_at_s - time.time()))
    deadline_s = time.time() + LAST_WORD_S
    while runner.user_count and time.time() < deadline_s:
        gevent.sleep(0.2)
    runner.quit()


def say_how_it_ended(environment: Any, **_: Any) -> None:
    """Set the exit code. The verdict judges unexpected answers; only errors of buyers count
    here."""
    environment.process_exit_code = BUYER_BROKE if environment.runner.exceptions else 0


def note_strain(diary: Diary) -> None:
    """Record the strain every second. A delay here delays all buyers of this process."""
    while True:
        began, worked_s, late_s = time.perf_counter(), time.process_time(), 0.0
        while (passed_s := time.perf_counter() - began) < 1.0:
            asleep = time.perf_counter()
            gevent.sleep(LOOK_S)
            late_s = max(late_s, time.perf_counter() - asleep - LOOK_S)
        busy = (time.process_time() - worked_s) / passed_s
        diary.write(Strain(round(busy, 3), round(late_s * 1000, 1)))
        diary.flush()
