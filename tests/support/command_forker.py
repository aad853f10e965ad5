"""Forks a process for each command of ``commands.flask``, with the application imported.

A line of JSON on standard input is a call: ``arguments``, ``environment``, and the files that get
``stdout`` and ``stderr``. The line that answers it on standard output is the exit code.
"""

import json
import os
import runpy
import signal
import sys

# For the processes that are forked. They read their settings themselves, in wsgi.py.
import web.app
import web.cli.commands  # noqa: F401
from tests.support.commands import TIMEOUT_S


def become(call: dict) -> None:
    """Run ``python -m flask --app wsgi`` with these arguments, and exit."""
    for number, path in enumerate((os.devnull, call["stdout"], call["stderr"])):
        file = os.open(path, os.O_RDWR)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.argv = ["flask", "--app", "wsgi", *call["arguments"]]
    signal.alarm(TIMEOUT_S)
    runpy.run_module("flask", run_name="__main__", alter_sys=True)


for line in sys.stdin:
    if (pid := os.fork()) == 0:
        become(json.loads(line))
        break
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
