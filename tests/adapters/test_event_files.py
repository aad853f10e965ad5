import logging
import os
import tempfile
import tracemalloc
from pathlib import Path

import pytest

from tests.support.factories import GOOD_EVENT_FILE as GOOD
from web.adapters.event_files import BadEventFile, EventFolder, read_event_file, read_event_files

EVENTS_DIR = Path(__file__).parents[2] / "events"

NOBODY = 65534


def read(tmp_path, text: str | bytes):
    path = tmp_path / "event.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_event_file(path)


def test_rows_ranges_gaps_and_steps_become_seats_in_the_order_of_the_file(tmp_path):
    event = read(tmp_path, GOOD)
    assert event.seats[:5] == (
        "stalls-A-1",
        "stalls-A-2",
        "stalls-A-3",
        "stalls-A-6",
        "stalls-A-5",
    )
    assert [row.id for row in event.sections[0].rows] == ["A", "B", "D", "10", "11"]
    assert event.sections[0].rows[3].blocks == (("1", "3", "5"),)
    assert event.seats[-3:] == ("floor-GA-1", "floor-GA-2", "floor-GA-3")
    assert (event.hold_ms, event.max_seats_per_hold) == (300_000, 8)


@pytest.mark.parametrize(
    ("name", "seats", "sections"),
    [
        ("rosewood-theatre", 286, 6),
        ("harbour-arena", 12_012, 20),
        ("meridian-stadium", 50_000, 100),
    ],
)
def test_the_events_that_come_with_the_product_are_good(name, seats, sections):
    event = read_event_file(EVENTS_DIR / f"{name}.toml")
    assert (len(event.seats), len(event.sections)) == (seats, sections)
    assert len(set(event.seats)) == seats


