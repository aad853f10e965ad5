"""The users of Redis in ``deploy/`` may do what the code does, and nothing else.

tests/ops/test_deploy.py has them do it.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ops.servers import REPOSITORY
from tests.support.deployed import allowed_to
from web.adapters.redis.event_catalogue import CATALOGUE_KEY
from web.adapters.redis.login_store import KEY as LOGIN_KEY

LUA = REPOSITORY / "lua"
ADAPTER = sorted((REPOSITORY / "web/adapters/redis").glob("*.py"))
LIMITER = sorted((REPOSITORY / "sidecar").glob("*.py"))

OF_METHOD = {
    "delete": ["del"],
    "execute": [],
    "execute_command": [],
    "multi": ["multi", "exec"],
    "pipeline": [],
    "script_load": ["script|load"],
    "watch": ["watch", "unwatch"],
}
"""The commands of a method that are not its name."""


def sent_by(sources: Iterable[Path]) -> Iterator[str]:
    """By our Python, in calls of redis-py and as tuples that begin with the command."""
    for source in sources:
        text = source.read_text()
        for method in re.findall(r"(?:commands|pipeline|self\._redis)\.(\w+)\(", text):
            yield from OF_METHOD.get(method, [method])
        for command in re.findall(r'(?:\.execute_command|\s)\("([A-Z ]+)"(?:, [a-z]|\))', text):
            yield command.lower().replace(" ", "|")


def called_in(*folders: str) -> set[str]:
    """By the scripts there."""
    scripts = (path.read_text() for folder in folders for path in (LUA / folder).glob("*.lua"))
    called = {
        word for text in scripts for word in re.findall(r"redis\.p?call\(\s*(\S+?)[,)]", text)
    }
    assert all(re.fullmatch("'[A-Z]+'", word) for word in called), "a command that is no literal"
    return {word.strip("'").lower() for word in called}


def keys_of(*folders: str) -> set[str]:
    """Of the scripts there, from their headers, as patterns."""
    headers = "".join(path.read_text() for folder in folders for path in (LUA / folder).glob("*"))
    named = re.findall(r"^-- KEYS\[\S+\]\s+(\S+)", headers, re.MULTILINE)
    return {re.sub(r"<.*|(?<={)event}.*", "*", name) for name in named}


SHOP_COMMANDS = {*called_in("seats", "include"), *sent_by(ADAPTER)}
SHOP_KEYS = {
    *keys_of("seats"),
    *(
        f"{kind}:{{*"
        for source in ADAPTER
        for kind in re.findall(r'\bkey\(\s*"(\w+)"', source.read_text())
    ),
    CATALOGUE_KEY,
    f"{LOGIN_KEY}*",
}


@pytest.mark.parametrize(
    ("user", "kind", "commands", "keys"),
    [
        ("shop", "redis-cluster", SHOP_COMMANDS, SHOP_KEYS),
        # Only a cluster is asked for its slots.
        ("shop", "redis-sentinel", SHOP_COMMANDS - {"cluster|slots"}, SHOP_KEYS),
        (
            "limiter",
            "redis-limiter",
            {*called_in("limiter"), *sent_by(LIMITER)},
            keys_of("limiter"),
        ),
    ],
)
def test_a_user_may_do_what_the_code_does_and_nothing_else(user, kind, commands, keys):
    allowed_commands, allowed_keys = allowed_to(user, kind)
    path = f"deploy/{kind}/users.acl"
    assert sorted(allowed_commands) == sorted(commands), path
    assert sorted(allowed_keys) == sorted(keys), path
