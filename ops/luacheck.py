"""Check the Lua scripts with luacheck: ``python -m ops.luacheck``.

luacheck reads the scripts as Redis gets them, with their includes inserted: in an included file
alone, everything from other files would be undefined. The reported lines are those of the assembled
scripts in var/lua/, as in Redis's error messages.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ops.servers import REPOSITORY
from web.adapters.redis.scripts import read_scripts

LUA = REPOSITORY / "lua"
FOLDER = REPOSITORY / "var/lua"

OF_REDIS = ("KEYS", "ARGV", "redis", "cjson", "cmsgpack", "bit", "struct")
NOT_IN_REDIS = ("debug", "dofile", "io", "loadfile", "module", "package", "print", "require")


def assembled() -> Iterator[Path]:
    """Write the assembled scripts to FOLDER, and yield their paths."""
    for folder in sorted(LUA.iterdir()):
        if folder.name != "include":
            for name, script in read_scripts(folder).items():
                path = FOLDER / folder.name / f"{name}.lua"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(script.source)
                yield path.relative_to(REPOSITORY)


def included_functions() -> Iterator[str]:
    for path in LUA.glob("**/include/*.lua"):
        yield from re.findall(r"^local function (\w+)", path.read_text(), re.MULTILINE)


def main() -> int:
    """The exit code of luacheck."""
    # A function's parameters may have the names of its caller's variables, and not every script
    # calls each function of the files that it includes.
    not_mistakes = ("43.", *(f"211/{name}" for name in included_functions()))
    command = [
        *("luacheck", "--quiet", "--no-color", "--codes", "--no-max-line-length"),
        *("--std", "lua51", "--read-globals", *OF_REDIS, "--not-globals", *NOT_IN_REDIS),
        *("--ignore", *not_mistakes, "--"),
    ]
    return subprocess.run([*command, *assembled()], cwd=REPOSITORY, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
