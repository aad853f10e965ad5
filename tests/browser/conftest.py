from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.chromium import new_context, running_chromium


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Closed after this folder's tests: Playwright's event loop conflicts with asyncio
    elsewhere."""
    with running_chromium() as chromium:
        yield chromium


@pytest.fixture
def page_at(browser, stack) -> Iterator[Callable[..., Page]]:
    """``page_at("/", viewport=PHONE, javascript=False)`` opens a page for a new buyer; the keyword
    arguments are those of ``new_context``. An error in a script fails the test, unless
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
