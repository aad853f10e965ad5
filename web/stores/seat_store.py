"""Redis: who may try. The only module that knows it; the scripts in ``lua/`` are its commands."""

import logging
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec
import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from web.domain import (
    MAX_REFUSED_CARDS,
    Booking,
    Buyer,
    Event,
    EventChanged,
    EventNotFound,
    Hold,
    HoldExpired,
    HoldStatus,
    IdempotencyKeyReused,
    Payment,
    PaymentDeclined,
    PaymentInProgress,
    Receipt,
    SaleNotOpen,
    SeatState,
    SeatTaken,
    Section,
    SoldOut,
    TooManyHeld,
    Unavailable,
)
from web.ports import Replay, SeatMap, SeatsMoved
from web.stores.lua_scripts import LuaScript, read_scripts

CATALOGUE_KEY = "events"
"""Set of the ids on sale. When it is missing, Redis has lost its memory, and that an event is not
in it says nothing."""

RECEIPT_MS = 24 * 60 * 60 * 1000
"""How long the answer to an idempotency key is kept, as Stripe does. Later the booking answers."""

LEASE_MS = 60_000
"""How long a payment may be under way before the worker takes it over: three times what all
time-outs of its steps add up to."""

POOL_SIZE = 100
"""Connections a process holds at most; further callers wait for one."""

POOL_WAIT_S = 2.0
SOCKET_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 1.0
RETRIES = 2
"""Scripts may be sent again, because each takes an id that makes a repeat harmless."""

EVENTS_REMEMBERED = 1000
"""Definitions a process keeps parsed; the one not used for longest goes first."""

_UNREACHABLE = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
)

log = logging.getLogger(__name__)


class StoredHold(msgspec.Struct):
    """A hold as the scripts write it."""

    seats: list[int]
    amount_minor: int
    client: str
    deadline_ms: int
    state: HoldStatus
    attempt: int
    refused: int
    begun_ms: int = 0
    intent: str = ""


class Intent(msgspec.Struct):
    """What begin_payment keeps with a hold until the payment has ended."""

    buyer: Buyer
    key_digest: str
    fingerprint: str


def connect(url: str) -> redis.Redis:
    """Redis by URL, with bounded waiting and few retries (``redis-py`` has neither by default)."""
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=POOL_SIZE,
        timeout=POOL_WAIT_S,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), RETRIES),
        decode_responses=True,
    )
    return redis.Redis(connection_pool=pool)


