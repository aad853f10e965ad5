"""A real Redis Cluster on this machine, with the faults and changes that clusters see in
production."""

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from ops.processes import POLL_INTERVAL_S, ProcessFailed
from ops.server_groups import ServerGroup, kept_ports, reachable, wait_for
from ops.servers import EVERYBODY, HOST, Access, Redis

MIGRATE_TIMEOUT_MS = 5000

DOUBTS = frozenset({"fail?", "fail", "handshake", "noaddr"})
"""Flags of a member that another member cannot reach, or does not know yet."""

AGREEMENT_S = 10
"""How long the members may take to agree on the masters."""


@dataclass(frozen=True)
class Node:
    """A member of the cluster, as it describes itself in CLUSTER NODES."""

    member: Redis
    id: str
    is_master: bool
    epoch: int
    slots: tuple[range, ...]
    master_id: str
    peers: frozenset[str]
    """Addresses of the members that it can reach, its own included."""

    def serves(self, slot: int) -> bool:
        return self.is_master and any(slot in slots for slots in self.slots)


class RedisCluster(ServerGroup[Redis]):
    """``shards`` masters with ``replicas`` each.

    A master that has not answered for ``node_timeout_ms`` is replaced by a replica. When a shard is
    down, only its own keys are.
    """

    def __init__(
        self,
        state_dir: Path,
        log_dir: Path,
        *,
        shards: int = 3,
        replicas: int = 1,
        node_timeout_ms: int = 5000,
        access: Access = EVERYBODY,
        keep_open: Iterable[int] = (),
    ):
        keep_open = tuple(keep_open)
        names = [f"redis-{number + 1}" for number in range(shards * (1 + replicas))]
        bus_names = [f"{name} bus" for name in names]
        ports = kept_ports(state_dir, [*names, *bus_names], remembered_in="*/nodes.conf")
        self._bus_ports = {name: ports[bus] for name, bus in zip(names, bus_names, strict=True)}
        self._shards = shards
        self.members: Sequence[Redis] = [
            Redis(
                state_dir / name,
                log_dir / f"{name}.log",
                ports[name],
                name=name,
                access=access,
                options={
                    "--cluster-enabled": "yes",
                    "--cluster-port": str(self._bus_ports[name]),
                    "--cluster-announce-ip": HOST,
                    "--cluster-node-timeout": str(node_timeout_ms),
                    "--cluster-require-full-coverage": "no",
                },
                keep_open=keep_open,
            )
            for name in names
        ]
        self._addresses = frozenset(f"{HOST}:{member.port}" for member in self.members)
        hosts = ",".join(f"{HOST}:{member.port}" for member in self.members)
        self.url = f"{access.scheme}+cluster://{access.userinfo}{hosts}"

    def master_of(self, key: str) -> Redis:
        """The master of the shard that has the key. Raises ProcessFailed when the shard is down."""
        return self.master_of_slot(key_slot(key.encode()))

    def master_of_slot(self, slot: int) -> Redis:
        serving = [node for node in self._nodes() if node.serves(slot)]
        if not serving:
            raise ProcessFailed(f"No member of the Redis Cluster serves slot {slot}.")
        # A master that was down may not know yet that it has been replaced.
        return max(serving, key=lambda node: node.epoch).member

    def masters(self) -> list[Redis]:
        """One for each shard, in the order of their slots."""
        serving = [node for node in self._nodes() if node.is_master and node.slots]
        return [node.member for node in sorted(serving, key=lambda node: node.slots[0].start)]

    def replica_of(self, master: Redis) -> Redis:
        """The master's first replica. Raises ProcessFailed when it has none."""
        nodes = self._nodes()
        ids = {node.id for node in nodes if node.member is master}
        for node in nodes:
            if not node.is_master and node.master_id in ids:
                return node.member
        raise ProcessFailed(f"{master.name} has no replica.")

    def failover(self, master: Redis) -> Redis:
        """A planned failover: the replica takes over once it has all data. Returns the new
        master."""
        replica = self.replica_of(master)
        with replica.client() as client:
            client.execute_command("CLUSTER FAILOVER")

        def is_done() -> bool:
            nodes = {node.member: node for node in self._nodes()}
            return nodes[replica].is_master and nodes[master].master_id == nodes[replica].id

        wait_for(is_done, f"the failover from {master.name} to {replica.name}")
        return replica

    def new_master_of(self, key: str, former: Redis) -> Redis:
        """Wait until a killed or hung master has been replaced. Returns the new master."""

        def successor() -> Redis | None:
            with contextlib.suppress(ProcessFailed):
                master = self.master_of(key)
                return master if master is not former else None
            return None

        return wait_for(successor, f"a new master in the place of {former.name}")

    def move_slot(self, slot: int, target: Redis, *, pause_s: float = 0) -> None:
        """Move a slot as ``redis-cli --cluster reshard`` does, one key at a time, with a pause of
        ``pause_s`` seconds after each."""
        source = self.master_of_slot(slot)
        ids = {node.member: node.id for node in self._nodes()}
        with source.client() as giving, target.client() as taking:
            _set_slot(taking, slot, "IMPORTING", ids[source])
            _set_slot(giving, slot, "MIGRATING", ids[target])
            while keys := giving.execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
                giving.execute_command("MIGRATE", *_migrate_arguments(target, keys))
                time.sleep(pause_s)
        # The target first: otherwise the slot would have no owner for a moment.
        others = [master for master in self.masters() if master not in (source, target)]
        for member in (target, source, *others):
            with member.client() as client:
                _set_slot(client, slot, "NODE", ids[target])

    def form(self) -> None:
        is_new = not any(node.slots for node in self._nodes())
        if is_new:
            self._share_out_slots()
            self._introduce()
            self._assign_replicas()
        self.wait_until_whole()

    def is_whole(self) -> bool:
        nodes = self._nodes()
        return (
            len(nodes) == len(self.members)
            and all(node.peers == self._addresses for node in nodes)
            and len([node for node in nodes if node.is_master]) == self._shards
            and all(_serves(member) for member in self.members)
        )

    def _share_out_slots(self) -> None:
        bounds = [n * REDIS_CLUSTER_HASH_SLOTS // self._shards for n in range(self._shards + 1)]
        for number, master in enumerate(self.members[: self._shards]):
            with master.client() as client:
                # Masters with equal epochs would first have to resolve that.
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                first, last = bounds[number], bounds[number + 1] - 1
                client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)

    def _introduce(self) -> None:
        first, *others = self.members
        with first.client() as client:
            for member in others:
                bus_port = self._bus_ports[member.name]
                client.execute_command("CLUSTER MEET", HOST, member.port, bus_port)
        wait_for(
            lambda: all(node.peers == self._addresses for node in self._nodes()),
            "all members of the Redis Cluster to know each other",
        )

    def _assign_replicas(self) -> None:
        ids = {node.member: node.id for node in self._nodes()}
        for number, replica in enumerate(self.members[self._shards :]):
            with replica.client() as client:
                master = self.members[number % self._shards]
                client.execute_command("CLUSTER REPLICATE", ids[master])

    def _nodes(self) -> list[Node]:
        """The members that can answer now."""
        nodes = []
        for member in reachable(self.members):
            with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
                nodes.append(_node(member))
        return nodes


