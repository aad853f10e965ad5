"""`reconcile` and `audit`, and what they say when a server is away."""

import pytest

from tests.support.commands import IMPATIENT, flask, nobody
from tests.support.factories import a_booking, unique


# Without the unique index, which it creates, the audit has a problem to report.
@pytest.mark.usefixtures("bookings")
def test_an_audit_says_what_is_away_in_words(environment):
    away = {"REDIS_URL": nobody("redis"), "STRIPE_API_BASE": nobody("http")}
    audited = flask(environment | away, "audit")
    assert (audited.returncode, audited.stderr) == (2, "")
    assert "    not looked at: the seat store (Redis) cannot be reached" in audited.stdout
    assert "    not looked at: no connection to the payment gateway: " in audited.stdout
    assert "could not be checked" in audited.stdout
    assert "PROBLEM" not in audited.stdout
    assert "Unavailable(" not in audited.stdout


def test_an_audit_with_a_difference_exits_with_1_whatever_else_is_away(environment, bookings):
    event_id = unique("evening")
    bookings.insert(a_booking(event_id, "a-1", payment_id="pi_1"))
    audited = flask(environment | {"REDIS_URL": nobody("redis")}, "audit")
    assert audited.returncode == 1
    assert "    not looked at: the seat store (Redis) cannot be reached" in audited.stdout
    assert " PROBLEM" in audited.stdout


@pytest.mark.parametrize(
    ("away", "says"),
    [
        (
            {"REDIS_URL": "redis"},
            "not done: the list of events: the seat store (Redis) cannot be reached\n",
        ),
        ({"MONGODB_URI": "mongodb"}, ": the booking store (MongoDB) cannot be reached\n"),
        ({"STRIPE_API_BASE": "http"}, "not done: gateway: no connection to the payment gateway"),
    ],
    ids=["Redis", "MongoDB", "Stripe"],
)
def test_one_round_of_the_worker_that_cannot_do_all_fails_and_says_why(
    environment, bookings, redis_server, away, says
):
    # Without events of other tests: the worker has to open its own, and asks MongoDB for that.
    environment = environment | IMPATIENT | {"REDIS_URL": redis_server.url.replace("/0", "/8")}
    done = flask(environment | {name: nobody(scheme) for name, scheme in away.items()}, "reconcile")
    assert done.returncode == 1
    assert says in done.stderr
    assert "next round" not in done.stderr
    assert "Topology" not in done.stderr
    assert "Unavailable(" not in done.stderr


@pytest.mark.parametrize("hours", ["0", "-1", "many", "999999999999"])
def test_hours_that_cannot_be_are_refused(environment, hours):
    refused = flask(environment, "audit", "--hours", hours)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "--hours" in refused.stderr
