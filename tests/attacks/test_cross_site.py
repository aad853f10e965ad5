"""Pages of other websites, in a real browser whose owner has seats on hold and is logged in as the
organiser: they send all that a page can send to each address of the shop, and change nothing."""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
import redis
from playwright.sync_api import Browser, BrowserContext, Error, Frame, Page, Response, expect
from werkzeug.test import create_environ

from tests.attacks.clients import new_address
from tests.attacks.other_website import (
    BEACON,
    ENCTYPES,
    FETCHES,
    FETCHES_AHEAD,
    FORM,
    PARTS,
    REMOVE_PARTS,
    OtherWebsite,
)
from tests.browser.chromium import new_context, running_chromium
from tests.browser.engines import ENGINES
from tests.browser.states import pressed, ready_to_pay
from tests.support.application import application_with
from tests.support.factories import put_on_sale, small_hall
from tests.support.site import ORGANISER_TOKEN
from tests.support.waiting import eventually
from web.domain.events import Event
from web.http.cross_site import is_cross_site

RULES = list(application_with().url_map.iter_rules())
"""Every address that there is."""

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium("--host-resolver-rules=MAP *.test 127.0.0.1") as chromium:
        yield chromium


@pytest.fixture(scope="module")
def other_website() -> Iterator[OtherWebsite]:
    with OtherWebsite() as website:
        yield website


class Neighbours(NamedTuple):
    """Host names, both of this machine."""

    shop: str
    other: str
    sends_fetch_metadata: bool = True


NEIGHBOURS = {
    "another site": Neighbours("127.0.0.1", "evil.localhost"),
    "another port of the same host": Neighbours("127.0.0.1", "127.0.0.1"),
    # Browsers send Sec-Fetch-Site over https and to loopback only.
    "another site, by http": Neighbours("shop.test", "evil.test", sends_fetch_metadata=False),
}


class Visitor:
    """A browser with seats of ``event`` on hold and the organiser's login; ``answers`` are those
    that the shop gave to other websites' pages."""

    def __init__(self, context: BrowserContext, shop: str, other: str, event: Event):
        self.context, self.shop, self.other, self.event = context, shop, other, event
        self.hold_page = ready_to_pay(self._open(f"{shop}/events/{event.id}"))
        self.hold_id = self.hold_page.url.rpartition("/")[2]
        self.organiser_page = self._open(f"{shop}/organiser")
        self.organiser_page.get_by_label("Token").fill(ORGANISER_TOKEN)
        pressed(self.organiser_page, "Log in", "Sales")
        self.page = self._open(other)
        self.answers: list[Response] = []
        self.context.on("response", self._note)

    def _open(self, address: str) -> Page:
        page = self.context.new_page()
        page.goto(address)
        return page

    def _note(self, answer: Response) -> None:
        if answer.url.startswith(self.shop):
            self.answers.append(answer)

    def is_at_the_other_website(self) -> Page:
        self.from_new_address()
        if not self.page.url.startswith(self.other):
            self.page.goto(self.other)
        return self.page

    def from_new_address(self) -> None:
        """Its next requests come from another IP address: limits must not be what refuses."""
        self.context.set_extra_http_headers({"X-Forwarded-For": new_address()})

    def addresses(self, *methods: str, below: str = "/") -> list[tuple[str, str]]:
        """Method and address of each route, about what the visitor holds."""
        known = {
            "event_id": self.event.id,
            "hold_id": self.hold_id,
            "seat": "stalls-A-1",
            "section_id": "stalls",
            "quantity": "2",
            "booking_id": self.hold_id.replace("hld", "bkg"),
            "version": self.event.version,
            "filename": "page.css",
            "key_digest": "0" * 32,
            "link": "a.b",
        }
        return [
            (
                method,
                self.shop + re.sub(r"<(?:path:)?(\w+)>", lambda name: known[name[1]], rule.rule),
            )
            for rule in RULES
            for method in sorted(rule.methods.intersection(methods))
            if rule.rule.startswith(below)
        ]

    def statuses(self, *methods: str, below: str = "/") -> set[int]:
        """Of what was sent from elsewhere."""
        return {
            answer.status
            for answer in self.answers
            if answer.request.method in methods
            and answer.url.removeprefix(self.shop).startswith(below)
        }

    def assert_nothing_is_lost(self) -> None:
        """To the visitor's own eye."""
        self.from_new_address()
        self.hold_page.reload()
        expect(self.hold_page.get_by_role("button", name="Pay")).to_be_visible()
        self.organiser_page.goto(f"{self.shop}/organiser")
        expect(self.organiser_page.get_by_role("heading", name="Sales")).to_be_visible()


@pytest.fixture(params=NEIGHBOURS.values(), ids=NEIGHBOURS)
def neighbours(request) -> Neighbours:
    return request.param


@pytest.fixture
def visitor(browser, stack, seats, other_website, neighbours) -> Iterator[Visitor]:
    event = small_hall()
    put_on_sale(seats, event)
    context = new_context(browser, stack.url)
    shop = stack.url.replace("127.0.0.1", neighbours.shop)
    other = other_website.url.replace("127.0.0.1", neighbours.other)
    yield Visitor(context, shop, other, event)
    context.close()


@pytest.fixture
def state(visitor: Visitor, redis_client: redis.Redis):
    """What must stay as it is: all that Redis has of the event, and the visitor's cookies."""

    def read() -> tuple:
        keys = sorted(redis_client.keys(f"*{{{visitor.event.id}}}*"))
        return {key: redis_client.dump(key) for key in keys}, visitor.context.cookies()

    before = read()
    assert len(before[0]) > 3 and before[1]
    return lambda: read() == before


# ---------------------------------------------------------------- what a page sends by itself


