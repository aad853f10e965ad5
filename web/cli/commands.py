"""``flask --app wsgi …``: the commands that operators and the Procfile run."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import msgspec
from flask.cli import AppGroup, with_appcontext

from sidecar.settings import BadSettings
from web.adapters.event_files import (
    is_hidden,
    printable,
    read_event_files,
    read_event_folder,
)
from web.cli.event_text import (
    LIST_NUMBERS,
    LIST_TITLES,
    bookings_of,
    changes,
    described,
    listed,
    opening_time,
    reported,
    seats_of,
    table,
    warnings,
)
from web.domain.booking_search import BookingSearch, search_for
from web.domain.events import Event, closing_line
from web.domain.references import bookings_like, reference_of
from web.domain.refusals import (
    BookingNotFound,
    EventNotFound,
    InvalidRequest,
    Refusal,
    Unavailable,
)
from web.domain.sales import Booking, booking_id_of, hold_id_of, rfc3339
from web.domain.validation import did_you_mean
from web.http.locales import count, money
from web.ports.booking_store import BOOKING_STORE, BookingRow, UnsafeToSell
from web.ports.payment_gateway import GatewayError, NotAccepted, NotAllowed
from web.ports.seat_store import SEAT_STORE, EventInUse
from web.services import services
from web.signing.ticket_codes import BadCode
from web.use_cases.audit import audit
from web.use_cases.booking_csv import csv_of
from web.use_cases.cancellation import end_sale, refund_side_by_side
from web.use_cases.opening import Opening, OpeningRefused
from web.use_cases.refunds import Refunds
from web.use_cases.sale_report import report_sale
from web.use_cases.withdrawal import withdraw
from web.worker import Stop, run_worker

SHOWN_OF_CODE = 40
"""Characters of a refused ticket code: enough to see what was scanned."""

PROBLEMS_SHOWN = 10
"""For each check; if there are more, they usually have one cause."""

FOUND_SHOWN = 50
"""Bookings that a search prints."""

MAX_HOURS = 10 * 365 * 24
"""Ten years, longer than gateways keep payments in their lists."""

events_cli = AppGroup("events", help="Declared events.")
bookings_cli = AppGroup("bookings", help="What was sold.")
tickets_cli = AppGroup("tickets", help="What buyers show at the door.")


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Around a command: refusals and unreachable servers become one line on standard error and exit
    code 1."""
    # The adapters log the same error.
    logging.getLogger("web.adapters").addHandler(logging.NullHandler())
    try:
        yield
    except UnsafeToSell as error:
        raise click.ClickException(str(error)) from None
    except EventNotFound as error:
        raise click.ClickException(_no_such_event(error.event_id)) from None
    except Unavailable as error:
        raise click.ClickException(_out_of_reach(error)) from None
    except Refusal as error:
        raise click.ClickException(str(error)) from None
    except (NotAccepted, NotAllowed) as error:
        raise click.ClickException(f"the payment gateway refuses it: {error}") from None
    except GatewayError as error:
        raise click.ClickException(
            f"the payment gateway did not confirm it: {error}; the worker tries again, and you may"
        ) from None


def _no_such_event(event_id: str) -> str:
    meant = ""
    with suppress(Unavailable):
        meant = did_you_mean(event_id, services().catalogue.event_ids())
    return f"there is no event {event_id!r}{meant}"


def _out_of_reach(error: Unavailable) -> str:
    """Says what to check. A Redis that has lost its events responds but cannot serve."""
    parts = services()
    if error.part == BOOKING_STORE:
        return f"cannot reach {_bare(parts.settings.mongodb_uri)}; is MONGODB_URI right?"
    if error.part != SEAT_STORE:
        return str(error)
    servers = parts.catalogue.servers()
    away = [server for server in servers if server.failure and not server.failure.answer]
    if len(away) == len(servers):
        return f"cannot reach {_bare(parts.settings.redis_url)}; is REDIS_URL right?"
    if away and not error.answer:
        addresses = ", ".join(server.address for server in away)
        return f"cannot reach {addresses} of {_bare(parts.settings.redis_url)}"
    if error.answer:
        return f"Redis answers and refuses the call: {error.answer}"
    return (
        "Redis answers and does not have the event: it was not opened yet, or Redis has lost it; "
        "run `events open` with its file, as the worker does by itself after a loss"
    )


