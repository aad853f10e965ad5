"""TicketS on one machine, as ``make run``, the tests and the benchmark start it.

First come Redis, MongoDB and the payment sandbox, unless the environment names others, then the
processes of the Procfile, then nginx. They are stopped in reverse order.
"""

import hashlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from ops.files import write_private
from ops.nginx import render
from ops.processes import Process, free_port
from ops.procfile import read_procfile, shell_command
from ops.run_settings import FILE_NAME, write_run_settings
from ops.servers import HOST, REPOSITORY, HttpServer, Mailbox, Nginx, Sandbox
from ops.stores import Kind, Store, chosen_mongodb, chosen_redis, processes_of
from sidecar.settings import BadSettings, parse_rate
from sidecar.settings import read_settings as read_limiter_settings
from web.origins import parse_origins
from web.settings import DEFAULT_RATE_LIMIT, MIN_KEY_LENGTH, Settings, read_settings

SANDBOX_API_KEY = "sk_test_sandbox"

SENDER = "TicketS <tickets@example.org>"
"""Of mails that go no further than the mailbox."""

PASSED_ON = tuple(
    field.encode_name
    for field in msgspec.structs.fields(Settings)
    if not field.encode_name.startswith(("PORT", "WEB_"))
)
"""The settings that the organiser's commands share with the application: all except where it
listens."""

KEPT_LOGS = 5
"""How many starts' logs are kept, including the current one."""

SHARED_MEMORY = Path("/dev/shm")

RELEASE_TIMEOUT_S = 120
WEB_STOP_TIMEOUT_S = 30
"""A little more than gunicorn's graceful_timeout."""
WATCH_INTERVAL_S = 0.25
START_AGAIN_AFTER_S = 20
"""A member of a group that has ended is started again after this time, so that the others replace
it first."""

SAID_OF_EVENTS = ("Left out: ", "Warning: ")
"""Beginnings of the lines of ``events open`` that are shown on the terminal too, not only in a
log."""


