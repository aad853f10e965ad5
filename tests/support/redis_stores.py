"""Redis's stores as a process of its own has them."""

from collections.abc import Mapping

import redis

from web.adapters.redis.audited_seats import RedisAuditedSeats
from web.adapters.redis.client import RedisClient
from web.adapters.redis.event_catalogue import RedisEventCatalogue
from web.adapters.redis.scripts import LuaScript
from web.adapters.redis.seat_store import RedisSeatStore
from web.domain.sales import DEFAULT_LEASE_S


def seats_on(
    commands: redis.Redis,
    lease_s: float = DEFAULT_LEASE_S,
    scripts: Mapping[str, LuaScript] | None = None,
) -> RedisSeatStore:
    """With a catalogue of its own that remembers nothing yet."""
    client = RedisClient(commands, scripts)
    return RedisSeatStore(client, RedisEventCatalogue(client), lease_s)


def audited(seats: RedisSeatStore) -> RedisAuditedSeats:
    """What the audit reads of the same store."""
    return RedisAuditedSeats(seats._client, seats._catalogue)
