"""The page of a gate: with a camera, a hand scanner, and without a connection."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import segno
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import PHONE, headless, new_context, options
from tests.support.factories import a_booking, put_on_sale, small_hall
from tests.support.site import DOOR_TOKEN
from web.signing.ticket_codes import TicketCodes

SEATS = ("stalls-A-1", "stalls-A-2", "stalls-A-3", "floor-GA-1")

WITHOUT_ED25519 = """
const importKey = SubtleCrypto.prototype.importKey;
SubtleCrypto.prototype.importKey = function (format, key, algorithm, ...others) {
    if (algorithm.name === "Ed25519") return Promise.reject(new Error("not supported"));
    return importKey.call(this, format, key, algorithm, ...others);
};
"""


@pytest.fixture
def booking(seats, bookings):
    put_on_sale(seats, hall := small_hall(), sold=SEATS)
    return bookings.insert(a_booking(hall.id, *SEATS))


@pytest.fixture
def codes(stack) -> TicketCodes:
    return TicketCodes(stack.environment["SECRET_KEY"])


@pytest.fixture
def gate(page_at, booking) -> Callable[..., Page]:
    """A gate that has begun, for the event of ``booking``."""

    def begun(name: str = "North", before: str = "", **more: object) -> Page:
        page = page_at("about:blank", **more)
        page.add_init_script(before)
        page.goto(f"/door/{booking.event_id}")
        begin(page, name)
        expect(page.get_by_label("Hand scanner")).to_be_visible()
        return page

    return begun


def begin(page: Page, name: str, token: str = DOOR_TOKEN) -> None:
    page.get_by_label("Token of the doors").fill(token)
    page.get_by_label("Name of this gate").fill(name)
    page.get_by_role("button", name="Begin").click()


def scan(page: Page, code: str) -> None:
    """As a hand scanner does, wherever the focus is."""
    page.evaluate("document.activeElement.blur()")
    page.keyboard.type(code)
    page.keyboard.press("Enter")


def verdict(page: Page, text: str, *lines: str) -> None:
    expect(page.locator("[data-title]")).to_have_text(text)
    for line in lines:
        expect(page.locator("[data-lines]")).to_contain_text(line)


def disconnect(page: Page, is_offline: bool = True) -> None:
    page.context.set_offline(is_offline)


def test_a_hand_scanner_lets_each_seat_in_once(gate, booking, bookings, codes):
    north, south = gate("North"), gate("South")
    scan(north, codes.code_of(booking, "stalls-A-1"))
    verdict(north, "Yes: 1 person", "Eve", "Stalls, row A, seat 1")
    expect(north.locator(".verdict.yes")).to_be_visible()
    scan(south, codes.code_of(booking, "stalls-A-1"))
    verdict(south, "No: already inside", "gate North")
    expect(south.locator(".verdict.no")).to_be_visible()
    scan(north, codes.code_of(booking, "stalls-A-1"))
    verdict(north, "Scanned already", "a moment ago")
    scan(south, codes.code_of(booking))
    verdict(south, "Yes: 3 people", "Floor, place 1", "1 of this ticket")
    assert len(bookings.find(booking.id).admissions) == 4


def test_everything_else_is_a_no(gate, booking, bookings, codes):
    page = gate()
    scan(page, "https://example.org")
    verdict(page, "No: not a ticket")
    scan(page, codes.code_of(a_booking("another-evening", "stalls-A-1")))
    verdict(page, "No: another event", "another-evening")
    bookings.mark_refunded(booking.id, booking.booked_at)
    scan(page, codes.code_of(booking))
    verdict(page, "No: refunded")


def test_a_wrong_token_opens_no_gate(page_at, booking):
    page = page_at(f"/door/{booking.event_id}")
    begin(page, "North", token="a-guess-at-the-token")
    expect(page.get_by_role("alert").first).to_have_text("That is not the token of the doors.")
    expect(page.get_by_label("Hand scanner")).to_be_hidden()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_gate_goes_on_after_a_reload(gate, booking, codes):
    page = gate("West")
    expect(page.get_by_text("0 of 4 inside")).to_be_visible()
    page.reload()
    scan(page, codes.code_of(booking, "stalls-A-1"))
    verdict(page, "Yes: 1 person")


def test_two_gates_without_a_connection_admit_the_same_ticket_and_learn_of_it(
    gate, booking, bookings, codes
):
    north, south = gate("North"), gate("South")
    scan(north, codes.code_of(booking, "stalls-A-3"))
    verdict(north, "Yes: 1 person")
    for page in (north, south):
        disconnect(page)
        scan(page, codes.code_of(booking, "stalls-A-1"))
        verdict(page, "Yes: 1 person", "Without a connection")
    expect(north.locator("[data-connection]")).to_contain_text("1 scan to report")
    scan(north, codes.code_of(booking, "stalls-A-1"))
    verdict(north, "Scanned already")
    scan(north, codes.code_of(booking))
    verdict(north, "Yes: 2 people")
    scan(north, codes.code_of(booking).replace("stalls-A-1", "stalls-A-4"))
    verdict(north, "No: not a ticket")
    scan(north, codes._former_codes.dumps([booking.id, booking.event_id, SEATS]))
    verdict(north, "Cannot be checked")
    assert len(bookings.find(booking.id).admissions) == 1

    disconnect(north, is_offline=False)
    expect(north.locator("[data-connection]")).to_have_text("Connected.")
    expect(north.get_by_role("heading", name="Let in twice")).to_be_hidden()
    disconnect(south, is_offline=False)
    expect(south.get_by_text("Stalls, row A, seat 1, let in here")).to_contain_text("gate North")
    south.get_by_role("button", name="Seen").click()
    expect(south.get_by_role("heading", name="Let in twice")).to_be_hidden()
    let_in = [(a.seat, a.gate) for a in bookings.find(booking.id).admissions]
    assert let_in.count(("stalls-A-1", "North")) == let_in.count(("stalls-A-1", "South")) == 1
    assert len(let_in) == 5


def test_a_browser_without_ed25519_verifies_too(gate, booking, codes):
    page = gate(before=WITHOUT_ED25519)
    disconnect(page)
    scan(page, codes.code_of(booking, "stalls-A-2"))
    verdict(page, "Yes: 1 person", "Without a connection")
    scan(page, codes.code_of(booking, "stalls-A-1")[:-3] + "AAA")
    verdict(page, "No: not a ticket")


# ---------------------------------------------------------------- with a camera


def video_of(code: str, path: Path, width: int = 640, height: int = 480) -> Path:
    """A film of one picture, the code in the middle, as YUV4MPEG2, which Chromium plays as a
    camera."""
    matrix = [list(row) for row in segno.make(code, error="m", micro=False).matrix]
    pixels = (height - 80) // len(matrix)
    top = (height - pixels * len(matrix)) // 2
    left = (width - pixels * len(matrix)) // 2
    picture = bytearray(b"\xeb" * width * height)
    for y, row in enumerate(matrix):
        for x, is_dark in enumerate(row):
            for line in range(top + y * pixels, top + (y + 1) * pixels if is_dark else 0):
                start = line * width + left + x * pixels
                picture[start : start + pixels] = b"\x10" * pixels
    colours = b"\x80" * (width * height // 2)
    frame = b"FRAME\n" + bytes(picture) + colours
    path.write_bytes(f"YUV4MPEG2 W{width} H{height} F10:1 Ip C420jpeg\n".encode() + frame * 3)
    return path


@pytest.fixture
def camera_at(browser: Browser, stack, tmp_path, booking) -> Iterator[Callable[[str], Page]]:
    """A gate on a telephone whose camera sees a ticket."""
    open_browsers = []

    def begun(code: str) -> Page:
        chromium = browser.browser_type.launch(
            executable_path=headless(),
            args=[
                *options(),
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-video-capture={video_of(code, tmp_path / 'ticket.y4m')}",
            ],
        )
        open_browsers.append(chromium)
        page = new_context(chromium, stack.url, viewport=PHONE).new_page()
        page.goto(f"/door/{booking.event_id}")
        begin(page, "North")
        return page

    yield begun
    for chromium in open_browsers:
        chromium.close()


def test_the_camera_reads_a_ticket_and_a_ticket_that_is_held_still_is_read_once(
    camera_at, booking, bookings, codes
):
    page = camera_at(codes.code_of(booking))
    page.get_by_role("button", name="Start the camera").click()
    verdict(page, "Yes: 4 people", "Eve", "Floor, place 1")
    page.wait_for_timeout(1000)
    verdict(page, "Yes: 4 people")
    assert len(bookings.find(booking.id).admissions) == 4
    page.get_by_role("button", name="Stop the camera").click()
    expect(page.locator("video")).to_be_hidden()


def test_without_a_camera_the_page_says_what_else_there_is(gate):
    page = gate()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.get_by_text(re.compile("The camera cannot be used"))).to_contain_text(
        "hand scanner"
    )
