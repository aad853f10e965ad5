"""Redis: the connections of a process, the sending of scripts, and what counts as unavailable. The
only module that knows redis-py; the stores beside it share one client."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import NoPermissionError, NoScriptError, ResponseError, WatchError
from redis.retry import Retry

from web.adapters.redis.scripts import LuaScript, ScriptCall, read_scripts
from web.domain.refusals import Unavailable
from web.ports.seat_store import SEAT_STORE
from web.utils.group_commit import Abandoned, GroupCommit

POOL_SIZE = 100
"""Connections a process holds at most; further callers wait for one."""

POOL_WAIT_S = 2.0
SOCKET_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 1.0
RETRIES = 2
"""Scripts may be sent again, because each takes an id that makes a repeat harmless."""

CALLS_IN_A_GROUP = 64
"""Calls sent together: Redis is busy with so many scripts for two or three milliseconds."""

_UNREACHABLE = (
    Abandoned,
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
)
_NOT_NOW = ("BUSY", "CLUSTERDOWN", "MASTERDOWN", "MISCONF", "NOREPLICAS", "TRYAGAIN")
"""Answers of a Redis that is there and cannot serve; redis-py has no classes for them."""

_BROKEN = ("WRONGTYPE", "event_broken")
"""In answers of Redis and of our scripts when a key of an event is lost or wrong: nobody knows,
until the worker has built the event again."""

log = logging.getLogger(__name__)


def connect(url: str, **options: Any) -> redis.Redis:
    """Redis by URL, with bounded waiting and few retries (``redis-py`` has neither by default).
    ``options`` are its keyword arguments. Raises ValueError or OSError for an option of the URL
    that cannot be."""
    try:
        return _pooled(url, **options)
    except redis.RedisError as error:
        raise ValueError(str(error)) from None
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        raise ValueError(f"there is no option {unknown[1]}" if unknown else str(error)) from None


def _pooled(url: str, **options: Any) -> redis.Redis:
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=POOL_SIZE,
        timeout=POOL_WAIT_S,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), RETRIES),
        decode_responses=True,
        **options,
    )
    # Makes no connection yet. The pool would meet a bad option at the first request only.
    pool.connection_class(**pool.connection_kwargs)
    return redis.Redis(connection_pool=pool)


@contextmanager
def reachable() -> Iterator[None]:
    """Around commands: raises Unavailable when Redis cannot serve now. Any other error is a bug."""
    try:
        yield
    except (redis.RedisError, Abandoned) as error:
        if not _is_away(error):
            raise
        log.warning("redis: %s", error)
        raise _unavailable(error) from error


def _is_away(error: Exception) -> bool:
    """Whether it says that Redis cannot serve now; any other is a bug."""
    text = str(error)
    return (
        isinstance(error, _UNREACHABLE)
        or text.startswith(_NOT_NOW)
        or any(word in text for word in _BROKEN)
    )


def _unavailable(error: Exception) -> Unavailable:
    """Of an error that says that Redis is away. A disk or a memory that is full, for example, keeps
    it from writing and not from reading: its own words say so."""
    return Unavailable(SEAT_STORE, answer=str(error) if isinstance(error, ResponseError) else None)


class RedisClient:
    """``commands`` are redis-py's, for use within ``reachable``; they decode what Redis answers,
    which redis-py's types do not know. The methods raise Unavailable themselves."""

    def __init__(self, commands: redis.Redis, scripts: Mapping[str, LuaScript] | None = None):
        self.commands = commands
        self._scripts = scripts or read_scripts()
        self._calls = GroupCommit(self._send, CALLS_IN_A_GROUP)

    def run(
        self,
        name: str,
        event_id: str,
        key_digest: str,
        arguments: Mapping[str, str | int | bytes],
    ) -> list[Any]:
        """A script's answer. Calls that wait at the same moment go out together."""
        call = self._scripts[name].call(event_id, key_digest, arguments)
        with reachable():
            return self._calls.call(call)

    def run_for_each(
        self, name: str, arguments: Mapping[str, Mapping[str, str | int | bytes]]
    ) -> dict[str, list[Any]]:
        """A script's answers, by event; ``arguments`` are its own for each. Takes few round trips.
        An event on which the script fails is left out: it must not shut the events beside it."""
        script = self._scripts[name]
        calls = [script.call(event_id, "", given) for event_id, given in arguments.items()]
        answers = []
        with reachable():
            for first in range(0, len(calls), CALLS_IN_A_GROUP):
                answers += self._send(calls[first : first + CALLS_IN_A_GROUP])
        answered = {}
        for event_id, answer in zip(arguments, answers, strict=True):
            if not isinstance(answer, Exception):
                answered[event_id] = answer
            elif _is_away(answer):
                raise _unavailable(answer) from answer
            else:
                log.error("%s: %s", event_id, answer)
        return answered

    def delete_if(self, key: str, value: str) -> None:
        """Deletes the key, unless it has another value by then."""
        with reachable(), self.commands.pipeline() as pipeline, suppress(WatchError):
            pipeline.watch(key)
            if pipeline.get(key) == value:
                pipeline.multi()
                pipeline.delete(key)
                pipeline.execute()

    def info(self, section: str) -> dict[str, Any]:
        """Of the server. Unlike CONFIG, providers allow it. Empty for a user that may not."""
        with reachable(), suppress(NoPermissionError):
            return self.commands.info(section)
        return {}

    def _send(self, calls: list[ScriptCall]) -> list[list[Any] | Exception]:
        """All in one round trip, and another one for what Redis has not loaded: with the scripts
        themselves, because others may empty Redis's cache of scripts at any moment."""
        pipeline = self.commands.pipeline(transaction=False)
        for call in calls:
            pipeline.evalsha(call.script.sha, len(call.script.keys), *call.arguments)
        answers: list[list[Any] | Exception] = pipeline.execute(raise_on_error=False)
        unknown = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            for n in unknown:
                script, arguments = calls[n]
                pipeline.eval(script.source, len(script.keys), *arguments)
            again = pipeline.execute(raise_on_error=False)
            for n, answer in zip(unknown, again, strict=True):
                answers[n] = answer
        return answers
