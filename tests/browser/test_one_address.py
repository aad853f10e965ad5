"""People behind one address, who have its ten requests a second together."""

import itertools
import re
from collections.abc import Callable, Iterator

import pytest
import requests
from playwright.sync_api import Browser, Page

from tests.browser.chromium import executable, new_context, options
from web.settings import DEFAULT_RATE_LIMIT

PEOPLE = 10
PATIENCE_MS = 60_000
"""Ten browsers keep the machine busy, and a map that was refused waits before it asks again."""

WATCHED_MS = 4000
"""Each map asks for the seats again meanwhile, and some do twice."""

GO = "address => void setTimeout(() => location.assign(address))"

_addresses = itertools.count(1)


class People:
    """Browsers behind one address; ``refused`` are the paths that were answered with 429."""

    def __init__(self, pages: list[Page], url: str):
        self._pages = pages
        self._url = url
        self.refused: list[str] = []
        for page in pages:
            page.on("response", lambda answer: self._note(answer.status, answer.url))

    def _note(self, status: int, url: str) -> None:
        if status == 429:
            self.refused.append(url.removeprefix(self._url))

    def open(self, path: str) -> None:
        """All at once, and waits until each has its map."""
        for page in self._pages:
            page.evaluate(GO, self._url + path)
        for page in self._pages:
            page.wait_for_selector("[data-ready]", timeout=PATIENCE_MS)

    def look_on(self) -> None:
        self._pages[0].wait_for_timeout(WATCHED_MS)


@pytest.fixture(scope="module")
def browser(browser: Browser) -> Iterator[Browser]:
    """All of Chromium: without its windows it does not ask for the icon."""
    with browser.browser_type.launch(executable_path=executable(), args=options()) as whole:
        yield whole


@pytest.fixture
def people_at(browser) -> Iterator[Callable[[str, int], People]]:
    """``people_at(url, 10)``: this many browsers behind one address."""
    contexts = []

    def made(url: str, count: int) -> People:
        headers = {"X-Forwarded-For": f"10.78.0.{next(_addresses)}"}
        pages = []
        for _ in range(count):
            contexts.append(new_context(browser, url, extra_http_headers=headers))
            pages.append(contexts[-1].new_page())
        return People(pages, url)

    yield made
    for context in contexts:
        context.close()


@pytest.fixture
def ten_people(people_at, stack) -> Callable[[], People]:
    return lambda: people_at(stack.url, PEOPLE)


def test_ten_people_behind_one_address_see_page_and_map_in_the_same_second(
    ten_people, page_at, event
):
    assert f"{PEOPLE}/second" == DEFAULT_RATE_LIMIT
    # Somebody else was there before them: nginx has the definition.
    page_at(f"/events/{event.id}").wait_for_selector("[data-ready]")
    people = ten_people()
    people.open(f"/events/{event.id}")
    people.look_on()
    assert people.refused == []


def test_ten_who_are_the_first_of_all_see_the_page_at_once_and_the_map_soon(ten_people, event):
    people = ten_people()
    people.open(f"/events/{event.id}")
    assert not [path for path in people.refused if not path.startswith("/api/")]


# ---------------------------------------------------------------- without nginx


def files_served(web_url: str) -> int:
    """Static files that the application has answered with, so far."""
    metrics = requests.get(f"{web_url}/metrics", timeout=10).text
    counted = re.findall(
        r'^tickets_answers_total\{route="static_files\.[^}]+\} (\S+)', metrics, re.MULTILINE
    )
    return sum(int(float(count)) for count in counted)


def test_without_nginx_one_cold_browser_gets_page_and_map(people_at, stack, event):
    visitor = people_at(stack.web_url, 1)
    before = files_served(stack.web_url)
    visitor.open(f"/events/{event.id}")
    assert visitor.refused == []
    assert files_served(stack.web_url) - before >= 9


def test_without_nginx_a_warm_browser_asks_for_no_file(people_at, stack, event):
    visitor = people_at(stack.web_url, 1)
    visitor.open(f"/events/{event.id}")
    before = files_served(stack.web_url)
    visitor.open(f"/events/{event.id}")
    assert files_served(stack.web_url) == before
    assert visitor.refused == []


def test_without_nginx_four_people_in_the_same_second_see_page_and_map(people_at, stack, event):
    people = people_at(stack.web_url, 4)
    people.open(f"/events/{event.id}")
    assert people.refused == []


def test_without_nginx_ten_see_the_page_at_once_with_its_style_and_the_map_soon(
    people_at, stack, event
):
    people = people_at(stack.web_url, PEOPLE)
    people.open(f"/events/{event.id}")
    assert not [path for path in people.refused if not path.startswith("/api/")]
