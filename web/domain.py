"""The nouns of a sale, and the ways in which it can say no.

Nothing here knows HTTP, Redis, MongoDB or a payment provider. Amounts are integers in the
currency's minor unit (pence, cents); moments are milliseconds of Unix time or aware datetimes.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Literal

import msgspec

SectionKind = Literal["seated", "general"]

MAX_REFUSED_CARDS = 5
"""Refused cards that a hold takes before it is released: enough for a buyer with a drawer full
of cards, too few to test stolen ones."""


CLIENTS_OF_A_NETWORK = 4
NETWORKS_OF_A_HALL = 50
"""An IPv6 network may hold as much as four clients, or a fiftieth of the hall where that is more,
unless the event says otherwise. A large hall is wanted by many who share a carrier's network; of a
small one, as much as four clients may hold is a good part already."""

DEFAULT_LEASE_S = 60.0
"""How long a payment belongs to the process that began it, before the worker ends it: longer than
all time-outs of its steps add up to."""

LAST_STEP_S = 30.0
"""How long a payment may take from its last look at Redis to the end of its insert: twice MongoDB's
time-outs for all tries (16 s), for a process that had to wait for the processor meanwhile. For so
long after Redis was lost a payment that it has forgotten may still be booked."""

NOT_COMPLETED = "not_completed"
"""The reason of a decline that no bank gave: the payment broke off before the card was charged."""

NOT_ACCEPTED = "not_accepted"
"""Another that no bank gave: the gateway takes no payment like this from this shop, whatever the
card."""


class SeatState(StrEnum):
    """What one character of a seat map says; the packed string in Redis uses the same."""

    FREE = "0"
    HELD = "h"
    PAYING = "p"
    SOLD = "s"


@dataclass(frozen=True)
class Availability:
    """How many of ``size`` seats can be held now, and how many others may come back: those that
    somebody holds or is paying for."""

    free: int
    on_hold: int
    size: int

    @classmethod
    def of(cls, states: str) -> "Availability":
        """``states`` has a SeatState character a seat."""
        free, sold = states.count(SeatState.FREE), states.count(SeatState.SOLD)
        return cls(free, len(states) - free - sold, len(states))

    @property
    def sold_out(self) -> bool:
        return not self.free and not self.on_hold


@dataclass(frozen=True)
class Row:
    """Seats in one row. A block is a run of seats side by side; between two blocks of a row is
    an aisle, a pillar or a missing seat."""

    id: str
    blocks: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A part of the hall with one price. Its rows stand best first."""

    id: str
    name: str
    kind: SectionKind
    price_minor: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Block:
    """A run of adjacent seats as the packed seat string has it: it ends where the next one, or its
    section does. ``begins_row`` says whether a row begins there, too."""

    start: int
    begins_row: bool


@dataclass(frozen=True)
class Span:
    """Where a section stands in the packed seat string, and its blocks, best row first."""

    start: int
    length: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True, eq=False)
