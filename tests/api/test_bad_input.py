"""Bad input gets a named error, through nginx, and never a 500."""

import json
import socket
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.http_client import Client, assert_problem, bearer
from tests.support.site import Site


@pytest.fixture
def ada(site, event) -> Client:
    return Client(site.url, event.id)


@pytest.fixture
def hold(ada) -> dict:
    return ada.held("stalls-A-1")


def body(client: Client, path: str, data: bytes | str, **headers: str):
    return client.call("POST", path, data=data, headers=headers)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"seats=stalls-A-1", "body"),
        (b'{"seats": ["\xff\xfe"]}', "body"),
        (b"[" * 30_000, "body"),
        (b'{"x": ' + b"[" * 20_000 + b"]" * 20_000 + b', "seats": ["stalls-A-1"]}', "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'"stalls-A-1"', "body"),
        (b"{}", "body"),
        (b'{"seats": null}', "seats"),
        (b'{"seats": {"$ne": null}}', "seats"),
        (b'{"seats": "stalls-A-1"}', "seats"),
        (b'{"seats": []}', "seats"),
        (b'{"seats": [1]}', "seats[0]"),
        (b'{"seats": [{"$gt": ""}]}', "seats[0]"),
        (b'{"seats": [""]}', "seats[0]"),
        (b'{"seats": ["stalls-Z-1"]}', "seats[0]"),
        (b'{"seats": ["stalls-A-1", "stalls-A-2", "stalls-A-1"]}', "seats[2]"),
        (json.dumps({"seats": [f"stalls-A-{n}" for n in range(7)]}).encode(), "seats"),
        (json.dumps({"seats": ["x"] * 1000}).encode(), "seats"),
        ('{"seats": ["stalls-Ä-1"]}'.encode(), "seats[0]"),
        (b'{"seats": ["stalls-A-1\\u0000"]}', "seats[0]"),
    ],
)
def test_a_bad_list_of_seats_names_its_field(ada, data, field):
    problem = assert_problem(body(ada, "holds", data), 422, "invalid_request")
    assert problem["field"] == field
    assert ada.seat_map() == "0" * 38


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"[]", "body: must be an object, not a list"),
        (b"{}", "body: seats is missing"),
        (b'{"seats": null}', "seats: must be a list, not null"),
        (b'{"seats": "stalls-A-1"}', "seats: must be a list, not a text"),
        (b'{"seats": []}', "seats: must not be empty"),
        (b'{"seats": [true]}', "seats[0]: must be a text, not true or false"),
        (b'{"seats": [1]}', "seats[0]: must be a text, not a number"),
        (json.dumps({"seats": ["x"] * 1000}).encode(), "seats: must have at most 100 entries"),
        (json.dumps({"seats": ["x" * 101]}).encode(), "seats[0]: must have at most 100 characters"),
        (b'{"seats": ["stalls-A-1", "stalls-A-1"]}', "seats[1]: stalls-A-1 is listed twice"),
    ],
)
def test_what_is_wrong_with_a_body_is_told_in_words(ada, data, detail):
    problem = assert_problem(body(ada, "holds", data), 422, "invalid_request")
    assert problem["detail"] == detail


def test_what_is_wrong_with_a_payment_is_told_in_words(ada, hold):
    problem = assert_problem(ada.pay(hold, email=None), 422, "invalid_request")
    assert problem["detail"] == "body: email is missing"
    problem = assert_problem(ada.pay(hold, email=["ada@example.org"]), 422, "invalid_request")
    assert problem["detail"] == "email: must be a text, not a list"
    problem = assert_problem(ada.pay(hold, payment_method="pm card"), 422, "invalid_request")
    assert problem["detail"] == "payment_method: has characters that cannot be in it"


@pytest.mark.parametrize("quantity", ["0", "7", "10000", "-1", "1.5", "two", "²", "9" * 500])
def test_a_bad_quantity_is_named(ada, quantity):
    problem = assert_problem(ada.hold_best("floor", quantity), 422, "invalid_request")
    assert problem["field"] == "quantity"


