"""A model of a sale, as simple as possible, to compare with Redis."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from web.domain.events import Event
from web.domain.refusals import (
    HoldExpired,
    NotKnownNow,
    PaymentInProgress,
    SaleNotOpen,
    SeatTaken,
    TooManyHeld,
    TooManyHeldByNetwork,
)
from web.domain.sales import MAX_REFUSED_CARDS

HOLD_MS = 1_000
START_MS = 1_800_000_000_000
NETWORK_OF = {"ada": "home", "bob": "home", "eve": ""}
"""The clients, two of them in one network."""

OPENS_AT = datetime.fromtimestamp(START_MS / 1000, UTC)


@dataclass
class ModelHold:
    client: str
    positions: list[int]
    deadline_ms: int
    paying: bool = False
    attempt: int = 0
    refused: int = 0


class Model:
    """One event, and whoever holds its seats."""

    def __init__(self, event: Event):
        self.event = event
        self.now_ms = START_MS - 100
        self.hall = ["0"] * len(event.seats)
        self.holds: dict[str, ModelHold] = {}
        self.lost: set[str] = set()
        self.unsure_until_ms = 0

    def advance(self, ms: int) -> None:
        self.now_ms += ms
        for hold_id, hold in list(self.holds.items()):
            if not hold.paying and hold.deadline_ms <= self.now_ms:
                self.free(hold_id)

    def free(self, hold_id: str) -> None:
        self._paint(self.holds.pop(hold_id).positions, "0")

    def hold(self, hold_id: str, client: str, positions: list[int]) -> type | None:
        if self.now_ms < START_MS:
            return SaleNotOpen
        if any(self.hall[p] != "0" for p in positions):
            return SeatTaken
        if self.held_by()[client] + len(positions) > self.event.max_held_per_client:
            return TooManyHeld
        network = NETWORK_OF[client]
        if network and self.held_by()[network] + len(positions) > self.event.max_held_per_network:
            return TooManyHeldByNetwork
        self.holds[hold_id] = ModelHold(client, positions, self.now_ms + HOLD_MS)
        self._paint(positions, "h")
        return None

    def best(self, section_id: str, quantity: int) -> list[int] | None:
        section, span = self.event.section_of[section_id], self.event.spans[section_id]
        if section.kind == "seated":
            for row in section.rows:
                blocks = [
                    [self.event.positions[f"{section_id}-{row.id}-{seat}"] for seat in block]
                    for block in row.blocks
                ]
                middle_doubled = blocks[0][0] + blocks[-1][-1]
                runs = [
                    block[first : first + quantity]
                    for block in blocks
                    for first in range(len(block) - quantity + 1)
                ]
                free = [run for run in runs if all(self.hall[p] == "0" for p in run)]
                if free:
                    return min(free, key=lambda run: abs(run[0] + run[-1] - middle_doubled))
        seats = range(span.start, span.start + span.length)
        free = [position for position in seats if self.hall[position] == "0"]
        return free[:quantity] if len(free) >= quantity else None

    def lose(self, made: set[str], unsure_ms: int) -> None:
        """Redis loses everything; the bookings come back from MongoDB. ``made`` are all holds
        ever."""
        for hold_id in list(self.holds):
            self.free(hold_id)
        self.lost = made
        self.unsure_until_ms = self.now_ms + unsure_ms

    def is_unsure(self, hold_id: str) -> bool:
        """Whether it is unknown what became of the hold."""
        return hold_id in self.lost and self.now_ms < self.unsure_until_ms

    def begin(self, hold_id: str) -> type | None:
        hold = self.holds.get(hold_id)
        if hold is None:
            return NotKnownNow if self.is_unsure(hold_id) else HoldExpired
        if hold.paying:
            return PaymentInProgress
        hold.paying = True
        hold.attempt += 1
        self._paint(hold.positions, "p")
        return None

    def undo(self, hold_id: str, attempt: int, refused: bool) -> None:
        hold = self.holds.get(hold_id)
        if hold is None or not hold.paying or hold.attempt != attempt:
            return
        hold.paying = False
        hold.refused += refused
        self._paint(hold.positions, "h")
        if hold.refused == MAX_REFUSED_CARDS or hold.deadline_ms <= self.now_ms:
            self.free(hold_id)

    def confirm(self, hold_id: str, positions: list[int]) -> None:
        self.holds.pop(hold_id, None)
        self._paint(positions, "s")

    def held_by(self) -> Counter:
        held = Counter()
        for hold in self.holds.values():
            held[hold.client] += len(hold.positions)
            if NETWORK_OF[hold.client]:
                held[NETWORK_OF[hold.client]] += len(hold.positions)
        return held

    def _paint(self, positions: list[int], state: str) -> None:
        for position in positions:
            self.hall[position] = state
