"""Seats that were let in at the doors of an event."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

MAX_GATE_LENGTH = 40


@dataclass(frozen=True)
class Admission:
    """One seat of a booking was let in. ``key_digest`` stands for the gate's idempotency key: all
    that one scan has let in have the same. ``after_refund``: a gate without a connection let it in
    although it had been refunded."""

    seat: str
    admitted_at: datetime
    gate: str
    key_digest: str = field(repr=False)
    after_refund: bool = False


@dataclass(frozen=True)
class Admitted:
    """What one scan has let in. ``name`` is the buyer's."""

    seats: tuple[str, ...]
    name: str
    admitted_at: datetime


@dataclass(frozen=True)
class MinuteOfAdmissions:
    """Seats let in during the minute that begins at ``minute`` (UTC), by section."""

    minute: datetime
    sections: Mapping[str, int]

    @property
    def admitted(self) -> int:
        return sum(self.sections.values())


@dataclass(frozen=True)
class Attendance:
    """``seats`` counts the sold seats, by section; ``minutes`` has only those in which somebody was
    let in, oldest first. A seat counts once, when it was first let in, also if it was refunded
    afterwards."""

    seats: Mapping[str, int]
    minutes: tuple[MinuteOfAdmissions, ...]

    @property
    def sections(self) -> list[str]:
        """Those with a sold seat or an admission."""
        let_in = (section for minute in self.minutes for section in minute.sections)
        return sorted({*self.seats, *let_in})

    def admitted(self, section_id: str) -> int:
        return sum(minute.sections.get(section_id, 0) for minute in self.minutes)
