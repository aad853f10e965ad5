"""Long words and right-to-left names, on the narrowest screen."""

from dataclasses import replace

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import NARROW, move
from tests.browser.states import ready_to_pay
from tests.support.factories import FLOOR, STALLS, put_on_sale, small_hall
from tests.support.site import ORGANISER_TOKEN

WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 3
LONG = {"name": WORD[:200], "venue": WORD[20:200], "section": WORD[40:200]}
HEBREW = {"name": "!לילה קטן (2)", "venue": "אולם קטן, חיפה!", "section": "יציע."}


@pytest.fixture
def hall(seats):
    def put(name: str, venue: str, section: str):
        sections = (replace(STALLS, name=section), replace(FLOOR, name=section))
        event = small_hall(name=name, venue=venue, sections=sections)
        put_on_sale(seats, event)
        return event

    return put


def assert_no_sideways_scroll(page):
    width = page.evaluate("document.scrollingElement.scrollWidth")
    assert width <= NARROW["width"], (page.url, width)


@pytest.mark.parametrize("names", [LONG, HEBREW], ids=["long", "hebrew"])
@pytest.mark.parametrize("javascript", [True, False])
def test_no_page_scrolls_sideways(page_at, hall, names, javascript):
    event = hall(**names)
    address = f"/events/{event.id}"
    page = page_at(address, viewport=NARROW, javascript=javascript)
    if javascript:
        page.wait_for_selector("[data-ready]")
    assert_no_sideways_scroll(page)
    for other in ("/", f"{address}/sections/stalls"):
        page.goto(other)
        assert_no_sideways_scroll(page)
    page.goto(address)
    ready_to_pay(page)
    assert_no_sideways_scroll(page)
    page.get_by_label("Name").fill(WORD[:200])
    page.get_by_label("E-mail").fill("")
    page.locator(".pay-button").click()
    expect(page.get_by_role("heading", name="Please check the form")).to_be_visible()
    assert_no_sideways_scroll(page)
    move(page)
    page.goto("/basket")
    assert_no_sideways_scroll(page)
    page.get_by_role("link", name="Go on to pay").click()
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill("ada@example.org")
    page.locator(".pay-button").click()
    page.wait_for_url("**/receipts/**")
    assert_no_sideways_scroll(page)
    move(page)
    page.goto("/organiser")
    page.get_by_label("Organiser token").fill(ORGANISER_TOKEN)
    page.get_by_role("button", name="Log in").click()
    for other in ("/organiser", f"/organiser{address}", f"/organiser{address}/bookings"):
        page.goto(other)
        assert_no_sideways_scroll(page)


def test_what_stands_beside_a_hebrew_name_stays_where_it_is(page_at, hall):
    """The full stop of the name is at its left, and the name at the left of the page."""
    page = page_at(f"/events/{hall(**HEBREW).id}")
    name = page.locator("h1 bdi")
    assert name.evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert page.locator("h1").evaluate("e => getComputedStyle(e).direction") == "ltr"
    # "!" comes first in the text: in right-to-left it is the one furthest to the right.
    place = """e => {
        const range = document.createRange();
        range.setStart(e.firstChild, 0);
        range.setEnd(e.firstChild, 1);
        return [range.getBoundingClientRect().right, e.getBoundingClientRect().right];
    }"""
    mark, end = name.evaluate(place)
    assert abs(mark - end) < 2


def test_row_and_seat_beside_a_hebrew_name_stay_where_they_are_on_the_map(page_at, hall):
    page = page_at(f"/events/{hall(**HEBREW).id}")
    page.wait_for_selector("[data-ready]")
    page.locator(".cell").focus()
    page.keyboard.press("Space")
    chosen = page.locator("[data-chosen]")
    isolated = f"\N{FIRST STRONG ISOLATE}{HEBREW['section']}\N{POP DIRECTIONAL ISOLATE}"
    expect(chosen).to_have_text(f"{isolated}, row A, seat 1. £25.")
    page.locator(".seat-map [type=submit]").click()
    page.wait_for_url("**/holds/hld_*")
    expect(page.locator(".seat-list")).to_have_text(f"{isolated}, row A, seat 1")
