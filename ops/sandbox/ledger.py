"""What the sandbox remembers: PaymentIntents and the answers to idempotency keys, in SQLite."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.sandbox.errors import Answer, no_such
from ops.sandbox.intents import Intent

_SCHEMA = """
CREATE TABLE IF NOT EXISTS intents (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS intents_by_created ON intents (created);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status INTEGER NOT NULL,
    body BLOB NOT NULL
) WITHOUT ROWID;
"""

_COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True)
class StoredAnswer:
    """``endpoint`` and ``fingerprint`` are those of the request that the answer was given to."""

    endpoint: str
    fingerprint: str
    answer: Answer


@dataclass(frozen=True)
class Window:
    """Which part of the list to read. ``created`` maps gt, gte, lt and lte to seconds of Unix
    time; at most one of ``starting_after`` and ``ending_before`` is an intent's id."""

    limit: int
    created: dict[str, int]
    starting_after: str | None = None
    ending_before: str | None = None


class Ledger:
    """One connection, used by one operating-system thread. A transaction never waits for
    anything, so that greenlets cannot meet inside one."""

    def __init__(self, path: Path):
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        # With a write-ahead log NORMAL loses nothing when the process is killed, only when the
        # machine loses power; FULL would wait for the disk on every call.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def intent(self, intent_id: str) -> Intent:
        """Raises ApiError when there is none."""
        row = self._connection.execute(
            "SELECT body FROM intents WHERE id = ?", (intent_id,)
        ).fetchone()
        if row is None:
            raise no_such("payment_intent", intent_id, "intent", 404)
        return json.loads(row[0])

    def save(self, intent: Intent) -> None:
        """Add the intent, or replace what is known of it."""
        self._connection.execute(
            "INSERT INTO intents (id, created, body) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (intent["id"], intent["created"], json.dumps(intent, separators=(",", ":"))),
        )

    def page(self, window: Window) -> tuple[list[Intent], bool]:
        """Intents, newest first, and whether there are more in the direction of reading.

        Raises ApiError when the intent to start from does not exist.
        """
        conditions, values = ["TRUE"], []
        for name, created_s in window.created.items():
            conditions.append(f"created {_COMPARISONS[name]} ?")
            values.append(created_s)
        if window.starting_after:
            conditions.append("(created, position) < (?, ?)")
            values += self._place(window.starting_after, "starting_after")
        if window.ending_before:
            conditions.append("(created, position) > (?, ?)")
            values += self._place(window.ending_before, "ending_before")
        order = "ASC" if window.ending_before else "DESC"
        rows = self._connection.execute(
            f"SELECT body FROM intents WHERE {' AND '.join(conditions)}"
            f" ORDER BY created {order}, position {order} LIMIT ?",
            (*values, window.limit + 1),
        ).fetchall()
        found = [json.loads(body) for (body,) in rows[: window.limit]]
        if window.ending_before:
            found.reverse()
        return found, len(rows) > window.limit

    def _place(self, intent_id: str, param: str) -> tuple[int, int]:
        row = self._connection.execute(
            "SELECT created, position FROM intents WHERE id = ?", (intent_id,)
        ).fetchone()
        if row is None:
            raise no_such("payment_intent", intent_id, param, 400)
        return row

    def answer(self, key: str) -> StoredAnswer | None:
        row = self._connection.execute(
            "SELECT endpoint, fingerprint, status, body FROM answers WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        endpoint, fingerprint, status, body = row
        return StoredAnswer(endpoint, fingerprint, Answer(status, body, replayed=True))

    def remember(self, key: str, endpoint: str, fingerprint: str, answer: Answer) -> None:
        self._connection.execute(
            "INSERT INTO answers (key, endpoint, fingerprint, status, body) VALUES (?, ?, ?, ?, ?)",
            (key, endpoint, fingerprint, answer.status, answer.body),
        )
