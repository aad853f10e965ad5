"""A hold is carried to another device by its address, and ends with it."""

import time

import pytest
import requests

from tests.pages.browser import HTML, TIMEOUT_S, Browser, Page
from tests.pages.conftest import BUYER


@pytest.fixture
def link(ada, held) -> str:
    """Ada's: the path of the address that her page has, as a picture too."""
    page = held.link("Continue on another device")
    assert page.root.one("svg")
    address = page.root.one("p", class_="code").one("a")["href"]
    assert address.startswith(f"{ada.base_url}/holds/")
    return address.removeprefix(ada.base_url)


def take(browser: Browser, link: str) -> Page:
    return browser.get(link).press("Put them into this basket")


def test_the_other_device_asks_and_then_pays(ada, eve, held, link, charges):
    asked = eve.get(link)
    assert asked.title == "Continue with these seats here?"
    assert "Stalls, row A, seat 1" in asked.text and "£50.00" in asked.text
    assert "Go on only if you held these seats yourself" in asked.text
    taken = asked.press("Put them into this basket")
    assert taken.address == held.address
    assert taken.press("Pay", **BUYER).title == "You are in"
    assert ada.get(held.address).title == "You are in"
    assert charges(held) == [5000]


def test_two_devices_charge_once(ada, eve, held, link, charges):
    elsewhere = take(eve, link)
    first, second = elsewhere.press("Pay", **BUYER), held.press("Pay", **BUYER)
    assert first.title == second.title == "You are in"
    assert charges(held) == [5000]


def test_to_open_the_link_changes_nothing(eve, held, link):
    """A preview of a message opens it, and so does a browser that reads ahead."""
    for _ in range(2):
        assert requests.get(eve.base_url + link, headers=HTML, timeout=TIMEOUT_S).status_code == 200
    eve.get(link)
    assert eve.get(held.address).status == 404
    assert "nothing in it" in eve.get("/basket").text


def test_a_form_of_another_site_puts_nothing_into_the_basket(eve, link):
    eve.get(link)
    assert eve.post(link, [("csrf_token", "forged")]).status_code == 400
    assert "nothing in it" in eve.get("/basket").text


def test_in_the_browser_that_has_the_hold_the_link_leads_to_it(ada, held, link):
    assert ada.get(link).address == held.address


def test_who_does_not_have_the_hold_gets_no_link(eve, held):
    assert eve.get(f"{held.address}/elsewhere").status == 404


@pytest.mark.parametrize("ending", ["paid", "given back", "over"])
def test_the_link_ends_with_the_hold(ada, eve, hall_with, ending):
    address = hall_with(hold_ms=2500 if ending == "over" else 60_000)
    held = ada.get(address).press("Hold the chosen", seats="stalls-A-1")
    page = held.link("Continue on another device")
    link = page.root.one("p", class_="code").one("a")["href"].removeprefix(ada.base_url)
    asked = eve.get(link)
    if ending == "paid":
        held.press("Pay", **BUYER)
    elif ending == "given back":
        held.press("Give the seats back")
    else:
        time.sleep(2.6)
    for refused in (eve.get(link), asked.press("Put them into this basket")):
        assert (refused.status, refused.title) == (410, "This link has ended")
    assert "nothing in it" in eve.get("/basket").text


def test_a_link_that_was_changed_opens_nothing(ada, eve, held, link):
    receipt = held.press("Pay", **BUYER).address
    signature = receipt.rpartition("/")[2]
    for wrong in (link[:-1], link + "A", "/holds/x", f"/holds/{signature}"):
        refused = eve.get(wrong)
        assert (refused.status, refused.title) == (404, "There is no such link")
    assert eve.get(receipt.replace(signature, link.rpartition("/")[2])).status == 404


def test_the_address_is_kept_from_other_sites_and_search_engines(eve, held, link):
    for page in (eve.get(link), held.link("Continue on another device")):
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert "noindex" in page.headers["X-Robots-Tag"]
        assert page.headers["Cache-Control"] == "no-store"
