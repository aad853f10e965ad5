"""A model of a sale, as simple as possible, to compare with Redis."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from web.domain.events import Event
from web.domain.refusals import (
    HoldExpired,
    NotKnownNow,
    PaymentInProgress,
    PaymentNotFound,
    SaleNotOpen,
    SeatTaken,
    TooManyHeld,
    TooManyHeldByNetwork,
)
from web.domain.sales import MAX_REFUSED_CARDS, PaymentAttempt, RefusedAs

HOLD_MS = 1_000
LEASE_MS = 1_500
START_MS = 1_800_000_000_000
NETWORK_OF = {"ada": "home", "bob": "home", "eve": ""}
"""The clients, two of them in one network."""

OPENS_AT = datetime.fromtimestamp(START_MS / 1000, UTC)


@dataclass
class ModelBank:
    """What a payment at the bank waits for; ``claimed`` while somebody looks at it."""

    until_ms: int
    claimed: bool = False
    canceled_as: RefusedAs | None = None


@dataclass
class ModelHold:
    """``claim`` counts who has taken over the payment, which lapses at ``lapses_at_ms``."""

    client: str
    positions: list[int]
    deadline_ms: int
    paying: bool = False
    attempt: int = 0
    refused: int = 0
    key: str = ""
    claim: int = 0
    lapses_at_ms: int = 0
    bank: ModelBank | None = None


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

    def begin(self, hold_id: str, key: str) -> type | None:
        hold = self.holds.get(hold_id)
        if hold is None:
            return NotKnownNow if self.is_unsure(hold_id) else HoldExpired
        if hold.paying:
            return None if hold.key == key and self._claim_at_bank(hold) else PaymentInProgress
        hold.paying, hold.key, hold.claim, hold.bank = True, key, 0, None
        hold.attempt += 1
        hold.lapses_at_ms = self.now_ms + LEASE_MS
        self._paint(hold.positions, "p")
        return None

    def is_under_way(self, payment: PaymentAttempt) -> bool:
        """Whoever has it now."""
        hold = self.holds.get(payment.hold_id)
        return bool(hold and hold.paying and hold.attempt == payment.attempt)

    def own(self, payment: PaymentAttempt) -> ModelHold | None:
        """The hold, if this payment is under way and nobody has taken it over."""
        hold = self.holds.get(payment.hold_id)
        return hold if self.is_under_way(payment) and hold.claim == payment.claim else None

    def renew(self, payment: PaymentAttempt) -> bool:
        hold = self.own(payment)
        if hold:
            hold.lapses_at_ms = self.now_ms + LEASE_MS
        return hold is not None

    def shorten(self, hold_id: str, within_ms: int, at_bank_within_ms: int) -> None:
        hold = self.holds.get(hold_id)
        if hold and hold.paying:
            waits = hold.bank and not hold.bank.claimed
            within_ms = at_bank_within_ms if waits else within_ms
            hold.lapses_at_ms = min(hold.lapses_at_ms, self.now_ms + within_ms)

    def wait_for_bank(self, payment: PaymentAttempt, until_ms: int, look_at_ms: int) -> bool:
        hold = self.own(payment)
        if hold is None or (hold.bank and hold.bank.canceled_as):
            return False
        hold.bank = ModelBank(until_ms)
        hold.lapses_at_ms = look_at_ms
        return True

    def claim(self, hold_id: str, key: str) -> type | None:
        """By whoever hears that the payment at the bank goes on; ``key`` may be ""."""
        hold = self.holds.get(hold_id)
        if hold is None and self.is_unsure(hold_id):
            return NotKnownNow
        if hold is None or not hold.paying or key not in ("", hold.key):
            return PaymentNotFound
        return None if self._claim_at_bank(hold) else PaymentInProgress

    def claim_lapsed(self) -> str | None:
        """The hold whose payment the worker takes over."""
        lapsed = [
            (hold.lapses_at_ms, hold_id)
            for hold_id, hold in self.holds.items()
            if hold.paying and hold.lapses_at_ms <= self.now_ms
        ]
        if not lapsed:
            return None
        _, hold_id = min(lapsed)
        self._take_over(self.holds[hold_id])
        return hold_id

    def begin_cancel(
        self, payment: PaymentAttempt, until_ms: int, canceled_as: RefusedAs
    ) -> RefusedAs | None:
        """What the buyer will hear; None when the payment is not the caller's."""
        hold = self.own(payment)
        if hold is None:
            return None
        if hold.bank is None or hold.bank.canceled_as is None:
            hold.bank = ModelBank(until_ms, claimed=True, canceled_as=canceled_as)
        return hold.bank.canceled_as

    def undo(self, payment: PaymentAttempt, refused: bool) -> int | None:
        """How many more cards the hold takes; None when the payment is not the caller's."""
        hold = self.own(payment)
        if hold is None:
            return None
        hold.paying, hold.bank = False, None
        hold.refused += refused
        self._paint(hold.positions, "h")
        if hold.refused == MAX_REFUSED_CARDS or hold.deadline_ms <= self.now_ms:
            self.free(payment.hold_id)
            return 0
        return MAX_REFUSED_CARDS - hold.refused

    def _claim_at_bank(self, hold: ModelHold) -> bool:
        waits = hold.bank and (not hold.bank.claimed or hold.lapses_at_ms <= self.now_ms)
        if waits:
            self._take_over(hold)
        return bool(waits)

    def _take_over(self, hold: ModelHold) -> None:
        hold.claim += 1
        hold.lapses_at_ms = self.now_ms + LEASE_MS
        if hold.bank:
            hold.bank.claimed = True

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
