"""The organiser's commands, as somebody at a terminal meets them: what they show, what they refuse,
and what they say when a server is away."""

import json
import re
import secrets
from dataclasses import replace

import pytest
import redis

from ops.processes import free_port
from tests.support.application import REQUIRED
from tests.support.commands import IMPATIENT, flask, flask_in_new_process
from tests.support.factories import a_booking, lose_event, unique
from web.cli.event_text import LIST_TITLES
from web.domain.references import reference_of
from web.domain.sales import booking_id_of
from web.signing.ticket_codes import TicketCodes


def nobody(scheme: str) -> str:
    return f"{scheme}://127.0.0.1:{free_port()}"


def one_line(refused, exit_code: int = 1) -> str:
    assert (refused.returncode, refused.stdout) == (exit_code, ""), refused
    (line,) = refused.stderr.splitlines()
    return line


# ---------------------------------------------------------------- opening


def test_what_is_opened_is_shown_with_its_prices_seats_and_time(environment, write):
    opened = flask(environment, "events", "open", write())
    assert (opened.returncode, opened.stderr) == (0, "")
    headline, *lines = opened.stdout.splitlines()
    assert re.fullmatch(r"opened: tempest-\S+, 478 seats", headline)
    assert [line.strip() for line in lines] == [
        "The Tempest, Rosewood Theatre",
        "begins Saturday 12 December 2099, 19:30 GMT",
        "Stalls           212 × £38.00",
        "Floor, standing  266 × free of charge",
        (
            "478 seats, on sale from Thursday 10 January 2036, 10:00 GMT to Saturday 12 December "
            "2099, 19:30 GMT"
        ),
        (
            "at most 8 seats in a hold, for 5 minutes; at most 16 unpaid for one connection, "
            "64 for one IPv6 network"
        ),
    ]
    again = flask(environment, "events", "open", write())
    assert again.stdout == opened.stdout.replace("opened", "unchanged", 1)


def test_a_change_is_shown_with_what_it_was(environment, write):
    flask(environment, "events", "open", write())
    path = write(price=4200, opens="2036-01-12T10:00:00+01:00")
    path.write_text(path.read_text().replace("266", "300"))
    changed = flask(environment, "events", "open", path)
    headline, *lines = changed.stdout.splitlines()
    assert re.fullmatch(r"changed: tempest-\S+, 512 seats", headline)
    assert [line.strip() for line in lines] == [
        ("opening Saturday 12 January 2036, 09:00 GMT, was Thursday 10 January 2036, 10:00 GMT"),
        "Stalls: £42.00, was £38.00",
        "Floor, standing: 300 seats, was 266",
        (
            "on sale from Saturday 12 January 2036, 09:00 GMT to Saturday 12 December 2099, "
            "19:30 GMT"
        ),
    ]


def test_a_price_below_one_pound_is_shown_and_warned_of(environment, write):
    opened = flask(environment, "events", "open", write(price=38))
    assert "212 × £0.38" in opened.stdout
    assert "Stalls costs £0.38 a seat" in opened.stderr
    assert "so that £38.00 is 3800" in opened.stderr


def test_a_dry_run_shows_the_same_and_opens_nothing(environment, write):
    path = write()
    dry = flask(environment, "events", "open", "--dry-run", path)
    assert (dry.returncode, dry.stderr) == (0, "")
    opened = flask(environment, "events", "open", path)
    assert dry.stdout == opened.stdout.replace("opened: ", "would open: ")
    assert flask(environment, "events", "open", "--dry-run", path).stdout.startswith(
        "would stay as it is: "
    )
    dearer = write(price=4200)
    dry = flask(environment, "events", "open", "--dry-run", dearer)
    assert dry.stdout.startswith("would change: ")
    assert "Stalls: £42.00, was £38.00" in dry.stdout
    assert "Stalls" in flask(environment, "events", "open", dearer).stdout, "it was not changed yet"


