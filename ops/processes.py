"""Child processes that are started, awaited and ended by their id, and never by a name."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from sidecar.parent_death import die_with_parent

POLL_INTERVAL_S = 0.02
LOG_TAIL_LINES = 20
CAUSE_TAIL_LINES = 500
"""mongod writes a hundred lines between a cause and its end."""

FREE_PORTS = range(20_000, 32_000)
"""Below 32768, where Linux takes the ports of outgoing connections from: none of those can move
into a server's port while the server is down between two starts."""
FREE_PORT_TRIES = 100

FULL_BELOW_BYTES = 64 * 1024
"""What a process that fails for lack of space may leave behind: a file that it could not finish is
removed, and the next one cannot be written either."""


class ProcessFailed(Exception):
    """A process did not start, did not get ready or ended by itself.

    The message says why in one line, or has the last lines of its log, which is what one wants to
    see then.
    """


class Process:
    """A command as a child of this process, in a session of its own.

    In a session of its own it does not hear the terminal's Ctrl-C, so the parent decides in
    which order its children end. When the parent is killed, the child gets SIGTERM; since that
    is bound to the starting thread, start from a thread that outlives the child.

    ``env`` is the child's whole environment, by default this process's. Output and errors are
    appended to ``log_path``. ``keep_open`` are file descriptors that it inherits.

    A subclass that serves something says in ``is_ready`` how to find out that it does, and in
    ``cause_in`` what its log says about why it does not.
    """

    url = ""
    """Where a subclass that serves something can be reached."""

    ready_timeout_s: float = 30
    stop_timeout_s: float = 10

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log_path: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        keep_open: Iterable[int] = (),
    ):
        self.name = name
        self.command = [str(word) for word in command]
        self.log_path = log_path
        self._env = env
        self._cwd = cwd
        self._keep_open = tuple(keep_open)
        self._popen: subprocess.Popen[bytes] | None = None
        self.hangs = False
        self._log_start_bytes = 0

    def start(self) -> Self:
        """Start the command and wait until it is ready; after stop() or kill(), start it again.

        Raises ProcessFailed; the process is gone then.
        """
        self.spawn()
        try:
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def spawn(self) -> None:
        """Start the command and do not wait. Raises ProcessFailed when it cannot be executed."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        self.kill()  # It may have ended by itself and left children behind.
        self.hangs = False
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._log_start_bytes = log.tell()
            try:
                self._popen = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    cwd=self._cwd,
                    pass_fds=self._keep_open,
                    start_new_session=True,
                    # Not SIGKILL: a server that is killed cannot end its own workers, and those of
                    # nginx would keep listening.
                    preexec_fn=partial(die_with_parent, signal.SIGTERM, os.getpid()),
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise ProcessFailed(f"{self.name} cannot be started: {error}") from None

    def is_ready(self) -> bool:
        """Whether it serves now. Asked again and again by start(); False while it does not."""
        return True

    def cause_in(self, log: str) -> str | None:
        """Why it ended or is not ready, if the log has something that people need not read."""
        return None

    def wait_until_ready(self) -> None:
        """Raises ProcessFailed when it ends, or is not ready within ``ready_timeout_s``."""
        deadline = time.monotonic() + self.ready_timeout_s
        while True:
            if not self.running:
                raise self.failure(f"ended at once (exit code {self.exit_code})")
            if self.is_ready():
                return
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready within {self.ready_timeout_s:.0f} s")
            time.sleep(POLL_INTERVAL_S)

    def run_to_end(self, timeout_s: float) -> None:
        """Start the command and wait for its end. Raises ProcessFailed unless it exits with 0."""
        self.spawn()
        try:
            ended = self._wait(timeout_s)
        finally:
            self.kill()
        if not ended:
            raise self.failure(f"did not end within {timeout_s:.0f} s")
        if self.exit_code:
            raise self.failure(f"failed (exit code {self.exit_code})")

    def stop(self) -> None:
        """Ask it to end with SIGTERM, and kill what is left after ``stop_timeout_s``."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)
            self.resume()
            self._wait(self.stop_timeout_s)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for the process and all of its own children: what a power failure does."""
        if self._popen is None or self._popen.returncode is not None:
            return
        # Until it is reaped below, its process group cannot be anybody else's.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    def hang(self) -> None:
        """SIGSTOP: it answers nothing and keeps its connections, until resume()."""
        self.hangs = True
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        self.hangs = False
        os.kill(self.pid, signal.SIGCONT)

    @property
    def running(self) -> bool:
        return self._popen is not None and self.exit_code is None

    @property
    def pid(self) -> int:
        """Raises RuntimeError before the first start."""
        if self._popen is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None before its end; negative: the signal that ended it."""
        if self._popen is None:
            return None
        if self._popen.returncode is not None:
            return self._popen.returncode
        # Look without reaping: until kill() is done, its process id must stay its own.
        end = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if end is None:
            return None
        return end.si_status if end.si_code == os.CLD_EXITED else -end.si_status

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """The last lines that it wrote since its last start."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start_bytes)
            tail = deque(log, maxlen=lines)
        return b"".join(tail).decode(errors="replace").rstrip()

    @property
    def folders(self) -> list[Path]:
        """Where it writes."""
        return [self.log_path.parent]

    def failure(self, what: str) -> ProcessFailed:
        """An error that says what happened to this process, and why."""
        cause = (
            self._killed_by()
            or self.cause_in(self.log_tail(CAUSE_TAIL_LINES))
            # On a full disk its own words may be missing, or be about something else.
            or full_disk(self.folders)
        )
        if cause:
            return ProcessFailed(f"{self.name} {what}: {cause}. Its log: {self.log_path}")
        tail = self.log_tail() or "(it wrote nothing)"
        return ProcessFailed(f"{self.name} {what}. The end of {self.log_path}:\n{tail}")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _killed_by(self) -> str | None:
        """The signal that somebody else ended it with; its log knows nothing of that."""
        if self.exit_code == -signal.SIGKILL:
            return "it was killed (SIGKILL), perhaps because the machine ran out of memory"
        if self.exit_code == -signal.SIGTERM:
            return "another program told it to end (SIGTERM)"
        return None

    def _wait(self, timeout_s: float) -> bool:
        """Whether it ended in that time."""
        deadline = time.monotonic() + timeout_s
        while self.running and time.monotonic() < deadline:
            time.sleep(POLL_INTERVAL_S)
        return not self.running


def full_disk(folders: Iterable[Path]) -> str | None:
    """What to say when one of these folders is on a disk where nothing can be written."""
    for folder in folders:
        with contextlib.suppress(OSError):
            disk = os.statvfs(folder)
            blocks = disk.f_bavail if os.geteuid() else disk.f_bfree
            # Some file systems count no files: they have 0 of 0.
            if blocks * disk.f_frsize < FULL_BELOW_BYTES or (disk.f_files and not disk.f_ffree):
                return no_space(folder)
    return None


def no_space(path: Path | str) -> str:
    return f"no space is left on the disk of {path}"


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now. Raises OSError when a hundred tries find none."""
    for port in random.sample(FREE_PORTS, FREE_PORT_TRIES):
        if port_is_free(port, host):
            return port
    raise OSError(f"found no free port on {host} between {FREE_PORTS[0]} and {FREE_PORTS[-1]}")


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there. Raises PermissionError for a privileged port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of a former server that linger in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except PermissionError:
            raise
        except OSError:
            return False
    return True


def accepts_connections(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
