"""What a person with a screen reader, a keyboard, a small telephone or a thin line needs. What only
a browser can tell is in the browser suite."""

import gzip
import re

import pytest
import requests

from ops.servers import REPOSITORY
from tests.pages.browser import TIMEOUT_S
from tests.pages.conftest import BUYER, every_page
from tests.support.factories import STALLS, numbers
from web.domain.events import Row, Section
from web.pages.seating import MAX_SEATS_ON_PAGE

STYLES = (REPOSITORY / "web/static/style.css").read_text()

FIRST_VIEW_BYTES = 60_000
"""Compressed: two seconds on a slow telephone."""

SCRIPTS_BYTES = 64_000
"""As they are: there is no build step, so this is also what there is to read."""

OF_THE_DOOR = {
    "camera.js",
    "door.js",
    "door_memory.js",
    "ed25519.js",
    "qr_decode.js",
    "ticket.js",
}
"""Of the page for gates: people who work there load it once in an evening."""


def test_every_page_has_landmarks_headings_and_a_way_past_the_head(ada, address, held):
    for page in every_page(ada, address, held):
        root = page.root
        assert root.one("html")["lang"] == "en"
        assert root.one("head").one("title").text.endswith("TicketS")
        assert root.all("a")[0]["href"] == "#main" and root.one("main")["id"] == "main"
        assert root.one("nav")["aria-label"]
        levels = [int(heading.tag[1]) for heading in root.all("h1", "h2", "h3")]
        assert levels.count(1) == 1
        for before, after in zip([1, *levels], levels, strict=False):
            assert after <= before + 1, f"{page.address} skips a level: {levels}"


def test_every_id_is_there_once_and_every_reference_leads_to_one(ada, address, held):
    for page in every_page(ada, address, held):
        ids = [element["id"] for element in page.root.all() if element["id"]]
        assert len(ids) == len(set(ids)), page.address
        for element in page.root.all():
            for name in ("for", "aria-describedby", "aria-labelledby"):
                assert set(element[name].split()) <= set(ids), page.address


def test_every_field_has_a_label(ada, address, held):
    for page in every_page(ada, address, held):
        labels = page.root.all("label")
        labelled = {label["for"] for label in labels}
        within = [field for label in labels for field in label.all("input", "select")]
        for form in page.root.all("form"):
            for field in form.all("input", "select"):
                if field["type"] != "hidden":
                    assert field["id"] in labelled or any(field is one for one in within)


def test_fields_about_the_buyer_can_be_filled_in_by_the_browser(held):
    fields = {field["name"]: field["autocomplete"] for field in held.root.all("input")}
    assert (fields["name"], fields["email"]) == ("name", "email")


def test_seats_stand_in_rows_in_the_order_of_the_hall_with_a_full_label(ada, address):
    page = ada.get(address)
    rows = page.root.all("fieldset", class_="row")
    assert [row.one("legend").text for row in rows] == ["Row A", "Row B", "Row C", "Row F"]
    labels = [label.text for label in rows[2].all("label")]
    assert labels == [f"Row C, seat {number}, £25, available" for number in (1, 2, 3, 5)]
    assert len(rows[2].all("div", class_="block")) == 2, "the gap after seat 3 shows"


def test_a_seat_that_cannot_be_had_says_so_and_cannot_be_chosen(ada, eve, address):
    ada.get(address).press("Hold the chosen", seats="stalls-A-1")
    ada.get(address).press("Hold the chosen", seats="stalls-A-2").press("Pay", **BUYER)
    boxes = eve.get(address).seat_boxes()
    for label in ("Row A, seat 1, £25, on hold", "Row A, seat 2, £25, sold"):
        assert "disabled" in boxes[label]


def test_the_map_of_the_theatre_is_light(stack):
    address = stack.url + "/events/rosewood-winters-tale"
    page = requests.get(address, headers={"Accept": "text/html"}, timeout=TIMEOUT_S)
    assert page.headers["Content-Encoding"] == "gzip"
    linked = re.findall(r'<link [^>]*href="(/static/[^"]+)"', page.text)
    linked += re.findall(r'<script [^>]*src="([^"]+)"', page.text)
    assert len([path for path in linked if ".js" in path]) == 7
    parts = [page, *(requests.get(stack.url + path, timeout=TIMEOUT_S) for path in linked)]
    assert sum(len(gzip.compress(part.content)) for part in parts) < FIRST_VIEW_BYTES


