"""The receipt, its address, and the code that the door reads."""

import base64
import re
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.pages.browser import HTML, Browser
from tests.pages.conftest import BUYER
from tests.support.commands import flask
from tests.support.factories import a_booking, unique
from tests.support.redis_stores import lead_nowhere
from web.domain.sales import SeatRefund, hold_id_of
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


def test_there_is_a_code_for_all_and_one_for_each_seat(receipt):
    pictures = receipt.root.all("svg")
    assert [picture.one("title").text for picture in pictures] == [
        "Ticket code",
        "Ticket code of Stalls, row A, seat 1",
        "Ticket code of Stalls, row A, seat 2",
    ]
    assert all(picture["class"] == "qr" for picture in pictures)
    assert all(re.match(r"0 0 \d+ \d+", picture["viewbox"]) for picture in pictures)


def test_a_refunded_booking_is_no_ticket(ada, bookings, receipt):
    booking_id = re.search(r"bkg_\w+", receipt.text)[0]
    bookings.mark_refunded(booking_id, bookings.find(booking_id).booked_at)
    page = ada.get(receipt.address)
    assert page.title == "This booking was refunded"
    assert "your ticket" not in page.text
    assert not page.root.all("svg") and not page.root.all(id="ticket-code")


def test_single_seats_that_were_refunded_are_shown_and_the_others_are_a_ticket(
    ada, bookings, receipt
):
    booking = bookings.find(re.search(r"bkg_\w+", receipt.text)[0])
    refund = SeatRefund(booking.seats[:1], 2500)
    bookings.begin_seat_refund(booking.id, refund)
    begun = bookings.find(booking.id)
    bookings.mark_seats_refunded(begun, refund, booking.booked_at)
    page = ada.get(receipt.address)
    assert page.title == "You are in"
    assert "£25.00 for Stalls, row A, seat 1" in re.sub(r"[\u2066-\u2069]", "", page.text)
    assert page.root.one("figcaption").text == "For 1 person"


def test_a_receipt_of_a_postponed_or_cancelled_event_says_so(ada, hall_with, seats, bookings):
    address = hall_with()
    held = ada.get(address).press("Hold the chosen", seats="stalls-A-1")
    receipt = held.press("Pay", **BUYER)
    event = seats._catalogue.current_event(address.rpartition("/")[2])
    seats.open_event(replace(event, declared_status="postponed"), ["stalls-A-1"])
    for page in (receipt.address, address, "/"):
        assert "Postponed." in ada.get(page).text
    assert ada.get(receipt.address).title == "You are in"
    seats.open_event(replace(event, declared_status="cancelled"), ["stalls-A-1"])
    cancelled = ada.get(receipt.address)
    assert cancelled.title == "The event is cancelled"
    assert "The money is being refunded" in cancelled.text
    assert not cancelled.root.all("svg")
    assert "This event is cancelled." in ada.get(address).text


def test_the_door_verifies_a_code_without_any_server(stack, receipt):
    def verify(code):
        without_redis = stack.environment | {"REDIS_URL": "redis://127.0.0.1:1/0"}
        return flask(without_redis, "tickets", "verify", code)

    verified = verify(code_of(receipt))
    assert verified.stdout.split()[2] == "stalls-A-1,stalls-A-2"
    refused = verify("x" + code_of(receipt))
    assert refused.returncode == 1
    assert "is not a ticket of ours" in refused.stderr


def test_the_receipt_of_fifty_seats_has_all_codes(application, bookings):
    hall = [f"upper-circle-{row}-{number}" for row in "AB" for number in range(1, 26)]
    booking = bookings.insert(a_booking(unique("evening"), *hall))
    http = application(SECRET_KEY=SECRET, RATE_LIMIT="1000/second")
    link = TicketCodes(SECRET).link_of(booking.event_id, hold_id_of(booking.id))
    began_s = time.thread_time()
    page = http.get(f"/receipts/{link}")
    assert page.status_code == 200 and page.text.count("<svg") == 51
    assert time.thread_time() - began_s < 2, "ten times what it takes"


def test_anybody_can_verify_a_ticket_with_the_public_key(stack, receipt, tmp_path):
    def public_key(**settings):
        return flask(stack.environment | settings, "tickets", "public-key").stdout

    pem = public_key()
    code = code_of(receipt)
    signed, _, signature = code.rpartition(".")
    signature = base64.urlsafe_b64decode(f"{signature}==")
    load_pem_public_key(pem.encode()).verify(signature, signed.encode())
    assert stack.environment["SECRET_KEY"] not in pem
    with_former = public_key(
        SECRET_KEY="another key of tests", SECRET_KEY_FALLBACKS=stack.environment["SECRET_KEY"]
    )
    assert with_former.endswith(pem) and with_former != pem


# ---------------------------------------------------------------- codes


FORMER_CODE = (
    ".eJyLVkrKTo83VNJRSi1LzStR0olWKi5JzMkp1nXUBYnCOUZKsbEAPq8Nqg"
    ".x_oRw1jnq9XFZPY_U616MzXyfFO1iO73dLEqQoC6Q4g"
)
"""Made by a release that had one code a booking, with ``SECRET``."""


def test_the_codes_of_former_releases_stay_good():
    ticket = TicketCodes("new", [SECRET]).read_code(FORMER_CODE)
    assert ticket == ("bkg_1", "event", ("stalls-A-1", "stalls-A-2"))


def test_the_key_of_tickets_never_changes():
    assert TicketCodes(SECRET).keys.public_keys() == ["yutfl7Zkf-mizM86zTc4wMgW6CSRqj6bTByjwpN-yMs"]


def test_the_code_of_a_seat_admits_it_alone():
    booking = a_booking("event", "upper-circle-A-1", "upper-circle-A-2", "floor-GA-7")
    codes = TicketCodes(SECRET)
    for seat in booking.seats:
        assert codes.read_code(codes.code_of(booking, seat)).seats == (seat,)
    assert codes.read_code(codes.code_of(booking)).seats == booking.seats


def test_the_code_of_fifty_seats_is_short_enough_for_a_telephone_to_read():
    booking = a_booking("event", *(f"upper-circle-{row}-{n}" for row in "AB" for n in range(1, 26)))
    code = TicketCodes(SECRET).code_of(booking)
    assert TicketCodes(SECRET).read_code(code).seats == booking.seats
    assert len(code) < 330


def test_a_code_with_any_character_changed_is_no_code():
    codes = TicketCodes(SECRET)
    code = codes.code_of(a_booking("event", "stalls-A-1", "stalls-A-2"))
    for place, character in enumerate(code):
        changed = f"{code[:place]}{'B' if character == 'A' else 'A'}{code[place + 1 :]}"
        with pytest.raises(BadCode):
            codes.read_code(changed)


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


@pytest.mark.parametrize(
    "code",
    [
        "",
        "x",
        "x.y",
        "\x00",
        "é",
        "." * 500,
        "T1.",
        "T1.a.b.c.",
        "T1.a.b.c.é",
        "T1.a.b.c.\ud800",
        "x" * 5000,
    ],
)
def test_nonsense_is_no_code(code):
    with pytest.raises(BadCode):
        TicketCodes(SECRET).read_code(code)
