"""For every mistake in a field, the organiser is told its name, the allowed values, and an
example."""

import re
import tomllib
from typing import get_args, get_origin

import msgspec
import pytest
from msgspec import Meta

from ops.servers import REPOSITORY
from web.adapters import event_file_words as words
from web.adapters.event_files import (
    LINES_OF_DATE,
    BadEventFile,
    _EventTable,
    _Rows,
    _SectionTable,
    read_event_file,
)

GOOD = """
id = "evening"
name = "An evening"
venue = "Hall"
currency = "GBP"
timezone = "Europe/London"
starts_at = 2099-12-12T19:30:00
sale_opens_at = 2026-01-01T10:00:00Z
hold_seconds = 300
max_seats_per_hold = 8
max_held_per_client = 16
max_held_per_network = 64
[[sections]]
id = "stalls"
name = "Stalls"
price = 1200
kind = "seated"
rows = [{ ids = "A-B", seats = "1-3" }]
[[sections]]
id = "floor"
name = "Floor"
kind = "general"
price = 900
capacity = 3
"""

JARGON = re.compile(r"`|Expected|Object|got |null|array|\bstr\b|\bint\b|regex")


def problem(tmp_path, text: str) -> str:
    """What is said of a bad file, without its path."""
    tomllib.loads(text)  # it is TOML
    path = tmp_path / "event.toml"
    path.write_text(text)
    with pytest.raises(BadEventFile) as refused:
        read_event_file(path)
    said = str(refused.value).removeprefix(f"{path}: ")
    assert not JARGON.search(said), said
    assert len(said) < 250 and "\n" not in said
    return said


def changed(line: str, by: str) -> str:
    assert f"\n{line}\n" in GOOD
    return GOOD.replace(f"\n{line}\n", f"\n{by}\n", 1)


WRONG_TYPES = (
    '""',
    "[]",
    "{}",
    "true",
    "-1",
    "1e30",
    "nan",
    '"£1"',
    "[1]",
    "1979-05-27",
    "07:32:00",
)

LINES = list(dict.fromkeys(line for line in GOOD.splitlines() if " = " in line))


WRONG = [
    (line, value)
    for line in LINES
    for value in WRONG_TYPES
    if not (value == '"£1"' and line.startswith(("name", "venue")))  # That is a name.
]

HAVE_DEFAULTS = ("hold_", "max_", 'kind = "seated"')


@pytest.mark.parametrize(("line", "value"), WRONG)
def test_a_value_of_a_wrong_type_is_told_in_words(tmp_path, line, value):
    name = line.partition(" = ")[0]
    said = problem(tmp_path, changed(line, f"{name} = {value}"))
    assert re.match(r"(sections\[[01]\][.:] ?)?" + name, said) or said.startswith("sections[0]: a ")


@pytest.mark.parametrize("line", [line for line in LINES if not line.startswith(HAVE_DEFAULTS)])
def test_a_field_that_is_missing_is_named_with_an_example(tmp_path, line):
    said = problem(tmp_path, changed(line, ""))
    name = line.partition(" = ")[0]
    if name in LINES_OF_DATE:
        assert f"{name}: missing; add above the first [[sections]]" in said
        assert LINES_OF_DATE[name] in said
    else:
        assert f"{name}: is missing; it must be " in said or "section has" in said


