"""The live map: choosing, holding, losing a race, and what others do meanwhile."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from ops.servers import REPOSITORY
from tests.browser.chromium import DESKTOP, PHONE
from tests.support.factories import FLOOR, FREE, STALLS, a_booking, put_on_sale, small_hall, unique
from tests.support.http_client import Client
from web.adapters.event_files import read_event_file
from web.domain.events import Event, Row, Section

LONGEST_PAINT_MS = 500
"""So far from the frame of 16 ms that only a mistake gets there, however busy the machine is."""

NOTHING_IS_PAINTED = """() => {
    const before = painted.length;
    return new Promise((tell) => setTimeout(() => tell(painted.length === before), 300));
}"""


@pytest.fixture
def hall(seats) -> Event:
    event = small_hall()
    put_on_sale(seats, event)
    return event


@pytest.fixture
def taken_by_others(seats, catalogue):
    def take(event: Event, *ids: str) -> None:
        for seat in ids:
            position = event.positions[seat]
            seats.hold_seats(
                catalogue.current_event(event.id), unique("hld"), unique("eve"), [position]
            )

    return take


@pytest.fixture
def stadium(seats) -> Event:
    event = read_event_file(REPOSITORY / "events/meridian-stadium.toml")
    event = replace(event, id=unique(event.id))
    put_on_sale(seats, event)
    return event


def open_map(page_at, event: Event, **options) -> Page:
    page = page_at(f"/events/{event.id}", **options)
    page.wait_for_selector("[data-ready]")
    return page


def open_map_with_clock(page_at, event: Event) -> Page:
    """Its time stops, except for ``pass_seconds``."""
    page = page_at("/")
    page.clock.install()
    page.goto(f"/events/{event.id}")
    page.wait_for_selector("[data-ready]")
    page.clock.pause_at(datetime.now(UTC) + timedelta(seconds=1))
    return page


def pass_seconds(page: Page, seconds: int, step_ms: int = 2000) -> None:
    for _ in range(seconds * 1000 // step_ms):
        page.clock.run_for(step_ms)
        # An answer is not the clock's.
        page.wait_for_timeout(20)


def seat(page: Page, name: str):
    """The grid's cell, when the focus is on this seat."""
    return page.get_by_role("gridcell", name=re.compile(f"^{name},"))


def hold_button(page: Page):
    return page.locator(".seat-map [type=submit]")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def into_the_grid(page: Page) -> None:
    page.locator(".cell").focus()


def click_seat(page: Page, row: int, column: int) -> None:
    """With the mouse, in the middle of the seat that these keys lead to."""
    into_the_grid(page)
    press(page, "Control+Home", *["ArrowDown"] * row, *["ArrowRight"] * column)
    box = page.locator(".cell").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def pay(page: Page) -> None:
    page.get_by_label("Name").fill("Ada Lovelace")
    page.get_by_label("E-mail address").fill("ada@example.org")
    page.locator(".pay-button").click()


def test_seats_are_bought_with_the_mouse_from_the_map(page_at, hall):
    page = open_map(page_at, hall)
    click_seat(page, 0, 1)
    click_seat(page, 0, 2)
    expect(hold_button(page)).to_have_text("Hold 2 seats")
    hold_button(page).click()
    page.wait_for_url("**/holds/hld_*")
    expect(page.locator("main")).to_contain_text("Stalls, row A, seat 2")
    pay(page)
    page.wait_for_url("**/receipts/**")
    expect(page.locator("main")).to_contain_text("Stalls, row A, seat 3")


def test_seats_are_bought_with_the_keyboard_alone(page_at, hall):
    page = open_map(page_at, hall)
    into_the_grid(page)
    for keys, name in (
        (["ArrowRight"], "Stalls, row A, seat 2"),
        (["ArrowDown"], "Stalls, row B, seat 1"),
        (["End"], "Stalls, row B, seat 8"),
        (["Home"], "Stalls, row B, seat 1"),
        (["Control+End"], "Free of charge, row F, seat 6"),
        (["Control+Home"], "Stalls, row A, seat 1"),
        (["PageDown"], "Floor"),
        (["PageDown"], "Free of charge, row F, seat 1"),
        (["PageUp", "ArrowUp"], r"Stalls, row C, seat \d"),
    ):
        press(page, *keys)
        expect(seat(page, name)).to_be_focused()
    press(page, "Control+Home", "Space")
    expect(seat(page, "Stalls, row A, seat 1")).to_have_attribute("aria-selected", "true")
    expect(seat(page, "Stalls, row A, seat 1")).to_have_accessible_name(re.compile("£25, chosen$"))
    assert page.locator("[role=grid] [tabindex='0']").count() == 1
    for _ in range(6):
        press(page, "Tab")
        if page.evaluate("document.activeElement.matches('.seat-map [type=submit]')"):
            break
    press(page, "Enter")
    page.wait_for_url("**/holds/hld_*")
    page.get_by_label("Name").focus()
    page.keyboard.type("Ada Lovelace")
    press(page, "Tab")
    page.keyboard.type("ada@example.org")
    press(page, "Enter")
    page.wait_for_url("**/receipts/**")


