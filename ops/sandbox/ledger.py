"""The sandbox's database, in SQLite: PaymentIntents, PaymentMethods, ConfirmationTokens,
the questions of banks, refunds, and the answers to idempotency keys."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.sandbox.authentication import Challenge
from ops.sandbox.cards import CARDS
from ops.sandbox.confirmation_tokens import ConfirmationToken
from ops.sandbox.errors import Answer, no_such
from ops.sandbox.intents import Intent, completed
from ops.sandbox.payment_methods import PaymentMethod
from ops.sandbox.refunds import Refund

_SCHEMA = """
CREATE TABLE IF NOT EXISTS intents (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS intents_by_created ON intents (created);
CREATE TABLE IF NOT EXISTS refunds (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    intent_id TEXT NOT NULL,
    amount INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS refunds_by_intent ON refunds (intent_id);
CREATE TABLE IF NOT EXISTS payment_methods (
    id TEXT PRIMARY KEY,
    card TEXT NOT NULL,
    created INTEGER NOT NULL,
    used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS confirmation_tokens (
    id TEXT PRIMARY KEY,
    created INTEGER NOT NULL,
    given TEXT NOT NULL,
    card TEXT NOT NULL,
    return_url TEXT,
    future_usage TEXT,
    intent_id TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS challenges (
    id TEXT PRIMARY KEY,
    intent_id TEXT NOT NULL,
    payment_method_id TEXT NOT NULL,
    return_url TEXT,
    decision TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS challenges_by_intent ON challenges (intent_id);
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
    """A page of a list. ``created`` maps gt, gte, lt and lte to Unix time in seconds; at most one
    of ``starting_after`` and ``ending_before`` is set, to the id of an object in the list."""

    limit: int
    created: dict[str, int]
    starting_after: str | None = None
    ending_before: str | None = None


class Ledger:
    """One connection, used by one operating-system thread. No transaction yields to another
    greenlet, so two greenlets are never in one at the same time."""

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

    def intent(self, intent_id: str, param: str = "intent", status: int = 404) -> Intent:
        """Raises ApiError, with ``status`` and ``param``, when there is no such intent."""
        row = self._connection.execute(
            "SELECT body FROM intents WHERE id = ?", (intent_id,)
        ).fetchone()
        if row is None:
            raise no_such("payment_intent", intent_id, param, status)
        return completed(json.loads(row[0]))

    def save(self, intent: Intent) -> None:
        """Insert or update the intent."""
        self._connection.execute(
            "INSERT INTO intents (id, created, body) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (intent["id"], intent["created"], json.dumps(intent, separators=(",", ":"))),
        )

    def payment_method(self, given: str, now_s: int) -> PaymentMethod:
        """The one with this id; or a new one, not saved yet, when ``given`` is a test card's name.
        Raises ApiError when there is neither."""
        if given in CARDS:
            return PaymentMethod.of_test_card(given, now_s)
        row = self._connection.execute(
            "SELECT id, card, created, used FROM payment_methods WHERE id = ?", (given,)
        ).fetchone()
        if row is None:
            raise no_such("PaymentMethod", given, "payment_method", 400)
        method_id, card_name, created_s, is_used = row
        return PaymentMethod(method_id, card_name, created_s, bool(is_used))

    def save_payment_method(self, payment_method: PaymentMethod) -> None:
        """Insert or update the payment method."""
        self._connection.execute(
            "INSERT INTO payment_methods (id, card, created, used) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET used = excluded.used",
            (
                payment_method.id,
                payment_method.card_name,
                payment_method.created_s,
                payment_method.is_used,
            ),
        )

    def token(self, token_id: str, param: str, status: int) -> ConfirmationToken:
        """Raises ApiError, with ``status`` and ``param``, when there is no such token."""
        row = self._connection.execute(
            "SELECT id, created, given, card, return_url, future_usage, intent_id"
            " FROM confirmation_tokens WHERE id = ?",
            (token_id,),
        ).fetchone()
        if row is None:
            raise no_such("confirmation_token", token_id, param, status)
        return ConfirmationToken(*row)

    def save_token(self, token: ConfirmationToken) -> None:
        """Insert or update the token."""
        self._connection.execute(
            "INSERT INTO confirmation_tokens"
            " (id, created, given, card, return_url, future_usage, intent_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET intent_id = excluded.intent_id",
            (
                token.id,
                token.created_s,
                token.given,
                token.card_name,
                token.return_url,
                token.future_usage,
                token.intent_id,
            ),
        )

    def challenge(self, challenge_id: str) -> Challenge | None:
        row = self._connection.execute(
            "SELECT id, intent_id, payment_method_id, return_url, decision FROM challenges"
            " WHERE id = ?",
            (challenge_id,),
        ).fetchone()
        return Challenge(*row) if row else None

    def challenges(self, intent_id: str) -> list[Challenge]:
        """All questions about this intent, in no order."""
        rows = self._connection.execute(
            "SELECT id, intent_id, payment_method_id, return_url, decision FROM challenges"
            " WHERE intent_id = ?",
            (intent_id,),
        )
        return [Challenge(*row) for row in rows]

    def save_challenge(self, challenge: Challenge) -> None:
        """Insert or update the challenge."""
        self._connection.execute(
            "INSERT INTO challenges (id, intent_id, payment_method_id, return_url, decision)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET decision = excluded.decision",
            (
                challenge.id,
                challenge.intent_id,
                challenge.payment_method_id,
                challenge.return_url,
                challenge.decision,
            ),
        )

    def add_refund(self, refund: Refund) -> None:
        self._connection.execute(
            "INSERT INTO refunds (id, created, intent_id, amount, body) VALUES (?, ?, ?, ?, ?)",
            (
                refund["id"],
                refund["created"],
                refund["payment_intent"],
                refund["amount"],
                json.dumps(refund, separators=(",", ":")),
            ),
        )

    def refunded_minor(self, intent_id: str) -> int:
        """The sum of the intent's refunds."""
        row = self._connection.execute(
            "SELECT total(amount) FROM refunds WHERE intent_id = ?", (intent_id,)
        ).fetchone()
        return int(row[0])

    def intents(self, window: Window) -> tuple[list[Intent], bool]:
        """Newest first, and whether there are more in the direction of reading.

        Raises ApiError when the intent to start from does not exist.
        """
        found, has_more = self._page("intents", "payment_intent", window, ["TRUE"], [])
        return [completed(intent) for intent in found], has_more

    def refunds(self, window: Window, intent_id: str | None) -> tuple[list[Refund], bool]:
        """As ``intents``; ``intent_id`` None means the refunds of all intents."""
        if intent_id is None:
            return self._page("refunds", "refund", window, ["TRUE"], [])
        return self._page("refunds", "refund", window, ["intent_id = ?"], [intent_id])

    def _page(
        self, table: str, noun: str, window: Window, conditions: list[str], values: list[Any]
    ) -> tuple[list[dict[str, Any]], bool]:
        for name, created_s in window.created.items():
            conditions.append(f"created {_COMPARISONS[name]} ?")
            values.append(created_s)
        if window.starting_after:
            conditions.append("(created, position) < (?, ?)")
            values += self._place(table, noun, window.starting_after, "starting_after")
        if window.ending_before:
            conditions.append("(created, position) > (?, ?)")
            values += self._place(table, noun, window.ending_before, "ending_before")
        order = "ASC" if window.ending_before else "DESC"
        rows = self._connection.execute(
            # All parts of the statement are from this module; values are parameters.
            f"SELECT body FROM {table} WHERE {' AND '.join(conditions)}"  # noqa: S608
            f" ORDER BY created {order}, position {order} LIMIT ?",
            (*values, window.limit + 1),
        ).fetchall()
        found = [json.loads(body) for (body,) in rows[: window.limit]]
        if window.ending_before:
            found.reverse()
        return found, len(rows) > window.limit

    def _place(self, table: str, noun: str, object_id: str, param: str) -> tuple[int, int]:
        row = self._connection.execute(
            f"SELECT created, position FROM {table} WHERE id = ?",  # noqa: S608
            (object_id,),
        ).fetchone()
        if row is None:
            raise no_such(noun, object_id, param, 400)
        created_s, position = row
        return created_s, position

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
