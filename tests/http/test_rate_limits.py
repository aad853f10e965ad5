"""The rate limits in the application; the sidecar has its own tests."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests
from flask.testing import FlaskClient
from limits.errors import ConfigurationError
from limits.storage import storage_from_string
from prometheus_client import REGISTRY

from sidecar.client import LimiterClient
from sidecar.limits_storage import SidecarStorage
from sidecar.settings import parse_rate
from tests.support.application import application_with
from tests.support.factories import put_on_sale, small_hall, unique
from tests.support.http_client import PROBLEM_TYPE, TIMEOUT_S, Client
from web.http import rate_limits
from web.http.rate_limits import CODE

CARD = {"email": "ada@example.org", "name": "Ada"}


@pytest.fixture
def environ(any_redis, mongo_server, sandbox, bookings) -> dict[str, str]:
    return {
        "STRIPE_API_BASE": sandbox.url,
        "REDIS_URL": any_redis.url,
        "MONGODB_URI": mongo_server.url,
    }


class Buyer:
    """Calls the application in this process; the worker counts alone, there is no sidecar."""

    def __init__(self, environ: dict[str, str], event_id: str, **settings: str):
        app = application_with(**environ | settings)
        self._http: FlaskClient = app.test_client()
        self._path = f"/api/events/{event_id}"
        self.address = "203.0.113.7"

    def ask(self, method: str, path: str, token: str = "", **options):
        if not path.startswith("/"):
            path = f"{self._path}/{path}"
        headers = {"X-Forwarded-For": self.address, "Authorization": f"Bearer {token}"}
        headers |= options.pop("headers", {})
        return self._http.open(path, method=method, headers=headers, **options)

    def pay(self, hold: dict, key: str, method: str = "pm_card_visa"):
        return self.ask(
            "POST",
            f"holds/{hold['hold_id']}/pay",
            hold["hold_token"],
            json=CARD | {"payment_method": method},
            headers={"Idempotency-Key": key},
        )


@pytest.fixture
def buyer_with(environ, event):
    return lambda **settings: Buyer(environ, event.id, **settings)


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


def assert_limited(answer, name: str, limit: int, window_s: int) -> None:
    assert (answer.status_code, answer.mimetype) == (429, PROBLEM_TYPE)
    assert answer.json["code"] == "rate_limited"
    wait_s = int(answer.headers["Retry-After"])
    assert 0 < wait_s <= window_s
    assert f'"{name}";q={limit};w={window_s}' in answer.headers.getlist("RateLimit-Policy")
    assert f'"{name}";r=0;t={wait_s}' in answer.headers.getlist("RateLimit")
    assert f"{wait_s} s" in answer.json["detail"]


# ---------------------------------------------------------------- all requests of a client


def test_no_url_is_outside_the_limit(buyer_with):
    buyer = buyer_with(RATE_LIMIT="5/hour")
    asked = [
        ("GET", "/nothing", 404),
        ("GET", "/healthy", 404),
        ("GET", "/static/nothing", 404),
        ("PUT", "/api/events", 405),
        ("GET", "seats", 200),
    ]
    for left, (method, path, status) in zip(range(4, -1, -1), asked, strict=True):
        answer = buyer.ask(method, path)
        assert answer.status_code == status
        assert answer.headers["RateLimit-Policy"] == '"client";q=5;w=3600'
        assert re.fullmatch(rf'"client";r={left};t=\d+', answer.headers["RateLimit"])
    for method, path, _ in asked:
        assert_limited(buyer.ask(method, path), "client", 5, 3600)


def test_another_client_has_a_limit_of_its_own(buyer_with):
    buyer = buyer_with(RATE_LIMIT="1/hour")
    assert [buyer.ask("GET", "seats").status_code for _ in range(2)] == [200, 429]
    buyer.address = "203.0.113.8"
    assert buyer.ask("GET", "seats").status_code == 200


def test_flask_never_hears_of_a_request_beyond_the_limit(buyer_with):
    buyer = buyer_with(RATE_LIMIT="1/hour")
    buyer.ask("GET", "seats")
    answers = "tickets_answers_total"
    seen = sample(answers, route="api.show_seats", status="200")
    refused = sample("tickets_refusals_total", code="rate_limited")
    assert buyer.ask("GET", "seats").status_code == 429
    assert sample(answers, route="api.show_seats", status="200") == seen
    assert sample(answers, route="api.show_seats", status="429") == 0
    assert sample("tickets_refusals_total", code="rate_limited") == refused + 1


def test_a_balancer_that_asks_whether_the_process_answers_is_not_limited(buyer_with):
    buyer = buyer_with(RATE_LIMIT="1/hour")
    assert [buyer.ask("GET", "/healthz").status_code for _ in range(3)] == [200] * 3


# ---------------------------------------------------------------- single routes


def test_attempts_to_pay_have_a_limit_of_their_own(buyer_with):
    buyer = buyer_with(RATE_LIMIT_PAYMENTS="3/hour")
    hold = buyer.ask("POST", "seats/stalls-A-1/hold").json
    statuses = [
        buyer.pay(hold, key, card).status_code
        for key, card in [("a", "pm_card_visa_chargeDeclined"), ("b", "pm_card_visa"), ("b", "")]
    ]
    assert statuses == [402, 201, 422]
    assert_limited(buyer.pay(hold, "b"), "payments", 3, 3600)
    assert buyer.ask("GET", f"holds/{hold['hold_id']}", hold["hold_token"]).status_code == 200


def test_calls_with_a_token_share_a_limit_whether_the_token_is_right_or_not(buyer_with):
    buyer = buyer_with(RATE_LIMIT_LOOKUPS="5/hour", RATE_LIMIT="100/second")
    hold = buyer.ask("POST", "seats/stalls-A-1/hold").json
    path, token = f"holds/{hold['hold_id']}", hold["hold_token"]
    lookups = [
        ("GET", path, token, 200),
        ("GET", path, "guessed", 404),
        ("DELETE", path, "guessed", 404),
        ("GET", "bookings/bkg_1", "guessed", 404),
        ("POST", f"{path}/payments/abc/cancel", "guessed", 404),
    ]
    for method, where, given, status in lookups:
        assert buyer.ask(method, where, given).status_code == status
    assert_limited(buyer.ask("GET", f"{path}/payments/abc", token), "lookups", 5, 3600)
    for method, where, given, _ in lookups:
        assert_limited(buyer.ask(method, where, given), "lookups", 5, 3600)
    page = f"{buyer._path.removeprefix('/api')}/{path}/return"
    assert buyer.ask("GET", page).status_code == 429, "it may cost a call to the payment gateway"
    assert buyer.ask("POST", "seats/stalls-A-2/hold").status_code == 201
    buyer.address = "203.0.113.8"
    assert buyer.ask("GET", path, token).status_code == 200


NO_HOLD = {"hold_id": "hld_1", "hold_token": "guessed"}
NO_ASCII = {"hold_id": "h%C3%B6ld", "hold_token": "guessed"}
"""Of no hold. Flask serves paths with other characters, and Flask-Limiter has their limits."""


def left_of_payments(buyer: Buyer, limit: int) -> int:
    limiter = buyer._http.application.extensions["services"].limiter
    key = f"LIMITER/{buyer.address}/payments/{limit}/1/hour"
    return limiter.peek(key, parse_rate(f"{limit}/hour")).remaining


def test_what_the_clients_own_limit_refuses_does_not_count_for_the_route(buyer_with):
    buyer = buyer_with(RATE_LIMIT="2/hour", RATE_LIMIT_PAYMENTS="5/hour")
    answers = [buyer.pay(NO_HOLD, "key") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 429, 429]
    assert_limited(answers[-1], "client", 2, 3600)
    assert left_of_payments(buyer, 5) == 3


def test_what_the_route_refuses_has_counted_for_the_client(buyer_with):
    buyer = buyer_with(RATE_LIMIT="4/hour", RATE_LIMIT_PAYMENTS="1/hour")
    answers = [buyer.pay(NO_HOLD, "key") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [404, 429, 429, 429, 429]
    assert answers[0].headers.getlist("RateLimit-Policy") == ['"client";q=4;w=3600']
    for left, answer in zip((2, 1, 0), answers[1:4], strict=True):
        assert_limited(answer, "payments", 1, 3600)
        _, of_client = answer.headers.getlist("RateLimit")
        assert re.fullmatch(rf'"client";r={left};t=\d+', of_client)
    assert_limited(answers[4], "client", 4, 3600)


def test_a_limit_is_one_whether_flask_serves_the_request_or_not(buyer_with):
    """And so is what a refused client sees."""
    buyer = buyer_with(RATE_LIMIT_PAYMENTS="2/hour")
    statuses = [buyer.pay(hold, "key").status_code for hold in (NO_HOLD, NO_ASCII)]
    assert statuses == [404, 404]
    looks = []
    for hold in (NO_HOLD, NO_ASCII):
        refused = buyer.pay(hold, "key")
        assert_limited(refused, "payments", 2, 3600)
        seen = str([sorted(refused.headers), refused.json])
        looks.append(re.sub(r"(?<=r=)\d|\b\d{4}\b", "N", seen))
    assert looks[0] == looks[1]


def test_a_call_through_flask_counts_for_its_own_limit_only(buyer_with):
    buyer = buyer_with(RATE_LIMIT_PAYMENTS="3/hour", RATE_LIMIT_LOOKUPS="2/hour")
    path = "holds/h%C3%B6ld"
    assert [buyer.ask("HEAD", path).status_code for _ in range(3)] == [404, 404, 429]
    assert left_of_payments(buyer, 3) == 3
    assert buyer.pay(NO_ASCII, "key").status_code == 404
    assert left_of_payments(buyer, 3) == 2


@pytest.mark.parametrize(
    ("hold", "host", "status"),
    [
        (NO_HOLD, "not a host", 400),
        ({**NO_HOLD, "hold_id": "hld%5F1"}, "tickets.example", 308),
        ({**NO_HOLD, "hold_id": "."}, "tickets.example", 404),
    ],
)
def test_what_never_comes_to_a_route_does_not_count_for_it(buyer_with, hold, host, status):
    buyer = buyer_with(RATE_LIMIT_PAYMENTS="3/hour")
    path = f"holds/{hold['hold_id']}/pay"
    for _ in range(4):
        assert buyer.ask("POST", path, headers={"Host": host}).status_code == status
    assert left_of_payments(buyer, 3) == 3


def test_a_refusal_of_a_route_shows_in_the_metrics(buyer_with):
    buyer = buyer_with(RATE_LIMIT_PAYMENTS="1/hour")
    buyer.pay(NO_HOLD, "key")
    names = ("tickets_answers_total", {"route": "api.pay", "status": "429"})
    answers, refusals = sample(names[0], **names[1]), sample("tickets_refusals_total", code=CODE)
    assert buyer.pay(NO_HOLD, "key").status_code == 429
    assert sample(names[0], **names[1]) == answers + 1
    assert sample("tickets_refusals_total", code=CODE) == refusals + 1


def test_every_form_has_a_limit_of_its_own():
    forms = {
        rule.endpoint
        for rule in application_with().url_map.iter_rules()
        if rule.endpoint.startswith("pages.") and "POST" in rule.methods
    }
    assert "pages.hold_best" in forms
    limited = (
        *rate_limits.ROUTES_OF_FORMS,
        *rate_limits.ROUTES_OF_LOGINS,
        *rate_limits.ROUTES_OF_PAYMENTS,
    )
    assert forms - set(limited) == set()


def test_routes_without_a_limit_of_their_own_pay_nothing_for_those_that_have_one(buyer_with):
    app = buyer_with()._http.application
    hooks = [*app.before_request_funcs[None], *app.after_request_funcs[None]]
    assert hooks and not any("flask_limiter" in str(hook) for hook in hooks)
    assert not app.teardown_request_funcs


# ---------------------------------------------------------------- the storage of Flask-Limiter


@pytest.fixture
def storage() -> SidecarStorage:
    return storage_from_string("sidecar://", limiter=LimiterClient(""))


def test_the_storage_tells_when_the_window_began_and_what_is_in_it(storage):
    key = unique("key")
    began_s, entries = storage.get_moving_window(key, 2, 60)
    assert entries == 0 and began_s == pytest.approx(time.time(), abs=5)
    assert [storage.acquire_entry(key, 2, 60) for _ in range(3)] == [True, True, False]
    for _ in range(2):
        began_s, entries = storage.get_moving_window(key, 2, 60)
        assert entries == 2 and began_s == pytest.approx(time.time(), abs=5)


def test_the_storage_refuses_strategies_that_are_not_exact(storage):
    for call in (
        lambda: storage.incr("key", 60),
        lambda: storage.get("key"),
        lambda: storage.get_expiry("key"),
    ):
        with pytest.raises(ConfigurationError, match="moving-window"):
            call()


def test_the_storage_is_well_while_the_limiter_answers(storage):
    storage.acquire_entry("key", 10, 60)
    assert not storage.check(), "nobody answers here"


# ---------------------------------------------------------------- what nginx may repeat


def second_of(answer) -> int:
    return int(answer.headers["X-Accel-Expires"].removeprefix("@"))


def test_a_refusal_that_everybody_would_get_may_be_repeated_for_this_second(buyer_with):
    buyer = buyer_with()
    held = buyer.ask("POST", "seats/stalls-A-1/hold")
    assert held.status_code == 201 and "X-Accel-Expires" not in held.headers
    before_s = int(time.time())
    taken = buyer.ask("POST", "seats/stalls-A-1/hold")
    assert (taken.status_code, taken.json["code"]) == (409, "seat_taken")
    for address in ("203.0.113.8", "203.0.113.9"):
        buyer.address = address
        assert buyer.ask("POST", "sections/floor/best/6/hold").status_code == 201
    gone = buyer.ask("POST", "sections/floor/best/2/hold")
    assert (gone.status_code, gone.json["code"]) == (409, "sold_out")
    for answer in (taken, gone):
        assert before_s <= second_of(answer) <= int(time.time())


def test_a_sale_that_is_not_open_may_be_repeated_too(environ, seats):
    hall = small_hall(sale_opens_at=datetime.now(UTC) + timedelta(hours=1))
    put_on_sale(seats, hall)
    early = Buyer(environ, hall.id).ask("POST", "seats/stalls-A-1/hold")
    assert (early.status_code, early.json["code"]) == (403, "sale_not_open")
    assert second_of(early) <= time.time()


def test_what_is_said_to_one_client_only_may_not_be_repeated(buyer_with):
    buyer = buyer_with()
    answers = [buyer.ask("POST", "sections/floor/best/6/hold") for _ in range(2)]
    answers += [
        buyer.ask("POST", "seats/stalls-Z-1/hold"),
        buyer.ask("POST", "sections/floor/best/0/hold"),
        buyer.ask("POST", "holds", json={"seats": ["floor-GA-1"]}),
        buyer.ask("GET", "seats"),
    ]
    assert [answer.status_code for answer in answers] == [201, 409, 404, 422, 409, 200]
    assert answers[1].json["code"] == "too_many_held"
    assert not any("X-Accel-Expires" in answer.headers for answer in answers)


def test_the_second_is_that_before_the_seat_was_looked_at(buyer_with, monkeypatch):
    """Otherwise a seat freed while the answer is on its way would show a second too late."""
    buyer = buyer_with()
    buyer.ask("POST", "seats/stalls-A-1/hold")
    box_office = type(buyer._http.application.extensions["services"].box_office)
    hold_seat = box_office.hold_seat

    def slowly(*arguments):
        try:
            return hold_seat(*arguments)
        finally:
            time.sleep(1.01 - time.time() % 1)

    monkeypatch.setattr(box_office, "hold_seat", slowly)
    assert second_of(buyer.ask("POST", "seats/stalls-A-1/hold")) < int(time.time())


# ---------------------------------------------------------------- scalpers


def test_what_stops_scalpers_shows_in_the_metrics(buyer_with):
    buyer = buyer_with()
    names = {"too_many_held": 1, "payment_declined": 5, "hold_expired": 1}
    before = {code: sample("tickets_refusals_total", code=code) for code in names}
    cards = sample("tickets_cards_refused_total")
    lost = sample("tickets_holds_lost_to_refused_cards_total")

    hold = buyer.ask("POST", "sections/floor/best/6/hold").json
    assert buyer.ask("POST", "sections/stalls/best/6/hold").json["code"] == "too_many_held"
    buyer.address = "203.0.113.8"
    for number in range(5):
        refused = buyer.pay(hold, f"key-{number}", "pm_card_visa_chargeDeclined")
        assert refused.json["attempts_left"] == 4 - number
    assert buyer.pay(hold, "key-4", "pm_card_visa_chargeDeclined").status_code == 402
    assert buyer.pay(hold, "key-6").json["code"] == "hold_expired"

    after = {code: sample("tickets_refusals_total", code=code) for code in names}
    assert {code: after[code] - before[code] for code in names} == {
        "too_many_held": 1,
        "payment_declined": 6,  # a repeat is an answer, and no further card
        "hold_expired": 1,
    }
    assert sample("tickets_cards_refused_total") == cards + 5
    assert sample("tickets_holds_lost_to_refused_cards_total") == lost + 1


def test_the_metrics_have_what_the_limiter_says_of_itself(stack, event):
    client = Client(stack.web_url, event.id)
    assert client.call("GET", "seats").status_code == 200
    metrics = requests.get(f"{stack.web_url}/metrics", timeout=TIMEOUT_S).text
    assert float(re.search(r"^tickets_limiter_clients ([\d.]+)$", metrics, re.MULTILINE)[1]) >= 1
    assert "\ntickets_limiter_forgotten_early 0.0\n" in metrics
    assert "\ntickets_limiter_shared 0.0\n" in metrics
