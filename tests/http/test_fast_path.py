"""The fast path before Flask: it changes how long a response takes, and nothing else."""

import functools
import io
import json
import re
from dataclasses import replace

import msgspec
import pytest
from flask import Flask
from werkzeug.test import Client

from tests.support.application import REQUIRED, application_with
from tests.support.factories import put_on_sale, small_hall
from tests.support.no_limit import lift_limit
from web.api.admissions import fast_path as fast_admissions
from web.api.routes import fast_path as fast_api
from web.domain.sales import booking_id_of
from web.http import rate_limits as limiting
from web.http.health import fast_path as fast_health
from web.http.responses import CLIENT
from web.ports.booking_store import IndexMissing
from web.settings import read_settings

FAST_ROUTES = [
    (method, route)
    for fast_path in (fast_api, fast_admissions, fast_health)
    for method, routes in fast_path.routes.items()
    for route in routes
]


OF_A_DOOR = "the-token-of-the-doors"


@pytest.fixture(scope="module")
def app(any_redis, mongo_server):
    servers = {"REDIS_URL": any_redis.url, "MONGODB_URI": mongo_server.url}
    app = application_with(**servers, DOOR_TOKEN=OF_A_DOOR)
    lift_limit(app)
    return app


@pytest.fixture(scope="module")
def short(app):
    """As it runs."""
    return Client(app.wsgi_app)


@pytest.fixture(scope="module")
def long(app):
    """All of it through Flask."""
    through_flask = functools.partial(Flask.wsgi_app, app)

    def application(environ, start_response):
        environ[CLIENT] = "198.51.100.7"
        return through_flask(environ, start_response)

    return Client(application)


@pytest.fixture
def halls(seats, bookings):
    """Two that are alike, for a call changes its hall."""
    halls = [small_hall(), small_hall()]
    for hall in halls:
        put_on_sale(seats, hall)
    return halls


DIFFERS = ("Content-Length", "ETag", "Location", "X-Accel-Expires")
"""Headers with what is different in two halls or at two moments."""

NAMES_AND_MOMENTS = (
    *("hold_id", "hold_token", "expires_at", "expires_in_ms", "revision", "version"),
    *("booking_id", "booked_at", "reference"),
)
DIFFERS_IN_BODY = rf'("(?:{"|".join(NAMES_AND_MOMENTS)})":)[^,}}]+'


def look(response, hall):
    """All that a client sees, but for names and moments and what the limiter says."""
    headers = sorted(
        (name, "" if name in DIFFERS else value)
        for name, value in response.headers
        if not name.startswith("RateLimit")
    )
    body = response.get_data(as_text=True).replace(hall.id, "EVENT")
    return response.status_code, headers, re.sub(DIFFERS_IN_BODY, r"\1X", body)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "seats/stalls-A-1/hold", {}, 201),
        ("POST", "seats/stalls-A-2/hold", {}, 409),
        ("POST", "seats/stalls-A-2/hold", {"X-Kept-Refusals": "1"}, 470),
        ("POST", "seats/nobody-A-2/hold", {}, 404),
        ("POST", "seats/st%C3%A4lls/hold", {}, 404),
        ("POST", "sections/stalls/best/2/hold", {}, 201),
        ("POST", "sections/stalls/best/0/hold", {}, 422),
        ("POST", "sections/stalls/best/two/hold", {}, 422),
        ("POST", "sections/nowhere/best/2/hold", {}, 404),
        ("GET", "seats", {}, 200),
        ("GET", "seats", {"If-None-Match": "*"}, 304),
        ("GET", "seats", {"If-None-Match": 'garbage, "17"'}, 200),
        ("HEAD", "seats", {}, 200),
        ("PUT", "seats", {}, 405),
        ("GET", "seats/", {}, 308),
        ("GET", "seats/stalls-A-1/hold", {}, 405),
    ],
)
def test_an_answer_is_the_same_with_and_without_flask(
    short, long, halls, method, path, headers, status
):
    looks = []
    for client, hall in zip((short, long), halls, strict=True):
        client.post(f"/api/events/{hall.id}/seats/stalls-A-2/hold")
        response = client.open(f"/api/events/{hall.id}/{path}", method=method, headers=headers)
        looks.append(look(response, hall))
    assert looks[0] == looks[1]
    assert looks[0][0] == status


