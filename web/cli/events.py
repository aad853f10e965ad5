"""``flask --app wsgi events …``: declared events, from their files to the end of their sale."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import click
from flask.cli import AppGroup

from web.adapters.event_files import is_hidden, printable, read_event_files, read_event_folder
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
from web.cli.failures import PROBLEMS_SHOWN, out_of_reach, plain_errors
from web.domain.events import Event, closing_line
from web.domain.refusals import EventNotFound, Unavailable
from web.http.locales import count, money
from web.ports.seat_store import EventInUse
from web.services import services
from web.use_cases.cancellation import end_sale, refund_side_by_side
from web.use_cases.opening import Opening, OpeningRefused
from web.use_cases.refunds import Refunds
from web.use_cases.sale_report import report_sale
from web.use_cases.withdrawal import withdraw

events_cli = AppGroup("events", help="Declared events.")


@events_cli.command("open")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--all", "whole_folder", is_flag=True, help="All files of EVENTS_DIR, for a release.")
@click.option("--dry-run", is_flag=True, help="Say what would be opened or refused; do nothing.")
@click.option("--yes", is_flag=True, help="Cancel events whose files say so without asking.")
@plain_errors()
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
        click.echo(f"Not compared with what is on sale: {out_of_reach(unchecked)}", err=True)
    return not refused


def _print_block(headline: str, lines: Sequence[str]) -> None:
    click.echo("\n    ".join([headline, *lines]))


def _warn(event: Event) -> None:
    for warning in warnings(event):
        click.echo(f"Warning: {event.id}: {warning}", err=True)


@events_cli.command("close")
@click.argument("event_id")
@click.option("--undo", is_flag=True, help="Open the sale again that this command has closed.")
@plain_errors()
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
@plain_errors()
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
@plain_errors()
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
@plain_errors()
def show_event_command(event_id: str) -> None:
    """Print one event: prices, seats by section and state, times, sales."""
    parts = services()
    report = report_sale(parts.catalogue, parts.seats, parts.bookings, event_id)
    is_closed = bool(parts.seats.closed_sales([event_id]))
    for line in reported(report, parts.seats.now(event_id), is_closed=is_closed):
        click.echo(line)
