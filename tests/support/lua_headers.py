"""The Lua scripts' headers."""

import re

from web.adapters.redis.scripts import LUA_DIR, read_scripts

SCRIPTS = read_scripts()


def text_of(name: str) -> str:
    return (LUA_DIR / f"{name}.lua").read_text()


def returned_by_header(name: str) -> set[str]:
    """The first words of all return values that the header lists."""
    returns = re.search(r"^-- returns((?:.*\n)(?:--\s+\|.*\n)*)", text_of(name), re.MULTILINE)[1]
    return {answer.split()[0] for answer in returns.replace("--", "").split("|")}
