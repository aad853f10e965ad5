"""Admissions as a gate's program sees them."""

import pytest

from tests.support.factories import a_booking, put_on_sale, small_hall
from tests.support.http_client import PROBLEM_TYPE
from web.signing.ticket_codes import TicketCodes

TOKEN = "the-token-of-the-doors"
SECRET = "a secret key of tests"
CODES = TicketCodes(SECRET)


class Gate:
    def __init__(self, http, event_id, name="North", token=TOKEN):
        self._http, self._name = http, name
        self._path = f"/api/events/{event_id}/admissions"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def scan(self, code, key=None, **fields):
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        body = {"code": code, "gate": self._name} | fields
        return self._http.post(self._path, json=body, headers=headers)

    def count(self):
        return self._http.get(self._path, headers=self._headers)


@pytest.fixture
def http(application):
    return application(SECRET_KEY=SECRET, DOOR_TOKEN=TOKEN)


@pytest.fixture
def hall(seats):
    hall = small_hall()
    put_on_sale(seats, hall, sold=["stalls-A-1", "stalls-A-2", "floor-GA-1"])
    return hall


@pytest.fixture
def booking(hall, bookings):
    return bookings.insert(a_booking(hall.id, "stalls-A-1", "stalls-A-2", "floor-GA-1"))


@pytest.fixture
def gate(http, hall):
    return Gate(http, hall.id)


def assert_problem(answer, status, code):
    assert (answer.status_code, answer.mimetype) == (status, PROBLEM_TYPE), answer.text
    assert answer.json["code"] == code


def test_a_ticket_is_let_in_once(gate, http, hall, booking):
    code = CODES.code_of(booking, "stalls-A-1")
    let_in = gate.scan(code)
    assert let_in.status_code == 201
    assert list(let_in.json) == ["seats", "name", "admitted_at"]
    assert (let_in.json["seats"], let_in.json["name"]) == (["stalls-A-1"], "Eve")
    again = Gate(http, hall.id, "South").scan(code)
    assert_problem(again, 409, "already_admitted")
    assert again.json["admitted_at"] == let_in.json["admitted_at"]
    assert (again.json["gate"], again.json["seats"]) == ("North", ["stalls-A-1"])


def test_a_lost_answer_can_be_asked_for_again(gate, booking):
    code = CODES.code_of(booking)
    first = gate.scan(code, key="scan-1")
    assert gate.scan(code, key="scan-1").json == first.json
    assert_problem(gate.scan(code, key="scan-2"), 409, "already_admitted")


def test_refusals_have_the_codes_of_the_contract(gate, http, bookings, booking):
    code = CODES.code_of(booking, "stalls-A-1")
    assert_problem(gate.scan("hello"), 422, "not_a_ticket")
    other = Gate(http, "another-evening").scan(code)
    assert_problem(other, 422, "other_event")
    assert other.json["event"] == booking.event_id
    bookings.mark_refunded(booking.id, booking.booked_at)
    assert_problem(gate.scan(code), 410, "ticket_refunded")


@pytest.mark.parametrize("token", ["", "the-token-of-the-door", "é", TOKEN.upper()])
def test_without_the_token_nobody_is_let_in(http, hall, booking, token):
    stranger = Gate(http, hall.id, token=token)
    for answer in (stranger.scan(CODES.code_of(booking)), stranger.count()):
        assert_problem(answer, 401, "invalid_token")
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_without_a_setting_there_is_no_door(application, hall, booking):
    http = application(SECRET_KEY=SECRET)
    for token in ("", TOKEN):
        assert_problem(Gate(http, hall.id, token=token).count(), 404, "not_found")


def test_no_cookie_is_set_or_needed(gate, booking):
    answers = [gate.scan(CODES.code_of(booking)), gate.count(), gate.scan("hello")]
    assert all("Set-Cookie" not in answer.headers for answer in answers)
    assert all(answer.headers["Cache-Control"] == "no-store" for answer in answers)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"gate": " "}, "gate"),
        ({"gate": "x" * 41}, "gate"),
        ({"gate": "North\nSouth"}, "gate"),
        ({"gate": 1}, "gate"),
        ({"code": None}, "code"),
        ({"code": "x" * 4097}, "code"),
        ({"seats": []}, "seats"),
        ({"seats": ["stalls-B-1"]}, "seats"),
        ({"admitted_ms_ago": -1}, "admitted_ms_ago"),
        ({"admitted_ms_ago": 8 * 24 * 3_600_000}, "admitted_ms_ago"),
    ],
)
def test_bad_input_names_the_field(gate, booking, fields, field):
    refused = gate.scan(**{"code": CODES.code_of(booking), "key": "scan"} | fields)
    assert_problem(refused, 422, "invalid_request")
    assert refused.json["field"] == field


def test_a_report_needs_a_key_and_is_written_also_when_it_is_refused(
    gate, http, hall, bookings, booking
):
    code = CODES.code_of(booking, "stalls-A-1")
    assert_problem(gate.scan(code, admitted_ms_ago=1000), 400, "idempotency_key_missing")
    assert gate.scan(code, key="scan-1", admitted_ms_ago=60_000).status_code == 201
    conflict = Gate(http, hall.id, "South").scan(code, key="scan-2", admitted_ms_ago=0)
    assert_problem(conflict, 409, "already_admitted")
    assert conflict.json["gate"] == "North"
    assert [a.gate for a in bookings.find(booking.id).admissions] == ["North", "South"]


def test_attendance_has_every_section_of_the_hall(gate, booking):
    gate.scan(CODES.code_of(booking, "stalls-A-1"))
    counted = gate.count().json
    assert (counted["seats"], counted["admitted"]) == (3, 1)
    assert counted["sections"] == [
        {"id": "stalls", "seats": 2, "admitted": 1},
        {"id": "floor", "seats": 1, "admitted": 0},
        {"id": "free", "seats": 0, "admitted": 0},
    ]
    (minute,) = counted["minutes"]
    assert minute["sections"] == {"stalls": 1} and minute["admitted"] == 1
    assert minute["minute"].endswith(":00.000Z")


def test_an_event_that_nobody_knows_has_no_attendance(http):
    assert_problem(Gate(http, "never-announced").count(), 404, "event_not_found")


def test_the_gates_of_a_venue_share_an_address_and_have_a_limit_of_their_own(
    application, hall, booking
):
    http = application(SECRET_KEY=SECRET, DOOR_TOKEN=TOKEN, RATE_LIMIT="2/hour")
    gate = Gate(http, hall.id)
    answers = [gate.count() for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert '"doors";q=100;w=1' in answers[0].headers["RateLimit-Policy"]
    guesses = [Gate(http, hall.id, token="a-guess-at-the-token").count() for _ in range(3)]
    assert [answer.status_code for answer in guesses] == [401, 401, 429]
