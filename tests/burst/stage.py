"""The TicketS that a burst runs on: a separate stack, with one event of ``events/`` that opens at a
chosen time."""

import re
import shutil
import time
from collections.abc import Container, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pymongo
import requests
from prometheus_client.parser import text_string_to_metric_families

from ops.processes import free_port
from ops.servers import REPOSITORY
from ops.stack import Stack
from tests.burst.doors import DOOR_TOKEN
from tests.burst.gateway_queue import GatewayQueue
from tests.burst.open_payments import open_payments
from tests.burst.plan import CONFIRMATION_S, Plan
from tests.support.booking_stores import bookings_at
from tests.support.commands import flask
from tests.support.environment import inherited
from tests.support.redis_stores import audited, seats_at
from web.adapters.event_files import read_event_file
from web.adapters.stripe.gateway import StripeGateway
from web.domain.events import Event, SeatState
from web.domain.refusals import Refusal
from web.domain.sales import Booking
from web.ports.payment_gateway import GatewayPayment
from web.signing.ticket_codes import TicketCodes
from web.use_cases.audit import Check, audit

EVENT_ID = "burst"

HOLD_S = 9
"""How long holds of the event last: abandoned seats become free again within the burst."""

LEASE_IN_CHAOS_S = 15
"""The lease after which the worker ends the payments of a killed process; by default a minute, too
long to wait for here. Far longer than a payment takes."""

QUIET_S = 20.0
"""How long until nothing is under way any more: more than a lease when parts were killed."""

LOOK_S = 0.5


