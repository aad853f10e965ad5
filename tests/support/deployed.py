"""Servers from the files of ``deploy/``, as on an operator's hosts, but on this machine: with other
paths, ports and host names, and with passwords."""

import hashlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import redis

from ops.files import write_private
from ops.processes import Process, free_port
from ops.servers import HOST, REPOSITORY, Access, Certificates, find_redis_server

DEPLOY = REPOSITORY / "deploy"

NAME = "localhost"
"""Of every host, as in the certificates of ``issue_certificates``."""

EVERYWHERE = "bind * -::*"


def password_of(user: str) -> str:
    return f"password-of-{user.lower()}"


def filled_in(path: Path, replaced: Mapping[str, str]) -> str:
    """The file with passwords, and with ``replaced`` in the place of what is the operator's."""
    text = re.sub(
        "SHA256-OF-([A-Z]+)",
        lambda user: hashlib.sha256(password_of(user[1]).encode()).hexdigest(),
        path.read_text(),
    )
    text = re.sub("PASSWORD-OF-([A-Z]+)", lambda user: password_of(user[1]), text)
    for place, value in replaced.items():
        assert place in text, f"{path} does not have {place}"
        text = text.replace(place, value)
    return text


def allowed_to(user: str, kind: str) -> tuple[set[str], set[str]]:
    """The commands and the patterns of keys that ``deploy/<kind>/users.acl`` gives to a user."""
    users = (DEPLOY / kind / "users.acl").read_text()
    (rules,) = re.findall(rf"^user {user} on resetchannels #\S+ (.+)$", users, re.MULTILINE)
    keys, none, commands = rules.partition("-@all ")
    assert none, "no command is allowed but those that are named"
    return set(commands.replace("+", "").split()), set(keys.replace("~", "").split())


class DeployedRedis(Process):
    """A redis-server with the configuration ``source``, a file in a folder of ``deploy/``.

    ``replaced`` is for that file, ``arguments`` are further ones of redis-server. ``access`` is the
    operator's.
    """

    def __init__(
        self,
        source: Path,
        folder: Path,
        certificates: Certificates,
        *arguments: str,
        replaced: Mapping[str, str] | None = None,
        access: Access | None = None,
    ):
        self.port = free_port()
        self._access = access or Access("operator", password_of("operator"), certificates)
        folder.mkdir()
        for path in (certificates.authority, certificates.certificate, certificates.key):
            shutil.copy(path, folder)
        here = {"/etc/redis": str(folder), EVERYWHERE: f"bind {HOST}", **(replaced or {})}
        config = folder / source.name
        write_private(config, filled_in(source, here))
        write_private(folder / "users.acl", filled_in(source.with_name("users.acl"), {}))
        where = ("--tls-port", str(self.port), "--dir", str(folder))
        command = [find_redis_server(), config, *arguments, *where]
        super().__init__(folder.name, command, folder / "redis.log")

    def client(self) -> redis.Redis:
        """The operator's."""
        return self._access.client(self.port)

    def is_ready(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False
