"""A sale from the hold to the receipt."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

MAX_REFUSED_CARDS = 5
"""Refused cards that a hold takes before it is released: enough for a buyer with a drawer full
of cards, too few to test stolen ones."""


DEFAULT_LEASE_S = 60.0
"""How long a payment belongs to the process that began it, before the worker ends it: longer than
all time-outs of its steps add up to."""


LAST_STEP_S = 30.0
"""How long a payment may take from its last look at Redis to the end of its insert: twice MongoDB's
time-outs for all tries (16 s), for a process that had to wait for the processor meanwhile. For so
long after Redis was lost a payment that it has forgotten may still be booked."""


class HoldStatus(StrEnum):
    HELD = "held"
    PAYING = "paying"
    BOOKED = "booked"


@dataclass(frozen=True)
class Hold:
    """A temporary claim on seats. ``expires_in_ms`` was true when Redis answered; a payment that
    has begun outlives it. ``payments`` counts those that were begun, ``refused_cards`` those that
    a bank refused. ``extended``: it got its time once more, and gets no more. ``booking`` is what
    it became."""

    id: str
    event_id: str
    seats: tuple[str, ...]
    amount_minor: int
    currency: str
    status: HoldStatus
    expires_at_ms: int
    expires_in_ms: int
    payments: int = 0
    refused_cards: int = 0
    extended: bool = False
    booking: "Booking | None" = None

    @property
    def refunded(self) -> bool:
        return self.booking is not None and self.booking.refunded_at is not None


@dataclass(frozen=True)
class Buyer:
    """Who pays and how, as the checkout form says it."""

    payment_method: str
    email: str
    name: str


@dataclass(frozen=True)
class PaymentAttempt:
    """One attempt to charge for a hold. Everything that is needed to carry it to its end is in
    it, so that whoever finds it unfinished can. ``client`` and ``network`` are whose unpaid seats
    its seats count with; a client may have no network, "". ``key_digest`` stands for the client's
    idempotency key, ``fingerprint`` for what it was first used for. ``given_back``: how often the
    key was used for something that could not be done, and may be used again."""

    event_id: str
    hold_id: str
    client: str
    network: str
    attempt: int
    seats: tuple[str, ...]
    amount_minor: int
    currency: str
    buyer: Buyer
    key_digest: str
    fingerprint: str
    begun_at: datetime
    given_back: int = 0

    @property
    def gateway_key(self) -> str:
        """The gateway's idempotency key: the same whenever the buyer's key is used for this hold,
        so that the gateway knows it again when Redis has forgotten what became of it."""
        return f"{self.hold_id}-{self.key_digest[:32]}-{self.given_back}"


@dataclass(frozen=True)
class Receipt:
    """What the buyer sees of a booking; its JSON has exactly these fields in this order."""

    booking_id: str
    hold_id: str
    event: str
    seats: tuple[str, ...]
    amount: int
    currency: str
    payment_id: str | None
    booked_at: str
    status: Literal["booked", "refunded"] = "booked"


@dataclass(frozen=True)
class SoldAs:
    """What people called things when they were sold. The file may drop, rename or move them later,
    or be gone. ``seats`` are in the order of the booking's."""

    event: str
    venue: str
    seats: tuple[str, ...]


@dataclass(frozen=True)
class Booking:
    """A paid hold: final, one document in MongoDB. ``payment_id`` is None when the seats cost
    nothing. ``booked_at`` is UTC and has no more than milliseconds, which is what MongoDB keeps:
    a receipt made from a booking that was read back has the same bytes. ``sold_as`` is None where
    nobody knew the names, and in bookings of before there were any."""

    id: str
    hold_id: str
    event_id: str
    seats: tuple[str, ...]
    amount_minor: int
    currency: str
    payment_id: str | None
    booked_at: datetime
    email: str
    name: str
    key_digest: str
    fingerprint: str
    refunded_at: datetime | None = None
    sold_as: SoldAs | None = None

    def receipt(self) -> Receipt:
        """What the buyer got when it was booked, and gets whenever the payment is repeated."""
        return Receipt(
            booking_id=self.id,
            hold_id=self.hold_id,
            event=self.event_id,
            seats=self.seats,
            amount=self.amount_minor,
            currency=self.currency,
            payment_id=self.payment_id,
            booked_at=rfc3339(self.booked_at),
        )

    def receipt_now(self) -> Receipt:
        """The same, and whether it was refunded since."""
        return replace(self.receipt(), status="refunded") if self.refunded_at else self.receipt()


def booking_id_of(hold_id: str) -> str:
    """A hold becomes at most one booking, and its id says which."""
    return f"bkg_{hold_id.removeprefix('hld_')}"


def hold_id_of(booking_id: str) -> str:
    return f"hld_{booking_id.removeprefix('bkg_')}"


def in_utc(moment: datetime) -> datetime:
    """The nearest there is: the last evening of the year 9999 in America is none in UTC. Files may
    no longer say so, but may have said it when their events were opened."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        if moment.year > 1:
            return datetime.max.replace(tzinfo=UTC)
        return datetime.min.replace(tzinfo=UTC)


def rfc3339(moment: datetime) -> str:
    """UTC with milliseconds: ``2026-11-22T19:30:00.000Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