def test_the_theatre_has_irregular_rows_and_several_prices():
    theatre = read_event_file(EVENTS_DIR / "rosewood-theatre.toml")
    lengths = {sum(map(len, row.blocks)) for s in theatre.sections for row in s.rows}
    assert len(lengths) > 5
    assert len({section.price_minor for section in theatre.sections}) == 6
    assert "circle-B-7" not in theatre.positions
    assert "circle-B-8" in theatre.positions


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "An evening"', "name = An evening", "line 3"),
        ('name = "An evening"\n', "", "name: is missing; it must be a text"),
        ("price = 1200", 'price = "12"', "sections[0].price: must be a whole number of"),
        (
            "price = 1200",
            "price = -1",
            "sections[0].price: must be 0 or more; 0 is free of charge, not -1",
        ),
        ("price = 1200", "price = 20_000_000", "sections[0].price: 8 seats (max_seats_per_hold)"),
        (
            "price = 1200",
            "pirce = 1200",
            'sections[0]: there is no field "pirce"; did you mean price?',
        ),
        ('currency = "GBP"', 'currency = "GPB"', 'currency: no payment can be in "GPB"; take GBP,'),
        ('currency = "GBP"', 'currency = "gbp"', 'currency: no payment can be in "gbp"; take GBP,'),
        ('currency = "GBP"', 'currency = "pounds"', 'currency: no payment can be in "pounds"'),
        ("2026-01-01T", "9999-12-31T", "sale_opens_at: the year must be 2000 to 2100, not 9999"),
        ("2026-01-01T", "0001-01-01T", "sale_opens_at: the year must be 2000 to 2100, not 1"),
        ("2026-01-01T", "2101-01-01T", "sale_opens_at: the year must be 2000 to 2100, not 2101"),
        ("2026-01-01T10:00:00Z", "2026-02-30T10:00:00Z", "not TOML: Invalid date or datetime"),
        ('ids = "10-11", seats = "1-5/2"', 'ids = "1-9999", seats = "1-9999"', "more than 100000"),
        ("2026-01-01T10:00:00Z", "2026-01-01", "sale_opens_at: must be a date and a time at the"),
        (
            'timezone = "Europe/London"\nstarts_at = 2099-12-12T19:30:00\n',
            "",
            (
                "timezone and starts_at: missing; add above the first [[sections]], with the "
                'values of your event, the lines timezone = "Europe/London" and starts_at = 2026'
            ),
        ),
        ("Europe/London", "+01:00", 'timezone: must be an IANA time zone such as "Europe/London"'),
        ("Europe/London", "Europe/Londn", "did you mean Europe/London"),
        (
            "starts_at = 2099-12-12T19:30:00",
            "starts_at = 2026-10-25T01:30:00",
            (
                "starts_at: 2026-10-25T01:30:00 happens twice in Europe/London, because clocks "
                "change; write 2026-10-25T01:30:00+01:00 (BST) or 2026-10-25T01:30:00+00:00 (GMT)"
            ),
        ),
        (
            "starts_at = 2099-12-12T19:30:00",
            "starts_at = 2026-03-29T01:30:00",
            (
                "starts_at: 2026-03-29T01:30:00 does not exist in Europe/London, because clocks "
                "change; write 2026-03-29T02:30:00+01:00 (BST) or 2026-03-29T00:30:00+00:00 (GMT)"
            ),
        ),
        (
            "starts_at = 2099-12-12T19:30:00",
            "starts_at = 2025-12-12T19:30:00",
            "sale_opens_at: must be before starts_at, when the sale closes",
        ),
        *(
            ("sale_opens_at", f"{line}\nsale_opens_at", problem)
            for line, problem in (
                ("sale_closes_at = 2025-01-01T10:00:00", "sale_opens_at: must be before sale_clo"),
                ("doors_open_at = 2099-12-12T20:00:00", "doors_open_at: must not be after start"),
                ("ends_at = 2099-12-12T19:30:00", "ends_at: must be after starts_at"),
                (
                    "ends_at = 2099-12-12T22:00:00\nsale_closes_at = 2099-12-12T23:00:00",
                    "sale_closes_at: must not be after ends_at",
                ),
                ("doors_open_at = 19:30:00", "doors_open_at: must be a date and a time at the"),
                ('status = "canceled"', 'status: must be "scheduled", "postponed" or "cancelled"'),
            )
        ),
        (
            'id = "evening"',
            'id = "An Evening"',
            "id: must be lower-case letters, digits and single hyphens",
        ),
        ('ids = "A-B, D"', 'ids = "A-B, B"', 'sections[0].rows: row "B" is listed twice'),
        ('ids = "A-B, D"', 'ids = "A-B,"', 'sections[0].rows[0].ids: "" is no row id'),
        ("1-3, 6-5", "1-3, 3-4", 'rows[0].seats: seat "3" is listed twice'),
        ("1-3, 6-5", "1 to 3", 'rows[0].seats: "1 to 3" is no seat number'),
        ("1-5/2", "1-6/2", 'rows[1].seats: "1-6/2" does not end where its step leads'),
        (
            "1-5/2",
            "1-5/0",
            'rows[1].seats: "1-5/0" has a step of 0; it must be 1 or more, as in 1-',
        ),
        ("10-11", "10-11/0", 'rows[1].ids: "10-11/0" has a step of 0; it must be 1 or more'),
        (
            "capacity = 3",
            "capacity = 0",
            "sections[1].capacity: must be a whole number from 1 to 100000",
        ),
        ("capacity = 3", "", "sections[1]: a general section has a capacity"),
        ('kind = "general"', "", "sections[1]: a seated section has rows"),
        ('id = "floor"', 'id = "stalls"', 'sections: section "stalls" is listed twice'),
        ("capacity = 3", "capacity = 100000", "sections: more than 100000 seats"),
        (
            'venue = "Hall"',
            'venue = "Hall"\nhold_seconds = nan',
            "hold_seconds: must be a number from",
        ),
        ('venue = "Hall"', 'venue = "Hall"\nmax_held_per_client = 2', "max_held_per_client: must"),
        (
            'venue = "Hall"',
            'venue = "Hall"\nmax_held_per_network = 15',
            "max_held_per_network: must be at least max_held_per_client",
        ),
    ],
)
def test_a_bad_file_is_refused_with_the_line_or_the_field(tmp_path, old, new, says):
    assert old in GOOD
    with pytest.raises(BadEventFile) as refused:
        read(tmp_path, GOOD.replace(old, new))
    assert says in str(refused.value)
    assert "event.toml: " in str(refused.value)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(BadEventFile, match="No such file"):
        read_event_file(tmp_path / "nothing.toml")
    with pytest.raises(BadEventFile, match="not UTF-8 at byte 8"):
        read(tmp_path, b'name = "\xff"')


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    assert read(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()).id == "evening"