BUYER = {"payment_method": "", "email": "ada@example.org", "name": "Ada Lovelace"}
NEVER_ENDING = "[" * 40_000
CHUNKED = {"headers": {"Transfer-Encoding": "chunked"}}


class Broken(io.RawIOBase):
    """The rest of a body that does not arrive."""

    def read(self, size=-1):
        raise OSError("the client has gone")


BODIES = [
    ({"json": {"seats": ["free-F-1", "free-F-2"]}}, {"json": BUYER}, 201),
    ({"json": {"seats": ["free-F-1"], "more": 1}}, {"json": {**BUYER, "more": 1}}, 201),
    ({"data": b'{"seats":["free-F-1"]}', "content_type": "text/html"}, {"json": BUYER}, 201),
    ({"data": b'{"seats":["free-F-1"]}', **CHUNKED}, {"data": json.dumps(BUYER), **CHUNKED}, 201),
    ({"json": {}}, {"json": {}}, 422),
    ({"json": []}, {"json": []}, 422),
    ({"json": {"seats": []}}, {"json": {**BUYER, "email": "nobody"}}, 422),
    ({"json": {"seats": [7]}}, {"json": {**BUYER, "name": 7}}, 422),
    ({"data": b""}, {"data": b""}, 422),
    ({"data": b"\xff"}, {"data": b"\xff"}, 422),
    ({"data": NEVER_ENDING}, {"data": NEVER_ENDING}, 422),
    ({"data": b" " * 65_537}, {"data": b" " * 65_537}, 413),
    ({"data": b" " * 65_537, **CHUNKED}, {"data": b" " * 65_537, **CHUNKED}, 413),
    ({"data": b"{}", "environ_overrides": {"CONTENT_LENGTH": "7"}},) * 2 + (400,),
    ({"data": b"{}", "environ_overrides": {"CONTENT_LENGTH": "-7"}},) * 2 + (422,),
    ({"environ_overrides": {"CONTENT_LENGTH": "7", "wsgi.input": Broken()}},) * 2 + (400,),
]


def headers_of(hold, options):
    """With the token of the hold and a key for a payment."""
    with_token = {"Authorization": f"Bearer {hold['hold_token']}", "Idempotency-Key": "a key"}
    return {**with_token, **options.get("headers", {})}


def call(client, hall, hold, method, path, options):
    """A call of the API about an event and a hold of it."""
    names = {**hold, "booking_id": booking_id_of(hold["hold_id"])}
    path = f"/api/events/{hall.id}{path.format(**names)}"
    options = {**options, "headers": headers_of(hold, options)}
    return client.open(path, method=method, **options)


def held(client, hall):
    return client.post(f"/api/events/{hall.id}/seats/free-F-6/hold").json


def looks(clients, halls, *calls):
    """What each client sees of the last call; both have a hold of their own."""
    seen = []
    for client, hall in zip(clients, halls, strict=True):
        hold = held(client, hall)
        for arguments in calls:
            response = call(client, hall, hold, *arguments)
        status, headers, body = look(response, hall)
        seen.append((status, headers, body.replace(hold["hold_id"], "HOLD")))
    return seen


@pytest.mark.parametrize("number", range(len(BODIES)))
@pytest.mark.parametrize("call_of", ["hold_seats", "pay"])
def test_bodies_good_and_bad_are_read_the_same_with_and_without_flask(
    short, long, halls, number, call_of
):
    of_holds, of_payments, status = BODIES[number]
    asked = {"hold_seats": ("/holds", of_holds), "pay": ("/holds/{hold_id}/pay", of_payments)}
    fast, slow = looks((short, long), halls, ("POST", *asked[call_of]))
    assert fast == slow
    assert fast[0] == status


AT_THE_DOOR = {"headers": {"Authorization": f"Bearer {OF_A_DOOR}"}}
SCAN = {"json": {"code": "no ticket", "gate": "North"}}

