"""Money, times and numbers as the reader writes them. The words are English."""

import math
import re
import unicodedata
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import NamedTuple

from babel import Locale, dates, numbers
from babel.core import get_global
from flask import Flask, g, has_request_context, request

from web.domain.currencies import currency_of

LOCALES = {
    tag: Locale.parse(tag, sep="-")
    for tag in ("en-GB", "en-US", "en-IE", "de", "es", "fr", "it", "nl", "pl", "pt", "sv", "ja")
}
"""By their tags in Accept-Language. The first is for readers of anything else."""

DEFAULT_TAG = next(iter(LOCALES))


def locale_tag() -> str:
    if not has_request_context():
        return DEFAULT_TAG
    if "locale" not in g:
        g.locale = request.accept_languages.best_match(LOCALES, DEFAULT_TAG)
    tag: str = g.locale
    return tag


def write_for_country_of(zone: tzinfo) -> None:
    """For the rest of this request, which has no reader: a mail. English as it is written in the
    country of the time zone."""
    tag = f"en-{get_global('zone_territories').get(str(zone))}"
    g.locale = tag if tag in LOCALES else DEFAULT_TAG


def money(minor: int, currency: str) -> str:
    """``£90.00``, ``ISK 9,000``."""
    decimals = not currency_of(currency).has_no_fractions
    return _money(minor, currency, locale_tag(), decimals)


def price(minor: int, currency: str) -> str:
    """``£45``, ``£45.50`` or ``free of charge``: short, because every seat shows it."""
    return _money(minor, currency, locale_tag(), decimals=False) if minor else "free of charge"


class MoneyFormat(NamedTuple):
    """The text around the number, its separators, and the decimals of the minor unit."""

    before: str
    after: str
    group: str
    decimal: str
    digits: int


def money_format(currency: str) -> MoneyFormat:
    """For the map, which must show the same as ``price``: browsers differ in symbols and digits."""
    locale = locale_of()
    pattern = numbers.parse_pattern(_pattern(currency, locale, digits=0))
    symbol = numbers.get_currency_symbol(currency, locale)
    before, after = (part[0].replace("¤", symbol) for part in (pattern.prefix, pattern.suffix))
    group, decimal = numbers.get_group_symbol(locale), numbers.get_decimal_symbol(locale)
    return MoneyFormat(before, after, group, decimal, currency_of(currency).digits)


@lru_cache(maxsize=1024)
def _money(minor: int, code: str, tag: str, decimals: bool) -> str:
    """Even without ``decimals`` they are shown unless they are all zero."""
    currency, locale = currency_of(code), LOCALES[tag]
    digits = currency.digits if decimals or minor % 10**currency.digits else 0
    return numbers.format_currency(
        currency.amount(minor),
        code,
        _pattern(code, locale, digits),
        locale=locale,
        currency_digits=False,
    )


def _pattern(code: str, locale: Locale, digits: int) -> str:
    """The locale's pattern, with ``digits`` decimals."""
    pattern: str = locale.currency_formats["standard"].pattern
    # CLDR's spacing rule, which babel does not implement: a letter does not touch a digit.
    if unicodedata.category(numbers.get_currency_symbol(code, locale)[-1])[0] not in "SZ":
        pattern = pattern.replace("¤#", "¤\N{NO-BREAK SPACE}#")
    return pattern.replace(".00", "." + "0" * digits if digits else "")


def count(number: int) -> str:
    """``50,000``."""
    return _count(number, locale_tag())


@lru_cache(maxsize=4096)
def _count(number: int, tag: str) -> str:
    return numbers.format_decimal(number, locale=LOCALES[tag])


def day_and_time(moment: datetime, zone: tzinfo | None = None) -> str:
    """``10 January 2026, 10:00 UTC``, in the moment's own zone unless another is given."""
    there = moment.astimezone(zone or moment.tzinfo)
    day = dates.format_date(there, "long", locale=locale_of())
    return f"{day}, {dates.format_time(there, 'short', locale=locale_of())} {there.tzname()}"


def day_and_clock(moment: datetime, zone: tzinfo) -> str:
    """``29 Nov 2026, 10:00:00 GMT``."""
    there = moment.astimezone(zone)
    day = dates.format_date(there, "medium", locale=locale_of())
    return f"{day}, {clock_time(there)}"


def show_time(moment: datetime, zone: tzinfo) -> str:
    """``Friday, 12 December 2036, 19:30 GMT``: when a show begins."""
    there = moment.astimezone(zone)
    day = dates.format_date(there, "full", locale=locale_of())
    return f"{day}, {_hour(there)} {there.tzname()}"


def hour(moment: datetime, zone: tzinfo) -> str:
    """``18:45``."""
    return _hour(moment.astimezone(zone))


def _hour(there: datetime) -> str:
    text: str = dates.format_time(there, "short", locale=locale_of())
    return text


def clock_time(moment: datetime, zone: tzinfo | None = None) -> str:
    """``10:00:00 UTC``."""
    there = moment.astimezone(zone or moment.tzinfo)
    return f"{dates.format_time(there, 'medium', locale=locale_of())} {there.tzname()}"


def duration(ms: int) -> str:
    """``4 minutes 30 seconds``: its two largest units. Rounded up to whole seconds, so that nobody
    comes back too early."""
    seconds = math.ceil(ms / 1000)
    words = []
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        number, seconds = divmod(seconds, size)
        if number:
            words.append(f"{number} {unit}{'s' if number > 1 else ''}")
    return " ".join(words[:2]) or "no time"


def isolated(text: str) -> str:
    """Does what <bdi> does, for places without markup such as a page's title: right-to-left text
    does not reorder what is next to it. Other text is returned unchanged."""
    is_right_to_left = any(
        unicodedata.bidirectional(character) in ("R", "AL") for character in text
    )
    return (
        f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}" if is_right_to_left else text
    )


_SEAT_NAME = re.compile(r"(.*)(, (?:row [^,]*, seat|place) [^,]*)", re.DOTALL)


def isolated_seat(name: str) -> str:
    """``Stalls, row A, seat 6`` with the section's name isolated: row and seat are English."""
    parts = _SEAT_NAME.fullmatch(name)
    return isolated(parts[1]) + parts[2] if parts else isolated(name)


def locale_of() -> Locale:
    return LOCALES[locale_tag()]


def register_filters(app: Flask) -> None:
    for filter_ in (
        money,
        price,
        count,
        isolated,
        isolated_seat,
        day_and_time,
        day_and_clock,
        show_time,
        hour,
        clock_time,
        duration,
    ):
        app.add_template_filter(filter_)
    app.add_template_global(locale_tag)
    app.add_template_global(money_format)
