"""The worker: rounds of repairs, one after the other, until it is stopped."""

import threading

from web.adapters.event_files import EventFolder
from web.services import Services
from web.use_cases.reconciliation import Reconciler

ROUND_S = 1.0
"""Time between rounds: an expired hold's seats show as free within a second."""


def run_worker(
    services: Services, stop: threading.Event, *, forever: bool, dry_run: bool
) -> Reconciler:
    """Runs until ``stop`` is set; without ``forever`` only until nothing is left to do. Returns the
    Reconciler, which has recorded what was done and what could not be done."""
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
        stop.is_set,
        goes_on=forever,
    )
    while not stop.is_set():
        with reconciler.isolate_failure("event files"):
            reconciler.declare(folder.events())
        reconciler.round()
        if forever:
            stop.wait(ROUND_S)
        elif not reconciler.has_more:
            break
    return reconciler