@pytest.mark.parametrize("seat", ["%ff", "a" * 1000, "stalls-A-01", "ställs-A-1"])
def test_a_seat_that_cannot_be_is_not_found(ada, seat):
    assert_problem(ada.hold_seat(seat), 404, "seat_not_found")


def test_dots_in_place_of_a_seat_lead_to_another_address(ada):
    assert_problem(ada.hold_seat("%2e%2e"), 404, "not_found")


def test_a_zero_byte_in_the_path_is_a_bad_request_for_nginx_and_in_no_seat(site, stack, ada):
    if site is stack:
        assert_problem(ada.hold_seat("%00"), 400, "bad_request")
    else:
        assert_problem(ada.hold_seat("%00"), 404, "seat_not_found")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("payment_method", {"$ne": 1}),
        ("payment_method", 5),
        ("payment_method", "pm card"),
        ("payment_method", "p" * 256),
        ("payment_method", None),
        ("email", ["a@b.c"]),
        ("email", "nobody"),
        ("email", "a@b@c"),
        ("email", "a" * 250 + "@b.cd"),
        ("email", None),
        ("name", {"first": "Ada"}),
        ("email", "a@b.c\n"),
        ("email", "ada\u200b@example.org"),
        ("email", "ada@example,org"),
        ("email", "ada@example."),
        ("email", "mailto:a@b.c"),
        ("name", "\u200b\u2060"),
        ("name", "Ada\u202e"),
        ("payment_method", "pm_card_visa\n"),
        ("name", ""),
        ("name", "  "),
        ("name", "Ada\nBcc: eve@example.org"),
        ("name", "\0"),
        ("name", "A" * 201),
        ("name", None),
    ],
)
def test_a_bad_field_of_a_payment_is_named_and_nothing_is_charged(ada, hold, field, value):
    problem = assert_problem(ada.pay(hold, **{field: value}), 422, "invalid_request")
    assert field in problem["detail"]
    assert ada.look_up(hold).json()["status"] == "held"


def test_names_may_be_written_in_any_script(ada, hold):
    paid = ada.pay(hold, name="Ædå Löve-lace 李小龍 👩‍🚀", email="ädä@exämple.org")
    assert paid.status_code == 201
    again = ada.pay(hold, name="Ædå Löve-lace 李小龍 👩‍🚀", email="ädä@exämple.org")
    assert again.content == paid.content


def test_a_repeat_is_one_letter_for_letter(ada, hold):
    """What is kept of it has another spelling, with the name composed and the domain in small
    letters."""
    typed = {"name": " Ju\u0308rgen", "email": "Ada@EXAMPLE.org"}
    paid = ada.pay(hold, **typed)
    assert paid.status_code == 201
    again = ada.pay(hold, **typed)
    assert (again.content, again.headers["Idempotent-Replayed"]) == (paid.content, "true")
    other = ada.pay(hold, name="J\u00fcrgen", email="Ada@example.org")
    assert_problem(other, 422, "idempotency_key_reused")


def test_an_overlong_key_is_named_with_its_limit(ada, hold):
    for length in (256, 10_000):
        problem = assert_problem(ada.pay(hold, "k" * length), 422, "invalid_request")
        assert problem["field"] == "Idempotency-Key"
        assert "255" in problem["detail"]
    assert ada.pay(hold, "k" * 255).status_code == 201


def test_a_key_may_have_any_characters(ada, hold):
    key = '"quoted, \xe9 and; odd"'.encode()
    first = ada.pay(hold, key)
    assert first.status_code == 201
    assert ada.pay(hold, key).content == first.content


@pytest.mark.parametrize("length", [64 * 1024 + 1, 5_000_000])
def test_a_huge_body_is_refused(ada, hold, length):
    for path in ("holds", f"holds/{hold['hold_id']}/pay"):
        answer = body(ada, path, b"x" * length, **bearer(hold), **{"Idempotency-Key": "k"})
        assert_problem(answer, 413, "body_too_large")


