"""The sidecar as a storage of the ``limits`` library, for Flask-Limiter: ``sidecar://``.

Only the moving window is there, which is the only strategy that is exact. The storage options must
have ``limiter``, the process's LimiterClient. It never raises what ``limits`` calls a storage
error: while the limiter does not answer, the client counts by itself.
"""

import time
from typing import ClassVar

from limits.storage import MovingWindowSupport, Storage

from sidecar.client import LimiterClient
from sidecar.sliding_log import NS_PER_S, Rate

SCHEME = "sidecar"


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
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Raises ValueError for an ``amount`` other than one: several at once, all or none, is
        nothing that the limiter knows."""
        if amount != 1:
            raise ValueError(f"the sidecar counts one request at a time, not {amount}")
        return self._limiter.check(key, Rate(limit, expiry * NS_PER_S)).allowed

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the window of the oldest entry began, in seconds of Unix time, and the entries."""
        now_s = time.time()
        seen = self._limiter.peek(key, Rate(limit, expiry * NS_PER_S))
        entries = limit - seen.remaining
        return (now_s + seen.reset_ns / NS_PER_S - expiry if entries else now_s), entries

    def check(self) -> bool:
        return self._limiter.answers

    # What other strategies need, and what only a limiter that forgets on request could do.

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError("the sidecar has the moving-window strategy only")

    def get(self, key: str) -> int:
        raise NotImplementedError("the sidecar has the moving-window strategy only")

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError("the sidecar has the moving-window strategy only")

    def reset(self) -> int | None:
        raise NotImplementedError("the sidecar forgets by time only")

    def clear(self, key: str) -> None:
        raise NotImplementedError("the sidecar forgets by time only")
