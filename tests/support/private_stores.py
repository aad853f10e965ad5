"""``seats`` and ``bookings`` on which no other test's worker runs, for tests that leave payments
unfinished on purpose. They are empty at the start of each module."""

import pytest
import redis

from ops.redis_cluster import RedisCluster
from tests.support.booking_stores import bookings_at
from tests.support.redis_stores import client_of, seats_at
from web.adapters.mongodb.booking_store import MongoBookingStore
from web.adapters.redis.seat_store import RedisSeatStore

REDIS_DATABASE = 1
MONGODB_DATABASE = "/private"


@pytest.fixture(scope="session")
def private_redis_url(private_redis) -> str:
    if isinstance(private_redis, RedisCluster):
        return private_redis.url
    return f"{private_redis.url.removesuffix('/0')}/{REDIS_DATABASE}"


@pytest.fixture(scope="module")
def raw_redis(private_redis) -> redis.Redis:
    """A client that returns bytes, for DUMP and RESTORE."""
    database = {} if isinstance(private_redis, RedisCluster) else {"db": REDIS_DATABASE}
    client = client_of(private_redis, **database)
    client.flushdb()
    return client


@pytest.fixture(scope="module")
def seats(private_redis_url, raw_redis) -> RedisSeatStore:
    return seats_at(private_redis_url)


@pytest.fixture(scope="module")
def bookings(mongo_server, mongo_client) -> MongoBookingStore:
    mongo_client.drop_database(MONGODB_DATABASE.removeprefix("/"))
    store = bookings_at(mongo_server.url.replace("/tickets", MONGODB_DATABASE))
    store.create_indexes()
    return store
