"""Redis's stores as a process of its own has them."""

from collections.abc import Mapping

import redis

from ops.processes import free_port
from web.adapters.redis.audited_seats import RedisAuditedSeats
from web.adapters.redis.client import RedisClient
from web.adapters.redis.event_catalogue import RedisEventCatalogue
from web.adapters.redis.scripts import LuaScript
from web.adapters.redis.seat_store import RedisSeatStore
from web.adapters.redis.servers import OneServer, Servers
from web.adapters.redis.shard import Shard, connect
from web.domain.sales import DEFAULT_LEASE_S


def seats_on(
    servers: redis.Redis | Servers,
    lease_s: float = DEFAULT_LEASE_S,
    scripts: Mapping[str, LuaScript] | None = None,
) -> RedisSeatStore:
    """With a catalogue of its own that remembers nothing yet. ``servers`` may be one, by the client
    for it."""
    if isinstance(servers, redis.Redis):
        servers = OneServer(Shard(servers))
    client = RedisClient(servers, scripts)
    return RedisSeatStore(client, RedisEventCatalogue(client), lease_s)


def audited(seats: RedisSeatStore) -> RedisAuditedSeats:
    """What the audit reads of the same store."""
    return RedisAuditedSeats(seats._client, seats._catalogue)


def commands_of(seats: RedisSeatStore, event_id: str = "") -> redis.Redis:
    """The commands of the server that has the event's keys, or of the only one."""
    return seats._client._servers.of(event_id).commands


def lead_nowhere(seats: RedisSeatStore) -> None:
    """From now on the store of this process finds no Redis."""
    seats._client._servers = OneServer(Shard(connect(f"redis://127.0.0.1:{free_port()}/0")))
