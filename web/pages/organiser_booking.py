"""The organiser's page of one booking: its buyer, mails and admissions, and what can be done about
it. Behind the login of ``web/pages/organiser.py``, and in no API."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from flask import Response, flash, redirect, request, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as WerkzeugResponse

from web.domain.admissions import Admission
from web.domain.references import reference_of
from web.domain.refusals import InvalidRequest, Unavailable
from web.domain.sales import Booking, News
from web.pages.blueprint import pages
from web.pages.forms import RefundForm
from web.pages.names import event_names, names_of_seats
from web.pages.organiser import for_organiser, write_audit_line
from web.pages.rendering import FormError, Step, notice, page
from web.ports.payment_gateway import GatewayError, NotExecuted
from web.services import services
from web.use_cases.refunds import Refunds

STRIPE_API = "https://api.stripe.com"
DASHBOARD = "https://dashboard.stripe.com"


WORDS_OF_NEWS: dict[News, str] = {
    "ticket": "The ticket",
    "postponed": "The mail about the new date",
    "cancelled": "The mail about the cancellation",
    "refunded": "The mail about the refund",
}


class Seat(NamedTuple):
    id: str
    name: str
    is_refunded: bool
    admissions: Sequence[Admission]


@pages.get("/organiser/bookings/<booking_id>")
@for_organiser
def show_booking(booking_id: str) -> Response | WerkzeugResponse:
    return _booking_page(booking_id, RefundForm())


@pages.get("/organiser/bookings/<booking_id>/mail", endpoint="leave_mail_address")
@pages.get("/organiser/bookings/<booking_id>/refund", endpoint="leave_refund_address")
def leave_form_address(booking_id: str) -> WerkzeugResponse:
    """A form's address, which may be opened again after its response."""
    return redirect(url_for("pages.show_booking", booking_id=booking_id), 303)


@pages.post("/organiser/bookings/<booking_id>/refund")
@for_organiser
def refund_booking(booking_id: str) -> Response | WerkzeugResponse:
    parts = services()
    booking = parts.bookings.find(booking_id)
    if booking is None:
        return _no_such_booking()
    form, chosen = RefundForm(), request.form.getlist("seats")
    mistakes = [] if form.validate() else [FormError(e, "#confirm") for e in form.confirm.errors]
    if not chosen:
        mistakes = [FormError("Choose the seats to refund.", "#refund-title"), *mistakes]
    if mistakes:
        return _booking_page(booking_id, form, 400, "Please check the form", mistakes, chosen)
    write_audit_line(f"began a refund of booking {booking_id}")
    refunds = Refunds(parts.catalogue, parts.seats, parts.bookings, parts.gateway)
    try:
        refunds.refund_seats(booking_id, chosen)
    except InvalidRequest as error:
        mistakes = [FormError(str(error), "#refund-title")]
        return _booking_page(booking_id, form, 400, "Nothing was refunded", mistakes, chosen)
    except GatewayError as error:
        if isinstance(error, NotExecuted):
            text = f"The payment gateway has not made the refund: {error}"
        else:
            text = "The payment gateway did not answer, so the refund may have been made."
        text += " The worker tries again, and you may."
        mistakes = [FormError(text, "#refund-title")]
        return _booking_page(booking_id, form, 502, "Not refunded yet", mistakes, chosen)
    except Unavailable:
        return notice(
            503,
            "We cannot tell yet whether it is refunded",
            "A part of the shop cannot be reached. A refund that has begun is completed by the "
            "worker, and to try again is safe: nothing is refunded twice.",
            steps=(_step_to(booking_id),),
            retry_after_s=5,
        )
    write_audit_line(f"refunded seats of booking {booking_id}")
    flash("Refunded. The seats are on sale again, unless the sale is over.")
    return redirect(url_for("pages.show_booking", booking_id=booking_id), 303)


