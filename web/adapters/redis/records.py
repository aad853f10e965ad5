"""Redis: what is written there and how it is read: keys, holds, payments, receipts and the entries
of the journal. The scripts in ``lua/`` read and write the same."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from web.adapters.redis.scripts import hash_tag
from web.domain.events import Event
from web.domain.journal import JournalReplay
from web.domain.refusals import EarlierRefusal, InvalidRequest, PaymentDeclined, SeatTaken
from web.domain.sales import (
    NO_WAY_BACK,
    BankStep,
    Buyer,
    Hold,
    HoldStatus,
    PaymentAttempt,
    Receipt,
    RefusedAs,
    WayBack,
)
from web.ports.audited_seats import KnownHold
from web.ports.seat_store import Change, EarlierReceipt, LostPayments


def key(kind: str, event_id: str, *names: str) -> str:
    """As the scripts' headers have them: the event is the cluster hash tag."""
    return ":".join((kind, f"{{{hash_tag(event_id)}}}", *names))


def text_of(positions: Iterable[int]) -> str:
    return ",".join(map(str, positions))


def positions_in(text: str) -> list[int]:
    return [int(position) for position in text.split(",")]


# ---------------------------------------------------------------- events


def event_arguments(event: Event) -> dict[str, str | int | bytes]:
    """What the scripts keep of a definition."""
    return {
        "version": event.version,
        "definition": event.definition,
        "opens_at_ms": int(event.sale_opens_at.timestamp() * 1000),
        "closes_at_ms": _closing_ms(event),
        "hold_ms": event.hold_ms,
        "max_held": event.max_held_per_client,
    }


def _closing_ms(event: Event) -> str | int:
    """Empty when there is no such time."""
    if event.status == "cancelled":
        return 0
    return int(event.sale_closes_at.timestamp() * 1000) if event.sale_closes_at else ""


# ---------------------------------------------------------------- holds and payments


class StoredBankStep(msgspec.Struct, omit_defaults=True):
    """A hold's ``bank``, while its payment has to be confirmed by the owner of the card.
    ``claimed``: somebody is looking at it now."""

    payment_id: str
    until_ms: int
    url: str = ""
    client_secret: str = ""
    canceled_as: RefusedAs | None = None
    claimed: bool = False


class StoredKey(msgspec.Struct, omit_defaults=True):
    """An entry of a hold's ``keys`` (``lua/include/hold_keys.lua``)."""

    digest: str
    outcome: str = ""


class StoredHold(msgspec.Struct, omit_defaults=True):
    """A hold as the scripts write it. They test whether a field is there: defaults are left out."""

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
    claim: int = 0
    bank: StoredBankStep | None = None
    keys: list[StoredKey] = []


class PaymentDetails(msgspec.Struct):
    """What a hold keeps as its ``intent`` from begin_payment until the payment has ended."""

    buyer: Buyer
    key_digest: str
    fingerprint: str
    way_back: WayBack = NO_WAY_BACK


def new_hold(event: Event, hold_id: str, values: Sequence[Any]) -> Hold:
    """``values`` as hold_seats and hold_best answer them."""
    deadline_ms, now_ms, positions, amount_minor = values
    return Hold(
        id=hold_id,
        event_id=event.id,
        seats=event.seats_at(positions_in(positions)),
        amount_minor=amount_minor,
        currency=event.currency,
        status=HoldStatus.HELD,
        expires_at_ms=deadline_ms,
        expires_in_ms=deadline_ms - now_ms,
    )


def hold_in(event: Event, hold_id: str, hold_json: str, now_ms: int) -> Hold:
    stored = msgspec.json.decode(hold_json, type=StoredHold)
    is_paying = stored.state == HoldStatus.PAYING
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
        bank_step=_open_bank_step(stored, now_ms),
        payment_digest=_details_of(stored).key_digest if is_paying else "",
        last_refusal=None if is_paying else _last_refusal(stored),
    )


def open_bank_step_in(hold_json: str, now_ms: int) -> BankStep | None:
    """What the buyer has to do now; None when that is nothing."""
    return _open_bank_step(msgspec.json.decode(hold_json, type=StoredHold), now_ms)


