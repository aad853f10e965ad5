"""Redis: the servers of a Redis Cluster.

redis-py's RedisCluster is not used: its pipelines refuse EVALSHA, and one server that hangs holds
up all others. Each server has a plain client of its own here, and this knows which slots it has.
"""

import math
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from web.adapters.redis.shard import Address, Shard

LOOK_EVERY_S = 0.1
"""The time between two looks for who has which slots, which are made after errors only."""


class ClusterServers:
    """All that have slots. A slot whose server is away takes down its own keys only."""

    def __init__(
        self,
        seeds: Sequence[Address],
        at: Callable[[Address], Shard],
        asking: Callable[[Address], redis.Redis],
    ):
        """``seeds`` are some of the nodes; ``at`` makes a Shard, ``asking`` a client that gives up
        after a fraction of a second."""
        self._seeds = seeds
        self._at = at
        self._asking = asking
        self._lock = threading.Lock()
        self._looked_s = -math.inf
        self._nodes: list[Address] = []
        self._shards: dict[Address, Shard] = {}
        self._owners: list[Shard | None] = [None] * REDIS_CLUSTER_HASH_SLOTS

    def of(self, tag: str) -> Shard:
        slot = key_slot(tag.encode())
        owner = self._owners[slot]
        if owner is None:
            self._look()
            owner = self._owners[slot]
        if owner is None:
            if not self._nodes:
                raise redis.ConnectionError("no node of the Redis Cluster can be reached")
            raise ClusterDownError(f"no node of the Redis Cluster has slot {slot}")
        return owner

    def all(self) -> Sequence[Shard]:
        if None in self._owners:
            self._look()
        if not self._nodes:
            raise redis.ConnectionError("no node of the Redis Cluster can be reached")
        return list(dict.fromkeys(owner for owner in self._owners if owner))

    def can_try_again(self, error: Exception, tag: str, shard: Shard, tries: int) -> bool:
        slot = key_slot(tag.encode())
        if isinstance(error, MovedError):
            self._follow(error, shard)
            return True
        if isinstance(error, (AskError, TryAgainError)):
            # The slot is being moved, key by key. Scripts take several keys, some of which need
            # not exist, so neither side can serve them until that is over.
            return True
        if isinstance(error, (redis.ConnectionError, redis.TimeoutError, ClusterDownError)):
            self._look(doubtful=shard)
        return self._owners[slot] is not shard

    def _follow(self, moved: MovedError, shard: Shard) -> None:
        host = moved.host or shard.commands.connection_pool.connection_kwargs["host"]
        address = (host, int(moved.port))
        self._owners[moved.slot_id] = self._shard_at(address)
        # Other slots may have moved with this one. The new owner knows best.
        self._look(first=address)

    def _look(self, first: Address | None = None, doubtful: Shard | None = None) -> None:
        """Learns who has which slots, from the first node that answers. Whoever comes meanwhile
        waits for that."""
        with self._lock:
            if time.monotonic() < self._looked_s + LOOK_EVERY_S:
                return
            for address in self._in_order(first, doubtful):
                try:
                    slots = self._asking(address).execute_command("CLUSTER SLOTS")
                except (redis.RedisError, OSError):
                    continue
                self._learn(slots, asked=address)
                break
            self._looked_s = time.monotonic()

    def _in_order(self, first: Address | None, doubtful: Shard | None) -> list[Address]:
        """Whom to ask: not always the same one, which may be cut off from the others."""
        known = list(dict.fromkeys([*self._nodes, *self._seeds]))
        random.shuffle(known)
        return sorted(
            known, key=lambda node: (node != first, self._shards.get(node) is doubtful is not None)
        )

    def _learn(self, slots: Iterable[Sequence[Any]], asked: Address) -> None:
        """``slots`` as CLUSTER SLOTS answers: first, last, master, replicas."""
        owners: list[Shard | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        nodes: dict[Address, None] = {}
        for first, last, *servers in slots:
            # A node that does not know its own address, or shall not say it, names none.
            addresses = [(host or asked[0], int(port)) for host, port, *_ in servers]
            nodes |= dict.fromkeys(addresses)
            owners[first : last + 1] = [self._shard_at(addresses[0])] * (last + 1 - first)
        self._nodes, self._owners = list(nodes), owners

    def _shard_at(self, address: Address) -> Shard:
        if address not in self._shards:
            self._shards[address] = self._at(address)
        return self._shards[address]
