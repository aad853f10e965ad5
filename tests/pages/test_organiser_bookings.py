"""What the organiser sees and does about bookings, and that nobody else can."""

import csv
import io
import logging
import re
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest

from tests.pages.browser import HTML, Page, csrf_token_in
from tests.pages.conftest import BUYER
from tests.support.factories import a_booking, lose_event, put_on_sale
from tests.support.site import ORGANISER_TOKEN
from web.domain.references import reference_of
from web.domain.sales import MailState, SeatRefund, SoldAs
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
        organiser.get("/organiser/bookings/bkg_nothing/mail"),
    ):
        assert page.status == 404 and page.title == "There is no such booking"


def test_it_says_which_seats_were_let_in_when_and_where(organiser, book, bookings):
    booking = book("stalls-A-1", "stalls-A-2", "stalls-A-3")
    page = organiser.get(f"/organiser/bookings/{booking.id}")
    assert at_the_door(page) == [[f"Stalls, row A, seat {n}", "not let in", ""] for n in (1, 2, 3)]
    bookings.admit(booking.id, ["stalls-A-2"], "<b>North</b>", "scan 1")
    bookings.record_admission(booking.id, ["stalls-A-2"], "South", "scan 2", 0)
    first, second = (a.admitted_at for a in bookings.find(booking.id).admissions)
    bookings.mark_seats_refunded(
        *begun_refund(bookings, booking, "stalls-A-3"), datetime.now(UTC).replace(microsecond=0)
    )
    page = organiser.get(f"/organiser/bookings/{booking.id}")
    assert at_the_door(page) == [
        ["Stalls, row A, seat 1", "not let in", ""],
        ["Stalls, row A, seat 2", in_london(first), "<b>North</b>"],
        ["Stalls, row A, seat 2", f"{in_london(second)} again", "South"],
        ["Stalls, row A, seat 3", "refunded", ""],
    ]


def at_the_door(page: Page) -> list[list[str]]:
    rows = page.root.one(id="admissions").one("tbody").all("tr")
    return [[cell.text for cell in row.all("th", "td")] for row in rows]


def in_london(moment: datetime) -> str:
    there = moment.astimezone(ZoneInfo("Europe/London"))
    return f"{there.day} {there:%b %Y, %H:%M:%S %Z}"


def begun_refund(bookings, booking, *seats: str):
    refund = SeatRefund(seats, 0)
    bookings.begin_seat_refund(booking.id, refund)
    return bookings.find(booking.id), refund


# ---------------------------------------------------------------- mails


@pytest.fixture
def shop_with_mails(logged_in):
    """The page of a booking, as a text, in a shop that sends mails; and its form that sends one."""

    class Shop:
        def __init__(self):
            self.browser = logged_in(
                SMTP_URL="smtp://127.0.0.1:9",
                MAIL_FROM="tickets@example.org",
                PUBLIC_URL="https://tickets.example.org",
                RATE_LIMIT_FORMS="1000/second",
            )
            self.services = self.browser.application.extensions["services"]

        def page(self, booking) -> str:
            return self.browser.get(f"/organiser/bookings/{booking.id}", headers=HTML).text

        def send(self, booking, page: str) -> tuple[int, str]:
            """Presses the button of ``page``."""
            form = {
                "csrf_token": csrf_token_in(page),
                "last_mail": page.partition('name="last_mail" value="')[2].partition('"')[0],
            }
            path = f"/organiser/bookings/{booking.id}/mail"
            sent = self.browser.post(path, data=form, headers=HTML, follow_redirects=True)
            return sent.status_code, sent.text

        def due(self, booking) -> bool:
            return "ticket" in self.services.bookings.find(booking.id).news

        def told(self, booking, at: datetime) -> None:
            """The worker has sent what was due."""
            self.services.mail_queue.end_mail(self.services.bookings.find(booking.id), "ticket", at)

    return Shop()


