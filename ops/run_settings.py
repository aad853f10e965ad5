"""``var/environment``: the settings of the last ``make run``, for commands beside it.

A shell can source the file, and then keeps the ports of that run when the next one has others. So
the file also says which values ``make run`` made up: those are never taken for the user's own.
"""

import fcntl
import hashlib
import shlex
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from ops.files import write_private

STATE_DIR = Path(__file__).resolve().parent.parent / "var"

LOCK_NAME = "run.lock"
FILE_NAME = "environment"

MADE = "TICKETS_MADE_SETTINGS"
"""Names and digests of the values that no user has set. Digests, because a value that the user sets
afterwards, in the same shell, counts."""


def write_run_settings(
    state_dir: Path, settings: Mapping[str, str], given: Mapping[str, str]
) -> None:
    """``given`` is the user's environment; what differs from it was made up."""
    made = (name for name, value in settings.items() if value != given.get(name))
    lines = {**settings, MADE: " ".join(f"{name}:{_digest(settings[name])}" for name in made)}
    write_private(
        state_dir / FILE_NAME,
        "".join(f"export {name}={shlex.quote(value)}\n" for name, value in lines.items()),
    )


def read_run_settings(state_dir: Path) -> dict[str, str]:
    """Empty when nothing has run there. Raises OSError."""
    try:
        text = (state_dir / FILE_NAME).read_text()
    except FileNotFoundError:
        return {}
    words = (word.partition("=") for word in shlex.split(text) if word != "export")
    return {name: value for name, _, value in words}


def is_running(state_dir: Path) -> bool:
    """Whether a run, or a server that a killed run left behind, has the lock of that folder."""
    try:
        with (state_dir / LOCK_NAME).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def forget_run_settings(environ: MutableMapping[str, str], state_dir: Path) -> None:
    """Take out of ``environ`` what a shell has from a former run, of whichever folder. A key of the
    payment gateway stays when the gateway's address is the user's: the key of every sandbox is the
    same, and whoever names a sandbox gives it too."""
    given = dict(environ)
    for source in (given, read_run_settings(state_dir)):
        for entry in source.get(MADE, "").split():
            name, _, digest = entry.partition(":")
            if name in environ and _digest(environ[name]) == digest:
                del environ[name]
    if environ.get("STRIPE_API_BASE") and given.get("STRIPE_API_KEY"):
        environ["STRIPE_API_KEY"] = given["STRIPE_API_KEY"]
    environ.pop(MADE, None)


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()[:16]
