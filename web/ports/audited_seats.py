"""The parts of the seat store (seats, holds, payments in progress) that only the audit reads."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from web.domain.events import Event
from web.domain.sales import HoldStatus, Receipt
from web.ports.seat_store import SeatMap


@dataclass(frozen=True)
class KnownHold:
    """A hold as Redis has it; ``positions`` are in layout order, counted from 0.
    ``at_bank_until_ms`` is 0 unless its payment has to be confirmed at the bank."""

    positions: tuple[int, ...]
    client: str
    network: str
    status: HoldStatus
    deadline_ms: int
    at_bank_until_ms: int


@dataclass(frozen=True)
class EventState:
    """All that Redis knows of an event at one moment (``now_ms``). ``due`` and ``payments`` map
    hold ids to the moment at which the hold or the lease runs out; ``clients`` maps a client or
    network to the number of unpaid seats counted for it. ``sale_closed_ms``: when the organiser
    closed the sale, whatever the definition says."""

    event: Event
    now_ms: int
    revision: int
    seats: str
    holds: dict[str, KnownHold]
    due: dict[str, int]
    clients: dict[str, int]
    payments: dict[str, int]
    sale_closed_ms: int | None = None


class AuditedSeats(Protocol):
    """Every method raises Unavailable. The last two read a page at a time."""

    def snapshot(self, event: Event) -> EventState:
        """Raises EventNotFound, EventChanged."""
        ...

    def replay_journal(self, event_id: str, up_to_revision: int) -> SeatMap:
        """The map that the journal leads to. Raises JournalBroken."""
        ...

    def receipts(self, event_ids: Iterable[str]) -> Iterator[Receipt]:
        """All receipts stored as the final responses to idempotency keys. Raises Unavailable after
        those that can be read."""
        ...
