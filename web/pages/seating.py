"""An event's seats as a page shows them: sections, rows, blocks, and what can be chosen."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from web.domain.events import Availability, Event, Row, SeatState, Section
from web.http.locales import isolated

MAX_SEATS_ON_PAGE = 600
"""The most check boxes that readers, screen readers and phones can cope with. A larger event shows
its sections first, a larger section its rows in parts."""

WORDS = {
    SeatState.FREE: "available",
    SeatState.HELD: "on hold",
    SeatState.PAYING: "on hold",
    SeatState.SOLD: "sold",
}
"""``on hold`` may come back; pages do not show which seats are being paid for."""


class SeatView(NamedTuple):
    id: str
    number: str
    word: str


class RowView(NamedTuple):
    id: str
    blocks: list[list[SeatView]]


class SectionView(NamedTuple):
    """``seats`` counts all of the section; ``rows`` are those that the page shows."""

    section: Section
    seats: Availability
    rows: list[RowView]


def fits_a_page(event: Event) -> bool:
    """Whether all numbered seats fit on one page."""
    seated = (s for s in event.sections if s.kind == "seated")
    return sum(event.spans[section.id].length for section in seated) <= MAX_SEATS_ON_PAGE


def sections_of(event: Event, seat_states: str, *, with_rows: bool) -> list[SectionView]:
    return [
        section_of(event, section, seat_states, section.rows if with_rows else ())
        for section in event.sections
    ]


def section_of(
    event: Event, section: Section, seat_states: str, shown: Sequence[Row]
) -> SectionView:
    span = event.spans[section.id]
    part = seat_states[span.start : span.start + span.length]
    ids = {row.id for row in shown} if section.kind == "seated" else ()
    # Skipped for a stadium, whose sections have pages of their own.
    starts = _starts(section) if ids else ()
    rows = [_row(section, row, start, part) for row, start in starts if row.id in ids]
    rows.sort(key=lambda row: _natural(row.id))
    return SectionView(section, Availability.of(part), rows)


@lru_cache(maxsize=64)  # by identity: a definition that is opened again is another object
def aisles_of(event: Event) -> tuple[int, ...]:
    """Positions, in layout order, of the seats that have an aisle or a pillar before them."""
    aisles, position = [], 0
    for section in event.sections:
        for row in section.rows:
            for number, block in enumerate(row.blocks):
                if number:
                    aisles.append(position)
                position += len(block)
    return tuple(aisles)


def pages_of(section: Section) -> list[list[Row]]:
    """The rows of a section in parts of some hundred seats, in natural order: A before B, 9 before
    10."""
    pages: list[list[Row]] = [[]]
    room = MAX_SEATS_ON_PAGE
    for row in sorted(section.rows, key=lambda row: _natural(row.id)):
        length = _length(row)
        if length > room and pages[-1]:
            pages.append([])
            room = MAX_SEATS_ON_PAGE
        pages[-1].append(row)
        room -= length
    return pages


def runs_of(event: Event, seats: Sequence[str]) -> list[str]:
    """These seats as runs of seats side by side, for people: ``Stalls, row A, seats 1, 2``. A run
    has no aisle, pillar or other buyer's seat inside. General admission is left out."""
    runs: list[list[int]] = []
    for position in sorted(event.positions[seat] for seat in seats if _has_number(event, seat)):
        begins_block = position in event.block_starts
        if runs and runs[-1][-1] == position - 1 and not begins_block:
            runs[-1].append(position)
        else:
            runs.append([position])
    return [_run_name(event, event.seats_at(run)) for run in runs]


def _has_number(event: Event, seat: str) -> bool:
    return event.section_of[seat.rsplit("-", 2)[0]].kind == "seated"


def _run_name(event: Event, seats: Sequence[str]) -> str:
    section_id, row_id, _ = seats[0].rsplit("-", 2)
    numbers = ", ".join(seat.rpartition("-")[2] for seat in seats)
    name = isolated(event.section_of[section_id].name)
    return f"{name}, row {row_id}, {'seat' if len(seats) == 1 else 'seats'} {numbers}"


def row_anchor(seat: str) -> str:
    """The id that the seat's row has on its page."""
    return f"row-{seat.rpartition('-')[0]}"


def _row(section: Section, row: Row, start: int, part: str) -> RowView:
    blocks, position = [], start
    for block in row.blocks:
        blocks.append(
            [
                SeatView(f"{section.id}-{row.id}-{number}", number, WORDS[SeatState(state)])
                for number, state in zip(block, part[position : position + len(block)], strict=True)
            ]
        )
        position += len(block)
    return RowView(row.id, blocks)


def _starts(section: Section) -> Iterator[tuple[Row, int]]:
    start = 0
    for row in section.rows:
        yield row, start
        start += _length(row)


def _length(row: Row) -> int:
    return sum(len(block) for block in row.blocks)


def _natural(row_id: str) -> list[tuple[bool, int, str]]:
    """Numbers by size, then letters by the alphabet; ``AA`` after ``Z``."""
    parts = re.findall(r"\d+|\D+", row_id)
    return [(False, int(p), "") if p.isdigit() else (True, len(p), p) for p in parts]
