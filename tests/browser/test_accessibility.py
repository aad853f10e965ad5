"""No barrier that axe-core knows of (WCAG 2.2 AA), on any page in any state; and what axe cannot
see: the keyboard, the focus, targets, a small screen."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.chromium import DESKTOP, NARROW
from tests.browser.states import STATES, Scene

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def barriers(page) -> list[str]:
    options = {"runOnly": RULES, "resultTypes": ["violations"]}
    found = Axe().run(page, options=options).response["violations"]
    return [f"{one['id']}: {node['html'][:150]}" for one in found for node in one["nodes"]]


@pytest.fixture
def scene(stack, seats, bookings, page_at) -> Scene:
    return Scene(stack, seats, bookings, page_at)


@pytest.mark.parametrize("name", STATES)
def test_a_page_has_no_barriers_wide_or_narrow_light_or_dark(scene, name):
    page = STATES[name].make(scene)
    for viewport in (DESKTOP, NARROW):
        page.set_viewport_size(viewport)
        # As tall as the page. The bar with the button covers some seats until one scrolls on, and
        # axe would take what still shows of them for their size.
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": viewport["width"], "height": height})
        for colours in ("light", "dark"):
            page.emulate_media(color_scheme=colours, reduced_motion="reduce")
            assert barriers(page) == [], (viewport, colours)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
