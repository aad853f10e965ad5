"""A small application of anybody's, with Flask-Limiter on the sidecar."""

from dataclasses import dataclass

import pytest
from flask import Flask, request
from flask_limiter import Limiter
from limits import parse

from sidecar.client import LimiterClient
from sidecar.limits_storage import SCHEME
from tests.sidecars import PATIENCE_S, environ, start_host  # noqa: F401


@dataclass
class Shop:
    """``/buy/<seats>`` may be asked for ten seats in an hour, all of a request or none."""

    app: Flask
    limiter: Limiter

    def buy(self, seats: int, client: str = "ada"):
        return self.app.test_client().get(f"/buy/{seats}", headers={"X-Client": client})

    def statuses(self, *seats: int, client: str = "ada") -> list[int]:
        return [self.buy(number, client).status_code for number in seats]


def shop_on(socket_path: str) -> Shop:
    app = Flask("tests.a_shop_with_a_rather_long_name_of_its_own")
    limiter = Limiter(
        lambda: request.headers["X-Client"],
        app=app,
        strategy="moving-window",
        storage_uri=f"{SCHEME}://",
        storage_options={"limiter": LimiterClient(socket_path, timeout_s=PATIENCE_S)},
        headers_enabled=True,
    )

    @app.get("/buy/<int:seats>")
    @limiter.limit("10 per hour", cost=lambda: request.view_args["seats"])
    def buy(seats: int) -> dict[str, int | str]:
        return {"remaining": limiter.current_limit.remaining, "key": limiter.current_limit.key}

    return Shop(app, limiter)


@pytest.fixture(params=[False, True], ids=["one host", "hosts that share"])
def socket_path(request, start_host, redis_server, redis_client) -> str:
    for key in redis_client.scan_iter("*{limiter}*"):
        redis_client.delete(key)
    host = start_host(redis_server.url if request.param else "")
    assert host.client().stats()["shared"] == request.param
    return host.socket_path


@pytest.fixture
def shop(socket_path) -> Shop:
    return shop_on(socket_path)


def test_a_request_costs_what_it_is_told_to_all_or_nothing(shop):
    assert shop.statuses(4, 4, 3, 2) == [200, 200, 429, 200]
    assert shop.statuses(1) == [429]
    assert shop.statuses(10, client="grace") == [200]


def test_the_current_limit_tells_what_is_left(shop):
    assert [shop.buy(seats).json["remaining"] for seats in (3, 2)] == [7, 5]
    refused = shop.buy(6)
    assert refused.status_code == 429
    assert refused.headers["X-RateLimit-Remaining"] == "5"
    assert 0 < int(refused.headers["Retry-After"]) <= 3600


def test_more_than_the_limit_never_is_there(shop):
    assert shop.statuses(11, 11, 10) == [429, 429, 200]


@pytest.mark.parametrize("client", ["ada", "Ada Lovelace ä", "x" * 500])
def test_a_client_may_have_any_name(shop, client):
    name = client.encode().decode("latin-1")  # as WSGI has headers
    assert shop.statuses(10, 1, client=name) == [200, 429]
    assert shop.statuses(10, client=name + "x") == [200]


def test_reset_lets_everybody_begin_anew(shop, socket_path):
    assert shop.statuses(10, 1) == [200, 429]
    assert shop.statuses(10, client="grace") == [200]
    shop_on(socket_path).limiter.reset()
    assert shop.statuses(10, client="grace") == [200]
    shop.limiter.reset()
    assert shop.statuses(10) == [200]


def test_clear_lets_one_client_begin_anew_from_a_process_that_never_counted_it(shop, socket_path):
    key = shop.buy(10).json["key"]
    assert shop.statuses(10, client="grace") == [200]
    shop_on(socket_path).limiter.storage.clear(key)
    assert shop.statuses(10) == [200]
    assert shop.statuses(1, client="grace") == [429]


def test_hit_test_and_window_stats_take_amounts(shop):
    strategy, item = shop.limiter.limiter, parse("5/minute")
    assert strategy.test(item, "a", cost=5) and not strategy.test(item, "a", cost=6)
    assert strategy.hit(item, "a", cost=3)
    assert strategy.test(item, "a", cost=2) and not strategy.test(item, "a", cost=3)
    assert not strategy.hit(item, "a", cost=3)
    assert strategy.get_window_stats(item, "a").remaining == 2
    assert strategy.hit(item, "a", cost=2)
    assert not strategy.test(item, "a")
    strategy.clear(item, "a")
    assert strategy.get_window_stats(item, "a").remaining == 5
    assert strategy.hit(item, "a", cost=5)


def test_a_key_of_ones_own_is_cleared_too(shop):
    storage = shop.limiter.storage
    assert storage.acquire_entry("mine", 5, 60, amount=5)
    assert not storage.acquire_entry("mine", 5, 60)
    storage.clear("mine")
    assert storage.acquire_entry("mine", 5, 60, amount=5)


def test_nothing_is_said_to_be_forgotten_that_is_not():
    alone = shop_on("/nobody/listens/here")
    assert alone.statuses(10, 1) == [200, 429]
    for forget in (alone.limiter.reset, lambda: alone.limiter.storage.clear("ada")):
        with pytest.raises(ConnectionError, match="only this process has forgotten"):
            forget()


def test_a_limit_that_the_sidecar_cannot_keep_is_refused_in_words(shop):
    with pytest.raises(ValueError, match="1 to 10000 requests in at most an hour"):
        shop.limiter.limiter.hit(parse("100/day"), "a")
