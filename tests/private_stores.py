"""``seats`` and ``bookings`` that no worker of another test looks after: import both fixtures into
a module whose tests leave payments unfinished on purpose."""

import pytest
import redis

from web.stores.booking_store import MongoBookingStore
from web.stores.seat_store import RedisSeatStore, connect

REDIS_DATABASE = "/1"
MONGODB_DATABASE = "/private"


@pytest.fixture(scope="session")
def private_redis_url(redis_server) -> str:
    return redis_server.url.replace("/0", REDIS_DATABASE)


@pytest.fixture(scope="session")
def raw_redis(private_redis_url) -> redis.Redis:
    """Bytes in and out, for DUMP and RESTORE."""
    return redis.Redis.from_url(private_redis_url)


@pytest.fixture(scope="session")
def seats(private_redis_url) -> RedisSeatStore:
    return RedisSeatStore(connect(private_redis_url))


@pytest.fixture(scope="session")
def bookings(mongo_server) -> MongoBookingStore:
    store = MongoBookingStore(mongo_server.url.replace("/tickets", MONGODB_DATABASE))
    store.create_indexes()
    return store
