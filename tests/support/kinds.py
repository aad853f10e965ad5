"""Mark each test by what it needs: `stack`, `stores` or `unit`. The mark follows from its fixtures,
direct and indirect; a module that starts servers by hand has a ``pytestmark``.

``--redis=cluster`` or ``--redis=sentinel`` runs the tests whose fixtures use `redis_kind`, and no
others, on that kind of Redis. The mark `one_redis` exempts a test, and so does the fixture
`redis_server`, which is always a single one.

A `unit` test that starts a process fails, so that `make test-unit` needs no server.
"""

import subprocess
from pathlib import Path
from unittest import mock

import pytest

from ops.stores import REDIS

STACK_ROOMS = frozenset({"attacks", "browser", "faults", "nginx", "ops"})
"""Folders whose tests start their servers by hand, or are too slow for a quick run."""

STACK = frozenset(
    """
    browser clone gevent_site gunicorns nginx ours ready sandbox server stack start start_host
    stopping
    """.split()
)
"""Fixtures that start processes of TicketS, nginx, the payment sandbox or a browser."""

STORES = frozenset({"any_redis", "redis_server", "mongo_server", "own_redis", "memory"})
"""Fixtures that start a Redis or a MongoDB."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--redis", choices=list(REDIS), default="server", help="the kind of Redis to start"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("redis") == "server":
        return

    def runs_on_any(item: pytest.Item) -> bool:
        fixtures = set(item.fixturenames)
        return (
            "redis_kind" in fixtures
            and "redis_server" not in fixtures
            and not item.get_closest_marker("one_redis")
        )

    chosen = [item for item in items if runs_on_any(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import modules of which no test is selected: that takes longer than unit tests."""
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
