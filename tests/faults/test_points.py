"""Every point of a payment's life, with every way to stop it there: ``tests/faults/points.py``."""

import re

import pytest

from ops.servers import REPOSITORY
from tests.faults.points import PAID, Row, all_cases, stop_everywhere, table_of
from web.use_cases.payment_steps import CHECKPOINTS

# One test runs all the points in turn, and each of them may take its time-outs.
pytestmark = pytest.mark.timeout(300)

PAGE = (REPOSITORY / "docs/failures.md").read_text()


@pytest.fixture(scope="module")
def rows(tmp_path_factory, redis_kind) -> list[Row]:
    return stop_everywhere(tmp_path_factory.mktemp("points"), redis_kind)


def test_every_point_is_stopped_in_every_way():
    stopped = {(case.section, case.point, case.fault) for case in all_cases()}
    ways = {fault for _, _, fault in stopped}
    assert ways == {"kill -9", "exception", "hang", "answer lost"}
    assert stopped >= {(PAID, point, fault) for point in CHECKPOINTS for fault in ways}


def test_the_table_in_the_docs_is_what_happens(rows):
    kept = re.search(r"<!-- points -->\n(.*?)\n<!-- end of points -->", PAGE, re.DOTALL)[1]
    assert kept == table_of(rows), "print it again with `python -m tests.faults.points`"


def test_a_hold_is_charged_once_when_it_is_booked_and_not_at_all_otherwise(rows):
    for row in rows:
        captured = row.charges.count("captured")
        assert captured == (row.booked and row.case.section == PAID), row
        assert set(row.charges) <= {"captured", "voided"}, row


def test_no_answer_is_taken_back(rows):
    for row in rows:
        if "201" in row.heard:
            assert row.booked, row
        if row.repeated.startswith("402"):
            assert not row.booked, row


def test_every_buyer_has_a_final_answer_in_the_end(rows):
    assert {row.repeated for row in rows} == {"201 booked", "402 payment_declined"}


def test_whoever_was_not_charged_has_kept_the_seat(rows):
    for row in rows:
        assert row.looked == ("200 booked" if row.booked else "200 held"), row
