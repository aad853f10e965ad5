"""nginx as the stack starts it: its folder in memory, and the application's limit."""

import stat
from pathlib import Path

import pytest

import ops.stack
from ops.processes import free_port
from ops.stack import Stack
from sidecar.settings import BadSettings


@pytest.fixture
def shared_memory(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "shm"
    folder.mkdir()
    monkeypatch.setattr(ops.stack, "SHARED_MEMORY", folder)
    return folder


def started_nginx(state_dir: Path, upstream: str, **environment: str) -> Stack:
    stack = Stack(state_dir, {})
    stack.environment = environment
    state_dir.mkdir(exist_ok=True)
    stack._start_nginx(free_port(), upstream)
    return stack


def test_kept_refusals_are_in_memory_for_as_long_as_the_stack_runs(
    upstream, shared_memory, tmp_path
):
    stacks = [started_nginx(tmp_path / name, upstream.address) for name in ("one", "other")]
    folders = set(shared_memory.iterdir())
    assert len(folders) == 2, "each stack has its own"
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    for stack in stacks:
        stack.stop()
    assert not list(shared_memory.iterdir())


def test_what_a_killed_run_left_in_memory_is_removed(upstream, shared_memory, tmp_path):
    left_behind = ops.stack._private_memory_dir(tmp_path / "nginx") / "refusal"
    left_behind.touch()
    stack = started_nginx(tmp_path, upstream.address)
    assert not left_behind.exists()
    stack.kill()
    assert not list(shared_memory.iterdir())


def test_a_folder_in_memory_that_somebody_else_made_is_not_used(
    shared_memory, tmp_path, monkeypatch
):
    ops.stack._private_memory_dir(tmp_path)
    # As if it could not be removed.
    monkeypatch.setattr(ops.stack.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(FileExistsError):
        ops.stack._private_memory_dir(tmp_path)


def test_the_envelope_is_around_the_applications_own_limit(upstream, shared_memory, tmp_path):
    stack = started_nginx(tmp_path, upstream.address, RATE_LIMIT="600/minute")
    stack.stop()
    assert "burst=630 nodelay" in (tmp_path / "nginx/nginx.conf").read_text()


def test_a_gateway_that_is_named_without_its_key_is_not_passed_over_for_the_sandbox(tmp_path):
    stack = Stack(tmp_path / "state", {"STRIPE_API_BASE": "http://127.0.0.1:1"})
    with pytest.raises(BadSettings, match="STRIPE_API_BASE is set and STRIPE_API_KEY is not"):
        stack.start(free_port())
    assert not (tmp_path / "state").exists()