class Event:
    """A show as its file declares it. Layout order, everywhere, is the order of the file.

    Compared by identity, because comparing 50,000 seats is nothing to do by accident; ``version``
    says whether two definitions are the same.
    """

    id: str
    name: str
    venue: str
    currency: str
    sale_opens_at: datetime
    hold_ms: int
    max_seats_per_hold: int
    max_held_per_client: int
    sections: tuple[Section, ...]
    max_held_per_network: int | None = None

    @cached_property
    def definition(self) -> bytes:
        """The whole definition as JSON. Without what is not declared: a field that a release adds
        must leave definitions that are in Redis already their version."""
        declared = {field.name: getattr(self, field.name) for field in fields(self)}
        return msgspec.json.encode({n: value for n, value in declared.items() if value is not None})

    @cached_property
    def version(self) -> str:
        """Names this definition: any change of it gives another version."""
        return _digest(self.definition)

    @cached_property
    def network_max(self) -> int:
        """Seats that one network may hold unpaid, declared or not."""
        if self.max_held_per_network is not None:
            return self.max_held_per_network
        of_clients = CLIENTS_OF_A_NETWORK * self.max_held_per_client
        return max(of_clients, len(self.seats) // NETWORKS_OF_A_HALL)

    @cached_property
    def layout(self) -> str:
        """Names the seats, their order and their prices: a map that was made with this layout is
        right, whatever else of the definition has changed since."""
        places = [(s.id, s.kind, s.price_minor, s.rows) for s in self.sections]
        return _digest(msgspec.json.encode((self.currency, places)))

    @cached_property
    def seats(self) -> tuple[str, ...]:
        """Every seat id, ``{section}-{row}-{number}``, in layout order."""
        return tuple(
            f"{section.id}-{row.id}-{number}"
            for section in self.sections
            for row in section.rows
            for block in row.blocks
            for number in block
        )

    @cached_property
    def positions(self) -> dict[str, int]:
        """Seat id to its place in layout order, counted from 0."""
        return {seat: position for position, seat in enumerate(self.seats)}

    @cached_property
    def section_of(self) -> dict[str, Section]:
        return {section.id: section for section in self.sections}

    @cached_property
    def spans(self) -> dict[str, Span]:
        """Section id to its place in the packed seat string."""
        spans, start = {}, 0
        for section in self.sections:
            blocks, position = [], start
            for row in section.rows:
                for number, block in enumerate(row.blocks):
                    blocks.append(Block(position, begins_row=number == 0))
                    position += len(block)
            spans[section.id] = Span(start, position - start, tuple(blocks))
            start = position
        return spans

    @cached_property
    def block_starts(self) -> frozenset[int]:
        """The positions at which a run of adjacent seats begins."""
        return frozenset(block.start for span in self.spans.values() for block in span.blocks)

    @cached_property
    def _prices_by_position(self) -> tuple[int, ...]:
        return tuple(
            section.price_minor
            for section in self.sections
            for _ in range(self.spans[section.id].length)
        )

    def amount_minor(self, positions: Sequence[int]) -> int:
        return sum(self._prices_by_position[position] for position in positions)

    def seats_at(self, positions: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.seats[position] for position in positions)

    def seat_name(self, seat: str) -> str:
        """``Stalls, row C, seat 14`` or ``Floor, standing, place 3``. Also of a seat that the event
        does not have any more."""
        return seat_name(seat, self.section_of.get(seat.rsplit("-", 2)[0]))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


GENERAL_ROW = "GA"
"""The row id of a general-admission section, so that its seats have ids like all others."""


def seat_name(seat: str, section: Section | None = None) -> str:
    """For people. Of a section that nobody remembers, the id says as much as it can."""
    section_id, row_id, number = seat.rsplit("-", 2)
    name = section.name if section else name_of_id(section_id)
    general = section.kind == "general" if section else row_id == GENERAL_ROW
    return f"{name}, place {number}" if general else f"{name}, row {row_id}, seat {number}"


def name_of_id(id_: str) -> str:
    """``Upper circle`` of ``upper-circle``."""
    return id_.replace("-", " ").capitalize()


def moved_seats(before: Event, after: Event) -> str:
    """The hall of ``before``, a character a seat: "1" where ``after`` has another seat, or none, in
    its place, "0" where it may stay. In another currency none may: amounts of holds and bookings
    are in the one that they were made in."""
    same_currency = before.currency == after.currency
    return "".join(
        "0" if same_currency and after.positions.get(seat) == position else "1"
        for position, seat in enumerate(before.seats)
    )


STATE_AFTER = {
    "held": SeatState.HELD,
    "released": SeatState.FREE,
    "expired": SeatState.FREE,
    "paying": SeatState.PAYING,
    "unpaid": SeatState.HELD,
    "sold": SeatState.SOLD,
    "refunded": SeatState.FREE,
}
"""What each change in the journal makes of its seats."""


class JournalBroken(Exception):
    """The journal skips a revision, has a change that changes nothing, a map that its changes do
    not lead to, or none at all."""


class ReplayedHall:
    """The hall that a journal leads to, change by change, from the oldest map that is in it. What
    is wrong before an opening is forgiven: an event is opened again when its history was lost."""

    def __init__(self) -> None:
        self.revision = 0
        self._opened = 0
        self._seats: list[str] = []
        self._broken: JournalBroken | None = None

    def open(self, revision: int) -> None:
        """The map of this revision comes next, and is how things stand."""
        self._opened = revision

    def see_map(self, revision: int, seats: str) -> None:
        if revision == self._opened:
            self._broken = None
        elif self._seats and (revision, list(seats)) != (self.revision, self._seats):
            self._break(f"the changes until revision {revision} do not lead to its map")
        self.revision, self._seats = revision, list(seats)

    def change(self, revision: int, change: str, positions: Sequence[int]) -> None:
        if not self._seats or self._broken:
            return  # The map that it changes has been cut off, or is wrong.
        if revision != self.revision + 1:
            return self._break(f"revision {revision} follows {self.revision}")
        state = STATE_AFTER[change]
        for position in positions:
            if self._seats[position] == state:
                return self._break(f"revision {revision} makes seat {position} what it was")
            self._seats[position] = state
        self.revision = revision

    def _break(self, message: str) -> None:
        self._broken = self._broken or JournalBroken(message)

    def map(self) -> str:
        """Raises JournalBroken."""
        if self._broken:
            raise self._broken
        if not self._seats:
            raise JournalBroken("there is no map in it")
        return "".join(self._seats)


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
class Payment:
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


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


class Refusal(Exception):
    """An expected no: part of a sale, not an accident. ``web/problems.py`` says how each one
    looks to a client, ``str()`` what logs and terminals say."""

    def __str__(self) -> str:
        """``seat taken: stalls-A-1``."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(self).__name__).lower()
        return ": ".join([words, *(_listed(value) for value in vars(self).values())])


@dataclass(eq=False)
class InvalidRequest(Refusal):
    """``field`` is a body field, header or part of the path; ``problem`` says what it must be."""

    field: str
    problem: str


@dataclass(eq=False)
class EventNotFound(Refusal):
    event_id: str


@dataclass(eq=False)
class SectionNotFound(Refusal):
    section_id: str


@dataclass(eq=False)
class SeatNotFound(Refusal):
    seat: str


@dataclass(eq=False)
class SeatTaken(Refusal):
    seats: tuple[str, ...]


@dataclass(eq=False)
class SoldOut(Refusal):
    """Fewer than ``quantity`` seats of the section are free now."""

    section_id: str
    quantity: int


@dataclass(eq=False)
class SaleNotOpen(Refusal):
    wait_ms: int


@dataclass(eq=False)
class TooManyHeld(Refusal):
    held: int
    limit: int


@dataclass(eq=False)
class TooManyHeldByNetwork(TooManyHeld):
    """Its client may have nothing to do with it: others in its IPv6 network hold the seats."""


@dataclass(eq=False)
class BasketFull(Refusal):
    """A browser remembers ``limit`` holds, and none of them has ended."""

    limit: int


class HoldNotFound(Refusal):
    """No such hold, or not with this token: which of the two is nobody's business."""


class BookingNotFound(Refusal):
    """No such booking, or not with this token."""


class EventChanged(Exception):
    """The event was opened again with another definition since the caller looked it up: what the
    caller knows of positions and prices is out of date, nothing was done, and it should look again.
    """

    def __str__(self) -> str:
        return "the event was opened with another definition meanwhile"


class HoldExpired(Refusal):
    """The hold ran out or was released. Nothing was charged."""


class AlreadyExtended(Refusal):
    """A hold gets its time once more only once."""


@dataclass(eq=False)
class AlreadyBooked(Refusal):
    """The hold was paid before, with another idempotency key."""

    booking_id: str


class PaymentInProgress(Refusal):
    pass


@dataclass(eq=False)
class PaymentPending(Refusal):
    """The outcome of a charge is not known yet; the worker will find out. ``key_digest`` names the
    payment among those of its hold."""

    key_digest: str


class PaymentNotFound(Refusal):
    """No such payment, or it left nothing to tell: its key may be used (again)."""


@dataclass(eq=False)
class PaymentDeclined(Refusal):
    """The card was refused, or the payment was not completed or not accepted; nothing was charged.
    ``reason`` is the gateway's code for it, NOT_COMPLETED or NOT_ACCEPTED, ``attempts_left`` how
    many more cards this hold takes (0: its seats were given back)."""

    reason: str
    message: str
    attempts_left: int = MAX_REFUSED_CARDS

    @property
    def is_of_the_card(self) -> bool:
        """Whether it counts as a refused card of its hold."""
        return self.reason not in (NOT_COMPLETED, NOT_ACCEPTED)


@dataclass(eq=False)
class Replayed(Refusal):
    """The refusal that an idempotency key got before; it is its final answer."""

    refusal: PaymentDeclined | SeatTaken


class IdempotencyKeyMissing(Refusal):
    pass


class IdempotencyKeyReused(Refusal):
    """The same key came with another payment."""


@dataclass(eq=False)
class Unavailable(Refusal):
    """A part cannot be reached, nothing happened, and a retry is safe."""

    part: str
    retry_after_s: int = 1

    def __str__(self) -> str:
        """For operators, who know the store by its product."""
        product = {"seat store": " (Redis)", "booking store": " (MongoDB)"}.get(self.part, "")
        return f"the {self.part}{product} cannot be reached"


class NotKnownNow(Unavailable):
    """Redis was lost with a hold a moment ago, and its payment may still be booked. A little later
    it is known what became of it."""

    def __str__(self) -> str:
        return "Redis has lost the hold a moment ago, and its payment may still be booked"


class PaymentsClosed(Unavailable):
    """The payment gateway does not let the shop in: nobody can pay until the operator has mended
    the shop's key or account there."""


class PaymentsBusy(Unavailable):
    """The payment gateway has no time for one more payment now."""
