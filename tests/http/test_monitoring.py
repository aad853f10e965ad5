"""Metrics and readiness are for operators only, and stay cheap however often they are requested."""

import threading
import time
from dataclasses import dataclass

import pytest
import redis
import requests
from flask.testing import FlaskClient

from ops.processes import free_port
from ops.servers import Redis
from tests.support.application import application_with
from tests.support.booking_stores import bookings_at
from tests.support.factories import unique
from tests.support.http_client import PROBLEM_TYPE, TIMEOUT_S, Client, assert_problem

TOKEN = "the-token-of-Prometheus"
PATHS = ["/metrics", "/readyz"]
STRANGER = "203.0.113.7"


@dataclass
class Service:
    """The application in this process, asked straight from ``peer``: no nginx is in front."""

    http: FlaskClient

    def ask(self, path: str, peer: str = STRANGER, **headers: str):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.get(path, headers=named, environ_base={"REMOTE_ADDR": peer})


@pytest.fixture
def service_with(any_redis, mongo_server, bookings):
    def make(**settings: str) -> Service:
        servers = {"REDIS_URL": any_redis.url, "MONGODB_URI": mongo_server.url}
        app = application_with(**servers | settings)
        app.extensions["services"].catalogue.add(())
        return Service(app.test_client())

    return make


def assert_hidden(answer) -> None:
    assert (answer.status_code, answer.mimetype) == (404, PROBLEM_TYPE)
    assert answer.json["code"] == "not_found"
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("path", PATHS)
def test_nobody_from_elsewhere_sees_them(service_with, path):
    service = service_with()
    for peer in (STRANGER, "10.1.2.3", "192.168.1.1", "2001:db8::1", "fd00::1"):
        assert_hidden(service.ask(path, peer))
        assert_hidden(service.ask(path, peer, Authorization="Bearer "))
        assert_hidden(service.ask(path, peer, Authorization=f"Bearer {TOKEN}"))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", ""])
def test_this_host_sees_them(service_with, path, peer):
    assert service_with().ask(path, peer).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_it_is_the_client_who_counts_and_not_the_proxy_in_front(service_with, path):
    service = service_with(TRUSTED_PROXIES="heroku,loopback", MONITORING_NETWORKS="192.0.2.0/24")
    router = "10.1.2.3"
    assert_hidden(service.ask(path, router, X_Forwarded_For=STRANGER))
    assert_hidden(service.ask(path, "", X_Forwarded_For=STRANGER))
    assert_hidden(service.ask(path, "127.0.0.1", X_Forwarded_For=STRANGER))
    assert service.ask(path, router, X_Forwarded_For="192.0.2.9").status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("invented", ["127.0.0.1", "::1", "192.0.2.9", "", "localhost", "127.1"])
def test_no_header_makes_an_insider(service_with, path, invented):
    service = service_with(TRUSTED_PROXIES="heroku", MONITORING_NETWORKS="192.0.2.0/24")
    headers = {"Forwarded": f"for={invented}", "X_Real_IP": invented, "Host": "127.0.0.1"}
    assert_hidden(service.ask(path, STRANGER, X_Forwarded_For=invented, **headers))
    through_router = f"{invented}, {STRANGER}"
    assert_hidden(service.ask(path, "10.1.2.3", X_Forwarded_For=through_router, **headers))


@pytest.mark.parametrize("path", PATHS)
def test_trusted_networks_see_them(service_with, path):
    service = service_with(MONITORING_NETWORKS="private, 198.51.100.7, 2001:db8:1:2::5")
    for peer in ("10.1.2.3", "fd00::1", "198.51.100.7", "2001:db8:1:2::5", "127.0.0.1"):
        assert service.ask(path, peer).status_code == 200
    for peer in ("198.51.100.8", "2001:db8:1:2::6"):  # of one /64, which is one client elsewhere
        assert_hidden(service.ask(path, peer))


@pytest.mark.parametrize("path", PATHS)
def test_the_token_opens_them_from_anywhere(service_with, path):
    service = service_with(MONITORING_TOKEN=TOKEN)
    for scheme in ("Bearer", "bearer"):
        assert service.ask(path, Authorization=f"{scheme} {TOKEN}").status_code == 200
    assert_hidden(service.ask(path))


