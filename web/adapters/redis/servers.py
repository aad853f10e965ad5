"""Redis: which server has a key and takes writes for it, when that may change."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import redis
from redis.exceptions import MasterDownError, ReadOnlyError

from sidecar.server_urls import RedisServers
from web.adapters.redis.cluster import ClusterServers
from web.adapters.redis.shard import (
    Address,
    NoServer,
    Shard,
    connect,
    connect_impatiently,
    is_answer,
)

LOOK_EVERY_S = 0.5
"""How often the Sentinels are asked who the master is. A former master takes writes until it hears
of a planned failover, which can take seconds, and those are lost."""

LOOK_AGAIN_S = 0.1
"""How soon they are asked again after an error of the server."""

DEMOTED = (ReadOnlyError, MasterDownError)
"""Answers of a replica, which may have been the master before."""


class Servers(Protocol):
    """The methods raise redis.RedisError."""

    def of(self, tag: str) -> Shard:
        """That of a key, named by its hash tag: the id of an event, or a whole key without one."""
        ...

    def all(self) -> Sequence[Shard]: ...

    def can_try_again(self, error: Exception, tag: str, shard: Shard, tries: int) -> bool:
        """Whether another try may succeed now, after ``error`` of the ``shard``, at the end of
        ``tries`` tries. What the error says about the servers is learned."""
        ...


def servers_of(named: RedisServers, tls: Mapping[str, str], replicas: int = 0) -> Servers:
    """Those that a URL names. Connects when they are first used. ``tls`` are options of redis-py;
    ``replicas`` is how many must confirm what a buyer relies on. Raises ValueError or OSError for
    an option of the URL that cannot be."""
    url = named.server_url

    def at(address: Address | None) -> Shard:
        return Shard(connect(url, address, **tls), replicas)

    first = at(None)
    if named.kind == "cluster":
        return ClusterServers(
            named.hosts, at, lambda address: connect_impatiently(url, address, **tls)
        )
    if named.kind == "sentinel":
        login = {"username": None, "password": None, "db": None, **named.sentinel_options}
        sentinels = [connect_impatiently(url, host, **tls, **login) for host in named.hosts]
        return SentinelServer(sentinels, named.service, at)
    return OneServer(first)


class OneServer:
    """Always the same URL; a managed service may let it lead to another server."""

    def __init__(self, shard: Shard):
        self._shard = shard

    def of(self, tag: str) -> Shard:
        return self._shard

    def all(self) -> Sequence[Shard]:
        return [self._shard]

    def can_try_again(self, error: Exception, tag: str, shard: Shard, tries: int) -> bool:
        if not isinstance(error, DEMOTED) or tries > 1:
            return False
        shard.reconnect()
        return True


class SentinelServer:
    """The one that the Sentinels name."""

    def __init__(
        self, sentinels: Sequence[redis.Redis], service: str, at: Callable[[Address], Shard]
    ):
        """``sentinels`` should give up after a fraction of a second; ``at`` makes a Shard."""
        self._sentinels = list(sentinels)
        self._service = service
        self._at = at
        self._lock = threading.Lock()
        self._looked_s = -math.inf
        self._address: Address | None = None
        self._shard: Shard | None = None
        self._reason = ""

    def of(self, tag: str) -> Shard:
        if time.monotonic() >= self._looked_s + LOOK_EVERY_S:
            # One caller looks. The others go on with the server that is known, if there is one.
            self._look(LOOK_EVERY_S, waits=self._shard is None)
        if self._shard is None:
            raise self._no_master()
        return self._shard

    def all(self) -> Sequence[Shard]:
        return [self.of("")]

    def can_try_again(self, error: Exception, tag: str, shard: Shard, tries: int) -> bool:
        if isinstance(error, (redis.ConnectionError, redis.TimeoutError, *DEMOTED)):
            self._look(LOOK_AGAIN_S, waits=True, doubtful=shard)
            if self._shard is shard and isinstance(error, DEMOTED) and tries == 1:
                shard.reconnect()
                return True
        return self._shard is not shard

    def _no_master(self) -> redis.RedisError:
        if self._reason:
            return NoServer(self._reason)
        return redis.ConnectionError("no Sentinel can be reached")

    def _look(self, every_s: float, *, waits: bool, doubtful: Shard | None = None) -> None:
        if not self._lock.acquire(blocking=waits):
            return
        try:
            if time.monotonic() < self._looked_s + every_s:
                return
            if doubtful is not None and doubtful is self._shard:
                # A Sentinel that is cut off from the others would name it for ever.
                self._sentinels.append(self._sentinels.pop(0))
            address = self._named_master()
            self._looked_s = time.monotonic()
            if address and address != self._address:
                former, self._address, self._shard = self._shard, address, self._at(address)
                if former:
                    former.reconnect()
        finally:
            self._lock.release()

    def _named_master(self) -> Address | None:
        """By the first that answers, which is the first to be asked next time."""
        self._reason = ""
        for sentinel in list(self._sentinels):
            try:
                named = cast(
                    tuple[str, int] | None,
                    sentinel.sentinel_get_master_addr_by_name(self._service),
                )
            except redis.RedisError as error:
                if is_answer(error):
                    self._reason = f"a Sentinel answers: {error}"
                continue
            if named:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return named
            self._reason = f"the Sentinels know no service {self._service!r}"
        return None
