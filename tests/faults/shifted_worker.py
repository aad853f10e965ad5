"""A worker that does a round, with a look at the gateway, for each line that it reads:

    faketime -f +1h python -m tests.faults.shifted_worker

runs it with a clock that differs from the servers'. After each round it prints the time by its
clock. Its settings come from the environment."""

import os
import sys
from datetime import UTC, datetime, timedelta

from tests.support.application import application_with
from web.use_cases import reconciliation


def main() -> None:
    services = application_with(**os.environ).extensions["services"]
    reconciliation.GATEWAY_EVERY = timedelta(0)
    worker = reconciliation.Reconciler(
        services.catalogue,
        services.seats,
        services.bookings,
        services.gateway,
        services.checkout,
        [],
        services.settings.payment_lease_s,
    )
    for _ in sys.stdin:
        worker.round()
        while worker.has_more:
            worker.round()
        print(datetime.now(UTC).isoformat(), flush=True)


if __name__ == "__main__":
    main()
