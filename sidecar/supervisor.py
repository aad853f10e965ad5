"""Runs a command with a limiter beside it, and ends when the command ends. Linux only.

The supervisor has no signal handlers: it blocks the signals it needs and waits for them one by one,
so none interrupts it at a bad moment and none is lost.

**Signals.** Those that gunicorn handles are forwarded to the command. One from the terminal
(Ctrl-C) has already reached the command, which is in the same process group, and is not forwarded;
the kernel marks these. A signal sent to the whole group with kill(2) cannot be distinguished and
arrives twice; gunicorn treats the second like the first. The limiter has a session of its own and
gets none of these: it is ended last.

**Death.** However the supervisor dies, the kernel sends its children a signal (PR_SET_PDEATHSIG in
prctl(2)): SIGKILL to the limiter, which has nothing to save, and SIGTERM to the command, because a
gunicorn that is killed leaves its workers behind, holding the port, and one that is terminated ends
them.

**Hanging.** The limiter is probed once a second. One that has not responded for three seconds is
killed, and then restarted like one that crashed.

**Limits.** After SIGUSR2, with which gunicorn upgrades itself, the supervisor still ends with the
gunicorn it started. Restart the supervisor instead.
"""

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping

from sidecar.parent_death import die_with_parent
from sidecar.protocol import MAX_ANSWER_BYTES, STATS
from sidecar.settings import (
    BadSettings,
    Settings,
    check_socket_path,
    environment,
    read_settings,
)

USAGE = """\
usage: python -m sidecar COMMAND [ARGUMENT ...]

Runs COMMAND with a rate limiter beside it, whose socket it finds in LIMITER_SOCKET.
Ends with the exit code of COMMAND, or 128 + n when signal n ended it; 127 when there
is no such command, 126 when it cannot be run, 2 for a mistake in the arguments or
settings, 1 when the limiter does not start."""

ENDING_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
FORWARDED_SIGNALS = ENDING_SIGNALS | {
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGWINCH,
}
AWAITED_SIGNALS = FORWARDED_SIGNALS | {signal.SIGCHLD}

SI_KERNEL = 0x80
"""``si_code`` of a signal that the kernel sent, as the terminal does; see sigaction(2)."""

START_TIMEOUT_S = 10.0
START_POLL_S = 0.01
PROBE_TIMEOUT_S = 0.2

LOOK_INTERVAL_S = 1.0
MAX_MISSES = 3
"""Consecutive probes without a response. Counted and not timed, so that a limiter that was paused
together with the supervisor, or with the whole machine, still has time to respond."""

FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0
STEADY_AFTER_S = 30.0
"""After this uptime earlier crashes no longer delay the next restart."""

logger = logging.getLogger("sidecar")


class CannotStart(Exception):
    """Nothing runs; the message says why, ``exit_code`` what to end with."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class Probe:
    """Finds out whether the limiter responds, without waiting for it."""

    def __init__(self, socket_path: str):
        self._socket_path = socket_path
        self._asked: socket.socket | None = None

    def answered(self) -> bool:
        """Whether it has responded to the previous probe. Sends the next one."""
        answered = False
        if self._asked is not None:
            with self._asked, contextlib.suppress(OSError):
                answered = bool(self._asked.recv(MAX_ANSWER_BYTES))
        try:
            self._asked = ask(self._socket_path, 0)
        except OSError:
            self._asked = None
        return answered


class Limiter:
    """The limiter process, restarted with growing delays when it crashes, and killed when it
    hangs."""

    def __init__(self, socket_path: str, environ: Mapping[str, str], grace_s: float):
        self._socket_path = socket_path
        self._environ = environ
        self._grace_s = grace_s
        self._pause_s = FIRST_PAUSE_S
        self._restart_at: float | None = None
        self._pulse = Probe(socket_path)
        self._start()

    def wait_until_it_answers(self) -> None:
        """Raises CannotStart, also when a signal says to end."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not probe(self._socket_path):
            received = signal.sigtimedwait(ENDING_SIGNALS, START_POLL_S)
            if received is not None:
                name = signal.Signals(received.si_signo).name
                raise CannotStart(f"ended by {name} before the start", 128 + received.si_signo)
            if self._process.poll() is not None:
                raise CannotStart("the limiter ended at its start", 1)
            if time.monotonic() > deadline:
                raise CannotStart(f"no answer from the limiter within {START_TIMEOUT_S:g} s", 1)

    def supervise_once(self) -> float:
        """Restarts it if it ended and its delay is over; kills it if it hangs.

        Returns in how many seconds to call again; and call when it ends.
        """
        now = time.monotonic()
        if self._process.poll() is None:
            return self._look(now)
        if self._restart_at is None:
            if now - self._started_at >= STEADY_AFTER_S:
                self._pause_s = FIRST_PAUSE_S
            logger.error("the limiter %s", describe_end(self._process.returncode))
            return self._hold_back(now)
        if now < self._restart_at:
            return self._restart_at - now
        try:
            self._start()
        except OSError as error:
            logger.error("the limiter cannot be started: %s", error)
            return self._hold_back(now)
        return LOOK_INTERVAL_S

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sidecar.server"],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=child_that_dies_by(signal.SIGKILL),
        )
        self._started_at = time.monotonic()
        self._restart_at = None
        self._next_look_at = self._started_at + LOOK_INTERVAL_S
        self._has_answered = False
        self._misses = 0

    def _look(self, now: float) -> float:
        if now >= self._next_look_at:
            self._next_look_at = now + LOOK_INTERVAL_S
            if self._pulse.answered():
                self._has_answered = True
                self._misses = 0
            elif self._has_answered or now - self._started_at > START_TIMEOUT_S:
                self._misses += 1
            if self._misses == MAX_MISSES:
                logger.error("the limiter does not answer any more: killing it")
                self._process.kill()
        return self._next_look_at - now

    def _hold_back(self, now: float) -> float:
        """Returns for how many seconds."""
        pause_s = self._pause_s
        logger.info("starting the limiter again in %g s", pause_s)
        self._restart_at = now + pause_s
        self._pause_s = min(2 * pause_s, MAX_PAUSE_S)
        return pause_s


