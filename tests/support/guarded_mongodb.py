"""A MongoDB as production has it: over TLS, for users with a password and a role."""

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from ops.files import write_private
from ops.processes import accepts_connections
from ops.servers import HOST, PROBE_TIMEOUT_S, REPOSITORY, MongoDB
from tests.support.certificates import issue_certificates
from tests.support.deployed import DEPLOY, filled_in

OPERATOR = {"username": "operator", "password": "a password of the operator's"}

DEPLOYING = (REPOSITORY / "docs/deploying.md").read_text()


def documented_actions() -> list[str]:
    """What the role of docs/deploying.md may do with bookings."""
    (actions,) = re.findall(r"actions: (\[[^\]]*\])", DEPLOYING)
    return json.loads(actions)


class GuardedMongoDB(MongoDB):
    """``folder`` has its data, its log, and what it needs to prove who it is."""

    def __init__(self, folder: Path):
        # A user is created before there is any: by a MongoDB that lets everybody in.
        with MongoDB(folder / "data", folder / "mongod.log") as open_to_all:
            client: pymongo.MongoClient[dict[str, Any]]
            with pymongo.MongoClient(open_to_all.url) as client:
                client.admin.command(
                    "createUser",
                    OPERATOR["username"],
                    pwd=OPERATOR["password"],
                    roles=["root"],
                )
        certificates = issue_certificates(folder)
        self.authority = certificates.authority
        both = folder / "server-and-key.pem"
        write_private(both, certificates.key.read_text() + certificates.certificate.read_text())
        members_key = folder / "members.key"
        write_private(members_key, secrets.token_hex(32))
        log_path = folder / "mongod.log"
        here = {
            "bindIpAll: true": f"bindIp: {HOST}",
            "/var/log/mongodb/mongod.log": str(log_path),
            "/etc/mongodb": str(folder),
        }
        config = folder / "mongod.conf"
        config.write_text(filled_in(DEPLOY / "mongodb/mongod.conf", here))
        super().__init__(folder / "data", log_path, open_to_all.port, options=["--config", config])

    def is_ready(self) -> bool:
        if not accepts_connections(self.port, HOST):
            return False
        with self.operator() as client:
            try:
                return bool(client.admin.command("hello")["isWritablePrimary"])
            except PyMongoError:
                return False

    @contextmanager
    def operator(self) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
        client: pymongo.MongoClient[dict[str, Any]]
        with pymongo.MongoClient(
            HOST,
            self.port,
            directConnection=True,
            tls=True,
            tlsCAFile=str(self.authority),
            timeoutMS=PROBE_TIMEOUT_S * 1000,
            **OPERATOR,
        ) as client:
            yield client

    def url_for(self, actions: Sequence[str]) -> str:
        """For the application, as a new user who may do this with bookings, and nothing else."""
        name, password = f"shop-{secrets.token_hex(4)}", secrets.token_hex(16)
        privilege = {
            "resource": {"db": "tickets", "collection": "bookings"},
            "actions": list(actions),
        }
        with self.operator() as client:
            client.tickets.command("createRole", name, privileges=[privilege], roles=[])
            client.tickets.command("createUser", name, pwd=password, roles=[name])
        location = self.url.removeprefix("mongodb://")
        return f"mongodb://{name}:{password}@{location}&tls=true&tlsCAFile={self.authority}"
