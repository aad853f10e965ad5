"""A Redis Cluster, and Sentinels with their servers: they survive what they are there for, and find
their data again."""

import socket
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from ops.processes import ProcessFailed
from ops.redis_cluster import RedisCluster
from ops.redis_sentinels import RedisSentinels
from ops.servers import HOST, Access, Certificates, Redis
from tests.support.certificates import issue_certificates

KEY = "seats:{opera}"


def cluster(folder: Path, **options) -> RedisCluster:
    return RedisCluster(folder / "state", folder / "logs", node_timeout_ms=1000, **options)


def sentinels(folder: Path, **options) -> RedisSentinels:
    return RedisSentinels(
        folder / "state", folder / "logs", down_after_ms=1000, failover_timeout_ms=1000, **options
    )


def write(server: Redis, value: str, replicas: int = 1) -> None:
    """So that so many replicas have it, too. Sentinels may choose any for a planned failover."""
    with server.client() as client:
        client.set(KEY, value)
        assert client.wait(replicas, 5000) >= replicas


def read(server: Redis) -> str:
    with server.client() as client:
        return client.get(KEY)


def test_a_cluster_survives_each_failover_and_a_move_and_finds_its_data_in_the_next_run(tmp_path):
    with cluster(tmp_path) as running:
        killed = running.master_of(KEY)
        write(killed, "held")
        killed.kill()
        successor = running.new_master_of(KEY, killed)
        assert read(successor) == "held"
        others = [master for master in running.masters() if master is not successor]
        assert len(others) == 2, "the other shards have not noticed"

        killed.start()
        running.wait_until_whole()
        assert running.replica_of(successor) is killed
        assert running.failover(successor) is killed

        hung = others[0]
        running.move_slot(key_slot(KEY.encode()), hung)
        assert running.master_of(KEY) is hung
        write(hung, "moved")
        hung.hang()
        assert read(running.new_master_of(KEY, hung)) == "moved"
        hung.resume()
        running.wait_until_whole()
    # Somebody else has one of the ports when it starts again.
    with socket.create_server((HOST, killed.port)), cluster(tmp_path) as again:
        assert killed.port not in {member.port for member in again.members}
        assert {member.port for member in again.members} & {m.port for m in running.members}
        assert read(again.master_of(KEY)) == "moved"


def test_sentinels_replace_a_master_and_remember_it_in_the_next_run(tmp_path):
    with sentinels(tmp_path) as running:
        former = running.master
        write(former, "held")
        former.kill()
        running.sentinels[0].kill()
        successor = running.new_master(former)
        assert read(successor) == "held"
        assert running.master is successor
        former.start()
        running.sentinels[0].start()
    with (
        socket.create_server((HOST, successor.port)),
        socket.create_server((HOST, running.sentinels[1].port)),
        sentinels(tmp_path) as again,
    ):
        assert again.master.name == successor.name
        assert again.master.port != successor.port
        assert read(again.master) == "held"
        planned = again.failover()
        assert planned.name != successor.name
        with planned.client() as client:
            assert client.role()[0] == "master"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return issue_certificates(tmp_path_factory.mktemp("certificates"))


def test_a_redis_with_tls_and_a_user_lets_nobody_else_in(tmp_path, certificates):
    access = Access("box-office", "p@ss word", certificates)
    with Redis(tmp_path / "state", tmp_path / "redis.log", access=access) as server:
        options = {"ssl_ca_certs": str(certificates.authority)}
        assert redis.Redis.from_url(server.url, **options).ping()
        with pytest.raises(redis.ConnectionError):
            redis.Redis.from_url(server.url).ping()
        with pytest.raises(redis.ConnectionError):
            redis.Redis(host=HOST, port=server.port).ping()
        stranger = server.url.replace(access.userinfo, "")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis.from_url(stranger, **options).ping()


def test_groups_speak_tls_and_know_each_others_password(tmp_path, certificates):
    access = Access("tickets", "a secret", certificates)
    with cluster(tmp_path / "cluster", shards=1, access=access) as running:
        assert running.url.startswith("rediss+cluster://tickets:a%20secret@127.0.0.1:")
        master = running.master_of(KEY)
        write(master, "held")
        assert read(running.failover(master)) == "held"
    with sentinels(tmp_path / "sentinels", access=Access(password='a "secret"\\')) as running:
        write(running.master, "held", len(running.replicas))
        assert read(running.failover()) == "held"


def test_a_shard_whose_members_are_all_away_is_said_to_serve_nothing(tmp_path):
    running = cluster(tmp_path, shards=1, replicas=0)
    with pytest.raises(ProcessFailed, match="serves slot"):
        running.master_of(KEY)
