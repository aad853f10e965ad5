"""What is in the mails to buyers: from bookings in MongoDB, through a real SMTP server."""

import io
import re
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage

import icalendar
import pytest
import zxingcpp
from PIL import Image

from tests.support.factories import a_booking, put_on_sale, small_hall, unique
from tests.support.mailbox import Mailbox
from web.domain.references import reference_of
from web.domain.sales import SoldAs

DATABASE = "mails"


@pytest.fixture(scope="module")
def mailbox():
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture(scope="module")
def settings(any_redis, mongo_server, mongo_client, mailbox) -> dict[str, str]:
    mongo_client.drop_database(DATABASE)
    return {
        "REDIS_URL": any_redis.url,
        "MONGODB_URI": mongo_server.url.replace("/tickets", f"/{DATABASE}"),
        "SMTP_URL": mailbox.url,
        "MAIL_FROM": "Rosewood Tickets <tickets@example.org>",
        "PUBLIC_URL": "https://tickets.example.org",
    }


@pytest.fixture
def shop(application, settings):
    services = application(**settings).application.extensions["services"]
    services.bookings.create_indexes()
    return services


@pytest.fixture
def evening(seats):
    event = small_hall(
        name="Hamlet", doors_open_at=datetime(2099, 12, 12, 18, 45, tzinfo=UTC), venue="Rosewood"
    )
    put_on_sale(seats, event)
    return event


def booked(shop, event, *seats, **changes):
    seats = seats or ("stalls-A-1", "stalls-A-2")
    hold_id = f"hld_{secrets.token_hex(10)}_0"
    booking = a_booking(event.id, *seats)
    names = tuple(event.seat_name(seat) for seat in seats)
    given = {
        "id": hold_id.replace("hld", "bkg"),
        "hold_id": hold_id,
        "name": "Ada Lovelace",
        "email": f"{unique('ada')}@example.org",
        "sold_as": SoldAs(event.name, event.venue, names, event.starts_at, event.timezone),
    }
    return shop.bookings.insert(replace(booking, **{**given, **changes}))


def mail_of(shop, mailbox, booking, *more) -> EmailMessage:
    before = len(mailbox.mails)
    for news in more:
        shop.bookings.announce(booking.event_id, news, datetime.now(UTC))
    shop.ticket_mail.send_due()
    (mail,) = mailbox.mails[before:]
    return mail


def text_of(mail: EmailMessage) -> str:
    return mail.get_body(["plain"]).get_content()


def html_of(mail: EmailMessage) -> str:
    return mail.get_body(["html"]).get_content()


def codes_in(mail: EmailMessage) -> list[str]:
    """Those in its pictures, as a telephone reads them, in the order of the HTML."""
    pictures = {
        part["Content-ID"].strip("<>"): part.get_content()
        for part in mail.walk()
        if part.get_content_type() == "image/png"
    }
    shown = re.findall(r'src="cid:([^"]+)"', html_of(mail))
    assert sorted(shown) == sorted(pictures), "each picture is shown once, and is there"
    return [
        zxingcpp.read_barcode(Image.open(io.BytesIO(pictures[cid])).convert("L")).text
        for cid in shown
    ]


@pytest.mark.parametrize(
    ("timezone", "date", "paid"),
    [
        ("America/New_York", "Saturday, December 12, 2099", "Paid: $45.00"),
        ("Europe/Berlin", "Saturday, 12 December 2099", "Paid: US$45.00"),
        ("UTC", "Saturday, 12 December 2099", "Paid: US$45.00"),
    ],
)
def test_dates_and_money_are_written_as_in_the_country_of_the_venue(
    shop, seats, mailbox, timezone, date, paid
):
    event = small_hall(timezone=timezone, currency="USD")
    put_on_sale(seats, event)
    text = text_of(mail_of(shop, mailbox, booked(shop, event, currency="USD", amount_minor=4500)))
    assert date in text and paid in text, text


def test_a_ticket_has_everything_in_text_and_in_html(shop, evening, mailbox):
    booking = booked(shop, evening)
    mail = mail_of(shop, mailbox, booking)
    assert mail["Subject"] == "Your ticket: Hamlet"
    assert mail["From"] == "Rosewood Tickets <tickets@example.org>"
    assert mail["To"] == f"Ada Lovelace <{booking.email}>"
    link = f"https://tickets.example.org/receipts/{shop.codes.link_of(evening.id, booking.hold_id)}"
    words = [
        "Hamlet",
        "Saturday, 12 December 2099, 19:30 GMT",
        "18:45",
        "Rosewood",
        "Stalls, row A, seat 1",
        "Stalls, row A, seat 2",
        "£50.00",
        reference_of(evening.id, booking.id),
        link,
    ]
    for shown in (text_of(mail), html_of(mail)):
        assert [word for word in words if word not in shown] == []
    assert max(len(line) for line in mail.as_bytes().splitlines()) <= 998, "RFC 5322"


