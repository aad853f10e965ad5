"""The worker: rounds of repairs, one after the other, until it is stopped."""

import signal
import time

from sidecar.settings import BadSettings
from web.adapters.event_files import EventFolder
from web.metrics import WorkerStats
from web.services import Services
from web.settings import Settings
from web.use_cases.reconciliation import Reconciler

ROUND_S = 1.0
"""From the beginning of a round to that of the next: an expired hold's seats show as free within a
second. A round that took longer is followed by the next at once."""

STOP_POLL_S = 0.05


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
    stats = WorkerStats(reconciler.repairs, lambda: reconciler.not_done)
    if forever:
        _serve(stats, services.settings)
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
    return reconciler


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