def test_a_dry_run_says_what_would_be_refused_and_why(environment, write, bookings):
    path = write()
    flask(environment, "events", "open", path)
    bookings.insert(a_booking(path.stem, "stalls-A-1"))
    in_euros = write(currency="EUR")
    dry = flask(environment, "events", "open", "--dry-run", in_euros)
    assert dry.returncode == 1
    assert dry.stdout.startswith(
        f"would be refused: {path.stem}: the currency cannot change to EUR, because seats are sold "
        "in GBP: stalls-A-1;"
    )
    assert "the currency cannot change to EUR" in one_line(
        flask(environment, "events", "open", in_euros)
    )
    path.write_text(path.read_text().replace("EUR", "GBP").replace("1-212", "2-212"))
    dry = flask(environment, "events", "open", "--dry-run", path)
    assert (dry.returncode, "no longer has seats that are sold: stalls-A-1" in dry.stdout) == (
        1,
        True,
    )


def test_a_refused_file_keeps_no_other_from_being_opened(environment, write, bookings, tmp_path):
    path = write()
    flask(environment, "events", "open", path)
    bookings.insert(a_booking(path.stem, "stalls-A-1"))
    other = tmp_path / "other.toml"
    other.write_text(path.read_text().replace(path.stem, unique("other")))
    write(currency="EUR")
    opened = flask(environment, "events", "open", path, other)
    assert (opened.returncode, opened.stderr.count("Error: ")) == (1, 1)
    assert f"Error: {path.stem}: the currency cannot change to EUR" in opened.stderr
    assert opened.stdout.startswith("opened: other-")


@pytest.mark.parametrize("setting", ["REDIS_URL", "MONGODB_URI"])
def test_a_dry_run_without_a_server_shows_the_file_and_says_that_it_compared_nothing(
    environment, write, setting
):
    away = environment | IMPATIENT | {setting: nobody(setting.partition("_")[0].lower())}
    dry = flask(away, "events", "open", "--dry-run", write())
    assert dry.returncode == 0
    assert "212 × £38.00" in dry.stdout
    (line,) = dry.stderr.splitlines()
    assert line.startswith("Not compared with what is on sale: cannot reach ")
    assert line.endswith(f"is {setting} right?")


# ---------------------------------------------------------------- looking


def test_the_list_has_each_event_with_its_state_and_its_seats(environment, write, bookings):
    path = write(opens="2026-01-10T10:00:00Z")
    bookings.insert(a_booking(path.stem, "stalls-A-1", "floor-GA-7"))
    flask(environment, "events", "open", path)
    titles, *rows = flask(environment, "events", "list").stdout.splitlines()
    assert re.split(r"\s{2,}", titles) == [*LIST_TITLES]
    (row,) = [row for row in rows if path.stem in row]
    assert re.split(r"\s{2,}", row) == [
        path.stem,
        "on sale",
        "476",
        "0",
        "2",
        "Saturday 12 December 2099, 19:30 GMT",
        "Saturday 10 January 2026, 10:00 GMT",
        "The Tempest",
    ]


def test_an_event_that_redis_has_lost_is_listed_as_such(environment, write, own_redis):
    path = write()
    flask(environment, "events", "open", path)
    with redis.Redis.from_url(own_redis.url) as client:
        lose_event(client, path.stem)
    rows = flask(environment, "events", "list").stdout.splitlines()
    (row,) = [row for row in rows if path.stem in row]
    assert re.split(r"\s{2,}", row) == [path.stem, "lost by Redis; the worker reopens it"]
    line = one_line(flask(environment, "events", "show", path.stem))
    assert "Redis answers and does not have the event" in line


