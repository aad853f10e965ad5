"""A browser that blocks all cookies, and with them its storage."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser.chromium import TIMEOUT_MS, executable, options
from tests.support.factories import put_on_sale, small_hall

BLOCKED = 2
"""Chromium's setting for "block all cookies"."""


@pytest.fixture
def blocking(browser: Browser, stack, tmp_path: Path) -> Iterator[BrowserContext]:
    """A profile with that setting. It needs a new browser, because the setting is read at the
    start."""
    preferences = {"profile": {"default_content_setting_values": {"cookies": BLOCKED}}}
    profile = tmp_path / "Default"
    profile.mkdir()
    (profile / "Preferences").write_text(json.dumps(preferences))
    context = browser.browser_type.launch_persistent_context(
        tmp_path,
        executable_path=executable(),
        args=options(),
        base_url=stack.url,
        extra_http_headers={"X-Forwarded-For": "10.76.0.1"},
    )
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


@pytest.fixture
def page(blocking, seats):
    event = small_hall()
    put_on_sale(seats, event)
    page = blocking.new_page()
    page.goto(f"/events/{event.id}")
    page.wait_for_selector("[data-ready]")
    return page


def test_the_map_says_that_holding_needs_cookies(page):
    page.locator(".cell").focus()
    page.keyboard.press("Space")
    page.locator(".seat-map [type=submit]").click()
    told = page.locator("[data-message]")
    expect(told).to_contain_text("Allow cookies for this site in the browser's settings")
    expect(told).to_contain_text("What you chose is kept.")
    assert page.context.cookies() == []


def test_the_form_says_so_on_a_page(page):
    page.get_by_role("button", name="Hold the best seats").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("needs a cookie"))
