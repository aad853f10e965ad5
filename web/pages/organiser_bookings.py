"""The organiser's lists of bookings: pages, searches, and the list for a spreadsheet. Behind the
login of ``web/pages/organiser.py``, and in no API."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import NamedTuple

from flask import Response, request
from werkzeug.wrappers import Response as WerkzeugResponse

from web.domain.booking_search import MAX_SEARCH_LENGTH, search_for
from web.domain.references import reference_of
from web.domain.refusals import EventNotFound, Unavailable
from web.pages.blueprint import pages
from web.pages.names import EventNames, event_names
from web.pages.organiser import for_organiser, write_audit_line
from web.pages.rendering import page, secured
from web.ports.booking_store import BookingRow, Place
from web.services import services
from web.use_cases.booking_csv import csv_of, seat_names_of

ROWS = 50
"""Bookings on a page."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
"""MongoDB's precision."""

_PLACE = re.compile(r"(?P<ms>\d{1,14})-(?P<booking_id>[\w-]{1,100})", re.ASCII)


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
