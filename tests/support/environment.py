"""The part of a test's environment that servers under test inherit."""

import os

INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "COVERAGE_PROCESS_CONFIG")
"""The last one makes `make coverage` cover the processes that tests start."""

NO_ENV_FILE = {"ENV_FILE": "", "FLASK_SKIP_DOTENV": "1"}
"""So that neither we nor Flask read a developer's `.env`."""


def inherited(*more: str) -> dict[str, str]:
    """``more`` are names too. Nothing else: a PORT or REDIS_URL that is set here is not theirs."""
    return NO_ENV_FILE | of_a_user(*more)


def of_a_user(*more: str) -> dict[str, str]:
    """The same for a process that is to find a `.env` beside its Procfile."""
    return {name: os.environ[name] for name in (*INHERITED, *more) if name in os.environ}
