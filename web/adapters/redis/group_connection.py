"""Redis: the connection of a server's groups of calls, which are sent one after the other.

The pipeline of redis-py and its pool, which looks at a connection each time it gives it out, take
two thirds of the processor time of a small group. Connecting, logging in, TLS, time-outs, retries,
parsing and errors are redis-py's here as well.
"""

import os
import time
from collections.abc import Sequence
from typing import Any

import hiredis
import redis
from redis.connection import AbstractConnection
from redis.exceptions import ResponseError

Command = tuple[str | int | bytes, ...]

IDLE_S = 0.5
"""A connection that was used within this time is taken to be open: if the server has closed it in
between, the retry opens another one. After a longer time that is looked at first."""


class GroupConnection:
    """One beside the ``pool``, with the same options. Not for callers at the same time."""

    def __init__(self, pool: redis.ConnectionPool):
        self._pool = pool
        self._connection: AbstractConnection | None = None
        self._answered_s: float | None = None
        self._is_left = False

    def leave(self) -> None:
        """The next group gets a new connection. For any caller at any time."""
        self._is_left = True

    def execute(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in order, or the errors that the server has answered. Raises redis.RedisError
        when it cannot be reached."""
        connection = self._opened()
        self._answered_s = None
        answers: list[Any] = connection.retry.call_with_retry(
            lambda: _exchanged(connection, commands), lambda _: connection.disconnect()
        )
        self._answered_s = time.monotonic()
        return answers

    def _opened(self) -> Any:
        if self._connection is None or self._connection.pid != os.getpid():
            self._connection = self._pool.connection_class(**self._pool.connection_kwargs)
            self._answered_s, self._is_left = None, False
        connection: Any = self._connection
        if self._is_left or connection.should_reconnect() or self._is_closed(connection):
            self._is_left = False
            connection.disconnect()
        connection.connect()
        return connection

    def _is_closed(self, connection: Any) -> bool:
        """By the server, as far as is known. What has not answered is closed by us."""
        if self._answered_s is None or time.monotonic() < self._answered_s + IDLE_S:
            return False
        try:
            return bool(connection.can_read())
        except (redis.ConnectionError, redis.TimeoutError):
            return True


def _exchanged(connection: Any, commands: Sequence[Command]) -> list[Any]:
    # Its types know no tuple but of one.
    packed = b"".join(map(hiredis.pack_command, commands))  # type: ignore[arg-type]
    try:
        connection.send_packed_command([packed])
        return [_answer(connection) for _ in commands]
    except BaseException:  # Killed, perhaps. The next group must not read the rest as its own.
        connection.disconnect()
        raise


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
