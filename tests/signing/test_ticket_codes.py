"""Codes of tickets and links, also those that a later release has made."""

from tests.support.factories import a_booking
from web.signing.ticket_codes import TicketCodes, _base64url


def test_what_a_newer_version_appends_to_a_code_or_a_link_is_ignored():
    codes = TicketCodes("a secret key of tests")
    booking = a_booking("evening", "stalls-A-1")
    of_a_release_before = codes._former_codes.dumps([booking.id, "evening", ["stalls-A-1"], "x"])
    signed = codes.code_of(booking).rpartition(".")[0] + ".something"
    code = f"{signed}.{_base64url(codes.keys.sign(signed.encode()))}"
    ticket = codes.read_code(codes.code_of(booking))
    assert codes.read_code(of_a_release_before) == codes.read_code(code) == ticket
    assert codes.read_link(codes._links.dumps(["evening", "hld", "x"])) == ("evening", "hld")
    hold_link = codes._hold_links.dumps(["evening", "hld", "x"])
    assert codes.read_hold_link(hold_link) == ("evening", "hld")
