"""A complete TicketS on real processes, whose parts can be broken one by one."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

import pymongo
import redis

from ops.mongodb_set import MongoReplicaSet
from ops.processes import free_port
from ops.servers import HOST, MongoDB, Redis, Sandbox
from ops.stack import SANDBOX_API_KEY, Stack
from tests.faults.crowd import PATIENCE_S, Crowd, Outcomes
from tests.faults.event_file import write_event_file
from tests.support.commands import flask
from tests.support.environment import inherited
from tests.support.http_client import Client
from tests.support.processes import children_of
from tests.support.redis_stores import client_of
from tests.support.site import WEBHOOK_SECRET
from tests.support.waiting import eventually
from web.adapters.stripe.gateway import StripeGateway
from web.ports.payment_gateway import GatewayPayment

EVENT = "faults"
CAPACITY = 5000
HOLD_S = 60

LOAD = 10
"""How many sales to wait for before a fault, and after it."""

QUIET_S = 45.0
"""Within this time everything must be repaired. The money of a payment that Redis has lost is
released after 30 s."""

WAITS_S = 20.0
"""How long to wait for events that a buying crowd causes."""


class Store(Protocol):
    """A server, or a group of them."""

    url: str

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True)
class BreakableSite:
    """``lease_s`` is its PAYMENT_LEASE_S."""

    redis: Any
    mongo: MongoDB | MongoReplicaSet
    sandbox: Sandbox
    stack: Stack
    collection: pymongo.collection.Collection
    lease_s: float

    @cached_property
    def redis_client(self) -> redis.Redis:
        return client_of(self.redis)

    @contextmanager
    def crowd(
        self, *sections: str, patience_s: float = PATIENCE_S, asked: float = 0.0
    ) -> Iterator[Crowd]:
        """``crowds`` of one event."""
        with self.crowds([EVENT], *sections, patience_s=patience_s, asked=asked) as crowds:
            yield crowds[EVENT]

    @contextmanager
    def crowds(
        self,
        event_ids: Sequence[str],
        *sections: str,
        patience_s: float = PATIENCE_S,
        load: int = LOAD,
        asked: float = 0.0,
    ) -> Iterator[dict[str, Crowd]]:
        """Buyers of each event buy while the block runs. At its end each has a final answer, unless
        they have less patience than that takes, and the answers are compared with the bookings, the
        payments and the audit."""
        url = self.stack["nginx"].url
        sections = sections or ("stalls", "free")
        crowds = {each: Crowd(url, each, sections, patience_s, asked) for each in event_ids}
        with ExitStack() as buying:
            for crowd in crowds.values():
                buying.enter_context(crowd.buying())
            for crowd in crowds.values():
                crowd.await_bookings(load)
            yield crowds
            for crowd in crowds.values():
                crowd.await_bookings(load)
        self.await_clean_audit()
        for crowd in crowds.values():
            assert patience_s < PATIENCE_S or not crowd.outcomes.unanswered, crowd.outcomes.answers
            self.assert_nothing_is_lost(crowd.outcomes)

    def assert_nothing_is_lost(self, outcomes: Outcomes) -> None:
        print(
            os.environ.get("PYTEST_CURRENT_TEST"),
            dict(outcomes.answers),
            dict(outcomes.refused_holds),
            len(outcomes.receipts),
            len(outcomes.not_charged),
        )
        booked = {document["hold_id"]: document for document in self.collection.find()}
        assert outcomes.receipts.keys() <= booked.keys(), "a buyer has a receipt for nothing"
        for hold_id, receipt in outcomes.receipts.items():
            stored = booked[hold_id]
            for field in ("event", "seats", "amount", "currency", "payment_id"):
                assert receipt[field] == stored.get(field)
        assert not outcomes.not_charged & booked.keys(), "a buyer was told that nothing was charged"
        self.assert_paid_once()

    def assert_paid_once(self) -> None:
        """For each booking that is not refunded its amount was captured, and nothing else."""
        booked = {
            document["hold_id"]: document
            for document in self.collection.find()
            if not document.get("refunded_at")
        }
        seats = Counter(
            (booking["event"], seat) for booking in booked.values() for seat in booking["seats"]
        )
        assert set(seats.values()) <= {1}, "a seat was sold twice"
        assert self.captured() == {
            hold_id: booking["amount"] for hold_id, booking in booked.items() if booking["amount"]
        }

    def captured(self) -> dict[str, int]:
        """The amount captured for each hold. No key may have been authorised twice."""
        payments = self.payments()
        assert set(Counter(payment.key for payment in payments).values()) <= {1}
        captured: Counter[str] = Counter()
        for payment in payments:
            if payment.status == "captured":
                captured[payment.metadata["hold_id"]] += payment.amount_minor
        return captured

    def payments(self) -> list[GatewayPayment]:
        """All payments at the gateway, newest first."""
        gateway = StripeGateway(SANDBOX_API_KEY, self.sandbox.url)
        return list(gateway.list(datetime.now(UTC) - timedelta(hours=1)))

    def await_clean_audit(self) -> None:
        began_s = time.monotonic()
        while (audited := self.flask("audit")).returncode:
            late_s = time.monotonic() - began_s
            assert late_s < QUIET_S, audited.stdout + audited.stderr
            if late_s > 2 * self.lease_s + 1:
                # Now the worker compares the gateway's payments with the bookings: at its start,
                # and then every 30 s.
                self.flask("reconcile")
            time.sleep(0.5)

    def flask(self, *arguments: str | Path):
        return flask(self.stack.environment, *arguments)

    def web_workers(self) -> list[int]:
        """The process ids of gunicorn's workers."""
        sidecar = self.stack["web"].pid
        (master,) = (pid for pid in children_of(sidecar) if "gunicorn" in command_of(pid))
        return children_of(master)

    def await_payment_under_way(self) -> None:
        eventually(
            lambda: self.redis_client.zcard(f"payments:{{{EVENT}}}"),
            "a payment under way",
            WAITS_S,
        )

    def await_charge_under_way(self) -> None:
        """Wait for a payment that the slow gateway is charging, not one for free seats."""
        eventually(lambda: self.sandbox.faults()[0]["happened"], "a charge under way", WAITS_S)

    def client(self, event_id: str = EVENT) -> Client:
        return Client(self.stack["nginx"].url, event_id)


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@contextmanager
def breakable_site(
    folder: Path,
    mongo: MongoDB | MongoReplicaSet,
    lease_s: float,
    redis_store: Store | None = None,
    event_ids: Sequence[str] = (EVENT,),
    webhooks: bool = False,
    **settings: str,
) -> Iterator[BreakableSite]:
    """A site with ``mongo`` and ``redis_store``, which are started and stopped here. Without the
    latter it has one Redis. ``webhooks`` says whether its sandbox sends any; ``settings`` are
    further ones, as the environment has them."""
    port = free_port()
    sandbox = Sandbox(
        folder / "ledger.db",
        folder / "sandbox.log",
        webhook_url=f"http://{HOST}:{port}/webhooks/stripe" if webhooks else None,
        webhook_secret=WEBHOOK_SECRET,
    )
    redis_store = redis_store or Redis(folder / "redis", folder / "redis.log")
    event_files = [
        write_event_file(folder / "events", event_id, CAPACITY, HOLD_S) for event_id in event_ids
    ]
    with redis_store, mongo, sandbox:
        environ = inherited() | {
            "REDIS_URL": redis_store.url,
            "MONGODB_URI": mongo.url,
            "STRIPE_API_KEY": SANDBOX_API_KEY,
            "STRIPE_API_BASE": sandbox.url,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "PAYMENT_LEASE_S": str(lease_s),
            "EVENTS_DIR": str(folder / "events"),
            **settings,
        }
        stack = Stack(folder / "stack", environ)
        try:
            stack.start(port)
            opened = flask(stack.environment, "events", "open", *event_files)
            assert opened.returncode == 0, opened.stderr
            yield BreakableSite(
                redis_store,
                mongo,
                sandbox,
                stack,
                pymongo.MongoClient(mongo.url).tickets.bookings,
                lease_s,
            )
        finally:
            stack.stop()
