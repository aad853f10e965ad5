"""The organiser's view of a sale, and who may see it."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from ops.processes import free_port
from tests.pages.browser import HTML, Browser, csrf_token_in
from tests.pages.conftest import BUYER
from tests.support.site import ORGANISER_TOKEN


@pytest.fixture
def organiser(eve):
    page = eve.get("/organiser").press("Log in", token=ORGANISER_TOKEN)
    assert page.title == "Sales"
    return eve


@pytest.fixture
def logged_in(application, redis_client):
    """Another one, without a network, whose login is the only one that Redis knows."""
    for key in login_keys(redis_client):
        redis_client.delete(key)
    browser = application(ORGANISER_TOKEN=ORGANISER_TOKEN, RATE_LIMIT="1000/second")
    secret = csrf_token_in(browser.get("/organiser", headers=HTML).text)
    form = {"token": ORGANISER_TOKEN, "csrf_token": secret}
    assert browser.post("/organiser/login", data=form, headers=HTML).status_code == 303
    assert "Log out" in browser.get("/organiser", headers=HTML).text
    return browser


def login_keys(redis_client) -> list[str]:
    return redis_client.keys("login:*")


def replayed(browser: Browser) -> Browser:
    """Another client with a copy of the organiser's cookie."""
    thief = Browser(browser.base_url)
    thief.cookies.set("tickets", browser.cookies["tickets"])
    return thief


def figures(page) -> dict[str, str]:
    figure = page.root.one(id="figures").all("div")
    return {div.one("dt").text: div.one("dd").text for div in figure}


def test_a_sale_in_figures(organiser, ada, address):
    ada.get(address).press("Hold the chosen", seats=["stalls-A-1", "stalls-A-2"]).press(
        "Pay", **BUYER
    )
    ada.get(address).press("Hold the best", section="floor", quantity="3")
    sale = organiser.get(f"/organiser{address}")
    assert figures(sale) == {
        "Sold": "2" + "5.3 %",
        "Being paid": "0" + "0.0 %",
        "On hold": "3" + "7.9 %",
        "Available": "33" + "86.8 %",
        "Bookings": "1",
        "Revenue": "£50.00",
    }


def test_the_picture_and_its_table_say_the_same(organiser, ada, address):
    ada.get(address).press("Hold the chosen", seats=["stalls-A-1", "stalls-A-2"]).press(
        "Pay", **BUYER
    )
    sale = organiser.get(f"/organiser{address}")
    picture = sale.root.one("svg")
    assert picture["aria-label"].startswith("2 seats sold in the last 60 minutes, at most 2 in")
    assert [bar["height"] for bar in picture.all("rect")] == ["160.0"]
    assert [cell.text for cell in sale.root.one("details").all("td")] == ["2"]


def changes_on(page) -> list[list[str]]:
    rows = page.root.one(id="journal").all("tr")
    return [[cell.text for cell in row.all("th", "td")] for row in rows[1:]]


def test_the_newest_change_stands_first_with_its_time_and_seats(organiser, ada, hall_with):
    address = hall_with(timezone="Asia/Tokyo")
    ada.get(address).press("Hold the chosen", seats="stalls-A-1")
    newest, *_, oldest = changes_on(organiser.get(f"/organiser{address}"))
    assert newest[1:] == ["on hold", "Stalls, row A, seat 1"]
    assert oldest[1:] == ["opened, or changed by its file", ""]
    shown = datetime.strptime(newest[0].replace("JST", "+0900"), "%d %b %Y, %H:%M:%S %z")
    assert abs(datetime.now(UTC) - shown) < timedelta(minutes=5)


def test_a_sale_among_the_changes_leads_to_its_booking(organiser, ada, address):
    ada.get(address).press("Hold the chosen", seats="stalls-A-1").press("Pay", **BUYER)
    sale = organiser.get(f"/organiser{address}")
    assert changes_on(sale)[0][1] == "sold (booking)"
    assert sale.link("(booking)").title == "Booking of Ada Lovelace"


