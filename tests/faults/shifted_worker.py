"""A worker that makes a round for each line that it reads, and looks at the gateway in each:

    faketime -f +1h python -m tests.faults.shifted_worker

has a clock that is not that of the servers. After each round it prints the time of day that it
believes in. Its settings are those of the environment."""

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
