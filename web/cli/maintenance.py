"""``flask --app wsgi reconcile`` and ``audit``: the worker, and the check of everything."""

import logging
from datetime import timedelta

import click
from flask.cli import with_appcontext

from sidecar.settings import BadSettings
from web.cli.failures import PROBLEMS_SHOWN, plain_errors
from web.http.locales import count
from web.services import services
from web.use_cases.audit import audit
from web.worker import Stop, run_worker

MAX_HOURS = 10 * 365 * 24
"""Ten years, longer than gateways keep payments in their lists."""


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
    with plain_errors():
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
