from collections.abc import Iterator

import pytest

from tests.pages.browser import Browser, Page
from tests.support.factories import put_on_sale, small_hall

BUYER = {"name": "Ada Lovelace", "email": "ada@example.org"}


@pytest.fixture
def ada(stack) -> Browser:
    return Browser(stack.url)


@pytest.fixture
def eve(stack) -> Browser:
    return Browser(stack.url)


@pytest.fixture
def hall_with(seats):
    """Puts a small hall on sale, with changes; returns the address of its page."""

    def put(**changes) -> str:
        hall = small_hall(**changes)
        put_on_sale(seats, hall)
        return f"/events/{hall.id}"

    return put


@pytest.fixture
def address(hall_with) -> str:
    return hall_with()


@pytest.fixture
def charges(stack):
    """What was charged or reserved for the hold on this page."""
    return lambda page: stack.charges(page.address)


@pytest.fixture
def held(ada, address) -> Page:
    """Ada's hold of two seats, ready to be paid."""
    return ada.get(address).press("Hold the chosen", seats=["stalls-A-1", "stalls-A-2"])


def every_page(ada: Browser, address: str, held: Page) -> Iterator[Page]:
    receipt = ada.get(address).press("Hold the chosen", seats="stalls-C-1").press("Pay", **BUYER)
    yield from (receipt, held, held.press("Pay", name=""))
    for path in ("/", address, f"{address}/sections/stalls", "/basket", "/nothing", "/organiser"):
        yield ada.get(path)
