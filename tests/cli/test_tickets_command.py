"""`./tickets`: the organiser's commands beside `make run`, in any shell, without preparation."""

import fcntl
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import ops.tickets
from ops.processes import free_port
from ops.run_settings import (
    forget_run_settings,
    read_run_settings,
    write_run_settings,
)
from tests.support.application import REQUIRED
from tests.support.clone import MakeRun, make_clone
from tests.support.environment import inherited
from tests.support.factories import EVENT_FILE, unique
from web import __version__

ENVIRONMENT_OF_ANOTHER = PermissionError(13, "Permission denied", "/srv/var/environment")


def test_settings_of_another_user_are_told_in_words(monkeypatch):
    def refuse(*_: object) -> None:
        raise ENVIRONMENT_OF_ANOTHER

    monkeypatch.setattr(ops.tickets, "settle_environment", refuse)
    with pytest.raises(SystemExit) as ended:
        ops.tickets.main()
    assert ended.value.code == (
        "/srv/var/environment: Permission denied; only the user who ran `make run` can use its "
        "settings: run ./tickets as that user."
    )


def tickets(
    clone: Path, *arguments: str, cwd: Path | None = None, **environ: str
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [clone / "tickets", *arguments],
        env=inherited() | environ,
        cwd=cwd or clone,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def never_run(clone) -> Path:
    """Before the module's `make run`."""
    refused = tickets(clone, "audit")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"TicketS is not running in {clone}: `make run` starts it. (To use one that runs "
        "elsewhere, set SECRET_KEY and STRIPE_API_KEY in the environment or in .env.)\n"
    )
    return clone


@pytest.fixture(scope="module")
def running(never_run) -> Iterator[Path]:
    run = MakeRun(never_run, free_port())
    try:
        assert "TicketS is ready" in run.greeting, run.greeting
        yield never_run
    finally:
        run.stop()


def test_it_finds_the_system_that_runs(running):
    audited = tickets(running, "audit")
    assert audited.returncode == 0, audited.stderr
    assert "no seat is in two bookings" in audited.stdout