@pytest.mark.parametrize("field", ["name", "venue", "sections[0].name"])
@pytest.mark.parametrize(
    ("title", "says"),
    [
        ("   ", "must have a letter, a digit or another character that shows"),
        ("\u3164", "must have no line breaks, and no invisible characters like U+3164 (hangul"),
        ("Hall\u200b", "no invisible characters like U+200B (zero width space)"),
        ("Hall\u202e", "no invisible characters like U+202E (right-to-left override)"),
        ("Hall\\u0007", "no invisible characters like U+0007"),
        ("Hall\\nRoom 2", "must have no line breaks"),
    ],
)
def test_a_title_that_does_not_show_as_it_is_written_is_refused(tmp_path, field, title, says):
    old = {"name": "An evening", "venue": "Hall", "sections[0].name": "Stalls"}[field]
    with pytest.raises(BadEventFile) as refused:
        read(tmp_path, GOOD.replace(f'"{old}"', f'"{title}"'))
    assert f"event.toml: {field}: " in str(refused.value) and says in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "title", ["!!!", "¿Quién? «Hall» & 1/2", "李小龍", "क्\u200dष", "👩\u200d🚀 ❤️"]
)
def test_a_title_may_have_punctuation_and_be_in_any_script(tmp_path, title):
    assert read(tmp_path, GOOD.replace('"Hall"', f'"{title}"')).venue == title


def test_a_value_that_would_disturb_a_terminal_is_shown_escaped(tmp_path):
    with pytest.raises(BadEventFile) as refused:
        read(tmp_path, GOOD.replace('"GBP"', '"G\u202e\\u001b[2J"'))
    assert 'no payment can be in "G\\u202e\\x1b[2J"' in str(refused.value)


def test_what_is_no_file_of_a_sensible_size_is_refused_without_being_read(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "nowhere.toml").symlink_to(tmp_path / "gone")
    (tmp_path / "loop.toml").symlink_to(tmp_path / "loop.toml")
    with (tmp_path / "huge.toml").open("wb") as huge:
        huge.truncate(100 * 1024 * 1024)
    for name, says in [
        ("folder", "is a folder or a device, not a file"),
        ("pipe", "is a folder or a device, not a file"),
        ("nowhere", "a link to a file that is not there"),
        ("loop", "a link that leads back to itself"),
        ("l" * 300, "File name too long"),
        ("huge", "is larger than 500,000 bytes"),
    ]:
        with pytest.raises(BadEventFile, match=says):
            read_event_file(tmp_path / f"{name}.toml")


# ---------------------------------------------------------------- several files


def write(folder, name: str, event_id: str, text: str = GOOD) -> Path:
    path = folder / name
    path.write_text(text.replace('id = "evening"', f'id = "{event_id}"'))
    return path


def test_a_bad_file_hides_no_other(tmp_path):
    paths = [
        write(tmp_path, "a.toml", "a"),
        write(tmp_path, "half.toml", "half", GOOD[:100]),
        write(tmp_path, "z.toml", "z"),
    ]
    events, problems = read_event_files(paths)
    assert [event.id for event in events] == ["a", "z"]
    assert len(problems) == 1 and "half.toml: not TOML" in problems[0]


def test_of_two_files_with_one_id_neither_is_taken_and_both_are_named(tmp_path):
    paths = [write(tmp_path, f"{name}.toml", "evening") for name in ("first", "second")]
    events, problems = read_event_files([*paths, write(tmp_path, "other.toml", "other")])
    assert [event.id for event in events] == ["other"]
    (problem,) = problems
    assert "first.toml and" in problem and 'second.toml: both declare "evening"' in problem


def test_a_file_that_is_named_twice_is_one_file(tmp_path):
    path = write(tmp_path, "a.toml", "a")
    (tmp_path / "b.toml").symlink_to(path)
    events, problems = read_event_files([path, path, tmp_path / "b.toml"])
    assert [event.id for event in events] == ["a"] and not problems


