"""Redis: who may try. The scripts in ``lua/seats`` are its commands."""

import secrets
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary

import msgspec

from web.adapters.redis import records
from web.adapters.redis.client import RedisClient, RedisCommands, Unconfirmed, server_info
from web.adapters.redis.event_catalogue import RedisEventCatalogue
from web.adapters.redis.event_scripts import EventScripts
from web.domain.events import Event, SeatState, Section, moved_seats
from web.domain.refusals import (
    AlreadyExtended,
    HoldExpired,
    IdempotencyKeyReused,
    InvalidRequest,
    PaymentDeclined,
    PaymentInProgress,
    PaymentNotFound,
    Refusal,
    SaleClosed,
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
    NO_WAY_BACK,
    BankStep,
    Booking,
    Buyer,
    Hold,
    PaymentAttempt,
    RefusedAs,
    WayBack,
)
from web.ports.seat_store import (
    NONE_LOST,
    Broken,
    Change,
    EarlierReceipt,
    EventInUse,
    KeysAreEvicted,
    LostPayments,
    Moment,
    SeatMap,
    SeatsMoved,
    Upkeep,
)

RECEIPT_MS = 24 * 60 * 60 * 1000
"""How long the answer to an idempotency key is kept, as Stripe does. Later the booking answers."""

JOURNAL_PAGE = 1000
"""Entries read at once: half a millisecond of Redis's time."""

FORM_MS = 10 * 60 * 1000
"""How long the hold of a form is known: somewhat longer than most holds last."""

UNSURE_MS = int(LAST_STEP_S * 1000)


