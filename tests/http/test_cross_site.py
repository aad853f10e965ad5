"""What pages of other websites send is refused before anything else is done with it, by nginx and
by the application alike, and origins that may call the API get what CORS needs."""

import time
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from ops.nginx.problems import CROSS_SITE_REQUEST
from ops.servers import Nginx
from sidecar.settings import BadSettings
from tests.support.application import REQUIRED, application_with
from tests.support.behind_nginx import (
    KEEPING_S,
    Upstream,
    ask,
    ask_in_turn,
    assert_problem,
    local_nginx,
    wait_for_time,
)
from tests.support.cross_site_requests import (
    ALLOWED,
    BEST,
    EVENTS,
    EVIL,
    HOLD,
    HOST,
    PAGE,
    REFUSED,
    TAKEN,
    Sent,
)
from tests.support.factories import unique
from web.http import cross_site
from web.http.edge import KEPT_STATUS
from web.origins import parse_origins
from web.settings import read_settings

BOTH = f"{ALLOWED}, http://localhost:3000"


@pytest.fixture(scope="module")
def nginx(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    origins = parse_origins(BOTH)
    with local_nginx(folder, upstream.address, allowed_origins=origins) as nginx:
        yield nginx


@pytest.fixture(scope="module")
def client(any_redis, mongo_server) -> FlaskClient:
    """Of the application alone."""
    settings = {"REDIS_URL": any_redis.url, "MONGODB_URI": mongo_server.url}
    return application_with(ALLOWED_ORIGINS=BOTH, **settings).test_client()


def through_nginx(nginx: Nginx, sent: Sent):
    return ask(nginx.port, sent.method, sent.path, **sent.headers)


def to_the_application(client: FlaskClient, sent: Sent):
    return client.open(sent.path, method=sent.method, headers=sent.headers)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("sent", REFUSED, ids=str)
def test_nginx_refuses_what_another_website_sends_and_asks_nobody(nginx, upstream, sent):
    upstream.received = []
    assert_problem(through_nginx(nginx, sent), 403, "cross_site_request")
    assert upstream.received == []


@pytest.mark.parametrize("sent", REFUSED, ids=str)
def test_the_application_refuses_the_same(client, sent):
    answer = to_the_application(client, sent)
    assert (answer.status_code, answer.json["code"]) == (403, "cross_site_request")


@pytest.mark.parametrize("sent", TAKEN, ids=str)
def test_nginx_takes_what_our_pages_programs_and_allowed_origins_send(nginx, sent):
    assert through_nginx(nginx, sent).status in (200, 404)


@pytest.mark.parametrize("sent", TAKEN, ids=str)
def test_the_application_takes_the_same(client, sent):
    answer = to_the_application(client, sent)
    assert b"cross_site_request" not in answer.data


def test_nginx_has_the_applications_words():
    ours = CROSS_SITE_REQUEST
    assert ours.body.encode() == cross_site.REFUSED.api_response().body
    assert (ours.status, ours.code) == (cross_site.REFUSED.status, cross_site.REFUSED.code)


def test_without_the_setting_no_origin_is_allowed(upstream, tmp_path, any_redis):
    sent = Sent("POST", HOLD, "cross-site", "cors", "empty", ALLOWED)
    with local_nginx(tmp_path, upstream.address) as nginx:
        assert_problem(through_nginx(nginx, sent), 403, "cross_site_request")
        readable = ask(nginx.port, "GET", EVENTS, Origin=ALLOWED)
        assert readable.status == 200
        assert "Access-Control-Allow-Origin" not in readable.headers
    client = application_with(REDIS_URL=any_redis.url).test_client()
    assert to_the_application(client, sent).status_code == 403


# ---------------------------------------------------------------- whose limit it is


def test_a_refusal_costs_the_visitor_none_of_its_requests(client, nginx):
    evil = Sent("POST", HOLD, "cross-site", "no-cors", "empty", EVIL)
    visitor = {"X-Forwarded-For": "203.0.113.66"}
    for _ in range(30):
        answer = client.post(HOLD, headers=evil.headers | visitor)
        assert answer.status_code == 403
        assert "RateLimit" not in answer.headers
    own = client.post(HOLD, headers=visitor)
    assert own.headers["RateLimit"].startswith('"client";r=9;')

    for _ in range(300):
        assert through_nginx(nginx, evil).status == 403
    assert ask(nginx.port, "GET", PAGE).status == 200


def test_a_preflight_costs_none_either(client, nginx, upstream):
    headers = {"Host": HOST, "Origin": ALLOWED, "Access-Control-Request-Method": "POST"}
    upstream.received = []
    for _ in range(30):
        assert client.options(HOLD, headers=headers).status_code == 204
        assert ask(nginx.port, "OPTIONS", HOLD, **headers).status == 204
    assert upstream.received == []
    own = client.get(EVENTS, headers={"X-Forwarded-For": "203.0.113.77"})
    assert own.headers["RateLimit"].startswith('"client";r=9;')


@pytest.mark.parametrize("path", [HOLD, BEST])
def test_a_kept_refusal_is_no_answer_to_another_website(nginx, upstream, path):
    path = path.replace("/e/", f"/{unique('event')}/")
    with upstream.replying(KEPT_STATUS) as received:
        (kept,) = ask_in_turn(nginx.port, ("POST", path))
        assert kept.status == 409
        evil = ask(nginx.port, "POST", path, Origin=EVIL, Sec_Fetch_Site="cross-site")
    assert_problem(evil, 403, "cross_site_request")
    assert len(received) == 1


# ---------------------------------------------------------------- CORS


def allowed_origin(answer) -> str | None:
    return answer.headers.get("Access-Control-Allow-Origin")


def varies(answer) -> set[str]:
    headers = answer.headers
    lines = headers.getlist("Vary") if hasattr(headers, "getlist") else headers.get_all("Vary", [])
    return {name.strip() for line in lines for name in line.split(",")}


PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "cors",
}


