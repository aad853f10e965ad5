"""Limits how many of a worker's connections one client can keep waiting.

A connection is *idle* while nothing of a request has arrived, and *held* while its client is in the
middle of a request, of reading a response, or of closing. While the application works on a request
it is neither: the client cannot prolong that.

Clients have the limiter's keys; None is an unknown client, which has no limit of its own.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

MAX_HELD = 100
"""For one client in one worker, a tenth of its connections (gunicorn.conf.py). Most requests arrive
in one piece and most responses fit into the kernel's buffer, so the worker rarely waits. A hundred
are ten requests a second that take ten seconds each to arrive."""

MAX_IDLE = 100
"""For one client in one worker. Sixteen browsers at one address have six connections each; beyond
that a new connection closes the oldest, and a browser reconnects when it needs to."""

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
        """Context while the worker waits for ``client``. Yields whether there is room; if not, do
        not wait."""
        if client is None or self._held_of[client] >= MAX_HELD:
            yield client is None
            return
        self._held_of[client] += 1
        try:
            yield True
        finally:
            _count_down(self._held_of, client)

    def begin_idle(
        self, connection: Connection, client: str | None, *, is_crowded: bool
    ) -> Connection | None:
        """``connection`` waits for a request, until ``end_idle``. Returns the connection to close
        to make room, the oldest of the same client or, if ``is_crowded``, of all; None if there is
        room."""
        leaves = None
        if client is not None and self._idle_of[client] >= MAX_IDLE:
            leaves = next(other for other, whose in self._idle.items() if whose == client)
        elif is_crowded:
            leaves = next(iter(self._idle), None)
        if leaves is not None:
            self.end_idle(leaves)
        self._idle[connection] = client
        self._idle_of[client] += 1
        return leaves

    def end_idle(self, connection: Connection) -> None:
        if connection in self._idle:
            _count_down(self._idle_of, self._idle.pop(connection))


def _count_down(counter: Counter[Client], client: Client) -> None:
    counter[client] -= 1
    if not counter[client]:
        del counter[client]
