"""The sliding log that several hosts share, in Redis: the only module that knows it."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import NamedTuple, TypeVar

from redis.exceptions import NoScriptError, RedisError

from sidecar.protocol import HIT, PLACE, RESET, THEN, Head
from sidecar.redis_server import OneServer
from sidecar.sliding_log import Decision, Rate

SCRIPT_PATH = Path(__file__).parents[1] / "lua/limiter/limit_clients.lua"

RESET_KEY = b"reset:{limiter}"

LAST_TURNS = 3
"""Of the event loop: to read the socket, to wake the call, to wake who waits for it."""

Result = TypeVar("Result")


class Unreachable(Exception):
    """The shared log gave no answer; the message says why. What was asked may be counted."""


class Check(NamedTuple):
    """``key`` is the client's; a reset has none. The command of the second of two joined hits is
    THEN."""

    head: Head
    key: bytes


TRIAL = Check(Head(HIT, Rate(1, 1_000_000), 1), b"the limiter's own trial")
"""A hit, because a Redis that is full or read-only still answers what writes nothing. No client's
key has a space."""


class SharedLog:
    """Not for several calls at once: they would wait for each other, and time out."""

    answer_timeout_s = 0.012
    """A worker waits 20 ms in all, and wants to hear its host's decision when there is no other."""

    def __init__(self, server: OneServer):
        self._source = SCRIPT_PATH.read_text()
        self._digest = ""
        self._server = server
        self._redis = server.redis

    async def connect(self) -> None:
        """Connect anew, and try it out. Raises Unreachable."""
        await _answer_to(self._load_script(), self._server.connect_timeout_s)
        await self.decide([TRIAL], self.answer_timeout_s)

    async def decide(self, checks: list[Check], timeout_s: float) -> list[Decision]:
        """All at one moment of Redis's clock, in this order. That of a place has the wait as
        ``reset_ns``; that of a clear or reset says nothing. Raises Unreachable; then connect
        first."""
        if self._server.is_replaced():
            raise Unreachable("another server has taken its place")
        lines = await _answer_to(self._evaluate(checks), timeout_s)
        return [_decision_of(line) for line in lines.splitlines()]

    async def _load_script(self) -> None:
        await self._server.disconnect()
        self._digest = await self._redis.script_load(self._source)

    async def _evaluate(self, checks: list[Check]) -> bytes:
        keys, arguments = _keys_of(checks), _arguments_of(checks)
        lines: bytes
        try:
            lines = await self._redis.evalsha(self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            lines = await self._redis.eval(self._source, len(keys), *keys, *arguments)
        return lines


async def _answer_to(call: Awaitable[Result], timeout_s: float) -> Result:
    """Raises Unreachable.

    Not asyncio.timeout: it ends the call although its answer is there, when this process did not
    get to run for a while, because the timer's turn is before that of the task that waits.
    """
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait({task}, timeout=timeout_s)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    for _ in range(LAST_TURNS):
        if not task.done():
            await asyncio.sleep(0)
    if not task.done():
        task.cancel()  # and redis-py closes the connection
        await asyncio.wait({task})
    if task.cancelled():
        raise Unreachable(f"no answer within {timeout_s * 1000:.0f} ms")
    try:
        return task.result()
    except (RedisError, OSError, RuntimeError) as error:
        # RuntimeError is what uvloop says of a transport that is closed.
        raise Unreachable(str(error) or type(error).__name__) from error


def _keys_of(checks: list[Check]) -> list[bytes]:
    return [RESET_KEY, *(_key_of(check) for check in checks)]


def _arguments_of(checks: list[Check]) -> list[str | int]:
    """What the script is told of each."""
    arguments: list[str | int] = []
    for head, _ in checks:
        arguments += (_command_of(head), head.rate.limit, _window_us(head.rate))
    return arguments


def _command_of(head: Head) -> str | int:
    if head.command == HIT:
        return head.argument
    if head.command == THEN:
        return f"{THEN} {head.argument}"
    if head.command == PLACE:
        return f"{PLACE} {head.argument // 1000}"
    return head.command


def _key_of(check: Check) -> bytes:
    """The braces put all keys into one slot of a cluster: a script may use no others."""
    if check.head.command == RESET:
        return RESET_KEY
    kind = b"places" if check.head.command == PLACE else b"accepted"
    rate = check.head.rate
    return b"%b:{limiter}:%d/%d:%b" % (kind, rate.limit, _window_us(rate), check.key)


def _window_us(rate: Rate) -> int:
    """Redis's clock has microseconds; rounded up, so never more is accepted."""
    return -(-rate.window_ns // 1000)


def _decision_of(line: bytes) -> Decision:
    verdict, remaining, reset_us = line.split()
    return Decision(verdict == b"allowed", int(remaining), int(reset_us) * 1000)
