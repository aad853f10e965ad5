"""An event's bookings as CSV (RFC 4180), for spreadsheets."""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo

from web.domain.booking_search import BookingSearch
from web.domain.currencies import currency_of
from web.domain.events import seat_name
from web.domain.references import reference_of
from web.ports.booking_store import BookingRow, BookingStore

BATCH = 1_000
"""Bookings read at once: short of a tenth of a second for MongoDB, and less than a megabyte."""

BYTE_ORDER_MARK = "\ufeff"
"""By it Excel knows that a file is UTF-8."""

_FORMULA = tuple("=+-@|＝＋－＠")  # noqa: RUF001  # wide ones, as Japanese keyboards type them
"""A cell that begins with one of these may be a formula to a spreadsheet
(https://owasp.org/www-community/attacks/CSV_Injection)."""


def csv_of(
    bookings: BookingStore, event_id: str | None, wanted: BookingSearch, zone: tzinfo
) -> Iterator[bytes]:
    """Newest first, in pieces. Times are in ``zone``. Raises Unavailable, before the first piece or
    between two."""
    rows = bookings.search(event_id, wanted, BATCH)
    yield _encoded([_titles(zone)], BYTE_ORDER_MARK)
    while rows:
        yield _encoded([_cells(row, zone) for row in rows])
        rows = bookings.search(event_id, wanted, BATCH, before=rows[-1].place)


def seat_names_of(row: BookingRow) -> Sequence[str]:
    """As they were sold, or derived from the ids of a booking from before names were stored."""
    return row.seat_names or [seat_name(seat) for seat in row.seats]


def _titles(zone: tzinfo) -> list[str]:
    return [
        "Booking",
        "Reference",
        f"Booked at ({zone})",
        "Status",
        f"Refunded at ({zone})",
        "Event",
        "Name",
        "E-mail address",
        "Seats",
        "Number of seats",
        "Refunded seats",
        "Amount",
        "Refunded amount",
        "Currency",
        "Payment",
    ]


def _cells(row: BookingRow, zone: tzinfo) -> list[str]:
    names = seat_names_of(row)
    refunded = [
        name
        for seat, name in zip(row.seats, names, strict=True)
        if row.refunded_at or seat in row.refunded_seats
    ]
    currency = currency_of(row.currency)
    return [
        row.id,
        reference_of(row.event_id, row.id),
        _time(row.booked_at, zone),
        "refunded" if row.refunded_at else "booked",
        _time(row.refunded_at, zone) if row.refunded_at else "",
        row.event_id,
        _harmless(row.name),
        _harmless(row.email),
        _harmless("; ".join(names)),
        str(len(row.seats)),
        _harmless("; ".join(refunded)),
        str(currency.amount(row.amount_minor)),
        str(currency.amount(row.amount_minor if row.refunded_at else row.refunded_minor)),
        row.currency,
        row.payment_id or "",
    ]


def _time(moment: datetime, zone: tzinfo) -> str:
    """``2026-12-12 19:30:00``: what spreadsheets take for a time."""
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def _harmless(text: str) -> str:
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def _encoded(lines: list[list[str]], before: str = "") -> bytes:
    text = io.StringIO(newline="")
    text.write(before)
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()