def test_a_preflight_says_what_an_allowed_origin_may_send(client, nginx):
    headers = {"Origin": ALLOWED, **PREFLIGHT}
    for answer in (
        ask(nginx.port, "OPTIONS", HOLD, **headers),
        client.options(HOLD, headers=headers),
    ):
        said = answer.headers
        assert allowed_origin(answer) == ALLOWED
        assert said["Access-Control-Allow-Methods"] == "GET, HEAD, POST, DELETE"
        for name in ("Authorization", "Content-Type", "Idempotency-Key"):
            assert name in said["Access-Control-Allow-Headers"].split(", ")
        assert int(said["Access-Control-Max-Age"]) > 60
        assert "Access-Control-Allow-Credentials" not in said
        assert varies(answer) == {"Origin"}
        assert "Content-Length" not in said


@pytest.mark.parametrize("origin", ["http://localhost:3000", ALLOWED])
def test_an_answer_names_the_origin_that_asked_and_no_other(client, nginx, origin):
    for answer in (
        ask(nginx.port, "GET", EVENTS, Origin=origin),
        client.get(EVENTS, headers={"Origin": origin}),
    ):
        assert allowed_origin(answer) == origin
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"Retry-After", "RateLimit", "RateLimit-Policy", "Location", "ETag"} <= set(exposed)
        assert "Idempotent-Replayed" in exposed


@pytest.mark.parametrize("origin", [EVIL, "null", None, f"{ALLOWED}:8443", ALLOWED.upper()])
def test_others_get_no_header_that_lets_them_read(client, origin):
    headers = {"Origin": origin} if origin else {}
    answer = client.get(EVENTS, headers=headers)
    assert allowed_origin(answer) is None
    # Or a cache would give this answer to an allowed origin.
    assert "Origin" in varies(answer)


def test_nginx_says_itself_who_may_read_whatever_the_application_says(nginx, upstream):
    theirs = {"Access-Control-Allow-Origin": "https://other.example", "Vary": "Origin"}
    with upstream.replying(200, lambda: theirs):
        assert allowed_origin(ask(nginx.port, "GET", EVENTS)) is None
        answer = ask(nginx.port, "GET", EVENTS, Origin=ALLOWED)
    assert answer.headers.get_all("Access-Control-Allow-Origin") == [ALLOWED]


@pytest.mark.parametrize(
    ("method", "path", "status", "headers"),
    [
        ("POST", "seats/stalls-A-1/hold", KEPT_STATUS, {}),
        ("POST", "sections/stalls/best/2/hold", KEPT_STATUS, {}),
        ("GET", "versions/0123456789abcdef", 200, {"Cache-Control": "public, max-age=600"}),
        ("GET", "seats", 200, {}),
    ],
    ids=["a seat", "the best", "the definition", "the map"],
)
def test_what_nginx_keeps_is_read_by_each_allowed_origin_and_by_no_other(
    nginx, upstream, method, path, status, headers
):
    path = f"/api/events/{unique('event')}/{path}"
    askers = [None, ALLOWED, "http://localhost:3000", None]
    answers = []
    wait_for_time(0.7)
    with upstream.replying(status, lambda: {"Vary": "Origin", **headers}) as received:
        for origin in askers:
            named = {"Origin": origin} if origin else {}
            answers.append(ask(nginx.port, method, path, Cache_Control="max-age=1", **named))
            time.sleep(KEEPING_S)
    assert len(received) == 1, "kept"
    assert [allowed_origin(answer) for answer in answers] == askers
    for answer in answers:
        assert "Origin" in varies(answer)


