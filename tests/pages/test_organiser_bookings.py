"""What the organiser sees and does about bookings, and that nobody else can."""

import csv
import io
import logging
import re
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from tests.pages.browser import HTML, Page, csrf_token_in
from tests.pages.conftest import BUYER
from tests.support.factories import a_booking, lose_event
from tests.support.site import ORGANISER_TOKEN
from web.domain.references import reference_of
from web.domain.sales import SoldAs
from web.pages.organiser_bookings import ROWS

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
"""13:00 in London."""


@pytest.fixture
def organiser(eve):
    eve.get("/organiser").press("Log in", token=ORGANISER_TOKEN)
    return eve


@pytest.fixture
def event_id(address) -> str:
    return address.rpartition("/")[2]


@pytest.fixture
def book(bookings, event_id):
    """Stores a booking, with changes."""

    def stored(*seats: str, **changes):
        booking = replace(a_booking(event_id, *seats), **{"booked_at": NOON} | changes)
        return bookings.insert(booking)

    return stored


@pytest.fixture
def logged_in(application):
    """Another organiser, without a network, whose log can be read."""

    def log_in(**settings):
        browser = application(
            **{"ORGANISER_TOKEN": ORGANISER_TOKEN, "RATE_LIMIT": "1000/second"} | settings
        )
        secret = csrf_token_in(browser.get("/organiser", headers=HTML).text)
        form = {"token": ORGANISER_TOKEN, "csrf_token": secret}
        assert browser.post("/organiser/login", data=form, headers=HTML).status_code == 303
        return browser

    return log_in


def buyers(page: Page) -> list[str]:
    return [link.text for link in page.root.one(id="bookings").all("a")]


def details(page: Page) -> dict[str, str]:
    return {
        div.one("dt").text: div.one("dd").text for div in page.root.one(id="booking").all("div")
    }


def rows_of(answer) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


# ---------------------------------------------------------------- the list


def test_a_buyer_is_found_by_name_address_seat_and_number(organiser, address, book):
    wanted = book("stalls-A-1", name="Zoë Müller", email="zoe@example.org", payment_id="pi_7")
    book("stalls-A-2", name="Eve", email="eve@example.org")
    listed = organiser.get(f"/organiser{address}").link("Bookings")
    assert buyers(listed) == ["Zoë Müller", "Eve"] or buyers(listed) == ["Eve", "Zoë Müller"]
    for text in ("muller", "ZOE@", "Stalls A 1", "stalls-A-1", wanted.id, "pi_7"):
        found = organiser.get(f"/organiser{address}/bookings?q={quote(text)}")
        assert buyers(found) == ["Zoë Müller"], text
        assert found.root.one(id="q")["value"] == text
    nothing = organiser.get(f"/organiser{address}/bookings?q=nobody")
    assert nothing.status == 200 and "No booking matches." in nothing.text


def test_a_reference_that_is_read_out_is_found_and_shown_beside_the_number(
    organiser, address, event_id, book
):
    ids = [f"bkg_{secrets.token_hex(10)}_0" for _ in range(2)]
    book("stalls-A-1", id=ids[0], name="Zoë")
    book("stalls-A-2", id=ids[1], name="Eve")
    reference = reference_of(event_id, ids[0])
    for said in (reference, reference.lower(), reference.replace("-", "").lower()):
        found = organiser.get(f"/organiser{address}/bookings?q={quote(said)}")
        assert buyers(found) == ["Zoë"], said
    assert reference in found.root.one(id="bookings").text
    shown = details(found.link("Zoë"))
    assert (shown["Reference"], shown["Booking"]) == (reference, ids[0])
    (row,) = rows_of(found.link("Download").answer)
    assert (row["Reference"], row["Booking"]) == (reference, ids[0])


def test_a_long_list_has_pages_newest_first(organiser, address, book):
    names = [f"Buyer {number:03}" for number in range(2 * ROWS + 1)]
    for number, name in enumerate(names):
        book(f"floor-GA-{number}", name=name, booked_at=NOON + timedelta(seconds=number))
    newest_first = names[::-1]
    first = organiser.get(f"/organiser{address}/bookings?q=buyer")
    second = first.link("Older")
    third = second.link("Older")
    assert buyers(first) + buyers(second) + buyers(third) == newest_first
    assert "Older" not in [link.text for link in third.root.all("a")]
    assert "Newer" not in [link.text for link in first.root.all("a")]
    assert buyers(third.link("Newer")) == newest_first[ROWS : 2 * ROWS]
    back = third.link("Newer").link("Newer")
    assert buyers(back) == buyers(third.link("Newest")) == newest_first[:ROWS]
    assert "Newer" not in [link.text for link in back.root.all("a")]