@pytest.mark.parametrize(
    "wrong",
    ["Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "\xe9", ""],
)
def test_a_wrong_token_is_told_to_be_wrong(service_with, wrong):
    service = service_with(MONITORING_TOKEN=TOKEN)
    answer = service.ask("/metrics", Authorization=wrong)
    assert (answer.status_code, answer.mimetype) == (401, PROBLEM_TYPE)
    assert answer.json["code"] == "invalid_token"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert service.ask("/metrics", "127.0.0.1", Authorization=wrong).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_who_is_refused_counts_like_everybody_and_who_is_not_is_not_limited(service_with, path):
    service = service_with(RATE_LIMIT="3/hour", MONITORING_TOKEN=TOKEN)
    guesses = [service.ask(path, Authorization=f"Bearer guess-{n}") for n in range(5)]
    assert [answer.status_code for answer in guesses] == [401, 401, 401, 429, 429]
    for peer, headers in (
        ("127.0.0.1", {}),
        (STRANGER, {"Authorization": f"Bearer {TOKEN}"}),
    ):
        assert {service.ask(path, peer, **headers).status_code for _ in range(5)} == {200}


def test_the_address_alone_is_not_known_from_a_page_that_is_not_there(service_with):
    service = service_with()
    assert service.ask("/metrics").json == service.ask("/nothing").json
    assert b"<h1" in service.ask("/metrics", Accept="text/html").data


def test_a_running_service_without_nginx_is_shut_too(stack, event):
    outside = Client(stack.web_url, event.id)
    for path in PATHS:
        assert_problem(outside.call("GET", path), 404, "not_found")
        assert requests.get(stack.web_url + path, timeout=TIMEOUT_S).status_code == 200


# ---------------------------------------------------------------- what it costs


@pytest.fixture
def own_redis(tmp_path):
    """Killed here, so of this test's own."""
    with Redis(tmp_path / "redis", tmp_path / "redis.log", free_port()) as server:
        yield server


def test_a_crowd_that_asks_whether_it_is_ready_asks_redis_once_a_second(own_redis, service_with):
    service = service_with(REDIS_URL=own_redis.url)
    assert service.ask("/readyz", "127.0.0.1").status_code == 200
    with redis.Redis(port=own_redis.port) as raw:
        began_s, before = time.monotonic(), raw.info("stats")["total_commands_processed"]
        statuses = []

        def ask():
            http = service.http.application.test_client()
            for _ in range(50):
                statuses.append(http.get("/readyz").status_code)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - began_s
        asked = raw.info("stats")["total_commands_processed"] - before - 1
    assert statuses == [200] * 400
    assert asked <= 3 * (seconds + 1), "not once for each who asks"


def test_an_outage_shows_within_two_seconds_and_so_does_its_end(own_redis, service_with):
    service = service_with(REDIS_URL=own_redis.url)
    assert service.ask("/readyz", "127.0.0.1").status_code == 200
    own_redis.kill()
    assert answers_within(service, 503, 2.0).json["code"] == "unavailable"
    own_redis.start()
    answers_within(service, 200, 2.0)


def answers_within(service: Service, status: int, seconds: float):
    deadline_s = time.monotonic() + seconds
    while True:
        answer = service.ask("/readyz", "127.0.0.1")
        if answer.status_code == status:
            return answer
        assert time.monotonic() < deadline_s, answer.text
        time.sleep(0.05)


def test_a_host_that_reaches_no_mongodb_at_all_is_not_ready(service_with):
    service = service_with(MONGODB_URI=f"mongodb://127.0.0.1:{free_port()}/tickets")
    answer = service.ask("/readyz", "127.0.0.1")
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")


def test_a_host_whose_mongodb_has_no_unique_index_is_not_ready(mongo_server, service_with):
    url = mongo_server.url.replace("/tickets", f"/{unique('without_index')}")
    service = service_with(MONGODB_URI=url)
    assert service.ask("/readyz", "127.0.0.1").status_code == 503
    bookings_at(url).create_indexes()
    answers_within(service, 200, 2.0)