def test_who_loses_a_race_keeps_the_rest_and_is_offered_the_nearest_seat(page_at, hall):
    ada, eve = open_map(page_at, hall), open_map(page_at, hall)
    for page in (ada, eve):
        # Neither learns of the other before the button is pressed.
        page.route("**/seats", lambda route: route.abort())
        click_seat(page, 0, 1)
    click_seat(ada, 0, 5)
    hold_button(eve).click()
    eve.wait_for_url("**/holds/hld_*")
    hold_button(ada).click()
    told = ada.locator("[data-message]")
    expect(told).to_be_focused()
    expect(told).to_contain_text("Taken by somebody else: Stalls, row A, seat 2.")
    expect(told).to_contain_text("Still available and still chosen: Stalls, row A, seat 6.")
    told.get_by_role("button", name=re.compile("Hold Stalls, row A, seat [13] instead")).click()
    ada.wait_for_url("**/holds/hld_*")
    expect(ada.locator(".seat-list li")).to_have_count(2)
    expect(ada.locator(".seat-list")).to_contain_text("row A, seat 6")


def test_a_seat_that_somebody_else_takes_shows_in_map_and_list_and_is_let_go(
    page_at, hall, taken_by_others
):
    page = open_map(page_at, hall)
    click_seat(page, 0, 0)
    page.evaluate("addEventListener('painted', (e) => (window.painted ||= []).push(e.detail))")
    taken_by_others(hall, "stalls-A-1", "stalls-C-5")
    expect(page.locator("[data-message]")).to_contain_text(
        "Taken by somebody else: Stalls, row A, seat 1"
    )
    expect(seat(page, "Stalls, row A, seat 1")).to_have_accessible_name(re.compile("on hold$"))
    expect(page.locator("#sale")).to_contain_text("36 of 38 seats")
    # The difference and nothing else: two seats, and the one that is chosen no more.
    painted = page.evaluate("window.painted")
    assert not [one for one in painted if one["whole"]]
    assert sum(one["seats"] for one in painted) <= 4
    page.get_by_role("button", name="List").click()
    box = page.locator("input[value='stalls-C-5']")
    expect(box).to_be_disabled()
    expect(box).to_have_attribute("data-state", "on hold")
    expect(box.locator("..")).to_contain_text("on hold")


def test_own_seats_are_in_the_basket_and_not_somebody_else_s(page_at, hall):
    page = open_map(page_at, hall)
    asking, hearing = [page.context.new_page() for _ in range(2)]
    for tab in (asking, hearing):
        tab.goto(page.url)
        tab.wait_for_selector("[data-ready]")
    # One learns nothing of the seats until it requests them itself.
    asking.route("**/api/events/*/seats", lambda route: route.abort())
    for tab in (asking, hearing):
        click_seat(tab, 1, 1)
        click_seat(tab, 1, 2)
    click_seat(page, 1, 1)
    hold_button(page).click()
    page.wait_for_url("**/holds/hld_*")
    hold_button(asking).click()
    for tab in (asking, hearing):
        told = tab.locator("[data-message]")
        expect(told).to_contain_text("In your basket: Stalls, row B, seat 2.", timeout=10_000)
        expect(told).to_contain_text("Still available and still chosen: Stalls, row B, seat 3.")
        assert "omebody" not in told.inner_text()
        told.get_by_role("link", name="Your basket").click()
        expect(tab.locator("main")).to_contain_text("Stalls, row B, seat 2")


