"""Redis: what the stores beside it share. They name keys and scripts; here each call goes to the
server that has the key, is tried again where that helps, and gets its outcome."""

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import redis
from redis.exceptions import (
    AskError,
    ClusterDownError,
    InvalidResponse,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
    WatchError,
)

from web.adapters.redis.scripts import LuaScript, read_scripts
from web.adapters.redis.servers import Servers
from web.adapters.redis.shard import CALLS_IN_A_GROUP, Answer, NotReplicated, Shard, is_answer
from web.domain.refusals import Unavailable
from web.ports.seat_store import SEAT_STORE
from web.utils.group_commit import Abandoned
from web.utils.lru_cache import LRUCache

PAUSES_S = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Before each further try, where another try can succeed: keys have moved, or are being moved."""

ASKED_AT_ONCE = 16
"""Servers, by one caller."""

_AWAY = (
    Abandoned,
    NotReplicated,
    redis.ConnectionError,
    redis.TimeoutError,
    InvalidResponse,
    AskError,
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
_NOT_NOW = re.compile(
    "(^|caused error: )((?!ERR )[A-Z]{2,} |unknown command)|Script killed|user executing the script"
)
"""Other answers of a Redis that is there and cannot serve. Most begin with a code, such as BUSY,
MISCONF, NOREPLICAS or DENIED. redis-py takes the code ERR away, which mostly means a bug of ours;
a Sentinel that is taken for a server knows none of our commands. A user that may not do what a
script does is refused in the last words by Redis 7.0, with "ACL failure in script" by Valkey.
"""

_BROKEN = ("WRONGTYPE", "event_broken")
"""In answers of Redis and of our scripts when a key of an event is lost or wrong: nobody knows,
until the worker has built the event again."""

LOG_EVERY_S = 1.0
"""How often one cause is logged: while a server is away, each call to it fails."""

CAUSES_KEPT = 100
"""Of which it is known when they were logged."""

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

RedisCommands = redis.Redis
"""What the stores send commands by, within ``ask``. It decodes what Redis answers, which redis-py's
types do not know."""


class Unconfirmed(Unavailable):
    """Redis has done it, and too few of its replicas have confirmed it: a failover may undo it."""


class RedisClient:
    """A ``tag`` says where a key is: it is the id of the event whose key it is, or the whole key
    if it belongs to no event. All methods raise Unavailable when Redis cannot serve now; any other
    error is a bug. They may do twice what they are given to do."""

    def __init__(self, servers: Servers, scripts: Mapping[str, LuaScript] | None = None):
        self._servers = servers
        self._scripts = scripts or read_scripts()
        self._logged_s: LRUCache[float] = LRUCache(CAUSES_KEPT)

    def run(
        self,
        name: str,
        event_id: str,
        key_digest: str,
        arguments: Mapping[str, str | int | bytes],
    ) -> list[Any]:
        """A script's answer. Calls that wait at the same moment go out together."""
        call = self._scripts[name].call(event_id, key_digest, arguments)
        return self._try(event_id, lambda shard: shard.call(call))

    def run_for_each(
        self, name: str, arguments: Mapping[str, Mapping[str, str | int | bytes]]
    ) -> dict[str, list[Any] | Unavailable]:
        """A script's answers, by event; ``arguments`` are its own for each. Takes few round trips.
        An event on which the script fails is left out: it must not shut the events beside it."""
        script = self._scripts[name]

        def send(shard: Shard, event_ids: Sequence[str]) -> list[Answer]:
            calls = [script.call(event_id, "", arguments[event_id]) for event_id in event_ids]
            return [
                answer
                for first in range(0, len(calls), CALLS_IN_A_GROUP)
                for answer in shard.send(calls[first : first + CALLS_IN_A_GROUP])
            ]

        return self._try_each(arguments, send)

    def ask(
        self, tag: str, act: Callable[[RedisCommands], Result], *, soon: bool = False
    ) -> Result:
        """The result of ``act``, which is given the commands of the server that has the key.
        ``soon``, here and below, is for monitoring: a server that hangs is given up early."""
        return self._try(tag, lambda shard: _asked(shard, act, soon))

    def ask_for_each(
        self,
        tags: Iterable[str],
        act: Callable[[RedisCommands, Sequence[str]], Sequence[Result]],
        *,
        soon: bool = False,
    ) -> dict[str, Result | Unavailable]:
        """The results of ``act``, by tag. It is called once for each server, with its tags, and
        returns a result for each."""
        return self._try_each(
            tags,
            lambda shard, members: _asked(shard, lambda commands: act(commands, members), soon),
        )

    def shards(self) -> Sequence[Shard]:
        """All servers that take writes."""
        try:
            return self._servers.all()
        except redis.RedisError as error:
            raise self._refusal(error) from error

    def ask_shard(
        self, shard: Shard, act: Callable[[RedisCommands], Result], *, soon: bool = False
    ) -> Result:
        """The result of ``act`` on this server, whichever keys it has."""
        try:
            return _asked(shard, act, soon)
        except redis.RedisError as error:
            raise self._refusal(error) from error

    def ask_shards(
        self, shards: Sequence[Shard], act: Callable[[RedisCommands], Result], *, soon: bool = False
    ) -> list[Result | Unavailable]:
        """The results of ``act`` on these servers, in order, whichever keys they have."""

        def outcome(shard: Shard) -> Result | Unavailable:
            try:
                return self.ask_shard(shard, act, soon=soon)
            except Unavailable as unavailable:
                return unavailable

        return _at_once(outcome, shards)

    def address_of(self, tag: str) -> str:
        """Of the server that has the key."""
        return self._try(tag, lambda shard: shard.address)

    def delete_if(self, tag: str, key: str, value: str) -> None:
        """Deletes the key, unless it has another value by then."""

        def delete(commands: RedisCommands) -> None:
            with commands.pipeline() as pipeline, suppress(WatchError):
                pipeline.watch(key)
                if pipeline.get(key) == value:
                    pipeline.multi()
                    pipeline.delete(key)
                    pipeline.execute()

        self.ask(tag, delete)

    def _try(self, tag: str, act: Callable[[Shard], Result]) -> Result:
        tries = 0
        while True:
            shard = None
            try:
                shard = self._servers.of(tag)
                return act(shard)
            except (redis.RedisError, Abandoned) as error:
                tries += 1
                if not self._can_try_again(error, tag, shard, tries):
                    raise self._refusal(error) from error
            time.sleep(PAUSES_S[tries - 1])

    def _try_each(
        self,
        tags: Iterable[str],
        act: Callable[[Shard, Sequence[str]], Sequence[Result | Exception]],
    ) -> dict[str, Result | Unavailable]:
        tags = list(dict.fromkeys(tags))
        outcomes: dict[str, Result | Exception] = {}
        pending, tries = tags, 0
        while pending:
            again: list[str] = []
            tries += 1
            groups = list(self._by_shard(pending, outcomes).items())
            answers_of = _at_once(partial(_answers, act), groups)
            for (shard, members), answers in zip(groups, answers_of, strict=True):
                for tag, answer in zip(members, answers, strict=True):
                    outcomes[tag] = answer
                    if isinstance(answer, Exception) and self._can_try_again(
                        answer, tag, shard, tries
                    ):
                        again.append(tag)
            if again:
                time.sleep(PAUSES_S[tries - 1])
            pending = again
        return dict(self._understood({tag: outcomes[tag] for tag in tags}))

    def _by_shard(
        self, tags: Iterable[str], outcomes: dict[str, Result | Exception]
    ) -> dict[Shard, list[str]]:
        """A tag for which no server is known gets that as its outcome."""
        members: dict[Shard, list[str]] = {}
        for tag in tags:
            try:
                members.setdefault(self._servers.of(tag), []).append(tag)
            except redis.RedisError as error:
                outcomes[tag] = error
        return members

    def _understood(
        self, outcomes: Mapping[str, Result | Exception]
    ) -> Iterator[tuple[str, Result | Unavailable]]:
        """Without the bugs, which go to the log."""
        for tag, outcome in outcomes.items():
            if not isinstance(outcome, Exception):
                yield tag, outcome
            elif _is_away(outcome):
                self._log(outcome)
                yield tag, _unavailable(outcome)
            else:
                log.error("%s: %s", tag, outcome)

    def _refusal(self, error: Exception) -> Unavailable:
        """Of an error that says that Redis cannot serve now. Raises any other."""
        if not _is_away(error):
            raise error
        self._log(error)
        return _unavailable(error)

    def _log(self, error: Exception) -> None:
        """As a warning, each cause once in LOG_EVERY_S."""
        cause, now_s = str(error), time.monotonic()
        logged_s = self._logged_s.get(cause)
        if logged_s is None or now_s >= logged_s + LOG_EVERY_S:
            self._logged_s.put(cause, now_s)
            log.warning("redis: %s", error)

    def _can_try_again(self, error: Exception, tag: str, shard: Shard | None, tries: int) -> bool:
        return (
            shard is not None
            and tries <= len(PAUSES_S)
            and self._servers.can_try_again(error, tag, shard, tries)
        )


