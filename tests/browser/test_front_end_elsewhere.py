"""A shop's own front end, on another origin that ALLOWED_ORIGINS names."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page

from ops.processes import free_port
from ops.stack import Stack
from tests.attacks.other_website import OtherWebsite
from tests.support.environment import inherited
from tests.support.factories import put_on_sale, small_hall

BUY = Path(__file__).with_name("front_end.js").read_text()


@pytest.fixture(scope="module")
def website() -> Iterator[OtherWebsite]:
    """Its pages are those of several websites, each under its own name."""
    with OtherWebsite() as website:
        yield website


def named(website: OtherWebsite, name: str) -> str:
    return website.url.replace("127.0.0.1", f"{name}.localhost")


@pytest.fixture(scope="module")
def shop(any_redis, mongo_server, website, tmp_path_factory) -> Iterator[str]:
    """The address of nginx before an application with the setting."""
    settings = {
        "REDIS_URL": any_redis.url,
        "MONGODB_URI": mongo_server.url,
        "ALLOWED_ORIGINS": f"{named(website, 'friend')}, https://another.example",
    }
    stack = Stack(tmp_path_factory.mktemp("elsewhere"), inherited() | settings)
    try:
        stack.start(free_port())
        yield stack["nginx"].url
    finally:
        stack.stop()


@pytest.fixture
def page_of(browser, website) -> Iterator[Callable[[str], Page]]:
    """A buyer's browser at the website of that name."""
    contexts = []

    def opened(name: str) -> Page:
        # A header that is added would need to be allowed as well, so all have one address.
        contexts.append(browser.new_context())
        page = contexts[-1].new_page()
        page.goto(named(website, name))
        return page

    yield opened
    for context in contexts:
        context.close()


def test_a_script_buys_a_seat_and_reads_each_answer(page_of, shop, seats):
    event = small_hall()
    put_on_sale(seats, event)
    told = page_of("friend").evaluate(BUY, {"shop": shop, "event": event.id})
    statuses = {name: answer["status"] for name, answer in told.items()}
    assert statuses == {
        "event": 200,
        "definition": 200,
        "map": 200,
        "unchanged": 304,
        "hold": 201,
        "taken": 409,
        "taken_again": 409,
        "extended": 200,
        "invalid": 422,
        "receipt": 201,
        "replayed": 201,
        "booking": 200,
        "released": 204,
        "too_large": 413,
        "limited": 429,
    }
    assert told["receipt"]["body"] == told["replayed"]["body"] == told["booking"]["body"]
    assert told["replayed"]["headers"]["idempotent-replayed"] == "true"
    assert told["limited"]["body"]["code"] == "rate_limited"
    assert {"retry-after", "ratelimit", "ratelimit-policy"} <= told["limited"]["headers"].keys()
    assert told["taken_again"]["body"]["seats"] == ["stalls-A-1"]
    assert seats.read_seats(event.id).seats.count("s") == 1


def test_another_website_cannot_even_read_that_it_was_refused(page_of, shop, seats):
    event = small_hall()
    put_on_sale(seats, event)
    page = page_of("stranger")
    with pytest.raises(Error, match="Failed to fetch"):
        page.evaluate(BUY, {"shop": shop, "event": event.id})
    sent = "(url) => fetch(url, { method: 'POST', mode: 'no-cors' }).then(({ type }) => type)"
    hold = f"{shop}/api/events/{event.id}/seats/stalls-A-1/hold"
    assert page.evaluate(sent, hold) == "opaque"
    assert set(seats.read_seats(event.id).seats) == {"0"}