def test_no_fetch_and_no_beacon_changes_anything(visitor, state):
    page = visitor.is_at_the_other_website()
    # A header that is added would have to be allowed, and a simple request would not be one.
    visitor.context.set_extra_http_headers({})
    for method, address in visitor.addresses(*UNSAFE):
        assert page.evaluate(FETCHES, [address, method]) == 0, address
        page.evaluate(BEACON, address)
    for method in UNSAFE:
        page.evaluate(FETCHES, [f"{visitor.shop}/api/events/{visitor.event.id}", method])
    assert state()
    assert visitor.statuses("POST", below="/api/") == {403}
    visitor.assert_nothing_is_lost()


def test_a_redirect_does_not_hide_where_a_request_comes_from(visitor, state):
    page = visitor.is_at_the_other_website()
    for method, address in visitor.addresses("POST", below="/api/"):
        redirect = f"{visitor.other}/redirect?{urlencode({'to': address})}"
        page.evaluate(FETCHES, [redirect, method])
        page.evaluate(FORM, [redirect, ENCTYPES[0], "post", ""])
        page.wait_for_url(f"{visitor.shop}/**")
        visitor.is_at_the_other_website()
    assert state()
    assert visitor.statuses("POST", below="/api/") == {403}


def test_no_form_changes_anything(visitor, state):
    for _, address in visitor.addresses("POST"):
        page = visitor.is_at_the_other_website()
        for number, enctype in enumerate(ENCTYPES):
            page.evaluate(FORM, [address, enctype, "post", f"frame-{number}"])
        for enctype in ENCTYPES:
            page.evaluate(FORM, [address, enctype, "post", ""])
            # Answered; what the answer's page would load does not matter here.
            page.wait_for_url(f"{visitor.shop}/**", wait_until="commit")
            page = visitor.is_at_the_other_website()
    assert state()
    assert visitor.statuses("POST", below="/api/") == {403}
    # The pages' own forms have a token, and say so when it is missing.
    assert visitor.statuses("POST", below="/e") <= {400, 403, 415}
    visitor.assert_nothing_is_lost()


def shown_in(frame: Frame) -> str:
    """Nothing, when the browser has taken it away because its address was refused."""
    try:
        frame.wait_for_load_state()
        return frame.content()
    except Error:
        if frame.is_detached():
            return ""
        raise


def test_no_page_opens_inside_of_another_or_changes_anything_by_being_opened(visitor, state):
    addresses = [address for _, address in visitor.addresses("GET")]
    for address in addresses:
        page = visitor.is_at_the_other_website()
        page.evaluate(PARTS, address)
        frames = page.frames[1:]
        assert frames
        assert not [frame.url for frame in frames if "TicketS" in shown_in(frame)]
        page.evaluate(REMOVE_PARTS)
    for address in addresses:
        if "/static/" not in address:
            visitor.from_new_address()
            if address.endswith(".csv"):
                # goto() raises where a download begins in place of a page.
                with page.expect_download(), suppress(Error):
                    page.goto(address)
            else:
                page.goto(address)
    assert state()
    visitor.assert_nothing_is_lost()


# ---------------------------------------------------------------- whose limit it is

FLOOD = """
async ([addresses, methods]) => {
    for (let round = 0; round < 10; round++) {
        const sent = addresses.flatMap((address) =>
            methods.map((method) => fetch(address, { method, mode: "no-cors" })));
        await Promise.allSettled(sent);
    }
}
"""


def test_a_page_cannot_use_up_what_its_visitor_may_ask(visitor, neighbours):
    page = visitor.is_at_the_other_website()
    own = visitor.context.new_page()
    addresses = [f"{visitor.shop}/api/events/{visitor.event.id}/seats/stalls-A-1/hold"]
    methods = ["POST"]
    if neighbours.sends_fetch_metadata:  # otherwise nobody can say where a GET comes from
        addresses += [f"{visitor.shop}/api/events", f"{visitor.shop}/basket"]
        methods.append("GET")
    page.evaluate(FLOOD, [addresses, methods])
    answer = own.goto(f"{visitor.shop}/events/{visitor.event.id}")
    assert answer.status == 200
    assert answer.headers["ratelimit"].startswith('"client";r=9;')


def test_what_a_browser_fetches_ahead_for_a_page_is_refused(browser, other_website):
    """Chromium prefetches only from a site of which it has no cookies, and without the headers that
    a test adds, so another server receives the requests here."""
    page = browser.new_page()
    page.goto(other_website.url.replace("127.0.0.1", "evil.localhost"))
    with OtherWebsite() as shop:
        page.evaluate(FETCHES_AHEAD, f"{shop.url}/basket")
        eventually(lambda: len(shop.received) == 20, "twenty pages")
        for path, headers in shop.received:
            assert is_cross_site(create_environ(path, headers=headers)), headers
    page.close()


# ---------------------------------------------------------------- other engines

HOLD = """
const [address] = arguments;
return fetch(address, { method: "POST", mode: "no-cors" }).then(() => null, () => null);
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_each_engine_says_where_a_request_comes_from(
    engine, event, seats, stack, other_website, tmp_path
):
    hold = f"{stack.url}/api/events/{event.id}/seats/stalls-A-1/hold"

    def held() -> int:
        return seats.read_seats(event.id).seats.count("h")

    with ENGINES[engine](tmp_path, javascript=True) as driver:
        driver.get(other_website.url.replace("127.0.0.1", "evil.localhost"))
        driver.execute_script(HOLD, hold)
        assert held() == 0
        # The same script on a page of the shop's own.
        driver.get(f"{stack.url}/organiser")
        driver.execute_script(HOLD, hold)
        assert held() == 1
