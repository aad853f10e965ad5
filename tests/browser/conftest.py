import threading
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from werkzeug.serving import make_server

from tests.browser import stripe_stand_in
from tests.browser.chromium import new_context, running_chromium
from tests.browser.mail_shop import MailShop, mail_shop
from tests.browser.states import ready_to_pay
from tests.browser.stripe_stand_in import PUBLISHABLE_KEY, StripeStandIn, type_card
from tests.support.application import application_with
from tests.support.factories import put_on_sale, small_hall

NEEDED = ("card.js", "load_stripe.js", "asking.js")
"""Scripts of this site without which there is no Payment Element."""

WAYS_TO_LACK_A_SCRIPT = {"blocked": lambda route: route.abort(), "no answer": lambda route: None}


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


@pytest.fixture(scope="package")
def card_shop(stack) -> Iterator[str]:
    """The stack's own application with a publishable key; its address."""
    # Without nginx the static files count, too.
    also = {"STRIPE_PUBLISHABLE_KEY": PUBLISHABLE_KEY, "RATE_LIMIT": "1000/second"}
    app = application_with(**stack.environment | also)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="package")
def shop_with_mails(stack) -> Iterator[MailShop]:
    with mail_shop(stack.environment) as shop:
        yield shop


@pytest.fixture
def held(page_at, seats, card_shop, stack) -> Callable[..., Page]:
    """A page with a hold, and the buyer's name and address typed in; a card too, where Stripe's
    script comes. ``before`` is a script that runs before the site's own; ``without`` is one of
    those, answered in ``way``."""

    def hold(
        script: Callable[[Route], None] = stripe_stand_in.script,
        element: Callable[[Route], None] = stripe_stand_in.element,
        before: str = "",
        without: str = "",
        way: str = "blocked",
        **options: object,
    ) -> Page:
        put_on_sale(seats, event := small_hall())
        page = page_at("about:blank", **options)
        page.clock.install()
        page.add_init_script(before)
        page.stripe = StripeStandIn(page.context, stack)
        page.stripe.script, page.stripe.element = script, element
        page.goto(f"{card_shop}/events/{event.id}")
        if without:
            page.route(f"**/{without}", WAYS_TO_LACK_A_SCRIPT[way])
        ready_to_pay(page, wait_until="commit")
        if without not in NEEDED and options.get("javascript", True):
            expect(page.locator(".card-field p")).to_have_count(0)
            if script is stripe_stand_in.script and element is stripe_stand_in.element:
                type_card(page)
        return page

    return hold
