"""Two forms at once, in the order that is hardest: the twin is through while the other one is in
the middle."""

import pytest

from tests.support.factories import put_on_sale, small_hall, unique
from web.domain.refusals import SeatTaken
from web.signing.hold_tokens import HoldTokens
from web.use_cases.box_office import BoxOffice
from web.use_cases.form_holds import FormHolds

CLIENT = "203.0.113.7"


@pytest.fixture
def hall(seats):
    event = small_hall()
    put_on_sale(seats, event)
    return event


@pytest.fixture
def box_office(seats, catalogue, bookings) -> BoxOffice:
    return BoxOffice(catalogue, seats, bookings, HoldTokens("a secret key of tests"))


@pytest.fixture
def form_holds(seats, box_office) -> FormHolds:
    return FormHolds(seats, box_office, HoldTokens("a secret key of tests"))


@pytest.fixture
def overtaken(form_holds, hall):
    """Sends a form whose twin gets through first; returns what the twin got, and what it got."""

    def send(hold, its_form, twins_form):
        got = []

        def hold_after_twin():
            got.append(form_holds.hold_once(hall.id, twins_form, hold))
            return hold()

        try:
            got.append(form_holds.hold_once(hall.id, its_form, hold_after_twin))
        except SeatTaken as refusal:
            got.append(refusal)
        return got

    return send


def test_the_seats_that_its_twin_got_are_not_taken(overtaken, box_office, hall):
    form = unique("form")
    twins, its = overtaken(
        lambda: box_office.hold_seats(hall.id, CLIENT, ["stalls-A-1"]), form, form
    )
    assert its.id == twins.id


def test_the_seats_that_another_form_got_are(overtaken, box_office, hall):
    _, refusal = overtaken(
        lambda: box_office.hold_seats(hall.id, CLIENT, ["stalls-A-1"]),
        unique("form"),
        unique("form"),
    )
    assert isinstance(refusal, SeatTaken)


def test_seats_beside_those_of_its_twin_are_given_back(overtaken, box_office, seats, hall):
    form = unique("form")
    twins, its = overtaken(lambda: box_office.hold_best(hall.id, CLIENT, "floor", 2), form, form)
    assert its.id == twins.id
    assert seats.read_seats(hall.id).seats.count("h") == 2


def test_a_form_is_forgotten_in_the_end(redis_client, form_holds, box_office, hall):
    form = unique("form")
    form_holds.hold_once(
        hall.id, form, lambda: box_office.hold_seats(hall.id, CLIENT, ["stalls-A-1"])
    )
    (key,) = redis_client.scan_iter(f"form:{{{hall.id}}}:*")
    assert 0 < redis_client.pttl(key) <= 10 * 60 * 1000
