"""The main journeys, in each of the engines that browsers are made of. The other files ask Chromium
alone, because they need what Playwright can do: stop a clock, lose an answer, use fingers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from ops.processes import free_port
from ops.servers import HOST
from tests.browser.buyers import Buyer
from tests.browser.chromium import NARROW
from tests.browser.engines import ENGINES, HEIGHT, WIDTH
from tests.browser.states import ASKING, AT_BANK, DECLINED
from tests.support.behind_nginx import running_nginx
from tests.support.factories import FLOOR, STALLS, put_on_sale, small_hall
from web.domain.events import Event

SITE = """
pid nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen {address};
        server_name ~^buyer-(?<number>[0-9]+)\\.localhost$;
        location / {{
            proxy_pass {stack};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For 10.79.0.$number;
            proxy_set_header Accept-Encoding "";
            sub_filter <head> '<head><script src="/errors.js"></script>';
        }}
        location = /errors.js {{
            types {{}}
            default_type text/javascript;
            alias "{errors}";
        }}
    }}
}}
"""
"""WebDriver cannot set headers or read the console in every engine. So each buyer has a host of its
own, with cookies and an address of its own (limits do not meet), and each page loads errors.js."""

KEPT_ERRORS = "return localStorage.errors || '';"

PAINTED_PIXELS = """
const canvas = document.querySelector("canvas");
const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
const pixels = new Uint32Array(data.buffer);
return pixels.filter((pixel) => pixel !== pixels[0]).length;
"""
"""Those that are not as the corner is."""

KEEP_SIZES_OF_LETTERS = """
window.sizes = [];
window.texts = [];
const { prototype } = CanvasRenderingContext2D, { fillText } = prototype;
prototype.fillText = function (...told) {
    texts.push([told[0], this.measureText(told[0]).width, told.length > 3]);
    sizes.push(parseFloat(/[0-9.]+px/.exec(this.font)[0]));
    return fillText.apply(this, told);
};
"""


@pytest.fixture(scope="module")
def sites(stack, tmp_path_factory) -> Iterator[Iterator[str]]:
    """Addresses of the shop, one a buyer."""
    folder, port = tmp_path_factory.mktemp("sites"), free_port(HOST)
    errors = Path(__file__).with_name("errors.js")
    with running_nginx(
        SITE.format(address=f"{HOST}:{port}", stack=stack.url, errors=errors), folder, port
    ):
        yield (f"http://buyer-{number}.localhost:{port}" for number in range(1, 250))


@pytest.fixture(scope="module", params=ENGINES)
def driver(request, tmp_path_factory) -> Iterator[WebDriver]:
    yield from running(request.param, tmp_path_factory, javascript=True)


@pytest.fixture(scope="module", params=ENGINES)
def driver_without_javascript(request, tmp_path_factory) -> Iterator[WebDriver]:
    yield from running(request.param, tmp_path_factory, javascript=False)


def running(
    engine: str, tmp_path_factory: pytest.TempPathFactory, *, javascript: bool
) -> Iterator[WebDriver]:
    with ENGINES[engine](tmp_path_factory.mktemp(engine), javascript=javascript) as driver:
        driver.set_window_rect(0, 0, WIDTH, HEIGHT)
        yield driver


@pytest.fixture
def buyer(driver, sites) -> Iterator[Buyer]:
    """An error on one of its pages fails the test."""
    buyer = Buyer(driver, next(sites))
    yield buyer
    assert driver.execute_script(KEPT_ERRORS) == ""


@pytest.fixture
def hall(seats) -> Event:
    event = small_hall()
    put_on_sale(seats, event)
    return event


def open_map(buyer: Buyer, event_id: str) -> None:
    buyer.open(f"/events/{event_id}")
    buyer.find("[data-ready]")


def sees_seat(buyer: Buyer, name: str) -> None:
    """The focus is on it, in the grid."""
    buyer.wait_for(lambda: buyer.focused.accessible_name.startswith(f"{name}, "), name)


def pay(buyer: Buyer, card: str | None = None) -> None:
    buyer.fill("Name", "Ada Lovelace")
    buyer.fill("E-mail address", "ada@example.org")
    if card:
        buyer.check(card)
    buyer.press("Pay")


def test_with_the_keyboard_from_the_map_past_a_refused_card_to_the_receipt(buyer, hall, stack):
    open_map(buyer, hall.id)
    buyer.driver.execute_script("document.querySelector('.cell').focus()")
    buyer.type(Keys.ARROW_RIGHT)
    sees_seat(buyer, "Stalls, row A, seat 2")
    buyer.type(Keys.SPACE)
    assert buyer.focused.get_attribute("aria-selected") == "true"
    buyer.type(Keys.ARROW_DOWN)
    sees_seat(buyer, "Stalls, row B, seat 1")
    buyer.type(Keys.SPACE)
    buyer.wait_for(lambda: buyer.focused.accessible_name.endswith(", chosen"), "the choice")
    buyer.sees("Hold 2 seats", ".seat-map [type=submit]")
    buyer.find(".seat-map [type=submit]").send_keys(Keys.ENTER)
    buyer.is_at("/holds/hld_")
    held = buyer.driver.current_url
    buyer.sees("Stalls, row B, seat 1")
    pay(buyer, DECLINED)
    buyer.sees("Nothing was charged.", "#mistakes")
    assert buyer.focused.get_attribute("id") == "mistakes"
    buyer.check("Visa that is accepted")
    buyer.find("#email").send_keys(Keys.ENTER)
    buyer.is_at("/receipts/")
    buyer.sees("Stalls, row A, seat 2")
    assert buyer.find("figure svg").rect["width"] > 100
    assert stack.charges(held) == [5000]


def test_with_the_pointer_from_the_map_to_the_receipt(buyer, hall, stack):
    open_map(buyer, hall.id)
    buyer.point_at(buyer.find(".cell"))
    buyer.sees("Hold 1 seat", ".seat-map [type=submit]")
    buyer.press("Hold 1 seat")
    buyer.is_at("/holds/hld_")
    held = buyer.driver.current_url
    buyer.sees("Stalls, row A, seat 1")
    pay(buyer)
    buyer.is_at("/receipts/")
    assert stack.charges(held) == [2500]
    buyer.open("/basket")
    buyer.sees("Booked")


def test_a_bank_that_asks_leads_back_to_the_receipt(buyer, hall, stack):
    buyer.open(f"/events/{hall.id}")
    buyer.press("Hold the best seats")
    buyer.is_at("/holds/hld_")
    held = buyer.driver.current_url
    pay(buyer, ASKING)
    buyer.sees(AT_BANK)
    buyer.click(buyer.find("a[href*='/challenges/']"))
    buyer.press("Yes, pay")
    buyer.is_at("/receipts/")
    assert stack.charges(held) == [5000]


def test_map_and_list_have_the_same_choice(buyer, hall):
    open_map(buyer, hall.id)
    buyer.point_at(buyer.find(".cell"))
    buyer.press("List")
    assert buyer.find("[data-view=list]").get_attribute("aria-pressed") == "true"
    assert buyer.find("[value='stalls-A-1']").is_selected()
    buyer.click(buyer.find("[value='stalls-B-3']"))
    beside = [buyer.find(f"[value='stalls-B-{number}']").rect for number in (3, 4)]
    assert beside[0]["y"] == beside[1]["y"]
    buyer.press("Hold the chosen seats")
    buyer.is_at("/holds/hld_")
    buyer.sees("Stalls, row A, seat 1")
    buyer.sees("Stalls, row B, seat 3")


def test_places_without_numbers_are_asked_for_in_a_dialog(buyer, hall):
    open_map(buyer, hall.id)
    buyer.driver.execute_script("document.querySelector('.cell').focus()")
    buyer.type(Keys.PAGE_DOWN)
    sees_seat(buyer, "Floor, not numbered")
    buyer.type(Keys.ENTER)
    buyer.find("dialog[open]")
    buyer.type(Keys.ESCAPE)
    sees_seat(buyer, "Floor, not numbered")
    buyer.type(Keys.ENTER)
    buyer.select("How many", "3")
    buyer.press("Hold the places")
    buyer.is_at("/holds/hld_")
    buyer.sees("Floor, place")


def test_a_stadium_of_fifty_thousand_seats_is_drawn_and_one_of_them_held(buyer):
    open_map(buyer, "meridian-stadium-final")
    buyer.wait_for(lambda: buyer.driver.execute_script(PAINTED_PIXELS) > 50_000, "a stadium")
    from_afar = buyer.driver.execute_script(PAINTED_PIXELS)
    buyer.press("+")
    buyer.wait_for(
        lambda: buyer.driver.execute_script(PAINTED_PIXELS) != from_afar, "the stadium, nearer"
    )
    buyer.driver.execute_script("document.querySelector('.cell').focus()")
    buyer.type_with_control(Keys.END)
    buyer.type(Keys.SPACE)
    buyer.sees("Hold 1 seat", ".seat-map [type=submit]")


def test_letters_are_drawn_at_the_size_they_have(buyer, hall):
    """Letters of less than a pixel, enlarged, lie over one another in WebKitGTK."""
    open_map(buyer, hall.id)
    buyer.driver.execute_script(KEEP_SIZES_OF_LETTERS)
    buyer.press("+")
    sizes = buyer.wait_for(lambda: buyer.driver.execute_script("return sizes"), "letters")
    assert min(sizes) >= 9


@pytest.mark.parametrize("name", ["Unterer Rang links " * 10, "Rang" * 50], ids=["words", "word"])
def test_a_long_name_of_a_section_makes_nothing_wider_and_is_cut_short(buyer, seats, name):
    hall = small_hall(sections=(replace(STALLS, name=name.strip()), replace(FLOOR, name=name)))
    put_on_sale(seats, hall)
    buyer.driver.set_window_rect(0, 0, NARROW["width"], HEIGHT)
    try:
        open_map(buyer, hall.id)
        size = buyer.driver.execute_script(
            "return [document.scrollingElement.scrollWidth, innerWidth]"
        )
        assert size[0] <= size[1]
        buyer.driver.execute_script(KEEP_SIZES_OF_LETTERS)
        buyer.press("+")
        names = buyer.wait_for(
            lambda: buyer.driver.execute_script(
                "return texts.filter(([text]) => /Rang/.test(text))"
            ),
            "names of sections",
        )
        width = buyer.driver.execute_script("return document.querySelector('canvas').clientWidth")
        for text, drawn, squeezed in names:
            assert text.endswith("…\u2069") and not squeezed
            assert drawn <= 2 * width
    finally:
        buyer.driver.set_window_rect(0, 0, WIDTH, HEIGHT)


def test_without_javascript_past_a_refused_card_to_the_receipt(
    driver_without_javascript, sites, hall, stack
):
    buyer = Buyer(driver_without_javascript, next(sites))
    buyer.open(f"/events/{hall.id}")
    assert not buyer.find("[data-list]").get_attribute("hidden")
    buyer.click(buyer.find("[value='stalls-A-1']"))
    buyer.click(buyer.find("[value='stalls-C-5']"))
    buyer.press("Hold the chosen seats")
    buyer.is_at("/holds/hld_")
    held = buyer.driver.current_url
    buyer.sees("See the time left now")
    pay(buyer, DECLINED)
    buyer.sees("Nothing was charged.", "#mistakes")
    buyer.check("Visa that is accepted")
    buyer.press("Pay")
    buyer.is_at("/receipts/")
    buyer.sees("Stalls, row C, seat 5")
    assert stack.charges(held) == [5000]
