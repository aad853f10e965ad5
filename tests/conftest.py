"""Fixtures with real servers, on their own ports and in their own folders."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest
import redis
from hypothesis import HealthCheck, settings

from ops import processes
from ops.processes import free_port
from ops.redis_cluster import RedisCluster
from ops.redis_sentinels import RedisSentinels
from ops.servers import MongoDB, Nginx, Redis, Sandbox
from ops.stack import Stack
from ops.stores import REDIS
from tests.support.application import application_with
from tests.support.behind_nginx import Upstream, local_nginx
from tests.support.booking_stores import bookings_at
from tests.support.clone import make_clone
from tests.support.environment import NO_ENV_FILE, inherited
from tests.support.factories import put_on_sale, small_hall
from tests.support.redis_stores import client_of, seats_at
from tests.support.site import DOOR_TOKEN, ORGANISER_TOKEN, WEBHOOK_SECRET, Site, another_web
from web.adapters.mongodb.booking_store import MongoBookingStore
from web.adapters.redis.event_catalogue import RedisEventCatalogue
from web.adapters.redis.seat_store import RedisSeatStore
from web.domain.events import Event

pytest_plugins = ["tests.support.kinds", "tests.support.order", "tests.support.sometimes"]

# For processes that inherit the environment of a test.
os.environ.update(NO_ENV_FILE)

# No deadline: the time of an example depends on what else the machine does.
settings.register_profile("tickets", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tickets")

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # Another pytest-xdist worker could take a free port before the server listens on it.
    number, workers = int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    processes.FREE_PORTS = processes.FREE_PORTS[number::workers]


@pytest.fixture(scope="session")
def state_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def redis_kind(request) -> str:
    """What ``--redis`` names. The tests that use this run on each kind of Redis."""
    return request.config.getoption("redis")


@pytest.fixture(scope="session")
def any_redis(request, redis_kind, state_dir) -> Iterator[Redis | RedisSentinels | RedisCluster]:
    if redis_kind == "server":
        yield request.getfixturevalue("redis_server")
        return
    with REDIS[redis_kind].make(state_dir / redis_kind, state_dir, ()) as store:
        yield store


@pytest.fixture(scope="session")
def private_redis(any_redis, state_dir) -> Iterator[Redis | RedisSentinels | RedisCluster]:
    """For a second database, see ``tests/support/private_stores.py``. A cluster has only one: then
    this is another cluster."""
    if not isinstance(any_redis, RedisCluster):
        yield any_redis
        return
    with RedisCluster(state_dir / "private", state_dir / "private", replicas=0) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def redis_server(state_dir) -> Iterator[Redis]:
    """A single one, whatever ``--redis`` names."""
    with Redis(state_dir / "redis", state_dir / "redis.log") as server:
        yield server


@pytest.fixture(scope="session")
def mongo_server(state_dir):
    with MongoDB(state_dir / "mongo", state_dir / "mongod.log") as server:
        yield server


@pytest.fixture(scope="session")
def redis_client(any_redis) -> redis.Redis:
    return client_of(any_redis, decode_responses=True)


@pytest.fixture(scope="session")
def seats(any_redis) -> RedisSeatStore:
    return seats_at(any_redis.url)


@pytest.fixture
def catalogue(seats) -> RedisEventCatalogue:
    """The catalogue that belongs to ``seats``."""
    return seats._catalogue


@pytest.fixture(scope="session")
def bookings(mongo_server) -> MongoBookingStore:
    store = bookings_at(mongo_server.url)
    store.create_indexes()
    return store


@pytest.fixture(scope="session")
def stack(any_redis, mongo_server, state_dir) -> Iterator[Site]:
    """The stack of `make run`, on the Redis and MongoDB of the other fixtures."""
    urls = {"REDIS_URL": any_redis.url, "MONGODB_URI": mongo_server.url}
    secrets = {
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "ORGANISER_TOKEN": ORGANISER_TOKEN,
        "DOOR_TOKEN": DOOR_TOKEN,
    }
    running = Stack(state_dir / "stack", inherited() | urls | secrets)
    try:
        running.start(free_port())
        yield Site(
            running["nginx"].url, running["web"].url, running.environment, running["sandbox"]
        )
    finally:
        running.stop()


@pytest.fixture(scope="session")
def gevent_site(stack, state_dir) -> Iterator[Site]:
    """A site with gunicorn's own gevent worker class, without nginx."""
    settings = {
        "WEB_WORKER_CLASS": "gevent",
        # At its end it would wait for the clients' idle connections.
        "GUNICORN_CMD_ARGS": "--graceful-timeout 1",
    }
    with another_web(stack, state_dir / "gevent.log", **settings) as web:
        yield Site(web.url, web.url, stack.environment, stack.sandbox, "gevent")


@pytest.fixture(scope="session", params=["nginx and llhttp", "gevent alone"])
def site(request, stack) -> Site:
    """The site of `make run`, and again one with gunicorn's own worker class and without nginx: for
    tests that must pass on both."""
    return stack if request.param == "nginx and llhttp" else request.getfixturevalue("gevent_site")


@pytest.fixture(scope="session")
def mongo_client(mongo_server) -> pymongo.MongoClient:
    return pymongo.MongoClient(mongo_server.url)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory) -> Iterator[Sandbox]:
    """A payment sandbox with an empty ledger."""
    folder = tmp_path_factory.mktemp("sandbox")
    with Sandbox(folder / "ledger.db", folder / "sandbox.log") as process:
        yield process


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def nginx(upstream, tmp_path_factory) -> Iterator[Nginx]:
    """The local rendering of nginx, in front of ``upstream``."""
    with local_nginx(tmp_path_factory.mktemp("nginx"), upstream.address) as nginx:
        yield nginx


@pytest.fixture
def event(seats) -> Event:
    """A small hall on sale, all seats free."""
    hall = small_hall()
    put_on_sale(seats, hall)
    return hall


@pytest.fixture
def root() -> Iterator[Path]:
    """A root folder for a rendering, which nginx's user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="tickets-root-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def application(any_redis, mongo_server, bookings):
    """Creates test clients of the application with other settings."""

    def made(**settings):
        servers = {"REDIS_URL": any_redis.url, "MONGODB_URI": mongo_server.url}
        return application_with(**servers | settings).test_client()

    return made


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    return make_clone(tmp_path_factory.mktemp("clone"))
