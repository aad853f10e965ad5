"""The receipt, at an address that cannot be guessed: anyone who has it can see and print it."""

from flask import Response

from web.domain.refusals import BookingNotFound
from web.domain.sales import booking_id_of
from web.pages.blueprint import pages
from web.pages.names import event_names, names_of_seats
from web.pages.qr_codes import qr_code
from web.pages.rendering import page
from web.services import services
from web.signing.ticket_codes import BadCode


@pages.get("/receipts/<link>")
def show_receipt(link: str) -> Response:
    try:
        event_id, hold_id = services().codes.read_link(link)
    except BadCode:
        raise BookingNotFound from None
    token = services().tokens.token_of(event_id, hold_id)
    booking = services().box_office.booking(event_id, booking_id_of(hold_id), token)
    code = services().codes.code_of(booking)
    return page(
        "receipt.html",
        event=event_names(event_id, booking),
        booking=booking,
        seats=names_of_seats(event_id, booking.seats, booking),
        code=code,
        qr_code=qr_code(code, title="Ticket code") if not booking.refunded_at else None,
    )