PAY = ("POST", "/holds/{hold_id}/pay", {"json": BUYER})
ABOUT_A_HOLD = [
    (200, ("GET", "", {})),
    (308, ("GET", "/", {})),
    (200, ("GET", "/versions/2", {})),
    (404, ("GET", "/bookings/bkg_none", {})),
    (405, ("GET", "/holds", {})),
    (405, ("PUT", "/holds", {})),
    (200, ("OPTIONS", "/holds", {})),
    (308, ("POST", "/holds/", {"json": {"seats": ["free-F-1"]}})),
    (409, ("POST", "/holds", {"json": {"seats": ["free-F-6"]}})),
    (422, ("POST", "/holds", {"json": {"seats": ["nobody-F-6"]}})),
    (200, ("GET", "/holds/{hold_id}", {})),
    (200, ("HEAD", "/holds/{hold_id}", {})),
    (200, ("OPTIONS", "/holds/{hold_id}", {})),
    (308, ("GET", "/holds/{hold_id}/", {})),
    (405, ("PUT", "/holds/{hold_id}", {})),
    (404, ("GET", "/holds/{hold_id}", {"headers": {"Authorization": ""}})),
    (404, ("GET", "/holds/{hold_id}", {"headers": {"Authorization": "Basic \xff"}})),
    (404, ("GET", "/holds/h%C3%B6ld", {})),
    (204, ("DELETE", "/holds/{hold_id}", {})),
    (404, ("DELETE", "/holds/{hold_id}", {"headers": {"Authorization": "Bearer guessed"}})),
    (200, ("POST", "/holds/{hold_id}/extend", {})),
    (404, ("GET", "/holds/{hold_id}/payments/abc", {})),
    (404, ("POST", "/holds/{hold_id}/payments/abc/cancel", {})),
    (201, PAY),
    (405, ("GET", *PAY[1:])),
    (308, ("POST", PAY[1] + "/", {"json": BUYER})),
    (404, ("POST", PAY[1] + "/now", {"json": BUYER})),
    (201, ("POST", PAY[1], {"json": {**BUYER, "return_url": "https://shop.example/back"}})),
    (422, ("POST", PAY[1], {"json": {**BUYER, "return_url": "ftp://shop.example"}})),
    (400, ("POST", PAY[1], {"json": BUYER, "headers": {"Idempotency-Key": ""}})),
    (422, ("POST", PAY[1], {"json": BUYER, "headers": {"Idempotency-Key": "k" * 256}})),
    (404, ("POST", PAY[1], {"json": BUYER, "headers": {"Authorization": "Bearer guessed"}})),
    (201, PAY, PAY),  # which is replayed
    (422, PAY, ("POST", PAY[1], {"json": {**BUYER, "name": "Eve"}})),
    (409, PAY, ("DELETE", "/holds/{hold_id}", {})),
    (200, PAY, ("GET", "/bookings/{booking_id}", {})),
    (409, ("POST", "/holds/{hold_id}/extend", {}), ("POST", "/holds/{hold_id}/extend", {})),
    (401, ("POST", "/admissions", SCAN)),
    (401, ("OPTIONS", "/admissions", {})),
    (200, ("OPTIONS", "/admissions", AT_THE_DOOR)),
    (405, ("PUT", "/admissions", AT_THE_DOOR)),
    (308, ("POST", "/admissions/", {**SCAN, **AT_THE_DOOR})),
    (422, ("POST", "/admissions", {**SCAN, **AT_THE_DOOR})),
    (422, ("POST", "/admissions", {"data": b"{", **AT_THE_DOOR})),
    (413, ("POST", "/admissions", {"data": b" " * 65_537, **AT_THE_DOOR})),
    (200, ("GET", "/admissions", AT_THE_DOOR)),
    (200, ("HEAD", "/admissions", AT_THE_DOOR)),
]


