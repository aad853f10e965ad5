"""No barrier that axe-core knows of (WCAG 2.2 AA), on any page in any state; and what axe cannot
see: the keyboard, the focus, targets, a small screen."""

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.chromium import DESKTOP, NARROW, PHONE
from tests.browser.states import STATES

MIN_TARGET_PX = 24
"""WCAG 2.2, 2.5.8."""

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
RULES = [*WCAG, "best-practice"]
RULES_OF = {"mail": WCAG}
"""A mail is a part of another program's page, which has the landmarks."""
RULES_OF_COLOURS = ["color-contrast", "link-in-text-block"]
"""Those of axe's category ``cat.color`` among them: all that another colour scheme can break."""


def barriers(page: Page, rules: list[str] = RULES) -> list[str]:
    options = {"runOnly": rules, "resultTypes": ["violations"]}
    # Half a megabyte of script, once for each page.
    axe = Axe() if page.evaluate("!window.axe") else Axe(axe_script="null")
    found = axe.run(page, options=options).response["violations"]
    return [f"{one['id']}: {node['html'][:150]}" for one in found for node in one["nodes"]]


@pytest.fixture
def page_in(seats, bookings, shop_with_mails, page_at) -> Callable[[str], Page]:
    """A page in the state of this name."""
    return lambda name: STATES[name].make(seats, bookings, shop_with_mails, page_at)


ALL_ROWS = "theatre-as-list"
"""The page whose rows of seats are all looked at."""

KEEP_SOME_ROWS = """() => document
    .querySelectorAll("fieldset.row:nth-of-type(n+2):not(:has(:checked))")
    .forEach((row) => row.remove())
"""
"""Of each section one, and those with a chosen seat. axe takes most of its time for the others,
which have the same markup."""


@pytest.mark.parametrize("name", STATES)
def test_a_page_has_no_barriers_wide_or_narrow_light_or_dark(page_in, name):
    page = page_in(name)
    if name != ALL_ROWS and not STATES[name].scripts:
        page.evaluate(KEEP_SOME_ROWS)
    for viewport in (DESKTOP, NARROW):
        page.set_viewport_size(viewport)
        # As tall as the page. The bar with the button covers some seats until one scrolls on, and
        # axe would take what still shows of them for their size.
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": viewport["width"], "height": height})
        for colours, rules in (("light", RULES_OF.get(name, RULES)), ("dark", RULES_OF_COLOURS)):
            page.emulate_media(color_scheme=colours, reduced_motion="reduce")
            assert barriers(page, rules) == [], (viewport, colours)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


FOCUSED = """() => {
    const element = document.activeElement, box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    const within = (from, to, end) => (Math.max(from, 0) + Math.min(to, end)) / 2;
    const top = document.elementFromPoint(
        within(box.left, box.right, innerWidth), within(box.top, box.bottom, innerHeight));
    return {
        what: element.outerHTML.slice(0, 120),
        at_end: element === document.body,
        outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
        covered: !(top && (element.contains(top) || top.contains(element))),
    };
}"""
"""Where the focus is, whether one sees that, and whether something lies over what
shows of it: its middle."""


@pytest.mark.parametrize(
    "name", ["theatre-as-list", "declined", "receipt", "organiser-sale", "organiser-booking"]
)
@pytest.mark.parametrize("viewport", [DESKTOP, NARROW], ids=["wide", "narrow"])
def test_the_focus_is_seen_wherever_the_keyboard_takes_it(page_in, name, viewport):
    page = page_in(name)
    page.set_viewport_size(viewport)
    page.evaluate("(top => { top.focus(); top.blur(); })(document.querySelector('.skip'))")
    places = []
    for _ in range(60):
        page.keyboard.press("Tab")
        place = page.evaluate(FOCUSED)
        if place["at_end"]:
            break
        places.append(place)
    assert len(places) > 4
    assert [p["what"] for p in places if p["covered"] or not p["outlined"]] == []


