"""Child processes: started, awaited, and ended by process id, never by name."""

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
"""mongod writes a hundred lines between the cause of a failure and its exit."""

FREE_PORTS = range(20_000, 32_000)
"""Below 32768: from there on Linux takes the ports of outgoing connections, and one of those could
occupy a server's port while the server is down between two starts."""
FREE_PORT_TRIES = 100

FULL_BELOW_BYTES = 64 * 1024
"""A disk with less counts as full. A process that failed for lack of space removes its unfinished
file, so the disk may have a little room again."""


class ProcessFailed(Exception):
    """A process did not start, did not get ready or ended by itself.

    The message gives the cause in one line or, if that is not known, the last lines of its log.
    """


class Process:
    """A command as a child of this process, in a session of its own.

    In a session of its own it does not get the terminal's Ctrl-C, so the parent decides in which
    order its children end. When the parent is killed, the child gets SIGTERM; the kernel sends it
    when the starting thread ends, so start it from a thread that outlives the child.

    ``env`` is the child's whole environment, by default this process's. Output and errors are
    appended to ``log_path``. ``keep_open`` are file descriptors that it inherits.

    A subclass for a server overrides ``is_ready``, and ``cause_in``, which finds in the log why it
    is not ready.
    """

    url = ""
    """The address of a server."""

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
                    # Not SIGKILL: a killed server cannot end its own workers, and nginx's workers
                    # would keep listening.
                    preexec_fn=partial(die_with_parent, signal.SIGTERM, os.getpid()),
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise ProcessFailed(f"{self.name} cannot be started: {error}") from None

    def is_ready(self) -> bool:
        """Whether it serves now. start() polls this until it is True."""
        return True

    def cause_in(self, log: str) -> str | None:
        """In plain words why it ended or is not ready, if ``log`` shows a known cause; else
        None."""
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
        """Send SIGTERM, and kill whatever is left after ``stop_timeout_s``."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)
            self.resume()
            self._wait(self.stop_timeout_s)
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to the process and all its children, as sudden as a power failure."""
        if self._popen is None or self._popen.returncode is not None:
            return
        # Until it is reaped below, no other process group can have its id.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    def hang(self) -> None:
        """Send SIGSTOP: it answers nothing but keeps its connections, until resume()."""
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
        """None while it runs; negative for the signal that ended it."""
        if self._popen is None:
            return None
        if self._popen.returncode is not None:
            return self._popen.returncode
        # Look without reaping: until kill() is done, no other process may get its id.
        end = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if end is None:
            return None
        return end.si_status if end.si_code == os.CLD_EXITED else -end.si_status

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """The last lines of its log since its last start."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start_bytes)
            tail = deque(log, maxlen=lines)
        return b"".join(tail).decode(errors="replace").rstrip()

    @property
    def folders(self) -> list[Path]:
        """The folders that it writes to."""
        return [self.log_path.parent]

    def failure(self, what: str) -> ProcessFailed:
        """The error to raise: what happened to this process, and why."""
        cause = (
            self._killed_by()
            or self.cause_in(self.log_tail(CAUSE_TAIL_LINES))
            # On a full disk its log may be missing, or blame something else.
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
        """The signal that ended it, which its log does not show."""
        if self.exit_code == -signal.SIGKILL:
            return "it was killed (SIGKILL), perhaps because the machine ran out of memory"
        if self.exit_code == -signal.SIGTERM:
            return "another program told it to end (SIGTERM)"
        return None

    def _wait(self, timeout_s: float) -> bool:
        """Returns whether it ended within that time."""
        deadline = time.monotonic() + timeout_s
        while self.running and time.monotonic() < deadline:
            time.sleep(POLL_INTERVAL_S)
        return not self.running


def full_disk(folders: Iterable[Path]) -> str | None:
    """A message if one of these folders is on a disk that is full; else None."""
    for folder in folders:
        with contextlib.suppress(OSError):
            disk = os.statvfs(folder)
            blocks = disk.f_bavail if os.geteuid() else disk.f_bfree
            # Some file systems do not count files: they report 0 of 0.
            if blocks * disk.f_frsize < FULL_BELOW_BYTES or (disk.f_files and not disk.f_ffree):
                return no_space(folder)
    return None


def no_space(path: Path | str) -> str:
    return f"no space is left on the disk of {path}"


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port on which nothing listens. Raises OSError when a hundred tries find none."""
    for port in random.sample(FREE_PORTS, FREE_PORT_TRIES):
        if port_is_free(port, host):
            return port
    raise OSError(f"found no free port on {host} between {FREE_PORTS[0]} and {FREE_PORTS[-1]}")


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there. Raises PermissionError for a privileged port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an earlier server in TIME_WAIT must not prevent it.
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
    """Whether a server listens there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
