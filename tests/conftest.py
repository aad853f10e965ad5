"""Real servers, on ports and in folders of their own, so that a running system is not disturbed."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pymongo
import pytest
import redis
import stripe
from hypothesis import HealthCheck, settings

from ops import processes
from ops.processes import free_port
from ops.procfile import read_procfile, shell_command
from ops.servers import HOST, REPOSITORY, HttpServer, MongoDB, Nginx, Redis, Sandbox
from ops.stack import Stack
from tests.support.application import application_with
from tests.support.behind_nginx import Upstream, local_nginx
from tests.support.environment import NO_ENV_FILE, inherited
from tests.support.factories import put_on_sale, small_hall
from tests.support.sometimes import (  # noqa: F401
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)
from web.adapters.mongodb import MongoBookingStore
from web.adapters.redis.seat_store import RedisSeatStore, connect
from web.adapters.stripe.gateway import StripeGateway
from web.domain.events import Event
from web.ports.payment_gateway import GatewayPayment

# For processes that a test starts with the environment of its own.
os.environ.update(NO_ENV_FILE)

# How long an example takes says more about what else the machine does.
settings.register_profile("tickets", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tickets")

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # Another worker could take a port between the look for it and the server's start.
    number, workers = int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    processes.FREE_PORTS = processes.FREE_PORTS[number::workers]

LONGEST_FILES = """
    browser/test_accessibility.py browser/test_every_engine.py browser/test_older_browsers.py
    browser/test_cards.py browser/test_map.py browser/test_time_and_forms.py
    browser/test_one_address.py browser/test_two_languages.py faults/test_faults.py
    attacks/test_cross_site.py simulator/test_simulator.py cli/test_organiser_commands.py
    ops/test_start_up.py faults/test_partial_loss.py ops/test_install.py
    cli/test_tickets_command.py ops/test_ops_servers.py nginx/test_nginx_renderings.py
    ops/test_payment_sandbox.py ops/test_run.py adapters/test_stripe_gateway.py
    sidecar/test_shared_limit.py adapters/test_model.py attacks/test_slow_clients.py
    ops/test_honcho.py sidecar/test_limit_exactness.py faults/test_wrong_clocks.py
    faults/test_points.py ops/test_parameters.py sidecar/test_env_file.py
""".split()
"""As ``--durations`` shows. Workers take them first, so that in the end none is left with one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser's files come in a row: so a worker starts Chromium once for all of them."""
    if worker:
        rank = {f"tests/{name}": number for number, name in enumerate(LONGEST_FILES)}

        def turn(item: pytest.Item) -> tuple[bool, int]:
            path = item.nodeid.partition("::")[0]
            return not path.startswith("tests/browser/"), rank.get(path, len(rank))

        items.sort(key=turn)


WEBHOOK_SECRET = "whsec_of_tests"
ORGANISER_TOKEN = "the organiser's token of tests"


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
    return RedisSeatStore(redis_client)


@pytest.fixture(scope="session")
def bookings(mongo_server) -> MongoBookingStore:
    store = MongoBookingStore(mongo_server.url)
    store.create_indexes()
    return store


@dataclass(frozen=True)
class Site:
    """A whole TicketS: ``url`` is nginx, ``web_url`` gunicorn behind it."""

    url: str
    web_url: str
    environment: dict[str, str]
    sandbox: Sandbox
    worker_class: str = "llhttp"

    def gateway(self) -> StripeGateway:
        return StripeGateway(
            self.environment["STRIPE_API_KEY"], self.environment["STRIPE_API_BASE"]
        )

    def payments(self) -> Iterator[GatewayPayment]:
        """What the gateway's ledger says, newest first."""
        return self.gateway().list(datetime.now(UTC) - timedelta(hours=1))

    def used_card(self) -> str:
        """A PaymentMethod that was charged already, for something else."""
        client = stripe.StripeClient(
            self.environment["STRIPE_API_KEY"], base_addresses={"api": self.sandbox.url}
        )
        paid = client.v1.payment_intents.create(
            {
                "amount": 1200,
                "currency": "gbp",
                "payment_method": "pm_card_visa",
                "confirm": True,
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            }
        )
        return paid.payment_method

    def charges(self, hold_address: str) -> list[int]:
        """What was charged or reserved for the hold that has this address: the amounts."""
        hold_id = re.search(r"/holds/([^/]+)", hold_address)[1]
        return [
            payment.amount_minor
            for payment in self.payments()
            if payment.key.startswith(hold_id) and payment.status in ("authorized", "captured")
        ]


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
    """The `web` process of the Procfile and nothing in front of it, with gunicorn's own worker
    class. All else is the stack's."""
    port = free_port()
    own = {"PORT": str(port), "WEB_HOST": HOST, "WEB_WORKER_CLASS": "gevent"}
    # At its end it would wait for connections that clients keep.
    own["GUNICORN_CMD_ARGS"] = "--graceful-timeout 1"
    with HttpServer(
        "web",
        shell_command(read_procfile(REPOSITORY / "Procfile")["web"]),
        state_dir / "gevent.log",
        port,
        ready_path="/readyz",
        env=stack.environment | own,
        cwd=REPOSITORY,
    ) as web:
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
