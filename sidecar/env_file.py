"""The ``.env`` file beside the Procfile, for processes that get no settings from elsewhere.

The first process that needs settings reads it; its child processes inherit them. The environment
takes precedence over the file, even with an empty value. The syntax is python-dotenv's, with two
differences from its ``load_dotenv``: a line that it would skip is an error, and ``${NAME}`` is not
expanded, because a generated password may contain it.
"""

import difflib
import io
import os
import re
import stat
import sys
from collections.abc import MutableMapping
from pathlib import Path

from dotenv import dotenv_values, find_dotenv
from dotenv.parser import Binding, parse_stream

PROJECT = Path(__file__).resolve().parent.parent

ENV_FILE = "ENV_FILE"
"""Names another file than ``.env``. Empty: none is read."""

SIMILAR = 0.8
"""difflib's ratio from which an unknown name counts as a misspelt setting: REDIS_ULR has 0.89,
WEB_PORT and WEB_HOST have 0.75."""

NAMES_ELSEWHERE = {
    "STRIPE_SECRET_KEY": "STRIPE_API_KEY",
    "STRIPE_PRIVATE_KEY": "STRIPE_API_KEY",
    "STRIPE_KEY": "STRIPE_API_KEY",
    "STRIPE_PUBLIC_KEY": "STRIPE_PUBLISHABLE_KEY",
    "STRIPE_ENDPOINT_SECRET": "STRIPE_WEBHOOK_SECRET",
    "STRIPE_SIGNING_SECRET": "STRIPE_WEBHOOK_SECRET",
    "STRIPE_WEBHOOK_SIGNING_SECRET": "STRIPE_WEBHOOK_SECRET",
    "STRIPE_WEBHOOK_KEY": "STRIPE_WEBHOOK_SECRET",
    "MONGO_URI": "MONGODB_URI",
    "MONGO_URL": "MONGODB_URI",
}
"""Settings by the names that other programs and guides give them, which difflib would miss or take
for another setting."""


def add_env_file(environ: MutableMapping[str, str], project: Path = PROJECT) -> None:
    """Add to ``environ`` what the file sets and ``environ`` does not.

    Afterwards ``ENV_FILE`` is empty there, so that neither a second call nor a child process reads
    the file again. Warns on standard error when others can read the file, and of a name that looks
    like a misspelt setting. Raises ValueError naming the file, and the line if it is one line.
    """
    _forget_what_flask_read(environ)
    named = environ.get(ENV_FILE)
    environ[ENV_FILE] = ""
    environ["FLASK_SKIP_DOTENV"] = "1"
    if named == "":
        return
    path = Path(named).absolute() if named else project / ".env"
    if not named and not os.path.lexists(path):
        return
    found = _read(path)
    _warn_of_misspelt_names(path, found, project / ".env.example")
    for name, value in found.items():
        environ.setdefault(name, value)


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a directory, and should be a file of NAME=value") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
        _warn(f"other users have access to {path}, which may hold secrets: chmod 600 {path}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(content[: error.start].splitlines()) or 1
        raise ValueError(f"{path}, line {line}: not UTF-8") from None
    return parse(text, path)


def parse(text: str, path: Path) -> dict[str, str]:
    """Names to values; of several lines for one name the last counts. Raises ValueError."""
    found = {}
    for binding in parse_stream(io.StringIO(text)):
        name, value = binding.key, binding.value
        if name is None and not binding.error:
            continue  # empty, or a comment
        where = f"{path}, line {_line_of(binding)}"
        if (
            binding.error
            or name is None
            or value is None
            or not re.fullmatch(r"[A-Za-z_]\w*", name)
        ):
            # Without the line itself: it may be a secret.
            raise ValueError(
                f"{where}: expected NAME=value. Quotes, if any, must enclose the whole value"
            )
        if "\0" in value:
            raise ValueError(f"{where}: a value cannot contain a zero byte")
        if name == ENV_FILE:
            raise ValueError(f"{where}: {ENV_FILE} names this file; set it in the environment")
        found[name] = value
    return found


def _line_of(binding: Binding) -> int:
    """The parser counts empty lines before a binding as part of it."""
    text = binding.original.string
    before = text[: len(text) - len(text.lstrip())]
    return binding.original.line + len(re.findall(r"\r\n|\n|\r", before))


def _warn_of_misspelt_names(path: Path, found: dict[str, str], example: Path) -> None:
    """The example lists every setting. Unknown names are fine otherwise: other programs may read
    the file, too."""
    if not example.exists():
        return
    known = re.findall(r"^#?([A-Z_]+)=", example.read_text(), re.MULTILINE)
    for name in found:
        if name in known:
            continue
        meant = NAMES_ELSEWHERE.get(name.upper()) or next(
            iter(difflib.get_close_matches(name.upper(), known, 1, SIMILAR)), None
        )
        if meant in known:
            _warn(f"{path} sets {name}, which is no setting; did you mean {meant}?")


def _forget_what_flask_read(environ: MutableMapping[str, str]) -> None:
    """Undoes what the ``flask`` command has added from ``.flaskenv`` and ``.env`` in the current
    directory or one above it, regardless of ENV_FILE. The original environment is in /proc.
    """
    if "FLASK_RUN_FROM_CLI" not in environ or environ.get("FLASK_SKIP_DOTENV"):
        return
    inherited = {
        os.fsdecode(entry.partition(b"=")[0])
        for entry in Path("/proc/self/environ").read_bytes().split(b"\0")
    }
    for file_name in (".flaskenv", ".env"):
        if path := find_dotenv(file_name, usecwd=True):
            for name, value in dotenv_values(path, encoding="utf-8").items():
                # Another value is that of a file given to its --env-file.
                if name not in inherited and value is not None and environ.get(name) == value:
                    del environ[name]


def _warn(text: str) -> None:
    print(f"settings: {text}", file=sys.stderr)
