"""What `bookings …` shows, finds and refunds."""

import json
import secrets
from dataclasses import replace

import pytest

from tests.support.application import REQUIRED
from tests.support.commands import flask, nobody, one_line
from tests.support.factories import a_booking, unique
from web.domain.references import reference_of
from web.domain.sales import booking_id_of
from web.signing.ticket_codes import TicketCodes


def test_an_event_without_bookings_has_an_empty_list(environment, write):
    path = write()
    flask(environment, "events", "open", path)
    empty = flask(environment, "bookings", "list", "--event", path.stem)
    assert (empty.returncode, empty.stdout, empty.stderr) == (0, "", "no bookings yet\n")


def test_bookings_are_searched_and_listed_for_a_spreadsheet(environment, bookings):
    booking = replace(a_booking(unique("gone"), "stalls-A-1"), name="Zoë Müller")
    bookings.insert(booking)
    for text in ("zoe mueller", booking.id, "stalls-A-1"):
        found = flask(environment, "bookings", "search", text, "--event", booking.event_id)
        assert booking.id in found.stdout and "Zoë Müller <eve@example.org>" in found.stdout
    assert one_line(flask(environment, "bookings", "search", "nobody")) == (
        "Error: no booking matches 'nobody'"
    )
    listed = flask(environment, "bookings", "list", "--csv", "--event", booking.event_id)
    assert (listed.returncode, listed.stderr) == (0, "")
    titles, line = listed.stdout.splitlines()
    assert titles.startswith("\ufeffBooking,Reference,Booked at (UTC),")
    assert line.startswith(f"{booking.id},") and "Zoë Müller" in line


@pytest.mark.parametrize("command", ["show", "refund"])
def test_a_booking_that_does_not_exist_is_named_with_one_like_it(environment, bookings, command):
    booking = a_booking(unique("evening"), "a-1")
    bookings.insert(booking)
    cut = booking.id[:-1]
    assert one_line(flask(environment, "bookings", command, cut)).startswith(
        f"Error: there is no booking '{cut}'; did you mean "
    )
    assert booking.id == booking_id_of(booking.hold_id)
    assert one_line(flask(environment, "bookings", command, booking.hold_id)) == (
        f"Error: there is no booking '{booking.hold_id}'; did you mean {booking.id}?"
    )
    assert one_line(flask(environment, "bookings", command, "nonsense")) == (
        "Error: there is no booking 'nonsense'"
    )


def test_a_refund_without_the_gateway_says_who_goes_on(environment, bookings):
    booking = a_booking(unique("evening"), "a-1", payment_id="pi_1")
    bookings.insert(booking)
    away = environment | {"STRIPE_API_BASE": nobody("http")}
    line = one_line(flask(away, "bookings", "refund", booking.id))
    assert line.startswith(
        "Error: the payment gateway did not confirm it: no connection to the payment gateway: "
    )
    assert line.endswith("; the worker tries again, and you may")
    refused = one_line(flask(environment, "bookings", "refund", booking.id))
    assert refused.startswith("Error: the payment gateway refuses it: ")
    assert "pi_1" in refused and "again" not in refused


def booked(bookings, hold_id: str, event_id: str, seat: str):
    booking = a_booking(event_id, seat)
    return bookings.insert(replace(booking, id=booking_id_of(hold_id), hold_id=hold_id))


def test_the_link_of_a_booking_is_printed_and_opens_its_receipt(environment, bookings):
    event_id = unique("lost")
    booking = booked(bookings, f"hld_{secrets.token_hex(10)}_0", event_id, "stalls-A-1")
    public = environment | {"PUBLIC_URL": "https://tickets.example.org"}
    printed = flask(public, "bookings", "link", booking.id)
    assert (printed.returncode, printed.stderr) == (0, "")
    link = printed.stdout.strip().removeprefix("https://tickets.example.org/receipts/")
    codes = TicketCodes(REQUIRED["SECRET_KEY"])
    assert codes.read_link(link) == (event_id, booking.hold_id)
    without = flask(environment, "bookings", "link", booking.id)
    assert without.stdout == f"/receipts/{link}\n"
    assert "PUBLIC_URL is not set" in without.stderr
    assert "no booking" in one_line(flask(public, "bookings", "link", "bkg_nobody"))


def test_a_booking_is_found_by_the_reference_that_its_buyer_reads_out(environment, bookings):
    event_id = unique("lost")
    booking = booked(bookings, f"hld_{secrets.token_hex(10)}_0", event_id, "stalls-A-1")
    shown = json.loads(flask(environment, "bookings", "show", booking.id).stdout)
    assert shown["reference"] == reference_of(event_id, booking.id)
    said = shown["reference"].lower().replace("-", " ")
    for command in ("show", "link"):
        by_id = flask(environment, "bookings", command, booking.id).stdout
        assert flask(environment, "bookings", command, said).stdout == by_id
    listed = flask(environment, "bookings", "list", "--event", event_id).stdout
    for lines in (listed, flask(environment, "bookings", "search", said).stdout):
        assert f"  {booking.id}  {shown['reference']}  booked " in lines


def test_a_refund_needs_the_id_and_not_the_reference(environment, bookings):
    event_id = unique("lost")
    booking = booked(bookings, f"hld_{secrets.token_hex(10)}_0", event_id, "stalls-A-1")
    reference = reference_of(event_id, booking.id)
    line = one_line(flask(environment, "bookings", "refund", reference))
    assert f"`bookings show {reference}` prints the id" in line
    assert not bookings.find(booking.id).refunded_at


def test_of_two_bookings_with_one_reference_both_are_named(environment, bookings):
    digits, event_id = secrets.token_hex(3)[:5], unique("lost")
    two = [
        booked(bookings, f"hld_{digits}{'0' * 14}{number}_0", event_id, f"stalls-A-{number}")
        for number in (1, 2)
    ]
    booked(bookings, f"hld_{digits}{'0' * 14}3_0", unique("other"), "stalls-A-1")
    refused = flask(environment, "bookings", "show", reference_of(event_id, two[0].id))
    assert refused.returncode == 1
    assert "2 bookings have this reference; ask for the name" in refused.stderr
    assert all(booking.id in refused.stderr and "Eve" in refused.stderr for booking in two)


def test_a_reference_of_nobody_is_named(environment):
    line = one_line(flask(environment, "bookings", "show", "XYZ-2222"))
    assert line == "Error: there is no booking with the reference 'XYZ-2222'"
