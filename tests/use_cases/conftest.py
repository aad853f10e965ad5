from tests.support.private_stores import bookings, private_redis_url, raw_redis, seats  # noqa: F401
