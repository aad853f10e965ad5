"""Sidecars for the tests of the limiter: real processes on real Unix sockets."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sidecar.client import LimiterClient
from sidecar.protocol import encode_answer
from sidecar.sliding_log import Decision, Rate
from tests.support.processes import children_of
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
PATIENCE_S = 5.0
START_UP_S = 60
"""Enough on a busy machine; the command imports gevent too."""
LIMIT = 10
RATE = Rate(LIMIT, 3600 * 10**9)
"""The window is longer than any test, so that the machine's speed does not change the counts."""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


WAIT = python("import time; time.sleep(60)")
SHOW_SIGNALS = python(
    """
import signal
names = "TERM INT HUP QUIT USR1 USR2 TTIN TTOU WINCH".split()
for name in names:
    signal.signal(
        getattr(signal, "SIG" + name), lambda n, _: print(signal.Signals(n).name, flush=True)
    )
print("ready", flush=True)
while True:
    signal.pause()
"""
)

QUICK_SUPERVISOR = """
import sys
from sidecar import supervisor
supervisor.LOOK_INTERVAL_S = float(sys.argv[1])
sys.exit(supervisor.main(sys.argv[2:]))
"""

PATIENT_LIMITER = """
import sys
from sidecar import server
from sidecar.shared_log import SharedLog
SharedLog.answer_timeout_s = float(sys.argv[1])
sys.exit(server.main())
"""


def is_limiter(pid: int) -> bool:
    return b"sidecar.server" in Path(f"/proc/{pid}/cmdline").read_bytes()


class Limiter:
    """A limiter process; with a Redis it shares its counts, like one of several hosts."""

    def __init__(self, process: subprocess.Popen, socket_path: str):
        self.process = process
        self.socket_path = socket_path

    def client(self, timeout_s: float = PATIENCE_S) -> LimiterClient:
        """With a long time-out by default, so that a busy machine does not change decisions."""
        return LimiterClient(self.socket_path, timeout_s=timeout_s)


class Sidecar(Limiter):
    """``python -m sidecar COMMAND`` with its two children."""

    def child(self, *, limiter: bool) -> int:
        """The command's process id, once it has been started."""

        def found():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                return [c for c in children_of(self.process.pid) if is_limiter(c) == limiter]

        return eventually(found, "a child")[0]

    def line(self) -> str:
        return self.process.stdout.readline().strip()


def run(command: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *command],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=START_UP_S,
    )


@contextlib.contextmanager
def a_limiter_that(answer: Callable[[bytes], Decision | bytes]) -> Iterator[str]:
    """A limiter in this process that sends ``answer(key)`` to a client; if that is empty, it closes
    the connection."""
    with a_limiter_told(lambda question: answer(question.split()[-1])) as path:
        yield path


@contextlib.contextmanager
def a_limiter_told(answer: Callable[[bytes], Decision | bytes]) -> Iterator[str]:
    """The same, with the whole line of each question, without its line feed."""
    path = f"\0tickets-test-{os.getpid()}-{time.monotonic_ns()}"

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as questions:
            for question in questions:
                said = answer(question.removesuffix(b"\n"))
                if said == b"":
                    connection.shutdown(socket.SHUT_RDWR)
                connection.sendall(said if isinstance(said, bytes) else encode_answer(said))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        threading.Thread(target=accept, daemon=True).start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)
