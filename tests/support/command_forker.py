"""Forks a process for each command of ``commands.flask``, with the application imported.

A line of JSON on standard input is a call: ``arguments``, ``environment``, and the files that get
``stdout`` and ``stderr``. The line that answers it on standard output is the exit code.
"""

import gc
import json
import os
import runpy
import signal
import sys

# For the processes that are forked. They read their settings themselves, in wsgi.py.
import flask_limiter.commands  # noqa: F401
import stripe

import web.adapters.mongodb.client
import web.app
from tests.support.commands import TIMEOUT_S

# Stripe's SDK imports its parts when they are first looked up.
_ = stripe.StripeClient, stripe.PaymentIntentService, stripe.RefundService, stripe.Webhook


def become(call: dict) -> None:
    """Run ``python -m flask --app wsgi`` with these arguments, and exit."""
    for number, path in enumerate((os.devnull, call["stdout"], call["stderr"])):
        file = os.open(path, os.O_RDWR)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(call["environment"])
    if wait_s := os.environ.pop("TESTS_MONGODB_TIMEOUT_S", None):
        web.adapters.mongodb.client.CALL_TIMEOUT_S = float(wait_s)
    sys.argv = ["flask", "--app", "wsgi", *call["arguments"]]
    signal.alarm(TIMEOUT_S)
    runpy.run_module("flask", run_name="__main__", alter_sys=True)


# A child's garbage collector would copy all of this memory, page by page.
gc.freeze()
for line in sys.stdin:
    if (pid := os.fork()) == 0:
        become(json.loads(line))
        break
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
