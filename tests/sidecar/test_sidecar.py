"""The supervisor: a command with a limiter beside it."""

import fcntl
import os
import pty
import signal
import socket
import termios
import time
from pathlib import Path
from statistics import median

import pytest

from sidecar.settings import MAX_SOCKET_PATH_BYTES
from sidecar.supervisor import MAX_MISSES
from tests.support.processes import is_alive
from tests.support.sidecars import LIMIT, PATIENCE_S, RATE, SHOW_SIGNALS, WAIT, python, run
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        (python("raise SystemExit(7)"), 7),
        (python("import os; os.kill(os.getpid(), 9)"), 128 + 9),
        (["no-such-command"], 127),
        (["/etc/passwd"], 126),
        ([], 2),
        (["--port"], 2),
    ],
)
def test_the_exit_code_says_how_the_command_ended(command, exit_code, environ):
    ended = run(command, environ)
    assert ended.returncode == exit_code
    assert "Traceback" not in ended.stderr


def test_the_command_finds_a_limiter_in_a_folder_of_its_own_which_goes_with_it(environ, tmp_path):
    del environ["LIMITER_SOCKET"]
    found = run(
        python(
            """
import os, sys
from sidecar.client import LimiterClient
from sidecar.sliding_log import Rate
path = os.environ["LIMITER_SOCKET"]
client = LimiterClient(path, timeout_s=5)
modes = [oct(os.stat(p).st_mode & 0o777) for p in (path, os.path.dirname(path))]
print(path, *modes, client.check("a", Rate(10, 10**9)).remaining, client.fallbacks)
"""
        ),
        environ,
    )
    path, *rest = found.stdout.split()
    assert rest == ["0o600", "0o700", str(LIMIT - 1), "0"], found.stderr
    assert Path(path).parent.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LIMITER_REDIS_URL", "localhost:6379"),
        ("LIMITER_MAX_CLIENTS", "0"),
        ("LIMITER_SOCKET", "/tmp/" + "x" * MAX_SOCKET_PATH_BYTES),
    ],
)
def test_a_setting_that_does_not_fit_is_named_at_the_start(name, value, environ):
    ended = run(WAIT, {**environ, name: value})
    assert ended.returncode == 2
    assert name in ended.stderr
    assert "Traceback" not in ended.stderr


def test_every_signal_that_gunicorn_knows_reaches_the_command_once(ready):
    for name in ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "TTIN", "TTOU", "WINCH", "TERM"]:
        ready.process.send_signal(getattr(signal, f"SIG{name}"))
        assert ready.line() == f"SIG{name}"


def test_control_c_in_a_terminal_reaches_the_command_once(start):
    terminal, end_of_sidecar = pty.openpty()
    with (
        os.fdopen(terminal, "wb", buffering=0) as terminal,
        os.fdopen(end_of_sidecar) as end_of_sidecar,
    ):
        sidecar = start(
            SHOW_SIGNALS,
            stdin=end_of_sidecar,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        assert sidecar.line() == "ready"
        terminal.write(b"\x03")
        assert sidecar.line() == "SIGINT"
        sidecar.process.send_signal(signal.SIGUSR1)
        assert sidecar.line() == "SIGUSR1"


def test_no_terminal_reaches_the_limiter(ready):
    assert os.getsid(ready.child(limiter=True)) != os.getsid(ready.process.pid)


def test_sigterm_ends_everything_and_leaves_nothing(start, tmp_path):
    sidecar = start(WAIT)
    children = [sidecar.child(limiter=True), sidecar.child(limiter=False)]
    sidecar.process.terminate()
    assert sidecar.process.wait(PATIENCE_S) == 128 + signal.SIGTERM
    assert not any(is_alive(pid) for pid in children)
    assert list(tmp_path.iterdir()) == []


def test_the_limiter_answers_until_the_command_has_ended(start):
    sidecar = start(
        python(
            """
import os, signal, time
from sidecar.client import LimiterClient
from sidecar.sliding_log import Rate
def end(*_):
    time.sleep(0.3)
    client = LimiterClient(os.environ["LIMITER_SOCKET"], timeout_s=5)
    print(client.check("a", Rate(10, 10**9)).remaining, client.fallbacks, flush=True)
    raise SystemExit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
signal.pause()
"""
        )
    )
    assert sidecar.line() == "ready"
    sidecar.process.terminate()
    assert sidecar.line() == f"{LIMIT - 1} 0"
    assert sidecar.process.wait(PATIENCE_S) == 0


def test_a_killed_supervisor_leaves_no_process(start):
    sidecar = start(WAIT)
    children = [sidecar.child(limiter=True), sidecar.child(limiter=False)]
    sidecar.process.kill()
    for pid in children:
        eventually(lambda pid=pid: not is_alive(pid), "the end of a child")


def test_a_second_limiter_on_the_same_socket_is_refused(ready, environ):
    ended = run(WAIT, environ)
    assert ended.returncode == 1
    assert "another limiter" in ended.stderr
    client = ready.client()
    assert client.check("a", RATE).allowed
    assert client.fallbacks == 0


def test_a_socket_file_that_a_killed_limiter_left_is_replaced(environ):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(environ["LIMITER_SOCKET"])
    assert run(python(""), environ).returncode == 0


def test_a_limiter_that_hangs_is_killed_and_started_again_and_signals_pass_meanwhile(start):
    look_interval_s = 0.3
    ready = start(SHOW_SIGNALS, look_interval_s)
    assert ready.line() == "ready"
    client = ready.client(timeout_s=0.02)
    assert client.check("a", RATE).remaining == LIMIT - 1
    limiter = ready.child(limiter=True)
    time.sleep((MAX_MISSES + 3) * look_interval_s)
    assert is_alive(limiter), "one that answers is left alone"

    os.kill(limiter, signal.SIGSTOP)
    took_s = []
    for _ in range(5):
        began = time.monotonic()
        ready.process.send_signal(signal.SIGUSR1)
        assert ready.line() == "SIGUSR1"
        took_s.append(time.monotonic() - began)
    assert median(took_s) < 0.5
    eventually(lambda: not is_alive(limiter), "the end of the one that hangs")

    def is_back():
        client.check("b", RATE)
        return client.answers

    eventually(is_back, "a new limiter")
    assert ready.child(limiter=True) != limiter
    ready.process.terminate()
    assert ready.line() == "SIGTERM"
