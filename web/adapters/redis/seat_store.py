"""Redis: who may try. The only module that knows it; the scripts in ``lua/`` are its commands."""

import logging
import math
import re
import secrets
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, cast
from weakref import WeakKeyDictionary

import msgspec
import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import NoScriptError, ResponseError
from redis.retry import Retry

from web.adapters.redis.scripts import LuaScript, ScriptCall, read_scripts
from web.domain.events import Event, SeatState, Section, moved_seats
from web.domain.journal import JournalReplay
from web.domain.refusals import (
    AlreadyExtended,
    EarlierRefusal,
    EventChanged,
    EventNotFound,
    HoldExpired,
    IdempotencyKeyReused,
    InvalidRequest,
    NotKnownNow,
    PaymentDeclined,
    PaymentInProgress,
    PaymentNotFound,
    SaleNotOpen,
    SeatTaken,
    SoldOut,
    TooManyHeld,
    TooManyHeldByNetwork,
    Unavailable,
)
from web.domain.sales import (
    DEFAULT_LEASE_S,
    LAST_STEP_S,
    MAX_REFUSED_CARDS,
    Booking,
    Buyer,
    Hold,
    HoldStatus,
    PaymentAttempt,
    Receipt,
)
from web.ports.seat_store import (
    Broken,
    Change,
    EarlierReceipt,
    Epoch,
    EventState,
    KeysAreEvicted,
    KnownHold,
    Moment,
    SeatMap,
    SeatsMoved,
    Upkeep,
)
from web.utils.group_commit import Abandoned, GroupCommit
from web.utils.lru_cache import LRUCache

PART = "seat store"
"""What Unavailable calls this part of the service."""

CATALOGUE_KEY = "events"
"""Set of the ids on sale. When it is missing, Redis has lost its memory, and that an event is not
in it says nothing."""

NO_EVENT = ""
"""Is in that set, too: a shop without events is not a Redis that has lost them."""

RECEIPT_MS = 24 * 60 * 60 * 1000
"""How long the answer to an idempotency key is kept, as Stripe does. Later the booking answers."""

POOL_SIZE = 100
"""Connections a process holds at most; further callers wait for one."""

POOL_WAIT_S = 2.0
SOCKET_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 1.0
RETRIES = 2
"""Scripts may be sent again, because each takes an id that makes a repeat harmless."""

FORM_MS = 10 * 60 * 1000
"""How long the hold of a form is known: somewhat longer than most holds last."""

CALLS_IN_A_GROUP = 64
"""Calls of scripts sent together: Redis is busy with them for two or three milliseconds."""

JOURNAL_PAGE = 1000

OPENED, MAP = "opened", "map"
"""Entries of the journal that are no change of single seats; the second is the whole map."""

SCAN_PAGE = 1000

UNSURE_MS = int(LAST_STEP_S * 1000)

ASK_AGAIN_S = 5
"""When a buyer may ask again of whose hold nobody knows now, unless it will be known sooner."""

EVENTS_REMEMBERED = 1000
"""Definitions a process keeps parsed; the one not used for longest goes first."""

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

RedisClient = redis.Redis
"""Decodes what Redis answers. redis-py's types do not know that, hence the casts below."""

log = logging.getLogger(__name__)


class StoredHold(msgspec.Struct, omit_defaults=True):
    """A hold as the scripts write it, who test for what is not there."""

    seats: list[int]
    amount_minor: int
    client: str
    deadline_ms: int
    state: HoldStatus
    attempt: int
    refused: int
    network: str = ""
    begun_ms: int = 0
    intent: str = ""
    given_back: int = 0
    extended_by: str = ""


class Intent(msgspec.Struct):
    """What begin_payment keeps with a hold until the payment has ended."""

    buyer: Buyer
    key_digest: str
    fingerprint: str


