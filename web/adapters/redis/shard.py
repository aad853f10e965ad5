"""Redis: one server that takes writes. Its connections, and the sending of scripts."""

import math
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.connection import parse_url
from redis.exceptions import AuthenticationError, BusyLoadingError, NoScriptError
from redis.retry import Retry

from web.adapters.redis.group_connection import Command, GroupConnection
from web.adapters.redis.scripts import ScriptCall
from web.utils.group_commit import GroupCommit

Address = tuple[str, int]
"""Host and port."""

POOL_SIZE = 100
"""Connections a process has to a server at most; further callers wait for one."""

POOL_WAIT_S = 2.0
SOCKET_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 1.0
QUESTION_TIMEOUT_S = 0.3
PROBE_TIMEOUT_S = 0.5
"""For monitoring: a balancer waits a second for an answer about all servers. Longer than a Redis
is busy with a group of calls or with its disk."""

RETRIES = 2
"""After a broken connection, not after a time-out. Scripts may be sent again, because each takes an
id that makes a repeat harmless."""

CALLS_IN_A_GROUP = 64
"""Calls sent together: Redis is busy with so many scripts for two or three milliseconds."""

SILENT_S = 1.0
"""How long a server that did not answer in time is not asked again: a caller learns at once what it
would learn after SOCKET_TIMEOUT_S, and the callers of other servers do not wait for this one."""

BROKEN_S = 0.1
"""The same for a server to which there is no connection."""

RECONNECT_EVERY_S = 0.1

HOLDING = frozenset({"hold_seats", "hold_best"})
"""Scripts of which replicas must confirm that the seats are held. Not extend_hold: what cannot be
taken back must not be refused, and a failover that forgets it gives the hold its first deadline."""

WAIT_MS = 200
"""How long replicas may take for that."""

Answer = list[Any] | Exception
Execute = Callable[[Sequence[Command]], list[Any]]
"""Sends commands in one round trip, and returns what the server has answered, errors too."""
Result = TypeVar("Result")


class NotReplicated(redis.RedisError):
    """Done, but too few replicas have confirmed it: a failover may undo it."""


class NoServer(redis.ConnectionError):
    """Those that were asked where the server is have answered, and lead to none."""


def is_answer(error: Exception) -> bool:
    """Whether the error has the words of a server that was reached."""
    if isinstance(error, (redis.ConnectionError, redis.TimeoutError)):
        return isinstance(error, (AuthenticationError, BusyLoadingError, NoServer))
    return isinstance(error, redis.RedisError)


def connect(url: str, address: Address | None = None, **options: Any) -> redis.Redis:
    """Redis by URL, with bounded waiting and few retries (``redis-py`` has neither by default); at
    another ``address`` than the URL's if one is given. The URL's own options win over ``options``.
    Raises ValueError or OSError for an option of the URL that cannot be."""
    retry = Retry(ExponentialBackoff(cap=0.2, base=0.02), RETRIES, (redis.ConnectionError,))
    waiting = {"socket_timeout": SOCKET_TIMEOUT_S, "socket_connect_timeout": CONNECT_TIMEOUT_S}
    return _client(waiting | {"retry": retry} | options | _of_url(url, address))


def connect_impatiently(url: str, address: Address, **options: Any) -> redis.Redis:
    """For a question that another server can answer as well. Here ``options`` win over those of the
    URL; None takes one out."""
    options |= {
        "socket_timeout": QUESTION_TIMEOUT_S,
        "socket_connect_timeout": QUESTION_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }
    return _client(_of_url(url, address) | options)


def _of_url(url: str, address: Address | None) -> dict[str, Any]:
    options: dict[str, Any] = parse_url(url)
    if address:
        options["host"], options["port"] = address
    return options


def _client(options: Mapping[str, Any]) -> redis.Redis:
    given = {name: value for name, value in options.items() if value is not None}
    if authorities := given.get("ssl_ca_certs"):
        _check_certificates(authorities)
    waiting = {"max_connections": POOL_SIZE, "timeout": POOL_WAIT_S, "decode_responses": True}
    try:
        pool = redis.BlockingConnectionPool(**(waiting | given))
        # Makes no connection yet. The pool would meet a bad option at the first request only.
        pool.connection_class(**pool.connection_kwargs)
    except redis.RedisError as error:
        raise ValueError(str(error)) from None
    except (TypeError, AttributeError) as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        raise ValueError(f"there is no option {unknown[1]}" if unknown else str(error)) from None
    return redis.Redis(connection_pool=pool)


def _check_certificates(path: str) -> None:
    """The pool would read them at the first request only. Raises ValueError."""
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise ValueError(f"ssl_ca_certs: {path!r} cannot be read: {error.strerror}") from None


def _impatient(commands: redis.Redis) -> redis.Redis:
    """Another client of the same server."""
    pool = commands.connection_pool
    waiting = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), PROBE_TIMEOUT_S)
    options = pool.connection_kwargs | waiting | {"retry": Retry(NoBackoff(), 0)}
    return redis.Redis(connection_pool=redis.ConnectionPool(pool.connection_class, **options))


