"""gunicorn.conf.py, as gunicorn's master reads it."""

import subprocess
import sys

import pytest

from ops.servers import REPOSITORY
from tests.support.application import REQUIRED

pytestmark = pytest.mark.stack

KEPT = """
import importlib, runpy, sys
from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.util import load_class

{before}
worker_class = runpy.run_path("gunicorn.conf.py")["worker_class"]
load_class(worker_class, default="", section="gunicorn.workers")

from gevent import monkey
assert not any(map(monkey.is_module_patched, ("socket", "threading", "time"))), "patched already"
originals = []
for name in ("socket", "ssl", "threading", "_thread", "time", "select", "subprocess", "queue"):
    patched = importlib.import_module("gevent." + name.strip("_"))
    real = importlib.import_module(name)
    originals += [vars(real)[it] for it in patched.__implements__ if callable(vars(real).get(it))]
import _thread, threading
kinds = type(_thread.allocate_lock()), type(threading.RLock()), threading.Condition, threading.local
for name, module in list(sys.modules.items()):
    if name.partition(".")[0] in {{*sys.stdlib_module_names, "gunicorn", "gevent", "__main__"}}:
        continue
    for attribute, value in list(vars(module).items()):
        if isinstance(value, kinds) or any(value is original for original in originals):
            print(name, attribute)
"""


def kept(worker_class: str, before: str = "") -> list[str]:
    """What the modules that the master imports hold on to, and gevent would patch too late."""
    environment = REQUIRED | {"WEB_WORKER_CLASS": worker_class, "ENV_FILE": ""}
    command = [sys.executable, "-c", KEPT.format(before=before)]
    return subprocess.run(
        command, env=environment, cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.splitlines()


@pytest.mark.parametrize("worker_class", ["llhttp", "gevent"])
def test_the_master_imports_nothing_that_keeps_what_gevent_patches(worker_class):
    assert kept(worker_class) == []


def test_a_library_that_keeps_something_would_be_found():
    assert "redis.retry sleep" in kept("llhttp", before="import redis")
