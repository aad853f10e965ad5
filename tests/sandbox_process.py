"""The payment sandbox as a real process, for tests."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
STOP_TIMEOUT_S = 10


class SandboxProcess:
    """Runs from construction until ``stop`` or ``kill``; listens on a free port of 127.0.0.1."""

    def __init__(self, ledger: Path):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ops.sandbox", "--port", "0", "--ledger", str(ledger)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        # It says where it listens when it does.
        announcement = self._process.stdout.readline()
        self.url = announcement.removeprefix("sandbox: ").strip()
        assert self.url.startswith("http://"), f"the sandbox did not start: {announcement!r}"

    def stop(self) -> int:
        """Ask it to end; returns its exit status."""
        self._process.terminate()
        return self._wait()

    def kill(self) -> None:
        """As ``kill -9``: it can finish nothing."""
        self._process.kill()
        self._wait()

    def _wait(self) -> int:
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        finally:
            self._process.stdout.close()
