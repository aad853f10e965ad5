"""Whom a worker waits for: no client may have all of its connections wait.

A connection is *idle* while nothing of a request has come, and *held* while its client is in the
middle of a request, of reading an answer, or of closing. While the application works on a request
it is neither: that is not for the client to make longer.

Clients are named as the limiter names them; None is one that is not known, and has no bound of its
own.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

MAX_HELD = 100
"""Of one client in one worker, a tenth of its connections (gunicorn.conf.py). Most requests come in
one piece and most answers fit into the kernel's buffer, so that nobody waits for them. A hundred
are ten requests a second that take ten seconds each to arrive."""

MAX_IDLE = 100
"""Of one client in one worker. Sixteen browsers of one address have six connections each; with more
than that a new connection closes the oldest, and a browser connects again when it needs to."""

Connection = TypeVar("Connection")
Client = TypeVar("Client")


class Waits(Generic[Connection]):
    def __init__(self) -> None:
        # The oldest first.
        self._idle: dict[Connection, str | None] = {}
        self._idle_of: Counter[str | None] = Counter()
        self._held_of: Counter[str] = Counter()

    @contextlib.contextmanager
    def held(self, client: str | None) -> Iterator[bool]:
        """While ``client`` is waited for. Tells whether there is room; without it do not wait."""
        if client is None or self._held_of[client] >= MAX_HELD:
            yield client is None
            return
        self._held_of[client] += 1
        try:
            yield True
        finally:
            _count_down(self._held_of, client)

    @contextlib.contextmanager
    def idle(
        self, connection: Connection, client: str | None, *, is_crowded: bool
    ) -> Iterator[Connection | None]:
        """While ``connection`` waits for a request. Tells which one has to make room for it, the
        oldest of the same client or, where it ``is_crowded``, of all; None when none has to."""
        leaves = None
        if client is not None and self._idle_of[client] >= MAX_IDLE:
            leaves = next(other for other, whose in self._idle.items() if whose == client)
        elif is_crowded:
            leaves = next(iter(self._idle), None)
        if leaves is not None:
            self._forget(leaves)
        self._idle[connection] = client
        self._idle_of[client] += 1
        try:
            yield leaves
        finally:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        if connection in self._idle:
            _count_down(self._idle_of, self._idle.pop(connection))


def _count_down(counter: Counter[Client], client: Client) -> None:
    counter[client] -= 1
    if not counter[client]:
        del counter[client]
