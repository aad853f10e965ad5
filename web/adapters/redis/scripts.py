"""The Lua scripts of ``lua/seats``, read together with their headers.

A header is the contract, and there is no second copy of it: the names and the order of keys and
arguments that a call needs are taken from there, so a caller that is out of step fails with a
TypeError and a script that is out of step fails a test.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

LUA_DIR = Path(__file__).parents[3] / "lua/seats"

KEYS_REMEMBERED = 4096
"""Lists of keys, each of an event and a script: a sale runs a handful of scripts on its event. Some
4 MB."""

LONGEST_ID = 64
"""Of an event that an event file declares. A path may name any other: it is not remembered."""

_PARAMETER = re.compile(r"^-- (KEYS|ARGV)\[\d+\]\s+(\S+)", re.MULTILINE)
_INCLUDE = re.compile(r"^-- include (.+)$", re.MULTILINE)


def hash_tag(event_id: str) -> str:
    """What is between the braces of the keys of an event. Any path may name one: with a brace of
    its own, or with nothing, its keys would be in several slots of a Redis Cluster."""
    return event_id.replace("}", "%7D") or "%"


@dataclass(frozen=True)
class LuaScript:
    """``keys`` are templates such as ``seats:{event}``; the braces stay in the key, they are its
    cluster hash tag. ``arguments`` are names, in the order in which the script unpacks them."""

    name: str
    source: str
    keys: tuple[str, ...]
    arguments: tuple[str, ...]

    @cached_property
    def sha(self) -> str:
        """What Redis calls it once it is loaded."""
        return hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    @cached_property
    def _argument_set(self) -> frozenset[str]:
        return frozenset(self.arguments)

    def call(
        self, event_id: str, key_digest: str, given: Mapping[str, str | int | bytes]
    ) -> "ScriptCall":
        """Raises TypeError when ``given`` are not just the arguments of the header."""
        if given.keys() != self._argument_set:
            raise TypeError(f"{self.name} takes {self.arguments}, not {tuple(given)}")
        keys_of = _known_keys_of if len(event_id) <= LONGEST_ID else _keys_of
        keys = keys_of(self.keys, event_id)
        if key_digest:
            keys = tuple(key.replace("<key_digest>", key_digest) for key in keys)
        return ScriptCall(self, (*keys, *map(given.__getitem__, self.arguments)))


def _keys_of(templates: tuple[str, ...], event_id: str) -> tuple[str, ...]:
    """The keys of an event; that of a receipt still without its digest."""
    tag = f"{{{hash_tag(event_id)}}}"
    return tuple(key.replace("{event}", tag) for key in templates)


_known_keys_of = lru_cache(maxsize=KEYS_REMEMBERED)(_keys_of)


class ScriptCall(NamedTuple):
    """``arguments`` are the script's keys, then its arguments."""

    script: LuaScript
    arguments: tuple[str | int | bytes, ...]


def read_scripts(folder: Path = LUA_DIR) -> dict[str, LuaScript]:
    """Script name to script, with the files it includes pasted in."""
    return {path.stem: _read_script(path) for path in sorted(folder.glob("*.lua"))}


def _read_script(path: Path) -> LuaScript:
    text = path.read_text()
    parameters = _PARAMETER.findall(text)
    return LuaScript(
        name=path.stem,
        source=_INCLUDE.sub(lambda line: _included(path.parent, line[1].split()), text),
        keys=tuple(name for kind, name in parameters if kind == "KEYS"),
        arguments=tuple(name for kind, name in parameters if kind == "ARGV"),
    )


def _included(folder: Path, names: list[str]) -> str:
    return "\n".join((folder.parent / "include" / f"{name}.lua").read_text() for name in names)
