"""What keeps pages, cookies and receipts to those they belong to."""

import re

import pytest
import requests
from flask import session
from flask.sessions import NullSession

from tests.pages.browser import HTML, TIMEOUT_S, Browser, csrf_token_in
from tests.pages.conftest import BUYER, every_page
from tests.support.http_client import Client, assert_problem

NOTHING_INLINE = re.compile(
    r"<script(?![^>]*\bsrc=|\s+type=.application/ld\+json.>)|<style|\son\w+=|\sstyle=|javascript:",
    re.IGNORECASE,
)
"""Data for search engines is no script that a browser runs."""


def assert_safe(headers) -> None:
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "*" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"


def test_every_page_has_the_headers_and_nothing_inline(ada, address, held):
    for page in every_page(ada, address, held):
        assert_safe(page.headers)
        assert not NOTHING_INLINE.search(page.answer.text), page.address


def test_what_is_typed_comes_back_as_text_and_not_as_markup(held):
    typed = "\"><script>alert(1)</script><b title='"
    refused = held.press("Pay", name=typed, email=typed, payment_method="pm_card_visa")
    assert refused.status == 422
    assert refused.root.one("input", name="name")["value"] == typed
    assert all(script["src"].startswith("/static/") for script in refused.root.all("script"))


def test_redirects_are_as_safe_as_pages(held):
    answer = held.send("Pay", **BUYER)
    assert answer.status_code == 303
    assert_safe(answer.headers)
    assert answer.headers["Location"].startswith("/"), "no Host header gets into a link"


def test_search_engines_see_events_and_nothing_that_is_a_buyer_s(ada, address, held):
    seen = {
        page.address: "noindex" not in page.headers.get("X-Robots-Tag", "")
        for page in every_page(ada, address, held)
    }
    assert {path for path, listed in seen.items() if listed} == {
        "/",
        address,
        f"{address}/sections/stalls",
    }


def test_a_receipt_tells_its_address_to_nobody(held):
    receipt = held.press("Pay", **BUYER)
    assert receipt.headers["Referrer-Policy"] == "no-referrer"
    assert "noindex" in receipt.headers["X-Robots-Tag"]
    assert not [a for a in receipt.root.all("a") if a["href"].startswith("http")]


# ---------------------------------------------------------------- cookies


def cookie_of(answer) -> str:
    return next(value for name, value in answer.headers.items() if name.lower() == "set-cookie")


def test_over_tls_the_cookie_is_secure_and_this_host_s_alone(stack, address):
    ask = {"X-Forwarded-Proto": "https", **HTML}
    answer = requests.get(stack.web_url + address, headers=ask, timeout=TIMEOUT_S)
    cookie = cookie_of(answer)
    assert cookie.startswith("__Host-tickets=")
    for attribute in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert attribute in cookie
    assert "Domain" not in cookie


def test_without_tls_the_cookie_still_works(stack, address):
    cookie = cookie_of(requests.get(stack.url + address, headers=HTML, timeout=TIMEOUT_S))
    assert cookie.startswith("tickets=")
    assert "Secure" not in cookie and "HttpOnly" in cookie and "SameSite=Lax" in cookie


@pytest.mark.parametrize(("peer", "is_secure"), [("127.0.0.1", True), ("203.0.113.9", False)])
def test_only_a_trusted_proxy_says_that_the_buyer_came_over_tls(
    application, address, peer, is_secure
):
    answer = application().get(
        address,
        headers={"X-Forwarded-Proto": "https", **HTML},
        environ_overrides={"REMOTE_ADDR": peer},
    )
    assert cookie_of(answer).startswith("__Host-") == is_secure


def test_the_way_to_buy_works_over_tls_without_a_referer(application, address):
    browser = application(RATE_LIMIT="1000/second")
    browser.environ_base["HTTP_X_FORWARDED_PROTO"] = "https"
    browser.environ_base["HTTP_ACCEPT"] = "text/html"
    base = {"base_url": "https://localhost"}
    text = browser.get(address, **base).text
    secret = csrf_token_in(text)
    form = {"csrf_token": secret, "seats": "stalls-A-1"}
    assert browser.post(f"{address}/holds", data=form, **base).status_code == 303


def test_the_api_takes_no_cookie_for_a_token_and_sets_none(ada, held):
    answer = ada.request("GET", f"{ada.base_url}/api{held.address}", timeout=TIMEOUT_S)
    assert_problem(answer, 404, "hold_not_found")
    assert "Set-Cookie" not in answer.headers
    assert "Cookie" not in answer.headers.get("Vary", "")


def test_the_api_needs_no_csrf_token(stack, event):
    assert Client(stack.url, event.id).hold_best("floor", 1).status_code == 201


def test_a_changed_cookie_is_worth_nothing(ada, held):
    name, value = next((cookie.name, cookie.value) for cookie in ada.cookies)
    ada.cookies.clear()
    ada.cookies.set(name, value[:-2] + ("aa" if value[-2:] != "aa" else "bb"))
    assert ada.get(held.address).status == 404
    assert "There is nothing in it" in ada.get("/basket").text


def test_a_cookie_is_written_when_something_changed_and_not_with_each_answer(ada, held):
    for path in ("/", "/basket", held.address, "/static/style.css"):
        answer = ada.request("GET", ada.base_url + path, timeout=TIMEOUT_S)
        assert "Set-Cookie" not in answer.headers, path


def test_many_holds_fit_a_cookie(stack, hall_with, seats):
    browser = Browser(stack.url)
    address = hall_with(max_held_per_client=40)
    page = browser.get(address)
    for number in range(1, 11):
        page.press("Hold the best", section="floor", quantity="1", form=str(number))
    (cookie,) = browser.cookies
    assert len(cookie.name) + len(cookie.value) < 1500
    assert browser.get("/basket").text.count("Held for you") == 8


# An API call and a file that there are do not come as far as Flask.
@pytest.mark.parametrize("path", ["/api/none", "/static/none.css"])
def test_where_no_page_is_no_cookie_is_read(application, address, path):
    with application(RATE_LIMIT="1000/second") as browser:
        browser.get(address, headers=HTML)
        assert browser.get_cookie("tickets")
        browser.get(path)
        assert isinstance(session._get_current_object(), NullSession)


def test_no_secret_stands_in_an_address_but_the_receipt_s(ada, address, held):
    token = ada.get(address).fields("Hold the best")
    secret = dict(token)["csrf_token"]
    receipt = held.press("Pay", **BUYER)
    for page in (held, receipt):
        assert secret not in page.address
        assert "?" not in page.answer.url
    assert "hold_token" not in held.answer.text


def test_the_files_of_a_page_come_without_nginx_too(application):
    browser = application()
    linked = re.findall(r'(?:href|src)="(/static/[^"]+)"', browser.get("/", headers=HTML).text)
    assert linked
    for path in linked:
        answer = browser.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