def test_the_whole_way_with_the_keyboard_alone(page_at, event):
    page = page_at(f"/events/{event.id}", scripts=False)

    def tab_to(text: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if text in page.evaluate(
                "(e => e.labels?.[0]?.textContent || e.textContent)(document.activeElement)"
            ):
                return
        raise AssertionError(f"the keyboard does not reach {text}")

    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport(ratio=1)
    page.keyboard.press("Enter")
    tab_to("Row A, seat 2")
    page.keyboard.press("Space")
    tab_to("Hold the chosen seats")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/holds/hld_"))
    tab_to("Name")
    page.keyboard.type("Ada Lovelace")
    tab_to("E-mail")
    page.keyboard.type("ada@example.org")
    tab_to("Visa that is accepted")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Mastercard that is accepted")).to_be_checked()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("You are in")


TARGETS = """() => [...document.querySelectorAll("a, button, input, select, summary")]
    .map(element => element.closest("label") || element)
    .filter(target => target.checkVisibility() && !target.closest("[aria-hidden=true], .skip"))
    // A link within a sentence is as high as its line.
    .filter(target => target.tagName !== "A"
        || target.parentElement.textContent.trim() === target.textContent.trim())
    .map(target => [target.getBoundingClientRect(), target.outerHTML.slice(0, 100)])
    .map(([box, what]) => [box.width, box.height, what])
"""


@pytest.mark.parametrize(
    "name",
    [
        "events",
        "theatre",
        "theatre-as-list",
        "stadium",
        "arena",
        "hold",
        "conflict",
        "receipt",
        "basket",
        "organiser",
        "organiser-bookings",
        "organiser-booking",
        "door-refused",
    ],
)
def test_what_one_touches_is_large_enough(page_in, name):
    page = page_in(name)
    page.set_viewport_size(PHONE)
    targets = page.evaluate(TARGETS)
    assert len(targets) > 2
    small = [target for target in targets if min(target[:2]) < MIN_TARGET_PX]
    assert small == []


LONGEST_MOVE_S = """() => Math.max(...[...document.querySelectorAll("*")]
    .map(element => getComputedStyle(element))
    .flatMap(style => [style.transitionDuration, style.animationDuration])
    .map(parseFloat))
"""


def test_nothing_moves_for_who_does_not_want_it(page_in):
    page = page_in("theatre-as-list")
    assert page.evaluate(LONGEST_MOVE_S) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(LONGEST_MOVE_S) == 0


def test_a_printed_receipt_is_the_ticket_and_nothing_else(page_in):
    page = page_in("receipt")
    page.emulate_media(media="print", color_scheme="dark")
    for hidden in (page.get_by_role("navigation"), page.get_by_role("contentinfo")):
        expect(hidden).to_be_hidden()
    expect(page.get_by_text("Keep the address")).to_be_hidden()
    code = page.get_by_role("img", name="Ticket code", exact=True)
    expect(code).to_be_visible()
    assert code.bounding_box()["width"] > 200
    expect(page.get_by_role("article").get_by_text("Stalls, row D, seat 9")).to_be_visible()
    colours = "(e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor])"
    for text in (page.get_by_role("article"), page.get_by_text("Rosewood Theatre")):
        ink, paper = text.evaluate(colours)
        assert brightness(ink) < 120, "dark ink also when the screen is dark"
        assert "rgba" in paper or brightness(paper) == 255
    pdf = page.pdf(format="A4")
    assert pdf.count(b"/Type /Page\n") == 1


def test_a_refunded_receipt_has_no_code_for_the_door(page_in):
    page = page_in("refunded")
    expect(page.get_by_role("main")).to_contain_text("It is no longer a ticket.")
    expect(page.get_by_text("Show the code at the door")).to_have_count(0)
    expect(page.get_by_role("img")).to_have_count(0)


def brightness(colour: str) -> int:
    return max(int(part) for part in re.findall(r"\d+", colour)[:3])
