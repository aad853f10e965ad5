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

from web.adapters.redis.scripts import hash_tag
from web.adapters.redis.shard import Address, NoServer, Shard, is_answer

LOOK_EVERY_S = 0.1
"""The time between two looks for who has which slots, which are made after errors only."""

UNNAMED = "?"
"""The host of a node that has no name, in a cluster whose nodes are called by their names."""


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
        self._reason = ""
        self._shards: dict[Address, Shard] = {}
        self._owners: list[Shard | None] = [None] * REDIS_CLUSTER_HASH_SLOTS

    def of(self, tag: str) -> Shard:
        slot = _slot_of(tag)
        owner = self._owners[slot]
        if owner is None:
            self._look()
            owner = self._owners[slot]
        if owner is None:
            if not self._nodes:
                raise self._no_node()
            raise ClusterDownError(f"no node of the Redis Cluster has slot {slot}")
        return owner

    def all(self) -> Sequence[Shard]:
        if None in self._owners:
            self._look()
        if not self._nodes:
            raise self._no_node()
        return list(dict.fromkeys(owner for owner in self._owners if owner))

    def can_try_again(self, error: Exception, tag: str, shard: Shard, tries: int) -> bool:
        slot = _slot_of(tag)
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
        if moved.host == UNNAMED:
            return self._look()
        host = moved.host or shard.commands.connection_pool.connection_kwargs["host"]
        address = (host, int(moved.port))
        self._owners[moved.slot_id] = self._shard_at(address)
        # Other slots may have moved with this one. The new owner knows best.
        self._look(first=address)

    def _no_node(self) -> redis.RedisError:
        if self._reason:
            return NoServer(self._reason)
        return redis.ConnectionError("no node of the Redis Cluster can be reached")

    def _look(self, first: Address | None = None, doubtful: Shard | None = None) -> None:
        """Learns who has which slots, from the first node that answers. Whoever comes meanwhile
        waits for that."""
        with self._lock:
            if time.monotonic() < self._looked_s + LOOK_EVERY_S:
                return
            self._reason = ""
            for address in self._in_order(first, doubtful):
                try:
                    slots = self._asking(address).execute_command("CLUSTER SLOTS")
                except (redis.RedisError, OSError) as error:
                    if is_answer(error):
                        self._reason = f"{address[0]}:{address[1]} answers: {error}"
                    continue
                if slots:
                    self._learn(slots, asked=address)
                    break
                # A new node, or one that was taken out.
                self._reason = f"{address[0]}:{address[1]} belongs to no Redis Cluster"
            self._looked_s = time.monotonic()

    def _in_order(self, first: Address | None, doubtful: Shard | None) -> list[Address]:
        """Whom to ask: not always the same one, which may be cut off from the others."""
        known = list(dict.fromkeys([*self._nodes, *self._seeds]))
        random.shuffle(known)

        def is_doubtful(node: Address) -> bool:
            shard = self._shards.get(node)
            return shard is not None and (shard is doubtful or shard.is_silent)

        return sorted(known, key=lambda node: (node != first, is_doubtful(node)))

    def _learn(self, slots: Iterable[Sequence[Any]], asked: Address) -> None:
        """``slots`` as CLUSTER SLOTS answers: first, last, master, replicas."""
        owners: list[Shard | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        nodes: dict[Address, None] = {}
        for first, last, *servers in slots:
            addresses = [_address(server, asked) for server in servers]
            nodes |= dict.fromkeys(addresses)
            owners[first : last + 1] = [self._shard_at(addresses[0])] * (last + 1 - first)
        self._nodes, self._owners = list(nodes), owners
        # Where addresses come and go with each restart, those that are gone would pile up.
        self._shards = {node: shard for node, shard in self._shards.items() if node in nodes}

    def _shard_at(self, address: Address) -> Shard:
        if address not in self._shards:
            self._shards[address] = self._at(address)
        return self._shards[address]


def _address(server: Sequence[Any], asked: Address) -> Address:
    """Of a node in what CLUSTER SLOTS of ``asked`` answers. A node that does not know its own
    address, or shall not say it, names none; Redis 7 has the IP address of an unnamed one, too."""
    host, port, *others = server
    if host == UNNAMED and len(others) > 1:
        more = others[1]
        names = more if isinstance(more, dict) else dict(zip(more[::2], more[1::2], strict=True))
        host = names.get("ip")
    return host or asked[0], int(port)


def _slot_of(tag: str) -> int:
    slot: int = key_slot(hash_tag(tag).encode())
    return slot
