"""The commands of the Procfile and of operators, as real processes."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ops.servers import REPOSITORY

TIMEOUT_S = 60


def flask(environment: Mapping[str, str], *arguments: str | Path) -> subprocess.CompletedProcess:
    """``flask --app wsgi …``, to its end. The exit code is the caller's to judge."""
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", *arguments],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
