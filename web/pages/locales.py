"""Money, times and numbers as the reader writes them. The words are English."""

import math
from datetime import datetime, tzinfo
from decimal import Decimal
from functools import lru_cache

from babel import Locale, dates, numbers
from flask import Flask, g, has_request_context, request

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
    return g.locale


def amount(minor: int, currency: str) -> Decimal:
    """In the currency's own unit; a yen has no smaller one."""
    return Decimal(minor).scaleb(-numbers.get_currency_precision(currency))


def money(minor: int, currency: str) -> str:
    """``£90.00``."""
    return numbers.format_currency(amount(minor, currency), currency, locale=locale_of())


def price(minor: int, currency: str) -> str:
    """``£45``, ``£45.50`` or ``free of charge``: short, for it stands at every seat."""
    return _price(minor, currency, locale_tag())


@lru_cache(maxsize=1024)
def _price(minor: int, currency: str, tag: str) -> str:
    if not minor:
        return "free of charge"
    value, locale = amount(minor, currency), LOCALES[tag]
    if value != value.to_integral_value():
        return numbers.format_currency(value, currency, locale=locale)
    pattern = locale.currency_formats["standard"].pattern.replace(".00", "")
    return numbers.format_currency(value, currency, pattern, locale=locale, currency_digits=False)


def count(number: int) -> str:
    """``50,000``."""
    return _count(number, locale_tag())


@lru_cache(maxsize=4096)
def _count(number: int, tag: str) -> str:
    return numbers.format_decimal(number, locale=LOCALES[tag])


def day_and_time(moment: datetime, zone: tzinfo | None = None) -> str:
    """``10 January 2026, 10:00 UTC``, in the zone of the moment when no other is given."""
    there = moment.astimezone(zone or moment.tzinfo)
    day = dates.format_date(there, "long", locale=locale_of())
    return f"{day}, {dates.format_time(there, 'short', locale=locale_of())} {there.tzname()}"


def clock_time(moment: datetime, zone: tzinfo | None = None) -> str:
    """``10:00:00 UTC``."""
    there = moment.astimezone(zone or moment.tzinfo)
    return f"{dates.format_time(there, 'medium', locale=locale_of())} {there.tzname()}"


def duration(ms: int) -> str:
    """``4 minutes 30 seconds``: the two largest units that there are. A part of a second counts as
    a whole one, so that nobody comes too early."""
    seconds = math.ceil(ms / 1000)
    words = []
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        number, seconds = divmod(seconds, size)
        if number:
            words.append(f"{number} {unit}{'s' if number > 1 else ''}")
    return " ".join(words[:2]) or "no time"


def locale_of() -> Locale:
    return LOCALES[locale_tag()]


def register_filters(app: Flask) -> None:
    for filter_ in (money, price, count, day_and_time, clock_time, duration):
        app.add_template_filter(filter_)
    app.add_template_global(locale_tag)
