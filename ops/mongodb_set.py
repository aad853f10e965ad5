"""A MongoDB replica set on this machine, whose members can be killed, hung and started again."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from ops.processes import ProcessFailed, accepts_connections
from ops.server_groups import ServerGroup, wait_for
from ops.servers import (
    HOST,
    NOT_YET_INITIALIZED,
    PROBE_TIMEOUT_S,
    MongoDB,
)

ELECTION_TIMEOUT_MS = 3_000
"""After this time without a heartbeat of the primary, secondaries elect another. docs/deploying.md
recommends this; MongoDB's default is 10 s."""

HEARTBEAT_MS = 2_000
"""MongoDB's default. With a short election time-out, two thirds of that: otherwise every heartbeat
would come too late."""

Client = pymongo.MongoClient[dict[str, Any]]


class Member(MongoDB):
    """One mongod of a set. It is ready when it answers; the set itself waits for a primary."""

    ready_timeout_s = 60
    """Three start at once, perhaps on a busy machine."""

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
        """A client of this member alone, whatever its role."""
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


class MongoReplicaSet(ServerGroup[Member]):
    """``size`` members, each with a folder in ``state_dir`` and a log in ``log_dir``.

    ``election_timeout_ms`` is ``settings.electionTimeoutMillis`` of the set. ``options`` are
    arguments of each mongod. A later set with the same folders has the same data, on any ports.
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
        self.members: Sequence[Member] = [
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

    def form(self) -> None:
        self._configure()
        self.wait_until_whole()

    def stop(self) -> None:
        """The primary stops last, so that there is no election meanwhile."""
        primary = self.primary() if any(member.running for member in self.members) else None
        for member in sorted(self.members, key=lambda member: member is primary):
            member.stop()

    # ------------------------------------------------------------ roles

    def primary(self) -> Member | None:
        """The member that takes writes now; None while there is none. One that was hung may still
        report that it is primary: the one of the latest election counts."""
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

    def is_whole(self) -> bool:
        """Whether one member is primary and all others are secondaries."""
        hellos = [_hello(member) for member in self.members]
        primaries = [hello for hello in hellos if hello and hello["isWritablePrimary"]]
        secondaries = [hello for hello in hellos if hello and hello["secondary"]]
        return len(primaries) == 1 and len(secondaries) == len(self.members) - 1

    # ------------------------------------------------------------ configuration

    def _configure(self) -> None:
        first = self.members[0]
        # replSetInitiate answers when all members have agreed.
        with first.client() as client:
            try:
                config = client.admin.command("replSetGetConfig")["config"]
            except OperationFailure as error:
                if error.code != NOT_YET_INITIALIZED:
                    raise ProcessFailed(f"{first.name}: {error}") from None
                client.admin.command("replSetInitiate", self._config())
                # On its own it would call an election only after the election time-out.
                wait_for(lambda: _steps_up(client), "the first primary")
                return
            wanted = self._config()
            hosts = [member["host"] for member in config["members"]]
            if hosts != [member["host"] for member in wanted["members"]]:
                # The data has the members' ports of an earlier run. Without a majority only a
                # forced reconfiguration is possible; the others get it from the first member.
                wanted["version"] = config["version"] + 1
                wanted["settings"] = config["settings"] | wanted["settings"]
                client.admin.command("replSetReconfig", wanted, force=True)

    def _config(self) -> dict[str, Any]:
        heartbeat_ms = min(HEARTBEAT_MS, self._election_timeout_ms * 2 // 3)
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


def _steps_up(client: Client) -> bool:
    try:
        client.admin.command("replSetStepUp")
    except PyMongoError:
        return False
    return True


def _hello(member: Member) -> dict[str, Any] | None:
    """The reply to ``hello``; None when the member does not answer."""
    if not member.running or member.hangs:
        return None
    with member.client() as client:
        try:
            return dict(client.admin.command("hello"))
        except PyMongoError:
            return None
