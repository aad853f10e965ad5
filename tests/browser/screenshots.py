"""``make screenshots``: write a picture of every page in every state to docs/screenshots, and the
gallery that shows them to docs/screenshots.md. It starts its own TicketS."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page

from ops.processes import free_port
from ops.servers import REPOSITORY
from ops.stack import Stack
from tests.browser.chromium import PHONE, new_context, running_chromium
from tests.browser.mail_shop import MailShop, mail_shop
from tests.browser.states import STATES
from tests.support.booking_stores import bookings_at
from tests.support.environment import inherited
from tests.support.redis_stores import seats_on
from tests.support.site import DOOR_TOKEN, ORGANISER_TOKEN
from web.adapters.redis.shard import connect

FOLDER = REPOSITORY / "docs/screenshots"
GALLERY = REPOSITORY / "docs/screenshots.md"

WIDE = {"width": 1040, "height": 640}
MAX_HEIGHT = 1200
"""Of a picture in pixels; the list of a stadium's sections is ten times as high."""

WHOLE = ("organiser-booking", "organiser-booking-mailed", "organiser-sale-closed", "mail")
"""Pictures of these are as high as the page."""

COLOURS = 64
"""Of a picture: enough for the pages' few colours and the anti-aliasing between them."""

ON_A_PHONE = (
    "events",
    "theatre",
    "arena",
    "conflict",
    "hold",
    "declined",
    "at-bank",
    "expired",
    "receipt",
    "basket",
    "organiser-sale",
    "organiser-bookings",
    "organiser-booking",
)
ONLY_ON_A_PHONE = ("door", "door-let-in", "door-refused", "door-offline")
OF_THE_MAP = ("theatre", "arena", "conflict")
"""Pictures of these on a phone are scrolled to the map: above it there is another form."""

LISTS_OF_EVENTS = ("events", "organiser")
"""Taken first, before other pictures add their events to the list."""

IN_THE_DARK = ("events", "theatre", "arena", "hold", "at-bank", "receipt", "organiser-sale")

HEAD = """# Screenshots

Made by `make screenshots`: every page in every state on a desktop, some of them also on a phone
and in dark mode; the door's on a phone.
"""


def pictures() -> Iterator[tuple[str, str, str, dict[str, object]]]:
    """For each picture: file, state, variant ("" for a desktop), and the browser's options."""
    for name in STATES:
        if name in ONLY_ON_A_PHONE:
            yield f"{name}.png", name, "", {"viewport": PHONE}
            continue
        yield f"{name}.png", name, "", {"viewport": WIDE}
        if name in ON_A_PHONE:
            yield f"{name}-phone.png", name, "on a phone", {"viewport": PHONE}
        if name in IN_THE_DARK:
            dark = {"viewport": WIDE, "color_scheme": "dark"}
            yield f"{name}-dark.png", name, "in dark mode", dark


def _order(picture: tuple[str, str, str, dict[str, object]]) -> bool:
    return picture[1] not in LISTS_OF_EVENTS


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    with tempfile.TemporaryDirectory() as folder, running_chromium() as browser:
        tokens = {"ORGANISER_TOKEN": ORGANISER_TOKEN, "DOOR_TOKEN": DOOR_TOKEN}
        stack = Stack(Path(folder), inherited() | tokens)
        try:
            stack.start(free_port())
            with mail_shop(stack.environment) as shop:
                for file, name, _, options in sorted(pictures(), key=_order):
                    take(browser, stack, shop, name, FOLDER / file, options)
        finally:
            stack.stop()
    taken = sorted(FOLDER.glob("*.png"))
    # The pages have few colours; this makes the files a third of the size.
    shrink = ["pngquant", "--nofs", "--strip", "--force", "--ext", ".png", str(COLOURS)]
    subprocess.run([*shrink, *taken], check=True)
    GALLERY.write_text(gallery())
    size_kb = sum(path.stat().st_size for path in taken) // 1000
    print(f"{len(taken)} pictures, {size_kb} kB, in {FOLDER.relative_to(REPOSITORY)}")


def take(
    browser: Browser,
    stack: Stack,
    shop: MailShop,
    name: str,
    path: Path,
    options: dict[str, object],
) -> None:
    contexts = []

    def opened(address: str, scripts: bool) -> Page:
        look = {"reduced_motion": "reduce", "scripts": scripts, **options}
        context = new_context(browser, stack["nginx"].url, **look)
        contexts.append(context)
        page = context.new_page()
        page.goto(address)
        return page

    seats = seats_on(connect(stack.environment["REDIS_URL"]))
    bookings = bookings_at(stack.environment["MONGODB_URI"])
    page = STATES[name].make(seats, bookings, shop, opened)
    height = page.evaluate("document.documentElement.scrollHeight")
    width = options["viewport"]["width"]
    if name in OF_THE_MAP and options["viewport"] == PHONE:
        page.locator("[data-seat-map]").evaluate("map => map.scrollIntoView()")
    else:
        # As high as the picture and scrolled to the top, so that sticky elements are in place.
        page.set_viewport_size(
            {"width": width, "height": height if name in WHOLE else min(height, MAX_HEIGHT)}
        )
        page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=path, animations="disabled", caret="hide")
    for context in contexts:
        context.close()


def gallery() -> str:
    lines = [HEAD]
    for file, name, special, _ in pictures():
        caption = STATES[name].caption
        if not special:
            lines.append(f"## {caption}\n")
        alt = f"{caption}, {special}" if special else caption
        lines.append(f"![{alt}](screenshots/{file})\n")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
