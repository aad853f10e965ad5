"""The organiser's pages about bookings: who bought what, refunds, and the list for a spreadsheet.
Behind the login of ``web/pages/organiser.py``, and in no API."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import NamedTuple

from flask import Response, flash, redirect, request, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from web.domain.booking_search import MAX_SEARCH_LENGTH, search_for
from web.domain.references import reference_of
from web.domain.refusals import EventNotFound, InvalidRequest, Unavailable
from web.domain.sales import Booking
from web.pages.blueprint import pages
from web.pages.forms import RefundForm
from web.pages.names import EventNames, event_names, names_of_seats
from web.pages.organiser import for_organiser, write_audit_line
from web.pages.rendering import FormError, Step, notice, page, secured
from web.ports.booking_store import BookingRow, Place
from web.ports.payment_gateway import GatewayError, NotExecuted
from web.services import services
from web.use_cases.booking_csv import csv_of, seat_names_of
from web.use_cases.refunds import Refunds

ROWS = 50
"""Bookings on a page."""

STRIPE_API = "https://api.stripe.com"
DASHBOARD = "https://dashboard.stripe.com"

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
"""MongoDB's precision."""

_PLACE = re.compile(r"(?P<ms>\d{1,14})-(?P<booking_id>[\w-]{1,100})", re.ASCII)


class Seat(NamedTuple):
    id: str
    name: str
    is_refunded: bool


class Line(NamedTuple):
    booking: BookingRow
    reference: str
    seats: Sequence[str]


@pages.get("/organiser/events/<event_id>/bookings")
@for_organiser
def show_bookings(event_id: str) -> Response | WerkzeugResponse:
    text = request.args.get("q", "")[:MAX_SEARCH_LENGTH]
    before, after = (_place_in(request.args.get(name, "")) for name in ("before", "after"))
    rows = services().bookings.search(
        event_id, search_for(text), ROWS + 1, before=None if after else before, after=after
    )
    is_more = len(rows) > ROWS
    # The one too many shows that there are more: at the end, or at the beginning when going back.
    rows = rows[-ROWS:] if after else rows[:ROWS]
    has_older, has_newer = (True, is_more) if after else (is_more, before is not None)
    event, is_listed = _event(event_id, rows)
    write_audit_line(f"looked at {'a search of ' if text else ''}the bookings of {event_id}")
    return page(
        "organiser_bookings.html",
        event=event,
        is_listed=is_listed,
        text=text,
        max_length=MAX_SEARCH_LENGTH,
        lines=[Line(row, reference_of(row.event_id, row.id), seat_names_of(row)) for row in rows],
        older=_place_of(rows[-1]) if rows and has_older else None,
        newer=_place_of(rows[0]) if rows and has_newer else None,
        is_first=not (before or after),
    )


@pages.get("/organiser/events/<event_id>/bookings.csv")
@for_organiser
def download_bookings(event_id: str) -> Response | WerkzeugResponse:
    """All that were found, not only those of a page."""
    text = request.args.get("q", "")
    bookings = services().bookings
    event, _ = _event(event_id, ())
    pieces = csv_of(bookings, event_id, search_for(text), event.zone)
    first = next(pieces)  # so that an unreachable MongoDB gets the usual page
    write_audit_line(f"downloaded {'a search of ' if text else ''}the bookings of {event_id}")
    response = secured(Response(chain([first], pieces), mimetype="text/csv"))
    response.headers["Content-Disposition"] = f"attachment; filename={event_id}-bookings.csv"
    return response


@pages.get("/organiser/bookings/<booking_id>")
@for_organiser
def show_booking(booking_id: str) -> Response | WerkzeugResponse:
    return _booking_page(booking_id, RefundForm())


@pages.get("/organiser/bookings/<booking_id>/refund")
def leave_refund_address(booking_id: str) -> WerkzeugResponse:
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
            steps=(Step("The booking", url_for("pages.show_booking", booking_id=booking_id)),),
            retry_after_s=5,
        )
    write_audit_line(f"refunded seats of booking {booking_id}")
    flash("Refunded. The seats are on sale again, unless the sale is over.")
    return redirect(url_for("pages.show_booking", booking_id=booking_id), 303)


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
            Seat(seat, name, seat not in booking.seats_left)
            for seat, name in zip(
                booking.seats,
                names_of_seats(booking.event_id, booking.seats, booking),
                strict=True,
            )
        ],
        chosen=booking.seats_left if chosen is None else chosen,
        receipt=f"{request.scheme}://{request.host}{receipt_path}",
        payment_address=_payment_address(booking),
        refund_under_way=any(b.id == booking_id for b in parts.bookings.unfinished_refunds()),
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


def _event(event_id: str, rows: Sequence[BookingRow]) -> tuple[EventNames, bool]:
    """Its names, and whether there is a page of its sale. An event that was withdrawn is known as
    long as it has bookings; ``rows`` are some of them. Raises EventNotFound, Unavailable."""
    parts = services()
    try:
        parts.box_office.event_to_name(event_id)
    except (EventNotFound, Unavailable):
        newest = rows or parts.bookings.search(event_id, search_for(""), 1)
        if not newest:
            raise
        return event_names(event_id, parts.bookings.find(newest[0].id)), False
    return event_names(event_id), True


def _place_of(row: BookingRow) -> str:
    moment, booking_id = row.place
    return f"{(moment - EPOCH) // MILLISECOND}-{booking_id}"


def _place_in(text: str) -> Place | None:
    """None for what _place_of has not written: such a link shows the newest."""
    found = _PLACE.fullmatch(text)
    if not found:
        return None
    return Place(EPOCH + int(found["ms"]) * MILLISECOND, found["booking_id"])
