"""What `events …` shows, opens and closes, as somebody at a terminal meets it."""

import re

import pytest
import redis

from tests.support.commands import IMPATIENT, flask, nobody, one_line
from tests.support.factories import a_booking, lose_event, unique
from web.cli.event_text import LIST_TITLES


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


def test_a_hidden_file_that_is_named_is_told_and_not_opened(environment, write):
    path = write()
    hidden = path.rename(path.with_name(f"._{path.name}"))
    line = one_line(flask(environment, "events", "open", hidden))
    assert line.startswith(f"Left out: {hidden} is hidden")
