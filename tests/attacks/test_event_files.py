"""Whatever an event file contains, reading it takes little time and memory, and its mistakes are
reported in plain words."""

import re
import time
import tracemalloc
from collections.abc import Callable

import pytest

from tests.support.factories import GOOD_EVENT_FILE as GOOD
from web.adapters.event_file_shape import MAX_ENTRIES
from web.adapters.event_files import MAX_FILE_BYTES, BadEventFile, read_event_file

MOST_S = 5
"""Of processor time. On a machine that does nothing else the costliest takes one."""

MOST_BYTES = 150_000_000

INTERNALS = re.compile(r"recursion|sys\.|set_int|conversion|Traceback|\w+Error|`")


def much(text: str, before: str = "", after: str = "") -> str:
    """As much of the text as a file may have."""
    return before + text * ((MAX_FILE_BYTES - len(before + after)) // len(text.encode())) + after


def each(line: Callable[[int], str], entries: int) -> str:
    """The largest possible number of lines with this many entries each."""
    return "".join(line(number) for number in range(MAX_ENTRIES // entries))


FILES = {
    "a name of many parts": much(".a", "a", " = 1"),
    "a name of many quoted parts": much('."a"', "a", " = 1"),
    "a table of many parts": much(".a", "[a", "]"),
    "a name of many parts in a table": much(".a", "x = {a", " = 1}"),
    "lists in lists": much("[", "a = "),
    "tables in tables": much("{a=", "a = "),
    "lists and tables": much("[{a=", "a = "),
    "digits": much("9", "price = "),
    "digits with underscores": much("9_", "price = "),
    "digits after the point": much("9", "price = 0."),
    "hexadecimal digits": much("f", "price = 0x"),
    "many names": each("n{}=1\n".format, 1),
    "many names of three parts": each("n{}.a.b=1\n".format, 3),
    "many tables": each("[n{}]\n".format, 1),
    "many tables of three parts": each("[n{}.a.b]\n".format, 3),
    "many sections": "[[sections]]\n" * (MAX_ENTRIES // 2),
    "many lists": "a = [" + "[]," * (MAX_ENTRIES - 9) + "]",
    "many tables in a list": "a = [" + "{a=1}," * (MAX_ENTRIES // 2 - 9) + "]",
    "many numbers": much("1,", "a = [", "]"),
    "many texts": much("'',", "a = [", "]"),
    "many dates": much("1979-05-27,", "a = [", "]"),
    "many comments": much("#\n"),
    "many lines": much("\r\n"),
    "a long comment": much(".[", "#"),
    "a long name": GOOD.replace("Hall", "." * 400_000),
    "a name of marks": GOOD.replace("Hall", "\u0301\u0323" * 100_000),
    "a long currency": GOOD.replace("GBP", "G" * 400_000),
    "a long list of seats": GOOD.replace("1-3", "1-9999," * 50_000),
    "a long key": much("a", '"', '" = 1'),
    "a key of many line breaks": much("\\n", '"', '" = 1'),
    "escapes": much("\\u0041", 'name = "', '"'),
    "quotes in a text of many lines": much('a""', 'name = """', '"""'),
    "escaped quotes that never end": much('\\"""', 'name = """'),
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_no_file_takes_long_or_much_memory_or_is_refused_in_jargon(tmp_path, text):
    path = tmp_path / "event.toml"
    path.write_text(text, newline="")
    assert path.stat().st_size <= MAX_FILE_BYTES
    began_s = time.process_time()
    with pytest.raises(BadEventFile) as refused:
        read_event_file(path)
    assert time.process_time() - began_s < MOST_S
    said = str(refused.value).removeprefix(f"{path}: ")
    assert not INTERNALS.search(said) and len(said) < 300
    tracemalloc.start()
    try:
        with pytest.raises(BadEventFile):
            read_event_file(path)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("id = ", "a.b.c.d = 1\nid = ", "line 2: a name has at most 3 parts, with dots between"),
        ("[[sections]]", "[[sections.a.b.c]]", "line 9: a name has at most 3 parts"),
        (
            "1200",
            "9" * 5000,
            "line 12: a name or a number without quotes has at most 64 characters",
        ),
        ("1200", "[" * 5000, "line 12: brackets are more than 8 deep; an event needs four, as in"),
        ("1200", "[" + "[]," * MAX_ENTRIES + "]", "line 12: a file has at most 50,000 fields"),
    ],
)
def test_what_no_event_needs_is_told_with_its_line_and_the_limit(tmp_path, old, new, says):
    path = tmp_path / "event.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(BadEventFile) as refused:
        read_event_file(path)
    assert str(refused.value).startswith(f"{path}: {says}")


@pytest.mark.parametrize(
    "quote", ['"{}"', "'{}'", '"""{}"""', "'''{}'''", '"\\"{}"', '"""\n""{}"""']
)
def test_a_quoted_text_and_a_comment_may_have_dots_and_brackets(tmp_path, quote):
    odd = "a.b.c.d.e [[[[[[[[[[ {{{{{{{{{{ = # " + "x" * 100
    path = tmp_path / "event.toml"
    path.write_text(f'# {odd} " \'\'\' """ \n' + GOOD.replace('"Hall"', quote.format(odd)))
    assert odd in read_event_file(path).venue


def test_a_stadium_whose_seats_are_all_listed_is_read(tmp_path):
    seats = ", ".join(map(str, range(1, 26)))
    rows = "".join(f'    {{ ids = "{row}", seats = "{seats}" }},\n' for row in range(1, 21))
    section = '[[sections]]\nid = "b{0}"\nname = "Block {0}"\nprice = 1200\nrows = [\n{1}]\n'
    path = tmp_path / "event.toml"
    head = GOOD.partition("[[")[0]
    path.write_text(head + "".join(section.format(number, rows) for number in range(200)))
    assert len(read_event_file(path).seats) == 100_000
