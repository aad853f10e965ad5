"""Replicas of Redis that fall behind."""

from collections.abc import Iterator
from contextlib import contextmanager

from ops.servers import Redis


@contextmanager
def without_replication(replica: Redis) -> Iterator[None]:
    """It gets nothing of what is written, and may be promoted all the same."""
    with replica.client() as client:
        client.config_set("masterauth", "refused")
        client.execute_command("CLIENT KILL TYPE MASTER")
    try:
        yield
    finally:
        with replica.client() as client:
            client.config_set("masterauth", "")