def _bare(url: str) -> str:
    """The URL without its secrets."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


# ---------------------------------------------------------------- events


@events_cli.command("open")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--all", "whole_folder", is_flag=True, help="All files of EVENTS_DIR, for a release.")
@click.option("--dry-run", is_flag=True, help="Say what would be opened or refused; do nothing.")
@click.option("--yes", is_flag=True, help="Cancel events whose files say so without asking.")
@_plain_errors()
def open_command(files: tuple[Path, ...], whole_folder: bool, dry_run: bool, yes: bool) -> None:
    """Put the events of FILES on sale, or bring them up to date. Idempotent. A file that cannot be
    opened is reported and skipped; the command then exits with 1, with --all with 0.

    A file with status = "cancelled" ends the sale and refunds every booking, after a question. With
    --all nothing is asked: without --yes such a file is left out, and the refunds are the worker's.
    """
    if whole_folder == bool(files):
        raise click.UsageError("name FILES, or give --all for those of EVENTS_DIR")
    parts = services()
    if whole_folder:
        events, problems = read_event_folder(parts.settings.events_path)
    else:
        hidden = [path for path in files if is_hidden(path)]
        for path in hidden:
            click.echo(
                f"Left out: {printable(path)} is hidden, as files are that editors make; rename it "
                "without the dot at the beginning to open it",
                err=True,
            )
        if len(hidden) == len(files):
            raise SystemExit(1)
        events, problems = read_event_files(path for path in files if not _matched_nothing(path))
    for problem in problems:
        click.echo(f"{'Left out' if whole_folder else 'Error'}: {problem}", err=True)
    opening = Opening(parts.catalogue, parts.seats, parts.bookings, parts.gateway)
    if dry_run:
        all_well = _rehearse(opening, events)
    else:
        agreed = [event for event in events if _may_open(opening, event, whole_folder, yes)]
        all_well = _open(opening, agreed, goes_on=whole_folder) and len(agreed) == len(events)
        for event in agreed:
            if event.status == "cancelled" and _is_opened(event):
                all_well = (_end(event) if whole_folder else _refund_all(event)) and all_well
    if not whole_folder and (problems or not all_well):
        raise SystemExit(1)


def _matched_nothing(path: Path) -> bool:
    """A shell passes a pattern that matches no file on unchanged: then there is nothing to open,
    which is not an error if the folder exists."""
    # Unlike pathlib's, these never raise.
    in_folder = os.path.isdir(path.parent)  # noqa: PTH112
    nothing = "*" in path.name and in_folder and not os.path.lexists(path)
    if nothing:
        click.echo(f"Nothing to open: no file is called {printable(path)}", err=True)
    return nothing


def _may_open(opening: Opening, event: Event, whole_folder: bool, yes: bool) -> bool:
    """Asks before an event is cancelled that was not cancelled before. One that has sold nothing
    and is not on sale can be cancelled without."""
    if event.status != "cancelled" or yes:
        return True
    try:
        before = opening.check(event)
    except OpeningRefused:
        return True  # It is refused, and why is said then.
    sales = services().bookings.sales(event.id, datetime.now(UTC))
    if before.status == "cancelled" if before else not sales.bookings:
        return True
    what = (
        f"cancelling {event.id} ends its sale and refunds "
        f"{bookings_of(sales.bookings)}, {money(sales.revenue_minor, event.currency)}"
    )
    if whole_folder:
        click.echo(
            f"Left out: {what}; do that with `events open` and its file, which asks first, or give "
            "--yes; it is left as it is",
            err=True,
        )
        return False
    if not sys.stdin.isatty():
        click.echo(f"Error: {what}; there is no terminal to ask, so give --yes", err=True)
        return False
    if click.confirm(f"{what[0].upper()}{what[1:]}. That cannot be undone. Cancel the event?"):
        return True
    click.echo(f"Not cancelled: {event.id} is left as it is", err=True)
    return False


def _is_opened(event: Event) -> bool:
    """False when it was refused."""
    return services().catalogue.current_event(event.id).version == event.version


def _end(event: Event) -> bool:
    """In a release, which waits for no refunds."""
    parts = services()
    end_sale(parts.seats, event.id)
    if left := len(parts.bookings.booked_ids(event.id)):
        click.echo(f"cancelled: {event.id}; the worker refunds {bookings_of(left)}")
    return True


def _refund_all(event: Event) -> bool:
    """Refunds all bookings of an event that was cancelled a moment ago, or long ago by a command
    that broke off. Returns whether all is done."""
    parts = services()
    under_way = end_sale(parts.seats, event.id)
    refunds = Refunds(parts.catalogue, parts.seats, parts.bookings, parts.gateway)
    number, amount_minor, failed = 0, 0, {}
    ids = parts.bookings.booked_ids(event.id)
    outcomes = refund_side_by_side(refunds.refund, ids)
    try:
        with click.progressbar(outcomes, length=len(ids), label="refunding") as shown:
            for booking_id, outcome in shown:
                if isinstance(outcome, Exception):
                    failed[booking_id] = outcome
                else:
                    number += 1
                    amount_minor += outcome.amount_minor - outcome.refunded_minor
    except KeyboardInterrupt:
        click.echo("\nInterrupted: those that were being made are complete", err=True)
    finally:
        outcomes.close()
    left = len(parts.bookings.booked_ids(event.id))
    click.echo(
        f"refunded: {bookings_of(number)} of {event.id}, {money(amount_minor, event.currency)}"
    )
    for booking_id, error in islice(failed.items(), PROBLEMS_SHOWN):
        click.echo(f"Not refunded: {booking_id}: {error}", err=True)
    if len(failed) > PROBLEMS_SHOWN:
        click.echo(f"    and {count(len(failed) - PROBLEMS_SHOWN)} more", err=True)
    if failed:
        click.echo(
            "The worker tries again, and so does this command. One that the gateway refuses for "
            "good, as a disputed one, is settled in the gateway's dashboard: a refund made there "
            "counts.",
            err=True,
        )
    if left:
        click.echo(
            f"Not finished: {bookings_of(left)} left; the worker goes on, and so does this command",
            err=True,
        )
    if under_way:
        payments = "1 payment is" if under_way == 1 else f"{count(under_way)} payments are"
        click.echo(
            f"{payments} still being made; the worker ends or refunds them, and `audit` says when "
            "nothing is left"
        )
    return not left


def _open(opening: Opening, events: Sequence[Event], goes_on: bool) -> bool:
    """Opens those that can be opened. Returns whether all could be. ``goes_on``: whether one that
    cannot is not a failure."""
    before: dict[str, Event | None] = {}
    for event in events:
        with suppress(OpeningRefused):
            before[event.id] = opening.check(event)
    outcomes = opening.open_events(events)
    for event in events:
        outcome = outcomes[event.id]
        if isinstance(outcome, OpeningRefused):
            line = f"Left out: {outcome}; it is left as it is" if goes_on else f"Error: {outcome}"
            click.echo(line, err=True)
        else:
            _print_opened(event, before.get(event.id), outcome)
    return not any(isinstance(outcome, OpeningRefused) for outcome in outcomes.values())


def _print_opened(event: Event, before: Event | None, changed: bool) -> None:
    """``before`` is what was on sale."""
    seats = f"{event.id}, {seats_of(len(event.seats))}"
    if before is None:
        _print_block(f"opened: {seats}", described(event))
    elif changed:
        lines = changes(before, event) or ["sold seats brought up to date with the bookings"]
        _print_block(f"changed: {seats}", [*lines, opening_time(event)])
    else:
        _print_block(f"unchanged: {seats}", described(event))
    _warn(event)


def _rehearse(opening: Opening, events: Sequence[Event]) -> bool:
    """Returns whether all would be opened."""
    unchecked, refused = None, False
    for event in events:
        seats = f"{event.id}, {seats_of(len(event.seats))}"
        try:
            before = opening.check(event)
        except OpeningRefused as error:
            refused = True
            _print_block(f"would be refused: {error}", described(event))
        except Unavailable as error:
            unchecked = error
            _print_block(f"would open: {seats}", described(event))
        else:
            if before is None:
                _print_block(f"would open: {seats}", described(event))
            elif lines := changes(before, event):
                _print_block(f"would change: {seats}", [*lines, opening_time(event)])
            else:
                _print_block(f"would stay as it is: {seats}", described(event))
            if event.status == "cancelled":
                left = len(services().bookings.booked_ids(event.id))
                click.echo(f"would refund: {bookings_of(left)} of {event.id}")
        _warn(event)
    if unchecked:
        click.echo(f"Not compared with what is on sale: {_out_of_reach(unchecked)}", err=True)
    return not refused


def _print_block(headline: str, lines: Sequence[str]) -> None:
    click.echo("\n    ".join([headline, *lines]))


def _warn(event: Event) -> None:
    for warning in warnings(event):
        click.echo(f"Warning: {event.id}: {warning}", err=True)


@events_cli.command("close")
@click.argument("event_id")
@click.option("--undo", is_flag=True, help="Open the sale again that this command has closed.")
@_plain_errors()
def close_command(event_id: str, undo: bool) -> None:
    """Close the sale of an event at once, whatever its file says. Live holds may still be paid.
    Idempotent."""
    parts = services()
    event = parts.catalogue.current_event(event_id)
    now = parts.seats.now(event_id)
    if undo:
        changed = parts.seats.reopen_sale(event_id)
        state = "closed as its file says" if event.sale_is_over(now) else "as its file says"
        click.echo(f"{'undone' if changed else 'unchanged'}: {event_id}, its sale is {state}")
        return
    changed = parts.seats.close_sale(event_id)
    closed_at = parts.seats.closed_sales([event_id]).get(event_id, now)
    click.echo(
        f"{'closed' if changed else 'unchanged'}: {event_id}, its sale is closed; live holds may "
        "still be paid"
    )
    if not event.sale_is_over(now):
        click.echo(
            "Only Redis knows that. So that it stays closed, write into its file, and open it:\n"
            f"    {closing_line(event, closed_at)}"
        )


@events_cli.command("withdraw")
@click.argument("event_id")
@_plain_errors()
def withdraw_command(event_id: str) -> None:
    """Take an event off the list and out of Redis. Its bookings stay. Idempotent."""
    parts = services()
    folder = parts.settings.events_path
    events, _ = read_event_folder(folder)
    if event_id in {event.id for event in events} or (folder / f"{event_id}.toml").exists():
        raise click.ClickException(
            f"{event_id} has a file in {folder}, which would put it on sale again: remove the file "
            "first, also where the next release comes from"
        )
    try:
        withdraw(parts.catalogue, parts.seats, event_id)
    except EventInUse as error:
        raise click.ClickException(
            f"{event_id} is in use: {count(error.holds)} holds are live and "
            f"{count(error.payments)} payments under way; close its sale with `events close "
            f"{event_id}` and wait until they have ended"
        ) from None
    except EventNotFound:
        if event_id not in parts.catalogue.withdrawn_ids():
            raise
        click.echo(f"unchanged: {event_id} was withdrawn before")
        return
    left = len(parts.bookings.booked_ids(event_id))
    click.echo(f"withdrawn: {event_id}; kept: {bookings_of(left)}, and the receipts")


@events_cli.command("list")
@_plain_errors()
def list_events_command() -> None:
    """Print the events on sale: state, seats, opening."""
    catalogue = services().catalogue
    ids = catalogue.event_ids()
    events = catalogue.current_events(ids)
    rows = [LIST_TITLES, *(_row(event_id, events.get(event_id)) for event_id in ids)]
    for line in table(rows, right=LIST_NUMBERS):
        click.echo(line)


def _row(event_id: str, event: Event | Unavailable | None) -> tuple[str, ...]:
    """``event`` as ``current_events`` returns it."""
    nothing = [""] * (len(LIST_TITLES) - 2)
    if isinstance(event, Unavailable):
        return (event_id, "its Redis cannot be reached", *nothing)
    seats = services().seats
    if event:
        with suppress(Unavailable):
            is_closed = bool(seats.closed_sales([event_id]))
            states, now = seats.read_seats(event_id).seats, seats.now(event_id)
            return listed(event, states, now, is_closed=is_closed)
    return (event_id, "lost by Redis; the worker reopens it", *nothing)


@events_cli.command("show")
@click.argument("event_id")
@_plain_errors()
def show_event_command(event_id: str) -> None:
    """Print one event: prices, seats by section and state, times, sales."""
    parts = services()
    report = report_sale(parts.catalogue, parts.seats, parts.bookings, event_id)
    is_closed = bool(parts.seats.closed_sales([event_id]))
    for line in reported(report, parts.seats.now(event_id), is_closed=is_closed):
        click.echo(line)


# ---------------------------------------------------------------- bookings and tickets


@bookings_cli.command("show")
@click.argument("booking_id")
@_plain_errors()
def show_booking_command(booking_id: str) -> None:
    """Print one booking as JSON. BOOKING_ID may be the reference on its receipt, HAM-7K3F."""
    booking = _booking_of(booking_id)
    shown = {"reference": reference_of(booking.event_id, booking.id)}
    shown |= msgspec.to_builtins(booking)
    click.echo(msgspec.json.format(msgspec.json.encode(shown)))


@bookings_cli.command("link")
@click.argument("booking_id")
@_plain_errors()
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
@_plain_errors()
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
@_plain_errors()
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
@_plain_errors()
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


@tickets_cli.command("verify")
@click.argument("code")
def verify_command(code: str) -> None:
    """Say what a scanned code admits; works offline. Exits with 1 when it is not ours."""
    try:
        ticket = services().codes.read_code(code.strip())
    except BadCode:
        raise click.ClickException(
            f"{_short(code)!r} is not a ticket of ours: it is cut short or changed, or was made "
            "with another SECRET_KEY"
        ) from None
    click.echo(f"{ticket.booking_id}  {ticket.event_id}  {','.join(ticket.seats)}")


@tickets_cli.command("public-key")
@click.option("--jwk", is_flag=True, help="As JSON Web Keys (RFC 8037), not as PEM.")
def public_key_command(jwk: bool) -> None:
    """Print the keys with which anybody can verify tickets and nobody can make one: the current
    one, then those of SECRET_KEY_FALLBACKS."""
    keys = services().codes.keys
    if jwk:
        described = [{"kty": "OKP", "crv": "Ed25519", "x": key} for key in keys.public_keys()]
        click.echo(msgspec.json.format(msgspec.json.encode({"keys": described})))
    else:
        click.echo("".join(keys.public_keys_pem()), nl=False)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_OF_CODE else f"{text[:SHOWN_OF_CODE]}…"


# ---------------------------------------------------------------- the worker and the audit


@click.command("reconcile")
@click.option("--forever", is_flag=True, help="Go on until SIGTERM.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@with_appcontext
def reconcile_command(forever: bool, dry_run: bool) -> None:
    """Repair what a crash, a lost response or a loss of Redis left half done; free expired holds.
    Without --forever it exits with 1 when something could not be done."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("stripe").setLevel(logging.WARNING)  # two lines a call otherwise
    parts = services()
    with _plain_errors():
        parts.check_at_start()
    stop = Stop()
    stop.listen()
    try:
        reconciler = run_worker(parts, stop, forever=forever, dry_run=dry_run)
    except BadSettings as error:
        raise click.ClickException(str(error)) from None
    for kind, number in sorted(reconciler.repairs.items()):
        click.echo(f"{kind}: {number}")
    if reconciler.not_done and not forever:
        raise SystemExit(1)