class Stack:
    """All processes of TicketS on this machine, in the order in which they were started.

    State and logs are in ``state_dir``; a later stack with the same folder has the same state. A
    service that ``environ`` names with REDIS_URL, MONGODB_URI or STRIPE_API_KEY is used and not
    started; REDIS and MONGODB choose what is started otherwise.
    ``say`` is called with progress messages. ``keep_open`` are file descriptors that each process
    inherits. ``sandbox_rate_limit`` is the most calls of one endpoint that the payment sandbox
    takes in a second, None for no limit. ``has_mailbox``: unless SMTP_URL names a mail server,
    one for development is started, which ``mailbox`` is then; its pages show the mails. Once
    started, ``environment`` is the environment of the Procfile's processes; ``redis`` and
    ``mongodb`` are what this has started, or None.
    """

    def __init__(
        self,
        state_dir: Path,
        environ: Mapping[str, str] = os.environ,
        *,
        say: Callable[[str], None] = lambda line: None,
        keep_open: Iterable[int] = (),
        sandbox_rate_limit: int | None = None,
        has_mailbox: bool = False,
    ):
        self._state_dir = state_dir
        self._environ = environ
        self._say = say
        self._keep_open = tuple(keep_open)
        self._sandbox_rate_limit = sandbox_rate_limit
        self._has_mailbox = has_mailbox
        self.mailbox: Mailbox | None = None
        self.redis: Store | None = None
        self.mongodb: Store | None = None
        self.processes: list[Process] = []
        """In the order in which they were started."""
        self._replaceable: set[Process] = set()
        """Members of a group: the others can replace any one of them."""
        self._start_again_at_s: dict[Process, float] = {}
        self._memory_dir: Path | None = None

    @property
    def log_dir(self) -> Path:
        return self._state_dir / "logs"

    def start(self, port: int) -> None:
        """Start everything, nginx on ``port``, and wait until it is ready. Raises ProcessFailed,
        and BadSettings before anything is started."""
        self._check_settings()
        self._state_dir.mkdir(parents=True, exist_ok=True)
        _keep_former_logs(self.log_dir)
        # Nobody may mistake the ports of the last run for those of this one.
        (self._state_dir / FILE_NAME).unlink(missing_ok=True)
        self.environment = self._start_what_is_missing(port)
        settings = {name: self.environment[name] for name in PASSED_ON if name in self.environment}
        write_run_settings(self._state_dir, settings, self._environ)
        procfile = read_procfile(REPOSITORY / "Procfile")

        self._say("Opening the events (release)")
        release = self._of_procfile("release", procfile)
        release.run_to_end(RELEASE_TIMEOUT_S)
        for line in release.log_path.read_text(errors="replace").splitlines():
            if line.startswith(SAID_OF_EVENTS):
                self._say(line)

        self._say("Starting the worker")
        self._start(self._of_procfile("worker", procfile))

        web_port = free_port()
        # Where this nginx expects it, whatever address the user has set for their own gunicorn.
        listening = {"PORT": str(web_port), "WEB_HOST": HOST, "WEB_SOCKET": ""}
        self._say(f"Starting the application on port {web_port}")
        web = HttpServer(
            "web",
            shell_command(procfile["web"]),
            self.log_dir / "web.log",
            web_port,
            ready_path="/readyz",
            env=self.environment | listening,
            cwd=REPOSITORY,
            keep_open=self._keep_open,
        )
        web.stop_timeout_s = WEB_STOP_TIMEOUT_S
        self._start(web)

        self._say(f"Starting nginx on port {port}")
        self._start_nginx(port, upstream=f"{HOST}:{web_port}")

    def __getitem__(self, name: str) -> Process:
        """The process of this name: redis, mongod, sandbox, worker, web or nginx; members of groups
        are redis-1, sentinel-1, mongod-1 and so on."""
        return next(process for process in self.processes if process.name == name)

    def watch(self) -> None:
        """Wait for ever. Raises ProcessFailed when a process ends that no other can replace."""
        while True:
            self.look_after()
            time.sleep(WATCH_INTERVAL_S)

    def look_after(self) -> None:
        """Restart members of a group that ended START_AGAIN_AFTER_S ago. Raises ProcessFailed when
        any other process has ended."""
        for process in self.processes:
            if not process.running:
                self._look_after(process)

    def _look_after(self, ended: Process) -> None:
        failure = ended.failure(f"ended by itself (exit code {ended.exit_code})")
        if ended not in self._replaceable:
            raise failure
        if ended not in self._start_again_at_s:
            self._say(f"{failure}\nIt is started again in {START_AGAIN_AFTER_S} s.")
            self._start_again_at_s[ended] = time.monotonic() + START_AGAIN_AFTER_S
        elif time.monotonic() > self._start_again_at_s[ended]:
            del self._start_again_at_s[ended]
            ended.spawn()

    def stop(self) -> None:
        """Stop nginx first and the stores last, so that requests under way can finish."""
        for process in reversed(self.processes):
            process.stop()
        self._free_memory()

    def kill(self) -> None:
        for process in reversed(self.processes):
            process.kill()
        self._free_memory()

    def _free_memory(self) -> None:
        if self._memory_dir is not None:
            shutil.rmtree(self._memory_dir, ignore_errors=True)

    def _check_settings(self) -> None:
        given = {name: value for name, value in self._environ.items() if value}
        made = {"STRIPE_API_KEY": SANDBOX_API_KEY, "SECRET_KEY": "x" * MIN_KEY_LENGTH}
        if "STRIPE_API_BASE" in given and "STRIPE_API_KEY" not in given:
            raise BadSettings(
                "STRIPE_API_BASE is set and STRIPE_API_KEY is not: set the key of the gateway "
                "there, or neither of them for the payment sandbox"
            )
        chosen_redis(given)
        chosen_mongodb(given)
        read_settings(made | given)
        read_limiter_settings(given)

    def _start_what_is_missing(self, port: int) -> dict[str, str]:
        """Returns the environment for the processes of the Procfile."""
        # `flask` and `gunicorn` in the Procfile are those beside this Python.
        commands_dir = str(Path(sys.executable).parent)
        environment = dict(self._environ) | {
            "PATH": os.pathsep.join([commands_dir, self._environ.get("PATH", os.defpath)]),
            "PYTHONUNBUFFERED": "1",
        }
        if not environment.get("REDIS_URL"):
            self.redis = self._start_store(chosen_redis(environment))
            environment["REDIS_URL"] = self.redis.url
        mongodb = chosen_mongodb(environment)
        if not environment.get("MONGODB_URI"):
            self.mongodb = self._start_store(mongodb)
            environment["MONGODB_URI"] = self.mongodb.url
        if not environment.get("STRIPE_API_KEY"):
            ledger_path = self._state_dir / mongodb.ledger
            sandbox = Sandbox(
                ledger_path,
                self.log_dir / "sandbox.log",
                rate_limit=self._sandbox_rate_limit,
                keep_open=self._keep_open,
            )
            self._say(f"Starting the payment sandbox on port {sandbox.port}")
            self._start(sandbox)
            environment |= {"STRIPE_API_KEY": SANDBOX_API_KEY, "STRIPE_API_BASE": sandbox.url}
        if self._has_mailbox and not environment.get("SMTP_URL"):
            self.mailbox = Mailbox(
                self._state_dir / "mails", self.log_dir / "mailbox.log", keep_open=self._keep_open
            )
            self._say(f"Starting the mailbox on port {self.mailbox.smtp_port}")
            self._start(self.mailbox)
            environment |= {
                "SMTP_URL": self.mailbox.smtp_url,
                "MAIL_FROM": environment.get("MAIL_FROM") or SENDER,
                "PUBLIC_URL": environment.get("PUBLIC_URL") or f"http://{HOST}:{port}",
            }
        if not environment.get("SECRET_KEY"):
            environment["SECRET_KEY"] = _kept_secret_key(self._state_dir / "secret_key")
        return environment

    def _of_procfile(self, name: str, procfile: dict[str, str]) -> Process:
        return Process(
            name,
            shell_command(procfile[name]),
            self.log_dir / f"{name}.log",
            env=self.environment,
            cwd=REPOSITORY,
            keep_open=self._keep_open,
        )

    def _start_nginx(self, port: int, upstream: str) -> None:
        state_dir = self._state_dir / "nginx"
        state_dir.mkdir(exist_ok=True)
        # nginx opens its access log already when it checks the configuration.
        self.log_dir.mkdir(exist_ok=True)
        cache_dir = self._memory_dir = _private_memory_dir(state_dir)
        config_path = state_dir / "nginx.conf"
        config_path.write_text(
            render.local(
                listen=f"{HOST}:{port}",
                upstreams=[upstream],
                state_dir=state_dir,
                cache_dir=cache_dir / "kept",
                access_log=self.log_dir / "access.log",
                rate=parse_rate(self.environment.get("RATE_LIMIT") or DEFAULT_RATE_LIMIT),
                allowed_origins=parse_origins(self.environment.get("ALLOWED_ORIGINS") or ""),
            )
        )
        nginx = Nginx(config_path, self.log_dir / "nginx.log", port, ready_path="/healthz")
        self._start(nginx)

    def _start_store(self, kind: Kind) -> Store:
        store = kind.make(self._state_dir / kind.folder, self.log_dir, self._keep_open)
        processes = processes_of(store)
        where = ", ".join(str(process.port) for process in processes)
        self._say(f"Starting {kind.title} on port{'s' if len(processes) > 1 else ''} {where}")
        if len(processes) > 1:
            self._replaceable.update(processes)
        # Before they are started, so that stop() and kill() end them after an interruption.
        self.processes += processes
        return store.start()

    def _start(self, process: Process) -> None:
        # Before it is started, so that stop() and kill() end it after an interruption.
        self.processes.append(process)
        process.start()


def _keep_former_logs(log_dir: Path) -> None:
    """Make room for the logs of this start: those of the last start move to ``logs.1``, and so
    on."""
    shutil.rmtree(log_dir.with_suffix(f".{KEPT_LOGS - 1}"), ignore_errors=True)
    for number in reversed(range(KEPT_LOGS - 1)):
        former = log_dir.with_suffix(f".{number}") if number else log_dir
        if former.exists():
            former.rename(log_dir.with_suffix(f".{number + 1}"))


def _private_memory_dir(state_dir: Path) -> Path:
    """An empty folder, in memory if possible, that only this user can read and write.

    Its name is derived from the state folder, so that what a killed run left behind is found and
    removed. Raises FileExistsError when another user has a folder of that name.
    """
    if SHARED_MEMORY.is_dir():
        digest = hashlib.sha256(os.fsencode(state_dir.resolve())).hexdigest()
        folder = SHARED_MEMORY / f"tickets-{digest[:16]}"
    else:
        folder = state_dir / "memory"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


def _kept_secret_key(path: Path) -> str:
    """SECRET_KEY, which makes hold tokens: generated once, so that tokens survive a restart."""
    if not path.exists():
        write_private(path, secrets.token_hex(32))
    return path.read_text()
