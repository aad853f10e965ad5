"""The fast path before Flask: it changes how long a response takes, and nothing else."""

import functools
import re

import pytest
from flask import Flask
from werkzeug.test import Client, create_environ

from tests.support.application import application_with
from tests.support.factories import put_on_sale, small_hall
from tests.support.no_limit import lift_limit
from web.api.routes import fast_path as fast_api
from web.http import rate_limits as limiting
from web.http.health import fast_path as fast_health
from web.http.responses import CLIENT

FAST_ROUTES = [
    (method, route)
    for fast_path in (fast_api, fast_health)
    for method, routes in fast_path._routes.items()
    for route in routes
]


@pytest.fixture(scope="module")
def app(any_redis, mongo_server):
    app = application_with(REDIS_URL=any_redis.url, MONGODB_URI=mongo_server.url)
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
def halls(seats):
    """Two that are alike, for a call changes its hall."""
    halls = [small_hall(), small_hall()]
    for hall in halls:
        put_on_sale(seats, hall)
    return halls


DIFFERS = ("Content-Length", "ETag", "Location", "X-Accel-Expires")
"""Headers with what is different in two halls or at two moments."""

DIFFERS_IN_BODY = r'("(?:hold_id|hold_token|expires_at|expires_in_ms|revision|version)":)[^,}]+'


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
def test_a_hot_call_is_a_route_of_flask_and_has_no_limit_of_its_own(app, method, route):
    """Flask-Limiter would not see it."""
    _, endpoint, _ = route
    rule = next(rule for rule in app.url_map.iter_rules() if rule.endpoint == endpoint)
    assert method in rule.methods
    limited = {
        name
        for group in vars(limiting)
        if group.startswith("ROUTES_OF_")
        for name in getattr(limiting, group)
    }
    assert endpoint not in limited


def test_flask_is_not_asked(app, halls, monkeypatch):
    monkeypatch.setattr(app, "full_dispatch_request", None)
    path = f"/api/events/{halls[0].id}/seats/stalls-A-1/hold"
    environ = create_environ(path, method="POST")
    statuses = []
    app.wsgi_app(environ, lambda status, headers, exc_info=None: statuses.append(status))
    assert statuses == ["201 Created"]
