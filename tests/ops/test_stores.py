"""Which Redis and MongoDB `make run` starts."""

from pathlib import Path

import pytest

from ops import stack as stack_module
from ops import stores
from ops.processes import ProcessFailed, free_port
from ops.stack import Stack
from sidecar.settings import BadSettings
from tests.support.environment import inherited
from tests.support.waiting import eventually


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"REDIS": "clustr"}, "REDIS must be server, sentinel or cluster, not 'clustr'"),
        ({"MONGODB": "2"}, "MONGODB must be 1 or 3, not '2'"),
        (
            {"MONGODB": "3", "MONGODB_URI": "mongodb://db.example/tickets"},
            "MONGODB says what to start, and MONGODB_URI what runs already: set one of them",
        ),
        (
            {"REDIS": "cluster", "REDIS_URL": "redis://db.example"},
            "REDIS says what to start, and REDIS_URL what runs already: set one of them",
        ),
    ],
)
def test_a_choice_that_cannot_be_is_said_before_anything_starts(environ, said, tmp_path):
    with pytest.raises(BadSettings) as refused:
        Stack(tmp_path / "state", inherited() | environ).start(free_port())
    assert str(refused.value) == said
    assert not (tmp_path / "state").exists()


def test_one_redis_and_one_mongodb_are_the_default_and_may_be_named():
    for unsaid in ({}, {"REDIS": "", "MONGODB": ""}):
        assert stores.chosen_redis(unsaid) is stores.chosen_redis({"REDIS": "server"})
        assert stores.chosen_mongodb(unsaid) is stores.chosen_mongodb({"MONGODB": "1"})


@pytest.mark.parametrize("kinds", [stores.REDIS, stores.MONGODB])
def test_no_kind_finds_the_files_of_another(kinds):
    assert len({kind.folder for kind in kinds.values()}) == len(kinds)


def test_the_payments_of_the_sandbox_belong_to_the_bookings_of_one_mongodb():
    assert len({kind.ledger for kind in stores.MONGODB.values()}) == len(stores.MONGODB)


@pytest.fixture
def group(tmp_path: Path, monkeypatch):
    """A stack of which only Redis with its Sentinels is there, and what it said."""
    monkeypatch.setattr(stack_module, "START_AGAIN_AFTER_S", 0.1)
    said: list[str] = []
    stack = Stack(tmp_path / "state", inherited(), say=said.append)
    try:
        yield stack, stack._start_store(stores.REDIS["sentinel"]).url, said
    finally:
        stack.stop()


def test_a_member_of_a_group_that_ends_is_started_again_and_the_rest_goes_on(group):
    stack, url, said = group
    assert url.startswith("redis+sentinel://")
    member, other = stack["redis-2"], stack["sentinel-3"]
    former_pid, other_pid = member.pid, other.pid
    member.kill()
    eventually(lambda: stack.look_after() or member.running, "the member's next start")
    assert member.pid != former_pid
    assert other.pid == other_pid
    assert len(said) == 2, "its first start, and its end once"
    assert "redis-2 ended by itself (exit code -9)" in said[1]


def test_a_process_that_nothing_replaces_ends_the_run(tmp_path):
    stack = Stack(tmp_path / "state", inherited())
    stack._start_store(stores.REDIS["server"])
    stack["redis"].kill()
    with pytest.raises(ProcessFailed, match="redis ended by itself"):
        stack.look_after()
