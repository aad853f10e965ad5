"""What is sold: events with their sections, seats and prices, and the states of the seats.

Nothing in ``domain/`` knows HTTP, Redis, MongoDB or a payment provider. Amounts are integers in the
currency's minor unit (pence, cents); moments are milliseconds of Unix time or aware datetimes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

SectionKind = Literal["seated", "general"]
EventStatus = Literal["scheduled", "postponed", "cancelled"]
"""As schema.org has them."""

OVER_AFTER = timedelta(hours=12)
"""How long after its beginning an event without an end counts as over."""


CLIENTS_OF_A_NETWORK = 4


NETWORKS_OF_AN_EVENT = 50
"""Unless the event says otherwise, an IPv6 network may hold as many seats as four clients, or a
fiftieth of all seats if that is more. Many buyers of a large event share a carrier's network; for a
small event the seats of four clients are already a large share."""


class SeatState(StrEnum):
    """The state of one seat: one character of a seat map, and of the packed string in Redis."""

    FREE = "0"
    HELD = "h"
    PAYING = "p"
    SOLD = "s"


@dataclass(frozen=True)
class Availability:
    """How many of ``size`` seats can be held now, and how many others may become free again: those
    that are held or being paid for."""

    free: int
    on_hold: int
    size: int

    @classmethod
    def of(cls, states: str) -> "Availability":
        """``states`` has one SeatState character per seat."""
        free, sold = states.count(SeatState.FREE), states.count(SeatState.SOLD)
        return cls(free, len(states) - free - sold, len(states))

    @property
    def sold_out(self) -> bool:
        return not self.free and not self.on_hold


class SaleState(StrEnum):
    """What a buyer needs to know of a sale before its seats."""

    CANCELLED = "cancelled"
    NOT_OPEN = "not open yet"
    SOLD_OUT = "sold out"
    CLOSED = "closed"
    NONE_AVAILABLE = "none available"
    ON_SALE = "on sale"


@dataclass(frozen=True)
class Row:
    """Seats in one row. A block is a run of seats side by side; between two blocks of a row is
    an aisle, a pillar or a missing seat."""

    id: str
    blocks: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A part of the venue with one price. Its rows are listed best first."""

    id: str
    name: str
    kind: SectionKind
    price_minor: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Block:
    """A run of adjacent seats in the packed seat string: it ends where the next block or its
    section does. ``begins_row`` says whether a row begins there, too."""

    start: int
    begins_row: bool


@dataclass(frozen=True)
class Span:
    """The position of a section in the packed seat string, and its blocks, best row first."""

    start: int
    length: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True, eq=False)
class Event:
    """An event as its file declares it. Layout order, everywhere, is the order of the file.

    Compared by identity, because 50,000 seats should not be compared by accident; ``version`` says
    whether two definitions are the same. Definitions from before events had dates have no
    ``timezone``, no ``starts_at`` and no ``sale_closes_at``.
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
    timezone: str | None = None
    starts_at: datetime | None = None
    doors_open_at: datetime | None = None
    ends_at: datetime | None = None
    sale_closes_at: datetime | None = None
    declared_status: EventStatus | None = None

    @cached_property
    def definition(self) -> bytes:
        """The whole definition as JSON, without optional fields that are not declared: a field that
        a release adds must not change the version of definitions already in Redis."""
        declared = {field.name: getattr(self, field.name) for field in fields(self)}
        return msgspec.json.encode({n: value for n, value in declared.items() if value is not None})

    @cached_property
    def version(self) -> str:
        """Identifies this definition: any change to it gives another version."""
        return _digest(self.definition)

    @cached_property
    def zone(self) -> tzinfo:
        """The venue's time zone."""
        return ZoneInfo(self.timezone) if self.timezone else self.sale_opens_at.tzinfo or UTC

    @property
    def status(self) -> EventStatus:
        return self.declared_status or "scheduled"

    def is_over(self, now: datetime) -> bool:
        end = self.ends_at or (self.starts_at and self.starts_at + OVER_AFTER)
        return end is not None and end <= now

    def sale_is_over(self, now: datetime) -> bool:
        """By the definition. The organiser may have closed the sale before."""
        return self.status == "cancelled" or (
            self.sale_closes_at is not None and self.sale_closes_at <= now
        )

    def sale_state(
        self, seats: Availability, now: datetime, *, is_closed: bool = False
    ) -> SaleState:
        """``is_closed``: the organiser has closed the sale, whatever the definition says."""
        if self.status == "cancelled":
            return SaleState.CANCELLED
        if self.sale_opens_at > now and not is_closed:
            return SaleState.NOT_OPEN
        if seats.sold_out:
            return SaleState.SOLD_OUT
        if is_closed or self.sale_is_over(now):
            return SaleState.CLOSED
        return SaleState.ON_SALE if seats.free else SaleState.NONE_AVAILABLE

    @cached_property
    def network_max(self) -> int:
        """Unpaid seats that one network may hold, declared or by default."""
        if self.max_held_per_network is not None:
            return self.max_held_per_network
        of_clients = CLIENTS_OF_A_NETWORK * self.max_held_per_client
        return max(of_clients, len(self.seats) // NETWORKS_OF_AN_EVENT)

    @cached_property
    def layout(self) -> str:
        """Identifies the seats, their order and their prices: a map made with this layout is still
        correct, whatever else of the definition has changed since."""
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
        """Seat id to position in layout order, from 0."""
        return {seat: position for position, seat in enumerate(self.seats)}

    @cached_property
    def section_of(self) -> dict[str, Section]:
        return {section.id: section for section in self.sections}

    @cached_property
    def spans(self) -> dict[str, Span]:
        """Section id to its position in the packed seat string."""
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
        """The positions at which blocks begin."""
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
        """``Stalls, row C, seat 14`` or ``Floor, standing, place 3``. Also for a seat that the
        event no longer has."""
        return seat_name(seat, self.section_of.get(seat.rsplit("-", 2)[0]))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


GENERAL_ROW = "GA"
"""The row id of a general-admission section, so that its seats have ids like all others."""


def seat_name(seat: str, section: Section | None = None) -> str:
    """For people. If the section is not known its name is derived from its id."""
    section_id, row_id, number = seat.rsplit("-", 2)
    name = section.name if section else name_of_id(section_id)
    general = section.kind == "general" if section else row_id == GENERAL_ROW
    return f"{name}, place {number}" if general else f"{name}, row {row_id}, seat {number}"


def name_of_id(id_: str) -> str:
    """``Upper circle`` of ``upper-circle``."""
    return id_.replace("-", " ").capitalize()


def closing_line(event: Event, closed_at: datetime) -> str:
    """For the event's file, so that a sale which was closed by hand stays closed."""
    at_the_venue = closed_at.astimezone(event.zone).replace(tzinfo=None, microsecond=0)
    return f"sale_closes_at = {at_the_venue.isoformat()}"


def moved_seats(before: Event, after: Event) -> str:
    """One character per seat of ``before``: "1" where ``after`` has another seat, or none, at that
    position, "0" where it is unchanged. When the currency changes, all are "1": holds and bookings
    keep the amounts and currency that they were made with."""
    same_currency = before.currency == after.currency
    return "".join(
        "0" if same_currency and after.positions.get(seat) == position else "1"
        for position, seat in enumerate(before.seats)
    )