@pytest.mark.parametrize("tag", ["9" * 5000, "9" * 17, "-1", "²", "*", 'x", "17'])
def test_an_odd_entity_tag_is_no_error(ada, tag):
    answer = ada.call("GET", "seats", headers={"If-None-Match": f'"{tag}"'.encode()})
    assert answer.status_code == 200
    assert ada.call("GET", "seats", headers={"If-Match": '"x"'}).status_code == 200


def test_a_double_slash_is_not_found(ada):
    path = f"//api//events/{ada.event_id}/seats/stalls-A-1/hold"
    assert_problem(ada.call("POST", path), 404, "not_found")


def test_a_huge_body_is_refused_without_nginx_too(site, ada):
    behind = Client(site.web_url, ada.event_id)
    huge = b'{"seats": ["stalls-A-1"]}' + b" " * (64 * 1024)
    assert_problem(body(behind, "holds", huge), 413, "body_too_large")
    chunked = iter([huge[:1000], huge[1000:]])
    assert_problem(body(behind, "holds", chunked), 413, "body_too_large")
    assert body(behind, "holds", iter([huge[:1000]])).status_code == 201


def test_a_huge_header_or_path_is_refused(site, ada):
    huge = ada.call("GET", "seats", headers={"X-Huge": "x" * 40_000})
    assert_unread(site, huge, 431, "header_too_large")
    many = ada.call("GET", "seats", headers={f"X-Many-{n}": "x" for n in range(200)})
    assert_unread(site, many, 431, "header_too_large")
    assert_unread(site, ada.call("GET", "x" * 40_000), 414, "uri_too_long")


def assert_unread(site: Site, answer: requests.Response, status: int, code: str) -> None:
    """Refused before the application hears of it. gunicorn's own worker says that in HTML."""
    if site.worker_class == "llhttp":
        assert_problem(answer, status, code)
    else:
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "holds"),
        ("GET", "seats/stalls-A-1/hold"),
        ("DELETE", "seats"),
        ("PATCH", "holds/hld_1"),
        ("POST", ""),
        ("GET", "holds/hld_1/pay"),
    ],
)
def test_a_wrong_method_says_which_are_right(ada, method, path):
    answer = ada.call(method, path)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"]


@pytest.mark.parametrize(
    ("authorization", "status", "code"),
    [
        (b"Bearer", 404, "hold_not_found"),
        (b"Bearer ", 404, "hold_not_found"),
        (b"bearer x y", 404, "hold_not_found"),
        (b"Bearer \xc3\xa9", 404, "hold_not_found"),
        (b"Bearer \xff", 404, "hold_not_found"),
        (b"Digest a=b", 404, "hold_not_found"),
        (b"Basic !!!", 404, "hold_not_found"),
        (b"x" * 9000, 404, "hold_not_found"),
        (b"Bearer \x01", 400, "bad_request"),
    ],
)
def test_a_broken_authorization_opens_nothing(site, ada, hold, authorization, status, code):
    """Over a socket of its own: requests would not send most of these."""
    request = (
        f"GET /api/events/{hold['event']}/holds/{hold['hold_id']} HTTP/1.1\r\n"
        f"Host: localhost\r\nX-Forwarded-For: {ada.address}\r\nConnection: close\r\n"
    )
    address = urlsplit(ada.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request.encode() + b"Authorization: " + authorization + b"\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, content = answer.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    if status == 404 or site.worker_class == "llhttp":
        assert json.loads(content)["code"] == code


def test_spaces_around_a_name_or_an_address_are_nobody_s_mistake(ada, hold, bookings, event):
    assert ada.pay(hold, email=" ada@example.org ", name=" Ada ").status_code == 201
    (booking,) = bookings.list(event.id)
    assert (booking.email, booking.name) == ("ada@example.org", "Ada")