def test_a_change_from_before_times_were_stored_is_shown(organiser, ada, address, redis_client):
    ada.get(address).press("Hold the chosen", seats="stalls-A-1")
    key = f"journal:{{{address.rpartition('/')[2]}}}"
    ((newest, entry),) = redis_client.xrevrange(key, count=1)
    redis_client.xdel(key, newest)
    del entry["at"]
    redis_client.xadd(key, entry, id=f"{newest.partition('-')[0]}-2")
    shown = changes_on(organiser.get(f"/organiser{address}"))[0]
    assert shown == ["not known", "on hold", "Stalls, row A, seat 1"]


def test_a_sale_is_closed_at_once_and_opened_again(organiser, ada, address):
    event_id = address.rpartition("/")[2]
    sale = organiser.get(f"/organiser{address}")
    assert sale.root.one(id="sale-title").text == "Sale: on sale"
    closed = sale.press("Close the sale", confirm=event_id)
    assert "The sale is closed. Seats that are on hold may still be paid for." in closed.text
    assert "sale_closes_at = 20" in closed.text
    assert "The sale is over." in ada.get(address).text
    opened = closed.press("Open the sale again", confirm=event_id)
    assert "It was closed by hand" not in opened.text
    assert "On sale." in ada.get(address).text


def test_a_sale_is_not_closed_without_its_name(organiser, ada, address):
    sale = organiser.get(f"/organiser{address}")
    for typed in ("", "yes", "another event"):
        refused = sale.press("Close the sale", confirm=typed)
        assert "Nothing was done." in refused.text
    assert "On sale." in ada.get(address).text


def test_refunded_bookings_are_no_revenue(organiser, ada, address, bookings):
    ada.get(address).press("Hold the chosen", seats="stalls-A-1").press("Pay", **BUYER)
    (booking,) = bookings.list(address.rpartition("/")[2])
    bookings.mark_refunded(booking.id, booking.booked_at)
    sale = figures(organiser.get(f"/organiser{address}"))
    assert (sale["Bookings"], sale["Revenue"]) == ("0", "£0.00")


def test_without_the_token_nobody_sees_anything(ada, address):
    page = ada.get(f"/organiser{address}")
    assert (page.address, page.title) == ("/organiser", "Organiser")
    for token in ("", "wrong", ORGANISER_TOKEN + "x", "é"):
        refused = page.press("Log in", token=token)
        assert refused.status == 403
        assert "This is not the token." in refused.text
        assert token == "" or token not in refused.answer.text
    assert ada.get(f"/organiser{address}").address == "/organiser"


def test_who_logs_out_is_out(organiser, address):
    assert organiser.get("/organiser").press("Log out").title == "Organiser"
    assert organiser.get(f"/organiser{address}").address == "/organiser"


def test_a_copied_cookie_is_dead_once_its_owner_has_logged_out(organiser, address):
    thieves = [replayed(organiser) for _ in range(20)]  # whichever worker answers them
    assert thieves[0].get("/organiser").title == "Sales"
    organiser.get("/organiser").press("Log out")
    for thief in thieves:
        assert thief.get("/organiser").title == "Organiser"
        assert thief.get(f"/organiser{address}").address == "/organiser"


def test_who_logs_in_again_ends_the_login_before(organiser):
    thief = replayed(organiser)
    fields = dict(organiser.get("/organiser").fields("Log out"))
    organiser.post("/organiser/login", [*fields.items(), ("token", ORGANISER_TOKEN)])
    assert organiser.get("/organiser").title == "Sales"
    assert thief.get("/organiser").title == "Organiser"


def test_a_log_out_leaves_other_browsers_logged_in(organiser, ada):
    ada.get("/organiser").press("Log in", token=ORGANISER_TOKEN)
    organiser.get("/organiser").press("Log out")
    assert ada.get("/organiser").title == "Sales"


def test_a_login_ends_after_twelve_hours_at_the_latest(logged_in, redis_client, monkeypatch):
    (key,) = login_keys(redis_client)
    assert 11.9 * 3600 < redis_client.ttl(key) <= 12 * 3600
    twelve_hours_later = time.time() + 12 * 3600
    monkeypatch.setattr("web.pages.organiser.time.time", lambda: twelve_hours_later)
    assert "Log out" not in logged_in.get("/organiser", headers=HTML).text


