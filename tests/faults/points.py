"""Stop a payment at every point of its life, in every way, and show what becomes of it.

    python -m tests.faults.points

prints the table of ``docs/failures.md``. Each row is a process that answers one request about a
payment, with real Redis, MongoDB and payment sandbox. When all of them are stopped, the worker
repairs in one round; processes that hang resume; the worker runs again; the audit must find
nothing; then the buyers retry their payments with the same key, and read their holds. Payments that
are at the bank by then are confirmed there, and have to end in a booking.
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
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count, product
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ops.servers import MongoDB, Sandbox
from ops.stack import SANDBOX_API_KEY
from ops.stores import REDIS
from tests.faults.event_file import write_event_file
from tests.faults.payer import ANSWER_LOST, FAULTS, STEPS, Order, request_once, said
from tests.support.application import application_with
from tests.support.commands import flask
from tests.support.environment import inherited
from tests.support.processes import state_of
from tests.support.waiting import eventually
from web.domain.sales import booking_id_of
from web.ports.payment_gateway import GatewayPayment
from web.services import Services
from web.use_cases.bank_confirmation import BANK_CHECKPOINTS
from web.use_cases.payment_steps import CHECKPOINTS

LEASE_S = 3.0
"""Far more than a payment takes here, so that no lease ends too early."""

ANSWER_TIMEOUT_S = 20.0

EVENT = "points"

PAID, FREE, ASKED = "paid", "free", "bank asks"
"""Kinds of holds: with a card that is charged at once, with nothing to pay, and with a card whose
bank asks."""

SECTIONS = {PAID: "stalls", FREE: "free", ASKED: "stalls"}

CARDS = {
    PAID: "pm_card_visa",
    FREE: "pm_card_visa",
    ASKED: "pm_card_authenticationRequired",
}

BANK_STEPS = {
    "asked_by_bank": {"pay": None},
    "at_bank": {"pay": None},
    "confirmed_by_bank": {"pay again": "accept", "return": "accept"},
    "canceling": {"cancel": None, "return": "refuse"},
    "canceled": {"cancel": None, "return": "refuse"},
}
"""By checkpoint: the requests that lead to it, and what the bank's page was answered before."""

AFTER_THE_YES = CHECKPOINTS[CHECKPOINTS.index("lease_renewed") :]
"""Where a payment goes on that its bank has confirmed."""

NOT_OF_FREE = {call for call in STEPS.values() if call[0] == "gateway"} | {STEPS["lease_renewed"]}
"""Calls that the payment for a free hold does not make."""

NO_ANSWER = "nothing"
AT_BANK = "202 action_required"

