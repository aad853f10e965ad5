"""The Redis server of the shared log: one at an address, or the master that Sentinels name."""

import asyncio
import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from redis.asyncio import Redis, Sentinel, SSLConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sidecar.redis_tls import tls_options
from sidecar.server_urls import RedisServers, redis_servers

CONNECT_TIMEOUT_S = 1.0
"""Nobody waits for it."""

SENTINEL_TIMEOUT_S = 0.3
"""For each; the next one is asked then."""

SENTINEL_INTERVAL_S = 0.5
"""After a planned failover the former master takes writes for another ten seconds, all of which are
lost."""


class OneServer:
    """Connects when it is first used. ``redis`` is redis-py's client, which retries nothing: that
    would come too late for whoever waits, and count twice."""

    connect_timeout_s = CONNECT_TIMEOUT_S

    def __init__(self, redis: Redis):
        self.redis = redis

    async def disconnect(self) -> None:
        """The next call makes a connection to wherever the address leads by then: a server that was
        replaced may keep its connections and refuse each call."""
        await self.redis.connection_pool.disconnect()

    def is_replaced(self) -> bool:
        """Whether another server is known to have taken its place."""
        return False


class Sentinels(Sentinel):
    """Say in few words why there is no master; and one that refuses keeps no other from being
    asked."""

    def __init__(self, hosts: Sequence[tuple[str, int]], options: dict[str, Any]):
        """``options`` are redis-py's keyword arguments, for TLS and to log in."""
        bounds = {
            "socket_timeout": SENTINEL_TIMEOUT_S,
            "socket_connect_timeout": SENTINEL_TIMEOUT_S,
            "retry": _no_retry(),
        }
        # It has no types.
        super().__init__(hosts, sentinel_kwargs=bounds | options)  # type: ignore[no-untyped-call]

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """By the first that knows one which is up. It is the first to be asked next time."""
        reasons = set()
        for sentinel in list(self.sentinels):
            try:
                state = cast(dict[str, Any], await sentinel.sentinel_master(service_name))
            except (RedisError, OSError) as error:
                reasons.add(str(error) or type(error).__name__)
                continue
            if self.check_master_state(state, service_name):
                self.sentinels.remove(sentinel)
                self.sentinels.insert(0, sentinel)
                return state["ip"], state["port"]
            reasons.add("it is down")
        raise MasterNotFoundError(f"no master {service_name!r}: {'; '.join(sorted(reasons))}")


class SentinelMaster(OneServer):
    """``sentinels`` are asked before each new connection."""

    def __init__(self, service: str, sentinels: Sentinels, options: Mapping[str, Any]):
        self._service = service
        self._sentinels = sentinels
        self._pool = SentinelConnectionPool(service, sentinels, **options)
        self._replaced = False
        self._look: asyncio.Task[None] | None = None
        self._next_look_s = 0.0
        self.connect_timeout_s += SENTINEL_TIMEOUT_S * len(sentinels.sentinels)
        super().__init__(Redis(connection_pool=self._pool))

    async def disconnect(self) -> None:
        self._replaced = False
        await super().disconnect()

    def is_replaced(self) -> bool:
        """By what the Sentinels said last. They are asked while nobody waits for it."""
        now_s = time.monotonic()
        if now_s >= self._next_look_s and (self._look is None or self._look.done()):
            self._next_look_s = now_s + SENTINEL_INTERVAL_S
            self._look = asyncio.create_task(self._ask_sentinels())
        return self._replaced

    async def _ask_sentinels(self) -> None:
        # Without Sentinels the master stays what it is.
        with contextlib.suppress(RedisError, OSError):
            named = await self._sentinels.discover_master(self._service)
            self._replaced = named != self._pool.master_address


def redis_server(name: str, url: str, ca: str) -> OneServer:
    """``name`` is the setting that has the URL, ``ca`` the value of REDIS_TLS_CA. Raises
    ValueError, which begins with ``name``."""
    servers = redis_servers(name, url, kinds=("server", "sentinel"))
    tls = tls_options(name, servers.server_url, ca)
    try:
        server = _one_server(servers, tls) if servers.kind == "server" else _master(servers, tls)
        # Connects to nothing yet. The pool would meet a bad option at the first call only.
        connection = server.redis.connection_pool.make_connection()
        if isinstance(connection, SSLConnection):
            connection.ssl_context.get()
    except (RedisError, ValueError, OSError) as error:
        raise ValueError(f"{name}: {error}") from None
    except (TypeError, AttributeError) as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        says = f"there is no option {unknown[1]}" if unknown else str(error)
        raise ValueError(f"{name}: {says}") from None
    return server


def _one_server(servers: RedisServers, tls: Mapping[str, Any]) -> OneServer:
    url = servers.server_url
    # Without redis-py's time-outs, which are for each step of a call.
    return OneServer(Redis.from_url(url, retry=_no_retry(), socket_timeout=None, **tls))


def _master(servers: RedisServers, tls: Mapping[str, Any]) -> SentinelMaster:
    options: dict[str, Any] = {**tls, **parse_url(servers.server_url)}
    options["ssl"] = options.pop("connection_class", None) is SSLConnection
    del options["host"]  # a Sentinel's
    options.pop("port", None)
    of_tls = {option: value for option, value in options.items() if option.startswith("ssl")}
    sentinels = Sentinels(servers.hosts, {**of_tls, **servers.sentinel_options})
    options = {"retry": _no_retry(), "socket_timeout": None, **options}
    return SentinelMaster(servers.service, sentinels, options)


def _no_retry() -> Retry:
    return Retry(NoBackoff(), 0)
