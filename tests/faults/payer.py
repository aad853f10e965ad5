"""A process that works on a payment once, through the whole application, and is stopped on the
way."""

import logging
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.application import application_with
from web.domain.refusals import Unavailable
from web.ports.booking_store import InsertUnknown
from web.ports.payment_gateway import OutcomeUnknown
from web.signing.hold_tokens import HoldTokens
from web.use_cases.checkout import Checkout

STEPS = {
    "begun": ("seats", "begin_payment"),
    "authorized": ("gateway", "authorize"),
    "asked_by_bank": ("gateway", "authorize"),
    "at_bank": ("seats", "wait_for_bank"),
    "confirmed_by_bank": ("gateway", "retrieve"),
    "canceling": ("seats", "begin_cancel"),
    "canceled": ("gateway", "void"),
    "lease_renewed": ("seats", "renew_lease"),
    "booked": ("bookings", "insert"),
    "captured": ("gateway", "capture"),
    "confirmed": ("seats", "confirm_booking"),
}
"""The call that leads to each point: a part of the shop, and its method."""

LOST_ANSWERS = {
    "seats": Unavailable("seat store"),
    "bookings": InsertUnknown(),
    "gateway": OutcomeUnknown("the answer was lost"),
}
"""The exception of each part's adapter when a call had its effect but its answer was lost."""


@dataclass(frozen=True)
class Order:
    """A buyer's requests about the payment for a hold: to pay, which may be repeated, to come back
    from the bank, and to give the payment up at its ``location``."""

    path: str
    token: str
    key: str
    card: str
    location: str = ""

    def send(self, client: FlaskClient) -> TestResponse:
        buyer = {"payment_method": self.card, "email": "ada@example.org", "name": "Ada"}
        headers = self.bearer | {"Idempotency-Key": self.key}
        return client.post(f"{self.path}/pay", json=buyer, headers=headers)

    def come_back(self, client: FlaskClient) -> TestResponse:
        return client.get(f"{self.path.removeprefix('/api')}/return")

    def cancel(self, client: FlaskClient) -> TestResponse:
        return client.post(f"{self.location}/cancel", headers=self.bearer)

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


REQUESTS: dict[str, Callable[[Order, FlaskClient], TestResponse]] = {
    "pay": Order.send,
    "pay again": Order.send,
    "return": Order.come_back,
    "cancel": Order.cancel,
}


class AnswersLost:
    """``target``, except that calls of ``method`` take effect and their answers are lost."""

    def __init__(self, target: object, method: str, error: Exception):
        self._target, self._method, self._error = target, method, error

    def __getattr__(self, name: str) -> Any:
        answered = getattr(self._target, name)
        if name != self._method:
            return answered

        def unanswered(*arguments: Any) -> None:
            answered(*arguments)
            raise self._error

        return unanswered


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> None:
    raise RuntimeError("a bug that the test injected")


def hang() -> None:
    """Stop until SIGCONT, like a process on a machine that swaps or is migrated."""
    os.kill(os.getpid(), signal.SIGSTOP)


FAULTS: dict[str, Callable[[], None]] = {"kill -9": kill, "exception": crash, "hang": hang}

ANSWER_LOST = "answer lost"


def said(answer: TestResponse) -> str:
    """Status and code of an answer, and the reason of a declined payment: ``201 booked``,
    ``402 payment_declined: not_completed``. Pages, and answers without a body, have a status
    only."""
    body = answer.get_json(silent=True)
    if not body:
        return str(answer.status_code)
    reason = f": {body['reason']}" if "reason" in body else ""
    return f"{answer.status_code} {body.get('code') or body['status']}{reason}"


def request_once(
    environment: Mapping[str, str],
    order: Order,
    request: str,
    point: str,
    fault: str,
    report: Connection,
) -> None:
    """Make one of REQUESTS, and stop at the point. Calls ``report`` with "stopped" there, and in
    the end, if it gets that far, with the answer and its Location."""
    logging.disable()  # the report says it all
    app = application_with(**environment)
    services = app.extensions["services"]

    def on_checkpoint(reached: str) -> None:
        if reached == point and fault in FAULTS:
            report.send("stopped")
            FAULTS[fault]()

    parts = {part: getattr(services, part) for part in ("catalogue", *LOST_ANSWERS)}
    if fault == ANSWER_LOST:
        part, method = STEPS[point]
        parts[part] = AnswersLost(parts[part], method, LOST_ANSWERS[part])
    checkout = Checkout(
        **parts,
        tokens=HoldTokens(services.settings.secret_key),
        lease_s=services.settings.payment_lease_s,
        on_checkpoint=on_checkpoint,
    )
    app.extensions["services"] = replace(services, checkout=checkout)
    client = app.test_client()
    client.get("/readyz")  # connects, which is no part of the payment's time
    answer = REQUESTS[request](order, client)
    report.send((said(answer), answer.headers.get("Location")))
