"""The receipt, at an address that cannot be guessed: anyone who has it can see and print it."""

from flask import Response, request, url_for

from web.domain.references import reference_of
from web.domain.refusals import BookingNotFound
from web.domain.sales import Booking, booking_id_of
from web.pages.blueprint import pages
from web.pages.calendar_files import MEDIA_TYPE, calendar_file
from web.pages.names import event_names, names_of_seats
from web.pages.qr_codes import qr_code
from web.pages.rendering import page, secured
from web.pages.tickets import tickets_of
from web.services import services
from web.signing.ticket_codes import BadCode


@pages.get("/receipts/<link>/calendar.ics")
def show_calendar(link: str) -> Response:
    booking = _booking_of(link)
    event = event_names(booking.event_id, booking)
    if event.starts_at is None:
        raise BookingNotFound
    seats = [*names_of_seats(booking.event_id, booking.seats, booking)]
    path = url_for("pages.show_receipt", link=link)
    address = f"{request.scheme}://{request.host}{path}"
    response = secured(
        Response(
            calendar_file(event, event.starts_at, booking, seats, address), mimetype=MEDIA_TYPE
        )
    )
    response.headers["Content-Disposition"] = f"attachment; filename={booking.event_id}.ics"
    return response


def _booking_of(link: str) -> Booking:
    try:
        event_id, hold_id = services().codes.read_link(link)
    except BadCode:
        raise BookingNotFound from None
    token = services().tokens.token_of(event_id, hold_id)
    return services().box_office.booking(event_id, booking_id_of(hold_id), token)


@pages.get("/receipts/<link>")
def show_receipt(link: str) -> Response:
    booking = _booking_of(link)
    event_id = booking.event_id
    names = names_of_seats(event_id, booking.seats, booking)
    event = event_names(event_id, booking)
    tickets = tickets_of(booking, names) if event.status != "cancelled" else []
    return page(
        "receipt.html",
        event=event,
        booking=booking,
        seats=names,
        refunded_names=[
            name
            for seat, name in zip(booking.seats, names, strict=True)
            if seat in booking.refunded_seats
        ],
        link=link,
        tickets=[(ticket, qr_code(ticket.code, ticket.title)) for ticket in tickets],
        reference=reference_of(event_id, booking.id),
        is_mailed=services().settings.smtp is not None,
    )
