"""Describe the parts of a plan and the calls of a run in plain words."""

from datetime import datetime
from typing import Any

from tests.simulator.gateway import ASKING_CARD
from tests.simulator.plans import (
    DECLINED_CARD,
    PARTIES,
    AnswerLost,
    Away,
    Cancel,
    Forgetful,
    GoesBack,
    Hold,
    Killed,
    Late,
    Loss,
    NotSent,
    Open,
    Owner,
    Part,
    Refund,
    RefundSeats,
    Request,
    SecondWorker,
    SentTwice,
    Spot,
    Stopped,
    Webhooks,
    When,
    WrongClock,
)
from web.domain.events import Event
from web.domain.sales import Booking, PaymentAttempt
from web.ports.payment_gateway import GatewayPayment
from web.ports.seat_store import Upkeep

CALLS = {
    "hold_seats": "asks Redis to hold the seats",
    "release_hold": "asks Redis to release the hold",
    "extend_hold": "asks Redis to extend the hold",
    "begin_payment": "begins the payment in Redis",
    "read_payment": "looks for the payment in Redis",
    "renew_lease": "renews its lease of the payment in Redis",
    "confirm_booking": "marks the seats sold in Redis",
    "undo_payment": "undoes the payment in Redis",
    "shorten_lease": "asks Redis to end the lease of the payment early",
    "claim_payment": "takes over a payment that is at the bank",
    "wait_for_bank": "leaves the payment to its buyer, who has to confirm it at the bank",
    "begin_cancel": "marks the payment in Redis as one that is being canceled",
    "claim_lapsed_payment": "takes over a payment whose lease has ended",
    "add": "lists the event in Redis",
    "build_event": "builds the event in Redis again",
    "open_event": "opens the event in Redis, with its sold seats",
    "return_seats": "gives the seats of a refund back in Redis",
    "settle_epoch": "notes in Redis that no payment of before the loss is left",
    "retrieve": "asks the gateway what has become of the payment",
    "authorize": "asks the gateway to reserve the money",
    "capture": "asks the gateway to take the money",
    "void": "asks the gateway to release the authorisation",
    "refund": "asks the gateway to give the money back",
    "refund_part": "asks the gateway to give a part of the money back",
    "retire": "uses up the payment's key at the gateway",
    "find": "looks for it",
    "find_all": "looks for them",
    "list": "reads a page of the gateway's list",
    "insert": "inserts the booking into MongoDB",
    "holding": "asks MongoDB who has the seats",
    "sold_seats": "reads the sold seats from MongoDB",
    "begin_refund": "notes in MongoDB that a refund begins",
    "mark_refunded": "marks the booking refunded in MongoDB",
    "end_refund": "notes in MongoDB that the refund has ended",
    "begin_seat_refund": "notes in MongoDB that a refund of seats begins",
    "mark_seats_refunded": "marks the seats refunded in MongoDB",
    "end_seat_refund": "notes in MongoDB that the refund of seats has ended",
    "booked_ids": "asks MongoDB for all bookings",
    "call_off_payments": "calls off in Redis what is at the bank",
}
"""Descriptions of calls; the names of the others are clear."""

CARDS = {
    DECLINED_CARD: "a card that is declined",
    ASKING_CARD: "a card whose bank asks its owner",
}
ANSWERS = {
    "yes": "says yes at the bank,",
    "no": "says no at the bank,",
    "other card": "tries another card for what was not confirmed,",
}
"""Of the owner of a card; the time is counted from the beginning of the payment."""


def call_in_words(name: str, arguments: tuple, outcome: Any) -> str:
    """The description, with the name of the call in brackets."""
    said = f"{CALLS.get(name, 'calls')} [{name}({', '.join(filter(None, map(brief, arguments)))})]"
    if isinstance(outcome, BaseException):
        return f"{said}: refused or failed, {brief(outcome)}"
    return said if outcome is None else f"{said}: {brief(outcome) or 'nothing'}"


def part_in_words(part: Part) -> str:
    return _wish_in_words(part) or _fault_in_words(part)


