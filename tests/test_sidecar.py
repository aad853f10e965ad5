"""The limiter with real processes on real Unix sockets."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import stat
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.client import MAX_CONNECTIONS, LimiterClient
from sidecar.protocol import (
    MAX_KEY_BYTES,
    ProtocolError,
    decode_answer,
    encode_answer,
    encode_request,
)
from sidecar.settings import MAX_SOCKET_PATH_BYTES, BadSettings, parse_rate, read_settings
from sidecar.sliding_log import Decision

ROOT = Path(__file__).parent.parent
PATIENCE_S = 5.0
LIMIT = 10
LONG_WINDOW_NS = 3600 * 10**9
"""Longer than any test, so that how quick the machine is changes no count."""


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


def eventually(condition: Callable[[], object], what: str) -> object:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {PATIENCE_S} s: {what}")


def fields_of(pid: int) -> list[str]:
    """State and parent of a process, as /proc has them; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return []


def runs(pid: int) -> bool:
    return fields_of(pid)[:1] not in ([], ["Z"])


def children_of(pid: int) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [child for child in pids if fields_of(child)[1:] == [str(pid)] and runs(child)]


def is_limiter(pid: int) -> bool:
    return b"sidecar.server" in Path(f"/proc/{pid}/cmdline").read_bytes()


class Sidecar:
    """``python -m sidecar COMMAND`` with its two children."""

    def __init__(self, process: subprocess.Popen, socket_path: str):
        self.process = process
        self.socket_path = socket_path

    def child(self, *, limiter: bool) -> int:
        """Its pid, once it has been started."""

        def found():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                return [c for c in children_of(self.process.pid) if is_limiter(c) == limiter]

        return eventually(found, "a child")[0]

    def client(self, **options) -> LimiterClient:
        return LimiterClient(self.socket_path, LIMIT, LONG_WINDOW_NS, **options)

    def line(self) -> str:
        return self.process.stdout.readline().strip()


@pytest.fixture
def environ(tmp_path) -> dict[str, str]:
    """The limiter's temporary folder is where the test can see what is left in it."""
    return {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "LIMITER_SOCKET": str(tmp_path / "socket"),
        "RATE_LIMIT": f"{LIMIT}/hour",
    }


@pytest.fixture
def start(environ) -> Iterator[Callable[..., Sidecar]]:
    started = []

    def start(command: list[str], **options) -> Sidecar:
        process = subprocess.Popen(
            [sys.executable, "-m", "sidecar", *command],
            **{"cwd": ROOT, "env": environ, "stdout": subprocess.PIPE, "text": True, **options},
        )
        started.append(process)
        return Sidecar(process, environ["LIMITER_SOCKET"])

    yield start
    for process in started:
        children = children_of(process.pid)
        process.kill()
        process.wait()
        for child in children:
            # SHOW_SIGNALS outlives the SIGTERM that it gets when its parent dies.
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def ready(start) -> Sidecar:
    """A sidecar whose command runs."""
    sidecar = start(SHOW_SIGNALS)
    assert sidecar.line() == "ready"
    return sidecar


def run(command: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *command],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


# ---------------------------------------------------------------- the supervisor


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
path = os.environ["LIMITER_SOCKET"]
client = LimiterClient(path, 1, 1)
modes = [oct(os.stat(p).st_mode & 0o777) for p in (path, os.path.dirname(path))]
print(path, *modes, client.check("a").remaining, client.fallbacks)
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
        ("RATE_LIMIT", "ten/second"),
        ("RATE_LIMIT", "0/second"),
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
    with open(terminal, "wb", buffering=0) as terminal, open(end_of_sidecar) as end_of_sidecar:
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
    assert not any(runs(pid) for pid in children)
    assert list(tmp_path.iterdir()) == []


