"""What a command says of something that does not exist, and of a server that is away."""

import pytest
import redis

from tests.support.commands import IMPATIENT, flask, flask_in_new_process, nobody, one_line


@pytest.mark.parametrize(
    "command", [["bookings", "list", "--event"], ["events", "show"], ["events", "close"]]
)
def test_an_event_that_does_not_exist_is_named_with_one_like_it(environment, write, command):
    path = write()
    flask(environment, "events", "open", path)
    mistyped = path.stem.replace("tempest", "tempset")
    line = one_line(flask(environment, *command, mistyped))
    assert line.startswith(f"Error: there is no event '{mistyped}'; did you mean ")
    assert path.stem in line
    assert one_line(flask(environment, *command, "xyz")) == "Error: there is no event 'xyz'"
    assert one_line(flask(environment, *command, "")) == "Error: there is no event ''"


def test_a_code_that_is_no_ticket_is_shown_with_what_may_be_wrong(environment):
    line = one_line(flask(environment, "tickets", "verify", "WyJia2dfMSJd.c" * 10))
    assert line.startswith("Error: 'WyJia2dfMSJd.c")
    assert "… is not a ticket" not in line and "…' is not a ticket of ours: it is cut" in line


COMMANDS = {
    "REDIS_URL": [
        ["events", "list"],
        ["events", "show", "evening"],
        ["bookings", "list", "--event", "nowhere"],
    ],
    "MONGODB_URI": [
        ["bookings", "list"],
        ["bookings", "show", "bkg_1"],
        ["bookings", "refund", "bkg_1"],
    ],
}


@pytest.mark.parametrize(
    ("setting", "command"),
    [(setting, command) for setting, commands in COMMANDS.items() for command in commands],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_server_that_is_away_is_one_line_with_its_address_and_without_its_password(
    environment, setting, command
):
    scheme = setting.partition("_")[0].lower()
    address = nobody(scheme).removeprefix(f"{scheme}://")
    away = environment | IMPATIENT | {setting: f"{scheme}://user:secret@{address}/0"}
    line = one_line(flask(away, *command))
    assert line == f"Error: cannot reach {scheme}://{address}/0; is {setting} right?"


def test_a_redis_without_events_is_not_called_away(environment, own_redis):
    empty = environment | {"REDIS_URL": own_redis.url.replace("/0", "/1")}
    line = one_line(flask(empty, "events", "list"))
    assert "it was not opened yet, or Redis has lost it; run `events open`" in line


def test_a_redis_that_cannot_write_says_why(environment, write, own_redis):
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", 1)
        try:
            line = one_line(flask(environment, "events", "open", write()))
        finally:
            client.config_set("maxmemory", 0)
    assert "Redis answers and refuses the call: " in line
    assert "command not allowed when used memory > 'maxmemory'" in line


@pytest.mark.parametrize(
    "command",
    [
        "events open {path}",
        "events list",
        "events show {event}",
        "tickets verify nonsense",
        "audit",
        "reconcile --dry-run",
    ],
)
def test_a_command_that_operators_start_says_what_a_forked_one_says(environment, write, command):
    """So what the other tests see is what operators see."""
    path = write()
    flask(environment, "events", "open", path)
    words = command.format(path=path, event=path.stem).split()
    started, forked = flask_in_new_process(environment, *words), flask(environment, *words)
    assert started.returncode == forked.returncode
    # What comes out of a set has another order in each process.
    said = sorted(started.stdout.splitlines()), sorted(started.stderr.splitlines())
    assert said == (sorted(forked.stdout.splitlines()), sorted(forked.stderr.splitlines()))
    assert said != ([], [])
