"""The mark of a test says what it needs: `stack`, `stores` or `unit`. Its fixtures decide,
and those that they use in turn; a module that starts servers by hand has a ``pytestmark``.

A `unit` test that starts a process fails, so that `make test-unit` needs no server.
"""

import subprocess
from pathlib import Path
from unittest import mock

import pytest

STACK_ROOMS = frozenset({"attacks", "browser", "faults", "nginx", "ops"})
"""Folders of tests that start what they need by hand, or are too slow for a quick run."""

STACK = frozenset(
    """
    browser clone gevent_site gunicorns nginx ours ready sandbox server stack start start_host
    stopping
    """.split()
)
"""Fixtures that are other processes: of TicketS, nginx, the payment sandbox, a browser."""

STORES = frozenset({"redis_server", "mongo_server", "own_redis", "memory"})
"""Fixtures that are a Redis or a MongoDB."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Not even imported when nothing in it is wanted: that takes longer than the tests."""
    unit_alone = config.getoption("markexpr") == "unit"
    return True if unit_alone and collection_path.name in STACK_ROOMS else None


def pytest_itemcollected(item: pytest.Item) -> None:
    fixtures = set(item.fixturenames)
    room = item.nodeid.split("/")[1]
    if item.get_closest_marker("stack") or room in STACK_ROOMS or fixtures & STACK:
        item.add_marker("stack")
    elif item.get_closest_marker("stores") or fixtures & STORES:
        item.add_marker("stores")
    else:
        item.add_marker("unit")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    if not item.get_closest_marker("unit"):
        return (yield)
    with mock.patch.object(subprocess, "Popen", _refused):
        return (yield)


def _refused(command: object, *_: object, **__: object) -> None:
    pytest.fail(f"A test of the mark `unit` starts {command}: mark it `stores` or `stack`.")