def test_the_limiter_answers_until_the_command_has_ended(start):
    sidecar = start(
        python(
            """
import os, signal, time
from sidecar.client import LimiterClient
def end(*_):
    time.sleep(0.3)
    client = LimiterClient(os.environ["LIMITER_SOCKET"], 1, 1)
    print(client.check("a").remaining, client.fallbacks, flush=True)
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
        eventually(lambda pid=pid: not runs(pid), "the end of a child")


def test_a_second_limiter_on_the_same_socket_is_refused(ready, environ):
    ended = run(WAIT, environ)
    assert ended.returncode == 1
    assert "another limiter" in ended.stderr
    client = ready.client()
    assert client.check("a").allowed
    assert client.fallbacks == 0


def test_a_socket_file_that_a_killed_limiter_left_is_replaced(environ):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(environ["LIMITER_SOCKET"])
    assert run(python(""), environ).returncode == 0


# ---------------------------------------------------------------- the limiter


def test_only_its_own_user_can_connect(ready):
    assert stat.S_IMODE(os.stat(ready.socket_path).st_mode) == 0o600


def test_requests_sent_together_are_answered_in_order(ready):
    keys = [f"client-{number % 7}" for number in range(50)]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(ready.socket_path)
        connection.sendall(b"".join(encode_request(key) for key in keys))
        with connection.makefile("rb") as answers:
            decisions = [decode_answer(next(answers)) for _ in keys]
    asked = dict.fromkeys(keys, 0)
    for key, decision in zip(keys, decisions, strict=True):
        asked[key] += 1
        assert decision.remaining == LIMIT - asked[key]


def test_a_request_may_come_in_pieces(ready):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(ready.socket_path)
        for piece in (b"203.0", b".113.7", b"\n"):
            connection.sendall(piece)
            time.sleep(0.05)
        assert decode_answer(connection.recv(100)).remaining == LIMIT - 1
    assert ready.client().check("203.0.113.7").remaining == LIMIT - 2


@pytest.mark.parametrize("bad", [b"\n", b"x" * (MAX_KEY_BYTES + 1), b"x" * 1_000_000 + b"\n"])
def test_bad_input_closes_its_own_connection_and_no_other(ready, bad):
    client = ready.client()
    client.check("a")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(ready.socket_path)
        connection.settimeout(PATIENCE_S)
        with contextlib.suppress(ConnectionError):
            connection.sendall(bad)
        with contextlib.suppress(ConnectionError):
            assert connection.recv(100) == b""
    assert client.check("a").remaining == LIMIT - 2
    assert client.fallbacks == 0


def test_who_does_not_read_its_answers_is_not_read_from(ready):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(ready.socket_path)
        connection.setblocking(False)
        sent_bytes, limit_bytes = 0, 50_000_000
        quiet_since = time.monotonic()
        while sent_bytes < limit_bytes and time.monotonic() - quiet_since < 0.5:
            try:
                sent_bytes += connection.send(b"a\n" * 50_000)
                quiet_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
    assert sent_bytes < limit_bytes
    client = ready.client(timeout_s=PATIENCE_S)
    assert client.check("b").allowed
    assert client.fallbacks == 0


# ---------------------------------------------------------------- its client


def test_many_threads_of_one_client_get_exactly_the_limit(ready):
    clients = [ready.client(timeout_s=PATIENCE_S) for _ in range(4)]
    barrier = threading.Barrier(40)
    decisions = []

    def ask(client):
        barrier.wait()
        decisions.extend(client.check("one") for _ in range(5))

    threads = [threading.Thread(target=ask, args=(clients[n % 4],)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(decision.allowed for decision in decisions) == LIMIT
    assert [client.fallbacks for client in clients] == [0] * 4


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import json, os, sys, time
import gevent
from sidecar.client import LimiterClient
client = LimiterClient(os.environ["LIMITER_SOCKET"], 10, 3600 * 10**9)
"""


def test_a_thousand_greenlets_of_one_client_get_exactly_the_limit_and_no_fallback(environ):
    ended = run(
        python(
            GREENLETS
            + """
asked = [gevent.spawn(client.check, "one") for _ in range(1000)]
asked += [gevent.spawn(client.check, f"other-{n}") for n in range(200)]
gevent.joinall(asked)
allowed = [greenlet.value.allowed for greenlet in asked]
print(json.dumps([sum(allowed[:1000]), sum(allowed[1000:]), client.fallbacks]))
"""
        ),
        environ,
    )
    assert json.loads(ended.stdout) == [LIMIT, 200, 0], ended.stderr


def test_an_answer_that_came_while_the_process_was_busy_counts():
    def answer_late(_):
        time.sleep(0.005)
        return Decision(True, 7, 1)

    code = """
from gevent import monkey; monkey.patch_all()
import sys, time
import gevent
from sidecar.client import LimiterClient
client = LimiterClient("\\0" + sys.argv[1], 10, 3600 * 10**9, timeout_s=0.1)
def be_busy():
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        pass
client.check("one")
asked = gevent.spawn(client.check, "one")
gevent.spawn(be_busy)
print(asked.get().remaining, client.fallbacks)
"""
    with a_limiter_that(answer_late) as path:
        answer = subprocess.check_output([*python(code), path[1:]], cwd=ROOT, text=True)
    assert answer.split() == ["7", "0"]


def test_a_killed_greenlet_leaves_no_answer_for_the_next_caller(environ):
    ended = run(
        python(
            GREENLETS
            + """
client.check("one")
killed = gevent.spawn(client.check, "one")
gevent.sleep(0)
killed.kill()
print(json.dumps([client.check("other").remaining, client.fallbacks]))
"""
        ),
        environ,
    )
    assert json.loads(ended.stdout) == [LIMIT - 1, 0], ended.stderr


def test_while_the_limiter_is_gone_the_worker_counts_and_then_returns_to_it(ready, caplog):
    client = ready.client()
    assert client.check("a").remaining == LIMIT - 1

    limiter = ready.child(limiter=True)
    os.kill(limiter, signal.SIGSTOP)
    local = [client.check("b").allowed for _ in range(LIMIT + 5)]
    assert local == [True] * LIMIT + [False] * 5
    assert client.fallbacks == LIMIT + 5
    os.kill(limiter, signal.SIGKILL)

    def asks_again():
        client.check("c")
        return client.answers

    eventually(asks_again, "the return to the limiter")
    assert ready.child(limiter=True) != limiter
    fallbacks = client.fallbacks
    assert client.check("d").remaining == LIMIT - 1
    assert client.fallbacks == fallbacks
    assert len(caplog.messages) == 2


def test_connections_from_before_a_restart_cost_no_fallback(ready):
    client = ready.client()
    client.check("a")
    limiter = ready.child(limiter=True)
    os.kill(limiter, signal.SIGKILL)
    eventually(lambda: not runs(limiter), "the end of the limiter")
    other = ready.client()
    eventually(lambda: other.check("b") and other.answers and other.fallbacks, "a new limiter")
    assert client.check("a").allowed
    assert client.fallbacks == 0


def test_a_limiter_that_hangs_delays_few_requests(ready):
    client = ready.client(timeout_s=0.02)
    client.check("a")
    limiter = ready.child(limiter=True)
    os.kill(limiter, signal.SIGSTOP)
    began = time.monotonic()
    for number in range(100):
        client.check(f"client-{number}")
    took_s = time.monotonic() - began
    os.kill(limiter, signal.SIGCONT)
    assert 0.02 <= took_s < 1, "not the time-out of each"
    assert client.fallbacks == 100


def test_callers_that_wait_for_a_connection_learn_that_the_limiter_hangs(ready):
    client = ready.client(timeout_s=0.1)
    client.check("a")
    limiter = ready.child(limiter=True)
    os.kill(limiter, signal.SIGSTOP)
    callers = [threading.Thread(target=client.check, args=(f"c{n}",)) for n in range(80)]
    began = time.monotonic()
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert time.monotonic() - began < 1, (
        "not ten time-outs in a row, of 80 callers on 8 connections"
    )
    assert client.fallbacks == 80


def test_callers_wait_for_a_connection_longer_than_for_an_answer():
    def answer_slowly(_):
        time.sleep(0.1)
        return Decision(True, LIMIT, 1)

    with a_limiter_that(answer_slowly) as path:
        client = LimiterClient(path, LIMIT, LONG_WINDOW_NS, timeout_s=0.2)
        callers = [threading.Thread(target=client.check, args=("a",)) for _ in range(32)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert client.fallbacks == 0


def test_connections_are_used_again_and_never_more_than_a_few_are_open(ready):
    def sockets() -> int:
        fds = Path(f"/proc/{ready.child(limiter=True)}/fd")
        return sum(os.readlink(fd).startswith("socket:") for fd in fds.iterdir())

    before = sockets()
    client = ready.client(timeout_s=PATIENCE_S)
    for number in range(5):
        client.check(f"client-{number}")
    assert sockets() == before + 1
    callers = [threading.Thread(target=client.check, args=(f"c{n}",)) for n in range(50)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sockets() <= before + MAX_CONNECTIONS
    client.close()
    eventually(lambda: sockets() == before, "the end of the connections")


def test_a_late_answer_is_never_taken_for_that_of_a_later_question(ready):
    client = ready.client(timeout_s=0.02)
    client.check("a")
    limiter = ready.child(limiter=True)
    os.kill(limiter, signal.SIGSTOP)
    client.check("a")
    os.kill(limiter, signal.SIGCONT)
    time.sleep(0.2)
    assert client.check("b").remaining == LIMIT - 1
    assert client.fallbacks == 1


def test_a_denial_is_remembered_until_it_ends():
    window_ns = 200_000_000
    asked = []
    with a_limiter_that(lambda key: asked.append(key) or Decision(False, 0, window_ns)) as path:
        client = LimiterClient(path, LIMIT, window_ns)
        first = client.check("a")
        again = client.check("a")
        assert not again.allowed
        assert 0 < again.reset_ns < first.reset_ns
        assert asked == [b"a"]
        time.sleep(window_ns / 1e9)
        client.check("a")
    assert asked == [b"a", b"a"]


@pytest.mark.parametrize("answer", [b"yes\n", b"allowed 1 2\nallowed 1 2\n", b"x" * 100])
def test_an_answer_that_makes_no_sense_is_no_answer(answer):
    with a_limiter_that(lambda key: answer) as path:
        client = LimiterClient(path, LIMIT, LONG_WINDOW_NS)
        assert client.check("a").remaining == LIMIT - 1
        assert client.fallbacks == 1


def test_a_client_without_a_limiter_counts_by_itself():
    client = LimiterClient("", LIMIT, LONG_WINDOW_NS)
    assert [client.check("a").allowed for _ in range(LIMIT + 1)] == [True] * LIMIT + [False]


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "ä", "x" * (MAX_KEY_BYTES + 1)])
def test_what_could_break_the_protocol_is_no_key(key):
    with pytest.raises(ValueError, match="not a client key"):
        LimiterClient("", LIMIT, LONG_WINDOW_NS).check(key)


@contextlib.contextmanager
def a_limiter_that(answer: Callable[[bytes], Decision | bytes]) -> Iterator[str]:
    """A limiter in this process that answers as the test says."""
    path = f"\0tickets-test-{os.getpid()}-{time.monotonic_ns()}"

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while key := connection.recv(100):
                said = answer(key.rstrip())
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


# ---------------------------------------------------------------- what both sides know


@pytest.mark.parametrize(
    "decision", [Decision(True, 9, 10**9), Decision(False, 0, 1), Decision(True, 9999, 36 * 10**11)]
)
def test_a_decision_survives_the_protocol(decision):
    assert decode_answer(encode_answer(decision)) == decision


def test_half_an_answer_is_none():
    with pytest.raises(ProtocolError):
        decode_answer(b"allowed 9 10")


@pytest.mark.parametrize(
    ("text", "rate"),
    [("10/second", (10, 10**9)), ("600/minute", (600, 60 * 10**9)), ("1/hour", (1, 3600 * 10**9))],
)
def test_a_rate_is_read(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["10", "10/day", "-1/second", "10.5/second", "99999/second"])
def test_a_rate_that_is_none_is_refused(text):
    with pytest.raises(BadSettings, match="RATE_LIMIT"):
        read_settings({"RATE_LIMIT": text})


def test_the_longest_socket_path_fits_and_one_byte_more_does_not():
    longest = "/" + "x" * (MAX_SOCKET_PATH_BYTES - 1)
    assert read_settings({"LIMITER_SOCKET": longest}).limiter_socket == longest
    with pytest.raises(BadSettings, match="LIMITER_SOCKET"):
        read_settings({"LIMITER_SOCKET": longest + "x"})
