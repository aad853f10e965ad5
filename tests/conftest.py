"""Real servers, on ports and in folders of their own, so that a running system is not disturbed."""

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
from ops.servers import MongoDB, Nginx, Redis, Sandbox
from ops.stack import Stack
from tests.support.application import application_with
from tests.support.behind_nginx import Upstream, local_nginx
from tests.support.clone import make_clone
from tests.support.environment import NO_ENV_FILE, inherited
from tests.support.factories import put_on_sale, small_hall
from tests.support.redis_stores import seats_on
from tests.support.site import ORGANISER_TOKEN, WEBHOOK_SECRET, Site, another_web
from web.adapters.mongodb import MongoBookingStore
from web.adapters.redis.event_catalogue import RedisEventCatalogue
from web.adapters.redis.seat_store import RedisSeatStore
from web.adapters.redis.shard import connect
from web.domain.events import Event

pytest_plugins = ["tests.support.kinds", "tests.support.order", "tests.support.sometimes"]

# For processes that a test starts with the environment of its own.
os.environ.update(NO_ENV_FILE)

# How long an example takes says more about what else the machine does.
settings.register_profile("tickets", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tickets")

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # Another worker could take a port between the look for it and the server's start.
    number, workers = int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    processes.FREE_PORTS = processes.FREE_PORTS[number::workers]


@pytest.fixture(scope="session")
def state_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def redis_server(state_dir):
    with Redis(state_dir / "redis", state_dir / "redis.log") as server:
        yield server


@pytest.fixture(scope="session")
def mongo_server(state_dir):
    with MongoDB(state_dir / "mongo", state_dir / "mongod.log") as server:
        yield server


@pytest.fixture(scope="session")
def redis_client(redis_server) -> redis.Redis:
    return connect(redis_server.url)


@pytest.fixture(scope="session")
def seats(redis_client) -> RedisSeatStore:
    return seats_on(redis_client)


@pytest.fixture
def catalogue(seats) -> RedisEventCatalogue:
    """That of the same process as ``seats``, whichever those are."""
    return seats._catalogue


@pytest.fixture(scope="session")
def bookings(mongo_server) -> MongoBookingStore:
    store = MongoBookingStore(mongo_server.url)
    store.create_indexes()
    return store


@pytest.fixture(scope="session")
def stack(redis_server, mongo_server, state_dir) -> Iterator[Site]:
    """What `make run` starts, on the Redis and MongoDB of the other fixtures."""
    urls = {"REDIS_URL": redis_server.url, "MONGODB_URI": mongo_server.url}
    secrets = {"STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET, "ORGANISER_TOKEN": ORGANISER_TOKEN}
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
    """With gunicorn's own worker class, and no nginx in front of it."""
    settings = {
        "WEB_WORKER_CLASS": "gevent",
        # At its end it would wait for connections that clients keep.
        "GUNICORN_CMD_ARGS": "--graceful-timeout 1",
    }
    with another_web(stack, state_dir / "gevent.log", **settings) as web:
        yield Site(web.url, web.url, stack.environment, stack.sandbox, "gevent")


@pytest.fixture(scope="session", params=["nginx and llhttp", "gevent alone"])
def site(request, stack) -> Site:
    """For what holds whatever reads the requests: as `make run` has it, and with gunicorn's own
    worker class and no nginx."""
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
    """As a developer's machine has it, before ``upstream``."""
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
    """A folder that nginx's own user may enter, as it may a host's."""
    folder = Path(tempfile.mkdtemp(prefix="tickets-root-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def application(redis_server, mongo_server, bookings):
    """The application with other settings, asked without a network."""

    def made(**settings):
        servers = {"REDIS_URL": redis_server.url, "MONGODB_URI": mongo_server.url}
        return application_with(**servers | settings).test_client()

    return made


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    return make_clone(tmp_path_factory.mktemp("clone"))
