"""The organiser's view of a sale, and who may see it."""

import pytest

from tests.conftest import ORGANISER_TOKEN
from tests.pages.browser import HTML, csrf_token_in
from tests.pages.conftest import BUYER


@pytest.fixture
def organiser(eve):
    page = eve.get("/organiser").press("Log in", token=ORGANISER_TOKEN)
    assert page.title == "Sales"
    return eve


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


def test_the_journal_s_newest_entry_stands_first(organiser, ada, address):
    ada.get(address).press("Hold the chosen", seats="stalls-A-1")
    rows = organiser.get(f"/organiser{address}").root.one(id="journal").all("tr")
    entries = [[cell.text for cell in row.all("td")] for row in rows[1:]]
    assert (entries[0][0], entries[-1][0]) == ("held", "opened")
    assert entries[0][2] == "Stalls, row A, seat 1"


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