def test_the_list_is_an_equal_way_and_both_have_the_same_choice(page_at, hall):
    page = open_map(page_at, hall)
    click_seat(page, 0, 0)
    page.get_by_role("button", name="List").click()
    expect(page.locator("input[value='stalls-A-1']")).to_be_checked()
    page.locator("input[value='stalls-B-3']").check()
    page.reload()
    page.wait_for_selector("[data-ready]")
    expect(page.locator("input[value='stalls-A-1']")).to_be_checked()
    page.get_by_role("button", name="List").click()
    page.get_by_role("button", name="Hold the chosen seats").click()
    page.wait_for_url("**/holds/hld_*")
    expect(page.locator(".seat-list li")).to_have_count(2)


def test_not_more_seats_can_be_chosen_than_a_hold_takes(page_at, hall):
    page = open_map(page_at, hall)
    into_the_grid(page)
    for _ in range(hall.max_seats_per_hold + 1):
        press(page, "Space", "ArrowRight")
    expect(hold_button(page)).to_have_text("Hold 6 seats")


def test_offline_the_map_says_how_old_it_is_and_goes_on_by_itself(page_at, hall, taken_by_others):
    page = open_map(page_at, hall)
    page.clock.install()
    page.context.set_offline(True)
    page.clock.run_for(15_000)
    expect(page.locator("[data-age]")).to_contain_text("This is how it was at")
    click_seat(page, 0, 3)
    hold_button(page).click()
    expect(page.locator("[data-message]")).to_contain_text("What you chose is kept")
    taken_by_others(hall, "stalls-C-5")
    page.context.set_offline(False)
    page.clock.resume()
    expect(page.locator("#sale")).to_contain_text("37 of 38 seats")
    expect(page.locator("[data-age]")).to_be_hidden()
    hold_button(page).click()
    page.wait_for_url("**/holds/hld_*")


def test_when_the_answer_is_lost_the_same_seats_are_still_ours(page_at, hall):
    page = open_map(page_at, hall)
    click_seat(page, 0, 0)

    def lose_the_answer(route):
        route.fetch()
        route.abort()

    page.route("**/holds", lose_the_answer, times=1)
    hold_button(page).click()
    page.wait_for_url("**/holds/hld_*")
    page.go_back()
    expect(page.locator("#sale")).to_contain_text("37 of 38 seats")


def test_a_price_that_changed_while_the_map_was_open_is_told_before_paying(page_at, seats, hall):
    page = open_map(page_at, hall)
    click_seat(page, 0, 0)
    dearer = replace(hall, sections=(replace(hall.sections[0], price_minor=9900),))
    seats.open_event(dearer, sold=[])
    hold_button(page).click()
    page.wait_for_url("**/holds/hld_*")
    expect(page.locator("main")).to_contain_text(
        "The price has changed since you chose these seats. It was £25.00 and is £99.00 now."
    )


def test_a_map_of_an_event_that_was_changed_says_so_and_keeps_the_choice(page_at, seats, hall):
    page = open_map(page_at, hall)
    click_seat(page, 0, 0)
    first, *others = hall.sections
    front = replace(first, id="front", name="Front", rows=first.rows[:1])
    seats.open_event(replace(hall, sections=(front, first, *others)), sold=[])
    message = page.locator("[data-message]")
    expect(message).to_contain_text("This event was changed", timeout=10_000)
    expect(hold_button(page)).to_have_text("Hold 1 seat")
    message.get_by_role("button", name="Load the page again").click()
    expect(page.locator("[data-chosen]")).to_contain_text("Stalls, row A, seat 1")
    expect(page.locator("#section-front")).to_have_count(1)


@pytest.mark.parametrize(
    "edit",
    [
        {"name": "Another evening"},
        {"sale_opens_at": datetime.now(UTC) + timedelta(hours=1)},
        {"sections": (replace(STALLS, name="Parterre"), FLOOR, FREE)},
    ],
    ids=["name", "opening", "name of a section"],
)
def test_an_edit_of_neither_seats_nor_prices_leaves_the_map_as_it_is(
    page_at, seats, hall, taken_by_others, edit
):
    page = open_map(page_at, hall)
    taken_by_others(hall, "stalls-A-1")
    seats.open_event(replace(hall, **edit), sold=["stalls-A-2"])
    into_the_grid(page)
    expect(seat(page, "Stalls, row A, seat 1")).to_have_accessible_name(
        re.compile("on hold$"), timeout=10_000
    )
    press(page, "ArrowRight")
    expect(seat(page, "Stalls, row A, seat 2")).to_have_accessible_name(re.compile("sold$"))
    expect(page.locator("[data-message]")).to_be_hidden()


