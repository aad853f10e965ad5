from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.chromium import new_context, running_chromium


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Ends with this folder's tests: Playwright's event loop is in the way of others' asyncio."""
    with running_chromium() as chromium:
        yield chromium


@pytest.fixture
def page_at(browser, stack) -> Iterator[Callable[..., Page]]:
    """``page_at("/", viewport=PHONE, javascript=False)``: a page of a buyer of its own, open there;
    arguments are those of ``new_context``. A script that fails in it fails the test, unless
    ``may_fail``."""
    contexts, failures = [], []

    def opened(address: str = "/", *, may_fail: bool = False, **options: object) -> Page:
        contexts.append(context := new_context(browser, stack.url, **options))
        if not may_fail:
            context.on("weberror", lambda failed: failures.append(str(failed.error)))
        page = context.new_page()
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not failures
