"""Calling an event off at a terminal, and taking it off the list: what is asked, what is refused,
and what becomes of the money when the command is killed."""

import os
import pty
import subprocess
import sys
from dataclasses import replace

import pytest

from ops.servers import REPOSITORY
from tests.support.commands import flask
from tests.support.factories import a_booking
from tests.support.sandbox import client_of
from tests.support.waiting import eventually

PRICE = 3800


@pytest.fixture
def on_sale(environment, write):
    """An event's file, opened."""
    path = write(opens="2026-01-10T10:00:00Z")
    assert flask(environment, "events", "open", path).returncode == 0
    return path


@pytest.fixture
def sell(bookings, sandbox, environment, on_sale):
    """Stores bookings with captured payments, one seat each, in MongoDB and Redis."""

    def sell(number: int) -> list[str]:
        intents = client_of(sandbox, environment["STRIPE_API_KEY"]).payment_intents
        sold = []
        for seat in range(1, number + 1):
            paid = intents.create(
                {
                    "amount": PRICE,
                    "currency": "gbp",
                    "confirm": True,
                    "payment_method": "pm_card_visa",
                    "allowed_payment_method_types": ["card"],
                    "return_url": "https://example.org",
                }
            )
            booking = a_booking(on_sale.stem, f"stalls-A-{seat}", payment_id=paid.id)
            bookings.insert(replace(booking, amount_minor=PRICE))
            sold.append(paid.id)
        assert flask(environment, "events", "open", on_sale).returncode == 0
        return sold

    return sell


def cancelled(path):
    path.write_text(path.read_text().replace("currency", 'status = "cancelled"\ncurrency', 1))
    return path


def refunds_of(sandbox, environment, payments) -> list[list[int]]:
    """The amounts of the refunds of each payment."""
    stripe = client_of(sandbox, environment["STRIPE_API_KEY"])
    found = [stripe.refunds.list({"payment_intent": payment}).data for payment in payments]
    return [[refund.amount for refund in refunds] for refunds in found]


def test_without_a_terminal_nothing_is_cancelled_unless_yes_is_given(
    environment,
    on_sale,
    sell,
    sandbox,
):
    payments = sell(2)
    path = cancelled(on_sale)
    refused = flask(environment, "events", "open", path)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line == (
        f"Error: cancelling {path.stem} ends its sale and refunds 2 bookings, £76.00; there is no "
        "terminal to ask, so give --yes"
    )
    done = flask(environment, "events", "open", path, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "status cancelled, was scheduled" in done.stdout
    assert f"refunded: 2 bookings of {path.stem}, £76.00" in done.stdout
    assert refunds_of(sandbox, environment, payments) == [[PRICE]] * 2
    again = flask(environment, "events", "open", path)
    assert (again.returncode, again.stderr) == (0, "")
    assert f"refunded: 0 bookings of {path.stem}" in again.stdout
    assert "could not" not in flask(environment, "audit").stdout


def test_a_release_cancels_nothing_that_was_not_cancelled_before(
    environment,
    on_sale,
    sell,
    bookings,
):
    sell(1)
    path = cancelled(on_sale)
    released = environment | {"EVENTS_DIR": str(path.parent)}
    done = flask(released, "events", "open", "--all")
    assert done.returncode == 0
    assert f"Left out: cancelling {path.stem} ends its sale and refunds 1 booking" in done.stderr
    assert "on sale" in flask(environment, "events", "show", path.stem).stdout
    done = flask(released, "events", "open", "--all", "--yes")
    assert done.returncode == 0
    assert f"cancelled: {path.stem}; the worker refunds 1 booking" in done.stdout
    assert bookings.booked_ids(path.stem)
    assert (
        "it was cancelled, and 1 booking is not refunded yet" in flask(environment, "audit").stdout
    )
    assert flask(environment, "reconcile").returncode == 0
    assert not bookings.booked_ids(path.stem)
    assert flask(released, "events", "open", "--all").stderr == ""


@pytest.mark.parametrize(("answer", "left"), [("n", 1), ("y", 0)])
def test_at_a_terminal_it_asks_first(environment, on_sale, sell, bookings, answer, left):
    sell(1)
    path = cancelled(on_sale)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "events", "open", str(path)]
    with subprocess.Popen(
        command,
        env=environment,
        cwd=REPOSITORY,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as asking:
        os.write(ours, f"{answer}\n".encode())
        said, _ = asking.communicate(timeout=60)
    assert "That cannot be undone. Cancel the event? [y/N]" in said
    assert len(bookings.booked_ids(path.stem)) == left
    assert asking.returncode == (1 if left else 0), said


@pytest.mark.parametrize("killed", ["command", "worker"])
def test_whoever_refunds_a_cancelled_event_is_killed_and_the_next_worker_finishes(
    environment, on_sale, sell, bookings, sandbox, killed
):
    payments = sell(30)
    path = cancelled(on_sale)
    arguments = ["events", "open", str(path), "--yes"]
    if killed == "worker":
        released = environment | {"EVENTS_DIR": str(path.parent)}
        assert flask(released, "events", "open", "--all", "--yes").returncode == 0
        arguments = ["reconcile", "--forever"]
    sandbox.set_faults({"operation": "refund", "kind": "slow_after", "seconds": 0.3})
    with subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "wsgi", *arguments],
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        eventually(lambda: len(bookings.booked_ids(path.stem)) < 30, "the first refund")
        process.kill()
    assert bookings.booked_ids(path.stem), "it was killed in the middle"
    sandbox.set_faults()
    assert flask(environment, "reconcile").returncode == 0
    assert not bookings.booked_ids(path.stem)
    assert refunds_of(sandbox, environment, payments) == [[PRICE]] * 30
    assert flask(environment, "events", "show", path.stem).stdout.count("cancelled") == 1


def test_an_event_is_not_withdrawn_while_its_file_is_there(environment, on_sale, sell):
    sell(1)
    where = environment | {"EVENTS_DIR": str(on_sale.parent)}
    refused = flask(where, "events", "withdraw", on_sale.stem)
    assert refused.returncode == 1
    assert f"{on_sale.stem} has a file in {on_sale.parent}" in refused.stderr
    on_sale.unlink()
    done = flask(where, "events", "withdraw", on_sale.stem)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"withdrawn: {on_sale.stem}; kept: 1 booking, and the receipts\n"
    again = flask(where, "events", "withdraw", on_sale.stem)
    assert (again.returncode, again.stdout) == (
        0,
        f"unchanged: {on_sale.stem} was withdrawn before\n",
    )
    assert on_sale.stem not in flask(environment, "events", "list").stdout
    assert flask(where, "events", "withdraw", "nobody").returncode == 1


def test_single_seats_of_a_booking_are_refunded(environment, on_sale, bookings):
    booking = a_booking(on_sale.stem, "stalls-A-1", "stalls-A-2")
    bookings.insert(booking)
    flask(environment, "events", "open", on_sale)
    done = flask(environment, "bookings", "refund", booking.id, "--seat", "stalls-A-2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"refunded: stalls-A-2 of {booking.id}, £25.00",
        "still booked: stalls-A-1, £25.00",
    ]
    shown = flask(environment, "bookings", "show", booking.id).stdout
    assert '"refunded_seats": [\n    "stalls-A-2"\n  ]' in shown
    refused = flask(environment, "bookings", "refund", booking.id, "--seat", "stalls-A-9")
    assert refused.stderr == "Error: --seat: stalls-A-9 is not in this booking\n"
