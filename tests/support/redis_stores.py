"""The Redis stores as each process creates them."""

from collections.abc import Mapping
from typing import Any, cast

import redis

from ops.processes import free_port
from ops.redis_cluster import RedisCluster
from ops.redis_sentinels import RedisSentinels
from ops.servers import HOST, Redis
from sidecar.server_urls import redis_servers
from web.adapters.redis.audited_seats import RedisAuditedSeats
from web.adapters.redis.client import RedisClient
from web.adapters.redis.cluster import ClusterServers
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


def servers_at(url: str, replicas: int = 0) -> Servers:
    """Of any kind of Redis."""
    return servers_of(redis_servers("REDIS_URL", url), {}, replicas)


def seats_at(url: str, lease_s: float = DEFAULT_LEASE_S, replicas: int = 0) -> RedisSeatStore:
    """On any kind of Redis."""
    return seats_on(servers_at(url, replicas), lease_s)


class ClusterClient(redis.RedisCluster):
    """Commands on a key go to the server that has it, FLUSHDB and the like to all masters."""

    def keys(self, pattern: str) -> list:
        # By default one server is asked, whichever.
        return super().keys(pattern, target_nodes=self.PRIMARIES)


def client_of(store: Redis | RedisSentinels | RedisCluster, **options: Any) -> redis.Redis:
    """Of a test, without failover."""
    if isinstance(store, RedisCluster):
        port = store.members[0].port
        return cast(redis.Redis, ClusterClient(host=HOST, port=port, **options))
    master = store.master if isinstance(store, RedisSentinels) else store
    return redis.Redis(host=HOST, port=master.port, **options)


def audited(seats: RedisSeatStore) -> RedisAuditedSeats:
    """The audit's view of the same store."""
    return RedisAuditedSeats(seats._client, seats._catalogue)


def commands_of(seats: RedisSeatStore, event_id: str = "") -> redis.Redis:
    """A client of the server that has the event's keys, or of the only server."""
    return seats._client._servers.of(event_id).commands


def client_beside(seats: RedisSeatStore) -> redis.Redis:
    """For commands of a test to the Redis of this store, on keys of any event."""
    shard = seats._client.shards()[0]
    if not isinstance(seats._client._servers, ClusterServers):
        return shard.commands
    host, _, port = shard.address.rpartition(":")
    return cast(redis.Redis, ClusterClient(host=host, port=int(port), decode_responses=True))


def lead_nowhere(seats: RedisSeatStore) -> None:
    """Make the store of this process unable to reach Redis."""
    seats._client._servers = OneServer(Shard(connect(f"redis://127.0.0.1:{free_port()}/0")))
