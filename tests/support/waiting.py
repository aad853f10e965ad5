"""Waiting for what comes by itself, and saying what did not."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

STEP_S = 0.01


def eventually(condition: Callable[[], Found], what: str, within_s: float = 10.0) -> Found:
    """What ``condition`` gives, asked again and again until that is true. ``what`` is waited for:
    it says so when it did not come."""
    deadline_s = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"not within {within_s} s: {what}"
        time.sleep(STEP_S)
    return found
