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
"""Of the state folder, the folder of logs, and file descriptors to keep open."""


@dataclass(frozen=True)
class Kind:
    """One that can be chosen. Its ``folder`` is its own: it does not find what another has left."""

    title: str
    folder: str
    make: Make
    ledger: str = "sandbox.sqlite"
    """Of MongoDB: the file of the payment sandbox, whose payments its bookings know."""


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
    """By REDIS, a single server by default. Raises BadSettings."""
    return _chosen("REDIS", REDIS, environ, instead_of="REDIS_URL")


def chosen_mongodb(environ: Mapping[str, str]) -> Kind:
    """By MONGODB, which is how many members; one by default. Raises BadSettings."""
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
