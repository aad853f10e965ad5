"""Events as they are declared: TOML files, read strictly, with errors that name file and field."""

import re
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from web.currencies import CURRENCIES, nearest, problem_with_price
from web.domain import GENERAL_ROW, Event, Row, Section
from web.validation import field_and_problem

MAX_SEATS = 100_000
"""Twice the largest stadium we ship: a map of 100 KB, still one read."""

_Id = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z", max_length=64)]
_Text = Annotated[str, Meta(min_length=1, max_length=200)]
_ROW_ID = re.compile(r"[A-Za-z0-9]{1,8}")
_LETTER_RANGE = re.compile(r"([A-Z])-([A-Z])")
_NUMBER_RANGE = re.compile(r"(\d{1,4})-(\d{1,4})(?:/(\d{1,2}))?")


class BadEventFile(Exception):
    """The message says which file, and which line or field of it, and what is wrong there."""


class _Rows(msgspec.Struct, forbid_unknown_fields=True):
    ids: _Text
    seats: Annotated[str, Meta(min_length=1, max_length=1000)]


class _SectionTable(msgspec.Struct, forbid_unknown_fields=True):
    id: _Id
    name: _Text
    price: Annotated[int, Meta(ge=0)]
    kind: Literal["seated", "general"] = "seated"
    rows: list[_Rows] = []
    capacity: Annotated[int, Meta(ge=1, le=MAX_SEATS)] | None = None


class _EventTable(msgspec.Struct, forbid_unknown_fields=True):
    id: _Id
    name: _Text
    venue: _Text
    currency: str
    sale_opens_at: Annotated[datetime, Meta(tz=True)]
    sections: Annotated[list[_SectionTable], Meta(min_length=1, max_length=1000)]
    hold_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 300
    max_seats_per_hold: Annotated[int, Meta(ge=1, le=50)] = 8
    max_held_per_client: Annotated[int, Meta(ge=1, le=1000)] = 16


def read_event_file(path: Path) -> Event:
    """The event that a file declares; the README describes the format. Raises BadEventFile."""
    try:
        return _event(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise BadEventFile(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadEventFile(f"{path}: not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise BadEventFile(f"{path}: not TOML: {error}") from None
    except _BadField as error:
        raise BadEventFile(f"{path}: {error}") from None


class _BadField(Exception):
    pass


def _event(table: dict) -> Event:
    try:
        declared = msgspec.convert(table, _EventTable)
    except msgspec.ValidationError as error:
        field, problem = field_and_problem(error)
        raise _BadField(f"{field}: {problem}" if field else problem) from None
    if declared.max_held_per_client < declared.max_seats_per_hold:
        raise _BadField("max_held_per_client: must be at least max_seats_per_hold")
    _refuse_what_cannot_be_paid(declared)
    sections = tuple(
        _section(f"sections[{index}]", section) for index, section in enumerate(declared.sections)
    )
    _refuse_duplicates("sections", "section", [section.id for section in sections])
    event = Event(
        id=declared.id,
        name=declared.name,
        venue=declared.venue,
        currency=declared.currency,
        sale_opens_at=declared.sale_opens_at,
        hold_ms=round(declared.hold_seconds * 1000),
        max_seats_per_hold=declared.max_seats_per_hold,
        max_held_per_client=declared.max_held_per_client,
        sections=sections,
    )
    if len(event.seats) > MAX_SEATS:
        raise _BadField(f"sections: {len(event.seats)} seats, at most {MAX_SEATS} are possible")
    return event


def _refuse_what_cannot_be_paid(declared: _EventTable) -> None:
    currency = CURRENCIES.get(declared.currency)
    if currency is None:
        raise _BadField(
            f'currency: no payment can be in "{declared.currency}"; take '
            f"{', '.join(nearest(declared.currency))} or another of docs/currencies.md"
        )
    for index, section in enumerate(declared.sections):
        if problem := problem_with_price(currency, section.price, declared.max_seats_per_hold):
            raise _BadField(f"sections[{index}].price: {problem}")


def _section(field: str, declared: _SectionTable) -> Section:
    if declared.kind == "general":
        if declared.capacity is None or declared.rows:
            raise _BadField(f"{field}: a general section has a capacity and no rows")
        numbers = tuple(str(number) for number in range(1, declared.capacity + 1))
        rows = [Row(GENERAL_ROW, (numbers,))]
    else:
        if declared.capacity is not None or not declared.rows:
            raise _BadField(f"{field}: a seated section has rows and no capacity")
        rows = [
            Row(row_id, _blocks(f"{field}.rows[{index}].seats", group.seats))
            for index, group in enumerate(declared.rows)
            for row_id in _row_ids(f"{field}.rows[{index}].ids", group.ids)
        ]
        _refuse_duplicates(f"{field}.rows", "row", [row.id for row in rows])
    return Section(declared.id, declared.name, declared.kind, declared.price, tuple(rows))


def _row_ids(field: str, text: str) -> Iterator[str]:
    """``"A-H, J, 1-20"``: ids and ranges of letters or numbers."""
    for part in _parts(text):
        if letters := _LETTER_RANGE.fullmatch(part):
            yield from map(chr, _span(field, part, ord(letters[1]), ord(letters[2]), 1))
        elif numbers := _NUMBER_RANGE.fullmatch(part):
            yield from map(str, _numbers(field, part, numbers))
        elif _ROW_ID.fullmatch(part):
            yield part
        else:
            raise _BadField(f'{field}: "{part}" is no row id (letters and digits, at most 8)')


def _blocks(field: str, text: str) -> tuple[tuple[str, ...], ...]:
    """``"1-12, 15-26"``: two blocks; seats of different blocks are not side by side.
    ``"1-13/2"`` is the odd ones, ``"14-1"`` counts down."""
    blocks = []
    for part in _parts(text):
        if numbers := _NUMBER_RANGE.fullmatch(part):
            blocks.append(tuple(map(str, _numbers(field, part, numbers))))
        elif re.fullmatch(r"\d{1,4}", part):
            blocks.append((str(int(part)),))
        else:
            raise _BadField(f'{field}: "{part}" is no seat number and no range such as 1-12')
    _refuse_duplicates(field, "seat", [number for block in blocks for number in block])
    return tuple(blocks)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _numbers(field: str, part: str, match: re.Match) -> range:
    return _span(field, part, int(match[1]), int(match[2]), int(match[3] or 1))


def _span(field: str, part: str, first: int, last: int, step: int) -> range:
    """First to last, both included, up or down."""
    if step < 1 or (last - first) % step:
        raise _BadField(f'{field}: "{part}" does not end where its step leads')
    return range(first, last + 1, step) if first <= last else range(first, last - 1, -step)


def _refuse_duplicates(field: str, what: str, ids: list[str]) -> None:
    seen = set()
    for id_ in ids:
        if id_ in seen:
            raise _BadField(f'{field}: {what} "{id_}" stands here twice')
        seen.add(id_)