def _node(member: Redis) -> Node:
    with member.client() as client:
        known: dict[str, dict[str, Any]] = client.execute_command("CLUSTER NODES")
    (own,) = (node for node in known.values() if "myself" in node["flags"])
    reached = (
        address
        for address, node in known.items()
        if node["connected"] and DOUBTS.isdisjoint(node["flags"].split(","))
    )
    return Node(
        member,
        id=own["node_id"],
        is_master="master" in own["flags"].split(","),
        epoch=int(own["epoch"]),
        slots=tuple(range(int(slots[0]), int(slots[-1]) + 1) for slots in own["slots"]),
        master_id=own["master_id"],
        peers=frozenset(reached),
    )


def _serves(member: Redis) -> bool:
    with member.client() as client:
        cluster = client.execute_command("CLUSTER INFO")
        return (
            cluster["cluster_state"] == "ok"
            and int(cluster["cluster_slots_ok"]) == REDIS_CLUSTER_HASH_SLOTS
            # Masters do not have this field.
            and client.info("replication").get("master_link_status", "up") == "up"
        )


def _migrate_arguments(target: Redis, keys: Sequence[str]) -> list[str | int]:
    access = target.access
    user = ["AUTH2", access.username, access.password] if access.password else []
    return [HOST, target.port, "", 0, MIGRATE_TIMEOUT_MS, *user, "KEYS", *keys]


def _set_slot(client: redis.Redis, slot: int, *change: str) -> None:
    """CLUSTER SETSLOT, retried: after a failover some members learn of the new master later."""
    deadline = time.monotonic() + AGREEMENT_S
    while True:
        try:
            client.execute_command("CLUSTER SETSLOT", slot, *change)
            return
        except redis.ResponseError as error:
            if "not a master" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(POLL_INTERVAL_S)
