"""An organiser at a terminal: servers of their own, and an event's file."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.servers import Redis
from tests.support.application import REQUIRED
from tests.support.booking_stores import bookings_at
from tests.support.factories import unique
from web.adapters.mongodb.booking_store import MongoBookingStore

FILE = """
id = "{id}"
name = "The Tempest"
venue = "Rosewood Theatre"
currency = "{currency}"
timezone = "Europe/London"
starts_at = 2099-12-12T19:30:00
sale_opens_at = {opens}
[[sections]]
id = "stalls"
name = "Stalls"
price = {price}
rows = [{{ ids = "A", seats = "1-212" }}]
[[sections]]
id = "floor"
name = "Floor, standing"
kind = "general"
price = {floor_price}
capacity = 266
"""


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory) -> Iterator[Redis]:
    """Whose list of events has no others."""
    folder = tmp_path_factory.mktemp("own-redis")
    with Redis(folder / "redis", folder / "redis.log") as server:
        yield server


@pytest.fixture(scope="module")
def own_database(mongo_server) -> str:
    """Without bookings that the audits and workers of other modules would stumble over."""
    return mongo_server.url.replace("/tickets", f"/{unique('organiser')}")


@pytest.fixture(scope="module")
def bookings(own_database) -> MongoBookingStore:
    store = bookings_at(own_database)
    store.create_indexes()
    return store


@pytest.fixture(scope="module")
def environment(own_redis, own_database, sandbox) -> dict[str, str]:
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "REDIS_URL": own_redis.url,
        "MONGODB_URI": own_database,
        **REQUIRED,
        "STRIPE_API_BASE": sandbox.url,
    }


@pytest.fixture
def write(tmp_path):
    """Rewrites the event's file, and returns its path."""
    event_id = unique("tempest")

    def write(**changes: object) -> Path:
        values = {
            "id": event_id,
            "currency": "GBP",
            "opens": "2036-01-10T10:00:00Z",
            "price": 3800,
            "floor_price": 0,
        }
        path = tmp_path / f"{event_id}.toml"
        path.write_text(FILE.format(**values | changes))
        return path

    return write
