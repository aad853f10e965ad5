"""Every point of a payment's life, with every way to stop it there: ``tests/faults/points.py``."""

import re

import pytest

from ops.servers import REPOSITORY
from tests.faults.points import (
    ASKED,
    AT_BANK,
    FREE,
    PAID,
    Row,
    all_cases,
    stop_everywhere,
    table_of,
)
from web.use_cases.bank_confirmation import BANK_CHECKPOINTS
from web.use_cases.payment_steps import CHECKPOINTS

# One test runs all the points in turn, and each of them may take its time-outs.
pytestmark = pytest.mark.timeout(300)

PAGE = (REPOSITORY / "docs/failures.md").read_text()


@pytest.fixture(scope="module")
def rows(tmp_path_factory, redis_kind) -> list[Row]:
    return stop_everywhere(tmp_path_factory.mktemp("points"), redis_kind)


def test_every_point_is_stopped_in_every_way():
    stopped = {(case.kind, case.point, case.fault) for case in all_cases()}
    ways = {fault for _, _, fault in stopped}
    assert ways == {"kill -9", "exception", "hang", "answer lost"}
    assert stopped >= {(PAID, point, fault) for point in CHECKPOINTS for fault in ways}
    assert stopped >= {(ASKED, point, fault) for point in BANK_CHECKPOINTS for fault in ways}


def test_the_table_in_the_docs_is_what_happens(rows):
    kept = re.search(r"<!-- points -->\n(.*?)\n<!-- end of points -->", PAGE, re.DOTALL)[1]
    assert kept == table_of(rows), "print it again with `python -m tests.faults.points`"


def test_a_hold_is_charged_once_when_it_is_booked_and_not_at_all_otherwise(rows):
    for row in rows:
        captured = row.charges.count("captured")
        assert captured == (row.booked and row.case.kind != FREE), row
        ended = {"captured", "voided"}
        assert set(row.charges) <= (ended if row.repeated != AT_BANK else {"action_required"}), row


def test_no_answer_is_taken_back(rows):
    for row in rows:
        if "201" in row.heard:
            assert row.booked, row
        if row.repeated.startswith("402"):
            assert not row.booked, row
        if "204" in row.heard:
            assert row.repeated.startswith("402"), row


def test_every_buyer_has_a_final_answer_in_the_end_or_is_asked_by_the_bank(rows):
    for row in rows:
        if row.case.point in ("asked_by_bank", "at_bank"):
            assert row.repeated == AT_BANK, row
        else:
            assert row.repeated.split(":")[0] in ("201 booked", "402 payment_declined"), row


def test_who_confirmed_at_the_bank_has_the_seat_and_who_did_not_is_told_why(rows):
    reasons = {"refuse": "authentication_failed", None: "not_completed"}
    for row in rows:
        if row.case.kind == ASKED and row.repeated != AT_BANK:
            assert row.booked == (row.case.decision == "accept"), row
            assert row.booked or row.repeated.endswith(reasons[row.case.decision]), row


def test_whoever_was_not_charged_has_kept_the_seat(rows):
    for row in rows:
        kept = "200 paying" if row.repeated == AT_BANK else "200 held"
        assert row.looked == ("200 booked" if row.booked else kept), row
