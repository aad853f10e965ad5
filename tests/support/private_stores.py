"""``seats`` and ``bookings`` on which no other test's worker runs, for tests that leave payments
unfinished on purpose. They are empty at the start of each module."""

import pytest
import redis

from tests.support.redis_stores import seats_on
from web.adapters.mongodb import MongoBookingStore
from web.adapters.redis.seat_store import RedisSeatStore
from web.adapters.redis.shard import connect

REDIS_DATABASE = "/1"
MONGODB_DATABASE = "/private"


@pytest.fixture(scope="session")
def private_redis_url(redis_server) -> str:
    return redis_server.url.replace("/0", REDIS_DATABASE)


@pytest.fixture(scope="module")
def raw_redis(private_redis_url) -> redis.Redis:
    """A client that returns bytes, for DUMP and RESTORE."""
    client = redis.Redis.from_url(private_redis_url)
    client.flushdb()
    return client


@pytest.fixture(scope="module")
def seats(private_redis_url, raw_redis) -> RedisSeatStore:
    return seats_on(connect(private_redis_url))


@pytest.fixture(scope="module")
def bookings(mongo_server, mongo_client) -> MongoBookingStore:
    mongo_client.drop_database(MONGODB_DATABASE.removeprefix("/"))
    store = MongoBookingStore(mongo_server.url.replace("/tickets", MONGODB_DATABASE))
    store.create_indexes()
    return store