class RedisSeatStore:
    """Implements SeatStore of ``web/ports.py``."""

    def __init__(self, client: redis.Redis, scripts: dict[str, LuaScript] | None = None):
        self._redis = client
        self._scripts = scripts or read_scripts()
        self._sent = {
            name: client.register_script(script.source) for name, script in self._scripts.items()
        }
        self._events: OrderedDict[str, Event] = OrderedDict()

    # ------------------------------------------------------------ events

    def ping(self) -> None:
        with self._reachable():
            self._redis.ping()

    def announce(self, event_ids: Iterable[str]) -> None:
        with self._reachable():
            self._redis.sadd(CATALOGUE_KEY, *event_ids)

    def event_ids(self) -> list[str]:
        with self._reachable():
            ids = self._redis.smembers(CATALOGUE_KEY)
        if not ids:
            raise Unavailable("events")
        return sorted(ids)

    def known_event(self, event_id: str) -> Event:
        event = self._events.get(event_id)
        return event if event else self.current_event(event_id)

    def current_event(self, event_id: str) -> Event:
        key = f"event:{{{event_id}}}"
        with self._reachable():
            version = self._redis.hget(key, "version")
            event = self._events.get(event_id)
            if version and event and event.version == version:
                self._events.move_to_end(event_id)
                return event
            definition = self._redis.hget(key, "definition")
        if not definition:
            raise self._missing(event_id)
        event = msgspec.json.decode(definition, type=Event)
        self._events[event_id] = event
        while len(self._events) > EVENTS_REMEMBERED:
            self._events.popitem(last=False)
        return event

    def open_event(self, event: Event, sold: Iterable[str]) -> bool:
        try:
            old = self.current_event(event.id)
        except (EventNotFound, Unavailable):
            old = None
        hall = [SeatState.FREE.value] * len(event.seats)
        for seat in sold:
            hall[event.positions[seat]] = SeatState.SOLD.value
        moved = "".join(
            "0" if event.positions.get(seat) == position else "1"
            for position, seat in enumerate(old.seats if old else ())
        )
        outcome, value = self._run(
            "open_event",
            event.id,
            from_version=old.version if old else "",
            version=event.version,
            definition=event.definition,
            opens_at_ms=int(event.sale_opens_at.timestamp() * 1000),
            hold_ms=event.hold_ms,
            max_held=event.max_held_per_client,
            map="".join(hall),
            moved=moved,
        )
        if outcome == "seats_moved":
            raise SeatsMoved(old.seats_at(_positions(value)))
        return outcome == "opened"

    def read_seats(self, event_id: str, known_revision: int | None = None) -> SeatMap | None:
        known = "" if known_revision is None else known_revision
        outcome, revision, *seats = self._run("read_seats", event_id, known_revision=known)
        return None if outcome == "unchanged" else SeatMap(int(revision), *seats)

    # ------------------------------------------------------------ holds

    def hold_seats(self, event: Event, hold_id: str, client: str, positions: Sequence[int]) -> Hold:
        amount_minor = event.amount_minor(positions)
        outcome, *values = self._run(
            "hold_seats",
            event.id,
            version=event.version,
            hold_id=hold_id,
            client=client,
            amount_minor=amount_minor,
            positions=_text(positions),
        )
        if outcome == "seat_taken":
            raise SeatTaken(event.seats_at(_positions(values[0])))
        return self._new_hold(event, hold_id, amount_minor, outcome, values)

    def hold_best(
        self, event: Event, hold_id: str, client: str, section: Section, quantity: int
    ) -> Hold:
        amount_minor = section.price_minor * quantity
        span = event.spans[section.id]
        blocks = () if section.kind == "general" else span.blocks
        outcome, *values = self._run(
            "hold_best",
            event.id,
            version=event.version,
            hold_id=hold_id,
            client=client,
            amount_minor=amount_minor,
            quantity=quantity,
            start=span.start,
            length=span.length,
            blocks=" ".join(f"{block.start} {block.length} {block.middle}" for block in blocks),
        )
        if outcome == "sold_out":
            raise SoldOut(section.id, quantity)
        return self._new_hold(event, hold_id, amount_minor, outcome, values)

    def read_hold(self, event: Event, hold_id: str) -> Hold | None:
        outcome, *values = self._run("read_hold", event.id, version=event.version, hold_id=hold_id)
        if outcome == "not_found":
            return None
        stored, now_ms = msgspec.json.decode(values[0], type=StoredHold), values[1]
        return Hold(
            id=hold_id,
            event_id=event.id,
            seats=event.seats_at(stored.seats),
            amount_minor=stored.amount_minor,
            currency=event.currency,
            status=stored.state,
            expires_at_ms=stored.deadline_ms,
            expires_in_ms=max(0, stored.deadline_ms - now_ms),
        )

    def release_hold(self, event_id: str, hold_id: str) -> bool:
        (outcome,) = self._run("release_hold", event_id, hold_id=hold_id)
        if outcome == "payment_in_progress":
            raise PaymentInProgress
        return outcome == "released"

    def sweep_holds(self, event_id: str) -> None:
        self._run("sweep_holds", event_id)

    # ------------------------------------------------------------ payments

    def begin_payment(
        self, event: Event, hold_id: str, buyer: Buyer, key_digest: str, fingerprint: str
    ) -> Payment | Replay:
        intent = Intent(buyer, key_digest, fingerprint)
        outcome, *values = self._run(
            "begin_payment",
            event.id,
            key_digest,
            version=event.version,
            hold_id=hold_id,
            fingerprint=fingerprint,
            intent=msgspec.json.encode(intent),
            lease_ms=LEASE_MS,
            call_id=secrets.token_hex(8),
        )
        if outcome == "begun":
            return self._payment(event, hold_id, values[0])
        if outcome == "replay":
            return self._replay(values[0])
        raise {
            "key_reused": IdempotencyKeyReused,
            "payment_in_progress": PaymentInProgress,
            "not_found": HoldExpired,
        }[outcome]

    def undo_payment(self, payment: Payment, declined: PaymentDeclined | None) -> int:
        decline = (
            msgspec.json.encode({"reason": declined.reason, "message": declined.message})
            if declined
            else ""
        )
        outcome, *attempts_left = self._run(
            "undo_payment",
            payment.event_id,
            payment.key_digest,
            hold_id=payment.hold_id,
            attempt=payment.attempt,
            fingerprint=payment.fingerprint,
            decline=decline,
            max_refused=MAX_REFUSED_CARDS,
            receipt_ms=RECEIPT_MS,
        )
        return 0 if outcome == "not_paying" else attempts_left[0]

    def confirm_booking(self, event: Event, booking: Booking) -> None:
        self._run(
            "confirm_booking",
            event.id,
            booking.key_digest,
            version=event.version,
            hold_id=booking.hold_id,
            positions=_text([event.positions[seat] for seat in booking.seats]),
            fingerprint=booking.fingerprint,
            receipt=msgspec.json.encode(booking.receipt()),
            receipt_ms=RECEIPT_MS,
        )

    def claim_lapsed_payment(self, event: Event) -> Payment | None:
        outcome, *values = self._run(
            "claim_lapsed_payment", event.id, version=event.version, lease_ms=LEASE_MS
        )
        return None if outcome == "none" else self._payment(event, *values)

    # ------------------------------------------------------------ how

    def _run(self, name: str, event_id: str, key_digest: str = "", **arguments: str | int) -> list:
        script = self._scripts[name]
        keys, values = script.keys_of(event_id, key_digest), script.values_of(arguments)
        with self._reachable():
            answer = self._sent[name](keys, values)
            while answer[0] == "sweep_again":
                answer = self._sent[name](keys, values)
        if answer[0] == "event_missing":
            raise self._missing(event_id)
        if answer[0] == "event_changed":
            self._events.pop(event_id, None)
            raise EventChanged(event_id)
        return answer

    def _missing(self, event_id: str) -> Exception:
        """Nothing in Redis means "not found" only while Redis knows what it has."""
        self._events.pop(event_id, None)
        with self._reachable():
            known, listed = (
                self._redis.pipeline(transaction=False)
                .exists(CATALOGUE_KEY)
                .sismember(CATALOGUE_KEY, event_id)
                .execute()
            )
        return EventNotFound(event_id) if known and not listed else Unavailable("event")

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except _UNREACHABLE as error:
            log.warning("redis: %s", error)
            raise Unavailable("seats") from error

    def _new_hold(
        self, event: Event, hold_id: str, amount_minor: int, outcome: str, values: list
    ) -> Hold:
        if outcome == "sale_not_open":
            raise SaleNotOpen(wait_ms=values[0])
        if outcome == "too_many_held":
            raise TooManyHeld(held=values[0], limit=event.max_held_per_client)
        deadline_ms, now_ms, positions = values
        return Hold(
            id=hold_id,
            event_id=event.id,
            seats=event.seats_at(_positions(positions)),
            amount_minor=amount_minor,
            currency=event.currency,
            status=HoldStatus.HELD,
            expires_at_ms=deadline_ms,
            expires_in_ms=deadline_ms - now_ms,
        )

    def _payment(self, event: Event, hold_id: str, hold_json: str) -> Payment:
        stored = msgspec.json.decode(hold_json, type=StoredHold)
        intent = msgspec.json.decode(stored.intent, type=Intent)
        return Payment(
            event_id=event.id,
            hold_id=hold_id,
            attempt=stored.attempt,
            seats=event.seats_at(stored.seats),
            amount_minor=stored.amount_minor,
            currency=event.currency,
            buyer=intent.buyer,
            key_digest=intent.key_digest,
            fingerprint=intent.fingerprint,
            begun_at=datetime.fromtimestamp(stored.begun_ms / 1000, UTC),
        )

    def _replay(self, outcome_json: str) -> Replay:
        outcome = msgspec.json.decode(outcome_json)
        if "booking_id" in outcome:
            return Replay(msgspec.convert(outcome, Receipt))
        raise PaymentDeclined(**outcome, replayed=True)


def _text(positions: Iterable[int]) -> str:
    return ",".join(map(str, positions))


def _positions(text: str) -> list[int]:
    return [int(position) for position in text.split(",")]
