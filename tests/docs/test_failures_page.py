"""``docs/failures.md`` says who shows each of its rows."""

import re

from ops.servers import REPOSITORY

PAGE = (REPOSITORY / "docs/failures.md").read_text()
HEADER = "| what fails | what the buyer sees | what is lost | who repairs it, and when | shown by |"


def rows() -> list[str]:
    return re.findall(r"^\| .*`test_.*\|$", PAGE, re.MULTILINE)


def test_every_row_has_all_columns_and_names_a_test():
    _, _, table = PAGE.partition(HEADER)
    lines = table.partition("\n\n")[0].strip().splitlines()[1:]
    assert lines
    assert lines == [line for line in rows() if line.count("|") == HEADER.count("|")]


def test_the_tests_that_it_names_exist():
    defined = {
        name
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named - defined == set()
