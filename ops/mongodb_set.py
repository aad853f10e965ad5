"""A replica set of MongoDB on one machine, whose members can be killed, hung and started again."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from ops.processes import POLL_INTERVAL_S, ProcessFailed, accepts_connections
from ops.servers import (
    HOST,
    NOT_YET_INITIALIZED,
    PROBE_TIMEOUT_S,
    MongoDB,
)

ELECTION_TIMEOUT_MS = 10_000
"""MongoDB's own default: how long secondaries do not hear of the primary before they elect."""

HEARTBEATS_IN_AN_ELECTION_TIMEOUT = 5
"""As MongoDB's defaults have it, one each 2 s of 10 s: with fewer, one that is late would be taken
for a dead primary."""

Client = pymongo.MongoClient[dict[str, Any]]
Found = TypeVar("Found")


class Member(MongoDB):
    """One mongod of a set. Ready means that it answers; whether the set has a primary is known to
    the set."""

    ready_timeout_s = 60
    """Three at once on a busy machine."""

    def is_ready(self) -> bool:
        if not accepts_connections(self.port, HOST):
            return False
        with self.client() as client:
            try:
                client.admin.command("ping")
                return True
            except PyMongoError:
                return False

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """To this member alone, whatever its role."""
        timeout_ms = PROBE_TIMEOUT_S * 1000
        client: Client = pymongo.MongoClient(
            HOST,
            self.port,
            directConnection=True,
            serverSelectionTimeoutMS=timeout_ms,
            connectTimeoutMS=timeout_ms,
            socketTimeoutMS=timeout_ms,
        )
        with client:
            yield client

    def hang(self) -> None:
        """It stops and keeps its connections, as on a machine that swaps or has lost its disk."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


class MongoReplicaSet:
    """``size`` members, each with a folder in ``state_dir`` and a log in ``log_dir``.

    ``election_timeout_ms`` is ``settings.electionTimeoutMillis`` of the set. ``options`` are given
    to each mongod. Another set of the same folders has their data, on whatever ports.
    """

    def __init__(
        self,
        state_dir: Path,
        log_dir: Path,
        *,
        size: int = 3,
        election_timeout_ms: int = ELECTION_TIMEOUT_MS,
        options: Sequence[str | Path] = (),
        database: str = "tickets",
        keep_open: Iterable[int] = (),
    ):
        keep_open = tuple(keep_open)
        self.members = [
            Member(
                state_dir / name,
                log_dir / f"{name}.log",
                name=name,
                options=options,
                keep_open=keep_open,
            )
            for name in (f"mongod-{number}" for number in range(1, size + 1))
        ]
        hosts = ",".join(member.member for member in self.members)
        self.url = f"mongodb://{hosts}/{database}?replicaSet={MongoDB.replica_set}"
        self._election_timeout_ms = election_timeout_ms

    def start(self) -> Self:
        """Starts all, and waits until one of them is primary and the others follow it. Raises
        ProcessFailed; all are gone then."""
        try:
            for member in self.members:
                member.spawn()
            for member in self.members:
                member.wait_until_ready()
            self._configure()
            self.wait_until_healthy()
        except BaseException:
            self.kill_all()
            raise
        return self

    def stop(self) -> None:
        """The primary last: no election while they end."""
        primary = self.primary() if any(member.running for member in self.members) else None
        for member in sorted(self.members, key=lambda member: member is primary):
            member.stop()

    def kill_all(self) -> None:
        for member in self.members:
            member.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ------------------------------------------------------------ roles

    def primary(self) -> Member | None:
        """The member that takes writes now; None while there is none. One that was hung may still
        believe that it does: that of the latest election counts."""
        greetings = [(member, _hello(member)) for member in self.members]
        primaries = [
            (hello["electionId"], member)
            for member, hello in greetings
            if hello and hello["isWritablePrimary"]
        ]
        return max(primaries, key=lambda found: found[0])[1] if primaries else None

    def secondaries(self) -> list[Member]:
        """All but the primary, also those that are down."""
        primary = self.primary()
        return [member for member in self.members if member is not primary]

    def wait_for_primary(self, other_than: Member | None = None) -> Member:
        """Raises ProcessFailed when there is none for too long."""

        def elected() -> list[Member]:
            primary = self.primary()
            return [] if primary is None or primary is other_than else [primary]

        return self._wait_for(elected, "has no primary")[0]

    def wait_until_healthy(self) -> None:
        """Until one member is primary and all others are secondaries. Raises ProcessFailed."""

        def roles() -> list[str]:
            hellos = [_hello(member) or {} for member in self.members]
            return [
                "primary"
                if hello.get("isWritablePrimary")
                else "secondary"
                if hello.get("secondary")
                else "neither"
                for hello in hellos
            ]

        expected = ["primary"] + ["secondary"] * (len(self.members) - 1)
        self._wait_for(lambda: sorted(roles()) == expected, "is not complete")

    # ------------------------------------------------------------ faults

    def kill(self, member: Member) -> None:
        """SIGKILL: its connections are reset at once."""
        member.kill()

    def hang(self, member: Member) -> None:
        """SIGSTOP: its connections stay, and nobody answers."""
        member.hang()

    def resume(self, member: Member) -> None:
        member.resume()

    def restart(self, member: Member) -> None:
        """Starts one that was killed, or kills it first. Waits until it answers."""
        member.kill()
        member.start()

    def step_down(self) -> None:
        """The primary hands over, as for a planned maintenance."""
        primary = self.wait_for_primary()
        with primary.client() as client:
            # It hands over to a secondary that has everything, and waits for one.
            client.admin.command("replSetStepDown", 60, secondaryCatchUpPeriodSecs=10)

    # ------------------------------------------------------------ configuration

    def _configure(self) -> None:
        first = self.members[0]
        # An initiate answers when all others have agreed.
        with first.client() as client:
            try:
                config = client.admin.command("replSetGetConfig")["config"]
            except OperationFailure as error:
                if error.code != NOT_YET_INITIALIZED:
                    raise ProcessFailed(f"{first.name}: {error}") from None
                client.admin.command("replSetInitiate", self._config())
                return
            wanted = self._config()
            hosts = [member["host"] for member in config["members"]]
            if hosts != [member["host"] for member in wanted["members"]]:
                # The data knows the members by the ports of an earlier run. A set without its
                # majority can only be told so by force; the others hear of it from the first.
                wanted["version"] = config["version"] + 1
                wanted["settings"] = config["settings"] | wanted["settings"]
                client.admin.command("replSetReconfig", wanted, force=True)

    def _config(self) -> dict[str, Any]:
        heartbeat_ms = self._election_timeout_ms // HEARTBEATS_IN_AN_ELECTION_TIMEOUT
        return {
            "_id": MongoDB.replica_set,
            "members": [
                {"_id": number, "host": member.member} for number, member in enumerate(self.members)
            ],
            "settings": {
                "electionTimeoutMillis": self._election_timeout_ms,
                "heartbeatIntervalMillis": heartbeat_ms,
            },
        }

    def _wait_for(self, condition: Callable[[], Found], otherwise: str) -> Found:
        within_s = Member.ready_timeout_s + self._election_timeout_ms / 1000
        deadline = time.monotonic() + within_s
        while not (found := condition()):
            for member in self.members:
                if member.exit_code not in (None, -signal.SIGKILL):
                    raise member.failure(f"ended by itself (exit code {member.exit_code})")
            if time.monotonic() > deadline:
                logs = self.members[0].log_path.parent
                raise ProcessFailed(
                    f"MongoDB's replica set {otherwise} after {within_s:.0f} s. Its logs: {logs}"
                )
            time.sleep(POLL_INTERVAL_S)
        return found


def _hello(member: Member) -> dict[str, Any] | None:
    """None when it does not answer."""
    if not member.running:
        return None
    with member.client() as client:
        try:
            return dict(client.admin.command("hello"))
        except PyMongoError:
            return None
