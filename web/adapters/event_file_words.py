"""What a field of an event file must be, in an organiser's words and with an example, for when it
is something else: msgspec speaks to programmers."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from web.domain.currencies import CURRENCIES, Currency
from web.domain.validation import did_you_mean, field_and_problem

OF_EVENT = {
    "id": 'lower-case letters, digits and single hyphens, at most 64, as in "rosewood-tempest"',
    "name": 'a text of 1 to 200 characters in quotes, as in "The Tempest"',
    "venue": 'a text of 1 to 200 characters in quotes, as in "Rosewood Theatre"',
    "currency": 'a code of three capitals in quotes, as in "GBP"',
    "timezone": 'the time zone of the venue, as in timezone = "Europe/London"',
    "starts_at": "when the show begins, a date and a time at the venue without quotes, as in "
    "starts_at = 2026-12-12T19:30:00",
    "doors_open_at": "a date and a time at the venue without quotes, as in 2026-12-12T18:45:00",
    "ends_at": "a date and a time at the venue without quotes, as in 2026-12-12T22:00:00",
    "sale_opens_at": "a date and a time at the venue without quotes, as in 2026-10-10T10:00:00",
    "sale_closes_at": "a date and a time at the venue without quotes, as in 2026-12-12T19:00:00",
    "status": '"scheduled", "postponed" or "cancelled"',
    "sections": "1 to 1000 tables, each of which begins with the line [[sections]]",
    "hold_seconds": "a number from 0.1 to 3600, as in 300",
    "max_seats_per_hold": "a whole number from 1 to 50, as in 8",
    "max_held_per_client": "a whole number from 1 to 1000, as in 16",
    "max_held_per_network": "a whole number from 1 to 100000, as in 64",
}

OF_SECTION = {
    "id": 'lower-case letters, digits and single hyphens, at most 64, as in "stalls"',
    "name": 'a text of 1 to 200 characters in quotes, as in "Stalls"',
    "price": "",  # In the currency of the file: _price().
    "kind": '"seated" for rows of seats, or "general" for places without numbers',
    "rows": 'a list of rows, as in [{ ids = "A-F", seats = "1-8, 9-16" }]',
    "capacity": "a whole number from 1 to 100000, as in 250",
}

OF_ROWS = {
    "ids": 'letters or numbers of rows in quotes, as in "A-F, H" or "1-20"',
    "seats": 'numbers of seats in quotes, as in "1-8, 9-16", or "1-13/2" for the odd ones',
}

HAVE_PENCE_OR_CENTS = frozenset("AUD CAD EUR FKP GBP GIP HKD NZD SGD SHP USD ZAR".split())

SHOWN_CHARACTERS = 60
"""Of a value that is wrong."""

_INDEX = re.compile(r"\[(\d+)\]")


def problem_with(error: msgspec.ValidationError, table: Mapping[str, Any]) -> str:
    """``sections[0].price: must be …, not 38.0``, where ``table`` is the whole file."""
    place, problem = field_and_problem(error)
    # A name in quotes may be empty, and have line breaks in it.
    if unknown := re.search(r"unknown field `(.*)`", problem, re.DOTALL):
        return _unknown(place, unknown[1])
    if missing := re.search(r"missing required field `(.+)`", problem):
        place = f"{place}.{missing[1]}" if place else missing[1]
        return f"{place}: is missing; it must be {_must_be(place, table)}"
    *_, name = place.split(".")
    value = _value_at(place, table)
    if isinstance(value, Mapping) and name == "sections":
        return "sections: begins with [[sections]], in two pairs of brackets, not with [sections]"
    if name == "price":
        return f"{place}: must be {_price(table, value)}, not {_shown(value)}"
    return f"{place}: must be {_must_be(place, table)}, not {_shown(value)}"


def _fields_at(place: str) -> dict[str, str]:
    """Of the table that is there."""
    if ".rows" in place:
        return OF_ROWS
    return OF_SECTION if place.startswith("sections[") else OF_EVENT


def _must_be(place: str, table: Mapping[str, Any]) -> str:
    if place.endswith("]"):
        fields = ", ".join(_fields_at(place))
        return f"a table with the fields {fields}"
    parent, _, name = place.rpartition(".")
    return _price(table) if name == "price" else _fields_at(parent)[name]


def _unknown(place: str, name: str) -> str:
    fields = _fields_at(place)
    where = f"{place}: " if place else ""
    if fields is not OF_EVENT and name in OF_EVENT:
        # TOML gives a line to the table above it.
        return f"{where}{name} is a field of the event; it must be above the first [[sections]]"
    if fields is OF_EVENT and name in OF_SECTION:
        return f"{name} is a field of a section; it must be below a line [[sections]]"
    others = did_you_mean(name, fields, most=1) or f"; there are {', '.join(fields)}"
    return f"{where}there is no field {_shown(name)}{others}"


def _price(table: Mapping[str, Any], given: object = None) -> str:
    """With the price that was probably meant, where it was given as money."""
    currency = CURRENCIES.get(str(table.get("currency"))) or CURRENCIES["GBP"]
    if isinstance(given, int) and not isinstance(given, bool) and given < 0:
        return "0 or more; 0 is free of charge"
    smallest = f"a whole number of the smallest unit{_called(currency)}"
    if isinstance(given, float) and given * 10**currency.digits > currency.largest_minor:
        most = currency.largest_minor
        return f"{smallest}, at most {most} for {currency.written(most)}"
    example = _meant(currency, given)
    return f"{smallest}: {example} for {currency.written(example)}"


def _called(currency: Currency) -> str:
    if currency.code in HAVE_PENCE_OR_CENTS:
        return " (pence, cents)"
    return {0: "", 2: " (hundredths)", 3: " (thousandths)"}[currency.digits]


def _meant(currency: Currency, given: object) -> int:
    """A price that can be paid, 38 when nothing can be guessed."""
    money = Decimal(str(given)) if isinstance(given, float) and given > 0 else Decimal(38)
    steps = round(money.scaleb(currency.digits) / currency.step_minor)
    return max(steps * currency.step_minor, currency.min_minor)


def _value_at(place: str, table: Mapping[str, Any]) -> object:
    value: Any = table
    for part in _INDEX.sub(r".\1", place).split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def _shown(value: object) -> str:
    """As the file has it, or nearly; cut short."""
    text = (
        json.dumps(value, default=str, ensure_ascii=False) if not _is_moment(value) else str(value)
    )
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _is_moment(value: object) -> bool:
    return hasattr(value, "isoformat")
