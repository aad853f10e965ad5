"""Money and times as the reader writes them, and the names of seats."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.pages.browser import Browser
from tests.support.factories import SMALL_HALL, STALLS
from web.domain.events import Row
from web.http.locales import clock_time, day_and_time, duration, money, price
from web.pages.seating import pages_of, row_anchor


@pytest.mark.parametrize(
    ("language", "shown"),
    [
        ("en-GB", "£25"),
        ("de-AT,de;q=0.9,en;q=0.1", "25 £"),
        ("fr", "25 £GB"),
        ("en-US", "£25"),
        ("tlh", "£25"),
    ],
)
def test_a_price_is_written_as_its_reader_does(stack, address, language, shown):
    page = Browser(stack.url, language).get(address)
    label = next(iter(page.seat_boxes()))
    assert label.replace("\u202f", " ") == f"Row A, seat 1, {shown}, available"
    assert page.root.one("html")["lang"] == "en"


@pytest.mark.parametrize(
    ("minor", "currency", "short", "full"),
    [
        (4500, "GBP", "£45", "£45.00"),
        (4550, "GBP", "£45.50", "£45.50"),
        (450000, "EUR", "€4,500", "€4,500.00"),
        (5000, "JPY", "JP¥5,000", "JP¥5,000"),
        (12340, "BHD", "BHD 12.340", "BHD 12.340"),
        (12000, "BHD", "BHD 12", "BHD 12.000"),
        (1_250_000, "HUF", "HUF 12,500", "HUF 12,500.00"),
        (150_000, "ISK", "ISK 1,500", "ISK 1,500"),
        (150_050, "ISK", "ISK 1,500.50", "ISK 1,500.50"),
        (5_000_000, "UGX", "UGX 50,000", "UGX 50,000"),
        (4500, "MGA", "MGA 4,500", "MGA 4,500"),
        (1_234_500, "RSD", "RSD 12,345", "RSD 12,345.00"),
        (250_050, "GPB", "GPB 2,500.50", "GPB 2,500.50"),
        (0, "USD", "free of charge", "US$0.00"),
    ],
)
def test_amounts_follow_the_currency(minor, currency, short, full):
    shown = (price(minor, currency), money(minor, currency))
    assert tuple(text.replace("\xa0", " ") for text in shown) == (short, full)


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (270_000, "4 minutes 30 seconds"),
        (269_001, "4 minutes 30 seconds"),
        (60_000, "1 minute"),
        (1, "1 second"),
        (0, "no time"),
        (90_061_000, "1 day 1 hour"),
    ],
)
def test_a_duration_has_its_two_largest_units_and_is_never_too_short(ms, words):
    assert duration(ms) == words


def test_times_are_those_of_the_venue_and_name_their_zone():
    moment = datetime(2026, 3, 2, 9, 0, 5, tzinfo=UTC)
    assert day_and_time(moment) == "2 March 2026, 09:00 UTC"
    assert clock_time(moment, timezone(timedelta(hours=1))) == "10:00:05 UTC+01:00"


def test_seats_are_named_for_people():
    assert SMALL_HALL.seat_name("stalls-C-5") == "Stalls, row C, seat 5"
    assert SMALL_HALL.seat_name("floor-GA-3") == "Floor, place 3"
    assert row_anchor("stalls-C-5") == "row-stalls-C"


def test_rows_stand_as_in_the_hall_whatever_is_best():
    rows = tuple(Row(row, (("1",),)) for row in ("C", "10", "AA", "A", "9"))
    (page,) = pages_of(replace(STALLS, rows=rows))
    assert [row.id for row in page] == ["9", "10", "A", "C", "AA"]
