"""The Redis stores as each process creates them."""

from collections.abc import Mapping

import redis

from ops.processes import free_port
from sidecar.server_urls import redis_servers
from web.adapters.redis.audited_seats import RedisAuditedSeats
from web.adapters.redis.client import RedisClient
from web.adapters.redis.event_catalogue import RedisEventCatalogue
from web.adapters.redis.scripts import LuaScript
from web.adapters.redis.seat_store import RedisSeatStore
from web.adapters.redis.servers import OneServer, Servers, servers_of
from web.adapters.redis.shard import Shard, connect
from web.domain.sales import DEFAULT_LEASE_S


def seats_on(
    servers: redis.Redis | Servers,
    lease_s: float = DEFAULT_LEASE_S,
    scripts: Mapping[str, LuaScript] | None = None,
) -> RedisSeatStore:
    """A seat store with a new catalogue, whose cache is empty. ``servers`` may also be the client
    of a single server."""
    if isinstance(servers, redis.Redis):
        servers = OneServer(Shard(servers))
    client = RedisClient(servers, scripts)
    return RedisSeatStore(client, RedisEventCatalogue(client), lease_s)


def seats_at(url: str, lease_s: float = DEFAULT_LEASE_S, replicas: int = 0) -> RedisSeatStore:
    """Of any kind of Redis."""
    return seats_on(servers_of(redis_servers("REDIS_URL", url), {}, replicas), lease_s)


def audited(seats: RedisSeatStore) -> RedisAuditedSeats:
    """The audit's view of the same store."""
    return RedisAuditedSeats(seats._client, seats._catalogue)


def commands_of(seats: RedisSeatStore, event_id: str = "") -> redis.Redis:
    """A client of the server that has the event's keys, or of the only server."""
    return seats._client._servers.of(event_id).commands


def lead_nowhere(seats: RedisSeatStore) -> None:
    """Make the store of this process unable to reach Redis."""
    seats._client._servers = OneServer(Shard(connect(f"redis://127.0.0.1:{free_port()}/0")))