def connect(url: str) -> RedisClient:
    """Redis by URL, with bounded waiting and few retries (``redis-py`` has neither by default).
    Raises ValueError or OSError for an option of the URL that cannot be."""
    try:
        return _client(url)
    except redis.RedisError as error:
        raise ValueError(str(error)) from None
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        raise ValueError(f"there is no option {unknown[1]}" if unknown else str(error)) from None


def _client(url: str) -> RedisClient:
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=POOL_SIZE,
        timeout=POOL_WAIT_S,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), RETRIES),
        decode_responses=True,
    )
    # Makes no connection yet. The pool would meet a bad option at the first request only.
    pool.connection_class(**pool.connection_kwargs)
    return redis.Redis(connection_pool=pool)


@contextmanager
def reachable() -> Iterator[None]:
    """Makes Unavailable of what Redis's absence raises."""
    try:
        yield
    except (redis.RedisError, Abandoned) as error:
        if not _is_away(error):
            raise
        log.warning("redis: %s", error)
        raise Unavailable(PART) from error


class RedisSeatStore:
    """Implements AuditedSeats of ``web/ports/``."""

    def __init__(
        self,
        client: RedisClient,
        lease_s: float = DEFAULT_LEASE_S,
        scripts: dict[str, LuaScript] | None = None,
    ):
        """``lease_s``: how long a payment is the process's that began it."""
        self._redis = client
        self._lease_ms = round(lease_s * 1000)
        self._scripts = scripts or read_scripts()
        self._calls = GroupCommit(self._send_calls, CALLS_IN_A_GROUP)
        self._looks = GroupCommit(self._look, CALLS_IN_A_GROUP)
        self._events: LRUCache[Event] = LRUCache(EVENTS_REMEMBERED)
        self._epochs: LRUCache[str] = LRUCache(EVENTS_REMEMBERED)
        self._unreadable: set[str] = set()
        self._blocks: WeakKeyDictionary[Event, dict[str, bytes]] = WeakKeyDictionary()

    def ping(self) -> None:
        with reachable():
            self._redis.ping()

    def now(self) -> datetime:
        with reachable():
            seconds, microseconds = self._redis.time()
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)

    def server_run(self) -> str:
        run_id: str = self._info("server").get("run_id", "")
        return run_id

    def _info(self, section: str) -> dict[str, Any]:
        """Unlike CONFIG, providers allow it. Empty for a user that may not."""
        with reachable(), suppress(redis.exceptions.NoPermissionError):
            return self._redis.info(section)
        return {}

    def require_kept_keys(self) -> None:
        memory = self._info("memory")
        policy = memory.get("maxmemory_policy", "noeviction")
        if memory.get("maxmemory") and policy != "noeviction":
            raise KeysAreEvicted(
                f"Redis has maxmemory-policy {policy}: with a full memory it throws keys away, "
                "holds and answers to payments among them; set it to noeviction"
            )

    # ------------------------------------------------------------ events

    def add_to_catalogue(self, event_ids: Iterable[str]) -> None:
        with reachable():
            if self._redis.type(CATALOGUE_KEY) != "set":
                self._redis.delete(CATALOGUE_KEY)
            self._redis.sadd(CATALOGUE_KEY, *event_ids, NO_EVENT)

    def event_ids(self) -> list[str]:
        with reachable():
            ids = cast(set[str], self._redis.smembers(CATALOGUE_KEY))
        if not ids:
            raise Unavailable(PART)
        return sorted(ids - {NO_EVENT})

    def has_catalogue(self) -> bool:
        with reachable():
            return self._redis.type(CATALOGUE_KEY) == "set"

    def cached_event(self, event_id: str) -> Event:
        return self._events.get(event_id) or self.current_event(event_id)

    def epoch(self, event: Event) -> str:
        return self._epochs.get(event.id) or ""

    def current_epoch(self, event_id: str) -> Epoch:
        names = ("version", "epoch", "carried_over", "built_revision")
        with reachable():
            version, name, carried_over, built_revision = self._fields_of([event_id], *names)[
                event_id
            ]
        if version is None:
            raise self._missing(event_id)
        return Epoch(name or "", frozenset((carried_over or "").split()), int(built_revision or 0))

    def current_event(self, event_id: str) -> Event:
        with reachable():
            event = self._looks.call(event_id)
        if event is None:
            raise self._missing(event_id)
        return event

    def current_events(self, event_ids: Sequence[str]) -> list[Event]:
        with reachable():
            return [event for event in self._look(event_ids) if event]

    def _look(self, event_ids: Sequence[str]) -> list[Event | None]:
        """The definitions of now, each asked for once; None for one that Redis does not have."""
        found = self._fields_of(event_ids, "version", "epoch")
        outdated = [
            event_id
            for event_id, (version, _) in found.items()
            if (known := self._events.get(event_id)) is None or known.version != version
        ]
        events = {event_id: self._events.get(event_id) for event_id in found}
        for event_id, (definition,) in self._fields_of(outdated, "definition").items():
            events[event_id] = self._decoded(event_id, definition) if definition else None
        for event_id, (_, epoch) in found.items():
            self._epochs.put(event_id, epoch or "")
        return [events[event_id] for event_id in event_ids]

    def _decoded(self, event_id: str, definition: str) -> Event | None:
        """None, and a line in the log, for a definition that no release of this one can have
        written: it must not shut the events beside it."""
        try:
            event = msgspec.json.decode(definition, type=Event)
        except msgspec.DecodeError as error:
            if event_id not in self._unreadable:
                log.error("%s: its definition in Redis cannot be read: %s", event_id, error)
            self._unreadable.add(event_id)
            return None
        self._unreadable.discard(event_id)
        self._events.put(event_id, event)
        return event

    def _fields_of(self, event_ids: Iterable[str], *fields: str) -> dict[str, list[str | None]]:
        event_ids = dict.fromkeys(event_ids)
        pipeline = self._redis.pipeline(transaction=False)
        for event_id in event_ids:
            pipeline.hmget(_key("event", event_id), fields)
        return dict(zip(event_ids, pipeline.execute(), strict=True))

    def maintenance_due(
        self, event_ids: Sequence[str], seen: Mapping[str, Moment]
    ) -> dict[str, Upkeep | Broken | None]:
        script = self._scripts["maintenance_due"]
        calls = [script.call(event_id, "", _seen(seen.get(event_id))) for event_id in event_ids]
        answers = []
        with reachable():
            for first in range(0, len(calls), CALLS_IN_A_GROUP):
                answers += self._send_calls(calls[first : first + CALLS_IN_A_GROUP])
        upkeep: dict[str, Upkeep | Broken | None] = {}
        for event_id, answer in zip(event_ids, answers, strict=True):
            if isinstance(answer, Exception):
                if _is_away(answer):
                    raise Unavailable(PART) from answer
                log.error("%s: %s", event_id, answer)
                continue
            outcome, *values = answer
            upkeep[event_id] = None
            if outcome == "event_broken":
                upkeep[event_id] = Broken(*values)
            if outcome == "upkeep":
                version, revision, change, history, expired, lapsed, epoch, settled = values
                upkeep[event_id] = Upkeep(
                    version=version,
                    moment=Moment(int(revision), change),
                    history_lost=history == "was lost",
                    expired_holds=expired,
                    lapsed_payments=lapsed,
                    epoch=epoch,
                    is_unsettled=settled == "unsettled",
                )
        return upkeep

    def revision(self, event_id: str) -> int | None:
        upkeep = self.maintenance_due([event_id], {}).get(event_id)
        return upkeep.moment.revision if isinstance(upkeep, Upkeep) else None

    def build_event(
        self,
        event: Event,
        payments: Sequence[PaymentAttempt],
        are_all: bool = True,
        built_revision: int = 0,
    ) -> bool:
        under_way = [
            {"hold_id": payment.hold_id, "hold": _stored(event, payment)} for payment in payments
        ]
        outcome, _ = self._run(
            "build_event",
            event.id,
            **_definition(event),
            seat_count=len(event.seats),
            payments=msgspec.json.encode(under_way),
            lease_ms=self._lease_ms,
            unsure_ms=UNSURE_MS,
            unsettled=int(not are_all),
            built_revision=built_revision,
        )
        return outcome == "built"

    def settle_epoch(self, event_id: str, epoch: str) -> None:
        self._run("settle_epoch", event_id, epoch=epoch)

    def open_event(self, event: Event, sold: Iterable[str], lost_revision: int = 0) -> bool:
        old = self.current_event(event.id)
        hall = [SeatState.FREE.value] * len(event.seats)
        for seat in sold:
            hall[event.positions[seat]] = SeatState.SOLD.value
        outcome, values = self._run(
            "open_event",
            event.id,
            from_version=old.version,
            **_definition(event),
            map="".join(hall),
            moved=moved_seats(old, event),
            lost_revision=lost_revision,
            unsure_ms=UNSURE_MS,
        )
        if outcome == "seats_moved":
            raise SeatsMoved(old.seats_at(_positions(values[0])))
        return outcome == "opened"

    def read_seats(self, event_id: str) -> SeatMap:
        _, values = self._run("read_seats", event_id, known_revision="")
        return _seat_map(*values)

    def read_changed_seats(self, event_id: str, known_revision: int) -> SeatMap | None:
        outcome, values = self._run("read_seats", event_id, known_revision=known_revision)
        return None if outcome == "unchanged" else _seat_map(*values)

    def read_map(self, event: Event) -> SeatMap:
        seat_map = self.read_seats(event.id)
        self._check_version(event, seat_map.version)
        return seat_map

    # ------------------------------------------------------------ the organiser's look

    def newest_changes(self, event: Event, count: int) -> list[Change]:
        with reachable():
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.hget(_key("event", event.id), "version")
            pipeline.xrevrange(_key("journal", event.id), count=2 * count)  # each may have its map
            version, entries = pipeline.execute()
        self._check_version(event, version)
        changes, then = [], event
        for entry_id, entry in entries:
            if entry["change"] != MAP:
                names = _names(then, entry["seats"]) if "seats" in entry else ()
                changes.append(
                    Change(_revision(entry_id), entry["change"], entry.get("hold", ""), names)
                )
            if "was" in entry:  # What comes next is older than this opening.
                then = msgspec.json.decode(entry["was"], type=Event)
        return changes[:count]

    # ------------------------------------------------------------ the audit's look

    def snapshot(self, event: Event) -> EventState:
        _, values = self._run("snapshot", event.id, version=event.version)
        now_ms, revision, seats, holds, due, clients, payments = values
        stored = {
            hold_id: msgspec.json.decode(hold, type=StoredHold)
            for hold_id, hold in _pairs(holds).items()
        }
        return EventState(
            event=event,
            now_ms=now_ms,
            revision=int(revision),
            seats=seats,
            holds={
                hold_id: KnownHold(
                    tuple(hold.seats), hold.client, hold.network, hold.state, hold.deadline_ms
                )
                for hold_id, hold in stored.items()
            },
            due={hold_id: int(score) for hold_id, score in _pairs(due).items()},
            clients={client: int(count) for client, count in _pairs(clients).items()},
            payments={hold_id: int(score) for hold_id, score in _pairs(payments).items()},
        )

    def replay_journal(self, event_id: str, up_to_revision: int) -> SeatMap:
        hall, start = JournalReplay(), "-"
        while True:
            with reachable():
                key = _key("journal", event_id)
                entries = cast(
                    list[tuple[str, dict[str, str]]],
                    self._redis.xrange(key, start, str(up_to_revision), JOURNAL_PAGE),
                )
            for entry_id, entry in entries:
                revision = _revision(entry_id)
                if entry["change"] == OPENED:
                    hall.open(revision)
                elif entry["change"] != MAP:
                    hall.change(revision, entry["change"], _positions(entry["seats"]))
                if "map" in entry:  # A former release has it in the entry of the opening.
                    hall.see_map(revision, entry["map"])
            if len(entries) < JOURNAL_PAGE:
                return SeatMap(hall.revision, hall.map())
            start = f"({entries[-1][0]}"

    def receipts(self, event_ids: Iterable[str]) -> Iterator[Receipt]:
        wanted = set(event_ids)
        cursor = None
        while cursor != 0:
            with reachable():
                cursor, keys = self._redis.scan(cursor or 0, "receipt:{*}:*", SCAN_PAGE)
                pipeline = self._redis.pipeline(transaction=False)
                for key in keys:
                    pipeline.get(key)
                kept = pipeline.execute()
            for receipt in filter(None, kept):
                outcome = msgspec.json.decode(msgspec.json.decode(receipt)["outcome"])
                if outcome.get("event") in wanted:
                    yield msgspec.convert(outcome, Receipt)

    # ------------------------------------------------------------ forms

    def hold_of_form(self, event_id: str, form: str) -> str | None:
        with reachable():
            return cast(str | None, self._redis.get(_key("form", event_id, form)))

    def remember_form(self, event_id: str, form: str, hold_id: str) -> str:
        with reachable():
            key = _key("form", event_id, form)
            first = self._redis.set(key, hold_id, nx=True, get=True, px=FORM_MS)
        return cast(str | None, first) or hold_id

    def forget_form(self, event_id: str, form: str, hold_id: str) -> None:
        key = _key("form", event_id, form)
        with reachable(), self._redis.pipeline() as pipeline, suppress(redis.WatchError):
            pipeline.watch(key)
            if pipeline.get(key) == hold_id:
                pipeline.multi()
                pipeline.delete(key)
                pipeline.execute()

    # ------------------------------------------------------------ holds

    def hold_seats(
        self,
        event: Event,
        hold_id: str,
        client: str,
        positions: Sequence[int],
        network: str = "",
    ) -> Hold:
        outcome, values = self._run(
            "hold_seats",
            event.id,
            version=event.version,
            hold_id=hold_id,
            client=client,
            network=network,
            network_max=event.network_max,
            amount_minor=event.amount_minor(positions),
            positions=_text(positions),
        )
        if outcome == "seat_taken":
            raise SeatTaken(event.seats_at(_positions(values[0])))
        return self._new_hold(event, hold_id, outcome, values)

    def hold_best(
        self,
        event: Event,
        hold_id: str,
        client: str,
        section: Section,
        quantity: int,
        network: str = "",
    ) -> Hold:
        span = event.spans[section.id]
        outcome, values = self._run(
            "hold_best",
            event.id,
            version=event.version,
            hold_id=hold_id,
            client=client,
            network=network,
            network_max=event.network_max,
            amount_minor=section.price_minor * quantity,
            quantity=quantity,
            start=span.start,
            length=span.length,
            blocks=self._packed_blocks(event, section),
        )
        if outcome == "sold_out":
            raise SoldOut(section.id, quantity)
        return self._new_hold(event, hold_id, outcome, values)

    def read_hold(self, event: Event, hold_id: str) -> Hold | None:
        outcome, values = self._run("read_hold", event.id, version=event.version, hold_id=hold_id)
        return None if outcome == "not_found" else _hold(event, hold_id, *values)

    def extend_hold(self, event: Event, hold_id: str) -> Hold | None:
        outcome, values = self._run(
            "extend_hold",
            event.id,
            version=event.version,
            hold_id=hold_id,
            call_id=secrets.token_hex(8),
        )
        if outcome == "extended":
            return _hold(event, hold_id, *values)
        if outcome == "already_extended":
            raise AlreadyExtended
        if outcome == "payment_in_progress":
            raise PaymentInProgress
        return None

    def release_hold(self, event_id: str, hold_id: str) -> bool:
        outcome, _ = self._run("release_hold", event_id, hold_id=hold_id)
        if outcome == "payment_in_progress":
            raise PaymentInProgress
        return outcome == "released"

    def sweep_holds(self, event_id: str) -> None:
        self._run("sweep_holds", event_id)

    # ------------------------------------------------------------ payments

    def begin_payment(
        self, event: Event, hold_id: str, buyer: Buyer, key_digest: str, fingerprint: str
    ) -> PaymentAttempt | EarlierReceipt:
        intent = Intent(buyer, key_digest, fingerprint)
        outcome, values = self._run(
            "begin_payment",
            event.id,
            key_digest,
            version=event.version,
            hold_id=hold_id,
            fingerprint=fingerprint,
            intent=msgspec.json.encode(intent),
            lease_ms=self._lease_ms,
            call_id=secrets.token_hex(8),
            key_digest=key_digest,
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

    def read_payment(self, event_id: str, hold_id: str, key_digest: str) -> EarlierReceipt | None:
        outcome, values = self._run(
            "read_payment", event_id, key_digest, hold_id=hold_id, key_digest=key_digest
        )
        if outcome == "not_found":
            raise PaymentNotFound
        return None if outcome == "paying" else self._replay(values[0])

    def undo_payment(
        self, payment: PaymentAttempt, answer: PaymentDeclined | SeatTaken | InvalidRequest | None
    ) -> int | None:
        card_refused = isinstance(answer, PaymentDeclined) and answer.is_of_the_card
        outcome, values = self._run(
            "undo_payment",
            payment.event_id,
            payment.key_digest,
            hold_id=payment.hold_id,
            attempt=payment.attempt,
            begun_ms=_ms(payment.begun_at),
            fingerprint=payment.fingerprint,
            answer=_kept(answer),
            card_refused=int(card_refused),
            given_back=int(isinstance(answer, InvalidRequest)),
            max_refused=MAX_REFUSED_CARDS,
            receipt_ms=RECEIPT_MS,
        )
        return None if outcome == "not_paying" else values[0]

    def renew_lease(self, payment: PaymentAttempt) -> bool:
        outcome, _ = self._run(
            "renew_lease",
            payment.event_id,
            hold_id=payment.hold_id,
            attempt=payment.attempt,
            begun_ms=_ms(payment.begun_at),
            lease_ms=self._lease_ms,
        )
        return outcome == "renewed"

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

    def lapsed_holds(self, event_id: str) -> list[str]:
        _, values = self._run("lapsed_holds", event_id)
        hold_ids: list[str] = values[0]
        return hold_ids

    def shorten_lease(self, event_id: str, hold_id: str, within_ms: int) -> None:
        self._run("shorten_lease", event_id, hold_id=hold_id, within_ms=within_ms)

    def return_seats(self, event: Event, booking: Booking, seats: Sequence[str]) -> None:
        self._run(
            "return_seats",
            event.id,
            version=event.version,
            hold_id=booking.hold_id,
            positions=_text(event.positions[seat] for seat in seats),
        )

    def claim_lapsed_payment(self, event: Event) -> PaymentAttempt | None:
        outcome, values = self._run(
            "claim_lapsed_payment", event.id, version=event.version, lease_ms=self._lease_ms
        )
        return None if outcome == "none" else self._payment(event, *values)

    # ------------------------------------------------------------ how

    def _run(
        self, name: str, event_id: str, key_digest: str = "", /, **arguments: str | int | bytes
    ) -> tuple[str, list[Any]]:
        """The outcome and what comes with it, as the script's header says."""
        call = self._scripts[name].call(event_id, key_digest, arguments)
        with reachable():
            outcome, *values = self._calls.call(call)
            while outcome == "sweep_again":
                outcome, *values = self._calls.call(call)
        if outcome == "event_missing":
            raise self._missing(event_id)
        if outcome == "event_closed":
            raise Unavailable(PART)
        if outcome == "not_known_now":
            raise NotKnownNow(PART, min(ASK_AGAIN_S, math.ceil(values[0] / 1000)))
        if outcome == "event_changed":
            raise self._changed(event_id)
        return outcome, values

    def _changed(self, event_id: str) -> EventChanged:
        self._events.forget(event_id)
        return EventChanged(event_id)

    def _check_version(self, event: Event, version: str | None) -> None:
        """That what was read is of this definition. Raises EventChanged."""
        if version != event.version:
            raise self._changed(event.id)

    def _send_calls(self, calls: list[ScriptCall]) -> list[list[Any] | Exception]:
        """All in one round trip, and another one for what Redis has not loaded."""
        answers = self._pipeline(calls)
        unknown = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            for script in {calls[n].script for n in unknown}:
                self._redis.script_load(script.source)
            again = self._pipeline([calls[n] for n in unknown])
            for n, answer in zip(unknown, again, strict=True):
                answers[n] = answer
        return answers

    def _pipeline(self, calls: list[ScriptCall]) -> list[list[Any] | Exception]:
        pipeline = self._redis.pipeline(transaction=False)
        for call in calls:
            pipeline.evalsha(call.script.sha, len(call.script.keys), *call.arguments)
        return pipeline.execute(raise_on_error=False)

    def _missing(self, event_id: str) -> Exception:
        """Nothing in Redis means "not found" only while Redis knows what it has, and only of an
        event that this process has never seen."""
        if self._events.get(event_id):
            return Unavailable(PART)
        with reachable():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.exists(CATALOGUE_KEY)
            pipeline.sismember(CATALOGUE_KEY, event_id)
            known, listed = pipeline.execute()
        if known and (not listed or event_id == NO_EVENT):
            return EventNotFound(event_id)
        return Unavailable(PART)

    def _packed_blocks(self, event: Event, section: Section) -> bytes:
        """As hold_best takes them. There may be thousands, so they are packed once."""
        if section.kind == "general":
            return b""
        packed = self._blocks.setdefault(event, {})
        if section.id not in packed:
            blocks = event.spans[section.id].blocks
            packed[section.id] = struct.pack(
                f">{len(blocks)}I", *(2 * block.start + block.begins_row for block in blocks)
            )
        return packed[section.id]

    def _new_hold(self, event: Event, hold_id: str, outcome: str, values: list[Any]) -> Hold:
        if outcome == "sale_not_open":
            raise SaleNotOpen(wait_ms=values[0])
        if outcome == "too_many_held":
            raise TooManyHeld(held=values[0], limit=event.max_held_per_client)
        if outcome == "too_many_held_by_network":
            raise TooManyHeldByNetwork(held=values[0], limit=event.network_max)
        deadline_ms, now_ms, positions, amount_minor = values
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

    def _payment(self, event: Event, hold_id: str, hold_json: str) -> PaymentAttempt:
        stored = msgspec.json.decode(hold_json, type=StoredHold)
        intent = msgspec.json.decode(stored.intent, type=Intent)
        return PaymentAttempt(
            event_id=event.id,
            hold_id=hold_id,
            client=stored.client,
            network=stored.network,
            attempt=stored.attempt,
            seats=event.seats_at(stored.seats),
            amount_minor=stored.amount_minor,
            currency=event.currency,
            buyer=intent.buyer,
            key_digest=intent.key_digest,
            fingerprint=intent.fingerprint,
            begun_at=datetime.fromtimestamp(stored.begun_ms / 1000, UTC),
            given_back=stored.given_back,
        )

    def _replay(self, outcome_json: str) -> EarlierReceipt:
        outcome = msgspec.json.decode(outcome_json)
        if "booking_id" in outcome:
            return EarlierReceipt(msgspec.convert(outcome, Receipt))
        if "reason" in outcome:
            raise EarlierRefusal(PaymentDeclined(**outcome))
        raise EarlierRefusal(SeatTaken(tuple(outcome["seats"])))


def redis_answer(error: Unavailable) -> str | None:
    """Why Redis refused, in its own words; None when it gave no answer. A disk or a memory that is
    full, for example, keeps it from writing and not from reading."""
    cause = error.__cause__
    return str(cause) if isinstance(cause, ResponseError) else None


def _is_away(error: Exception) -> bool:
    """Whether it says that Redis cannot serve now; any other is a bug."""
    text = str(error)
    return (
        isinstance(error, _UNREACHABLE)
        or text.startswith(_NOT_NOW)
        or any(word in text for word in _BROKEN)
    )


def _seat_map(revision: str, seats: str, version: str) -> SeatMap:
    return SeatMap(int(revision), seats, version)


def _hold(event: Event, hold_id: str, hold_json: str, now_ms: int) -> Hold:
    stored = msgspec.json.decode(hold_json, type=StoredHold)
    return Hold(
        id=hold_id,
        event_id=event.id,
        seats=event.seats_at(stored.seats),
        amount_minor=stored.amount_minor,
        currency=event.currency,
        status=stored.state,
        expires_at_ms=stored.deadline_ms,
        expires_in_ms=max(0, stored.deadline_ms - now_ms),
        payments=stored.attempt,
        refused_cards=stored.refused,
        extended=bool(stored.extended_by),
    )


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _key(kind: str, event_id: str, *names: str) -> str:
    """As the scripts' headers have them: the event is the cluster hash tag."""
    return ":".join((kind, f"{{{event_id}}}", *names))


def _definition(event: Event) -> dict[str, str | int | bytes]:
    """What the scripts keep of a definition."""
    return {
        "version": event.version,
        "definition": event.definition,
        "opens_at_ms": int(event.sale_opens_at.timestamp() * 1000),
        "hold_ms": event.hold_ms,
        "max_held": event.max_held_per_client,
    }


def _ms(moment: datetime) -> int:
    """Rounded: the seconds as a binary fraction may lie just below the millisecond."""
    return round(moment.timestamp() * 1000)


def _stored(event: Event, payment: PaymentAttempt) -> StoredHold:
    """The hold of a payment under way, as begin_payment leaves it. Its time counts as over."""
    begun_ms = _ms(payment.begun_at)
    intent = Intent(payment.buyer, payment.key_digest, payment.fingerprint)
    return StoredHold(
        seats=[event.positions[seat] for seat in payment.seats],
        amount_minor=payment.amount_minor,
        client=payment.client,
        network=payment.network,
        deadline_ms=begun_ms,
        state=HoldStatus.PAYING,
        attempt=payment.attempt,
        refused=0,
        begun_ms=begun_ms,
        given_back=payment.given_back,
        intent=msgspec.json.encode(intent).decode(),
    )


def _kept(answer: PaymentDeclined | SeatTaken | InvalidRequest | None) -> bytes:
    """An answer as the receipt keeps it; the script adds ``attempts_left``. RedisSeatStore._replay
    reads it back."""
    match answer:
        case PaymentDeclined(reason, message):
            return msgspec.json.encode({"reason": reason, "message": message})
        case SeatTaken(seats):
            return msgspec.json.encode({"seats": seats})
    return b""


def _seen(moment: Moment | None) -> dict[str, str | int]:
    if moment is None:
        return {"seen_revision": "", "seen_change": ""}
    return {"seen_revision": moment.revision, "seen_change": moment.change}


def _revision(entry_id: str) -> int:
    """Of an entry of the journal (``lua/include/journal.lua``)."""
    return int(entry_id.partition("-")[0])


def _names(event: Event, positions: str) -> tuple[str, ...]:
    """Of seats in an entry of the journal. A former release left no word of what they were called
    before the hall was changed."""
    return tuple(
        event.seat_name(event.seats[position])
        if position < len(event.seats)
        else f"seat {position + 1} of a former seating plan"
        for position in _positions(positions)
    )


def _text(positions: Iterable[int]) -> str:
    return ",".join(map(str, positions))


def _positions(text: str) -> list[int]:
    return [int(position) for position in text.split(",")]