def _wish_in_words(part: Part) -> str | None:
    """Who does what; None if the part is a fault."""
    match part:
        case Hold():
            return f"{_at(part)}{part.buyer} asks {part.host} to hold {' and '.join(part.seats)}"
        case Request(what="pay"):
            return (
                f"{_at(part)}{part.buyer} asks {part.host} to pay, with key {part.key} and "
                f"{CARDS.get(part.card, 'a good card')} ({part.process})"
            )
        case Request(what="look"):
            return (
                f"{_at(part)}{part.buyer} asks {part.host} what became of the payment with key "
                f"{part.key} ({part.process})"
            )
        case Request(what="cancel"):
            return (
                f"{_at(part)}{part.buyer} asks {part.host} to cancel the payment with key "
                f"{part.key} ({part.process})"
            )
        case Request(what="come back"):
            return f"{_at(part)}{part.buyer} comes back from the bank ({part.process})"
        case Request():
            return f"{_at(part)}{part.buyer} asks {part.host} to {part.what} the hold"
        case Owner():
            return (
                f"the owner of {part.buyer}'s card {ANSWERS[part.answer]} {part.after_s:g} s later"
            )
        case Refund():
            return f"{_at(part)}the organiser refunds {part.buyer}'s booking, if there is one"
        case RefundSeats():
            return f"{_at(part)}the organiser refunds the first seat of {part.buyer}'s booking"
        case Cancel():
            return f"{_at(part)}the organiser cancels the event ({part.process})"
        case Open():
            return f"{_at(part)}an operator opens the event again ({part.process})"
        case SecondWorker():
            return "a second worker runs"
        case Webhooks():
            which = "each change" if part.one_in == 1 else f"one change in {part.one_in}"
            return f"the gateway tells of {which} by a webhook, {part.late_s:g} s late"
    return None


def _fault_in_words(part: Part) -> str:
    match part:
        case Stopped():
            return f"{part.spot.process} stands still for {part.for_s:g} s, {_spot(part.spot)}"
        case Killed():
            return f"{part.spot.process} is killed {_spot(part.spot)}"
        case Late():
            return f"{_calls(part.spot, part.times)}: arrives {part.by_s:g} s late"
        case AnswerLost():
            return f"{_calls(part.spot, part.times)}: takes effect, and the answer is lost"
        case NotSent():
            return f"{_calls(part.spot, part.times)}: lost on the way, without effect or answer"
        case SentTwice():
            return f"{_calls(part.spot, part.times)}: sent again {part.after_s:g} s later"
        case Away():
            return f"{_when(part.when)}, nobody reaches {_party(part)} for {part.for_s:g} s"
        case Loss():
            what = {"everything": "everything", "event": "all keys of the event"}.get(
                part.what, f"the keys “{part.what}”"
            )
            return f"{_when(part.when)}, Redis loses {what}"
        case GoesBack():
            how = "is started with an older file" if part.starts else "gets its old keys put back"
            return f"{_when(part.when)}, Redis {how}: as it was {_when(part.to)}"
        case Forgetful():
            return (
                f"{_when(part.when)} and for {part.for_s:g} s, new payments are listed by the "
                f"gateway {part.lag_s:g} s late"
            )
        case WrongClock():
            way = "ahead" if part.ahead_s > 0 else "behind"
            return f"{_when(part.when)}, the clock of {part.of} is {abs(part.ahead_s):g} s {way}"
    raise AssertionError(part)


def _party(part: Away) -> str:
    return "the gateway" if part.party == "gateway" else PARTIES[part.party]


def _at(part: Hold | Request | Refund | RefundSeats | Cancel | Open) -> str:
    return f"{part.at_s:g} s: "


def _spot(spot: Spot) -> str:
    return f"{spot.side} its {_ordinal(spot.nth)} call of {spot.call}"


def _calls(spot: Spot, times: int) -> str:
    also = "" if times == 1 else " and the next one" if times == 2 else f" and the next {times - 1}"
    return f"{spot.process}: its {_ordinal(spot.nth)} call of {spot.call}{also}"


def _when(when: When) -> str:
    if not when.spot:
        return f"at {when.after_s:g} s"
    spot = when.spot
    said = f"{spot.side} the {_ordinal(spot.nth)} call of {spot.call} by {spot.process}"
    return f"{when.after_s:g} s later than {said}" if when.after_s else said


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")


def brief(value: Any) -> str:
    """A word or two; empty for what is not interesting."""
    match value:
        case PaymentAttempt():
            return value.gateway_key
        case Booking():
            refunded = " (refunded)" if value.refunded_at else ""
            return f"{value.id}{refunded}"
        case GatewayPayment():
            return f"{value.payment_id} {value.status} of {value.key}"
        case Event():
            return "the event"
        case Upkeep():
            return f"revision {value.revision}"
        case BaseException():
            said = str(value)
            name = type(value).__name__
            return name if not said or said.replace(" ", "") == name.lower() else f"{name}: {said}"
        case None:
            return ""
        case bool() | int():
            return str(value)
        case datetime():
            return f"{value:%H:%M:%S}"
        case str():
            return value if len(value) <= 24 else f"{value[:8]}…"
        case dict() if "hold_id" in value:
            return "its metadata"
        case dict():
            return brief(list(value.values()))
        case list() | tuple() | set():
            return f"[{', '.join(map(brief, value))}]"
    return type(value).__name__
