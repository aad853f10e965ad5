"""Event definitions in TOML files, read strictly, with errors that name the file and the field."""

import errno
import logging
import os
import re
import tomllib
from collections.abc import Iterable, Sequence
from datetime import datetime
from fnmatch import fnmatch
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from web.adapters.event_file_shape import BadShape, check_shape
from web.adapters.event_file_times import BadTime, moment_of, zone_of
from web.adapters.event_file_words import problem_with
from web.domain.currencies import CURRENCIES, nearest, problem_with_price
from web.domain.events import GENERAL_ROW, Event, EventStatus, Row, Section
from web.domain.validation import check_title

MAX_SEATS = 100_000
"""Twice the largest stadium we ship: a map of 100 KB, still read in one go."""

MAX_FILE_BYTES = 500_000
"""Enough for MAX_SEATS in rows of 25, with a line a row that lists each of its seats. The largest
file that we ship, which uses ranges, has 10,000."""

YEARS = range(2000, 2101)
"""Years in which anything of an event can happen. Others are mistakes, and the last day of the year
9999 cannot be converted to another time zone."""

LINES_OF_DATE = {
    "timezone": 'timezone = "Europe/London"',
    "starts_at": "starts_at = 2026-12-12T19:30:00",
}
"""Examples of the lines that an event needs besides those that it always needed."""

EVENT_FILES = "*.toml"

_State = tuple[tuple[Any, ...], ...]

_Id = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z", max_length=64)]
_Text = Annotated[str, Meta(min_length=1, max_length=200)]
_Currency = Annotated[str, Meta(max_length=60)]
"""Longer than any mistake for which guessing the intended currency is useful."""
_ROW_ID = re.compile(r"[A-Za-z0-9]{1,8}")
_LETTER_RANGE = re.compile(r"([A-Z])-([A-Z])")
_NUMBER_RANGE = re.compile(r"(\d{1,4})-(\d{1,4})(?:/(\d{1,2}))?")


log = logging.getLogger(__name__)


class BadEventFile(Exception):
    """The message says which file, which line or field in it, and what is wrong there."""


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
    currency: _Currency
    timezone: Annotated[str, Meta(max_length=60)]
    starts_at: datetime
    sale_opens_at: datetime
    sections: Annotated[list[_SectionTable], Meta(min_length=1, max_length=1000)]
    hold_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 300
    max_seats_per_hold: Annotated[int, Meta(ge=1, le=50)] = 8
    max_held_per_client: Annotated[int, Meta(ge=1, le=1000)] = 16
    max_held_per_network: Annotated[int, Meta(ge=1, le=MAX_SEATS)] | None = None
    doors_open_at: datetime | None = None
    ends_at: datetime | None = None
    sale_closes_at: datetime | None = None
    status: EventStatus = "scheduled"


class _Times(NamedTuple):
    """The moments of an event, in the venue's time zone."""

    starts_at: datetime
    sale_opens_at: datetime
    sale_closes_at: datetime
    doors_open_at: datetime | None
    ends_at: datetime | None


def read_event_file(path: Path) -> Event:
    """The event that a file declares, as docs/event-files.md describes. Raises BadEventFile."""
    try:
        text = _text_of(path)
        check_shape(text)
        return _event(tomllib.loads(text))
    except OSError as error:
        problem = _problem_of_link(path, error) or error.strerror
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 at byte {error.start}"
    except tomllib.TOMLDecodeError as error:
        problem = f"not TOML: {error}"
    except (BadShape, _BadField) as error:
        problem = str(error)
    raise BadEventFile(printable(f"{path}: {problem}"))


