"""A Redis for the runs of these tests alone."""

from collections.abc import Iterator

import pytest

from tests.simulator.redis_memory import RedisMemory, redis_memory


@pytest.fixture(scope="session")
def memory() -> Iterator[RedisMemory]:
    with redis_memory() as memory:
        yield memory