class RedisSeatStore:
    """Implements SeatStore of ``web/ports/``."""

    def __init__(
        self,
        client: RedisClient,
        catalogue: RedisEventCatalogue,
        lease_s: float = DEFAULT_LEASE_S,
    ):
        """``lease_s``: how long a payment is the process's that began it."""
        self._client = client
        self._catalogue = catalogue
        self._scripts = EventScripts(client, catalogue)
        self._lease_ms = round(lease_s * 1000)
        self._blocks: WeakKeyDictionary[Event, dict[str, bytes]] = WeakKeyDictionary()

    def now(self, event_id: str) -> datetime:
        seconds, microseconds = self._client.ask(event_id, lambda commands: commands.time())
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)

    def histories(self, event_ids: Sequence[str]) -> dict[str, str]:
        def read(commands: RedisCommands, members: Sequence[str]) -> list[str]:
            return [server_info(commands, "replication").get("master_replid", "")] * len(members)

        found = self._client.ask_for_each(event_ids, read)
        return {event_id: of for event_id, of in found.items() if isinstance(of, str)}

    def require_kept_keys(self) -> None:
        shards = self._client.shards()
        memories = self._client.ask_shards(shards, partial(server_info, section="memory"))
        for shard, memory in zip(shards, memories, strict=True):
            if isinstance(memory, Unavailable):
                continue
            policy = memory.get("maxmemory_policy", "noeviction")
            if memory.get("maxmemory") and policy != "noeviction":
                raise KeysAreEvicted(
                    f"Redis has maxmemory-policy {policy} at {shard.address}: with a full memory "
                    "it throws keys away, holds and answers to payments among them; set it to "
                    "noeviction"
                )

    # ------------------------------------------------------------ events

    def maintenance_due(
        self, event_ids: Sequence[str], seen: Mapping[str, Moment]
    ) -> dict[str, Upkeep | Broken | Unavailable | None]:
        asked = {event_id: _seen(seen.get(event_id)) for event_id in event_ids}
        answers = self._client.run_for_each("maintenance_due", asked)
        return {event_id: _upkeep(answer) for event_id, answer in answers.items()}

    def revision(self, event_id: str) -> int | None:
        upkeep = self.maintenance_due([event_id], {}).get(event_id)
        if isinstance(upkeep, Unavailable):
            raise upkeep
        return upkeep.moment.revision if isinstance(upkeep, Upkeep) else None

    def build_event(self, event: Event, built_revision: int = 0) -> bool:
        outcome, _ = self._scripts.run(
            "build_event",
            event.id,
            **records.event_arguments(event),
            seat_count=len(event.seats),
            unsure_ms=UNSURE_MS,
            built_revision=built_revision,
        )
        return outcome == "built"

    def settle_epoch(self, event_id: str, epoch: str) -> None:
        self._scripts.run("settle_epoch", event_id, epoch=epoch)

    def open_event(
        self,
        event: Event,
        sold: Iterable[str],
        lost_revision: int = 0,
        payments: LostPayments = NONE_LOST,
        *,
        keeps_definition: bool = False,
    ) -> bool:
        old = self._catalogue.current_event(event.id)
        states = [SeatState.FREE.value] * len(event.seats)
        for seat in sold:
            states[event.positions[seat]] = SeatState.SOLD.value
        outcome, values = self._scripts.run(
            "open_event",
            event.id,
            from_version=event.version if keeps_definition else old.version,
            **records.event_arguments(event),
            map="".join(states),
            moved=moved_seats(old, event),
            lost_revision=lost_revision,
            unsure_ms=UNSURE_MS,
            payments=records.lost_payments(event, payments),
            lease_ms=self._lease_ms,
            unsettled=int(not payments.are_all),
        )
        if outcome == "seats_moved":
            raise SeatsMoved(old.seats_at(records.positions_in(values[0])))
        return outcome == "opened"

    def withdraw_event(self, event_id: str, *, only_look: bool = False) -> None:
        outcome, values = self._scripts.run("withdraw_event", event_id, only_look=int(only_look))
        if outcome == "in_use":
            raise EventInUse(*values)

    # ------------------------------------------------------------ seat maps and the journal

    def close_sale(self, event_id: str) -> bool:
        outcome, _ = self._scripts.run("close_sale", event_id, closes=1)
        return outcome == "closed"

    def reopen_sale(self, event_id: str) -> bool:
        outcome, _ = self._scripts.run("close_sale", event_id, closes=0)
        return outcome == "opened"

    def closed_sales(self, event_ids: Iterable[str]) -> dict[str, datetime]:
        def read(commands: RedisCommands, members: Sequence[str]) -> list[str | None]:
            pipeline = commands.pipeline(transaction=False)
            for event_id in members:
                pipeline.hget(records.key("event", event_id), "sale_closed")
            closed: list[str | None] = pipeline.execute()
            return closed

        found = self._client.ask_for_each(event_ids, read)
        return {
            event_id: datetime.fromtimestamp(int(closed_ms) / 1000, UTC)
            for event_id, closed_ms in found.items()
            if isinstance(closed_ms, str)
        }

    def read_seats(self, event_id: str) -> SeatMap:
        _, values = self._scripts.run("read_seats", event_id, known_revision="")
        return _seat_map(*values)

    def read_changed_seats(self, event_id: str, known_revision: int) -> SeatMap | None:
        outcome, values = self._scripts.run("read_seats", event_id, known_revision=known_revision)
        return None if outcome == "unchanged" else _seat_map(*values)

    def read_map(self, event: Event) -> SeatMap:
        seat_map = self.read_seats(event.id)
        self._scripts.check_version(event, seat_map.version)
        return seat_map

    def newest_changes(self, event: Event, count: int) -> list[Change]:
        def read(commands: RedisCommands) -> list[Any]:
            pipeline = commands.pipeline(transaction=True)
            pipeline.hget(records.key("event", event.id), "version")
            journal = records.key("journal", event.id)
            pipeline.xrevrange(journal, count=2 * count)  # each may have its map
            return pipeline.execute()

        version, entries = self._client.ask(event.id, read)
        self._scripts.check_version(event, version)
        return records.changes_in(event, entries)[:count]

    def sold_between(self, event: Event, after: int, until: int) -> Sequence[str] | None:
        journal = records.key("journal", event.id)
        sold: set[int] = set()
        while after < until:

            def read(commands: RedisCommands, first: int = after + 1) -> list[Any]:
                pipeline = commands.pipeline(transaction=True)
                pipeline.hget(records.key("event", event.id), "version")
                pipeline.xrange(journal, str(first), str(until), JOURNAL_PAGE)
                return pipeline.execute()

            version, entries = self._client.ask(event.id, read)
            self._scripts.check_version(event, version)
            positions = records.positions_sold(after + 1, entries)
            if positions is None:
                return None
            sold.update(positions)
            after = records.revision_of(entries[-1][0])
        return event.seats_at(sorted(sold))

    # ------------------------------------------------------------ forms

    def hold_of_form(self, event_id: str, form: str) -> str | None:
        key = records.key("form", event_id, form)
        return self._client.ask(event_id, lambda commands: cast(str | None, commands.get(key)))

    def remember_form(self, event_id: str, form: str, hold_id: str) -> str:
        key = records.key("form", event_id, form)
        first = self._client.ask(
            event_id, lambda commands: commands.set(key, hold_id, nx=True, get=True, px=FORM_MS)
        )
        return cast(str | None, first) or hold_id

    def forget_form(self, event_id: str, form: str, hold_id: str) -> None:
        self._client.delete_if(event_id, records.key("form", event_id, form), hold_id)

    # ------------------------------------------------------------ holds

    def hold_seats(
        self,
        event: Event,
        hold_id: str,
        client: str,
        positions: Sequence[int],
        network: str = "",
    ) -> Hold:
        outcome, values = self._make_hold(
            "hold_seats",
            event,
            hold_id,
            client=client,
            network=network,
            network_max=event.network_max,
            amount_minor=event.amount_minor(positions),
            positions=records.text_of(positions),
        )
        if outcome == "seat_taken":
            raise SeatTaken(event.seats_at(records.positions_in(values[0])))
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
        outcome, values = self._make_hold(
            "hold_best",
            event,
            hold_id,
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
        outcome, values = self._scripts.run(
            "read_hold", event.id, version=event.version, hold_id=hold_id
        )
        return None if outcome == "not_found" else records.hold_in(event, hold_id, *values)

    def extend_hold(self, event: Event, hold_id: str) -> Hold | None:
        outcome, values = self._scripts.run(
            "extend_hold",
            event.id,
            version=event.version,
            hold_id=hold_id,
            call_id=secrets.token_hex(8),
        )
        if outcome == "extended":
            return records.hold_in(event, hold_id, *values)
        if outcome == "already_extended":
            raise AlreadyExtended
        if outcome == "payment_in_progress":
            raise PaymentInProgress
        return None

    def release_hold(self, event_id: str, hold_id: str) -> bool:
        outcome, _ = self._scripts.run("release_hold", event_id, hold_id=hold_id)
        if outcome == "payment_in_progress":
            raise PaymentInProgress
        return outcome == "released"

    def sweep_holds(self, event_id: str) -> None:
        self._scripts.run("sweep_holds", event_id)

    def call_off_payments(self, event_id: str, refused_as: RefusedAs) -> int:
        outcome, values = self._scripts.run(
            "call_off_payments", event_id, canceled_as=msgspec.json.encode(refused_as)
        )
        return int(values[0]) if outcome == "called_off" else 0

    # ------------------------------------------------------------ payments

    def begin_payment(
        self,
        event: Event,
        hold_id: str,
        buyer: Buyer,
        key_digest: str,
        fingerprint: str,
        way_back: WayBack = NO_WAY_BACK,
    ) -> PaymentAttempt | EarlierReceipt:
        kept = records.PaymentDetails(buyer, key_digest, fingerprint, way_back)
        outcome, values = self._scripts.run(
            "begin_payment",
            event.id,
            key_digest,
            version=event.version,
            hold_id=hold_id,
            fingerprint=fingerprint,
            intent=msgspec.json.encode(kept),
            lease_ms=self._lease_ms,
            call_id=secrets.token_hex(8),
            key_digest=key_digest,
        )
        if outcome in ("begun", "at_bank"):
            return records.payment_in(event, hold_id, values[0])
        if outcome == "replay":
            return records.earlier_receipt_in(values[0])
        raise {
            "key_reused": IdempotencyKeyReused,
            "payment_in_progress": PaymentInProgress,
            "not_found": HoldExpired,
        }[outcome]

    def read_payment(
        self, event_id: str, hold_id: str, key_digest: str
    ) -> EarlierReceipt | BankStep | None:
        outcome, values = self._scripts.run(
            "read_payment", event_id, key_digest, hold_id=hold_id, key_digest=key_digest
        )
        if outcome == "not_found":
            raise PaymentNotFound
        if outcome == "paying":
            return records.open_bank_step_in(*values)
        return records.earlier_receipt_in(values[0])

    def undo_payment(
        self, payment: PaymentAttempt, answer: PaymentDeclined | SeatTaken | InvalidRequest | None
    ) -> int | None:
        card_refused = isinstance(answer, PaymentDeclined) and answer.is_of_the_card
        outcome, values = self._scripts.run(
            "undo_payment",
            payment.event_id,
            payment.key_digest,
            **records.payment_arguments(payment),
            fingerprint=payment.fingerprint,
            answer=records.refusal_to_keep(answer),
            card_refused=int(card_refused),
            given_back=int(isinstance(answer, InvalidRequest)),
            max_refused=MAX_REFUSED_CARDS,
            receipt_ms=RECEIPT_MS,
        )
        return None if outcome == "not_paying" else values[0]

    def renew_lease(self, payment: PaymentAttempt) -> bool:
        outcome, _ = self._scripts.run(
            "renew_lease",
            payment.event_id,
            **records.payment_arguments(payment),
            lease_ms=self._lease_ms,
        )
        return outcome == "renewed"

    def wait_for_bank(
        self, payment: PaymentAttempt, step: BankStep, look_at_ms: int | None = None
    ) -> BankStep | None:
        outcome, values = self._scripts.run(
            "wait_for_bank",
            payment.event_id,
            **records.payment_arguments(payment),
            bank=records.bank_step_to_keep(step),
            look_at_ms=step.until_ms if look_at_ms is None else look_at_ms,
        )
        if outcome == "lost":
            return None
        return replace(step, expires_in_ms=max(0, step.until_ms - values[0]))

    def begin_cancel(self, payment: PaymentAttempt, step: BankStep) -> BankStep | None:
        outcome, values = self._scripts.run(
            "begin_cancel",
            payment.event_id,
            **records.payment_arguments(payment),
            bank=records.bank_step_to_keep(step),
        )
        return None if outcome == "lost" else records.bank_step_in(values[0])

    def confirm_booking(self, event: Event, booking: Booking) -> None:
        self._scripts.run(
            "confirm_booking",
            event.id,
            booking.key_digest,
            version=event.version,
            hold_id=booking.hold_id,
            positions=records.text_of([event.positions[seat] for seat in booking.seats_left]),
            fingerprint=booking.fingerprint,
            receipt=msgspec.json.encode(booking.receipt()),
            receipt_ms=RECEIPT_MS,
        )

    def lapsed_holds(self, event_id: str) -> dict[str, bool]:
        _, values = self._scripts.run("lapsed_holds", event_id)
        hold_ids, at_bank = values
        return {hold_id: hold_id in at_bank for hold_id in hold_ids}

    def shorten_lease(
        self, event_id: str, hold_id: str, within_ms: int, at_bank_within_ms: int | None = None
    ) -> None:
        self._scripts.run(
            "shorten_lease",
            event_id,
            hold_id=hold_id,
            within_ms=within_ms,
            at_bank_within_ms=within_ms if at_bank_within_ms is None else at_bank_within_ms,
        )

    def return_seats(self, event: Event, booking: Booking, seats: Sequence[str]) -> None:
        self._scripts.run(
            "return_seats",
            event.id,
            version=event.version,
            hold_id=booking.hold_id,
            positions=records.text_of(event.positions[seat] for seat in seats),
        )

    def claim_lapsed_payment(self, event: Event) -> PaymentAttempt | None:
        outcome, values = self._scripts.run(
            "claim_lapsed_payment", event.id, version=event.version, lease_ms=self._lease_ms
        )
        return None if outcome == "none" else records.payment_in(event, *values)

    def claim_payment(self, event: Event, hold_id: str, key_digest: str = "") -> PaymentAttempt:
        outcome, values = self._scripts.run(
            "claim_payment",
            event.id,
            version=event.version,
            hold_id=hold_id,
            key_digest=key_digest,
            lease_ms=self._lease_ms,
            call_id=secrets.token_hex(8),
        )
        if outcome == "claimed":
            return records.payment_in(event, hold_id, values[0])
        raise {"payment_in_progress": PaymentInProgress, "not_found": PaymentNotFound}[outcome]

    # ------------------------------------------------------------ helpers

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

    def _make_hold(
        self, script: str, event: Event, hold_id: str, /, **arguments: str | int | bytes
    ) -> tuple[str, list[Any]]:
        try:
            return self._scripts.run(
                script, event.id, version=event.version, hold_id=hold_id, **arguments
            )
        except Unconfirmed:
            # Nobody will hear of it: the buyer tries again, and should find the seats free.
            with suppress(Refusal):
                self.release_hold(event.id, hold_id)
            raise

    def _new_hold(self, event: Event, hold_id: str, outcome: str, values: list[Any]) -> Hold:
        if outcome == "sale_not_open":
            raise SaleNotOpen(wait_ms=values[0])
        if outcome == "sale_closed":
            raise SaleClosed
        if outcome == "too_many_held":
            raise TooManyHeld(held=values[0], limit=event.max_held_per_client)
        if outcome == "too_many_held_by_network":
            raise TooManyHeldByNetwork(held=values[0], limit=event.network_max)
        return records.new_hold(event, hold_id, values)


def _upkeep(answer: list[Any] | Unavailable) -> Upkeep | Broken | Unavailable | None:
    if isinstance(answer, Unavailable):
        return answer
    outcome, *values = answer
    if outcome == "event_broken":
        return Broken(*values)
    if outcome != "upkeep":
        return None
    version, revision, change, goes_on, expired, lapsed, epoch, settled, server = values
    return Upkeep(
        version=version,
        moment=Moment(int(revision), change),
        history_lost=goes_on == "was lost",
        history=server,
        expired_holds=expired,
        lapsed_payments=lapsed,
        epoch=epoch,
        is_unsettled=settled == "unsettled",
    )


def _seat_map(revision: str, seats: str, version: str) -> SeatMap:
    return SeatMap(int(revision), seats, version)


def _seen(moment: Moment | None) -> dict[str, str | int]:
    if moment is None:
        return {"seen_revision": "", "seen_change": ""}
    return {"seen_revision": moment.revision, "seen_change": moment.change}