def test_nginxs_own_refusals_can_be_read_by_an_allowed_origin(nginx):
    large = ask(nginx.port, "POST", f"{EVENTS}/e/holds", b"x" * 70_000, Origin=ALLOWED)
    away = ask(nginx.port, "GET", "/dropped/api", Origin=ALLOWED)
    assert (large.status, allowed_origin(large)) == (413, ALLOWED)
    # Not of the API.
    assert (away.status, allowed_origin(away)) == (503, None)
    # Any of them: where the machine pauses, the limit has room for the last one again.
    flood = (ask(nginx.port, "GET", EVENTS, Origin=ALLOWED) for _ in range(3000))
    refused = next(answer for answer in flood if answer.status == 429)
    assert allowed_origin(refused) == ALLOWED
    assert "Retry-After" in refused.headers["Access-Control-Expose-Headers"]


def test_the_way_to_the_plain_spelling_can_be_read_by_an_allowed_origin(nginx):
    led = ask(nginx.port, "GET", "/%61pi/events", Origin=ALLOWED)
    assert (led.status, led.headers["Location"]) == (308, EVENTS)
    assert allowed_origin(led) == ALLOWED
    assert varies(led) == {"Origin"}
    assert allowed_origin(ask(nginx.port, "GET", "/%61pi/events", Origin=EVIL)) is None


def test_the_limit_of_the_application_can_be_read_by_an_allowed_origin(client):
    headers = {"Origin": ALLOWED, "X-Forwarded-For": "203.0.113.99"}
    answers = [client.get(f"{EVENTS}/e/seats", headers=headers) for _ in range(50)]
    assert 429 in {answer.status_code for answer in answers}
    assert {allowed_origin(answer) for answer in answers} == {ALLOWED}


def test_pages_are_not_for_other_origins(client, nginx):
    assert allowed_origin(client.get("/", headers={"Origin": ALLOWED})) is None
    assert allowed_origin(ask(nginx.port, "GET", "/", Origin=ALLOWED)) is None


# ---------------------------------------------------------------- the setting


@pytest.mark.parametrize(
    ("given", "origins"),
    [
        ("", ()),
        (" , ", ()),
        ("https://shop.example", ("https://shop.example",)),
        ("https://a.example,http://localhost:3000", ("https://a.example", "http://localhost:3000")),
        ("https://a.example, https://a.example", ("https://a.example",)),
        # As browsers write them.
        ("HTTPS://Shop.Example:443", ("https://shop.example",)),
        ("http://shop.example:80", ("http://shop.example",)),
        ("https://[2001:DB8:0::1]:8443", ("https://[2001:db8::1]:8443",)),
        ("http://127.0.0.1:5173", ("http://127.0.0.1:5173",)),
    ],
)
def test_origins_are_read_as_browsers_write_them(given, origins):
    assert parse_origins(given) == origins


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("*", "has a wildcard"),
        ("https://*.example.org", "has a wildcard"),
        ("null", "anybody's"),
        ("shop.example", "has no scheme; give https://shop.example"),
        ("https://shop.example/", "has a slash at its end; give https://shop.example"),
        ("https://shop.example/checkout", "a path or more after the host; give https://shop.ex"),
        ("https://shop.example?a=1", "a path or more after the host; give https://shop.ex"),
        ("ftp://shop.example", "must begin with https:// or http://"),
        ("https://", "has no host"),
        ("https://:443", "has no host"),
        ("https://ada@shop.example", "has a user name"),
        ("https://shop.example:0", "must have a port from 1 to 65535"),
        ("https://shop.example:https", "must have a port from 1 to 65535"),
        ("https://a.example https://b.example", "is more than one origin"),
        ("https://bücher.example", "xn--bcher-kva"),
        ("https://1.2.3", "no IPv4 address"),
        ("https://[::g]", "no IPv6 address"),
        (
            "https://a.example; https://b.example",
            "is more than one origin; put a comma between them",
        ),
        ("https://it's.example", "which is no host"),
    ],
)
def test_a_wrong_origin_is_explained_in_a_line_at_the_start(given, says):
    with pytest.raises(BadSettings) as refused:
        read_settings(REQUIRED | {"ALLOWED_ORIGINS": given})
    line = str(refused.value)
    assert line.startswith(f"ALLOWED_ORIGINS: {given!r} ")
    assert says in line
    assert "\n" not in line