def test_before_the_sale_opens_the_choice_is_kept(page_at, seats):
    event = small_hall(sale_opens_at=datetime.now(UTC) + timedelta(hours=1))
    put_on_sale(seats, event)
    page = open_map(page_at, event)
    click_seat(page, 0, 0)
    hold_button(page).click()
    expect(page.locator("[data-message]")).to_contain_text("The sale has not opened yet")
    expect(hold_button(page)).to_have_text("Hold 1 seat")


def test_the_map_asks_only_for_what_is_new_and_not_too_often(page_at, hall):
    page = open_map_with_clock(page_at, hall)
    asked = []
    page.on(
        "response", lambda answer: answer.url.endswith("/seats") and asked.append(answer.status)
    )
    pass_seconds(page, 10, step_ms=250)
    assert 2 <= len(asked) <= 5
    assert set(asked) == {304}


def test_the_map_waits_as_long_as_it_is_told(page_at, hall):
    page = open_map_with_clock(page_at, hall)
    asked = []

    def refuse(route):
        asked.append(route.request.url)
        route.fulfill(status=503, headers={"Retry-After": "60"}, json={"code": "unavailable"})

    page.route("**/seats", refuse)
    pass_seconds(page, 4)
    assert len(asked) == 1
    pass_seconds(page, 54)
    assert len(asked) == 1
    pass_seconds(page, 38)
    assert len(asked) == 2, "after half as long again at most"


