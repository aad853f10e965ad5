"""The whole purchase in browsers that lack what newer ones have, or where something is in the way:
each time one thing is taken away before the page's own scripts run."""

import re
from contextlib import suppress

import pytest
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as TookTooLong

from tests.browser.states import choose, pay
from tests.support.factories import put_on_sale, small_hall

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

TIME_FOR_A_MAP_MS = 700
"""After which there is none."""


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


def hold_from_the_list(page: Page) -> None:
    choose(page, "stalls-A-2")
    page.get_by_role("button", name="Hold the chosen seats").click()


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
    with suppress(TookTooLong):
        page.wait_for_selector("[data-ready]", timeout=TIME_FOR_A_MAP_MS)
    if page.locator("[data-seat-map]").is_visible():
        hold_from_the_map(page)
    else:
        hold_from_the_list(page)
    buy(page)


def test_places_without_numbers_are_held_by_a_browser_without_dialogs(open_without):
    page = open_without(
        NEWER["dialog"]
        + """
        // As for any element that a browser does not know.
        const sheet = new CSSStyleSheet();
        sheet.replaceSync("dialog { display: inline; position: static; }");
        document.adoptedStyleSheets = [sheet];
        """
    )
    page.wait_for_selector("[data-ready]")
    dialog = page.locator("dialog")
    expect(dialog).to_be_hidden()
    page.locator(".cell").focus()
    page.keyboard.press("PageDown")
    page.get_by_role("gridcell", name="Floor").press("Enter")
    expect(dialog.get_by_label("How many")).to_be_focused()
    dialog.get_by_role("button", name="Not now").click()
    expect(dialog).to_be_hidden()
    page.get_by_role("gridcell", name="Floor").press("Enter")
    dialog.get_by_label("How many").select_option("3")
    dialog.get_by_role("button", name="Hold the places").click()
    page.wait_for_url("**/holds/hld_*")
    expect(page.locator(".seat-list li")).to_have_count(3)


PIXELS_THAT_ARE_NOT_EMPTY = """(canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, at) => at % 4 === 0 && value !== data[0]).length / (data.length / 4);
}"""


def test_a_stadium_is_drawn_by_a_browser_without_offscreen_canvas(page_at):
    page = page_at("about:blank")
    page.add_init_script(NEWER["OffscreenCanvas"])
    page.goto("/events/meridian-stadium-final")
    page.wait_for_selector("[data-ready]")
    assert page.locator("canvas").evaluate(PIXELS_THAT_ARE_NOT_EMPTY) > 0.2


REFUSALS = {
    "too many requests": {"status": 429, "headers": {"Retry-After": "1"}, "body": "too fast"},
    "away": {"status": 502, "body": "<h1>Bad gateway</h1>", "content_type": "text/html"},
    "somebody else's page": {"status": 200, "body": "<h1>Log in</h1>"},
    "no connection": None,
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_the_map_comes_by_itself_after_its_first_questions_were_refused(page_at, seats, refusal):
    put_on_sale(seats, event := small_hall())
    page = page_at("about:blank")
    refused = []

    def refuse(route):
        refused.append(route.request.url)
        if REFUSALS[refusal]:
            route.fulfill(**REFUSALS[refusal])
        else:
            route.abort()

    page.route("**/api/**", refuse)
    page.goto(f"/events/{event.id}")
    choose(page, "stalls-A-2")
    while not refused:
        page.wait_for_timeout(50)
    expect(page.get_by_role("button", name="Hold the chosen seats")).to_be_visible()
    page.unroute("**/api/**")
    page.locator("h1").click()
    page.wait_for_selector("[data-ready]")
    # What was chosen in the list meanwhile is chosen in the map.
    page.get_by_role("button", name="Hold 1 seat").click()
    buy(page)


def test_who_chooses_in_the_list_is_not_taken_away_from_it_by_a_late_map(page_at, seats):
    put_on_sale(seats, event := small_hall())
    page = page_at("about:blank")
    page.route("**/api/**", lambda route: route.fulfill(status=429), times=1)
    page.goto(f"/events/{event.id}")
    box = page.locator('input[value="stalls-A-2"]')
    box.focus()
    page.wait_for_selector("[data-ready]", state="attached")
    expect(box).to_be_focused()
    expect(page.get_by_role("button", name="List", pressed=True)).to_be_visible()
    hold_from_the_list(page)
    buy(page)


FAILURES = {
    "drawing": "CanvasRenderingContext2D.prototype.fillText = () => { throw new Error('broken') }",
    "painting a seat": "CanvasRenderingContext2D.prototype.fillRect = null",
    "marking": "Element.prototype.setAttribute = () => { throw new Error('broken') }",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_when_the_map_fails_in_use_the_list_is_there_with_what_was_chosen(page_at, seats, failure):
    put_on_sale(seats, event := small_hall())
    page = page_at(f"/events/{event.id}", may_fail=True)
    page.wait_for_selector("[data-ready]")
    page.locator(".cell").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Hold 1 seat")).to_be_visible()
    page.evaluate(f"void ({FAILURES[failure]})")
    page.keyboard.press("Space")
    expect(page.locator("[data-seat-map]")).to_be_hidden()
    expect(page.get_by_role("button", name="Hold the chosen seats")).to_be_enabled()
    hold_from_the_list(page)
    buy(page)


HOLDS_THAT_GET_NO_ANSWER = {
    "blocked": lambda route: route.abort(),
    "somebody else's page": lambda route: route.fulfill(status=200, body="<h1>Log in</h1>"),
    "a refusal that is not ours": lambda route: route.fulfill(status=403, json={"blocked": True}),
    "no address": lambda route: route.fulfill(status=201, json={}),
    "nothing at all": lambda route: None,
}


@pytest.mark.parametrize("answer", HOLDS_THAT_GET_NO_ANSWER)
def test_a_hold_from_the_map_that_gets_no_answer_of_ours_is_sent_as_a_form(page_at, seats, answer):
    put_on_sale(seats, event := small_hall())
    page = page_at("about:blank")
    page.clock.install()
    page.goto(f"/events/{event.id}")
    asked_by_script = re.compile("/holds$")

    def handle(route):
        if route.request.resource_type == "fetch":
            return HOLDS_THAT_GET_NO_ANSWER[answer](route)
        return route.continue_()

    page.route(asked_by_script, handle)
    hold_from_the_map(page)
    if answer == "nothing at all":
        page.clock.run_for(15_000)
    buy(page)


def test_back_from_the_page_of_a_hold_the_map_can_be_used_again(page_at, seats):
    put_on_sale(seats, event := small_hall())
    page = page_at(f"/events/{event.id}")
    page.wait_for_selector("[data-ready]")
    page.route("**/holds", lambda route: route.fulfill(status=201, json={"address": "#held"}))
    hold_from_the_map(page)
    page.wait_for_url("**#held")
    page.unroute("**/holds")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    page.locator(".cell").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Hold 1 seat").click()
    buy(page)
