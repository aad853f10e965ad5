"""Wait for a condition, with an error that names what did not happen."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

STEP_S = 0.01


def eventually(condition: Callable[[], Found], what: str, within_s: float = 10.0) -> Found:
    """Poll ``condition`` until it is true, and return its value. ``what`` names it in the error
    when it did not become true."""
    deadline_s = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"not within {within_s} s: {what}"
        time.sleep(STEP_S)
    return found