class Shard:
    """``replicas`` is how many must confirm a hold. The methods that send something raise
    redis.RedisError."""

    def __init__(self, commands: redis.Redis, replicas: int = 0):
        self.commands = commands
        self._probes = _impatient(commands)
        self._replicas = replicas
        self._group_connection = GroupConnection(commands.connection_pool)
        self._calls = GroupCommit(self._send_group, CALLS_IN_A_GROUP)
        self._silent_until_s = -math.inf
        self._unheard_until_s = -math.inf
        self._reconnected_s = -math.inf

    @property
    def address(self) -> str:
        """``host:port``, or the path of a Unix socket."""
        options = self.commands.connection_pool.connection_kwargs
        if "path" in options:
            return str(options["path"])
        return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"

    @property
    def is_silent(self) -> bool:
        """Whether it did not answer a moment ago."""
        return time.monotonic() < max(self._silent_until_s, self._unheard_until_s)

    def call(self, call: ScriptCall) -> list[Any]:
        """A script's answer. Calls that wait at the same moment go out together. Raises Abandoned,
        too."""
        return self._calls.call(call)

    def send(self, calls: Sequence[ScriptCall]) -> list[Answer]:
        """Their answers, in order, each a list or the error that it ended with. One round trip for
        up to CALLS_IN_A_GROUP calls."""
        return self.ask(lambda commands: self._sent(partial(_in_pipeline, commands), calls))

    def ask(self, act: Callable[[redis.Redis], Result]) -> Result:
        """The result of ``act``, which sends commands."""
        if time.monotonic() < self._silent_until_s:
            raise self._has_not_answered()
        try:
            return act(self.commands)
        except redis.TimeoutError:
            self._silent_until_s = time.monotonic() + SILENT_S
            raise
        except redis.ConnectionError as error:
            if isinstance(error.__context__, OSError):  # and not that all connections are in use
                self._silent_until_s = time.monotonic() + BROKEN_S
            raise

    def probe(self, act: Callable[[redis.Redis], Result]) -> Result:
        """The result of ``act``, or an error soon. Other callers are as patient as before."""
        if self.is_silent:
            raise self._has_not_answered()
        try:
            return act(self._probes)
        except redis.TimeoutError:
            self._unheard_until_s = time.monotonic() + PROBE_TIMEOUT_S
            raise

    def _has_not_answered(self) -> redis.ConnectionError:
        return redis.ConnectionError(f"{self.address} did not answer a moment ago")

    def reconnect(self) -> None:
        """The next command finds out anew where the URL's name leads: after a failover the server
        behind the present connections may take no writes any more."""
        if time.monotonic() >= self._reconnected_s + RECONNECT_EVERY_S:
            self._reconnected_s = time.monotonic()
            self._group_connection.leave()
            self.commands.connection_pool.disconnect(inuse_connections=False)
            self._probes.connection_pool.disconnect(inuse_connections=False)

    def _send_group(self, calls: Sequence[ScriptCall]) -> list[Answer]:
        """As ``send``, for one caller at a time."""
        return self.ask(lambda _: self._sent(self._group_connection.execute, calls))

    def _sent(self, execute: Execute, calls: Sequence[ScriptCall]) -> list[Answer]:
        """For what Redis has not loaded there is another round trip, with the scripts themselves,
        because others may empty Redis's cache of scripts at any moment."""
        loaded: list[Command] = [
            ("EVALSHA", script.sha, len(script.keys), *arguments) for script, arguments in calls
        ]
        answers = self._executed(execute, loaded, calls)
        unknown = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            missing = [calls[n] for n in unknown]
            sources: list[Command] = [
                ("EVAL", script.source, len(script.keys), *arguments)
                for script, arguments in missing
            ]
            again = self._executed(execute, sources, missing)
            for n, answer in zip(unknown, again, strict=True):
                answers[n] = answer
        return answers

    def _executed(
        self, execute: Execute, commands: Sequence[Command], calls: Sequence[ScriptCall]
    ) -> list[Answer]:
        """``commands`` send the ``calls``."""
        if not self._replicas or not any(call.script.name in HOLDING for call in calls):
            return execute(commands)
        # Of this connection: it waits for what was written just now, and for nothing that is later.
        *answers, confirmed = execute([*commands, ("WAIT", self._replicas, WAIT_MS)])
        if isinstance(confirmed, Exception) or confirmed < self._replicas:
            lost = NotReplicated(
                f"WAIT: {confirmed}"
                if isinstance(confirmed, Exception)
                else f"{confirmed} of {self._replicas} replicas confirmed it within {WAIT_MS} ms"
            )
            for n, (call, answer) in enumerate(zip(calls, answers, strict=True)):
                if call.script.name in HOLDING and isinstance(answer, list) and answer[0] == "held":
                    answers[n] = lost
        return answers


def _in_pipeline(commands: redis.Redis, group: Sequence[Command]) -> list[Any]:
    """On any connection of the pool."""
    pipeline = commands.pipeline(transaction=False)
    for command in group:
        pipeline.execute_command(*command)
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    return answers
