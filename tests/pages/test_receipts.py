"""The receipt, its address, and the code that the door reads."""

import re

import pytest

from tests.pages.browser import HTML, Browser
from tests.pages.conftest import BUYER
from tests.support.commands import flask
from tests.support.factories import a_booking
from tests.support.redis_stores import lead_nowhere
from web.signing.ticket_codes import BadCode, TicketCodes

SECRET = "a secret key of tests"


@pytest.fixture
def receipt(held):
    return held.press("Pay", **BUYER)


def code_of(receipt) -> str:
    return receipt.root.one(id="ticket-code").text


def test_its_address_opens_it_anywhere(stack, receipt):
    elsewhere = Browser(stack.url).get(receipt.address)
    assert (elsewhere.status, elsewhere.title) == (200, "You are in")
    assert "Stalls, row A, seat 1" in elsewhere.text
    assert BUYER["email"] not in elsewhere.answer.text


def test_it_is_there_while_redis_is_not(application, receipt, stack):
    browser = application(SECRET_KEY=stack.environment["SECRET_KEY"], RATE_LIMIT="1000/second")
    assert browser.get(receipt.address).status_code == 200
    lead_nowhere(browser.application.extensions["services"].seats)
    assert "We are back in a moment" in browser.get("/", headers=HTML).text
    assert "You are in" in browser.get(receipt.address).text


def test_its_address_cannot_be_guessed_or_changed(ada, receipt):
    link = receipt.address.rpartition("/")[2]
    payload, _, signature = link.partition(".")
    for other in (payload, f"{payload}.", f"{payload}.{signature[::-1]}", f"x{link}", link[:-1]):
        assert ada.get(f"/receipts/{other}").status == 404


def test_the_code_is_a_picture_of_itself_in_one_svg(receipt):
    picture = receipt.root.one("svg")
    assert picture["class"] == "qr" and picture.one("title").text == "Ticket code"
    assert re.match(r"0 0 \d+ \d+", picture["viewbox"])


def test_a_refunded_booking_is_no_ticket(ada, bookings, receipt):
    booking_id = re.search(r"bkg_\w+", receipt.text)[0]
    bookings.mark_refunded(booking_id, bookings.find(booking_id).booked_at)
    page = ada.get(receipt.address)
    assert page.title == "This booking was refunded"
    assert "your ticket" not in page.text
    assert not page.root.all("svg") and not page.root.all(id="ticket-code")


def test_the_door_verifies_a_code_without_any_server(stack, receipt):
    def verify(code):
        without_redis = stack.environment | {"REDIS_URL": "redis://127.0.0.1:1/0"}
        return flask(without_redis, "tickets", "verify", code)

    verified = verify(code_of(receipt))
    assert verified.stdout.split()[2] == "stalls-A-1,stalls-A-2"
    refused = verify("x" + code_of(receipt))
    assert refused.returncode == 1
    assert "is not a ticket of ours" in refused.stderr


# ---------------------------------------------------------------- codes


def test_a_code_says_what_it_admits():
    booking = a_booking("event", "stalls-A-1", "stalls-A-2")
    codes = TicketCodes(SECRET)
    ticket = codes.read_code(codes.code_of(booking))
    assert ticket == (booking.id, "event", ("stalls-A-1", "stalls-A-2"))


def test_a_code_of_a_former_key_stays_good_and_new_ones_are_the_new_key_s():
    old, both, new = TicketCodes("old"), TicketCodes("new", ["old"]), TicketCodes("new")
    booking = a_booking("event", "stalls-A-1")
    assert both.read_code(old.code_of(booking)) == new.read_code(both.code_of(booking))
    with pytest.raises(BadCode):
        new.read_code(old.code_of(booking))


def test_a_code_is_no_receipt_and_a_receipt_is_no_code():
    codes = TicketCodes(SECRET)
    with pytest.raises(BadCode):
        codes.read_code(codes.link_of("event", "hld_1"))
    with pytest.raises(BadCode):
        codes.read_link(codes.code_of(a_booking("event", "stalls-A-1")))


@pytest.mark.parametrize("code", ["", "x", "x.y", "\x00", "é", "." * 500])
def test_nonsense_is_no_code(code):
    with pytest.raises(BadCode):
        TicketCodes(SECRET).read_code(code)