@pytest.mark.parametrize("number", range(len(ABOUT_A_HOLD)))
def test_calls_about_a_hold_are_answered_the_same_with_and_without_flask(
    short, long, halls, number
):
    status, *calls = ABOUT_A_HOLD[number]
    fast, slow = looks((short, long), halls, *calls)
    assert fast == slow
    assert fast[0] == status


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_shop_without_doors_has_no_admissions_with_and_without_flask(
    app, short, long, halls, monkeypatch, method
):
    services = app.extensions["services"]
    without = replace(services, settings=msgspec.structs.replace(services.settings, door_token=""))
    monkeypatch.setitem(app.extensions, "services", without)
    fast, slow = looks((short, long), halls, (method, "/admissions", {}))
    assert fast == slow
    assert fast[0] == 404


def test_the_list_of_events_is_the_same_with_and_without_flask(short, long, halls):
    assert [event["id"] for event in short.get("/api/events").json["events"]]
    assert short.get("/api/events").get_data() == long.get("/api/events").get_data()


def test_a_shop_that_may_not_sell_says_so_with_and_without_flask(
    app, short, long, halls, monkeypatch, caplog
):
    def fail():
        raise IndexMissing("there is no unique index")

    monkeypatch.setattr(app.extensions["services"].bookings, "require_index", fail)
    fast, slow = looks((short, long), halls, PAY)
    assert fast == slow
    assert fast[0] == 503
    assert dict(fast[1])["Retry-After"] == "30"
    assert caplog.text.count("there is no unique index") == 2


@pytest.mark.parametrize("path", ["seats", "seats/A-1/hold"])
def test_an_event_that_is_not_there_is_the_same_with_and_without_flask(short, long, path):
    method = "GET" if path == "seats" else "POST"
    first, second = (
        client.open(f"/api/events/nowhere-at-all/{path}", method=method) for client in (short, long)
    )
    assert first.status_code == second.status_code in (404, 503)
    assert first.get_data() == second.get_data()


def test_a_mistake_of_ours_is_told_and_logged_as_flask_would(app, short, caplog, monkeypatch):
    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(app.extensions["services"].box_office, "hold_seat", fail)
    response = short.post("/api/events/any/seats/any/hold", headers={"X-Request-Id": "request-17"})
    assert response.status_code == 500
    assert response.json["code"] == "internal_error"
    assert "request-17" in caplog.text
    assert "a bug" in caplog.text


def test_what_is_answered_without_flask_is_counted(app, short, halls):
    def answers() -> float:
        text = short.get("/metrics").get_data(as_text=True)
        found = re.search(
            r'^tickets_answers_total\{route="api.hold_seat",status="201"\} (\S+)',
            text,
            re.MULTILINE,
        )
        return float(found[1]) if found else 0

    before = answers()
    assert short.post(f"/api/events/{halls[0].id}/seats/stalls-A-1/hold").status_code == 201
    assert answers() == before + 1


@pytest.mark.parametrize(("method", "route"), FAST_ROUTES)
def test_a_fast_call_is_a_route_of_flask(app, method, route):
    _, endpoint, _ = route
    rule = next(rule for rule in app.url_map.iter_rules() if rule.endpoint == endpoint)
    assert method in rule.methods


def test_every_limit_of_a_fast_call_is_asked_for_before_it(app):
    """Flask-Limiter would not see the call."""
    fast = {endpoint for _, (_, endpoint, _) in FAST_ROUTES}
    limited = {
        name
        for group in vars(limiting)
        if group.startswith("ROUTES_OF_")
        for name in getattr(limiting, group)
    }
    assert "api.pay" in fast & limited
    assert fast & limited <= limiting.fast_route_limits(read_settings(REQUIRED)).keys()


@pytest.mark.parametrize(("method", "route"), FAST_ROUTES)
def test_flask_is_not_asked(app, short, method, route, monkeypatch):
    _, endpoint, _ = route
    rule = next(rule for rule in app.url_map.iter_rules() if rule.endpoint == endpoint)
    monkeypatch.setattr(app, "full_dispatch_request", None)
    response = short.open(re.sub(r"<\w+>", "nobody", rule.rule), method=method)
    assert response.status_code in (200, 400, 401, 404, 422, 503)