def main(arguments: list[str]) -> int:
    """Run the command in ``arguments``. Returns the exit code that USAGE describes."""
    logging.basicConfig(format="sidecar: %(message)s", level=logging.INFO)
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if not arguments or arguments[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        environ = environment()
        return run(arguments, environ, read_settings(environ))
    except BadSettings as error:
        print(f"settings: {error}", file=sys.stderr)
        return 2
    except CannotStart as error:
        logger.error("%s", error)
        return error.exit_code


def run(command: list[str], environ: Mapping[str, str], settings: Settings) -> int:
    """Run ``command`` with a limiter beside it until it ends. Returns its exit code.

    Blocks signals for good, so the process should exit afterwards. Raises CannotStart when the
    limiter does not start or there is no such command.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED_SIGNALS)
    # If the parent ignores SIGCHLD, that is inherited, and the exit code would be lost.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with socket_path_of(settings) as socket_path:
        if probe(socket_path):
            raise CannotStart(f"another limiter answers on {socket_path}", 1)
        environ = {**environ, "LIMITER_SOCKET": socket_path}
        limiter = Limiter(socket_path, environ, settings.limiter_grace_s)
        try:
            limiter.wait_until_it_answers()
            return exit_code_of(attend(start(command, environ), limiter))
        finally:
            limiter.stop()


@contextlib.contextmanager
def socket_path_of(settings: Settings) -> Iterator[str]:
    """The path that is set, or one in a folder that only this user can enter."""
    if settings.limiter_socket:
        yield settings.limiter_socket
        return
    folder = tempfile.mkdtemp(prefix="tickets-limiter-")
    try:
        path = f"{folder}/socket"
        try:
            check_socket_path("LIMITER_SOCKET", path)
        except ValueError as error:
            raise CannotStart(str(error), 2) from None
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start(command: list[str], environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Raises CannotStart with the exit codes that shells use."""
    try:
        return subprocess.Popen(command, env=environ, preexec_fn=child_that_dies_by(signal.SIGTERM))
    except FileNotFoundError:
        raise CannotStart(f"{command[0]}: command not found", 127) from None
    except OSError as error:
        raise CannotStart(f"{command[0]}: {error.strerror}", 126) from None


def attend(command: "subprocess.Popen[bytes]", limiter: Limiter) -> int:
    """Pass signals on and keep the limiter running until the command ends.

    Returns subprocess's return code.
    """
    while command.poll() is None:
        received = signal.sigtimedwait(AWAITED_SIGNALS, limiter.supervise_once())
        if received is None or received.si_signo == signal.SIGCHLD:
            continue
        if received.si_code != SI_KERNEL:
            command.send_signal(received.si_signo)
    return command.returncode


def probe(socket_path: str) -> bool:
    """Whether a limiter responds there."""
    try:
        with ask(socket_path, PROBE_TIMEOUT_S) as asked:
            return bool(asked.recv(MAX_ANSWER_BYTES))
    except OSError:
        return False


def ask(socket_path: str, timeout_s: float) -> socket.socket:
    """A connection on which the limiter has been asked for its statistics; no call on it takes
    longer than ``timeout_s``. Raises OSError."""
    asked = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        asked.settimeout(timeout_s)
        asked.connect(socket_path)
        asked.sendall(STATS + b"\n")
    except OSError:
        asked.close()
        raise
    return asked


def exit_code_of(return_code: int) -> int:
    return return_code if return_code >= 0 else 128 - return_code


def describe_end(return_code: int) -> str:
    if return_code >= 0:
        return f"ended with code {return_code}"
    return f"was ended by signal {-return_code}"


def child_that_dies_by(death_signal: signal.Signals) -> Callable[[], None]:
    """Returns a preexec_fn that has ``death_signal`` sent to the child when the supervisor dies.

    preexec_fn is not safe in general, but here it is: the supervisor has one thread, so no lock can
    be held in the child.
    """
    parent_pid = os.getpid()

    def prepare() -> None:
        die_with_parent(death_signal, parent_pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, AWAITED_SIGNALS)

    return prepare
