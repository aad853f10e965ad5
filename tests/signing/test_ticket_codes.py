"""Codes of tickets and links, also those that a later release has made."""

from tests.support.factories import a_booking
from web.signing.ticket_codes import TicketCodes


def test_what_a_newer_version_appends_to_a_code_or_a_link_is_ignored():
    codes = TicketCodes("a secret key of tests")
    booking = a_booking("evening", "stalls-A-1")
    code = codes._codes.dumps([booking.id, "evening", ["stalls-A-1"], "something"])
    assert codes.read_code(code) == codes.read_code(codes.code_of(booking))
    assert codes.read_link(codes._links.dumps(["evening", "hld", "x"])) == ("evening", "hld")
    hold_link = codes._hold_links.dumps(["evening", "hld", "x"])
    assert codes.read_hold_link(hold_link) == ("evening", "hld")