@pytest.mark.parametrize(
    ("price", "currency", "says"),
    [
        ("38.00", "GBP", "(pence, cents): 3800 for GBP 38.00, not 38.0"),
        ("38.5", "EUR", "(pence, cents): 3850 for EUR 38.50, not 38.5"),
        ("5000.0", "JPY", "smallest unit: 5000 for JPY 5,000, not 5000.0"),
        ("5.12", "KWD", "smallest unit (thousandths): 5120 for KWD 5.120, not 5.12"),
        ('"12"', "JPY", 'smallest unit: 50 for JPY 50, not "12"'),
        ("38.5", "ISK", "smallest unit (hundredths): 10000 for ISK 100, not 38.5"),
        ("1500.0", "ISK", "smallest unit (hundredths): 150000 for ISK 1,500, not 1500.0"),
        ("0.2", "GBP", "(pence, cents): 30 for GBP 0.30, not 0.2"),
        (
            "1e12",
            "IDR",
            "unit (hundredths), at most 999999999999 for IDR 9,999,999,999.99, not 1000000000000.0",
        ),
        (
            "1e12",
            "KWD",
            "unit (thousandths), at most 99999990 for KWD 99,999.990, not 1000000000000.0",
        ),
        ("inf", "GBP", "(pence, cents), at most 99999999 for GBP 999,999.99, not Infinity"),
        ("nan", "GBP", "(pence, cents): 3800 for GBP 38.00, not NaN"),
        ("38.00", "XYZ", "(pence, cents): 3800 for GBP 38.00"),
    ],
)
def test_a_price_in_pounds_is_told_in_pence_of_the_files_currency(tmp_path, price, currency, says):
    text = changed("price = 1200", f"price = {price}").replace("GBP", currency)
    assert says in problem(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "by", "says"),
    [
        (
            "price = 1200",
            "pirce = 1200",
            'sections[0]: there is no field "pirce"; did you mean price',
        ),
        ('venue = "Hall"', 'vneue = "Hall"', 'there is no field "vneue"; did you mean venue?'),
        ('venue = "Hall"', 'venue = "Hall"\ncolour = 1', '"colour"; there are id, name, venue,'),
        ('venue = "Hall"', 'venue = "Hall"\nprice = 1', "price is a field of a section"),
        ("price = 1200", "price = 1200\nhold_seconds = 9", "must be above the first [[sections]]"),
        (
            'rows = [{ ids = "A-B", seats = "1-3" }]',
            'rows = [{ ids = "A-B", seat = "1-3" }]',
            'sections[0].rows[0]: there is no field "seat"; did you mean seats?',
        ),
        (
            'rows = [{ ids = "A-B", seats = "1-3" }]',
            'rows = ["A-B"]',
            'sections[0].rows[0]: must be a table with the fields ids, seats, not "A-B"',
        ),
        (
            'rows = [{ ids = "A-B", seats = "1-3" }]',
            'rows = [{ ids = "A-B", seats = 12 }]',
            "sections[0].rows[0].seats: must be numbers of seats in quotes, as in",
        ),
    ],
)
def test_a_field_that_does_not_exist_or_is_elsewhere_is_told(tmp_path, line, by, says):
    assert says in problem(tmp_path, changed(line, by))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ('""', '""'),
        (r'"a\nb"', r'"a\nb"'),
        ('"` - at `$.sections[0]`"', '"` - at `$.sections[0]`"'),
    ],
)
def test_a_field_with_an_odd_name_is_told_as_it_is(tmp_path, name, shown):
    path = tmp_path / "event.toml"
    path.write_text(changed('venue = "Hall"', f'venue = "Hall"\n{name} = 1'))
    with pytest.raises(BadEventFile) as refused:
        read_event_file(path)
    assert f"event.toml: there is no field {shown}; there are id, name" in str(refused.value)


def test_one_pair_of_brackets_is_told(tmp_path):
    one_section = GOOD[: GOOD.rindex("[[")].replace("[[sections]]", "[sections]")
    assert "two pairs of brackets" in problem(tmp_path, one_section)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (_EventTable, words.OF_EVENT),
        (_SectionTable, words.OF_SECTION),
        (_Rows, words.OF_ROWS),
    ],
)
def test_each_field_has_words_with_the_bounds_that_are_checked(kind, told):
    assert set(kind.__struct_fields__) == set(told)
    for field in msgspec.structs.fields(kind):
        for bound in bounds_of(field.type):
            assert str(bound) in told[field.name] or field.name == "price", field.name


def bounds_of(annotation) -> list[float]:
    metas = [part for part in get_args(annotation) if isinstance(part, Meta)]
    bounds = [bound for meta in metas for bound in (meta.ge, meta.le) if bound is not None]
    if get_origin(annotation) and not metas:
        bounds += [bound for part in get_args(annotation) for bound in bounds_of(part)]
    return bounds


PAGE = (REPOSITORY / "docs/event-files.md").read_text()
PRICE_ON_THE_PAGE = "a whole number of the currency's minor unit, as in 4500 for £45.00"


def rows_of_page(kind: type[msgspec.Struct], must_be: dict[str, str]) -> str:
    """A table's rows, one a field: its default, and what it must be."""
    rows = []
    for field in msgspec.structs.fields(kind):
        if field.required:
            default = "required"
        elif field.default in (None, msgspec.NODEFAULT):
            default = ""
        else:
            default = f"`{msgspec.json.encode(field.default).decode()}`"
        rows.append(f"| `{field.name}` | {default} | {must_be[field.name]} |\n")
    return "".join(rows)


@pytest.mark.parametrize(
    ("kind", "must_be"),
    [
        (_EventTable, words.OF_EVENT),
        (_SectionTable, words.OF_SECTION | {"price": PRICE_ON_THE_PAGE}),
        (_Rows, words.OF_ROWS),
    ],
)
def test_the_page_about_event_files_lists_exactly_the_fields_there_are(kind, must_be):
    tables = re.findall(r"\| field \|.*\n\|---.*\n((?:\|.*\n)+)", PAGE)
    assert rows_of_page(kind, must_be) in tables


def test_the_example_on_the_page_is_an_event_file(tmp_path):
    file = tmp_path / "example.toml"
    file.write_text(re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1])
    event = read_event_file(file)
    assert {"stalls-C-7", "floor-GA-1"} <= set(event.seats)
