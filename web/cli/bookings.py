"""``flask --app wsgi bookings …``: what was sold, and refunds."""

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

import click
import msgspec
from flask.cli import AppGroup

from web.cli.event_text import table
from web.cli.failures import plain_errors
from web.domain.booking_search import BookingSearch, search_for
from web.domain.references import bookings_like, reference_of
from web.domain.refusals import BookingNotFound, EventNotFound, InvalidRequest, Unavailable
from web.domain.sales import Booking, booking_id_of, hold_id_of, rfc3339
from web.domain.validation import did_you_mean
from web.http.locales import money
from web.ports.booking_store import BookingRow
from web.services import services
from web.use_cases.booking_csv import csv_of
from web.use_cases.refunds import Refunds

FOUND_SHOWN = 50
"""Bookings that a search prints."""


bookings_cli = AppGroup("bookings", help="What was sold.")


@bookings_cli.command("show")
@click.argument("booking_id")
@plain_errors()
def show_booking_command(booking_id: str) -> None:
    """Print one booking as JSON. BOOKING_ID may be the reference on its receipt, HAM-7K3F."""
    booking = _booking_of(booking_id)
    shown = {"reference": reference_of(booking.event_id, booking.id)}
    shown |= msgspec.to_builtins(booking)
    click.echo(msgspec.json.format(msgspec.json.encode(shown)))


@bookings_cli.command("link")
@click.argument("booking_id")
@plain_errors()
def link_command(booking_id: str) -> None:
    """Print the address of a booking's receipt, for a buyer who has lost it. Who has the address
    has the tickets: ask for the name or the e-mail address first."""
    booking, parts = _booking_of(booking_id), services()
    path = f"/receipts/{parts.codes.link_of(booking.event_id, booking.hold_id)}"
    if not parts.settings.public_url:
        click.echo(
            "PUBLIC_URL is not set: put the address of your shop before this, or set it", err=True
        )
    click.echo(f"{parts.settings.public_url.rstrip('/')}{path}")


def _booking_of(text: str) -> Booking:
    """By its id or its reference."""
    bookings = services().bookings
    if booking := bookings.find(text):
        return booking
    if not (like := bookings_like(text)):
        raise _no_such_booking(text)
    found = bookings.search(None, BookingSearch(id_prefix=like[0], event=like[1]), FOUND_SHOWN)
    if len(found) > 1:
        rows = [(b.id, b.event_id, ",".join(b.seats), b.name) for b in found]
        lines = "\n".join(f"    {line}" for line in table(rows))
        raise click.ClickException(
            f"{len(found)} bookings have this reference; ask for the name, and use the id:\n{lines}"
        )
    booking = bookings.find(found[0].id) if found else None
    if booking is None:
        raise click.ClickException(f"there is no booking with the reference {text!r}")
    return booking


@bookings_cli.command("list")
@click.option("--event", "event_id", help="Only of this event.")
@click.option("--csv", "as_csv", is_flag=True, help="Newest first, with buyers, for spreadsheets.")
@plain_errors()
def list_bookings_command(event_id: str | None, as_csv: bool) -> None:
    """Print the bookings, oldest first, a line each."""
    parts = services()
    if as_csv:
        zone = _zone_of(event_id) if event_id is not None else UTC
        for piece in csv_of(parts.bookings, event_id, search_for(""), zone):
            click.echo(piece, nl=False)
        return
    found = False
    for booking in parts.bookings.list(event_id):
        found = True
        receipt = booking.receipt_now()
        click.echo(
            f"{receipt.booked_at}  {receipt.booking_id}  {_reference(booking)}  "
            f"{receipt.status:<8}  {receipt.event}  {_paid(booking)}  {','.join(receipt.seats)}"
        )
    if not found:
        if event_id is not None:
            parts.catalogue.current_event(event_id)  # or there is no such event
        click.echo("no bookings yet", err=True)


def _zone_of(event_id: str) -> tzinfo:
    """The venue's time zone, also of an event that Redis does not have, as long as it has
    bookings."""
    parts = services()
    try:
        return parts.catalogue.current_event(event_id).zone
    except (EventNotFound, Unavailable):
        newest = parts.bookings.search(event_id, search_for(""), 1)
        booking = parts.bookings.find(newest[0].id) if newest else None
        if booking is None:
            raise
        zone = booking.sold_as and booking.sold_as.timezone
        return ZoneInfo(zone) if zone else UTC


@bookings_cli.command("search")
@click.argument("text")
@click.option("--event", "event_id", help="Only of this event.")
@plain_errors()
def search_bookings_command(text: str, event_id: str | None) -> None:
    """Print the newest bookings with TEXT in the buyer's name or mail address, or with this seat,
    reference or payment, or a number that begins like this."""
    wanted = search_for(text)
    if wanted.finds_all:
        raise click.UsageError("TEXT is empty: name what to search for")
    found = services().bookings.search(event_id, wanted, FOUND_SHOWN + 1)
    for row in found[:FOUND_SHOWN]:
        click.echo(
            f"{rfc3339(row.booked_at)}  {row.id}  {_reference(row)}  "
            f"{'refunded' if row.refunded_at else 'booked':<8}  "
            f"{row.event_id}  {money(row.amount_minor, row.currency)}  {','.join(row.seats)}  "
            f"{row.name} <{row.email}>"
        )
    if not found:
        raise click.ClickException(f"no booking matches {text!r}")
    if len(found) > FOUND_SHOWN:
        click.echo(f"only the newest {FOUND_SHOWN} are shown; search for more of it", err=True)


@bookings_cli.command("refund")
@click.argument("booking_id")
@click.option("--seat", "seats", multiple=True, help="Only this seat; may be repeated.")
@plain_errors()
def refund_command(booking_id: str, seats: tuple[str, ...]) -> None:
    """Refund a booking and put its seats on sale again, or single seats of it: the others stay
    booked. Idempotent."""
    parts = services()
    refunds = Refunds(parts.catalogue, parts.seats, parts.bookings, parts.gateway)
    try:
        booking = refunds.refund_seats(booking_id, seats) if seats else refunds.refund(booking_id)
    except BookingNotFound:
        if bookings_like(booking_id):
            raise click.ClickException(
                "a refund cannot be undone, and two bookings may have one reference: "
                f"`bookings show {booking_id}` prints the id of the booking, which it needs"
            ) from None
        raise _no_such_booking(booking_id) from None
    except InvalidRequest as refusal:
        raise click.ClickException(f"--{refusal.field}: {refusal.problem}") from None
    if booking.refunded_at:
        click.echo(f"refunded: {booking.id}, {_paid(booking)}")
        return
    refunded, left = booking.refunded_minor, booking.amount_minor - booking.refunded_minor
    click.echo(
        f"refunded: {', '.join(booking.refunded_seats)} of {booking.id}, "
        f"{money(refunded, booking.currency)}\n"
        f"still booked: {', '.join(booking.seats_left)}, {money(left, booking.currency)}"
    )


def _reference(booking: Booking | BookingRow) -> str:
    return reference_of(booking.event_id, booking.id)


def _paid(booking: Booking) -> str:
    return money(booking.amount_minor, booking.currency)


def _no_such_booking(booking_id: str) -> click.ClickException:
    bookings = services().bookings
    meant = booking_id_of(hold_id_of(booking_id.strip()))  # or the hold's id was given
    near = [meant] if bookings.find(meant) else bookings.ids_like(meant)
    return click.ClickException(f"there is no booking {booking_id!r}{did_you_mean(meant, near)}")
