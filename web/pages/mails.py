"""The mails to buyers: the ticket, and what has become of the event or the booking since.

Everything in a mail is of one booking and its event. Each is sent to one address alone.
"""

from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from urllib.parse import urlsplit

from flask import render_template, request, url_for

from web.domain.references import reference_of
from web.domain.refusals import EventNotFound
from web.domain.sales import Booking, News
from web.domain.validation import ascii_email_of
from web.http.locales import show_time, write_for_country_of
from web.pages.calendar_files import calendar_file
from web.pages.names import EventNames, event_names, names_of_seats
from web.pages.qr_codes import qr_code_png
from web.pages.tickets import tickets_of
from web.services import services


def mail_about(booking: Booking, news: News, sender: str) -> EmailMessage:
    """What tells the buyer this news. ``sender`` is MAIL_FROM. Raises Unavailable when the event
    cannot be read: an older definition might have another date."""
    with suppress(EventNotFound):
        services().catalogue.current_event(booking.event_id)
    event = event_names(booking.event_id, booking)
    write_for_country_of(event.zone)
    seats = [*names_of_seats(booking.event_id, booking.seats, booking)]
    tickets = tickets_of(booking, seats)
    pictures = [_content_id(booking, number) for number in range(1, len(tickets) + 1)]
    link = services().codes.link_of(booking.event_id, booking.hold_id)
    address = url_for("pages.show_receipt", link=link, _external=True)
    subject = _subject(event, news)
    words = {
        "news": news,
        "subject": subject,
        "event": event,
        "booking": booking,
        "seats": [
            (name, booking.refunded_at is None and seat in booking.refunded_seats)
            for seat, name in zip(booking.seats, seats, strict=True)
        ],
        "amount_of": _amount_of(booking),
        "tickets": [*zip(tickets, pictures, strict=True)],
        "reference": reference_of(booking.event_id, booking.id),
        "address": address,
        "moved": event.status != "postponed",
    }
    message = EmailMessage(policy=SMTP)
    display_name, sender_address = parseaddr(sender)
    message["From"] = _mailbox(display_name, sender_address)
    message["To"] = _mailbox(booking.name, booking.email)
    message["Subject"] = _one_line(subject)
    message["Date"] = format_datetime(booking.news[news])
    message["Message-ID"] = _message_id(booking, news)
    message["Auto-Submitted"] = "auto-generated"  # so that no holiday notice answers (RFC 3834)
    text = render_template("mail/booking.txt", **words)
    # Not every mail server takes 8 bits.
    message.set_content(text, cte="quoted-printable")
    html = render_template("mail/booking.html", **words)
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    page = message.get_payload()[1]  # type: ignore[index]
    for ticket, picture in zip(tickets, pictures, strict=True):
        page.add_related(  # type: ignore[union-attr]
            qr_code_png(ticket.code),
            "image",
            "png",
            cid=f"<{picture}>",
            filename=f"{picture}.png",
            disposition="inline",
        )
    if tickets and event.starts_at and event.status != "postponed":
        message.add_attachment(
            calendar_file(event, event.starts_at, booking, seats, address),
            "text",
            "calendar",
            filename=f"{booking.event_id}.ics",
            params={"method": "PUBLISH", "charset": "utf-8"},
        )
    return message


def _subject(event: EventNames, news: News) -> str:
    match news:
        case "ticket":
            return f"Your ticket: {event.name}"
        case "postponed":
            if event.starts_at and event.status != "postponed":
                return f"New date: {event.name}, {show_time(event.starts_at, event.zone)}"
            return f"Postponed: {event.name}"
        case "cancelled":
            return f"Cancelled and refunded: {event.name}"
        case "refunded":
            return f"Refunded: {event.name}"


def _amount_of(booking: Booking) -> str:
    if not booking.amount_minor:
        return "Price"
    return "Refunded" if booking.refunded_at else "Paid"


def _mailbox(name: str, email: str) -> Address:
    username, _, domain = ascii_email_of(email).rpartition("@")
    return Address(_one_line(name), username, domain)


def _one_line(text: str) -> str:
    """Names cannot have line breaks; but those of long ago, and of other programs, could: a line
    break would begin another header, which the email library refuses."""
    return " ".join(text.split())


def _content_id(booking: Booking, number: int) -> str:
    """Of the picture of a code. Mail programs keep pictures by this name, for all mails."""
    return f"ticket-{number}.{booking.id}"


def _message_id(booking: Booking, news: News) -> str:
    """The same whenever this is sent again, so that a mailbox can see that it has it."""
    at_ms = int(booking.news[news].timestamp() * 1000)
    return f"<{booking.id}.{news}.{at_ms}@{urlsplit(request.url_root).hostname}>"