def printable(text: object) -> str:
    """The text in one line for terminals and logs, with unprintable characters escaped."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in str(text)
    )


def _problem_of_link(path: Path, error: OSError) -> str | None:
    """What ``error`` means if the path is a broken link."""
    if error.errno == errno.ELOOP:
        return "a link that leads back to itself"
    # Unlike pathlib's, these never raise.
    if os.path.islink(path) and not os.path.exists(path):  # noqa: PTH110, PTH114
        return "a link to a file that is not there"
    return None


def read_event_files(paths: Iterable[Path]) -> tuple[list[Event], list[str]]:
    """The events that the files declare, and a message for each file that cannot be used. A file
    that is named twice is read once. Two files with the same id are both refused: it is unclear
    which is meant. Hidden files are ignored: editors and archives create them next to the real
    ones."""
    # Path.resolve() raises for a link that leads back to itself.
    files = {os.path.realpath(path): path for path in paths if not is_hidden(path)}
    events: dict[str, list[tuple[Path, Event]]] = {}
    problems = []
    for path in files.values():
        try:
            event = read_event_file(path)
        except BadEventFile as error:
            problems.append(str(error))
        else:
            events.setdefault(event.id, []).append((path, event))
    for event_id, declared in events.items():
        if len(declared) > 1:
            names = " and ".join(printable(path) for path, _ in declared)
            every = "both" if len(declared) == 2 else "all"
            problems.append(f'{names}: {every} declare "{event_id}"; an event has one file')
    return [declared[0][1] for declared in events.values() if len(declared) == 1], problems


def read_event_folder(folder: Path) -> tuple[list[Event], list[str]]:
    """The same as read_event_files, for all event files in ``folder``."""
    names, problems = _names_in(folder)
    events, others = read_event_files(folder / name for name in names)
    return events, problems + others


def is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


class EventFolder:
    """The event files of a folder, read again when one of them has changed. An error in one is
    logged once, when it appears, and does not prevent the other events from being sold."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._seen: _State | None = None
        self._read: _State | None = None
        self._events: list[Event] = []
        self._problems: set[str] = set()

    def events(self) -> list[Event]:
        """The events that are declared now. Changes are read once they are the same in two calls:
        a file may still be being written."""
        found, problem = self._look()
        is_settled, self._seen = self._read is None or found == self._seen, found
        if is_settled and found != self._read:
            self._read = found
            self._events, problems = read_event_files(self._folder / name for name, *_ in found)
            self._log({*problems, *problem})
        return self._events

    def _look(self) -> "tuple[_State, list[str]]":
        """The state of each file, and the reason if the folder cannot be read."""
        names, problems = _names_in(self._folder)
        return tuple((name, *_state_of(self._folder / name)) for name in names), problems

    def _log(self, problems: set[str]) -> None:
        for problem in sorted(problems - self._problems):
            log.error("left out: %s", problem)
        if self._problems and not problems:
            log.info("all event files can be read again")
        self._problems = problems


def _names_in(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the event files, and the reason if the folder cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if fnmatch(e.name, EVENT_FILES)), []
    except OSError as error:
        return [], [f"{printable(folder)}: {error.strerror}; no event is declared"]


