"""The worker sends mails beside its rounds, and not in them."""

import threading
from contextlib import contextmanager

import pytest

from tests.support.application import application_with
from tests.support.factories import a_booking
from tests.support.mailbox import Hanging, Mailbox
from tests.support.waiting import eventually
from web.use_cases.reconciliation import Reconciler
from web.worker import Stop, run_worker

DATABASE = "worker_mails"


@pytest.fixture
def services_with(any_redis, mongo_server, mongo_client, sandbox):
    mongo_client.drop_database(DATABASE)

    def made(smtp_url: str):
        app = application_with(
            REDIS_URL=any_redis.url,
            MONGODB_URI=mongo_server.url.replace("/tickets", f"/{DATABASE}"),
            STRIPE_API_BASE=sandbox.url,
            SMTP_URL=smtp_url,
            MAIL_FROM="tickets@example.org",
            PUBLIC_URL="https://tickets.example.org",
        )
        services = app.extensions["services"]
        services.bookings.create_indexes()
        return app, services

    return made


@contextmanager
def working(app, services, **how):
    stop = Stop()

    def work():
        with app.app_context():
            run_worker(services, stop, **{"forever": True, "dry_run": False, **how})

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        stop.request()
        thread.join(20)


def test_a_mail_server_that_hangs_delays_no_round(services_with, event, monkeypatch):
    rounds = []

    def count_round(reconciler):
        rounds.append(reconciler)

    monkeypatch.setattr(Reconciler, "round", count_round)
    with Hanging() as server:
        app, services = services_with(server.url.replace("timeout=1", "timeout=30"))
        services.bookings.insert(a_booking(event.id, "stalls-A-1"))
        with working(app, services) as thread:
            eventually(lambda: server.connections, "the mail server is asked")
            before = len(rounds)
            eventually(lambda: len(rounds) > before + 2, "rounds go on")
        assert not thread.is_alive(), "and it stops when it is asked to"


def test_a_worker_that_runs_once_sends_what_is_due_and_one_that_rehearses_does_not(
    services_with, event, monkeypatch
):
    monkeypatch.setattr(Reconciler, "round", lambda self: None)
    with Mailbox() as mailbox:
        app, services = services_with(mailbox.url)
        booking = services.bookings.insert(a_booking(event.id, "stalls-A-1"))
        with working(app, services, forever=False, dry_run=True) as thread:
            thread.join(20)
        assert mailbox.recipients == []
        with working(app, services, forever=False) as thread:
            thread.join(20)
        assert mailbox.recipients == [booking.email]
