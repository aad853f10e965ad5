"""What servers under test get of the environment that a test runs in."""

import os

INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")


def inherited(*more: str) -> dict[str, str]:
    """``more`` are names too. Nothing else: a PORT or REDIS_URL that is set here is not theirs."""
    return {name: os.environ[name] for name in (*INHERITED, *more) if name in os.environ}