def _open_bank_step(stored: StoredHold, now_ms: int) -> BankStep | None:
    bank = stored.bank
    if stored.state != HoldStatus.PAYING or bank is None or bank.claimed or bank.canceled_as:
        return None
    left_ms = bank.until_ms - now_ms
    return replace(bank_step_of(bank), expires_in_ms=left_ms) if left_ms > 0 else None


def bank_step_of(stored: StoredBankStep) -> BankStep:
    return BankStep(
        payment_id=stored.payment_id,
        url=stored.url,
        client_secret=stored.client_secret,
        until_ms=stored.until_ms,
        canceled_as=stored.canceled_as,
    )


def bank_step_to_keep(step: BankStep) -> bytes:
    """As wait_for_bank and begin_cancel take it."""
    return msgspec.json.encode(
        StoredBankStep(
            payment_id=step.payment_id,
            until_ms=step.until_ms,
            url=step.url,
            client_secret=step.client_secret,
            canceled_as=step.canceled_as,
        )
    )


def bank_step_in(bank_json: str) -> BankStep:
    return bank_step_of(msgspec.json.decode(bank_json, type=StoredBankStep))


def _details_of(stored: StoredHold) -> PaymentDetails:
    return msgspec.json.decode(stored.intent, type=PaymentDetails)


def _last_refusal(stored: StoredHold) -> RefusedAs | None:
    outcome = msgspec.json.decode(stored.keys[-1].outcome or "{}") if stored.keys else {}
    return RefusedAs(outcome["reason"], outcome["message"]) if "reason" in outcome else None


def known_hold_in(hold_json: str) -> KnownHold:
    stored = msgspec.json.decode(hold_json, type=StoredHold)
    return KnownHold(
        tuple(stored.seats),
        stored.client,
        stored.network,
        stored.state,
        stored.deadline_ms,
        at_bank_until_ms=stored.bank.until_ms if stored.bank else 0,
    )


def payment_in(event: Event, hold_id: str, hold_json: str) -> PaymentAttempt:
    """Of a hold whose payment is under way."""
    stored = msgspec.json.decode(hold_json, type=StoredHold)
    payment = _details_of(stored)
    return PaymentAttempt(
        event_id=event.id,
        hold_id=hold_id,
        client=stored.client,
        network=stored.network,
        attempt=stored.attempt,
        seats=event.seats_at(stored.seats),
        amount_minor=stored.amount_minor,
        currency=event.currency,
        buyer=payment.buyer,
        key_digest=payment.key_digest,
        fingerprint=payment.fingerprint,
        begun_at=datetime.fromtimestamp(stored.begun_ms / 1000, UTC),
        given_back=stored.given_back,
        way_back=payment.way_back,
        claim=stored.claim,
        bank_step=bank_step_of(stored.bank) if stored.bank else None,
    )


def ms_of(moment: datetime) -> int:
    """Rounded: the seconds as a binary fraction may lie just below the millisecond."""
    return round(moment.timestamp() * 1000)


def payment_arguments(payment: PaymentAttempt) -> dict[str, str | int]:
    """By which the scripts know a payment under way, and whether it is still the caller's."""
    return {
        "hold_id": payment.hold_id,
        "attempt": payment.attempt,
        "begun_ms": ms_of(payment.begun_at),
        "claim": payment.claim,
    }


def paying_hold(event: Event, payment: PaymentAttempt) -> StoredHold:
    """The hold of a payment under way, as begin_payment leaves it. Its time counts as over."""
    begun_ms = ms_of(payment.begun_at)
    kept = PaymentDetails(payment.buyer, payment.key_digest, payment.fingerprint, payment.way_back)
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
        intent=msgspec.json.encode(kept).decode(),
    )


def lost_payments(event: Event, payments: LostPayments) -> bytes:
    """As the script include ``restore_payments`` takes them."""
    lost = [(payment, False) for payment in payments.authorized]
    lost += [(payment, True) for payment in payments.at_bank]
    return msgspec.json.encode(
        [
            {
                "hold_id": payment.hold_id,
                "hold": paying_hold(event, payment),
                "at_bank": at_bank,
            }
            for payment, at_bank in lost
        ]
    )


