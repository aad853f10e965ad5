"""Which Redis and which MongoDB to start: ``make run REDIS=cluster MONGODB=3``."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.mongodb_set import MongoReplicaSet
from ops.redis_cluster import RedisCluster
from ops.redis_sentinels import RedisSentinels
from ops.servers import MongoDB, Redis, Server
from sidecar.settings import BadSettings

Store = Redis | RedisSentinels | RedisCluster | MongoDB | MongoReplicaSet
Make = Callable[[Path, Path, Iterable[int]], Store]
"""Its arguments: the state folder, the log folder, and file descriptors to keep open."""


@dataclass(frozen=True)
class Kind:
    """A choice of REDIS or MONGODB. ``folder`` is its own, so that it never starts on the data of
    another kind."""

    title: str
    folder: str
    make: Make
    ledger: str = "sandbox.sqlite"
    """For MongoDB: the sandbox's file with the payments of the bookings in this MongoDB."""


REDIS = {
    "server": Kind(
        "Redis",
        "redis",
        lambda state, logs, fds: Redis(state, logs / "redis.log", keep_open=fds),
    ),
    "sentinel": Kind(
        "Redis servers and their Sentinels",
        "redis-sentinel",
        lambda state, logs, fds: RedisSentinels(state, logs, keep_open=fds),
    ),
    "cluster": Kind(
        "a Redis Cluster",
        "redis-cluster",
        lambda state, logs, fds: RedisCluster(state, logs, keep_open=fds),
    ),
}
MONGODB = {
    "1": Kind(
        "MongoDB",
        "mongo",
        lambda state, logs, fds: MongoDB(state, logs / "mongo.log", keep_open=fds),
    ),
    "3": Kind(
        "a MongoDB replica set",
        "mongo-3",
        lambda state, logs, fds: MongoReplicaSet(state, logs, keep_open=fds),
        ledger="sandbox-3.sqlite",
    ),
}


def chosen_redis(environ: Mapping[str, str]) -> Kind:
    """The kind that REDIS names, a single server by default. Raises BadSettings."""
    return _chosen("REDIS", REDIS, environ, instead_of="REDIS_URL")


def chosen_mongodb(environ: Mapping[str, str]) -> Kind:
    """The kind that MONGODB, the number of members, names; one by default. Raises BadSettings."""
    return _chosen("MONGODB", MONGODB, environ, instead_of="MONGODB_URI")


def processes_of(store: Store) -> list[Server]:
    return [store] if isinstance(store, Server) else list(store.members)


def _chosen(
    name: str, kinds: Mapping[str, Kind], environ: Mapping[str, str], *, instead_of: str
) -> Kind:
    value = environ.get(name)
    if not value:
        return next(iter(kinds.values()))
    if value not in kinds:
        *others, last = kinds
        raise BadSettings(f"{name} must be {', '.join(others)} or {last}, not {value!r}")
    if environ.get(instead_of):
        raise BadSettings(
            f"{name} says what to start, and {instead_of} what runs already: set one of them"
        )
    return kinds[value]