class Stage:
    """``with Stage(folder, plan) as stage``: started at its beginning, stopped at its end."""

    def __init__(self, folder: Path, plan: Plan):
        self._folder = folder
        self.plan = plan
        self._events_dir = folder / "events"
        environ = inherited() | {
            "EVENTS_DIR": str(self._events_dir),
            "REDIS": plan.redis,
            "MONGODB": plan.mongodb,
            "PAYMENT_CONFIRMATION_S": str(CONFIRMATION_S),
            "DOOR_TOKEN": DOOR_TOKEN,
            # As a live account has it.
            "STRIPE_RATE": f"{plan.stripe_rate}/second" if plan.stripe_rate else "",
            # Named, so that the worker asks the limiter, too.
            "LIMITER_SOCKET": str(folder / "limiter"),
        }
        if plan.chaos:
            environ["PAYMENT_LEASE_S"] = str(LEASE_IN_CHAOS_S)
        self.state_dir = folder / "stack"
        self.stack = Stack(
            self.state_dir,
            environ,
            say=lambda line: print(line, flush=True),
            sandbox_rate_limit=plan.stripe_rate or None,
        )

    def __enter__(self) -> Self:
        self._events_dir.mkdir()
        try:
            self.stack.start(free_port())
        except BaseException:
            self.stack.kill()
            raise
        self.url = self.stack["nginx"].url
        environment = self.environment
        self._seats = seats_at(environment["REDIS_URL"])
        self._bookings = bookings_at(environment["MONGODB_URI"])
        self._gateway = StripeGateway(environment["STRIPE_API_KEY"], environment["STRIPE_API_BASE"])
        self._mongo = pymongo.MongoClient(environment["MONGODB_URI"])
        self.codes = TicketCodes(environment["SECRET_KEY"])
        return self

    def __exit__(self, *_: object) -> None:
        self._mongo.close()
        self.stack.stop()

    @property
    def environment(self) -> Mapping[str, str]:
        return self.stack.environment

    def open(self, opens_at_s: float) -> Event:
        """Put the event on sale, with a new id. Raises RuntimeError when it cannot be opened."""
        path = self._events_dir / "burst.toml"
        text = (REPOSITORY / "events" / f"{self.plan.event}.toml").read_text()
        path.write_text(played(text, datetime.fromtimestamp(opens_at_s, UTC)))
        opened = flask(self.environment, "events", "open", path)
        if opened.returncode:
            raise RuntimeError(f"the event cannot be opened:\n{opened.stdout}{opened.stderr}")
        return read_event_file(path)

    # ------------------------------------------------------------ what is there

    def seat_states(self, event_id: str) -> str | None:
        """The current seat states in Redis, a character a seat; None when Redis does not answer."""
        with suppress(Refusal):
            return self._seats.read_seats(event_id).seats
        return None

    def is_being_paid(self) -> bool:
        """Whether a payment is under way: perhaps at the bank, with nobody left to confirm it."""
        states = self.seat_states(EVENT_ID)
        return states is None or SeatState.PAYING in states

    def bookings(self, event_id: str) -> list[dict[str, Any]]:
        """MongoDB's documents, not read through the application."""
        return list(self._mongo.get_default_database().bookings.find({"event": event_id}))

    def booked(self, event_id: str) -> list[Booking]:
        """Those that are not refunded."""
        return [booking for booking in self._bookings.list(event_id) if not booking.refunded_at]

    def payments(self, event_id: str) -> list[GatewayPayment]:
        since = datetime.now(UTC) - timedelta(days=1)
        return [p for p in self._gateway.list(since) if p.metadata.get("event") == event_id]

    def inserts(self) -> int:
        """How many documents were inserted into MongoDB since it started."""
        return self._mongo.admin.command("serverStatus")["opcounters"]["insert"]

    def refused_by_limiter(self) -> int:
        """The requests that the application's exact limit refused, without nginx's coarse one."""
        return int(sum(n for _, n in self._metric("tickets_refusals_total", code="rate_limited")))

    def gateway_queue(self) -> GatewayQueue:
        waits = "tickets_gateway_wait_seconds"
        buckets = self._metric(f"{waits}_bucket", endpoint="create")
        return GatewayQueue(
            waited_up_to_s={float(labels["le"]): int(n) for labels, n in buckets},
            waited_s=sum(n for _, n in self._metric(f"{waits}_sum", endpoint="create")),
            sent_away=int(
                sum(
                    n for _, n in self._metric("tickets_gateway_failures_total", cause="queue_full")
                )
            ),
        )

    def _metric(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """The samples of the web processes with these labels."""
        text = requests.get(f"{self.stack['web'].url}/metrics", timeout=10).text
        return [
            (sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    # ------------------------------------------------------------ afterwards

    def refund(self, *arguments: str) -> None:
        """``bookings refund``. Raises RuntimeError."""
        refunded = flask(self.environment, "bookings", "refund", *arguments)
        if refunded.returncode:
            raise RuntimeError(f"no refund:\n{refunded.stdout}{refunded.stderr}")

    def quiet_audit(self, asked: Container[str]) -> list[Check]:
        """The audit when nothing is under way any more, or after a time within which that must be.
        ``asked`` as for ``open_payments``: when Redis is lost, the worker cancels them late."""
        quiet_s, settled_s = QUIET_S, QUIET_S
        if self.plan.chaos:
            settled_s = 2 * LEASE_IN_CHAOS_S + 1.0
            quiet_s = settled_s + QUIET_S
        began_s = time.monotonic()
        while True:
            is_under_way = self.is_being_paid() or open_payments(self.payments(EVENT_ID), asked)
            checks = audit(
                self._seats._catalogue, audited(self._seats), self._bookings, self._gateway
            )
            late_s = time.monotonic() - began_s
            is_quiet = not is_under_way and not any(check.findings for check in checks)
            if late_s > quiet_s or is_quiet:
                return checks
            if late_s > settled_s:
                # The worker compares with the gateway only every 30 s.
                flask(self.environment, "reconcile")
            time.sleep(LOOK_S)

    def copy_logs(self, folder: Path) -> None:
        shutil.copytree(self.stack.log_dir, folder, dirs_exist_ok=True)


def played(text: str, opens_at: datetime) -> str:
    """The event file with another id, another opening time and short holds."""
    for pattern, line in (
        (r"^id = .*$", f'id = "{EVENT_ID}"'),
        (r"^sale_opens_at = .*$", f"sale_opens_at = {opens_at:%Y-%m-%dT%H:%M:%SZ}"),
        (r"^hold_seconds = .*$", f"hold_seconds = {HOLD_S}"),
    ):
        text, replaced = re.subn(pattern, line, text, count=1, flags=re.MULTILINE)
        if not replaced:
            raise ValueError(f"the event file has no line {pattern}")
    return text
