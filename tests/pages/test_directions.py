"""Names in a right-to-left script keep to themselves: what stands beside them stays where it is."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.pages.browser import Element, Page
from tests.support.factories import FLOOR, STALLS, put_on_sale, small_hall
from tests.support.site import ORGANISER_TOKEN

NAME = "!לילה קטן (2)"
VENUE = "אולם קטן, חיפה!"
SECTION = "יציע."
OURS = (NAME, VENUE, SECTION)
ISOLATED = "\N{FIRST STRONG ISOLATE}{}\N{POP DIRECTIONAL ISOLATE}"


@pytest.fixture
def pages(ada, seats) -> list[Page]:
    """Each kind of page, with an event whose names are Hebrew."""
    sections = (replace(STALLS, name=SECTION), replace(FLOOR, name=SECTION))
    event = small_hall(name=NAME, venue=VENUE, sections=sections, hold_ms=20_000)
    put_on_sale(seats, event)
    address = f"/events/{event.id}"
    open_page = ada.get(address)
    held = open_page.press("Hold the chosen", seats=["stalls-A-1", "stalls-A-3"])
    taken = open_page.press("Hold the chosen", seats=["stalls-A-1", "stalls-B-1"])
    other = open_page.press("Hold the best", section="stalls", quantity="1")
    basket, receipt = ada.get("/basket"), other.press("Pay", name="Ada", email="ada@example.org")
    organiser = ada.get("/organiser").press("Log in", token=ORGANISER_TOKEN)
    sale = ada.get(f"/organiser{address}")
    bookings = ada.get(f"/organiser{address}/bookings")
    booking = bookings.link("Ada")
    listed, section = ada.get("/"), ada.get(f"{address}/sections/stalls")
    of_buyers = [listed, open_page, section, held, taken, basket, receipt]
    return [*of_buyers, organiser, sale, bookings, booking]


def texts(element: Element, around: tuple[Element, ...] = ()) -> Iterator[tuple[str, tuple]]:
    """Each piece of text, and the elements that it is in."""
    for child in element.children:
        if isinstance(child, str):
            yield child, (*around, element)
        else:
            yield from texts(child, (*around, element))


def keeps_to_itself(text: str, around: tuple[Element, ...]) -> bool:
    if all(name not in text.replace(ISOLATED.format(name), "") for name in OURS):
        return True
    if ", row " in text or around[-1].tag in ("title", "option"):  # no markup is possible there
        return False
    return any(e.tag == "bdi" or e["dir"] == "auto" for e in around)


def test_every_name_keeps_to_itself(pages):
    found = 0
    for page in pages:
        for text, around in texts(page.root):
            if any(name in text for name in OURS):
                found += 1
                assert keeps_to_itself(text, around), (page.address, around[-1].tag, text)
    assert found > 30


def test_a_buyer_s_name_is_typed_in_its_own_direction(pages):
    name = next(p for p in pages if "/holds/" in p.address).root.one("input", name="name")
    assert name["dir"] == "auto"


def test_other_names_are_left_alone(ada, address):
    assert "\N{FIRST STRONG ISOLATE}" not in ada.get(address).answer.text
