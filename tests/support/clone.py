"""A copy of the project as in a fresh clone, and `make run` in it."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ops.servers import REPOSITORY
from tests.support.environment import inherited


def make_clone(folder: Path) -> Path:
    """Copy the files of the repository, without those that git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    # What ops/install.sh makes there.
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


class MakeRun:
    """`make run` after its installation, in ``clone`` until stopped; ``greeting`` is what it
    printed up to the last line."""

    def __init__(self, clone: Path, port: int, environ: Mapping[str, str] | None = None):
        self._clone = clone
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ops.run"],
            cwd=clone,
            env=(inherited() if environ is None else environ) | {"PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith("Logs are in"):
                break
        self.greeting = "".join(lines)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        try:
            return self.process.wait(60)
        finally:
            self.process.stdout.close()

    def left_running(self) -> list[str]:
        return running_in(self._clone)


def running_in(folder: Path) -> list[str]:
    """The commands of all processes whose working directory or command line has this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            cwd = str((process / "cwd").readlink())
        except OSError:
            continue
        if cwd.startswith(str(folder)) or str(folder) in command:
            found.append(command)
    return found