def test_a_link_that_leads_back_to_itself_hides_no_other(tmp_path):
    loop, other = tmp_path / "loop.toml", tmp_path / "other.toml"
    loop.symlink_to(other)
    other.symlink_to(loop)
    events, problems = read_event_files([loop, other, write(tmp_path, "a.toml", "a")])
    assert [event.id for event in events] == ["a"]
    assert sorted(problems) == [
        f"{link}: a link that leads back to itself" for link in (loop, other)
    ]


GENERAL = '[[sections]]\nid = "s{}"\nname = "S"\nkind = "general"\nprice = 0\ncapacity = 100000\n'
SEATED = '[[sections]]\nid = "t{}"\nname = "T"\nprice = 0\nrows = [{}]\n'


def group(ids: str, seats: str) -> str:
    return f'{{ ids = "{ids}", seats = "{seats}" }}'


@pytest.mark.parametrize(
    "sections",
    [
        "".join(GENERAL.format(number) for number in range(900)),
        SEATED.format(1, group("1-9999", "1-9999")),
        SEATED.format(1, group("9999-1", "1-9999/2, 2-9998/2")),
        SEATED.format(1, group("A", ", ".join(["1-9999"] * 120))),
        SEATED.format(1, group(", ".join(["1-9999"] * 24), "1")),
        SEATED.format(1, ", ".join([group("1-9999", "1")] * 11)),
        SEATED.format(1, ", ".join(group(f"A{n}", "1-9999") for n in range(9_000))),
        "".join(SEATED.format(n, group("1-99", "1-9999")) for n in range(900)),
    ],
    ids=[
        "general sections",
        "rows of many seats",
        "rows that count down",
        "ranges in a row",
        "ranges of rows",
        "groups of many rows",
        "groups of many seats",
        "sections with rows",
    ],
)
def test_a_file_of_far_too_many_seats_takes_no_memory(tmp_path, sections):
    """Each seat takes some hundred bytes: they are counted before one is made. The largest of these
    files has 0.3 MB."""
    tracemalloc.start()
    try:
        with pytest.raises(BadEventFile, match="more than 100000 seats"):
            read(tmp_path, GOOD + sections)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_a_file_that_may_not_be_read_is_named():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are root's alone
        path = write(Path(folder), "a.toml", "a")
        path.parent.chmod(0o755)
        path.chmod(0)
        assert problem_of_nobody(path) == f"{path}: Permission denied"
        path.chmod(0o644)
        path.parent.chmod(0o444)
        assert problem_of_nobody(path) == f"{path}: Permission denied"
        path.parent.chmod(0o755)


def problem_of_nobody(path: Path) -> str:
    """Read without the rights of root, who may read everything."""
    root = not os.geteuid()
    if root:
        os.seteuid(NOBODY)
    try:
        _, (problem,) = read_event_files([path])
    finally:
        if root:
            os.seteuid(0)
    return problem


def test_a_name_that_is_no_text_is_shown_and_its_event_taken(tmp_path):
    name = os.fsdecode(b"caf\xe9\x1b[2J\n.toml")
    write(tmp_path, name, "a", GOOD[:100])
    _, (problem,) = read_event_files([tmp_path / name])
    assert problem.startswith(f"{tmp_path}/caf\\udce9\\x1b[2J\\n.toml: not TOML")
    problem.encode()
    write(tmp_path, name, "a")
    assert ids(EventFolder(tmp_path)) == ["a"]


def test_hidden_files_are_left_out(tmp_path):
    paths = [write(tmp_path, name, "a", "not TOML") for name in (".a.toml", "._a.toml")]
    assert read_event_files(paths) == ([], [])


# ---------------------------------------------------------------- the folder of the worker


@pytest.fixture
def told(caplog):
    """What was logged since the last call."""
    caplog.set_level(logging.INFO)

    def messages():
        said = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return said

    return messages


def ids(folder: EventFolder) -> list[str]:
    return [event.id for event in folder.events()]


def test_a_folder_has_its_good_files_and_names_a_bad_one_once(tmp_path, told):
    write(tmp_path, "a.toml", "a")
    write(tmp_path, ".a.toml", "a", "not TOML")
    bad = write(tmp_path, "bad.toml", "bad", "not TOML")
    folder = EventFolder(tmp_path)
    assert [ids(folder) for _ in range(3)] == [["a"]] * 3
    (said,) = told()
    assert said.startswith(f"left out: {bad}: not TOML")
    bad.write_text("nor this")
    ids(folder), ids(folder), ids(folder)
    assert len(told()) <= 1
    write(tmp_path, "bad.toml", "b")
    ids(folder)
    assert ids(folder) == ["a", "b"]
    assert told() == ["all event files can be read again"]


