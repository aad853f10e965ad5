"""``flask --app wsgi …``: what operators and the Procfile run."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click
import msgspec
from flask.cli import AppGroup, with_appcontext

from web.domain import BookingNotFound, Unavailable
from web.ports import GatewayError, IndexMissing
from web.stores.event_files import BadEventFile, read_event_file
from web.ticket_codes import BadCode
from web.tickets import tickets
from web.use_cases.auditing import audit
from web.use_cases.opening import Opening, OpeningRefused
from web.use_cases.reconciling import Reconciler
from web.use_cases.refunding import Refunding

ROUND_S = 1.0
"""How often the worker looks: a hold's seats are back on the screen a second after it ran out."""

SETTING_OF_PART = {"seat store": "REDIS_URL", "booking store": "MONGODB_URI"}

PROBLEMS_SHOWN = 10
"""Of each check; where there are more, they have one cause."""

events_cli = AppGroup("events", help="Declared events.")
bookings_cli = AppGroup("bookings", help="What was sold.")
tickets_cli = AppGroup("tickets", help="What buyers show at the door.")


@events_cli.command("open")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def open_command(files: tuple[Path, ...]) -> None:
    """Put the events of FILES on sale, or bring them up to date. Again is fine."""
    parts = tickets()
    try:
        events = [read_event_file(path) for path in files]
        opening = Opening(parts.seats, parts.bookings, parts.gateway)
        changed = opening.open_events(events)
    except (BadEventFile, OpeningRefused) as error:
        raise click.ClickException(str(error)) from None
    except Unavailable as error:
        raise click.ClickException(
            f"not opened: cannot reach the {error.part}; is {SETTING_OF_PART[error.part]} right?"
        ) from None
    for event in events:
        state = "opened" if changed[event.id] else "unchanged"
        click.echo(f"{state}: {event.id}, {len(event.seats)} seats")


@bookings_cli.command("show")
@click.argument("booking_id")
def show_booking_command(booking_id: str) -> None:
    """Print one booking as JSON."""
    with _told_plainly():
        booking = tickets().bookings.find(booking_id)
        if booking is None:
            raise BookingNotFound
    click.echo(msgspec.json.format(msgspec.json.encode(booking)))


@bookings_cli.command("list")
@click.option("--event", "event_id", help="Only of this event.")
def list_bookings_command(event_id: str | None) -> None:
    """Print the bookings, oldest first, a line each."""
    with _told_plainly():
        for booking in tickets().bookings.list(event_id):
            receipt = booking.receipt_now()
            click.echo(
                f"{receipt.booked_at}  {receipt.booking_id}  {receipt.status:<8}  {receipt.event}  "
                f"{receipt.amount} {receipt.currency}  {','.join(receipt.seats)}"
            )


@bookings_cli.command("refund")
@click.argument("booking_id")
def refund_command(booking_id: str) -> None:
    """Give the money of a booking back and its seats to somebody else. Again is fine."""
    parts = tickets()
    with _told_plainly():
        booking = Refunding(parts.seats, parts.bookings, parts.gateway).refund(booking_id)
    click.echo(f"refunded: {booking.id}, {booking.amount_minor} {booking.currency}")


@tickets_cli.command("verify")
@click.argument("code")
def verify_command(code: str) -> None:
    """Say what a scanned code admits; asks no server. Exits with 1 when it is not ours."""
    try:
        ticket = tickets().codes.read_code(code)
    except BadCode:
        raise click.ClickException("this is not a ticket of ours") from None
    click.echo(f"{ticket.booking_id}  {ticket.event_id}  {','.join(ticket.seats)}")


@contextmanager
def _told_plainly() -> Iterator[None]:
    try:
        yield
    except BookingNotFound:
        raise click.ClickException("there is no such booking") from None
    except Unavailable as error:
        raise click.ClickException(f"cannot reach the {error.part} now; try again") from None
    except GatewayError as error:
        raise click.ClickException(
            f"the gateway did not confirm it: {error}; the worker goes on, or try again"
        ) from None


@click.command("reconcile")
@click.option("--forever", is_flag=True, help="Go on until SIGTERM.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@with_appcontext
def reconcile_command(forever: bool, dry_run: bool) -> None:
    """Repair what a crash, a lost answer or a loss of Redis left half done; free expired holds."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("stripe").setLevel(logging.WARNING)  # two lines a call otherwise
    parts = tickets()
    try:
        parts.check_at_start()
        paths = sorted(parts.settings.events_path.glob("*.toml"))
        declared = [read_event_file(path) for path in paths]
    except (IndexMissing, BadEventFile) as error:
        raise click.ClickException(str(error)) from None
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    reconciler = Reconciler(
        parts.seats,
        parts.bookings,
        parts.gateway,
        parts.checkout,
        declared,
        parts.settings.payment_lease_s,
        dry_run,
        stop.is_set,
    )
    while not stop.is_set():
        reconciler.round()
        if forever:
            stop.wait(ROUND_S)
        elif not reconciler.has_more:
            break
    for kind, count in sorted(reconciler.repairs.items()):
        click.echo(f"{kind}: {count}")


@click.command("audit")
@click.option("--hours", default=24, show_default=True, help="How far back payments are compared.")
@with_appcontext
def audit_command(hours: int) -> None:
    """Compare Redis, MongoDB and the gateway, changing nothing. Exits with 1 on any difference."""
    parts = tickets()
    window = timedelta(hours=hours)
    checks = audit(parts.seats, parts.bookings, parts.gateway, window)
    for check in checks:
        verdict = f"{len(check.problems)} PROBLEMS" if check.problems else "ok"
        click.echo(f"{check.rule:<60} {check.looked_at:>8} looked at   {verdict}")
        for problem in check.problems[:PROBLEMS_SHOWN]:
            click.echo(f"    {problem}")
    if any(check.problems for check in checks):
        raise SystemExit(1)