@pages.post("/organiser/bookings/<booking_id>/mail")
@for_organiser
def send_ticket_again(booking_id: str) -> Response | WerkzeugResponse:
    """``last_mail`` of the form is the one that its page shows: a form that is sent twice sends one
    mail."""
    parts = services()
    if parts.settings.smtp is None:
        raise NotFound
    booking = parts.bookings.find(booking_id)
    if booking is None:
        return _no_such_booking()
    if problem := _no_ticket_because(booking):
        mistakes = [FormError(problem, "#mail-title")]
        return _booking_page(booking_id, RefundForm(), 409, "Nothing was sent", mistakes)
    is_current = request.form.get("last_mail") == _last_mail(booking)
    try:
        recorded = is_current and parts.mail_queue.send_ticket_again(
            booking_id, datetime.now(UTC), booking.mail.sent_at
        )
    except Unavailable:
        return notice(
            503,
            "We cannot tell whether the ticket will be sent",
            "A part of the shop cannot be reached. The page of the booking says whether a mail is "
            "due, and to try again is safe.",
            steps=(_step_to(booking_id),),
            retry_after_s=5,
        )
    if recorded:
        write_audit_line(f"had the ticket of booking {booking_id} sent again")
        flash("The ticket is on its way.")
    else:
        flash(
            "Nothing more is sent: the ticket is on its way already, or a mail was sent after you "
            "had opened this page."
        )
    return redirect(url_for("pages.show_booking", booking_id=booking_id), 303)


def _no_ticket_because(booking: Booking) -> str:
    """Why there is no ticket to send; "" if there is."""
    if booking.refund_decided:
        return "This booking is refunded: it is no ticket any more."
    if event_names(booking.event_id, booking).status == "cancelled":
        return (
            "The event is cancelled: its tickets are not valid any more. The buyer gets a mail "
            "when the money is returned."
        )
    return ""


def _last_mail(booking: Booking) -> str:
    sent_at = booking.mail.sent_at
    return sent_at.isoformat() if sent_at else ""


def _step_to(booking_id: str) -> Step:
    return Step("The booking", url_for("pages.show_booking", booking_id=booking_id))


def _booking_page(
    booking_id: str,
    form: RefundForm,
    status: int = 200,
    error_title: str = "",
    mistakes: Sequence[FormError] = (),
    chosen: Sequence[str] | None = None,
) -> Response:
    """``chosen``: the seats to refund, of a form that was sent."""
    parts = services()
    booking = parts.bookings.find(booking_id)
    if booking is None:
        return _no_such_booking()
    write_audit_line(f"looked at booking {booking_id}")
    link = parts.codes.link_of(booking.event_id, booking.hold_id)
    receipt_path = url_for("pages.show_receipt", link=link)
    return page(
        "organiser_booking.html",
        status,
        booking=booking,
        reference=reference_of(booking.event_id, booking.id),
        event=event_names(booking.event_id, booking),
        seats=[
            Seat(
                seat,
                name,
                bool(booking.refunded_at) or seat not in booking.seats_left,
                [admission for admission in booking.admissions if admission.seat == seat],
            )
            for seat, name in zip(
                booking.seats,
                names_of_seats(booking.event_id, booking.seats, booking),
                strict=True,
            )
        ],
        chosen=booking.seats_left if chosen is None else chosen,
        receipt=f"{request.scheme}://{request.host}{receipt_path}",
        payment_address=_payment_address(booking),
        refund_under_way=booking.refund_under_way or booking.seat_refund is not None,
        is_mailed=parts.settings.smtp is not None,
        words_of_news=WORDS_OF_NEWS,
        last_mail=_last_mail(booking),
        no_ticket_because=_no_ticket_because(booking),
        form=form,
        error_title=error_title,
        mistakes=mistakes,
    )


def _payment_address(booking: Booking) -> str:
    """The payment in Stripe's dashboard, which has none of the sandbox's."""
    settings = services().settings
    if booking.payment_id is None or settings.stripe_api_base.rstrip("/") != STRIPE_API:
        return ""
    mode = "/test" if settings.is_test_shop else ""
    return f"{DASHBOARD}{mode}/payments/{booking.payment_id}"


def _no_such_booking() -> Response:
    return notice(
        404,
        "There is no such booking",
        "Check its number: it must be complete.",
        steps=(Step("All sales", url_for("pages.show_organiser")),),
    )
