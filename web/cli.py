"""``flask --app wsgi …``: what operators and the Procfile run."""

import logging
import signal
import threading
from pathlib import Path

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from web.domain import Unavailable
from web.ports import IndexMissing
from web.stores.event_files import BadEventFile, read_event_file
from web.use_cases.opening import OpeningRefused, open_events
from web.use_cases.reconciling import reconcile

ROUND_S = 1.0
"""How often the worker looks: a hold's seats are back on the screen a second after it ran out."""

events_cli = AppGroup("events", help="Declared events.")


@events_cli.command("open")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def open_command(files: tuple[Path, ...]) -> None:
    """Put the events of FILES on sale, or bring them up to date. Again is fine."""
    tickets = current_app.extensions["tickets"]
    try:
        events = [read_event_file(path) for path in files]
        changed = open_events(events, tickets.seats, tickets.bookings)
    except (BadEventFile, OpeningRefused) as error:
        raise click.ClickException(str(error)) from None
    except Unavailable as error:
        raise click.ClickException(
            f"not opened: cannot reach the {error.part}; is REDIS_URL or MONGODB_URI right?"
        ) from None
    for event in events:
        state = "opened" if changed[event.id] else "unchanged"
        click.echo(f"{state}: {event.id}, {len(event.seats)} seats")


@click.command("reconcile")
@click.option("--forever", is_flag=True, help="Go on until SIGTERM.")
@with_appcontext
def reconcile_command(forever: bool) -> None:
    """Free expired holds; finish or undo payments that nobody finished."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    tickets = current_app.extensions["tickets"]
    try:
        tickets.check_at_start()
    except IndexMissing as error:
        raise click.ClickException(str(error)) from None
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    while True:
        reconcile(tickets.seats, tickets.checkout)
        if not forever or stop.wait(ROUND_S):
            return
