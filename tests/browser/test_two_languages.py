"""What is written in Python and again in JavaScript: both say the same."""

import pytest

from web.domain import Row, Section
from web.pages.locales import duration
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