def test_an_event_is_shown_whole(environment, write, bookings):
    path = write(opens="2026-01-10T10:00:00Z")
    bookings.insert(a_booking(path.stem, "stalls-A-1", "floor-GA-7"))
    flask(environment, "events", "open", path)
    shown = flask(environment, "events", "show", path.stem)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[:3] == [
        "The Tempest, Rosewood Theatre",
        "begins Saturday 12 December 2099, 19:30 GMT",
        "on sale, opened Saturday 10 January 2026, 10:00 GMT",
    ]
    table = [re.split(r"\s{2,}", line.strip()) for line in lines[4:8]]
    assert table == [
        ["section", "price", "seats", "available", "held", "being paid", "sold", "id"],
        ["Stalls", "£38.00", "212", "211", "0", "0", "1", "stalls"],
        ["Floor, standing", "free of charge", "266", "265", "0", "0", "1", "floor"],
        ["all", "478", "476", "0", "0", "2"],
    ]
    assert "bookings 1, £50.00" in lines


# ---------------------------------------------------------------- closing


def test_a_sale_is_closed_at_once_and_opened_again(environment, write):
    path = write(opens="2026-01-10T10:00:00Z")
    flask(environment, "events", "open", path)
    closed = flask(environment, "events", "close", path.stem)
    first, _, line = closed.stdout.splitlines()
    assert first == f"closed: {path.stem}, its sale is closed; live holds may still be paid"
    assert re.fullmatch(r"    sale_closes_at = \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line)
    assert flask(environment, "events", "close", path.stem).stdout.startswith("unchanged: ")
    audited = flask(environment, "audit")
    assert f"{path.stem}: its sale was closed by hand" in audited.stdout + audited.stderr
    row = next(
        r for r in flask(environment, "events", "list").stdout.splitlines() if path.stem in r
    )
    assert "closed" in row
    flask(environment, "events", "open", path)
    assert "closed, opened" in flask(environment, "events", "show", path.stem).stdout
    path.write_text(path.read_text().replace("sale_opens_at", f"{line.strip()}\nsale_opens_at", 1))
    flask(environment, "events", "open", path)
    assert "closed by hand" not in flask(environment, "audit").stdout
    undone = flask(environment, "events", "close", path.stem, "--undo")
    assert undone.stdout == f"undone: {path.stem}, its sale is closed as its file says\n"


# ---------------------------------------------------------------- what does not exist


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


def test_an_event_without_bookings_has_an_empty_list(environment, write):
    path = write()
    flask(environment, "events", "open", path)
    empty = flask(environment, "bookings", "list", "--event", path.stem)
    assert (empty.returncode, empty.stdout, empty.stderr) == (0, "", "no bookings yet\n")


def test_bookings_are_searched_and_listed_for_a_spreadsheet(environment, bookings):
    booking = replace(a_booking(unique("gone"), "stalls-A-1"), name="Zoë Müller")
    bookings.insert(booking)
    for text in ("zoe mueller", booking.id, "stalls-A-1"):
        found = flask(environment, "bookings", "search", text, "--event", booking.event_id)
        assert booking.id in found.stdout and "Zoë Müller <eve@example.org>" in found.stdout
    assert one_line(flask(environment, "bookings", "search", "nobody")) == (
        "Error: no booking matches 'nobody'"
    )
    listed = flask(environment, "bookings", "list", "--csv", "--event", booking.event_id)
    assert (listed.returncode, listed.stderr) == (0, "")
    titles, line = listed.stdout.splitlines()
    assert titles.startswith("\ufeffBooking,Reference,Booked at (UTC),")
    assert line.startswith(f"{booking.id},") and "Zoë Müller" in line


@pytest.mark.parametrize("command", ["show", "refund"])
def test_a_booking_that_does_not_exist_is_named_with_one_like_it(environment, bookings, command):
    booking = a_booking(unique("evening"), "a-1")
    bookings.insert(booking)
    cut = booking.id[:-1]
    assert one_line(flask(environment, "bookings", command, cut)).startswith(
        f"Error: there is no booking '{cut}'; did you mean "
    )
    assert booking.id == booking_id_of(booking.hold_id)
    assert one_line(flask(environment, "bookings", command, booking.hold_id)) == (
        f"Error: there is no booking '{booking.hold_id}'; did you mean {booking.id}?"
    )
    assert one_line(flask(environment, "bookings", command, "nonsense")) == (
        "Error: there is no booking 'nonsense'"
    )


def test_a_code_that_is_no_ticket_is_shown_with_what_may_be_wrong(environment):
    line = one_line(flask(environment, "tickets", "verify", "WyJia2dfMSJd.c" * 10))
    assert line.startswith("Error: 'WyJia2dfMSJd.c")
    assert "… is not a ticket" not in line and "…' is not a ticket of ours: it is cut" in line


# ---------------------------------------------------------------- servers that are away


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


def test_a_refund_without_the_gateway_says_who_goes_on(environment, bookings):
    booking = a_booking(unique("evening"), "a-1", payment_id="pi_1")
    bookings.insert(booking)
    away = environment | {"STRIPE_API_BASE": nobody("http")}
    line = one_line(flask(away, "bookings", "refund", booking.id))
    assert line.startswith(
        "Error: the payment gateway did not confirm it: no connection to the payment gateway: "
    )
    assert line.endswith("; the worker tries again, and you may")
    refused = one_line(flask(environment, "bookings", "refund", booking.id))
    assert refused.startswith("Error: the payment gateway refuses it: ")
    assert "pi_1" in refused and "again" not in refused


def test_a_redis_without_events_is_not_called_away(environment, own_redis):
    empty = environment | {"REDIS_URL": own_redis.url.replace("/0", "/1")}
    line = one_line(flask(empty, "events", "list"))
    assert "it was not opened yet, or Redis has lost it; run `events open`" in line


def test_a_hidden_file_that_is_named_is_told_and_not_opened(environment, write):
    path = write()
    hidden = path.rename(path.with_name(f"._{path.name}"))
    line = one_line(flask(environment, "events", "open", hidden))
    assert line.startswith(f"Left out: {hidden} is hidden")


def test_a_redis_that_cannot_write_says_why(environment, write, own_redis):
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", 1)
        try:
            line = one_line(flask(environment, "events", "open", write()))
        finally:
            client.config_set("maxmemory", 0)
    assert "Redis answers and refuses the call: " in line
    assert "command not allowed when used memory > 'maxmemory'" in line


# Without the unique index, which it creates, the audit has a problem to report.
@pytest.mark.usefixtures("bookings")
def test_an_audit_says_what_is_away_in_words(environment):
    away = {"REDIS_URL": nobody("redis"), "STRIPE_API_BASE": nobody("http")}
    audited = flask(environment | away, "audit")
    assert (audited.returncode, audited.stderr) == (2, "")
    assert "    not looked at: the seat store (Redis) cannot be reached" in audited.stdout
    assert "    not looked at: no connection to the payment gateway: " in audited.stdout
    assert "could not be checked" in audited.stdout
    assert "PROBLEM" not in audited.stdout
    assert "Unavailable(" not in audited.stdout


def test_an_audit_with_a_difference_exits_with_1_whatever_else_is_away(environment, bookings):
    event_id = unique("evening")
    bookings.insert(a_booking(event_id, "a-1", payment_id="pi_1"))
    audited = flask(environment | {"REDIS_URL": nobody("redis")}, "audit")
    assert audited.returncode == 1
    assert "    not looked at: the seat store (Redis) cannot be reached" in audited.stdout
    assert " PROBLEM" in audited.stdout


@pytest.mark.parametrize(
    ("away", "says"),
    [
        (
            {"REDIS_URL": "redis"},
            "not done: the list of events: the seat store (Redis) cannot be reached\n",
        ),
        ({"MONGODB_URI": "mongodb"}, ": the booking store (MongoDB) cannot be reached\n"),
        ({"STRIPE_API_BASE": "http"}, "not done: gateway: no connection to the payment gateway"),
    ],
    ids=["Redis", "MongoDB", "Stripe"],
)
def test_one_round_of_the_worker_that_cannot_do_all_fails_and_says_why(
    environment, bookings, redis_server, away, says
):
    # Without events of other tests: the worker has to open its own, and asks MongoDB for that.
    environment = environment | IMPATIENT | {"REDIS_URL": redis_server.url.replace("/0", "/8")}
    done = flask(environment | {name: nobody(scheme) for name, scheme in away.items()}, "reconcile")
    assert done.returncode == 1
    assert says in done.stderr
    assert "next round" not in done.stderr
    assert "Topology" not in done.stderr
    assert "Unavailable(" not in done.stderr


@pytest.mark.parametrize("hours", ["0", "-1", "many", "999999999999"])
def test_hours_that_cannot_be_are_refused(environment, hours):
    refused = flask(environment, "audit", "--hours", hours)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "--hours" in refused.stderr


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


# ---------------------------------------------------------------- lost tickets


def booked(bookings, hold_id: str, event_id: str, seat: str):
    booking = a_booking(event_id, seat)
    return bookings.insert(replace(booking, id=booking_id_of(hold_id), hold_id=hold_id))


def test_the_link_of_a_booking_is_printed_and_opens_its_receipt(environment, bookings):
    event_id = unique("lost")
    booking = booked(bookings, f"hld_{secrets.token_hex(10)}_0", event_id, "stalls-A-1")
    public = environment | {"PUBLIC_URL": "https://tickets.example.org"}
    printed = flask(public, "bookings", "link", booking.id)
    assert (printed.returncode, printed.stderr) == (0, "")
    link = printed.stdout.strip().removeprefix("https://tickets.example.org/receipts/")
    codes = TicketCodes(REQUIRED["SECRET_KEY"])
    assert codes.read_link(link) == (event_id, booking.hold_id)
    without = flask(environment, "bookings", "link", booking.id)
    assert without.stdout == f"/receipts/{link}\n"
    assert "PUBLIC_URL is not set" in without.stderr
    assert "no booking" in one_line(flask(public, "bookings", "link", "bkg_nobody"))


def test_a_booking_is_found_by_the_reference_that_its_buyer_reads_out(environment, bookings):
    event_id = unique("lost")
    booking = booked(bookings, f"hld_{secrets.token_hex(10)}_0", event_id, "stalls-A-1")
    shown = json.loads(flask(environment, "bookings", "show", booking.id).stdout)
    assert shown["reference"] == reference_of(event_id, booking.id)
    said = shown["reference"].lower().replace("-", " ")
    for command in ("show", "link"):
        by_id = flask(environment, "bookings", command, booking.id).stdout
        assert flask(environment, "bookings", command, said).stdout == by_id
    listed = flask(environment, "bookings", "list", "--event", event_id).stdout
    for lines in (listed, flask(environment, "bookings", "search", said).stdout):
        assert f"  {booking.id}  {shown['reference']}  booked " in lines


def test_a_refund_needs_the_id_and_not_the_reference(environment, bookings):
    event_id = unique("lost")
    booking = booked(bookings, f"hld_{secrets.token_hex(10)}_0", event_id, "stalls-A-1")
    reference = reference_of(event_id, booking.id)
    line = one_line(flask(environment, "bookings", "refund", reference))
    assert f"`bookings show {reference}` prints the id" in line
    assert not bookings.find(booking.id).refunded_at


def test_of_two_bookings_with_one_reference_both_are_named(environment, bookings):
    digits, event_id = secrets.token_hex(3)[:5], unique("lost")
    two = [
        booked(bookings, f"hld_{digits}{'0' * 14}{number}_0", event_id, f"stalls-A-{number}")
        for number in (1, 2)
    ]
    booked(bookings, f"hld_{digits}{'0' * 14}3_0", unique("other"), "stalls-A-1")
    refused = flask(environment, "bookings", "show", reference_of(event_id, two[0].id))
    assert refused.returncode == 1
    assert "2 bookings have this reference; ask for the name" in refused.stderr
    assert all(booking.id in refused.stderr and "Eve" in refused.stderr for booking in two)


def test_a_reference_of_nobody_is_named(environment):
    line = one_line(flask(environment, "bookings", "show", "XYZ-2222"))
    assert line == "Error: there is no booking with the reference 'XYZ-2222'"
