"""The sidecar as a storage of the ``limits`` library, for Flask-Limiter: ``sidecar://``.

Only the moving window is there, which is the only strategy that is exact. The storage options must
have ``limiter``, the process's LimiterClient. To count never raises what ``limits`` calls a storage
error: while the limiter does not answer, the client counts by itself. To forget does.
"""

import hashlib
import re
import time
from typing import ClassVar

from limits import parse
from limits.storage import MovingWindowSupport, Storage

from sidecar.client import LimiterClient
from sidecar.protocol import KEY, is_rate
from sidecar.sliding_log import NS_PER_S, Rate

SCHEME = "sidecar"

_RATE_AT_THE_END = re.compile(r"/(\d+)/(\d+)/([a-z]+)\Z")
"""Of a key as ``RateLimitItem.key_for`` makes it: ``LIMITER/203.0.113.7/payments/120/1/minute``."""


class SidecarStorage(Storage, MovingWindowSupport):
    STORAGE_SCHEME: ClassVar[list[str]] = [SCHEME]

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
        """``amount`` entries, all or none. As with other storages, more than ``limit`` are never
        there, and none always is. Raises ValueError for a rate that the limiter does not take."""
        if amount > limit:
            return False
        if amount == 0:
            return True
        return self._limiter.check(_name(key), _rate(limit, expiry), amount).allowed

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the window of the oldest entry began, in seconds of Unix time, and the entries."""
        now_s = time.time()
        seen = self._limiter.peek(_name(key), _rate(limit, expiry))
        entries = limit - seen.remaining
        return (now_s + seen.reset_ns / NS_PER_S - expiry if entries else now_s), entries

    def check(self) -> bool:
        return self._limiter.answers

    def clear(self, key: str) -> None:
        """Forget the entries of ``key``, at the rate that ``limits`` wrote at its end, and at each
        that this process has asked about. Raises ConnectionError as LimiterClient.clear does."""
        for rate in {*self._limiter.rates, *_rate_of(key)}:
            self._limiter.clear(_name(key), rate)

    def reset(self) -> None:
        """Forget all clients, of everybody who asks this limiter, and of all hosts where they share
        a count. Raises ConnectionError as LimiterClient.reset does."""
        self._limiter.reset()

    # What other strategies need.

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError("the sidecar has the moving-window strategy only")

    def get(self, key: str) -> int:
        raise NotImplementedError("the sidecar has the moving-window strategy only")

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError("the sidecar has the moving-window strategy only")


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
    rate = _rate(item.amount, item.get_expiry())
    return [rate] if is_rate(rate) else []


def _name(key: str) -> str:
    """The client in the sidecar's protocol, which takes no long names and no spaces."""
    if KEY.fullmatch(key):
        return key
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
