"""What is written in Python and again in JavaScript: both say the same."""

from dataclasses import replace

import pytest
from flask import Flask

from tests.support.factories import FREE, STALLS, put_on_sale, small_hall
from web.domain.currencies import CURRENCIES
from web.domain.events import Row, Section
from web.http.locales import LOCALES, count, duration, money_format, price
from web.pages.seating import pages_of

DURATIONS = {
    0: "no time",
    1: "1 second",
    1000: "1 second",
    1001: "2 seconds",
    59_001: "1 minute",
    60_001: "1 minute 1 second",
    269_001: "4 minutes 30 seconds",
    3_600_000: "1 hour",
    3_661_000: "1 hour 1 minute",
    90_061_000: "1 day 1 hour",
    172_800_001: "2 days 1 second",
}

ROWS_IN_ORDER = ["2", "9", "9A", "10", "A", "A2", "A10", "Z", "Z1", "a", "AA", "AA1", "BOX"]

MODULE = "(name) => import(new URL(name, document.querySelector('script[src*=\"pages.js\"]').src))"
"""Of the site, with the version that the page has."""


@pytest.fixture
def module(page_at):
    return lambda name: page_at().evaluate_handle(MODULE, name)


def test_a_duration_is_written_alike_by_the_server_and_by_the_page(module):
    shown = module("pages.js").evaluate("({ words }, all) => all.map(words)", [*DURATIONS])
    assert shown == [duration(ms) for ms in DURATIONS] == [*DURATIONS.values()]


@pytest.mark.parametrize("tag", LOCALES)
def test_every_currency_is_written_alike_by_the_server_and_on_the_map(module, tag):
    with Flask(__name__).test_request_context(headers={"Accept-Language": tag}):
        by_server = {
            code: [price(minor, code) for minor in amounts_of(currency)]
            for code, currency in CURRENCIES.items()
        }
        formats = {code: money_format(code)._asdict() for code in CURRENCIES}
    amounts = {code: amounts_of(currency) for code, currency in CURRENCIES.items()}
    on_the_map = module("money.js").evaluate(
        """({ priceWriter }, [formats, amounts]) => {
            const written = (code) => amounts[code].map(priceWriter(formats[code]));
            return Object.fromEntries(Object.keys(formats).map((code) => [code, written(code)]));
        }""",
        [formats, amounts],
    )
    assert on_the_map == by_server


@pytest.mark.parametrize("tag", LOCALES)
def test_a_number_is_written_alike_by_the_server_and_on_the_map(module, tag):
    numbers = [0, 7, 999, 1000, 4500, 50_000, 1_234_567]
    with Flask(__name__).test_request_context(headers={"Accept-Language": tag}):
        by_server, group = [count(number) for number in numbers], money_format("GBP").group
    on_the_map = module("money.js").evaluate(
        "({ grouped }, [numbers, group]) => numbers.map((number) => grouped(number, group))",
        [numbers, group],
    )
    assert on_the_map == by_server


def amounts_of(currency) -> list[int]:
    """Whole and not, short and long; also what no payment can be, like 12.345 in the minor unit."""
    return [0, 1, 10, 12_345, 100_000, 1_250_000, 1_250_050, currency.min_minor, currency.max_minor]


@pytest.mark.parametrize(
    ("currency", "price_minor", "shown"),
    [
        ("HUF", 1_250_000, "HUF 12,500"),
        ("COP", 35_000_000, "COP 350,000"),
        ("IDR", 150_000_000, "IDR 1,500,000"),
        ("PKR", 250_050, "PKR 2,500.50"),
        ("ISK", 150_000, "ISK 1,500"),
        ("JPY", 5000, "JP¥5,000"),
        ("KWD", 5120, "KWD 5.120"),
        ("GPB", 2500, "GPB 25"),
    ],
)
def test_a_price_is_the_same_in_the_list_and_on_the_map(
    page_at, seats, currency, price_minor, shown
):
    stalls = replace(STALLS, price_minor=price_minor)
    event = small_hall(currency=currency, sections=(stalls, FREE))
    put_on_sale(seats, event)
    page = page_at(f"/events/{event.id}")
    page.wait_for_selector("[data-ready]")
    page.get_by_role("gridcell").focus()
    on_the_map = page.get_by_role("gridcell").get_attribute("aria-label")
    in_the_list = page.locator("label", has=page.locator("[value=stalls-A-1]")).text_content()
    assert [shown in text.replace("\xa0", " ") for text in (on_the_map, in_the_list)] == [True] * 2


def test_rows_stand_in_the_same_order_in_the_list_and_on_the_map(module):
    hall = module("hall.js")
    for rows in (ROWS_IN_ORDER, ROWS_IN_ORDER[::-1]):
        listed = pages_of(Section("s", "S", "seated", 0, tuple(Row(r, (("1",),)) for r in rows)))
        section = {"id": "s", "name": "S", "price": 0, "kind": "seated"}
        section["rows"] = [{"id": row, "seats": [f"s-{row}-1"]} for row in rows]
        drawn = hall.evaluate(
            "({ layOut }, section) => layOut({ sections: [section] }, 1, '', new Set())"
            ".sections[0].rows.map((row) => row.id)",
            section,
        )
        assert drawn == [row.id for row in listed[0]] == ROWS_IN_ORDER