@pytest.mark.parametrize("place", ["x", "99999999999999-bkg_1", "1-", "-1-bkg_1", "1e9-bkg_1"])
def test_a_link_to_a_page_that_is_cut_short_shows_bookings(organiser, address, book, place):
    book("stalls-A-1", name="Ada")
    assert buyers(organiser.get(f"/organiser{address}/bookings?before={place}")) == ["Ada"]


def test_an_event_without_bookings_says_so_and_an_unknown_one_is_not_found(organiser, address):
    assert "No bookings yet." in organiser.get(f"/organiser{address}/bookings").text
    assert organiser.get("/organiser/events/nothing/bookings").status == 404
    assert organiser.get("/organiser/events/nothing/bookings.csv").status == 404


def test_bookings_outlive_their_event(logged_in, address, event_id, book, redis_client, catalogue):
    sold_as = SoldAs("A former evening", "Hall", ("Stalls, row A, seat 1",), NOON, "Europe/London")
    book("stalls-A-1", name="Ada", sold_as=sold_as)
    lose_event(redis_client, event_id)
    redis_client.srem("events", event_id)
    browser = logged_in()
    path = f"/organiser{address}/bookings"
    page = browser.get(path, headers=HTML)
    assert page.status_code == 200
    assert "A former evening" in page.text and "13:00:00 BST" in page.text
    assert f'/organiser{address}"' not in page.text, "there is no page of its sale"
    assert f'href="{path}"' in browser.get("/organiser", headers=HTML).text


# ---------------------------------------------------------------- one booking


def test_a_booking_shows_its_buyer_and_leads_to_the_receipt(organiser, ada, address):
    receipt = ada.get(address).press("Hold the chosen", seats="stalls-A-1").press("Pay", **BUYER)
    page = organiser.get(f"/organiser{address}/bookings").link("Ada Lovelace")
    shown = details(page)
    assert page.title == "Booking of Ada Lovelace"
    assert shown["E-mail address"] == "ada@example.org"
    assert shown["Seats"] == "Stalls, row A, seat 1"
    assert shown["Amount"] == "£25.00"
    assert shown["Status"] == "Booked"
    assert page.link("/receipts/").address == receipt.address


def test_times_are_those_of_the_venue(organiser, address, book):
    page = organiser.get(f"/organiser/bookings/{book('stalls-A-1').id}")
    assert details(page)["Booked"] == "1 Jul 2026, 13:00:00 BST"


@pytest.mark.parametrize(
    ("settings", "address_of_payment"),
    [
        ({"STRIPE_API_KEY": "sk_test_1"}, "https://dashboard.stripe.com/test/payments/pi_7"),
        (
            {"STRIPE_API_KEY": "sk_live_1", "STRIPE_PUBLISHABLE_KEY": "pk_live_1"},
            "https://dashboard.stripe.com/payments/pi_7",
        ),
    ],
)
def test_a_payment_leads_to_stripes_dashboard(logged_in, book, settings, address_of_payment):
    browser = logged_in(STRIPE_API_BASE="https://api.stripe.com", **settings)
    booking = book("stalls-A-1", payment_id="pi_7")
    page = browser.get(f"/organiser/bookings/{booking.id}", headers=HTML)
    assert f'href="{address_of_payment}"' in page.text


def test_a_payment_of_the_sandbox_has_no_dashboard(organiser, book):
    booking = book("stalls-A-1", payment_id="pi_7")
    page = organiser.get(f"/organiser/bookings/{booking.id}")
    assert details(page)["Payment"] == "pi_7"


def test_an_unknown_booking_is_not_found(organiser):
    for page in (
        organiser.get("/organiser/bookings/bkg_nothing"),
        organiser.get("/organiser/bookings/bkg_nothing/refund"),
    ):
        assert page.status == 404 and page.title == "There is no such booking"


# ---------------------------------------------------------------- refunds


@pytest.fixture
def sold(organiser, ada, address) -> Page:
    """The organiser's page of a booking of Ada's."""
    ada.get(address).press("Hold the chosen", seats=["stalls-A-1", "stalls-A-2"]).press(
        "Pay", **BUYER
    )
    return organiser.get(f"/organiser{address}/bookings").link("Ada Lovelace")


def test_a_refund_has_to_be_confirmed_by_a_word(sold, ada, address):
    for typed in ("", "yes", "refunds"):
        page = sold.press("Refund", confirm=typed)
        assert page.status == 400
        assert "Type the word refund. Nothing was refunded." in page.text
    assert details(sold.browser.get(sold.address))["Status"] == "Booked"


