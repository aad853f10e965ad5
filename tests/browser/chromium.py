"""Chromium, driven by Playwright: Debian's package, because Playwright's would be a separate
download."""

import itertools
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
NARROW = {"width": 320, "height": 640}
"""What is left of a desktop at 400 % (WCAG 2.2, 1.4.10), and the smallest telephone."""

TIMEOUT_MS = 15_000
"""Of one action or expectation; the machine may be busy. Default 30 s and 5 s: a few of the former
are as long as a test may take, and the latter is little."""

_addresses = itertools.count(1)


@contextmanager
def running_chromium(*arguments: str) -> Iterator[Browser]:
    """``arguments`` are further ones of its command line. While it runs, this thread has an event
    loop and ``asyncio.run`` cannot be used in it."""
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=headless(), args=[*options(), *arguments]
        )
        try:
            yield browser
        finally:
            browser.close()


def new_context(
    browser: Browser,
    base_url: str,
    *,
    viewport: dict[str, int] = DESKTOP,
    javascript: bool = True,
    scripts: bool = True,
    **options: object,
) -> BrowserContext:
    """A new buyer: with new cookies and a new address, so that buyers do not share limits. Without
    ``scripts`` the site's do not load, but the test's own still run. ``options`` are those of
    Playwright's ``new_context``."""
    headers = _new_address() | options.pop("extra_http_headers", {})
    context = browser.new_context(
        base_url=base_url,
        viewport=viewport,
        java_script_enabled=javascript,
        extra_http_headers=headers,
        **{"locale": "en-GB", "timezone_id": "Europe/London", **options},
    )
    context.set_default_timeout(TIMEOUT_MS)
    if not scripts:
        context.route(re.compile(r"/static/.*\.js"), lambda route: route.abort())
    return context


def move(page: Page) -> None:
    """To another network, so that a test need not wait for the limit of an address."""
    page.context.set_extra_http_headers(_new_address())


def _new_address() -> dict[str, str]:
    number = next(_addresses)
    return {"X-Forwarded-For": f"10.77.{number // 250}.{number % 250 + 1}"}


def options() -> list[str]:
    """Of Chromium's command line."""
    # As root there is no sandbox to be had. Shared memory is small in containers.
    root = ["--no-sandbox"] * (os.geteuid() == 0)
    # Letters without coloured edges: a third of the size of a picture.
    return ["--disable-dev-shm-usage", "--disable-lcd-text", *root]


def headless() -> str:
    """Without the parts that draw windows: half the processor time of a page."""
    return shutil.which("chromium-headless-shell") or executable()


def executable() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise FileNotFoundError("no Chromium on PATH; `make test` installs Debian's")
    return found
