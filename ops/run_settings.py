"""``var/environment``: the settings of the last ``make run``, for commands that use its servers.

A shell that has sourced the file still has the ports of that run when the next run has others. So
the file also lists the values that ``make run`` generated, and those are never mistaken for the
user's.
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
"""Names and digests of the generated values. With digests, because a value that the user sets later
in the same shell is the user's."""


def write_run_settings(
    state_dir: Path, settings: Mapping[str, str], given: Mapping[str, str]
) -> None:
    """``given`` is the user's environment; settings that differ from it count as generated."""
    made = (name for name, value in settings.items() if value != given.get(name))
    lines = {**settings, MADE: " ".join(f"{name}:{_digest(settings[name])}" for name in made)}
    write_private(
        state_dir / FILE_NAME,
        "".join(f"export {name}={shlex.quote(value)}\n" for name, value in lines.items()),
    )


def read_run_settings(state_dir: Path) -> dict[str, str]:
    """The settings of the last run by name; empty when there was none. Raises OSError."""
    try:
        text = (state_dir / FILE_NAME).read_text()
    except FileNotFoundError:
        return {}
    words = (word.partition("=") for word in shlex.split(text) if word != "export")
    return {name: value for name, _, value in words}


def is_running(state_dir: Path) -> bool:
    """Whether the folder's lock is held, by a run or by a server that a killed run left behind."""
    try:
        with (state_dir / LOCK_NAME).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def forget_run_settings(environ: MutableMapping[str, str], state_dir: Path) -> None:
    """Remove from ``environ`` the values that a shell still has from an earlier run, of any folder.
    The key of the payment gateway stays if the gateway's address is the user's: all sandboxes have
    the same key, so a user who names one has set it too."""
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