@click.command("audit")
@click.option(
    "--hours",
    type=click.IntRange(1, MAX_HOURS),
    default=24,
    show_default=True,
    help="How far back payments are compared.",
)
@with_appcontext
def audit_command(hours: int) -> None:
    """Compare Redis, MongoDB and the gateway, changing nothing. Exits with 1 on any difference;
    without one, with 2 when something could not be checked."""
    # The adapters log the same errors, which are among the problems.
    logging.getLogger("web.adapters").addHandler(logging.NullHandler())
    parts = services()
    window = timedelta(hours=hours)
    checks = audit(parts.catalogue, parts.audited_seats, parts.bookings, parts.gateway, window)
    for check in checks:
        number = len(check.problems)
        verdict = f"{number} PROBLEM{'S' * (number != 1)}" if number else "ok"
        if check.not_looked_at and not number:
            verdict = "could not be checked"
        click.echo(f"{check.rule:<60} {check.looked_at:>8} looked at   {verdict}")
        if check.note:
            click.echo(f"    {check.note}")
        if check.not_looked_at:
            rest = "the rest was " if check.looked_at else ""
            click.echo(f"    {rest}not looked at: {check.not_looked_at}")
        for problem in check.problems[:PROBLEMS_SHOWN]:
            click.echo(f"    {problem}")
        if number > PROBLEMS_SHOWN:
            click.echo(f"    and {count(number - PROBLEMS_SHOWN)} more")
    if any(check.problems for check in checks):
        raise SystemExit(1)
    if any(check.not_looked_at for check in checks):
        raise SystemExit(2)
