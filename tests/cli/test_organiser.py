"""The organiser's commands, beside a running system."""

from tests.support.commands import flask_in_new_process
from tests.support.http_client import Client
from web.domain.references import reference_of


def test_the_organiser_shows_lists_and_refunds(stack, event):
    def bookings(*arguments):
        return flask_in_new_process(stack.environment, "bookings", *arguments)

    buyer = Client(stack.url, event.id)
    hold = buyer.held("stalls-A-1", "stalls-A-2")
    receipt = buyer.pay(hold).json()
    booking_id = receipt["booking_id"]

    shown = bookings("show", booking_id).stdout
    assert '"email": "ada@example.org"' in shown
    listed = bookings("list", "--event", event.id).stdout
    reference = reference_of(event.id, booking_id)
    assert listed.split()[1:6] == [booking_id, reference, "booked", event.id, "£50.00"]

    for _ in range(2):
        assert bookings("refund", booking_id).stdout == f"refunded: {booking_id}, £50.00\n"
    assert buyer.booking(receipt, hold).json() == receipt | {"status": "refunded"}
    assert buyer.seat_map()[:2] == "00"
    absent = bookings("refund", "bkg_nobody")
    assert (absent.returncode, absent.stderr) == (
        1,
        "Error: there is no booking 'bkg_nobody'\n",
    )
