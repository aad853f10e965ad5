"""The suite fails when no test has taken some rare branch, in any of its processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from ops.servers import REPOSITORY
from tests.support.environment import inherited

pytestmark = pytest.mark.stack

HOOKS = """
from tests.support.sometimes import (
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)
"""

SEES_EVERY_ANSWER = """
from tests.support import sometimes

def test_it():
    sometimes.answers.update(sometimes.listed_answers())
"""

SEES_EVERY_REFUSAL_BUT_ONE = """
from tests.support import sometimes

def test_it():
    sometimes.codes.update(sometimes.listed_codes() - {"hold_expired"})
"""

SEES_THE_LAST_ONE = """
from tests.support import sometimes

def test_it():
    sometimes.codes.add("hold_expired")
"""


@pytest.fixture
def suite(tmp_path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = suite\n")
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "conftest.py").write_text(HOOKS)
    (suite / "test_answers.py").write_text(SEES_EVERY_ANSWER)
    (suite / "test_refusals.py").write_text(SEES_EVERY_REFUSAL_BUT_ONE)
    return suite


def run(suite: Path, *options: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:locust", *options],
        cwd=suite.parent,
        env=inherited() | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )


def test_what_no_test_saw_fails_the_suite_and_is_named(suite):
    failed = run(suite)
    assert failed.returncode == pytest.ExitCode.TESTS_FAILED, failed.stdout
    assert "a refusal is hold_expired" in failed.stdout
    assert failed.stdout.count("a refusal is") == 1, failed.stdout
    assert ".lua answers" not in failed.stdout


def test_it_is_enough_that_some_process_saw_it(suite):
    (suite / "test_the_last.py").write_text(SEES_THE_LAST_ONE)
    passed = run(suite, "-n3", "--dist=loadfile")
    assert passed.returncode == pytest.ExitCode.OK, passed.stdout


def test_a_part_of_the_suite_need_not_see_everything(suite):
    assert run(suite, "-k", "answers").returncode == pytest.ExitCode.OK
