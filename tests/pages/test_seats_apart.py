"""A hold whose seats are not side by side says so, from the layout of the hall."""

import pytest

from tests.support.factories import STALLS, put_on_sale, small_hall
from web.pages.seating import runs_of

HALL = small_hall()
APART = "not all side by side"


@pytest.mark.parametrize(
    ("seats", "runs"),
    [
        (["A-1"], 1),
        (["A-1", "A-2", "A-3"], 1),
        (["A-3", "A-2", "A-1"], 1),
        (["A-1", "A-3"], 2),
        (["A-4", "A-5"], 2),  # an aisle is between them
        (["A-8", "B-1"], 2),  # one after the other in the layout, in two rows
        (["C-1", "C-2", "C-3"], 1),
        (["C-3", "C-5"], 2),  # a seat is missing there
        (["A-1", "A-2", "B-1", "B-2"], 2),
    ],
)
def test_seats_are_side_by_side_within_one_block_of_a_row(seats, runs):
    assert len(runs_of(HALL, [f"stalls-{seat}" for seat in seats])) == runs


def test_places_without_numbers_have_no_neighbours():
    assert runs_of(HALL, ["floor-GA-1", "floor-GA-7"]) == []


def test_best_available_says_that_the_seats_are_apart_and_how_to_give_them_back(ada, seats):
    event = small_hall(sections=(STALLS,))
    left = {"stalls-A-1", "stalls-A-2", "stalls-B-4"}
    put_on_sale(seats, event, sold=set(event.seats) - left)
    page = ada.get(f"/events/{event.id}").press("Hold the best", section="stalls", quantity="3")
    assert "not all side by side: Stalls, row A, seats 1, 2; Stalls, row B, seat 4." in page.text
    assert page.press("Give the seats back").status == 200


def test_who_chose_seats_that_are_apart_knows_it(ada, address):
    page = ada.get(address).press("Hold the chosen", seats=["stalls-A-1", "stalls-B-4"])
    assert page.status == 200 and APART not in page.text


def test_seats_that_are_side_by_side_need_no_word(ada, address):
    page = ada.get(address).press("Hold the best", section="stalls", quantity="3")
    assert APART not in page.text
    page = ada.get(address).press("Hold the best", section="floor", quantity="3")
    assert APART not in page.text
