"""``./tickets COMMAND``: the same commands as ``flask --app wsgi COMMAND``.

While ``make run`` runs in this folder they use its settings, otherwise those of the environment and
``.env``, like any process. A variable that is set in the environment always wins.
"""

import os
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path

import click
from flask.cli import ScriptInfo

from ops.run_settings import STATE_DIR, forget_run_settings, is_running, read_run_settings
from sidecar.env_file import ENV_FILE
from sidecar.settings import BadSettings, environment
from web import __version__

REQUIRED = ("SECRET_KEY", "STRIPE_API_KEY")
"""Settings without a default: they are set wherever TicketS runs without ``make run``."""

WITHOUT_SERVERS = ["tickets", "verify"]

with_version = click.version_option(
    __version__, prog_name="TicketS", message="%(prog)s %(version)s"
)


class NotRunning(Exception):
    """There are no servers that the command could use; the message says what to do."""


def settle_environment(
    environ: MutableMapping[str, str], state_dir: Path, command: Sequence[str]
) -> None:
    """Put the settings for ``command`` into ``environ``. Raises NotRunning, BadSettings and
    OSError."""
    forget_run_settings(environ, state_dir)
    of_run = read_run_settings(state_dir)
    if is_running(state_dir):
        if not of_run:
            raise NotRunning("TicketS is starting; try again in a few seconds.")
        settings = of_run
        # `make run` has read it.
        environ[ENV_FILE] = ""
    else:
        environment()
        missing = [name for name in REQUIRED if not environ.get(name)]
        if not missing:
            return
        if not of_run or list(command[:2]) != WITHOUT_SERVERS:
            raise NotRunning(
                f"TicketS is not running in {state_dir.parent}: `make run` starts it. (To use one "
                f"that runs elsewhere, set {' and '.join(missing)} in the environment or in .env.)"
            )
        settings = of_run
    for name, value in settings.items():
        environ.setdefault(name, value)


def in_words(error: OSError) -> str:
    """A message for a file with the settings of a run. It has secret keys, so only its owner may
    read it."""
    if isinstance(error, PermissionError):
        return (
            f"{error.filename}: {error.strerror}; only the user who ran `make run` can use its "
            "settings: run ./tickets as that user."
        )
    return f"{error.filename}: {error.strerror}." if error.filename else str(error)


def main() -> None:
    if sys.argv[1:] == ["--version"]:
        # Works without any settings.
        with_version(click.Command("tickets")).main()
    try:
        settle_environment(os.environ, STATE_DIR, sys.argv[1:])
    except BadSettings as error:
        sys.exit(f"settings: {error}")
    except NotRunning as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(in_words(error))
    # Not at the top: it reads the settings.
    from wsgi import app  # noqa: PLC0415

    script = ScriptInfo(create_app=lambda: app, load_dotenv_defaults=False)
    with_version(app.cli).main(prog_name="tickets", obj=script)


if __name__ == "__main__":
    main()
