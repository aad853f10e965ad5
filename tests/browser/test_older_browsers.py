"""The whole purchase in browsers that lack what newer ones have, or where something is in the way:
each time one thing is taken away before the page's own scripts run."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.states import choose, pay
from tests.factories import put_on_sale, small_hall

NEWER = {
    "AbortSignal.timeout": "delete AbortSignal.timeout",
    "AbortSignal.any": "delete AbortSignal.any",
    "OffscreenCanvas": "delete window.OffscreenCanvas",
    "roundRect": "delete CanvasRenderingContext2D.prototype.roundRect",
    "reflected ARIA": """for (const name of Object.getOwnPropertyNames(Element.prototype))
        if (/^(aria|role$)/.test(name)) delete Element.prototype[name]""",
    "dialog": """for (const name of ["show", "showModal", "close", "open", "requestClose"])
        delete HTMLDialogElement.prototype[name]""",
    "at": """for (const one of [Array, String, Object.getPrototypeOf(Int8Array)])
        delete one.prototype.at""",
    "findLast and copies": """for (const one of [Array, Object.getPrototypeOf(Int8Array)])
        for (const name of ["findLast", "findLastIndex", "toReversed", "toSorted", "with"])
            delete one.prototype[name]""",
    "grouping": "delete Object.groupBy; delete Map.groupBy; delete Array.fromAsync",
    "Object.hasOwn": "delete Object.hasOwn",
    "structuredClone": "delete window.structuredClone",
    "promises": "delete Promise.withResolvers; delete Promise.try",
    "set methods": """for (const name of ["union", "intersection", "difference",
        "symmetricDifference", "isSubsetOf", "isSupersetOf", "isDisjointFrom"])
        delete Set.prototype[name]""",
    "iterator helpers": """const iterator = Object.getPrototypeOf(Object.getPrototypeOf([].keys()));
        for (const name of ["map", "filter", "take", "drop", "flatMap", "reduce", "toArray",
            "forEach", "some", "every", "find"]) delete iterator[name]""",
    "crypto.randomUUID": "delete Crypto.prototype.randomUUID",
    "requestSubmit": "delete HTMLFormElement.prototype.requestSubmit",
    "checkVisibility": "delete Element.prototype.checkVisibility",
    "URL.canParse and parse": "delete URL.canParse; delete URL.parse",
    "idle callbacks and scheduler": "delete window.requestIdleCallback; delete window.scheduler",
    "navigation": "delete window.navigation; delete Document.prototype.startViewTransition",
    "popover and inert": """delete HTMLElement.prototype.showPopover
        delete HTMLElement.prototype.popover; delete HTMLElement.prototype.inert""",
    "navigation timing": """const entries = performance.getEntriesByType.bind(performance);
        performance.getEntriesByType = (kind) => (kind === "navigation" ? [] : entries(kind))""",
    "trailingZeroDisplay": """const Newer = Intl.NumberFormat;
        Intl.NumberFormat = class extends Newer {
            constructor(locale, { trailingZeroDisplay, ...known } = {}) { super(locale, known); }
        }""",
}
"""What the scripts may not count on: newer than the oldest browsers in docs/pages.md. The map is
there without it."""

BASIC = {
    "no fetch": "delete window.fetch",
    "fetch that is refused at once": "window.fetch = async () => { throw new TypeError('no') }",
    "fetch that throws": "window.fetch = () => { throw new Error('blocked by a filter') }",
    "fetch that never answers": "window.fetch = () => new Promise(() => {})",
    "fetch of somebody else's page": """window.fetch = async () =>
        new Response("<h1>Our hotel</h1>", { headers: { "Content-Type": "text/html" } })""",
    "no AbortController": "delete window.AbortController; delete window.AbortSignal",
    "no ResizeObserver": "delete window.ResizeObserver",
    "no pictures on a canvas": "HTMLCanvasElement.prototype.getContext = () => null",
    "no pointer capture": "delete Element.prototype.setPointerCapture",
    "no FormData": "delete window.FormData",
    "no URLSearchParams": "delete window.URLSearchParams",
    "no storage": """Object.defineProperty(window, "sessionStorage",
        { get() { throw new DOMException("denied", "SecurityError") } })""",
    "no Intl": "delete window.Intl",
    "no matchMedia": "delete window.matchMedia",
    "no performance entries": "delete Performance.prototype.getEntriesByType",
    "no DOMParser": "delete window.DOMParser",
    "no animation frames": "delete window.requestAnimationFrame",
    "no replaceChildren": "delete Element.prototype.replaceChildren",
    "no custom events": "delete window.CustomEvent",
}
"""What every browser that runs the scripts has, unless something is in the way. The map may be
missing then; seats can be bought all the same."""


@pytest.fixture
def open_without(page_at, seats):
    """An event's page where this script ran before all others."""

    def opened(script: str, **options: object) -> Page:
        put_on_sale(seats, event := small_hall())
        page = page_at("about:blank", **options)
        page.add_init_script(f"{{{script}}}")
        page.goto(f"/events/{event.id}")
        return page

    return opened


def hold_from_the_map(page: Page) -> None:
    page.wait_for_selector("[data-ready]")
    page.locator(".cell").focus()
    page.keyboard.press("ArrowRight")
    cell = page.get_by_role("gridcell", name="Stalls, row A, seat 2, £25")
    expect(cell).to_be_focused()
    page.keyboard.press("Space")
    expect(cell).to_have_attribute("aria-selected", "true")
    for view in ("List", "Map"):
        page.get_by_role("button", name=view, exact=True).click()
        expect(page.get_by_role("button", name=view, pressed=True)).to_be_visible()
    page.get_by_role("button", name="Hold 1 seat").click()


def buy(page: Page) -> None:
    page.wait_for_url("**/holds/hld_*")
    expect(page.locator(".seat-list")).to_contain_text("Stalls, row A, seat 2")
    pay(page)
    page.wait_for_url("**/receipts/**")


@pytest.mark.parametrize("missing", NEWER)
def test_seats_are_bought_from_the_map_by_a_browser_without(open_without, missing):
    page = open_without(NEWER[missing])
    hold_from_the_map(page)
    buy(page)


def test_seats_are_bought_from_the_map_by_a_browser_that_has_nothing_newer(open_without):
    page = open_without("".join(f"{{{script}}}\n" for script in NEWER.values()))
    hold_from_the_map(page)
    buy(page)


@pytest.mark.parametrize("missing", BASIC)
def test_seats_are_bought_somehow_whatever_is_in_the_way(open_without, missing):
    page = open_without(BASIC[missing], may_fail=True)
    # Long enough for a map to be drawn, or not.
    page.wait_for_timeout(700)
    if page.locator("[data-seat-map]").is_visible():
        hold_from_the_map(page)
    else:
        choose(page, "stalls-A-2")
        page.get_by_role("button", name="Hold the chosen seats").click()
    buy(page)