def _asked(shard: Shard, act: Callable[[RedisCommands], Result], soon: bool) -> Result:
    return shard.probe(act) if soon else shard.ask(act)


def _answers(
    act: Callable[[Shard, Sequence[str]], Sequence[Result | Exception]],
    group: tuple[Shard, Sequence[str]],
) -> Sequence[Result | Exception]:
    """Of one server, for each of its tags."""
    shard, members = group
    try:
        return act(shard, members)
    except (redis.RedisError, Abandoned) as error:
        return [error] * len(members)


def _at_once(ask: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """The result of ``ask`` for each, in order. None waits for another that hangs."""
    if len(items) < 2:
        return [ask(item) for item in items]
    with ThreadPoolExecutor(min(len(items), ASKED_AT_ONCE)) as threads:
        return list(threads.map(ask, items))


def _is_away(error: Exception) -> bool:
    text = str(error)
    return (
        isinstance(error, _AWAY)
        or _NOT_NOW.search(text) is not None
        or any(word in text for word in _BROKEN)
    )


def _unavailable(error: Exception) -> Unavailable:
    """A disk or a memory that is full, for example, keeps Redis from writing and not from reading:
    its own words say so."""
    text = str(error)
    if isinstance(error, NotReplicated):
        return Unconfirmed(SEAT_STORE, answer=text)
    if isinstance(error, MovedError):
        text = f"MOVED {text}; the URL of a Redis Cluster begins with redis+cluster://"
    return Unavailable(SEAT_STORE, answer=text if is_answer(error) else None)


def server_info(commands: RedisCommands, section: str) -> dict[str, Any]:
    """Unlike CONFIG, providers allow it. Empty for a user that may not."""
    with suppress(NoPermissionError):
        return commands.info(section)
    return {}