HEADER = (
    "hold",
    "request",
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
    """``request`` is the one whose process is stopped; before it, ``decision`` was the answer at
    the bank's page."""

    kind: str
    request: str
    point: str
    fault: str
    decision: str | None = None


def all_cases() -> list[Case]:
    paths = [
        *((kind, "pay", point, None) for kind, point in product((PAID, FREE), CHECKPOINTS)),
        *(
            (ASKED, request, point, decision)
            for point in BANK_CHECKPOINTS
            for request, decision in BANK_STEPS[point].items()
        ),
        *((ASKED, "pay again", point, "accept") for point in AFTER_THE_YES),
    ]
    return [
        Case(kind, request, point, fault, decision)
        for (kind, request, point, decision), fault in product(paths, (*FAULTS, ANSWER_LOST))
        if fault != ANSWER_LOST or kind != FREE or STEPS[point] not in NOT_OF_FREE
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
            self.case.kind,
            self.case.request,
            self.case.point,
            self.case.fault,
            self.heard,
            self.repeated,
            self.looked,
            ", ".join(self.charges) or "none",
            "yes" if self.booked else "no",
        )


class StoppedPayment:
    """One case: a hold, and the process that works on its payment."""

    def __init__(self, case: Case, shop: "RealShop"):
        self._shop, self._buyer = shop, shop.new_buyer()
        path = f"/api/events/{EVENT}/sections/{SECTIONS[case.kind]}/best/1/hold"
        hold = self._buyer.post(path).get_json()
        self.case = case
        self.hold_id = hold["hold_id"]
        self.order = Order(
            f"/api/events/{EVENT}/holds/{self.hold_id}",
            hold["hold_token"],
            f"key of {case}",
            CARDS[case.kind],
        )
        self._heard, self._location = NO_ANSWER, None
        self._process: BaseProcess | None = None

    def go_to_the_bank(self) -> None:
        """Before the request that is stopped, unless that is the one to pay."""
        if self.case.request == "pay":
            return
        asked = self.order.send(self._buyer)
        assert said(asked) == "202 action_required", asked.text
        self.order = replace(self.order, location=asked.headers["Location"])
        if self.case.decision:
            self.decide(self.case.decision)

    def decide(self, decision: str) -> None:
        """At the bank's page."""
        (payment,) = self._charges()
        self._shop.sandbox.decide(payment.payment_id, decision)

    def start(self, environment: Mapping[str, str]) -> None:
        """Start the process; returns when it has stopped or has answered."""
        context = multiprocessing.get_context("forkserver")
        self._report, child_end = context.Pipe(duplex=False)
        case = self.case
        self._process = context.Process(
            target=request_once,
            args=(environment, self.order, case.request, case.point, case.fault, child_end),
            daemon=True,
        )
        self._process.start()
        child_end.close()
        if case.fault in FAULTS and _received(self._report) != "stopped":
            raise RuntimeError(f"{case} was never reached")
        match case.fault:
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

    def row(self) -> Row:
        repeated, again = (said(self.order.send(self._buyer)) for _ in range(2))
        if repeated != again:
            raise RuntimeError(f"{self.case}: {repeated}, and then {again}")
        looked = said(self._look(self.order.path))
        booked = self._shop.services.bookings.find(booking_id_of(self.hold_id)) is not None
        charges = tuple(payment.status for payment in self._charges())
        return Row(self.case, self._heard, repeated, looked, charges, booked)

    def learnt(self) -> str | None:
        """The answer at the Location of a 202; None when there was none."""
        return said(self._look(self._location)) if self._location else None

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.join()

    def _look(self, path: str) -> TestResponse:
        return self._buyer.get(path, headers=self.order.bearer)

    def _charges(self) -> list[GatewayPayment]:
        listed = self._shop.services.gateway.list(datetime.now(UTC) - timedelta(hours=1))
        return [payment for payment in listed if payment.metadata["hold_id"] == self.hold_id]

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


@dataclass(frozen=True)
class RealShop:
    """The application in this process, and its payment sandbox."""

    app: Flask
    sandbox: Sandbox
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def services(self) -> Services:
        services: Services = self.app.extensions["services"]
        return services

    def new_buyer(self) -> FlaskClient:
        """With an address of its own."""
        buyer = self.app.test_client()
        number = next(self._numbers)
        buyer.environ_base["REMOTE_ADDR"] = f"198.18.{number // 250}.{number % 250 + 1}"
        return buyer


@contextmanager
def servers(state_dir: Path, redis_kind: str) -> Iterator[tuple[dict[str, str], Sandbox]]:
    """Empty servers; yields the environment of processes that use them, and the sandbox."""
    with ExitStack() as started:
        redis = REDIS[redis_kind].make(state_dir / "redis", state_dir, ())
        started.enter_context(redis)
        mongo = started.enter_context(MongoDB(state_dir / "mongo", state_dir / "mongod.log"))
        sandbox = started.enter_context(Sandbox(state_dir / "ledger.db", state_dir / "sandbox.log"))
        environment = inherited() | {
            "REDIS_URL": redis.url,
            "MONGODB_URI": mongo.url,
            "STRIPE_API_KEY": SANDBOX_API_KEY,
            "STRIPE_API_BASE": sandbox.url,
            "SECRET_KEY": "a secret key of tests",
            "PAYMENT_LEASE_S": str(LEASE_S),
            "EVENTS_DIR": str(state_dir / "events"),
            "LIMITER_SOCKET": str(state_dir / "nobody"),
        }
        yield environment, sandbox


def stop_everywhere(state_dir: Path, redis_kind: str = "server") -> list[Row]:
    """Stop all cases, repair and audit them, and retry; the rows of the table."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([request_once.__module__])
    with servers(state_dir, redis_kind) as (environment, sandbox):
        cases = all_cases()
        path = write_event_file(state_dir / "events", EVENT, len(cases), hold_seconds=300)
        run(environment, "events", "open", path)
        shop = RealShop(application_with(**environment), sandbox)
        payments = [StoppedPayment(case, shop) for case in cases]
        for payment in payments:
            payment.go_to_the_bank()
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
        rows = [payment.row() for payment in payments]
        for payment, row in zip(payments, rows, strict=True):
            learnt = payment.learnt()
            if learnt and learnt.split()[1] != row.repeated.split()[1]:
                raise RuntimeError(f"{row}, but the payment's address says {learnt}")
            if row.repeated == AT_BANK:
                payment.decide("accept")
                confirmed = payment.row()
                if (confirmed.repeated, confirmed.charges) != ("201 booked", ("captured",)):
                    raise RuntimeError(f"{confirmed}, and its bank has confirmed it")
        run(environment, "audit")
        return rows


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
