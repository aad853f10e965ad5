"""Real Redis Sentinels on this machine, with the servers that they monitor."""

import contextlib
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import redis

from ops.files import write_private
from ops.processes import ProcessFailed
from ops.server_groups import ServerGroup, kept_ports, reachable, wait_for
from ops.servers import EVERYBODY, HOST, Access, Redis, RedisProcess

SERVICE = "tickets"
"""The name of the monitored master in the Sentinels."""
QUORUM = 2
SERVERS = ("redis-1", "redis-2", "redis-3")
SENTINELS = ("sentinel-1", "sentinel-2", "sentinel-3")


class Sentinel(RedisProcess):
    """A Sentinel, which rewrites its configuration at ``config_path`` when something changes."""

    def __init__(
        self,
        state_dir: Path,
        log_path: Path,
        port: int,
        *,
        name: str,
        access: Access,
        config_path: Path,
        keep_open: Iterable[int],
    ):
        super().__init__(
            name,
            [config_path, "--sentinel"],
            state_dir,
            log_path,
            port,
            access=access,
            keep_open=keep_open,
        )


class RedisSentinels(ServerGroup[RedisProcess]):
    """A master, its two replicas, and three Sentinels that replace the master when it is down.

    The master counts as down when it has not answered for ``down_after_ms``. Each step of a
    failover may take ``failover_timeout_ms``; a failed one is tried again after twice as long. Both
    are stored in ``state_dir`` at its first start. ``access`` is for the servers; the Sentinels use
    its TLS but no password.
    """

    def __init__(
        self,
        state_dir: Path,
        log_dir: Path,
        *,
        down_after_ms: int = 5000,
        failover_timeout_ms: int = 10_000,
        access: Access = EVERYBODY,
        keep_open: Iterable[int] = (),
    ):
        keep_open = tuple(keep_open)
        ports = kept_ports(state_dir, [*SERVERS, *SENTINELS], remembered_in="*.conf")
        self._state_dir = state_dir
        self._down_after_ms = down_after_ms
        self._failover_timeout_ms = failover_timeout_ms
        self._access = access
        self.servers = [
            Redis(
                state_dir / name,
                log_dir / f"{name}.log",
                ports[name],
                name=name,
                access=access,
                config_path=self._config_path(name),
                keep_open=keep_open,
            )
            for name in SERVERS
        ]
        self.sentinels = [
            Sentinel(
                state_dir / name,
                log_dir / f"{name}.log",
                ports[name],
                name=name,
                access=Access(certificates=access.certificates),
                config_path=self._config_path(name),
                keep_open=keep_open,
            )
            for name in SENTINELS
        ]
        self.members: Sequence[RedisProcess] = [*self.servers, *self.sentinels]
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"{access.scheme}+sentinel://{access.userinfo}{hosts}/{SERVICE}/0"

    def start(self) -> "RedisSentinels":
        self._write_first_configuration()
        return super().start()

    @property
    def master(self) -> Redis:
        """The master according to a quorum of Sentinels. Raises ProcessFailed without one."""
        for master, sentinels in Counter(self._named_masters()).items():
            if sentinels >= QUORUM:
                return master
        raise ProcessFailed("The Sentinels do not agree on who is the master.")

    @property
    def replicas(self) -> list[Redis]:
        master = self.master
        return [server for server in self.servers if server is not master]

    def failover(self, *, paused: bool = False) -> Redis:
        """A planned failover, by ``SENTINEL FAILOVER``. Returns the new master. The former one
        takes writes, which are lost, until a Sentinel makes it a replica, seconds later. If
        ``paused``, it makes them wait instead, and is a replica at the end. That must take less
        than ``down_after_ms``, after which the Sentinels would replace it by themselves."""
        former = self.master
        if paused:
            with former.client() as client:
                client.client_pause(self._down_after_ms, all=False)

        def is_accepted() -> bool:
            with next(reachable(self.sentinels)).client() as client:
                try:
                    client.execute_command("SENTINEL FAILOVER", SERVICE)
                except redis.ResponseError:
                    # A failover is under way, or no replica is known to be suitable yet.
                    return False
            return True

        wait_for(is_accepted, "a Sentinel that begins the failover")
        master = self.new_master(former)
        if paused:
            with former.client() as client:
                client.replicaof(HOST, master.port)
                client.config_rewrite()
                client.client_unpause()
        return master

    def new_master(self, former: Redis) -> Redis:
        """Wait until a killed or hung master has been replaced. Returns the new master."""

        def successor() -> Redis | None:
            # All reachable Sentinels, not a majority: a client trusts the first that answers.
            named = set(self._named_masters())
            if len(named) != 1 or former in named:
                return None
            (master,) = named
            return master if _role(master) == "master" else None

        return wait_for(successor, f"a new master in the place of {former.name}")

    def is_whole(self) -> bool:
        named = self._named_masters()
        if len(named) != len(self.sentinels) or len(set(named)) != 1:
            return False
        roles = [_role(server) for server in self.servers]
        return (
            all(_knows_everybody(sentinel) for sentinel in self.sentinels)
            and roles.count("replica") == len(self.servers) - 1
            and _role(named[0]) == "master"
        )

    def _named_masters(self) -> list[Redis]:
        """The master according to each Sentinel that answers."""
        servers = {str(server.port): server for server in self.servers}
        named = []
        for sentinel in reachable(self.sentinels):
            with (
                contextlib.suppress(redis.ConnectionError, redis.TimeoutError),
                sentinel.client() as client,
            ):
                command = "SENTINEL GET-MASTER-ADDR-BY-NAME"
                _, port = client.execute_command(command, SERVICE)
                named.append(servers[str(port)])
        return named

    def _config_path(self, name: str) -> Path:
        return self._state_dir / f"{name}.conf"

    def _write_first_configuration(self) -> None:
        """Write who replicates from whom, and whom the Sentinels know. From then on each server
        updates its own file."""
        ids = {name: secrets.token_hex(20) for name in SENTINELS}
        first, *others = self.servers
        for server in self.servers:
            replicates = "" if server is first else f"replicaof {HOST} {first.port}\n"
            _write_unless_there(self._config_path(server.name), replicates)
        for sentinel in self.sentinels:
            lines = [
                f"sentinel myid {ids[sentinel.name]}",
                f"sentinel monitor {SERVICE} {HOST} {first.port} {QUORUM}",
                f"sentinel down-after-milliseconds {SERVICE} {self._down_after_ms}",
                f"sentinel failover-timeout {SERVICE} {self._failover_timeout_ms}",
            ]
            if self._access.password:
                lines += [
                    f"sentinel auth-user {SERVICE} {self._access.username}",
                    f'sentinel auth-pass {SERVICE} "{_escaped(self._access.password)}"',
                ]
            # Without these lines they would need some seconds to find each other.
            lines += [
                f"sentinel known-replica {SERVICE} {HOST} {replica.port}" for replica in others
            ]
            lines += [
                f"sentinel known-sentinel {SERVICE} {HOST} {other.port} {ids[other.name]}"
                for other in self.sentinels
                if other is not sentinel
            ]
            _write_unless_there(self._config_path(sentinel.name), "\n".join(lines) + "\n")


def _role(server: Redis) -> str | None:
    """``master`` or ``replica``; None while the server does not answer, or is not in sync."""
    with server.client() as client:
        try:
            replication = client.info("replication")
        except (redis.ConnectionError, redis.TimeoutError):
            return None
    if replication["role"] == "master":
        return "master"
    return "replica" if replication["master_link_status"] == "up" else None


def _knows_everybody(sentinel: Sentinel) -> bool:
    with sentinel.client() as client:
        state = client.sentinel_master(SERVICE)
    return bool(
        state["flags"] == "master"
        and state["num-slaves"] == len(SERVERS) - 1
        and state["num-other-sentinels"] == len(SENTINELS) - 1
    )


def _escaped(text: str) -> str:
    """Escaped for redis.conf, where it is between quotation marks."""
    return re.sub(r'(["\\])', r"\\\1", text)


def _write_unless_there(path: Path, text: str) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, text)
