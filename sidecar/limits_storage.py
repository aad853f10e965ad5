"""The sidecar as a storage of the ``limits`` library, for Flask-Limiter: ``sidecar://``.

It supports only the moving window, the only strategy that is exact. The storage options must have
``limiter``, the process's LimiterClient. Counting never raises a storage error (``base_exceptions``
of ``limits``): while the limiter does not respond, the client counts by itself. Clearing may.

``limits`` does not give a storage its strategy or its rates before the first request.
SidecarLimiter is a Flask-Limiter that rejects at start what the sidecar does not support.
"""

import hashlib
import re
import time
from collections.abc import Callable
from typing import Any

from flask import Flask
from flask_limiter import Limiter, RouteLimit
from limits import RateLimitItem, parse, parse_many
from limits.errors import ConfigurationError
from limits.storage import MovingWindowSupport, Storage

from sidecar.client import LimiterClient
from sidecar.protocol import KEY, is_rate
from sidecar.sliding_log import MAX_RATE_LIMIT, MAX_WINDOW_NS, NS_PER_S, Rate

SCHEME = "sidecar"
STRATEGY = "moving-window"

ONLY_MOVING_WINDOW = (
    f'the sidecar has one strategy: pass strategy="{STRATEGY}" to the Limiter, or set '
    f'RATELIMIT_STRATEGY = "{STRATEGY}"'
)

_RATE_AT_THE_END = re.compile(r"/(\d+)/(\d+)/([a-z]+)\Z")
"""Of a key as ``RateLimitItem.key_for`` makes it: ``LIMITER/203.0.113.7/payments/120/1/minute``."""


class SidecarStorage(Storage, MovingWindowSupport):
    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 - no ClassVar in `limits`, so none here

    def __init__(
        self,
        uri: str | None = None,
        wrap_exceptions: bool = False,
        *,
        limiter: LimiterClient,
        **options: float | str | bool,
    ):
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self._limiter = limiter

    @property
    def base_exceptions(self) -> type[Exception]:
        return ConnectionError

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """``amount`` entries, all or none. As with other storages, more than ``limit`` are always
        refused, and 0 is always granted. Raises ConfigurationError for a rate that the limiter does
        not accept, and for an amount that is not a whole number of 0 or more."""
        _refuse_rate(limit, expiry)
        _refuse_cost(amount)
        if amount > limit:
            return False
        if amount == 0:
            return True
        return self._limiter.check(name_of(key), _rate(limit, expiry), amount).allowed

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the window of the oldest entry began, in seconds of Unix time, and the entries.
        Raises ConfigurationError as acquire_entry does."""
        _refuse_rate(limit, expiry)
        now_s = time.time()
        seen = self._limiter.peek(name_of(key), _rate(limit, expiry))
        entries = limit - seen.remaining
        return (now_s + seen.reset_ns / NS_PER_S - expiry if entries else now_s), entries

    def check(self) -> bool:
        return self._limiter.answers

    def clear(self, key: str) -> None:
        """Forget the entries of ``key``, at the rate that ``limits`` wrote at its end, and at each
        that this process has asked about. Raises ConnectionError as LimiterClient.clear does."""
        for rate in {*self._limiter.rates, *_rate_of(key)}:
            self._limiter.clear(name_of(key), rate)

    def reset(self) -> None:
        """Forget all clients, for all applications that use this limiter, and on all hosts if they
        share a count. Raises ConnectionError as LimiterClient.reset does."""
        self._limiter.reset()

    # What other strategies need.

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise ConfigurationError(ONLY_MOVING_WINDOW)

    def get(self, key: str) -> int:
        raise ConfigurationError(ONLY_MOVING_WINDOW)

    def get_expiry(self, key: str) -> float:
        raise ConfigurationError(ONLY_MOVING_WINDOW)


class SidecarLimiter(Limiter):
    """Flask-Limiter on the sidecar: takes Flask-Limiter's arguments, and ``limiter``, the process's
    LimiterClient. Raises ConfigurationError for a strategy, rate or cost that the sidecar does not
    support: when it is created, in init_app, and when a route is decorated. A rate or cost that a
    function returns is checked when a request needs it."""

    def __init__(self, key_func: Callable[[], str], *, limiter: LimiterClient, **options: Any):
        if options.setdefault("strategy", STRATEGY) != STRATEGY:
            raise ConfigurationError(ONLY_MOVING_WINDOW)
        for name in ("default_limits", "application_limits", "meta_limits"):
            _refuse_limits(options.get(name))
        _refuse_cost(options.get("default_limits_cost") or 1)
        _refuse_cost(options.get("application_limits_cost") or 1)
        storage = {"storage_uri": f"{SCHEME}://", "storage_options": {"limiter": limiter}}
        super().__init__(key_func, **options | storage)

    def init_app(self, app: Flask) -> None:
        for name in ("DEFAULT", "APPLICATION", "META"):
            _refuse_limits(app.config.get(f"RATELIMIT_{name}"))
        super().init_app(app)

    def limit(self, limit_value: str | Callable[[], str], **options: Any) -> RouteLimit:
        _refuse_limits(limit_value)
        _refuse_cost(options.get("cost", 1))
        return super().limit(limit_value, **options)

    def shared_limit(
        self,
        limit_value: str | Callable[[], str],
        scope: str | Callable[[str], str],
        **options: Any,
    ) -> RouteLimit:
        _refuse_limits(limit_value)
        _refuse_cost(options.get("cost", 1))
        return super().shared_limit(limit_value, scope, **options)


def _refuse_limits(given: object) -> None:
    """``given`` is a limit as Flask-Limiter takes it, a list of such, or none."""
    if isinstance(given, (list, tuple)):
        for limit in given:
            _refuse_limits(limit)
    given = getattr(given, "limit_provider", given)
    if isinstance(given, str):
        for item in parse_many(given):
            _refuse_rate(item.amount, item.get_expiry())


def _refuse_rate(limit: int, expiry_s: int) -> None:
    if not is_rate(_rate(limit, expiry_s)):
        raise ConfigurationError(
            f"the sidecar cannot keep {limit} requests in {expiry_s} s: a limit is 1 to "
            f"{MAX_RATE_LIMIT} requests in at most {MAX_WINDOW_NS // NS_PER_S} s, which is a day"
        )


def _refuse_cost(cost: object) -> None:
    if not callable(cost) and (not isinstance(cost, int) or cost < 0):
        raise ConfigurationError(f"a cost is a whole number of 0 or more, not {cost!r}")


def rate_of_item(item: RateLimitItem) -> Rate:
    return _rate(item.amount, item.get_expiry())


def _rate(limit: int, expiry_s: int) -> Rate:
    return Rate(limit, expiry_s * NS_PER_S)


def _rate_of(key: str) -> list[Rate]:
    """None when there is none that the limiter takes."""
    found = _RATE_AT_THE_END.search(key)
    if not found:
        return []
    try:
        item = parse(f"{found[1]}/{found[2]}{found[3]}")
    except ValueError:
        return []
    rate = rate_of_item(item)
    return [rate] if is_rate(rate) else []


def name_of(key: str) -> str:
    """The client in the sidecar's protocol, which takes no long names and no spaces."""
    if KEY.fullmatch(key):
        return key
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