def test_fifty_thousand_seats_zoom_and_are_chosen_without_a_long_paint(
    page_at, stadium, taken_by_others, record_property
):
    page = page_at("/")
    page.add_init_script(
        """
        window.painted = []; window.frames = [];
        addEventListener("painted", (e) => painted.push(e.detail));
        let last; requestAnimationFrame(function frame(now) {
            if (last) frames.push(now - last); last = now; requestAnimationFrame(frame); });
        """
    )
    page.goto(f"/events/{stadium.id}")
    page.wait_for_selector("[data-ready]")
    page.evaluate("frames.length = 0")
    into_the_grid(page)
    canvas = page.locator("canvas").bounding_box()
    page.mouse.move(canvas["x"] + 400, canvas["y"] + 200)
    for _ in range(12):
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(30)
    page.mouse.down()
    for step in range(20):
        page.mouse.move(canvas["x"] + 400 - 12 * step, canvas["y"] + 200 + 4 * step)
    page.mouse.up()
    for _ in range(12):
        page.mouse.wheel(0, 100)
        page.wait_for_timeout(30)
    press(page, "Control+Home", "Space")
    expect(seat(page, "Lower 101, row 1, seat 1")).to_have_attribute("aria-selected", "true")
    paints = [one["ms"] for one in page.evaluate("painted")]
    frames = sorted(page.evaluate("frames"))
    figures = {
        "paints": len(paints),
        "longest_paint_ms": round(max(paints), 1),
        "median_frame_ms": round(frames[len(frames) // 2], 1),
        "p95_frame_ms": round(frames[len(frames) * 95 // 100], 1),
    }
    record_property("seat_map_frames", json.dumps(figures))
    print(figures)
    assert max(paints) < LONGEST_PAINT_MS

    page.wait_for_function(NOTHING_IS_PAINTED)
    page.evaluate("painted.length = 0")
    taken_by_others(stadium, "101-1-2")
    expect(page.locator("#sale")).to_contain_text("49,999 of 50,000")
    assert [(one["seats"], one["whole"]) for one in page.evaluate("painted")] == [(1, False)]


def test_fingers_drag_pinch_and_choose_on_a_telephone(page_at, seats):
    rows = tuple(Row(str(n), (tuple(map(str, range(1, 41))),)) for n in range(1, 26))
    event = small_hall(sections=(Section("tier", "Tier", "seated", 2500, rows), FREE))
    put_on_sale(seats, event)
    page = open_map(page_at, event, viewport=PHONE, has_touch=True, is_mobile=True)
    canvas = page.locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.4
    # From afar a finger would meet several seats: it comes nearer first.
    page.touchscreen.tap(x, y)
    expect(hold_button(page)).to_have_text("Hold seats")
    assert page.locator(".cell").bounding_box()["width"] >= 24
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": px, "y": py, "id": at} for at, (px, py) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    def size() -> float:
        return page.locator(".cell").bounding_box()["width"]

    before = size()
    fingers("touchStart", (x - 40, y), (x + 40, y))
    for step in range(1, 6):
        fingers("touchMove", (x - 40 - 8 * step, y), (x + 40 + 8 * step, y))
    fingers("touchEnd")
    page.wait_for_timeout(100)
    assert size() > before * 1.3
    place = page.locator(".cell").bounding_box()
    fingers("touchStart", (x, y))
    for step in range(1, 6):
        fingers("touchMove", (x + 10 * step, y))
    fingers("touchEnd")
    page.wait_for_timeout(100)
    assert page.locator(".cell").bounding_box()["x"] > place["x"] + 20
    for dx in (0, 12, 24, 36):
        if hold_button(page).inner_text() == "Hold seats":
            page.touchscreen.tap(x + dx, y)
    expect(hold_button(page)).to_have_text("Hold 1 seat")
    hold_button(page).tap()
    page.wait_for_url("**/holds/hld_*")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_places_without_numbers_are_held_from_the_map(page_at, hall):
    page = open_map(page_at, hall)
    into_the_grid(page)
    press(page, "Control+Home", "PageDown")
    expect(seat(page, "Floor")).to_have_accessible_name(re.compile("12 of 12 left$"))
    press(page, "Enter")
    dialog = page.get_by_role("dialog", name="Floor")
    expect(dialog.get_by_label("How many")).to_be_focused()
    press(page, "Escape")
    expect(seat(page, "Floor")).to_be_focused()
    press(page, "Enter")
    dialog.get_by_label("How many").select_option("3")
    dialog.get_by_role("button", name="Hold the places").click()
    page.wait_for_url("**/holds/hld_*")
    expect(page.locator(".seat-list li")).to_have_count(3)
    expect(page.locator(".seat-list")).to_contain_text("Floor, place")


def test_no_more_places_are_offered_than_are_left(page_at, hall, taken_by_others):
    taken_by_others(hall, *[f"floor-GA-{number}" for number in range(1, 12)])
    page = open_map(page_at, hall)
    into_the_grid(page)
    press(page, "Control+Home", "PageDown", "Enter")
    quantity = page.get_by_label("How many")
    expect(quantity).to_have_value("1")
    assert quantity.locator("option:enabled").all_inner_texts() == ["1"]
    # Meanwhile the last one goes, too.
    page.route("**/seats", lambda route: route.abort())
    taken_by_others(hall, "floor-GA-12")
    page.get_by_role("button", name="Hold the places").click()
    told = page.locator("[data-message]")
    expect(told).to_be_focused()
    expect(told).to_contain_text("What you chose is kept")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_choice_is_seen_by_colour_and_by_shape(page_at, hall, scheme):
    page = open_map(page_at, hall, color_scheme=scheme, viewport=DESKTOP)
    before = page.locator("canvas").screenshot()
    click_seat(page, 0, 0)
    page.evaluate("document.activeElement.blur()")
    assert page.locator("canvas").screenshot() != before


def test_nothing_is_loaded_from_elsewhere(page_at, hall):
    page = page_at("/")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"/events/{hall.id}")
    page.wait_for_selector("[data-ready]")
    host = page.url.partition("/events")[0]
    assert [url for url in asked if not url.startswith(host)] == []


def test_scripts_that_import_one_another_are_of_one_version_and_loaded_once(page_at, hall):
    page = page_at("/")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"/events/{hall.id}")
    page.wait_for_selector("[data-ready]")
    scripts = [url for url in asked if url.endswith(".js")]
    assert len(scripts) == len(set(scripts)) == 7
    versions = {re.search(r"/static/([0-9a-f]{8})/", url)[1] for url in scripts}
    assert len(versions) == 1


def test_a_hold_that_comes_too_fast_says_when_to_try_again_and_keeps_the_choice(page_at, hall):
    page = open_map(page_at, hall)
    click_seat(page, 0, 0)
    problem = {"code": "rate_limited", "detail": "Too many requests."}
    refusal = {"status": 429, "headers": {"Retry-After": "3"}, "json": problem}
    page.route("**/holds", lambda route: route.fulfill(**refusal), times=1)
    hold_button(page).click()
    expect(page.locator("[data-message]")).to_contain_text("Try again in 3 seconds.")
    expect(hold_button(page)).to_have_text("Hold 1 seat")
    hold_button(page).click()
    page.wait_for_url("**/holds/hld_*")


def test_a_tab_that_nobody_looks_at_asks_seldom_and_then_no_more(page_at, hall):
    page = open_map_with_clock(page_at, hall)
    asked = []
    page.on("request", lambda request: request.url.endswith("/seats") and asked.append(1))

    def look(hidden: bool) -> None:
        page.evaluate(
            """hidden => {
                const property = { get: () => hidden, configurable: true };
                Object.defineProperty(document, "hidden", property);
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )

    def asked_in(seconds: int, **step: int) -> int:
        asked.clear()
        pass_seconds(page, seconds, **step)
        return len(asked)

    look(hidden=True)
    assert 2 <= asked_in(100, step_ms=5000) <= 6
    pass_seconds(page, 220, step_ms=5000)
    assert asked_in(60, step_ms=5000) == 0
    look(hidden=False)
    assert asked_in(6) >= 2


PIXELS_OF = """(canvas, colour) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const one = new OffscreenCanvas(1, 1).getContext("2d");
    one.fillStyle = colour;
    one.fillRect(0, 0, 1, 1);
    const [r, g, b] = one.getImageData(0, 0, 1, 1).data;
    let found = 0;
    for (let at = 0; at < data.length; at += 4)
        found += data[at] === r && data[at + 1] === g && data[at + 2] === b;
    return found;
}"""


def test_with_forced_colours_the_map_has_the_colours_of_the_system(page_at, hall):
    page = open_map(page_at, hall)
    canvas = page.locator("canvas")
    accent = canvas.evaluate("e => getComputedStyle(e).getPropertyValue('--accent')")
    click_seat(page, 0, 0)
    assert canvas.evaluate(PIXELS_OF, accent) > 100
    page.emulate_media(forced_colors="active")
    page.wait_for_timeout(200)
    assert canvas.evaluate(PIXELS_OF, accent) == 0
    chosen = canvas.screenshot()
    click_seat(page, 0, 0)
    assert canvas.screenshot() != chosen


def test_a_sold_out_hall_offers_nothing_until_a_seat_comes_back(page_at, seats):
    hall = small_hall(sections=(STALLS,))
    put_on_sale(seats, hall, sold=hall.seats)
    page = open_map(page_at, hall)
    words = page.locator("main").inner_text()
    for offer in ("Choose", "Up to", "Touch a seat", "Hold", "Best available"):
        assert offer not in words
    page.get_by_role("button", name="List").click()
    assert "Hold" not in page.locator("main").inner_text()
    page.get_by_role("button", name="Map").click()
    seats.return_seats(hall, a_booking(hall.id, "stalls-A-1"), ["stalls-A-1"])
    expect(hold_button(page)).to_be_visible(timeout=10_000)
    expect(page.locator("[data-map] > p")).to_contain_text("Touch a seat")


def test_a_buyer_in_a_full_network_is_not_sent_to_an_empty_basket(page_at, stack, seats):
    event = small_hall(max_held_per_network=8)
    put_on_sale(seats, event)
    Client(stack.url, event.id, "2001:db8:77:1::1").hold_best("stalls", 6)
    Client(stack.url, event.id, "2001:db8:77:2::1").hold_best("floor", 2)
    address = {"X-Forwarded-For": "2001:db8:77:3::1"}
    page = open_map(page_at, event, extra_http_headers=address)
    click_seat(page, 0, 0)
    hold_button(page).click()
    told = page.locator("[data-message]")
    expect(told).to_contain_text("None of them need be yours. Try again shortly")
    expect(told).to_contain_text("What you chose is kept.")
    expect(told.get_by_role("link")).to_have_count(0)


def test_a_full_basket_is_told_on_the_map_with_a_way_to_it(page_at, hall):
    page = open_map(page_at, hall)
    click_seat(page, 0, 0)
    problem = {"code": "basket_full", "detail": "This browser has 8 unpaid holds."}
    page.route("**/holds", lambda route: route.fulfill(status=409, json=problem))
    hold_button(page).click()
    told = page.locator("[data-message]")
    expect(told).to_contain_text("What you chose is kept.")
    told.get_by_role("link", name="Your basket").click()
    page.wait_for_url("**/basket")
