"""``CHAOS=1``: each part is killed with SIGKILL once during the sale and started again, in an order
and at moments that the seed decides.

The others replace a member of a group. The stack starts it again later, as in `make run`.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from ops.mongodb_set import MongoReplicaSet
from ops.redis_cluster import RedisCluster
from ops.redis_sentinels import RedisSentinels
from ops.server_groups import wait_for
from ops.stack import Stack
from tests.burst.plan import Plan
from tests.burst.stage import EVENT_ID, Stage

FIRST_S = 1.0
"""The first kill comes after the opening; before it everybody only waits."""

UNTIL = 0.5
"""The share of the sale in which parts are killed, when most payments are made. The rest shows that
the sale goes on."""

AT_DOORS = (0.2, 0.4, 0.7)
"""The shares of the scans at the doors after which a part is killed."""

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


def kill_master(stage: Stage) -> None:
    """Kill the Redis that has the event; a replica takes over."""
    redis = stage.stack.redis
    assert isinstance(redis, RedisCluster | RedisSentinels)
    master = redis.master_of(EVENT_ID) if isinstance(redis, RedisCluster) else redis.master
    master.kill()


def kill_sentinel(stage: Stage) -> None:
    """Kill a Sentinel; the two others are a majority."""
    stage.stack["sentinel-1"].kill()


def kill_gateway(stage: Stage) -> None:
    """Kill the payment sandbox, whose ledger is a file."""
    _kill_and_start(stage, "sandbox")


def kill_mongodb(stage: Stage) -> None:
    _kill_and_start(stage, "mongod")


def kill_primary(stage: Stage) -> None:
    """Kill MongoDB's primary; the others elect another."""
    mongodb = stage.stack.mongodb
    assert isinstance(mongodb, MongoReplicaSet)
    wait_for(mongodb.primary, "a primary to kill").kill()


def kill_nginx(stage: Stage) -> None:
    """Kill nginx, which breaks the connections of all buyers."""
    _kill_and_start(stage, "nginx")


def kill_worker(stage: Stage) -> None:
    _kill_and_start(stage, "worker")


Kill = Callable[[Stage], None]

OF_REDIS: dict[str, dict[str, Kill]] = {
    "server": {"Redis": kill_redis, "Redis and its data": lose_redis},
    "sentinel": {"Redis's master": kill_master, "a Sentinel": kill_sentinel},
    "cluster": {"Redis's master": kill_master},
}
OF_MONGODB: dict[str, dict[str, Kill]] = {
    "1": {"MongoDB": kill_mongodb},
    "3": {"MongoDB's primary": kill_primary},
}


def blows_of(plan: Plan) -> dict[str, Kill]:
    return {
        "a web worker": kill_web_worker,
        "the limiter": kill_limiter,
        **OF_REDIS[plan.redis],
        **OF_MONGODB[plan.mongodb],
        "the payment gateway": kill_gateway,
        "nginx": kill_nginx,
        "the worker": kill_worker,
    }


class BlowsAtDoors:
    """Kills parts while tickets are scanned, each when so large a share of them has been; call it
    again and again, from the thread that started the stack. ``killed`` names them."""

    def __init__(self, stage: Stage):
        self._stage = stage
        plan = stage.plan
        names = ["a web worker", *OF_MONGODB[plan.mongodb], "nginx"]
        self._left = list(zip(AT_DOORS, names, strict=True))
        self.killed: list[str] = []

    def __call__(self, share: float) -> None:
        self._stage.stack.look_after()
        if self._left and share >= self._left[0][0]:
            _, name = self._left.pop(0)
            self.killed.append(name)
            blows_of(self._stage.plan)[name](self._stage)


def moments_of(plan: Plan) -> list[tuple[float, str]]:
    """Each part once, with the seconds after the opening at which it is killed."""
    chance = random.Random(f"chaos {plan.seed}")
    blows = blows_of(plan)
    names = chance.sample(list(blows), len(blows))
    slot_s = (plan.seconds * UNTIL - FIRST_S) / len(names)
    return [
        (FIRST_S + (number + chance.uniform(0.0, 0.5)) * slot_s, name)
        for number, name in enumerate(names)
    ]


def strike(stage: Stage, opens_at_s: float) -> list[Blow]:
    """Kill and restart all parts; returns when the last one runs again, members of groups excepted.
    Call it from the thread that started the stack: servers end with the thread that started
    them."""
    blows, kills = [], blows_of(stage.plan)
    for after_s, name in moments_of(stage.plan):
        time.sleep(max(0.0, opens_at_s + after_s - time.time()))
        blows.append(Blow(time.time(), name))
        kills[name](stage)
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