def test_a_file_that_is_still_being_written_is_left_for_the_next_look(tmp_path, told):
    folder = EventFolder(tmp_path)
    assert ids(folder) == []
    path = write(tmp_path, "a.toml", "a", GOOD[:100])
    assert ids(folder) == []
    write(tmp_path, "a.toml", "a")
    assert ids(folder) == [], "it has changed since the last look"
    assert ids(folder) == ["a"]
    path.unlink()
    ids(folder)
    assert ids(folder) == []
    assert not told()


def test_a_folder_that_is_not_there_is_told_and_taken_when_it_is(tmp_path, told):
    folder = EventFolder(tmp_path / "events")
    assert ids(folder) == ids(folder) == []
    (said,) = told()
    assert said == f"left out: {folder._folder}: No such file or directory; no event is declared"
    (tmp_path / "events").mkdir()
    write(tmp_path / "events", "a.toml", "a")
    ids(folder)
    assert ids(folder) == ["a"]


def priced(tmp_path, currency: str, price: int, **fields: int):
    """An event of which all other seats cost nothing."""
    text = GOOD.replace('"GBP"', f'"{currency}"').replace("900", "0").replace("1200", str(price))
    lines = [f"{name} = {value}" for name, value in fields.items()]
    return read(tmp_path, text.replace("[[sections]]", "\n".join([*lines, "[[sections]]"]), 1))


@pytest.mark.parametrize(
    ("currency", "price"),
    [
        ("GBP", 0),
        ("GBP", 30),
        ("GBP", 12_499_999),
        ("JPY", 50),
        ("KWD", 5120),
        ("ISK", 150_000),
        ("UGX", 5_000_000),
        ("HUF", 1_250_001),
        ("TWD", 80_045),
        ("IDR", 150_000_000),
        ("COP", 35_000_000),
    ],
)
def test_a_price_that_can_be_paid_is_taken(tmp_path, currency, price):
    assert priced(tmp_path, currency, price).sections[0].price_minor == price


@pytest.mark.parametrize(
    ("currency", "price", "says"),
    [
        ("GBP", 20, "20 is GBP 0.20, and no payment can be below GBP 0.30 (30)"),
        ("USD", 49, "49 is USD 0.49, and no payment can be below USD 0.50 (50)"),
        ("JPY", 49, "49 is JPY 49, and no payment can be below JPY 50 (50)"),
        ("HUF", 17_499, "17499 is HUF 174.99, and no payment can be below HUF 175.00 (17500)"),
        ("KWD", 5124, "multiples of KWD 0.010 (10): take 5120 or 5130"),
        ("ISK", 150_050, "multiples of ISK 1 (100): take 150000 or 150100"),
        ("UGX", 5_000_001, "multiples of UGX 1 (100): take 5000000 or 5000100"),
        (
            "GBP",
            12_500_000,
            "8 seats (max_seats_per_hold) cost GBP 1,000,000.00 (100000000), and no payment can be",
        ),
        ("IDR", 150_000_000_000, "no payment can be above IDR 9,999,999,999.99 (999999999999)"),
        ("EUR", 10**20, "no payment can be above EUR 999,999.99 (99999999): take that or less"),
        ("IDR", 10**30, "price: no payment can be above IDR 9,999,999,999.99 (999999999999): take"),
    ],
)
def test_a_price_that_no_payment_can_have_is_refused_in_money_and_in_minor_units(
    tmp_path, currency, price, says
):
    with pytest.raises(BadEventFile) as refused:
        priced(tmp_path, currency, price)
    assert "sections[0].price: " in str(refused.value)
    assert says in str(refused.value)


def test_fewer_seats_in_a_hold_make_room_for_a_higher_price(tmp_path):
    with pytest.raises(BadEventFile, match="lower the price or max_seats_per_hold"):
        priced(tmp_path, "GBP", 50_000_000)
    event = priced(tmp_path, "GBP", 49_999_999, max_seats_per_hold=2)
    assert event.amount_minor([0, 1]) == 99_999_998