def test_a_refund_gives_the_money_back_and_the_seats(sold, stack, ada, address):
    page = sold.press("Refund", confirm=" Refund ")
    assert page.status == 200
    assert "Refunded. The seats are on sale again" in page.text
    assert details(page)["Status"].startswith("Refunded on ")
    assert not page.root.all("fieldset")
    payment_id = details(page)["Payment"]
    assert [p.status for p in stack.payments() if p.payment_id == payment_id] == ["refunded"]
    assert "disabled" not in ada.get(address).seat_boxes()["Row A, seat 1, £25, available"]


def test_single_seats_can_be_refunded(sold, stack, ada, address):
    page = sold.press("Refund", confirm="refund", seats="stalls-A-2")
    shown = details(page)
    assert shown["Status"] == "Booked"
    assert shown["Amount"] == "£50.00, of which £25.00 refunded"
    assert shown["Seats"] == "Stalls, row A, seat 1 Stalls, row A, seat 2 (refunded)"
    listed = page.browser.get(f"/organiser{address}/bookings")
    assert "£25.00 refunded" in listed.text
    (row,) = rows_of(listed.link("Download").answer)
    assert (row["Refunded seats"], row["Refunded amount"]) == ("Stalls, row A, seat 2", "25.00")
    assert "disabled" not in ada.get(address).seat_boxes()["Row A, seat 2, £25, available"]
    rest = page.press("Refund", confirm="refund")
    assert details(rest)["Status"].startswith("Refunded on ")


def test_a_refund_without_seats_is_refused_and_keeps_the_choice(sold):
    page = sold.press("Refund", confirm="refund", seats=[])
    assert page.status == 400 and "Choose the seats to refund." in page.text
    boxes = sold.press("Refund", confirm="no", seats="stalls-A-2").root.all(type="checkbox")
    assert [box["value"] for box in boxes if "checked" in box] == ["stalls-A-2"]
    strange = sold.press("Refund", confirm="refund", seats="stalls-A-3")
    assert strange.status == 400 and "stalls-A-3" in strange.text
    assert details(sold.browser.get(sold.address))["Status"] == "Booked"


def test_a_form_that_is_sent_twice_refunds_once(sold):
    first, again = (sold.press("Refund", confirm="refund") for _ in range(2))
    assert details(first) == details(again)


def test_a_refund_that_the_gateway_refuses_says_so(logged_in, book):
    browser = logged_in()
    booking = book("stalls-A-1", payment_id="pi_nothing")
    page = browser.get(f"/organiser/bookings/{booking.id}", headers=HTML)
    form = {"confirm": "refund", "seats": "stalls-A-1", "csrf_token": csrf_token_in(page.text)}
    refused = browser.post(f"/organiser/bookings/{booking.id}/refund", data=form, headers=HTML)
    assert refused.status_code == 502
    assert "Not refunded yet" in refused.text
    assert "A refund is under way" in refused.text


# ---------------------------------------------------------------- the list for a spreadsheet


def test_the_list_for_a_spreadsheet_has_every_booking(organiser, address, book):
    sold_as = SoldAs("An evening", "Hall", ("Stalls, row A, seat 1", "Stalls, row A, seat 2"))
    one = book("stalls-A-1", "stalls-A-2", name='Zoë "Z", Müller', sold_as=sold_as)
    two = book("stalls-A-3", booked_at=NOON - timedelta(1), amount_minor=0, payment_id="pi_7")
    answer = organiser.get(f"/organiser{address}/bookings").link("Download").answer
    assert answer.content.startswith(b"\xef\xbb\xbf")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=small-hall")
    assert answer.content.count(b"\r\n") == answer.content.count(b"\n") == 3
    rows = rows_of(answer)
    assert [row["Booking"] for row in rows] == [one.id, two.id]
    assert rows[0] == {
        "Booking": one.id,
        "Reference": reference_of(one.event_id, one.id),
        "Booked at (Europe/London)": "2026-07-01 13:00:00",
        "Status": "booked",
        "Refunded at (Europe/London)": "",
        "Event": one.event_id,
        "Name": 'Zoë "Z", Müller',
        "E-mail address": "eve@example.org",
        "Seats": "Stalls, row A, seat 1; Stalls, row A, seat 2",
        "Number of seats": "2",
        "Refunded seats": "",
        "Amount": "50.00",
        "Refunded amount": "0.00",
        "Currency": "GBP",
        "Payment": "",
    }


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\N{EM SPACE}=", "\uff1d"])
def test_no_cell_is_a_formula(organiser, address, book, first):
    formula = f"{first}cmd|'/C calc'!A0"
    sold_as = SoldAs("An evening", "Hall", (formula,))
    book("stalls-A-1", name=formula, email=f"{first}x@example.org", sold_as=sold_as)
    (row,) = rows_of(organiser.get(f"/organiser{address}/bookings.csv").answer)
    assert row["Name"] == row["Seats"] == f"'{formula}"
    assert row["E-mail address"] == f"'{first}x@example.org"


