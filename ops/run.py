"""``make run`` (``python -m ops.run``): run the whole stack until Ctrl-C. Its state is in ``var/``,
so that the next run has the bookings of this one.

Settings come from the environment and ``.env``, without what a shell still has from an earlier run.
"""

import contextlib
import errno
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ops.first_seat import hold_url_of_a_free_seat
from ops.processes import ProcessFailed, free_port, no_space, port_is_free
from ops.run_settings import LOCK_NAME, STATE_DIR, forget_run_settings
from ops.servers import HOST
from ops.stack import Stack
from sidecar.parent_death import die_with_parent
from sidecar.settings import BadSettings, environment

DEFAULT_PORT = 8080

LOG_PATH = STATE_DIR / "logs" / "run.log"

LOCK_TIMEOUT_S = 5
"""The servers of a killed run need a moment to end."""
LOCK_INTERVAL_S = 0.25


class CannotRun(Exception):
    """Something on this machine is in the way; the message says what, and what to do."""


def say(line: str = "", terminal: TextIO = sys.stdout) -> None:
    print(line, file=terminal, flush=True)
    # The log too, because a run in the background has no terminal. Before the first start its
    # folder does not exist.
    with contextlib.suppress(OSError), LOG_PATH.open("a") as log:
        print(line, file=log)


def port_of_nginx() -> int:
    """Raises CannotRun when PORT is no port, or nginx cannot have it."""
    given = os.environ.get("PORT") or str(DEFAULT_PORT)
    if not given.isascii() or not given.isdecimal() or not 1 <= int(given) <= 65535:
        raise CannotRun(f"PORT is {given!r}; it must be a number from 1 to 65535.")
    port = int(given)
    try:
        free = port_is_free(port, HOST)
    except PermissionError:
        raise CannotRun(f"Port {port} needs root. Choose one from 1024 with PORT.") from None
    if not free:
        raise CannotRun(
            f"Port {port} is in use by another program. "
            f"Choose another with PORT, for example: PORT={free_port()} make run"
        )
    return port


@contextlib.contextmanager
def only_run(lock_path: Path) -> Iterator[int]:
    """Hold the lock of this folder's state; yields its file descriptor. Raises CannotRun when
    another run holds it."""
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("a") as lock:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CannotRun(
                        "TicketS is running in this folder already; stop that first (Ctrl-C)."
                    ) from None
                time.sleep(LOCK_INTERVAL_S)
        yield lock.fileno()


def greet(stack: Stack) -> None:
    url = stack["nginx"].url
    say()
    say(f"TicketS is ready: {url}")
    hold_url = hold_url_of_a_free_seat(url)
    if hold_url:
        say("Hold a seat:")
        say(f"  curl -i -X POST {hold_url}")
    else:
        say("No seat is on sale now; events/*.toml say when.")
    if stack.mailbox:
        say(f"Mails to buyers: {stack.mailbox.url}")
    say(f"Metrics: {stack['web'].url}/metrics")
    say("The organiser's commands: ./tickets --help")
    say(f"Logs are in {stack.log_dir}. Ctrl-C stops everything.")


def run() -> None:
    """Raises CannotRun, BadSettings, ProcessFailed, OSError, KeyboardInterrupt."""
    with only_run(STATE_DIR / LOCK_NAME) as lock_fd:
        forget_run_settings(os.environ, STATE_DIR)
        environment()
        port = port_of_nginx()
        # Every server inherits the lock: as long as a server of a killed run is left, no other run
        # starts a second one on the same files.
        stack = Stack(STATE_DIR, say=say, keep_open=[lock_fd], has_mailbox=True)
        try:
            stack.start(port)
            greet(stack)
            stack.watch()
        except KeyboardInterrupt:
            say("\nStopping; once more to stop at once")
            raise
        finally:
            try:
                stack.stop()
            except BaseException:
                stack.kill()
                raise


def main() -> int:
    # SIGTERM and a closed terminal stop everything, like Ctrl-C. SIGINT is set too: a shell script
    # that starts this in the background makes it ignore SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        if "MAKELEVEL" in os.environ:
            # If make is killed, this must end too.
            die_with_parent(signal.SIGTERM)
        run()
    except KeyboardInterrupt:
        say("Stopped")
        return 0
    except BadSettings as error:
        print(f"settings: {error}", file=sys.stderr)
    except CannotRun as error:
        # Not to the log, which may belong to another run.
        print(error, file=sys.stderr)
    except ProcessFailed as error:
        say(str(error), sys.stderr)
    except OSError as error:
        say(in_words(error), sys.stderr)
    return 1


def in_words(error: OSError) -> str:
    """A message for a file that cannot be read or written."""
    if error.errno == errno.ENOSPC:
        return f"{no_space(error.filename or STATE_DIR)}."
    return f"{error.filename}: {error.strerror}." if error.filename else str(error)


if __name__ == "__main__":
    sys.exit(main())
