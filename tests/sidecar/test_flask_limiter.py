"""A small application of anybody's, with Flask-Limiter on the sidecar."""

import time
from dataclasses import dataclass

import pytest
from flask import Flask, request
from flask_limiter import Limiter
from limits import parse
from limits.errors import ConfigurationError

from sidecar.client import LimiterClient
from sidecar.limits_storage import SCHEME, SidecarLimiter
from sidecar.sliding_log import NS_PER_S, Rate
from tests.support.sidecars import PATIENCE_S


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


def test_reset_resets_every_client(shop, socket_path):
    assert shop.statuses(10, 1) == [200, 429]
    assert shop.statuses(10, client="grace") == [200]
    shop_on(socket_path).limiter.reset()
    assert shop.statuses(10, client="grace") == [200]
    shop.limiter.reset()
    assert shop.statuses(10) == [200]


def test_clear_resets_one_client_from_a_process_that_never_counted_it(shop, socket_path):
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


def flask_limiter(**options) -> Limiter:
    """Anybody's, which knows nothing of the sidecar but its storage."""
    client = LimiterClient("/nobody/listens/here")
    options |= {"storage_uri": f"{SCHEME}://", "storage_options": {"limiter": client}}
    return Limiter(lambda: "ada", app=Flask("tests"), **options)


def sidecar_limiter(config: dict[str, object] | None = None, **options) -> SidecarLimiter:
    """Ours."""
    app = Flask("tests")
    app.config |= config or {}
    client = LimiterClient("/nobody/listens/here")
    return SidecarLimiter(lambda: "ada", app=app, limiter=client, **options)


KEPT = ["200 per day", "50 per hour", "10000/minute", "1/second"]
NOT_KEPT = ["5/month", "2 per 2 day", "1/year", "100000/second", "10/minute; 5/month"]
NO_COSTS = [1.5, -1, "2"]


@pytest.mark.parametrize("rate", KEPT)
def test_a_rate_of_up_to_a_day_is_kept(shop, rate):
    strategy, item = shop.limiter.limiter, parse(rate)
    assert strategy.hit(item, "a", cost=item.amount)
    assert not strategy.hit(item, "a")
    assert item.get_expiry() - 1 <= strategy.get_window_stats(item, "a").reset_time - time.time()


@pytest.mark.parametrize("rate", NOT_KEPT)
def test_a_rate_that_the_sidecar_cannot_keep_is_refused_before_there_is_a_request(rate):
    for refused in (
        lambda: sidecar_limiter(default_limits=["50 per hour", rate]),
        lambda: sidecar_limiter(application_limits=[rate]),
        lambda: sidecar_limiter(meta_limits=[rate]),
        lambda: sidecar_limiter({"RATELIMIT_DEFAULT": rate}),
        lambda: sidecar_limiter().limit(rate),
        lambda: sidecar_limiter().shared_limit(rate, scope="a"),
    ):
        with pytest.raises(ConfigurationError, match="1 to 10000 requests in at most 86400 s"):
            refused()


@pytest.mark.parametrize("cost", NO_COSTS)
def test_a_cost_that_is_no_whole_number_is_refused_before_there_is_a_request(cost):
    for refused in (
        lambda: sidecar_limiter().limit("1/second", cost=cost),
        lambda: sidecar_limiter().shared_limit("1/second", scope="a", cost=cost),
        lambda: sidecar_limiter(default_limits=["1/second"], default_limits_cost=cost),
        lambda: sidecar_limiter(application_limits=["1/second"], application_limits_cost=cost),
    ):
        with pytest.raises(ConfigurationError, match="a whole number of 0 or more, not"):
            refused()


@pytest.mark.parametrize("strategy", ["fixed-window", "sliding-window-counter", None])
def test_another_strategy_is_refused_before_there_is_a_request(strategy):
    with pytest.raises(ConfigurationError, match='pass strategy="moving-window"'):
        sidecar_limiter(strategy=strategy)


def test_without_our_limiter_the_first_request_tells_what_cannot_be_kept():
    limiter = flask_limiter().limiter  # Flask-Limiter's default is a fixed window.
    for ask in (limiter.hit, limiter.test, limiter.get_window_stats):
        with pytest.raises(ConfigurationError, match='pass strategy="moving-window"'):
            ask(parse("1/second"), "a")
    limiter = flask_limiter(strategy="moving-window").limiter
    for ask in (limiter.hit, limiter.test, limiter.get_window_stats):
        with pytest.raises(ConfigurationError, match="1 to 10000 requests in at most 86400 s"):
            ask(parse("5/month"), "a")


@pytest.mark.parametrize("cost", NO_COSTS)
def test_a_cost_that_is_no_whole_number_is_never_sent(shop, cost):
    strategy, storage = shop.limiter.limiter, shop.limiter.storage
    with pytest.raises(ConfigurationError, match="a whole number of 0 or more, not"):
        strategy.hit(parse("5/minute"), "a", cost=cost)
    assert strategy.hit(parse("5/minute"), "a", cost=5)
    assert storage.check()
    with pytest.raises(ValueError, match="not a whole number of 1 to 5 requests"):
        storage._limiter.check("a", Rate(5, NS_PER_S), cost)
    assert storage.check()


def test_a_cost_of_nothing_counts_nothing(shop):
    strategy, item = shop.limiter.limiter, parse("5/minute")
    assert strategy.hit(item, "a", cost=0)
    assert strategy.get_window_stats(item, "a").remaining == 5