def test_a_ticket_is_sent_again_once_however_often_the_button_is_pressed(shop_with_mails, book):
    shop, booking = shop_with_mails, book("stalls-A-1")
    page = shop.page(booking)
    assert "No mail was sent yet." in page and "Send the ticket</button>" in page
    status, first = shop.send(booking, page)
    assert (status, shop.due(booking)) == (200, True)
    assert "The ticket is on its way." in first and "Send the ticket" not in first
    assert "Nothing more is sent" in shop.send(booking, page)[1]
    shop.told(booking, NOON)
    assert "Nothing more is sent" in shop.send(booking, page)[1]
    assert not shop.due(booking), "the page was from before it was sent"
    page = shop.page(booking)
    assert "The last mail was sent on" in page and "1 Jul 2026, 13:00:00 BST" in page
    assert "Send the ticket again</button>" in page
    shop.send(booking, page)
    assert shop.due(booking)


def test_a_mail_that_is_due_refused_or_given_up_is_shown(shop_with_mails, book):
    shop, booking = shop_with_mails, book("stalls-A-1")
    shop.send(booking, shop.page(booking))
    queue, stored = shop.services.mail_queue, shop.services.bookings.find
    assert "The ticket has been due since" in shop.page(booking)
    failing = MailState(failing_since=NOON, failures=3)
    queue.retry_mail(stored(booking.id), NOON + timedelta(days=9999), failing)
    page = shop.page(booking)
    assert "has refused it since" in page and "1 Jul 2026, 13:00:00 BST" in page
    assert "Send the ticket" not in page
    queue.give_up_mail(stored(booking.id), "ticket", "550 <no> such user")
    page = shop.page(booking)
    assert "given up:" in page and "550 &lt;no&gt; such user" in page
    shop.send(booking, page)
    page = shop.page(booking)
    assert shop.due(booking) and "given up" not in page and "has refused" not in page


def test_what_is_no_ticket_any_more_is_not_sent(shop_with_mails, book, seats, catalogue, event_id):
    shop = shop_with_mails
    refunded, under_way, cancelled = (book(f"stalls-A-{number}") for number in (1, 2, 3))
    pages = {booking: shop.page(booking) for booking in (refunded, under_way, cancelled)}
    shop.services.bookings.mark_refunded(refunded.id, NOON)
    shop.services.bookings.begin_refund(under_way.id)
    event = catalogue.current_event(event_id)
    for booking in (refunded, under_way):
        status, page = shop.send(booking, pages[booking])
        assert status == 409 and "it is no ticket any more" in page
        assert "Send the ticket" not in page
    put_on_sale(seats, replace(event, declared_status="cancelled"))
    status, page = shop.send(cancelled, pages[cancelled])
    assert status == 409 and "The event is cancelled" in page
    assert not any(map(shop.due, pages))


def test_a_shop_without_mails_has_no_form_to_send_one(organiser, sold):
    assert "Send the ticket" not in sold.text
    fields = dict(sold.fields("Refund"))
    assert organiser.post(f"{sold.address}/mail", [*fields.items()]).status_code == 404


def test_a_mail_is_not_sent_for_another_site_or_for_who_is_not_logged_in(
    shop_with_mails, book, application
):
    shop, booking = shop_with_mails, book("stalls-A-1")
    path = f"/organiser/bookings/{booking.id}/mail"
    assert shop.browser.post(path, data={"last_mail": ""}, headers=HTML).status_code == 400
    shop.browser.post("/organiser/logout", data={"csrf_token": csrf_token_in(shop.page(booking))})
    secret = csrf_token_in(shop.browser.get("/organiser", headers=HTML).text)
    refused = shop.browser.post(path, data={"last_mail": "", "csrf_token": secret}, headers=HTML)
    assert (refused.status_code, refused.headers["Location"]) == (303, "/organiser")
    assert not shop.due(booking)


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
