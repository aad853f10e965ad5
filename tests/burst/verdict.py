"""The verdict on a burst: compares the buyers' diaries with MongoDB's bookings and the gateway's
payments.

It does not use the application: it reads the diaries, MongoDB's documents and the gateway's ledger.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.burst.chaos import Blow
from tests.burst.diary import (
    BOTS,
    Answer,
    Asked,
    Held,
    Line,
    NotPaid,
    OtherBytes,
    Paid,
    Strain,
)
from tests.burst.door_rules import broken_at, let_in, refused
from tests.burst.doors import Door
from tests.burst.gateway_queue import GatewayQueue
from tests.burst.open_payments import open_payments
from tests.burst.plan import Drop
from tests.burst.surprises import asks_to_wait, is_expected, is_server_error
from web.ports.payment_gateway import GatewayPayment
from web.use_cases.audit import Check

RECEIPT_FIELDS = ("seats", "amount", "currency", "payment_id")

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Look:
    """The numbers of seats by state at one time; None when Redis did not answer."""

    at_s: float
    states: Counter[str] | None


@dataclass(frozen=True)
class Evidence:
    """Everything that is known about a burst. ``bookings`` are MongoDB's documents; ``inserts`` is
    the number of documents inserted during the burst, None when MongoDB was restarted."""

    drop: Drop
    hall_size: int
    lines: Sequence[Line]
    bookings: Sequence[dict[str, Any]]
    payments: Sequence[GatewayPayment]
    checks: Sequence[Check]
    looks: Sequence[Look]
    door: Door
    blows: Sequence[Blow] = ()
    refused_by_limiter: int = 0
    inserts: int | None = None
    queue: GatewayQueue = field(default_factory=GatewayQueue)


@dataclass(frozen=True)
class Zero:
    """Something that must not happen, with all cases in which it did."""

    name: str
    cases: list[str]

    @property
    def count(self) -> int:
        return len(self.cases)


@dataclass(frozen=True)
class Times:
    """Response times of one kind of answer, in ms."""

    name: str
    count: int
    percentiles_ms: tuple[float, ...]
    most_ms: float


@dataclass(frozen=True)
class Share:
    """The share of bots, from 0 to 1."""

    requests: float
    seats: float


@dataclass(frozen=True)
class AtBank:
    """How many payments were at the bank, and what their buyers did: ``silent`` are those who never
    answered."""

    asked: int
    confirmed: int
    refused: int
    given_up: int
    silent: int


@dataclass(frozen=True)
class AtDoors:
    """``sold`` seats were to be let in. ``repeated`` counts the scans that a gate had to send
    again, because there was no answer, or none that was final."""

    sold: int
    let_in: int
    inside: int
    invalid: int
    refunded: int
    scans: int
    took_s: float
    repeated: int
    killed: Sequence[str]


@dataclass
class Verdict:
    """``taken_after_s`` and ``sold_after_s`` are the times at which no seat was free, and all seats
    were sold, for the first time; None when that never happened."""

    seats: int
    sold: int
    bookings: int
    requests: int
    refusals: int
    taken_after_s: float | None
    sold_after_s: float | None
    bots: Share
    at_bank: AtBank
    doors: AtDoors
    busiest: float
    late_ms: float
    queue: GatewayQueue
    zeros: list[Zero]
    times: list[Times] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not any(zero.cases for zero in self.zeros)


class Evident:
    """The evidence, indexed for the checks."""

    def __init__(self, evidence: Evidence):
        self.evidence = evidence
        self.chaos = bool(evidence.drop.plan.chaos)
        by_kind: dict[type, list[Any]] = defaultdict(list)
        for line in evidence.lines:
            by_kind[type(line)].append(line)
        self.answers: list[Answer] = by_kind[Answer]
        self.held: list[Held] = by_kind[Held]
        self.paid: list[Paid] = by_kind[Paid]
        self.not_paid: list[NotPaid] = by_kind[NotPaid]
        self.asked: dict[str, Asked] = {}
        """By payment: a buyer who clicks twice is asked twice about one, and gives one answer."""
        for line in by_kind[Asked]:
            if not (known := self.asked.get(line.payment)) or known.heard_s is None:
                self.asked[line.payment] = line
        self.other_bytes: list[OtherBytes] = by_kind[OtherBytes]
        self.strain: list[Strain] = by_kind[Strain]
        self.booked = {booking["hold_id"]: booking for booking in evidence.bookings}

    # ------------------------------------------------------------ what must not be

    def zeros(self) -> list[Zero]:
        zeros = [
            Zero("seats overbooked", self.overbooked()),
            Zero("double charges", self.double_charges()),
            Zero("lost receipts", self.lost_receipts()),
            Zero("server errors", self.server_errors()),
            Zero("charged after “nothing was charged”", self.charged_after_a_no()),
            Zero("payments without an end", self.endless()),
            Zero("confirmed in time, and no seat", self.confirmed_in_vain()),
            Zero("charged without the owner's yes", self.charged_unconfirmed()),
            Zero("payments left open at the gateway", self.left_open()),
            Zero("two answers to one key", [line.hold_id for line in self.other_bytes]),
            Zero("answers that the contract does not have", self.surprises()),
            Zero("429 to one who kept the limit", self.limited_without_cause()),
            Zero("differences that the audit found", self.differences()),
        ]
        at_doors = broken_at(self.evidence.door, chaos=self.chaos)
        zeros += [Zero(name, cases) for name, cases in at_doors.items()]
        if self.evidence.inserts is not None:
            zeros.append(Zero("inserts without a sale", self.idle_inserts()))
        return zeros

    def overbooked(self) -> list[str]:
        seats = Counter(seat for booking in self.evidence.bookings for seat in booking["seats"])
        return [f"{seat} is in {count} bookings" for seat, count in seats.items() if count > 1]

    def double_charges(self) -> list[str]:
        captured: dict[str, list[GatewayPayment]] = defaultdict(list)
        for payment in self.evidence.payments:
            if payment.status == "captured":
                captured[payment.metadata["hold_id"]].append(payment)
        wrong = []
        for hold_id, payments in captured.items():
            booking = self.booked.get(hold_id)
            if len(payments) > 1:
                wrong.append(f"{hold_id} was charged {len(payments)} times")
            elif booking is None:
                wrong.append(f"{hold_id} was charged and not booked")
            elif booking["amount"] != payments[0].amount_minor:
                wrong.append(f"{hold_id} was charged {payments[0].amount_minor} for {booking}")
        return wrong

    def lost_receipts(self) -> list[str]:
        lost = []
        for line in self.paid:
            booking = self.booked.get(line.hold_id)
            if booking is None:
                lost.append(f"{line.hold_id} has a receipt, and no booking")
            elif line.receipt and any(
                line.receipt[name] != booking.get(name) for name in RECEIPT_FIELDS
            ):
                lost.append(f"{line.hold_id} has the receipt {line.receipt}, and is {booking}")
        return lost

    def server_errors(self) -> list[str]:
        """Without those that the application gave because the gateway's queue was full."""
        errors, waits = [], []
        for answer in self.answers:
            if is_server_error(answer.status, answer.said, answer.may_retry, chaos=self.chaos):
                is_wait = answer.may_retry and asks_to_wait(answer.call, answer.said)
                (waits if is_wait else errors).append(f"{answer.call}: {answer.said}")
        return _counted([*errors, *waits[self.evidence.queue.sent_away :]])

    def surprises(self) -> list[str]:
        return _counted(
            f"{answer.call}: {answer.said}"
            for answer in self.answers
            if 0 < answer.status < 500
            and not is_expected(answer.call, answer.said, chaos=self.chaos)
        )

    def limited_without_cause(self) -> list[str]:
        return _counted(
            f"{answer.who}: {answer.call}"
            for answer in self.answers
            if answer.status == 429 and answer.who != "sweeper"
        )

    def charged_after_a_no(self) -> list[str]:
        told = {line.hold_id for line in self.not_paid if line.heard == "nothing charged"}
        return sorted(told & self.booked.keys())

    def endless(self) -> list[str]:
        return [line.hold_id for line in self.not_paid if line.heard == "unknown"]

    def confirmed_in_vain(self) -> list[str]:
        """While parts are killed, seats may be lost to others; but then the buyer is told."""
        told = {line.hold_id for line in self.not_paid if line.heard == "nothing charged"}
        return [
            f"{asked.hold_id} was confirmed {asked.until_s - asked.heard_s:.1f} s before the end"
            for asked in self.asked.values()
            if asked.answer == "accept" and asked.heard_s and asked.heard_s < asked.until_s
            if asked.hold_id not in self.booked and not (self.chaos and asked.hold_id in told)
        ]

    def charged_unconfirmed(self) -> list[str]:
        return [
            f"{payment.payment_id} was charged, and the owner's answer was {asked.answer!r}"
            for payment in self.evidence.payments
            if payment.status == "captured"
            and (asked := self.asked.get(payment.metadata["key_digest"]))
            and asked.answer != "accept"
        ]

    def left_open(self) -> list[str]:
        left_open = open_payments(self.evidence.payments, self.asked)
        return [f"{payment.payment_id} is {payment.status}" for payment in left_open]

    def differences(self) -> list[str]:
        checks = [*self.evidence.checks, *self.evidence.door.checks]
        return [finding for check in checks for finding in check.findings]

    def idle_inserts(self) -> list[str]:
        more = (self.evidence.inserts or 0) - len(self.evidence.bookings)
        return [f"{more} inserts more than bookings"] if more else []

    # ------------------------------------------------------------ how it went

    def sold(self) -> int:
        return sum(len(booking["seats"]) for booking in self.evidence.bookings)

    def first_look(self, *states: str) -> float | None:
        """Seconds from the opening until all seats were first in one of these states."""
        for look in self.evidence.looks:
            if look.states and sum(look.states[state] for state in states) == sum(
                look.states.values()
            ):
                return max(0.0, look.at_s - self.evidence.drop.opens_at_s)
        return None

    def bots(self) -> Share:
        holders = {line.hold_id: line.who for line in self.held}
        theirs = sum(
            len(booking["seats"])
            for hold_id, booking in self.booked.items()
            if holders.get(hold_id) in BOTS
        )
        asked = sum(answer.who in BOTS for answer in self.since_opening())
        return Share(asked / max(1, len(self.since_opening())), theirs / max(1, self.sold()))

    def at_bank(self) -> AtBank:
        answers = Counter(asked.answer for asked in self.asked.values())
        return AtBank(
            asked=answers.total(),
            confirmed=answers["accept"],
            refused=answers["refuse"],
            given_up=answers["give up"],
            silent=answers[""],
        )

    def at_doors(self) -> AtDoors:
        door = self.evidence.door
        return AtDoors(
            sold=len(door.sold),
            let_in=len(let_in(door)),
            inside=refused(door, "ticket", "once more"),
            invalid=refused(door, "forged", "of another event"),
            refunded=refused(door, "refunded"),
            scans=len(door.scanned),
            took_s=door.took_s,
            repeated=sum(bool(scanned.failures) for scanned in door.scanned),
            killed=door.killed,
        )

    def since_opening(self) -> list[Answer]:
        opens_at_s = self.evidence.drop.opens_at_s
        return [answer for answer in self.answers if answer.at_s >= opens_at_s]

    def times(self) -> list[Times]:
        answers = self.since_opening()
        people = [answer for answer in answers if answer.who not in BOTS]
        return [
            times
            for name, all_ms in (
                ("seats held (201)", _ms(people, lambda a: a.call in HOLDS and a.status == 201)),
                ("seats refused (409)", _ms(people, lambda a: a.call in HOLDS and a.status == 409)),
                ("paid (201)", _ms(people, lambda a: a.call == "pay" and a.status == 201)),
                ("from the bank's yes to the receipt", self.after_the_yes_ms()),
                ("the seat map", _ms(people, lambda a: a.call == "seats")),
                ("a bot over its limit (429)", _ms(answers, lambda a: a.status == 429)),
                ("a scan at the doors", [scanned.ms for scanned in self.evidence.door.scanned]),
            )
            if (times := _times(name, all_ms))
        ]

    def after_the_yes_ms(self) -> list[float]:
        """Of those who waited for the receipt, whichever browser they waited in."""
        return [
            (asked.receipt_s - asked.heard_s) * 1000
            for asked in self.asked.values()
            if asked.answer == "accept" and asked.heard_s and asked.receipt_s
        ]

    def judge(self) -> Verdict:
        return Verdict(
            seats=self.evidence.hall_size,
            sold=self.sold(),
            bookings=len(self.evidence.bookings),
            requests=len(self.answers),
            refusals=sum(400 <= answer.status < 500 for answer in self.answers),
            taken_after_s=self.first_look("h", "p", "s"),
            sold_after_s=self.first_look("s"),
            bots=self.bots(),
            at_bank=self.at_bank(),
            doors=self.at_doors(),
            busiest=max((line.busy for line in self.strain), default=0.0),
            late_ms=_percentile([line.late_ms for line in self.strain], 95),
            queue=self.evidence.queue,
            zeros=self.zeros(),
            times=self.times(),
        )


HOLDS = frozenset({"hold seat", "hold best", "hold list"})


def _counted(cases: Iterable[str]) -> list[str]:
    """All cases, equal ones together and the most frequent first, so that the start of a long list
    shows its reasons."""
    return [case for case, count in Counter(cases).most_common() for _ in range(count)]


def _ms(answers: Iterable[Answer], fits: Callable[[Answer], bool]) -> list[float]:
    return [answer.ms for answer in answers if fits(answer)]


def _times(name: str, all_ms: Sequence[float]) -> Times | None:
    if not all_ms:
        return None
    percentiles = tuple(_percentile(all_ms, percent) for percent in PERCENTILES)
    return Times(name, len(all_ms), percentiles, max(all_ms))


def _percentile(numbers: Sequence[float], percent: int) -> float:
    """The smallest value that this percentage of values does not exceed; 0 without values."""
    if not numbers:
        return 0.0
    return sorted(numbers)[math.ceil(len(numbers) * percent / 100) - 1]
