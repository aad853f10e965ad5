"""Stop a payment at every point of its life, in every way, and show what becomes of it.

    python -m tests.faults.points

prints the table of ``docs/failures.md``. Each row is a process that pays once, with real Redis,
MongoDB and payment sandbox. When all of them are stopped, the worker repairs in one round;
processes that hang resume; the worker runs again; the audit must find nothing; then the buyers
retry their payments with the same key, and read their holds.
"""

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from flask.testing import FlaskClient

from ops.servers import MongoDB, Sandbox
from ops.stack import SANDBOX_API_KEY
from ops.stores import REDIS
from tests.faults.event_file import write_event_file
from tests.faults.payer import ANSWER_LOST, FAULTS, STEPS, Order, pay, said
from tests.support.application import application_with
from tests.support.commands import flask
from tests.support.environment import inherited
from tests.support.processes import state_of
from tests.support.waiting import eventually
from web.domain.sales import booking_id_of
from web.services import Services
from web.use_cases.payment_steps import CHECKPOINTS

LEASE_S = 3.0
"""Far more than a payment takes here, so that no lease ends too early."""

ANSWER_TIMEOUT_S = 20.0

EVENT = "points"
PAID, FREE = "stalls", "free"

NO_ANSWER = "nothing"

HEADER = (
    "hold",
    "stopped at",
    "by",
    "buyer hears",
    "same key, after the repair",
    "hold, after the repair",
    "charge",
    "booked",
)


@dataclass(frozen=True)
class Case:
    """``section`` decides whether there is anything to charge."""

    section: str
    point: str
    fault: str


def all_cases() -> list[Case]:
    return [
        Case(section, point, fault)
        for section, point, fault in product((PAID, FREE), CHECKPOINTS, (*FAULTS, ANSWER_LOST))
        if fault != ANSWER_LOST or section == PAID or STEPS[point][0] != "gateway"
    ]


@dataclass(frozen=True)
class Row:
    """``heard`` is the first answer, ``repeated`` the one to a retry with the same key, ``looked``
    the one to reading the hold; ``charges`` has the status of each payment at the gateway."""

    case: Case
    heard: str
    repeated: str
    looked: str
    charges: tuple[str, ...]
    booked: bool

    def cells(self) -> tuple[str, ...]:
        return (
            "paid" if self.case.section == PAID else "free",
            self.case.point,
            self.case.fault,
            self.heard,
            self.repeated,
            self.looked,
            ", ".join(self.charges) or "none",
            "yes" if self.booked else "no",
        )