def test_the_scripts_are_small():
    scripts = {path.name: path for path in (REPOSITORY / "web/static").glob("*.js")}
    of_buyers = scripts.keys() - OF_THE_DOOR
    assert len(of_buyers) > 4
    assert sum(scripts[name].stat().st_size for name in of_buyers) < SCRIPTS_BYTES


@pytest.mark.parametrize("path", ["meridian-stadium-final", "meridian-stadium-final/sections/310"])
def test_a_stadium_of_fifty_thousand_seats_comes_in_parts(ada, path):
    page = ada.get(f"/events/{path}")
    assert len(page.root.all("input", type="checkbox")) <= MAX_SEATS_ON_PAGE + 4
    assert len(gzip.compress(page.answer.content)) < 15_000
    if path.endswith("final"):
        assert page.link("Upper 310").title == "Upper 310"


def test_a_section_of_more_seats_than_fit_a_page_has_several(ada, hall_with):
    rows = tuple(Row(str(number), (numbers(1, 50),)) for number in range(1, 31))
    address = hall_with(sections=(STALLS, Section("tier", "Tier", "seated", 100, rows)))
    first = ada.get(f"{address}/sections/tier")
    assert first.seat_boxes().keys() >= {"Row 1, seat 1, £1, available"}
    assert not any(label.startswith("Row 13,") for label in first.seat_boxes())
    second = first.link("Rows 13 to 24")
    assert "Row 13, seat 1, £1, available" in second.seat_boxes()
    held = second.press("Hold the chosen", seats=["tier-13-1"])
    assert "Tier, row 13, seat 1" in held.text
    refused = second.press("Hold the chosen", seats=[])
    assert (refused.status, "Row 13, seat 2, £1, available" in refused.seat_boxes()) == (422, True)
    for number in ("0", "99", "x", "-1"):
        assert ada.get(f"{address}/sections/tier?page={number}").status == 200


# ---------------------------------------------------------------- the style sheet


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance of ``#rgb`` or ``#rrggbb``."""
    digits = colour.lstrip("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    parts = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block))


LIGHT = colours(STYLES.partition(":root {")[2].partition("}")[0])
DARK = LIGHT | colours(STYLES.partition("prefers-color-scheme: dark")[2].partition("}")[0])


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read_and_edges_be_seen(scheme):
    text = [
        *((ink, ground) for ink in ("ink", "quiet", "accent") for ground in ("paper", "surface")),
        ("accent-strong", "paper"),
        ("on-accent", "accent"),
        ("on-accent", "accent-strong"),
        ("bad", "bad-wash"),
        ("ink", "bad-wash"),
        ("ink", "good-wash"),
        ("accent", "good-wash"),
        ("bad", "paper"),
    ]
    edges = [(edge, ground) for edge in ("edge", "accent") for ground in ("paper", "surface")]
    for least, pairs in ((4.5, text), (3.0, edges)):
        for one, other in pairs:
            assert contrast(scheme[one], scheme[other]) >= least, f"{one} on {other}"
    # What is sold has nothing to do: it may be pale (WCAG 1.4.3, inactive components). We ask 3:1.
    assert contrast(scheme["on-sold"], scheme["sold"]) >= 3


def test_what_is_touched_is_at_least_24_pixels():
    sizes = re.findall(r"\.seat \{[^}]*inline-size: ([\d.]+)rem", STYLES)
    assert len(sizes) == 2 and all(float(size) * 16 >= 24 for size in sizes)


def test_motion_is_only_for_those_who_want_it():
    outside = re.sub(
        r"@media \(prefers-reduced-motion: no-preference\) \{.*?\n\}", "", STYLES, flags=re.DOTALL
    )
    assert not re.search(r"transition|animation", outside)