def _state_of(path: Path) -> tuple[int, ...]:
    """Differs after each change of the file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _text_of(path: Path) -> str:
    """Raises OSError, UnicodeDecodeError, _BadField. Without the byte-order mark that some editors
    write at the beginning."""
    if path.exists() and not path.is_file():
        raise _BadField("is a folder or a device, not a file")
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise _BadField(f"is larger than {MAX_FILE_BYTES:,} bytes, so it is no event file")
    return content.decode("utf-8-sig")


class _BadField(Exception):
    pass


def _event(table: dict[str, Any]) -> Event:
    _refuse_without_date(table)
    try:
        declared = msgspec.convert(table, _EventTable)
    except msgspec.ValidationError as error:
        raise _BadField(problem_with(error, table)) from None
    times = _times(declared)
    if declared.max_held_per_client < declared.max_seats_per_hold:
        raise _BadField("max_held_per_client: must be at least max_seats_per_hold")
    if (declared.max_held_per_network or MAX_SEATS) < declared.max_held_per_client:
        raise _BadField("max_held_per_network: must be at least max_held_per_client")
    _refuse_what_nobody_sees(declared)
    _refuse_what_cannot_be_paid(declared)
    sections = _sections(declared)
    _refuse_duplicates("sections", "section", [section.id for section in sections])
    return Event(
        id=declared.id,
        name=declared.name,
        venue=declared.venue,
        currency=declared.currency,
        sale_opens_at=times.sale_opens_at,
        hold_ms=round(declared.hold_seconds * 1000),
        max_seats_per_hold=declared.max_seats_per_hold,
        max_held_per_client=declared.max_held_per_client,
        sections=sections,
        max_held_per_network=declared.max_held_per_network,
        timezone=declared.timezone,
        starts_at=times.starts_at,
        doors_open_at=times.doors_open_at,
        ends_at=times.ends_at,
        sale_closes_at=times.sale_closes_at,
        declared_status=None if declared.status == "scheduled" else declared.status,
    )


def _refuse_without_date(table: dict[str, Any]) -> None:
    """Files of earlier releases have neither: they get both at once."""
    if missing := [name for name in LINES_OF_DATE if name not in table]:
        lines = " and ".join(LINES_OF_DATE[name] for name in missing)
        raise _BadField(
            f"{' and '.join(missing)}: missing; add above the first [[sections]], with the values "
            f"of your event, the line{'s' * (len(missing) > 1)} {lines}"
        )


def _times(declared: _EventTable) -> _Times:
    try:
        zone = zone_of(declared.timezone)
    except BadTime as error:
        raise _BadField(f"timezone: {error}") from None

    def moment(field: str, time: datetime) -> datetime:
        if time.year not in YEARS:
            raise _BadField(f"{field}: the year must be {YEARS[0]} to {YEARS[-1]}, not {time.year}")
        try:
            return moment_of(time, zone)
        except BadTime as error:
            raise _BadField(f"{field}: {error}") from None

    def optional(field: str, time: datetime | None) -> datetime | None:
        return moment(field, time) if time else None

    starts_at = moment("starts_at", declared.starts_at)
    closes_at = optional("sale_closes_at", declared.sale_closes_at)
    times = _Times(
        starts_at=starts_at,
        sale_opens_at=moment("sale_opens_at", declared.sale_opens_at),
        sale_closes_at=closes_at or starts_at,
        doors_open_at=optional("doors_open_at", declared.doors_open_at),
        ends_at=optional("ends_at", declared.ends_at),
    )
    _refuse_wrong_order(times, closes_at_start=closes_at is None)
    return times


def _refuse_wrong_order(times: _Times, *, closes_at_start: bool) -> None:
    if times.sale_opens_at >= times.sale_closes_at:
        closes = "starts_at" if closes_at_start else "sale_closes_at"
        raise _BadField(f"sale_opens_at: must be before {closes}, when the sale closes")
    if times.doors_open_at and times.doors_open_at > times.starts_at:
        raise _BadField("doors_open_at: must not be after starts_at")
    if times.ends_at and times.ends_at <= times.starts_at:
        raise _BadField("ends_at: must be after starts_at")
    if times.ends_at and times.sale_closes_at > times.ends_at:
        raise _BadField("sale_closes_at: must not be after ends_at")


def _refuse_what_nobody_sees(declared: _EventTable) -> None:
    titles = {"name": declared.name, "venue": declared.venue}
    titles |= {
        f"sections[{index}].name": section.name for index, section in enumerate(declared.sections)
    }
    for field, title in titles.items():
        try:
            check_title(title)
        except ValueError as error:
            raise _BadField(f"{field}: {error}") from None


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


def _sections(declared: _EventTable) -> tuple[Section, ...]:
    """Counts before it creates any seat: one digit too many may mean a hundred million of them."""
    fields = [(f"sections[{index}]", table) for index, table in enumerate(declared.sections)]
    seats = 0
    for field, table in fields:
        seats += _seat_count(field, table)
        if seats > MAX_SEATS:
            raise _BadField(f"sections: more than {MAX_SEATS} seats, the most that are possible")
    return tuple(_section(field, table) for field, table in fields)


def _seat_count(field: str, declared: _SectionTable) -> int:
    if declared.kind == "general":
        return declared.capacity or 0
    return sum(
        _count(_row_ids(f"{field}.rows[{index}].ids", group.ids))
        * _count(_blocks(f"{field}.rows[{index}].seats", group.seats))
        for index, group in enumerate(declared.rows)
    )


def _count(parts: Iterable[Sequence[object]]) -> int:
    return sum(map(len, parts))


def _section(field: str, declared: _SectionTable) -> Section:
    if declared.kind == "general":
        if declared.capacity is None or declared.rows:
            raise _BadField(f"{field}: a general section has a capacity and no rows")
        numbers = tuple(str(number) for number in range(1, declared.capacity + 1))
        rows = [Row(GENERAL_ROW, (numbers,))]
    else:
        if declared.capacity is not None or not declared.rows:
            raise _BadField(f"{field}: a seated section has rows and no capacity")
        rows = []
        for index, group in enumerate(declared.rows):
            field_of_seats = f"{field}.rows[{index}].seats"
            ranges = _blocks(field_of_seats, group.seats)
            _refuse_duplicates(field_of_seats, "seat", map(str, chain.from_iterable(ranges)))
            blocks = tuple(tuple(map(str, block)) for block in ranges)
            ids = chain.from_iterable(_row_ids(f"{field}.rows[{index}].ids", group.ids))
            rows += [Row(str(row_id), blocks) for row_id in ids]
        _refuse_duplicates(f"{field}.rows", "row", [row.id for row in rows])
    return Section(declared.id, declared.name, declared.kind, declared.price, tuple(rows))


def _row_ids(field: str, text: str) -> list[Sequence[int | str]]:
    """``"A-H, J, 1-20"``: ids and ranges of letters or numbers."""
    ids: list[Sequence[int | str]] = []
    for part in _parts(text):
        if letters := _LETTER_RANGE.fullmatch(part):
            ids.append([chr(c) for c in _span(field, part, ord(letters[1]), ord(letters[2]), 1)])
        elif numbers := _NUMBER_RANGE.fullmatch(part):
            ids.append(_numbers(field, part, numbers))
        elif _ROW_ID.fullmatch(part):
            ids.append([part])
        else:
            raise _BadField(f'{field}: "{part}" is no row id (letters and digits, at most 8)')
    return ids


def _blocks(field: str, text: str) -> list[range]:
    """``"1-12, 15-26"``: two blocks; seats of different blocks are not side by side.
    ``"1-13/2"`` has the odd numbers, ``"14-1"`` counts down."""
    blocks = []
    for part in _parts(text):
        if numbers := _NUMBER_RANGE.fullmatch(part):
            blocks.append(_numbers(field, part, numbers))
        elif re.fullmatch(r"\d{1,4}", part):
            blocks.append(range(int(part), int(part) + 1))
        else:
            raise _BadField(f'{field}: "{part}" is no seat number and no range such as 1-12')
    return blocks


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _numbers(field: str, part: str, match: re.Match[str]) -> range:
    return _span(field, part, int(match[1]), int(match[2]), int(match[3] or 1))


def _span(field: str, part: str, first: int, last: int, step: int) -> range:
    """First to last, both included, up or down."""
    if step < 1:
        raise _BadField(f'{field}: "{part}" has a step of 0; it must be 1 or more, as in 1-13/2')
    if (last - first) % step:
        raise _BadField(f'{field}: "{part}" does not end where its step leads')
    return range(first, last + 1, step) if first <= last else range(first, last - 1, -step)


def _refuse_duplicates(field: str, what: str, ids: Iterable[str]) -> None:
    seen = set()
    for id_ in ids:
        if id_ in seen:
            raise _BadField(f'{field}: {what} "{id_}" is listed twice')
        seen.add(id_)