class StoppedPayment:
    """One case: a hold, and the process that pays for it."""

    def __init__(self, case: Case, buyer: FlaskClient):
        hold = buyer.post(f"/api/events/{EVENT}/sections/{case.section}/best/1/hold").get_json()
        self.case = case
        self.hold_id = hold["hold_id"]
        self.order = Order(
            f"/api/events/{EVENT}/holds/{self.hold_id}", hold["hold_token"], f"key of {case}"
        )
        self._heard, self._location = NO_ANSWER, None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start the payment; returns when it has stopped or was answered."""
        context = multiprocessing.get_context("forkserver")
        self._report, child_end = context.Pipe(duplex=False)
        self._process = context.Process(
            target=pay,
            args=(environment, self.order, self.case.point, self.case.fault, child_end),
            daemon=True,
        )
        self._process.start()
        child_end.close()
        if self.case.fault in FAULTS and _received(self._report) != "stopped":
            raise RuntimeError(f"{self.case} was never reached")
        match self.case.fault:
            case "kill -9":
                self._await_end(-signal.SIGKILL)
            case "hang":
                _await_stop(self._process)
            case _:
                self._hear()

    def resume(self) -> None:
        if self.case.fault == "hang":
            os.kill(self._process.pid, signal.SIGCONT)
            self._hear()
            self._heard = f"late: {self._heard}"

    def row(self, buyer: FlaskClient, services: Services, charges: tuple[str, ...]) -> Row:
        repeated, again = (said(self.order.send(buyer)) for _ in range(2))
        if repeated != again:
            raise RuntimeError(f"{self.case}: {repeated}, and then {again}")
        looked = said(self._look(buyer, self.order.path))
        booked = services.bookings.find(booking_id_of(self.hold_id)) is not None
        return Row(self.case, self._heard, repeated, looked, charges, booked)

    def learnt(self, buyer: FlaskClient) -> str | None:
        """The answer at the Location of a 202; None when there was none."""
        return said(self._look(buyer, self._location)) if self._location else None

    def stop(self) -> None:
        self._process.kill()
        self._process.join()

    def _look(self, buyer: FlaskClient, path: str):
        return buyer.get(path, headers={"Authorization": f"Bearer {self.order.token}"})

    def _hear(self) -> None:
        self._heard, location = _received(self._report)
        self._location = location if self._heard.startswith("202") else None
        self._await_end(0)

    def _await_end(self, exit_code: int) -> None:
        self._process.join(ANSWER_TIMEOUT_S)
        if self._process.exitcode != exit_code:
            raise RuntimeError(f"{self.case} ended with {self._process.exitcode}")


def _received(report: Connection):
    if not report.poll(ANSWER_TIMEOUT_S):
        raise RuntimeError("a payment was neither stopped nor answered")
    return report.recv()


def _await_stop(process: BaseProcess) -> None:
    eventually(
        lambda: state_of(process.pid) == "T", "a payment that hangs as told", ANSWER_TIMEOUT_S
    )


@contextmanager
def shop_environment(state_dir: Path, redis_kind: str) -> Iterator[dict[str, str]]:
    """Empty servers; yields the environment of processes that use them."""
    with ExitStack() as servers:
        redis = REDIS[redis_kind].make(state_dir / "redis", state_dir, ())
        servers.enter_context(redis)
        mongo = servers.enter_context(MongoDB(state_dir / "mongo", state_dir / "mongod.log"))
        sandbox = servers.enter_context(Sandbox(state_dir / "ledger.db", state_dir / "sandbox.log"))
        yield inherited() | {
            "REDIS_URL": redis.url,
            "MONGODB_URI": mongo.url,
            "STRIPE_API_KEY": SANDBOX_API_KEY,
            "STRIPE_API_BASE": sandbox.url,
            "SECRET_KEY": "a secret key of tests",
            "PAYMENT_LEASE_S": str(LEASE_S),
            "EVENTS_DIR": str(state_dir / "events"),
            "RATE_LIMIT": "1000/second",  # all buyers have one address here
            "LIMITER_SOCKET": str(state_dir / "nobody"),
        }


def stop_everywhere(state_dir: Path, redis_kind: str = "server") -> list[Row]:
    """Stop all cases, repair and audit them, and retry; the rows of the table."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([pay.__module__])
    with shop_environment(state_dir, redis_kind) as environment:
        cases = all_cases()
        path = write_event_file(state_dir / "events", EVENT, len(cases), hold_seconds=300)
        run(environment, "events", "open", path)
        app = application_with(**environment)
        services, buyer = app.extensions["services"], app.test_client()
        payments = [StoppedPayment(case, buyer) for case in cases]
        try:
            for payment in payments:
                payment.start(environment)
            time.sleep(LEASE_S)
            run(environment, "reconcile")
            for payment in payments:
                payment.resume()
        finally:
            for payment in payments:
                payment.stop()
        run(environment, "reconcile")
        run(environment, "audit")
        charges = charges_by_hold(services)
        rows = [
            payment.row(buyer, services, charges.get(payment.hold_id, ())) for payment in payments
        ]
        for payment, row in zip(payments, rows, strict=True):
            learnt = payment.learnt(buyer)
            if learnt and learnt.split()[1] != row.repeated.split()[1]:
                raise RuntimeError(f"{row}, but the payment's address says {learnt}")
        run(environment, "audit")
        return rows


def charges_by_hold(services: Services) -> dict[str, tuple[str, ...]]:
    charges: dict[str, tuple[str, ...]] = {}
    for payment in services.gateway.list(datetime.now(UTC) - timedelta(hours=1)):
        hold_id = payment.metadata["hold_id"]
        charges[hold_id] = (*charges.get(hold_id, ()), payment.status)
    return charges


def run(environment: Mapping[str, str], *arguments: str | Path) -> None:
    ended = flask(environment, *arguments)
    if ended.returncode:
        raise RuntimeError(f"{arguments} failed:\n{ended.stdout}{ended.stderr}")


def table_of(rows: list[Row]) -> str:
    """As Markdown."""
    lines = [HEADER, ("---",) * len(HEADER), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> int:
    logging.disable()  # only the table is asked for
    with tempfile.TemporaryDirectory(prefix="tickets-points-") as folder:
        print(table_of(stop_everywhere(Path(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