def test_it_can_be_called_from_anywhere_and_takes_files_from_there(running, tmp_path):
    name = unique("evening")
    (tmp_path / "mine.toml").write_text(EVENT_FILE.format(id=name, capacity=5))
    # A module of the same name there is not ours.
    (tmp_path / "redis.py").write_text("raise ValueError")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tickets").symlink_to(running / "tickets")
    opened = subprocess.run(
        ["bin/tickets", "events", "open", "mine.toml"],
        env=inherited(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert opened.returncode == 0, opened.stderr
    assert name in opened.stdout
    assert tickets(running, "reconcile", cwd=tmp_path).returncode == 0, "it finds events/"


def test_what_the_environment_names_wins(running):
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    refused = tickets(running, "events", "open", "events/rosewood-theatre.toml", REDIS_URL=nobody)
    assert refused.returncode == 1
    assert "REDIS_URL" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_shell_that_has_the_ports_of_a_former_run_does_not_mislead_it(running, tmp_path):
    stale = {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0", "SECRET_KEY": "another folder's"}
    write_run_settings(tmp_path, stale, given={})
    assert tickets(running, "audit", **read_run_settings(tmp_path)).returncode == 0


@pytest.mark.stack
def test_it_says_its_version_also_where_nothing_was_set_up(tmp_path):
    told = tickets(make_clone(tmp_path), "--version")
    assert told.stdout == f"TicketS {__version__}\n", told.stderr
    assert told.returncode == 0


def test_help_says_which_commands_there_are(running):
    printed = tickets(running, "--help").stdout
    assert printed.startswith("Usage: tickets ")
    assert {"audit", "bookings", "events", "reconcile", "tickets"} <= set(printed.split())
    assert "--version" in printed


@pytest.fixture
def stopped(running, tmp_path) -> Path:
    """The folder of a run that ended: another one, to which its files were copied."""
    folder = make_clone(tmp_path)
    (folder / "var").mkdir()
    (folder / "var/run.lock").touch()
    (folder / "var/environment").write_text((running / "var/environment").read_text())
    return folder


def test_after_the_end_of_a_run_only_a_ticket_can_be_looked_at(stopped):
    refused = tickets(stopped, "bookings", "list")
    assert refused.returncode == 1
    assert f"TicketS is not running in {stopped}: `make run` starts it" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    looked_at = tickets(stopped, "tickets", "verify", "no-ticket")
    assert "not a ticket of ours" in looked_at.stderr


def test_without_a_run_it_takes_the_settings_of_any_process(stopped):
    (stopped / ".env").write_text(
        "".join(f"{name}='{value}'\n" for name, value in REQUIRED.items())
        + f"REDIS_URL=redis://127.0.0.1:{free_port()}/0\nPORT=bad\n"
    )
    refused = tickets(stopped, "audit", ENV_FILE=".env")
    assert "settings: " in refused.stderr
    assert "PORT" in refused.stderr


def test_while_a_run_starts_it_says_so(stopped):
    (stopped / "var/environment").unlink()
    with (stopped / "var/run.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = tickets(stopped, "audit")
    assert refused.returncode == 1
    assert refused.stderr == "TicketS is starting; try again in a few seconds.\n"


# ---------------------------------------------------------------- whose value it is


GIVEN = {"MONGODB_URI": "mongodb://of-the-user", "HOME": "/home"}
MADE = {"REDIS_URL": "redis://made", "SECRET_KEY": "it's $made\nup"}


def in_a_shell(state_dir: Path, given: Mapping[str, str] = GIVEN) -> dict[str, str]:
    """The environment of a shell that has sourced what a run has written."""
    write_run_settings(state_dir, {"MONGODB_URI": GIVEN["MONGODB_URI"]} | MADE, given)
    return dict(given) | read_run_settings(state_dir)


def test_what_a_run_made_up_is_forgotten_and_what_the_user_set_is_not(tmp_path):
    environ = in_a_shell(tmp_path)
    assert MADE.items() <= environ.items()
    forget_run_settings(environ, tmp_path)
    assert environ == GIVEN


def test_a_value_that_the_user_set_since_is_kept(tmp_path):
    environ = in_a_shell(tmp_path) | {"REDIS_URL": "redis://of-the-user"}
    forget_run_settings(environ, tmp_path)
    assert environ == GIVEN | {"REDIS_URL": "redis://of-the-user"}


def test_so_are_those_of_a_run_before_the_last_and_of_another_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "other").mkdir()
    of_other, of_mine = in_a_shell(tmp_path / "other"), in_a_shell(tmp_path / "mine")
    later = {"REDIS_URL": "redis://later", "SECRET_KEY": MADE["SECRET_KEY"]}
    write_run_settings(tmp_path / "mine", later, GIVEN)
    for environ in (of_other, of_mine):
        forget_run_settings(environ, tmp_path / "mine")
        assert environ == GIVEN


def test_a_single_value_that_was_copied_is_known_too(tmp_path):
    in_a_shell(tmp_path)
    environ = {"REDIS_URL": MADE["REDIS_URL"]}
    forget_run_settings(environ, tmp_path)
    assert environ == {}


def test_a_gateway_that_the_user_names_keeps_its_key_even_if_a_run_has_made_up_the_same(tmp_path):
    sandbox = {"STRIPE_API_KEY": "sk_test_sandbox", "STRIPE_API_BASE": "http://127.0.0.1:1"}
    write_run_settings(tmp_path, sandbox, GIVEN)
    named = sandbox | {"STRIPE_API_BASE": "http://127.0.0.1:2"}
    environ = dict(named)
    forget_run_settings(environ, tmp_path)
    assert environ == named

    sourced = dict(GIVEN) | read_run_settings(tmp_path)
    forget_run_settings(sourced, tmp_path)
    assert sourced == GIVEN


def test_the_users_own_value_stays_from_run_to_run(tmp_path):
    in_a_shell(tmp_path)
    environ = dict(GIVEN)
    forget_run_settings(environ, tmp_path)
    assert environ == GIVEN


def test_nobody_else_can_read_them(tmp_path):
    in_a_shell(tmp_path)
    assert (tmp_path / "environment").stat().st_mode & 0o777 == 0o600
