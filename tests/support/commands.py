"""``flask --app wsgi …``, the commands of the Procfile and of operators, as processes."""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ops.processes import free_port
from ops.servers import REPOSITORY

TIMEOUT_S = 60

IMPATIENT = {"TESTS_MONGODB_TIMEOUT_S": "0.5"}
"""Added to the environment of ``flask``: a call to a MongoDB that is away ends sooner."""

_one_at_a_time = threading.Lock()


def flask(environment: Mapping[str, str], *arguments: str | Path) -> subprocess.CompletedProcess:
    """Run a command to its end; the caller checks the exit code.

    It is forked from a process that has imported the application already, because the import takes
    most of a command's time.
    """
    with (
        _one_at_a_time,
        tempfile.NamedTemporaryFile() as stdout,
        tempfile.NamedTemporaryFile() as stderr,
    ):
        forker = _forker()
        call = {
            "arguments": [str(argument) for argument in arguments],
            "environment": dict(environment),
            "stdout": stdout.name,
            "stderr": stderr.name,
        }
        forker.stdin.write(json.dumps(call) + "\n")
        forker.stdin.flush()
        exit_code = int(forker.stdout.readline())
        return subprocess.CompletedProcess(
            call["arguments"], exit_code, stdout.read().decode(), stderr.read().decode()
        )


def flask_in_new_process(
    environment: Mapping[str, str], *arguments: str | Path
) -> subprocess.CompletedProcess:
    """Run a command as operators do, in a new process."""
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", *arguments],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


@cache
def _forker() -> subprocess.Popen:
    """The process to fork from. It ends with this one, which then closes its standard input."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.command_forker"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def nobody(scheme: str) -> str:
    """The address of a server that is away."""
    return f"{scheme}://127.0.0.1:{free_port()}"


def one_line(refused: subprocess.CompletedProcess, exit_code: int = 1) -> str:
    """All that a command said: one line, about what it could not do."""
    assert (refused.returncode, refused.stdout) == (exit_code, ""), refused
    (line,) = refused.stderr.splitlines()
    return line
