"""The organiser's commands, beside a running system."""

import subprocess

from ops.servers import REPOSITORY
from tests.http_client import Client


def test_the_organiser_shows_lists_and_refunds(stack, event):
    def flask(*arguments):
        return subprocess.run(
            ["flask", "--app", "wsgi", "bookings", *arguments],
            env=stack.environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
        )

    buyer = Client(stack.url, event.id)
    hold = buyer.held("stalls-A-1", "stalls-A-2")
    receipt = buyer.pay(hold).json()
    booking_id = receipt["booking_id"]

    shown = flask("show", booking_id).stdout
    assert '"email": "ada@example.org"' in shown
    listed = flask("list", "--event", event.id).stdout
    assert listed.split()[1:6] == [booking_id, "booked", event.id, "5000", "GBP"]
    assert flask("list", "--event", "nowhere").stdout == ""

    for _ in range(2):
        assert flask("refund", booking_id).stdout == f"refunded: {booking_id}, 5000 GBP\n"
    assert buyer.booking(receipt, hold).json() == receipt | {"status": "refunded"}
    assert buyer.seat_map()[:2] == "00"
    absent = flask("refund", "bkg_nobody")
    assert (absent.returncode, absent.stderr) == (1, "Error: there is no such booking\n")
