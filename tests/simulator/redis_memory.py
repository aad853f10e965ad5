"""A real Redis with the real scripts, whose clock is simulated and whose data can be lost."""

import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import hiredis
import redis

from ops.servers import Redis
from tests.support.redis_clock import NOW
from web.adapters.redis.scripts import LuaScript, ScriptCall, read_scripts

TOLD_NOW = "{ARGV[#ARGV - 1], ARGV[#ARGV]}"
"""The time as two additional arguments, seconds and microseconds, as TIME returns it. Not stored in
a key, because the clock must go on when all keys are lost."""


@dataclass(frozen=True)
class ClockedScript(LuaScript):
    now_s: Callable[[], float]

    def call(
        self, event_id: str, key_digest: str, given: Mapping[str, str | int | bytes]
    ) -> ScriptCall:
        call = super().call(event_id, key_digest, given)
        return ScriptCall(self, (*call.arguments, *_told(self.now_s())))


class _ClockedClient(redis.Redis):
    """redis-py's commands and reply parsing on a plain socket: redis-py's connections, pool,
    retries and metrics would take longer than Redis itself."""

    now_s: Callable[[], float]
    replication: Mapping[str, object] | None = None

    def __init__(self, path: Path):
        super().__init__(unix_socket_path=str(path), protocol=2, decode_responses=True)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._reader = hiredis.Reader(encoding="utf-8", replyError=redis.ResponseError)
        self._read: dict[tuple, Any] = {}

    def execute_command(self, *command, **options) -> Any:
        """Caches the list of events, which each round of a worker reads: no script can change it,
        since its key is not one of an event's."""
        if command in self._read:
            return copy(self._read[command])
        (answer,) = self.send([(command, options)])
        if isinstance(answer, Exception):
            raise answer
        if command[0] in ("SMEMBERS", "TYPE"):
            self._read[command] = copy(answer)
        elif command[0] in ("SADD", "DEL", "FLUSHDB"):
            self._read.clear()
        return answer

    def send(self, commands: list[tuple[tuple, dict]]) -> list:
        """Send commands, with their options, in one round trip."""
        self._socket.sendall(
            b"".join(
                hiredis.pack_command((*command[0].split(), *command[1:])) for command, _ in commands
            )
        )
        return [self._answer(command[0], options) for command, options in commands]

    def _answer(self, name: str, options: dict) -> Any:
        while (answer := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(65536))
        understand = self.response_callbacks.get(name)
        if understand is None or isinstance(answer, Exception):
            return answer
        options.pop("keys", None)  # for a cache of redis-py's
        return understand(answer, **options)

    def pipeline(self, transaction: bool = True, shard_hint: None = None) -> redis.client.Pipeline:
        return _Pipeline(self)

    def info(self, section: str) -> dict[str, object]:
        if self.replication is None:
            self.replication = super().info(section)
        return dict(self.replication)

    def time(self) -> tuple[int, int]:
        return _told(self.now_s())


class _Pipeline(redis.client.Pipeline):
    """A pipeline of reads and scripts. It is atomic because nobody else sends meanwhile."""

    def __init__(self, client: _ClockedClient):
        super().__init__(client.connection_pool, client.response_callbacks, False, None)
        self._client = client

    def execute(self, raise_on_error: bool = True) -> list:
        answers = self._client.send(self.command_stack)
        if raise_on_error:
            self.raise_first_error(self.command_stack, answers)
        return answers


class RedisMemory:
    """A Redis database, which is emptied first. ``now_s`` is its clock, in Unix time."""

    def __init__(self, path: Path):
        self.client = _ClockedClient(path)
        # Not self.now_s itself, which is replaced.
        self.client.now_s = lambda: self.now_s()  # noqa: PLW0108
        self._raw = redis.Redis(unix_socket_path=str(path))
        self.now_s: Callable[[], float] = lambda: 0.0
        self.scripts = {name: self._clocked(script) for name, script in read_scripts().items()}
        for script in self.scripts.values():
            self.client.script_load(script.source)

    def _clocked(self, script: LuaScript) -> ClockedScript:
        parts = {field.name: getattr(script, field.name) for field in fields(LuaScript)}
        parts["source"] = script.source.replace(NOW, TOLD_NOW)
        if "TIME" in parts["source"]:
            raise ValueError(f"{script.name} asks for the time in another way than {NOW}")
        return ClockedScript(**parts, now_s=lambda: self.now_s())  # noqa: PLW0108

    def seats(self, event_id: str) -> str | None:
        """The current seat map; None when there is none."""
        try:
            return self.client.get(f"seats:{{{event_id}}}")
        except redis.ResponseError:  # The key has another type.
            return None

    def revision(self, event_id: str) -> int:
        return int(self.client.hget(f"event:{{{event_id}}}", "revision") or 0)

    def epoch(self, event_id: str) -> str | None:
        return self.client.hget(f"event:{{{event_id}}}", "epoch")

    def has_lapsed_payments(self, event_id: str) -> bool:
        now_ms = round(self.now_s() * 1000)
        return bool(self.client.zcount(f"payments:{{{event_id}}}", "-inf", now_ms))

    def is_under_way(self, event_id: str, hold_id: str) -> bool:
        """Whether there is a payment of that hold."""
        return self.client.zscore(f"payments:{{{event_id}}}", hold_id) is not None

    def lose_everything(self) -> None:
        self.client.flushdb()

    def lose_event(self, event_id: str) -> None:
        if keys := self.client.keys(f"*{{{event_id}}}*"):
            self.client.delete(*keys)

    def lose_keys(self, kind: str, event_id: str) -> None:
        """Delete the keys of one kind: ``seats``, ``holds``, ``receipt``, …"""
        if keys := self.client.keys(f"{kind}:{{{event_id}}}*"):
            self.client.delete(*keys)

    def saved(self) -> dict[bytes, bytes]:
        """A copy of all data, for go_back_to."""
        keys = self._raw.keys("*")
        pipeline = self._raw.pipeline(transaction=False)
        for key in keys:
            pipeline.dump(key)
        return dict(zip(keys, pipeline.execute(), strict=True))

    def go_back_to(self, saved: dict[bytes, bytes], starts: bool) -> None:
        """Restore a copy. With ``starts``, as a Redis that was restarted with an older file or as a
        replica; otherwise the keys are restored into the running one."""
        if starts:
            self._raw.execute_command("DEBUG", "CHANGE-REPL-ID")
            self.client.replication = None
        self.lose_everything()
        pipeline = self._raw.pipeline(transaction=False)
        for key, value in saved.items():
            pipeline.restore(key, 0, value)
        pipeline.execute()


def _told(now_s: float) -> tuple[int, int]:
    """The time as TIME returns it: seconds and microseconds."""
    return divmod(round(now_s * 1_000_000), 1_000_000)


@contextmanager
def redis_memory() -> Iterator[RedisMemory]:
    """A separate Redis: on a Unix socket and without a file, runs take half the time."""
    with tempfile.TemporaryDirectory(prefix="tickets-") as name:
        folder = Path(name)
        server = Redis(folder, folder / "redis.log")
        server.command += ["--unixsocket", str(folder / "socket"), "--appendonly", "no"]
        server.command += ["--enable-debug-command", "local"]
        with server:
            yield RedisMemory(folder / "socket")
