"""Parameters of ``make burst`` and the like: ``make burst BOTS=5`` or ``BOTS=5 make burst``.

They are checked before anything starts, and unknown ones are refused: a run of several minutes must
not ignore a parameter.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from ops.stores import MONGODB, REDIS
from web.domain.validation import did_you_mean, field_and_problem

INSTALLATIONS = ("PYTHON", "PYTHON_OF_VENV")
"""Variables that make itself reads, or ops/install.sh."""

MISSPELT = 0.8
"""The similarity from which on a name counts as another one misspelt."""

RedisKind = Annotated[
    Literal[tuple(REDIS)], Meta(description="what to start: server, sentinel or cluster")
]
MongoDBKind = Annotated[Literal[tuple(MONGODB)], Meta(description="how many members: 1 or 3")]

Kind = TypeVar("Kind", bound=msgspec.Struct)


class BadParameter(Exception):
    """The message names the parameter and its allowed values."""


def read_parameters(
    environ: Mapping[str, str], kind: type[Kind], others: Iterable[str] = ()
) -> Kind:
    """The fields of ``kind`` from the variables of their names, in capitals; an empty one counts as
    not set. ``others`` may be set besides. Raises BadParameter."""
    names = {field.upper(): field for field in kind.__struct_fields__}
    _refuse_unknown(environ, names, {*others, *INSTALLATIONS})
    given = {field: environ[name] for name, field in names.items() if environ.get(name)}
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        field, problem = field_and_problem(error)
        raise BadParameter(
            f"{field.upper()}={given[field]}: {_must_be(kind, field) or problem}"
        ) from None


def _refuse_unknown(environ: Mapping[str, str], names: Mapping[str, str], others: set[str]) -> None:
    """make exports the variables of its command line, and says in MAKEFLAGS which those are. Of the
    environment's most are somebody else's; only what looks like a parameter is taken for one."""
    on_command_line = _of_command_line(environ.get("MAKEFLAGS", ""))
    for name in [*on_command_line, *environ]:
        if name in names or name in others:
            continue
        meant = did_you_mean(name.upper(), names, most=1, alike=MISSPELT)
        if name in on_command_line or meant:
            known = ", ".join(names) or "none"
            raise BadParameter(f"{name} is no parameter{meant or '.'} The parameters are: {known}")


def _of_command_line(makeflags: str) -> list[str]:
    """The names of the variables in ``s -j2 -- BOTS=5 EVENT:=a``, where a space in a value has a
    backslash before it."""
    variables = f" {makeflags}".partition(" -- ")[2]
    return [re.split(r"[:+?!]*=", word)[0] for word in re.findall(r"(?:\\.|\S)+", variables)]


def _must_be(kind: type[msgspec.Struct], field: str) -> str:
    """In words, for a choice or a number; "" for anything else."""
    annotation = next(f.type for f in msgspec.structs.fields(kind) if f.name == field)
    of_type, *metas = get_args(annotation)
    if get_origin(of_type) is Literal:
        *others, last = get_args(of_type)
        return f"must be {', '.join(others)} or {last}"
    bounds = next(meta for meta in metas if isinstance(meta, Meta))
    if of_type not in (int, float):
        return ""
    if (bounds.ge, bounds.le) == (0, 1):
        return "must be 0 or 1"
    what = "a whole number" if of_type is int else "a number"
    if bounds.le is None:
        return f"must be {what}, at least {bounds.ge:,}"
    return f"must be {what} from {bounds.ge:,} to {bounds.le:,}"