def test_who_is_forgotten_by_redis_has_to_log_in_again(logged_in, redis_client):
    redis_client.delete(*login_keys(redis_client))
    assert "Log out" not in logged_in.get("/organiser", headers=HTML).text


def test_while_redis_is_away_nobody_is_logged_in_and_no_log_out_is_claimed(logged_in, application):
    away = application(
        ORGANISER_TOKEN=ORGANISER_TOKEN, REDIS_URL=f"redis://127.0.0.1:{free_port()}"
    )
    cookie = logged_in.get_cookie("tickets").value
    away.set_cookie("tickets", cookie)
    assert away.get("/organiser", headers=HTML).status_code == 503
    secret = csrf_token_in(logged_in.get("/organiser", headers=HTML).text)
    refused = away.post("/organiser/logout", data={"csrf_token": secret}, headers=HTML)
    assert refused.status_code == 503
    assert away.get_cookie("tickets").value == cookie, "to try again with"
    assert "Log out" in logged_in.get("/organiser", headers=HTML).text


def test_a_cookie_of_a_former_release_has_to_log_in_again(logged_in):
    with logged_in.session_transaction() as session:
        session["organiser"] = [int(time.time()) + 3600, "the proof of a former release"]
    assert "Log in" in logged_in.get("/organiser", headers=HTML).text


def test_the_token_can_be_tried_ten_times_a_minute(application):
    browser = application(ORGANISER_TOKEN=ORGANISER_TOKEN, RATE_LIMIT="1000/second")
    secret = csrf_token_in(browser.get("/organiser", headers=HTML).text)

    def log_in(token):
        form = {"token": token, "csrf_token": secret}
        return browser.post("/organiser/login", data=form, headers=HTML)

    assert [log_in("a guess").status_code for _ in range(10)] == [403] * 10
    refused = log_in(ORGANISER_TOKEN)
    assert (refused.status_code, refused.mimetype) == (429, "text/html")
    assert '"logins";q=10;w=60' in refused.headers["RateLimit-Policy"]


def test_the_addresses_of_one_ipv6_network_have_ten_tries_together(application):
    browser = application(ORGANISER_TOKEN=ORGANISER_TOKEN, RATE_LIMIT="1000/second")
    secret = csrf_token_in(browser.get("/organiser", headers=HTML).text)

    def guess_from(address):
        form = {"token": "a guess", "csrf_token": secret}
        peer = {"REMOTE_ADDR": address}
        return browser.post("/organiser/login", data=form, environ_base=peer)

    guesses = [guess_from(f"2001:db8:90:{number}::1") for number in range(11)]
    assert [guess.status_code for guess in guesses] == [403] * 10 + [429]
    assert guess_from("2001:db8:91::1").status_code == 403
    assert guess_from("203.0.113.90").status_code == 403


def test_a_login_ends_with_the_token_it_was_made_with(application):
    former = application(ORGANISER_TOKEN="a former token of tests", RATE_LIMIT="1000/second")
    secret = csrf_token_in(former.get("/organiser", headers=HTML).text)
    form = {"token": "a former token of tests", "csrf_token": secret}
    assert former.post("/organiser/login", data=form, headers=HTML).status_code == 303
    assert "Log out" in former.get("/organiser", headers=HTML).text
    cookie = former.get_cookie("tickets").value
    now = application(ORGANISER_TOKEN="another token of tests", RATE_LIMIT="1000/second")
    now.set_cookie("tickets", cookie)
    assert "Log out" not in now.get("/organiser", headers=HTML).text


def test_without_the_setting_there_are_no_such_pages(application, address):
    browser = application(RATE_LIMIT="1000/second")
    secret = csrf_token_in(browser.get(address, headers=HTML).text)
    assert browser.get("/organiser", headers=HTML).status_code == 404
    assert browser.get(f"/organiser{address}", headers=HTML).status_code == 404
    form = {"token": "", "csrf_token": secret}
    assert browser.post("/organiser/login", data=form, headers=HTML).status_code == 404