# ---------------------------------------------------------------- final answers to a key


def refusal_to_keep(answer: PaymentDeclined | SeatTaken | InvalidRequest | None) -> bytes:
    """As the key's receipt keeps it; the script adds ``attempts_left``. Empty when the key may be
    used again."""
    match answer:
        case PaymentDeclined(reason, message):
            return msgspec.json.encode({"reason": reason, "message": message})
        case SeatTaken(seats):
            return msgspec.json.encode({"seats": seats})
    return b""


REFUSAL_FIELDS = ("reason", "message", "attempts_left")
"""A newer version may have stored more."""


def earlier_receipt_in(outcome_json: str) -> EarlierReceipt:
    """Raises EarlierRefusal when the payment has ended with one."""
    outcome = msgspec.json.decode(outcome_json)
    if "booking_id" in outcome:
        return EarlierReceipt(msgspec.convert(outcome, Receipt))
    if "reason" in outcome:
        known = {name: outcome[name] for name in REFUSAL_FIELDS if name in outcome}
        raise EarlierRefusal(PaymentDeclined(**known))
    raise EarlierRefusal(SeatTaken(tuple(outcome["seats"])))


def receipt_in(answer_json: str, event_ids: Container[str]) -> Receipt | None:
    """Of what a ``receipt:`` key has; None for a refusal, and for an event that is not in these."""
    outcome = msgspec.json.decode(msgspec.json.decode(answer_json)["outcome"])
    return msgspec.convert(outcome, Receipt) if outcome.get("event") in event_ids else None


# ---------------------------------------------------------------- the journal


OPENED, MAP = "opened", "map"
"""Entries that are no change of single seats; the second is the whole map."""
SOLD = "sold"


def changes_in(event: Event, entries: Iterable[tuple[str, Mapping[str, str]]]) -> list[Change]:
    """``entries`` come newest first, and the newest is of this definition."""
    changes, then = [], event
    for entry_id, entry in entries:
        if entry["change"] != MAP:
            names = _names(then, entry["seats"]) if "seats" in entry else ()
            changes.append(
                Change(
                    revision_of(entry_id), entry["change"], entry.get("hold", ""), names, _at(entry)
                )
            )
        if "was" in entry:  # What comes next is older than this opening.
            then = msgspec.json.decode(entry["was"], type=Event)
    return changes


def replay_entry(replay: JournalReplay, entry_id: str, entry: Mapping[str, str]) -> None:
    revision = revision_of(entry_id)
    if entry["change"] == OPENED:
        replay.open(revision)
    elif entry["change"] != MAP:
        replay.change(revision, entry["change"], positions_in(entry["seats"]))
    if "map" in entry:  # A former release has it in the entry of the opening.
        replay.see_map(revision, entry["map"])


def positions_sold(first: int, entries: Sequence[tuple[str, Mapping[str, str]]]) -> set[int] | None:
    """By ``entries``, which should begin with this revision. None if they do not, or if one of them
    has replaced the map."""
    if not entries or revision_of(entries[0][0]) != first:
        return None
    if any(entry["change"] == OPENED for _, entry in entries):
        return None
    sold = (entry["seats"] for _, entry in entries if entry["change"] == SOLD)
    return {position for seats in sold for position in positions_in(seats)}


def revision_of(entry_id: str) -> int:
    """Of an entry of the journal (``lua/include/journal.lua``)."""
    return int(entry_id.partition("-")[0])


def _at(entry: Mapping[str, str]) -> datetime | None:
    return datetime.fromtimestamp(int(entry["at"]) / 1000, UTC) if "at" in entry else None


def _names(event: Event, positions: str) -> tuple[str, ...]:
    """Of seats in an entry of the journal. A former release left no word of what they were called
    before the hall was changed."""
    return tuple(
        event.seat_name(event.seats[position])
        if position < len(event.seats)
        else f"seat {position + 1} of a former seating plan"
        for position in positions_in(positions)
    )