def test_its_link_opens_the_receipt(shop, evening, mailbox, application, settings):
    mail = mail_of(shop, mailbox, booked(shop, evening))
    (path,) = re.findall(r"https://tickets\.example\.org(/receipts/\S+)", text_of(mail))
    receipt = application(**settings).get(path)
    assert receipt.status_code == 200
    assert "Your ticket was sent" in receipt.text


def test_its_codes_scan_and_admit_all_and_each(shop, evening, mailbox):
    booking = booked(shop, evening)
    codes = codes_in(mail_of(shop, mailbox, booking))
    tickets = [shop.codes.read_code(code) for code in codes]
    assert [ticket.seats for ticket in tickets] == [
        ("stalls-A-1", "stalls-A-2"),
        ("stalls-A-1",),
        ("stalls-A-2",),
    ]
    assert {ticket.booking_id for ticket in tickets} == {booking.id}


def test_a_calendar_takes_its_attachment(shop, evening, mailbox):
    mail = mail_of(shop, mailbox, booked(shop, evening))
    (attached,) = mail.iter_attachments()
    assert attached.get_filename() == f"{evening.id}.ics"
    (entry,) = icalendar.Calendar.from_ical(attached.get_content()).walk("VEVENT")
    assert entry.decoded("dtstart") == evening.starts_at
    assert entry["summary"] == "Hamlet"


def test_a_refunded_booking_is_no_ticket_any_more(shop, evening, mailbox):
    booking = booked(shop, evening)
    shop.bookings.mark_refunded(booking.id, datetime.now(UTC).replace(microsecond=0))
    mail = mail_of(shop, mailbox, booking)
    assert mail["Subject"] == "Refunded: Hamlet"
    assert "Refunded: £50.00" in text_of(mail) and "no longer a ticket" in html_of(mail)
    assert codes_in(mail) == [] and [*mail.iter_attachments()] == []


def test_a_cancelled_event_says_that_the_money_is_back(shop, evening, mailbox):
    booking = booked(shop, evening)
    shop.bookings.mark_refunded(booking.id, datetime.now(UTC).replace(microsecond=0), "cancelled")
    mail = mail_of(shop, mailbox, booking)
    assert mail["Subject"] == "Cancelled and refunded: Hamlet"
    assert "money was returned" in text_of(mail) and "money was returned" in html_of(mail)
    assert codes_in(mail) == []


def test_a_new_date_is_the_one_in_the_mail(shop, evening, mailbox, seats):
    booking = booked(shop, evening)
    mail_of(shop, mailbox, booking)
    moved = replace(evening, starts_at=datetime(2100, 6, 1, 18, 30, tzinfo=UTC))
    put_on_sale(seats, moved)
    mail = mail_of(shop, mailbox, booking, "postponed")
    assert mail["Subject"] == "New date: Hamlet, Tuesday, 1 June 2100, 19:30 BST"
    assert "Tuesday, 1 June 2100, 19:30 BST" in text_of(mail)
    assert len(codes_in(mail)) == 3


def test_a_postponed_event_without_a_date_shows_no_date(shop, evening, mailbox, seats):
    booking = booked(shop, evening)
    mail_of(shop, mailbox, booking)
    put_on_sale(seats, replace(evening, declared_status="postponed"))
    mail = mail_of(shop, mailbox, booking, "postponed")
    assert mail["Subject"] == "Postponed: Hamlet"
    assert "2099" not in text_of(mail) + html_of(mail)
    assert [*mail.iter_attachments()] == [], "a calendar would show the old date"


def test_nothing_in_a_mail_is_another_buyers(shop, evening, mailbox):
    bookings = {}
    for number, seat in enumerate(evening.seats[:30]):
        email = f"buyer{number:02}@example.org"
        bookings[email] = booked(shop, evening, seat, name=f"Name{number:02}", email=email)
    before = len(mailbox.mails)
    shop.ticket_mail.send_due()
    mails = dict(zip(mailbox.recipients[before:], mailbox.mails[before:], strict=True))
    assert mails.keys() == bookings.keys()
    for email, booking in bookings.items():
        own = [booking.id, booking.email, booking.name, *booking.sold_as.seats]
        own += [reference_of(evening.id, booking.id)]
        others = {
            word
            for other in bookings.values()
            if other is not booking
            for word in (other.id, other.email, other.name, *other.sold_as.seats)
        }
        mail = mails[email]
        everything = "\n".join(
            [*map(str, mail.values()), text_of(mail), html_of(mail), *codes_in(mail)]
        ) + str(next(mail.iter_attachments()).get_content())
        assert [word for word in own if word not in everything] == []
        assert [word for word in others if re.search(rf"{re.escape(word)}\b", everything)] == []
        assert mail["Cc"] is None and mail["Bcc"] is None
        (code,) = codes_in(mail)
        assert shop.codes.read_code(code).booking_id == booking.id


@pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r", "\u2028", "\x0b", "\x85"])
def test_a_name_with_a_line_break_makes_no_header(shop, seats, mailbox, line_break):
    """Names cannot have any; but what was stored by another program could."""
    smuggled = f"Ada{line_break}Bcc: eve@example.org{line_break}{line_break}Body"
    event = small_hall(name=smuggled)
    put_on_sale(seats, event)
    booking = booked(shop, event, name=smuggled)
    before = len(mailbox.recipients)
    mail = mail_of(shop, mailbox, booking)
    assert mailbox.recipients[before:] == [booking.email]
    assert mail["Bcc"] is None
    assert mail["Subject"].startswith("Your ticket: Ada Bcc: eve@example.org Body")


@pytest.mark.parametrize(
    ("name", "email", "to"),
    [
        ("Łukasz Żółć 李", "lukasz@example.org", "lukasz@example.org"),
        ('"Quo, ted" <eve@example.org>', "ada@example.org", "ada@example.org"),
        ("Jürgen", "juergen@bücher.example", "juergen@xn--bcher-kva.example"),
        ("Jürgen", "jürgen@bücher.example", "jürgen@bücher.example"),
        ("عائشة", "用户@例子.example", "用户@例子.example"),
    ],
)
def test_names_and_addresses_in_any_script_arrive(shop, evening, mailbox, name, email, to):
    before = len(mailbox.recipients)
    mail = mail_of(shop, mailbox, booked(shop, evening, name=name, email=email))
    assert mailbox.recipients[before:] == [to]
    (address,) = mail["To"].addresses
    assert (address.display_name, address.addr_spec) == (name, to)


def test_without_smtputf8_only_an_address_that_needs_it_is_given_up(application, settings, evening):
    with Mailbox(enable_SMTPUTF8=False) as old:
        client = application(**settings | {"SMTP_URL": old.url})
        shop = client.application.extensions["services"]
        needs_it = booked(shop, evening, email="jürgen@example.org")
        does_not = booked(shop, evening, "stalls-B-1", email="ada@bücher.example")
        shop.ticket_mail.send_due()
        assert old.recipients == ["ada@xn--bcher-kva.example"]
    assert "SMTPUTF8" in shop.bookings.find(needs_it.id).mail.given_up
    assert shop.bookings.find(does_not.id).mail.sent_at
    link = shop.codes.link_of(evening.id, needs_it.hold_id)
    assert "could not send" in client.get(f"/receipts/{link}").text


def test_names_are_not_markup_in_html(shop, seats, mailbox):
    event = small_hall(name="<script>alert(1)</script> & <b>co</b>")
    put_on_sale(seats, event)
    mail = mail_of(shop, mailbox, booked(shop, event))
    assert "<script>" not in html_of(mail) and "&lt;script&gt;" in html_of(mail)
    assert event.name in text_of(mail)


def test_a_mail_that_is_sent_again_has_the_same_message_id(shop, evening, mailbox):
    booking = booked(shop, evening)
    mailbox.data = "451 not now"
    shop.ticket_mail.send_due()
    mailbox.data = ""
    one = shop.ticket_mail._compose(shop.bookings.find(booking.id), "ticket")
    two = shop.ticket_mail._compose(shop.bookings.find(booking.id), "ticket")
    assert one["Message-ID"] == two["Message-ID"]
    shop.mail_queue.end_mail(shop.bookings.find(booking.id), "ticket", None)


def test_the_receipt_says_that_the_ticket_is_on_its_way(shop, evening, application, settings):
    booking = booked(shop, evening)
    path = f"/receipts/{shop.codes.link_of(evening.id, booking.hold_id)}"
    page = application(**settings).get(path).text
    assert "Your ticket is on its way to your e-mail address" in page
    assert "Keep the address of this page" in page
    assert booking.email not in page
    shop.ticket_mail.send_due()
    assert "Your ticket was sent" in application(**settings).get(path).text
