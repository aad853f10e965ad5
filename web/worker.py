"""The worker: rounds of repairs, one after the other, until it is stopped."""

import logging
import signal
import threading
import time

from sidecar.settings import BadSettings
from web.adapters.event_files import EventFolder
from web.metrics import WorkerStats
from web.services import Services
from web.settings import Settings
from web.use_cases.reconciliation import Reconciler
from web.use_cases.ticket_mail import MAX_PAUSE_S, TicketMail

ROUND_S = 1.0
"""From the beginning of a round to that of the next: an expired hold's seats show as free within a
second. A round that took longer is followed by the next at once."""

STOP_POLL_S = 0.05

MAIL_STOP_S = 5.0
"""How long a worker that is asked to stop waits for the mail that it is sending. One that was taken
and not marked is sent again."""

log = logging.getLogger(__name__)


class Stop:
    """Whether the worker was asked to end; a signal handler may set it at any moment.

    A threading.Event may not be set there: Python runs a signal handler between two steps of the
    main thread, also while that is inside of Event.wait() and holds the event's lock, and then
    Event.set() waits for that lock forever.
    """

    def __init__(self) -> None:
        self._requested = False

    def listen(self) -> None:
        """Set it on SIGTERM and SIGINT. Call it in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.request)

    def request(self, *_: object) -> None:
        self._requested = True

    def is_requested(self) -> bool:
        return self._requested

    def wait(self, seconds: float) -> None:
        """Returns after ``seconds``, or soon after a request."""
        deadline_s = time.monotonic() + seconds
        while not self._requested and (left_s := deadline_s - time.monotonic()) > 0:
            time.sleep(min(left_s, STOP_POLL_S))


def run_worker(services: Services, stop: Stop, *, forever: bool, dry_run: bool) -> Reconciler:
    """Runs until ``stop`` is requested; without ``forever`` only until nothing is left to do.
    Returns the Reconciler, which has recorded what was done and what could not be done. Raises
    BadSettings."""
    folder = EventFolder(services.settings.events_path)
    reconciler = Reconciler(
        services.catalogue,
        services.seats,
        services.bookings,
        services.gateway,
        services.checkout,
        [],
        services.settings.payment_lease_s,
        dry_run,
        stop.is_requested,
        goes_on=forever,
    )
    mail = services.ticket_mail
    stats = WorkerStats(
        reconciler.repairs, lambda: reconciler.not_done, lambda: mail.waiting if mail else None
    )
    sending = None
    if forever:
        _serve(stats, services.settings)
        sending = _send_mails(mail, stop) if mail and not dry_run else None
    while not stop.is_requested():
        began_s = time.monotonic()
        with reconciler.isolate_failure("event files"):
            reconciler.declare(folder.events())
        reconciler.round()
        stats.count_round()
        if forever:
            stop.wait(began_s + ROUND_S - time.monotonic())
        elif not reconciler.has_more:
            break
    reconciler.give_back()
    if sending:
        sending.join(MAIL_STOP_S)
    elif mail and not dry_run:
        mail.send_due(stop.is_requested)
    return reconciler


def _send_mails(mail: TicketMail, stop: Stop) -> threading.Thread:
    """In a thread of its own: a mail server that is slow, or does not answer, delays no repair."""

    def send() -> None:
        while not stop.is_requested():
            try:
                pause_s = mail.send_due(stop.is_requested)
            except Exception:
                log.exception("sending mails: unexpected")
                pause_s = MAX_PAUSE_S
            stop.wait(pause_s)

    thread = threading.Thread(target=send, name="mails", daemon=True)
    thread.start()
    return thread


def _serve(stats: WorkerStats, settings: Settings) -> None:
    host, port = settings.worker_metrics_host, settings.worker_metrics_port
    if port is None:
        return
    try:
        stats.serve(host, port)
    except OSError as error:
        raise BadSettings(
            f"WORKER_METRICS_PORT: cannot listen on {host}:{port}: {error.strerror}"
        ) from None
