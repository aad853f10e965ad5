"""``CHAOS=1``: each part is killed with SIGKILL once during the sale and started again, in an order
and at moments that the seed decides."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from ops.stack import Stack
from tests.burst.stage import Stage

FIRST_S = 1.0
"""The first kill comes after the opening; before it everybody only waits."""

UNTIL = 0.5
"""The share of the sale in which parts are killed, when most payments are made. The rest shows that
the sale goes on."""

DOWN_S = 0.5
"""Between the kill of a server and its restart."""


@dataclass(frozen=True)
class Blow:
    """A part that was killed, at ``at_s`` in Unix time."""

    at_s: float
    what: str


def kill_web_worker(stage: Stage) -> None:
    """Kill one of gunicorn's workers; its master starts another."""
    (master,) = _children_of_web(stage.stack, "gunicorn")
    os.kill(master.children()[0].pid, signal.SIGKILL)


def kill_limiter(stage: Stage) -> None:
    """Kill the limiter; its supervisor starts another."""
    (limiter,) = _children_of_web(stage.stack, "sidecar.server")
    os.kill(limiter.pid, signal.SIGKILL)


def kill_redis(stage: Stage) -> None:
    """Kill Redis, which restarts from its append-only file."""
    _kill_and_start(stage, "redis")


def lose_redis(stage: Stage) -> None:
    """Kill Redis, which restarts empty, and the worker rebuilds the event."""
    _kill_and_start(stage, "redis", meanwhile=lambda: shutil.rmtree(stage.state_dir / "redis"))


def kill_gateway(stage: Stage) -> None:
    """Kill the payment sandbox, whose ledger is a file."""
    _kill_and_start(stage, "sandbox")


def kill_mongodb(stage: Stage) -> None:
    _kill_and_start(stage, "mongod")


def kill_nginx(stage: Stage) -> None:
    """Kill nginx, which breaks the connections of all buyers."""
    _kill_and_start(stage, "nginx")


def kill_worker(stage: Stage) -> None:
    _kill_and_start(stage, "worker")


BLOWS: dict[str, Callable[[Stage], None]] = {
    "a web worker": kill_web_worker,
    "the limiter": kill_limiter,
    "Redis": kill_redis,
    "Redis and its data": lose_redis,
    "MongoDB": kill_mongodb,
    "the payment gateway": kill_gateway,
    "nginx": kill_nginx,
    "the worker": kill_worker,
}


def moments_of(seed: int, seconds: int) -> list[tuple[float, str]]:
    """Each part once, with the seconds after the opening at which it is killed."""
    chance = random.Random(f"chaos {seed}")
    names = chance.sample(list(BLOWS), len(BLOWS))
    slot_s = (seconds * UNTIL - FIRST_S) / len(names)
    return [
        (FIRST_S + (number + chance.uniform(0.0, 0.5)) * slot_s, name)
        for number, name in enumerate(names)
    ]


def strike(stage: Stage, opens_at_s: float, seed: int, seconds: int) -> list[Blow]:
    """Kill and restart all parts; returns when the last one runs again. Call it from the thread
    that started the stack: servers end with the thread that started them."""
    blows = []
    for after_s, name in moments_of(seed, seconds):
        time.sleep(max(0.0, opens_at_s + after_s - time.time()))
        blows.append(Blow(time.time(), name))
        BLOWS[name](stage)
    return blows


def _kill_and_start(
    stage: Stage, name: str, meanwhile: Callable[[], object] = lambda: None
) -> None:
    process = stage.stack[name]
    process.kill()
    meanwhile()
    time.sleep(DOWN_S)
    process.start()


def _children_of_web(stack: Stack, word: str) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(stack["web"].pid).children()
        if any(word in part for part in child.cmdline())
    ]
