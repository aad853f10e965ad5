"""What an organiser may type to find a booking, and what is found."""

import time
from dataclasses import replace

import pytest

from tests.simulator.bookings import is_found
from tests.support.factories import a_booking
from web.domain.booking_search import MAX_SEARCH_LENGTH, search_for
from web.domain.references import reference_of
from web.domain.sales import SoldAs

BOOKING = replace(
    a_booking("evening", "upper-circle-A-12", "upper-circle-A-13", payment_id="pi_3Tx"),
    id="bkg_01hx5",
    name="Zoë Müller-Strauß",
    email="zoe.mueller@example.org",
    sold_as=SoldAs(
        "An evening", "Hall", ("Upper circle, row A, seat 12", "Upper circle, row A, seat 13")
    ),
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zoe",
        "ZOË",
        "Zoe\N{COMBINING DIAERESIS}",
        "muller",
        "MUELLER",
        "strauss",
        "müller zoë",
        "  zoë   strauss ",
        "oe.muel",
        "zoe.mueller@example.org",
        "upper-circle-A-12",
        "Upper circle, row A, seat 13",
        "upper circle a 12",
        "A 12",
        "row a seat 13",
        "bkg_01hx5",
        "bkg_01h",
        "hld_01hx5",
        "pi_3Tx",
    ],
)
def test_found(text):
    assert is_found(search_for(text), BOOKING)


@pytest.mark.parametrize(
    "text",
    [
        "zoe miller",
        "lovelace",
        ".*",
        "upper-circle-A-1",
        "A 1",
        "A 21",
        "bkg_01hx6",
        "01hx5",
        "pi_3T",
        "[",
        "\\",
        "a{1,99999}",
    ],
)
def test_not_found(text):
    assert not is_found(search_for(text), BOOKING)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("lukasz", "Łukasz"),
        ("soren", "Søren"),
        ("soeren", "Søren"),
        ("aegir", "Ægir"),
        ("ΣΟΦΟΣ", "σοφός"),
        ("алексей", "Алексей"),
        ("istanbul", "İSTANBUL"),
        ("nguyen", "Nguyễn"),
        ("김", "김민수"),
        ("李", "李小龍"),
        ("o'brien", "Conan O'Brien"),
    ],
)
def test_names_in_many_languages_are_found_however_they_are_typed(typed, name):
    found = replace(BOOKING, name=name, email="x@example.org")
    assert is_found(search_for(typed), found)
    assert is_found(search_for(name), found)


@pytest.mark.parametrize("typed", ["EVE-KUPG", "eve-kupg", "evekupg", "eve kupg", "E V E K U P G"])
def test_a_reference_is_found_as_it_is_read_out(typed):
    booking = replace(BOOKING, id="bkg_8eaae07a", name="Zoë", email="zoe@example.org")
    assert reference_of("evening", booking.id) == "EVE-KUPG"
    assert is_found(search_for(typed), booking)
    assert not is_found(search_for(typed), replace(booking, event_id="morning"))
    assert not is_found(search_for(typed), replace(booking, id="bkg_8eaaf07a"))


def test_a_name_that_could_be_a_reference_is_found_too():
    assert is_found(search_for("Eversen"), replace(BOOKING, name="Ida Eversen"))


def test_a_search_costs_little_whatever_is_typed():
    begun_s = time.process_time()
    for text in ("a" * 10_000, "e " * 5_000, "row " * 3_000 + "1", "\0\ud800" * 999):
        is_found(search_for(text), replace(BOOKING, name="ae" * MAX_SEARCH_LENGTH))
    assert time.process_time() - begun_s < 1
