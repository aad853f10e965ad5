"""The real Redis with the real scripts: its clock is set, and its memory can be lost."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import redis

from ops.servers import Redis
from tests.redis_clock import NOW
from web.stores.lua_scripts import LuaScript, ScriptCall, read_scripts

TOLD_NOW = "{ARGV[#ARGV - 1], ARGV[#ARGV]}"
"""Two more arguments than the header has: seconds and microseconds, as TIME answers. They need no
key, for a clock must go on when all keys are lost."""


@dataclass(frozen=True)
class ClockedScript(LuaScript):
    now_s: Callable[[], float]

    def call(
        self, event_id: str, key_digest: str, given: Mapping[str, str | int | bytes]
    ) -> ScriptCall:
        call = super().call(event_id, key_digest, given)
        return ScriptCall(self, (*call.arguments, *_told(self.now_s())))


class _ClockedClient(redis.Redis):
    now_s: Callable[[], float]
    run = 1

    def info(self, section: str) -> dict[str, object]:
        return super().info(section) | {"run_id": str(self.run)}

    def time(self) -> tuple[int, int]:
        return _told(self.now_s())


class RedisMemory:
    """A whole Redis database, emptied first. ``now_s`` is its clock, as Unix time."""

    def __init__(self, socket: Path):
        self.client = _ClockedClient(unix_socket_path=str(socket), decode_responses=True)
        # Not self.now_s itself, which is replaced.
        self.client.now_s = lambda: self.now_s()  # noqa: PLW0108
        self._raw = redis.Redis(unix_socket_path=str(socket))
        self.now_s: Callable[[], float] = lambda: 0.0
        self.scripts = {name: self._clocked(script) for name, script in read_scripts().items()}

    def _clocked(self, script: LuaScript) -> ClockedScript:
        parts = {field.name: getattr(script, field.name) for field in fields(LuaScript)}
        parts["source"] = script.source.replace(NOW, TOLD_NOW)
        if "TIME" in parts["source"]:
            raise ValueError(f"{script.name} asks for the time in another way than {NOW}")
        return ClockedScript(**parts, now_s=lambda: self.now_s())  # noqa: PLW0108

    def seats(self, event_id: str) -> str | None:
        """The map as it is; None when there is none."""
        try:
            return self.client.get(f"seats:{{{event_id}}}")
        except redis.ResponseError:  # It is something else.
            return None

    def lose_everything(self) -> None:
        self.client.flushdb()

    def lose_event(self, event_id: str) -> None:
        if keys := self.client.keys(f"*{{{event_id}}}*"):
            self.client.delete(*keys)

    def lose_keys(self, kind: str, event_id: str) -> None:
        """``seats``, ``holds``, ``receipt``, …"""
        if keys := self.client.keys(f"{kind}:{{{event_id}}}*"):
            self.client.delete(*keys)

    def saved(self) -> dict[bytes, bytes]:
        """All that there is, to go back to."""
        keys = self._raw.keys("*")
        pipeline = self._raw.pipeline(transaction=False)
        for key in keys:
            pipeline.dump(key)
        return dict(zip(keys, pipeline.execute(), strict=True))

    def go_back_to(self, saved: dict[bytes, bytes], starts: bool) -> None:
        """``starts``: as a Redis that was started with an older file, or as a replica."""
        self.client.run += starts
        pipeline = self._raw.pipeline(transaction=False)
        pipeline.flushdb()
        for key, value in saved.items():
            pipeline.restore(key, 0, value)
        pipeline.execute()


def _told(now_s: float) -> tuple[int, int]:
    """As TIME answers: seconds and microseconds."""
    return divmod(round(now_s * 1_000_000), 1_000_000)


@contextmanager
def redis_memory() -> Iterator[RedisMemory]:
    """A Redis of one's own: on a Unix socket, and without a file, a run takes half the time."""
    with tempfile.TemporaryDirectory(prefix="tickets-") as name:
        folder = Path(name)
        server = Redis(folder, folder / "redis.log")
        server.command += ["--unixsocket", str(folder / "socket"), "--appendonly", "no"]
        with server:
            yield RedisMemory(folder / "socket")
