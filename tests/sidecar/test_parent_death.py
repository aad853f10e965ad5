"""What ties a child to its parent; that a killed parent leaves nothing, its users' tests see."""

import errno
import os
import signal
import subprocess
from functools import partial

import pytest

from ops.processes import Process, ProcessFailed
from sidecar.parent_death import die_with_parent

pytestmark = pytest.mark.stack

NO_SIGNAL = 999


def test_a_refusal_of_the_kernel_is_heard():
    with pytest.raises(OSError, match=rf"\[Errno {errno.EINVAL}\]"):
        die_with_parent(NO_SIGNAL)


def test_a_child_whose_parent_is_gone_runs_nothing():
    """This process is not the parent that the child is given, as if that had just died."""
    with pytest.raises(subprocess.SubprocessError, match="preexec_fn"):
        subprocess.run(["true"], preexec_fn=partial(die_with_parent, signal.SIGTERM, os.getppid()))


def test_a_server_that_would_outlive_its_parent_is_not_started(monkeypatch, tmp_path):
    monkeypatch.setattr("ops.processes.die_with_parent", lambda *_: die_with_parent(NO_SIGNAL))
    with pytest.raises(ProcessFailed, match="cannot be started"):
        Process("server", ["true"], tmp_path / "log").start()