def test_what_was_found_can_be_downloaded_alone(organiser, address, book):
    book("stalls-A-1", name="Ada")
    book("stalls-A-2", name="Zoë")
    found = organiser.get(f"/organiser{address}/bookings?q=zoe").link("Download")
    assert [row["Name"] for row in rows_of(found.answer)] == ["Zoë"]


# ---------------------------------------------------------------- who may see it, and the log


def addresses_of(event_id: str, booking_id: str) -> list[str]:
    return [
        f"/organiser/events/{event_id}/bookings",
        f"/organiser/events/{event_id}/bookings.csv",
        f"/organiser/bookings/{booking_id}",
    ]


def test_who_is_not_logged_in_sees_the_form_to_log_in(ada, event_id, book):
    booking = book("stalls-A-1", name="Secret Name")
    for path in addresses_of(event_id, booking.id):
        page = ada.get(path)
        assert (page.address, page.title) == ("/organiser", "Organiser")
        assert "Please log in first." in page.text
        assert "Secret Name" not in page.answer.text
    fields = dict(ada.get("/organiser").fields("Log in"))
    refused = ada.post(
        f"/organiser/bookings/{booking.id}/refund", [*fields.items(), ("confirm", "refund")]
    )
    assert (refused.status_code, refused.headers["Location"]) == (303, "/organiser")
    assert "Nothing was done." in ada.get("/organiser").text


def test_a_refund_from_another_site_is_refused(sold):
    stolen = sold.browser.post(f"{sold.address}/refund", [("confirm", "refund")])
    assert stolen.status_code == 400
    assert details(sold.browser.get(sold.address))["Status"] == "Booked"


def test_without_the_setting_there_are_no_such_pages(application, event_id, book):
    browser = application(RATE_LIMIT="1000/second")
    for path in addresses_of(event_id, book("stalls-A-1").id):
        assert browser.get(path, headers=HTML).status_code == 404


def test_no_page_is_kept_or_listed(organiser, event_id, book):
    for path in addresses_of(event_id, book("stalls-A-1").id):
        headers = organiser.request("GET", organiser.base_url + path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Robots-Tag"] == "noindex"


def test_every_look_and_refund_is_in_the_log_without_the_buyers_data(
    logged_in, event_id, book, caplog
):
    caplog.set_level(logging.INFO, "web.pages")
    browser = logged_in()
    booking = book("stalls-A-1", name="Secret Name", email="secret@example.org")
    first, *_ = paths = addresses_of(event_id, booking.id)
    for path in (*paths, f"{first}?q=secret"):
        text = browser.get(path, headers={**HTML, "X-Request-Id": "r1"}).text
    secret = csrf_token_in(browser.get(paths[2]).text)
    form = {"confirm": "refund", "seats": "stalls-A-1", "csrf_token": secret}
    browser.post(f"{paths[2]}/refund", data=form, headers=HTML)
    lines = [
        record.getMessage() for record in caplog.records if record.name == "web.pages.organiser"
    ]
    tags = {re.match("organiser ([0-9a-f]{8}): ", line)[1] for line in lines}
    assert len(tags) == 1, "they name the login"
    told = [line.partition(": ")[2] for line in lines]
    assert told[:5] == [
        "logged in, request without an id",
        f"looked at the bookings of {event_id}, request r1",
        f"downloaded the bookings of {event_id}, request r1",
        f"looked at booking {booking.id}, request r1",
        f"looked at a search of the bookings of {event_id}, request r1",
    ]
    assert f"refunded seats of booking {booking.id}, request without an id" in told
    assert "secret" not in " ".join(lines).lower()
    assert "Secret Name" in text


def test_looks_at_bookings_are_limited(logged_in, event_id):
    browser = logged_in()
    path = f"/organiser/events/{event_id}/bookings"
    codes = [browser.get(f"{path}.csv", headers=HTML).status_code for _ in range(7)]
    assert codes == [200] * 6 + [429]
    assert browser.get(path, headers=HTML).status_code == 200
