"""Last of all, by its name: every rare branch has been taken by some test. An answer that no test
has ever seen is one that nobody knows to work."""

import re
from pathlib import Path

import pytest

from tests import sometimes
from tests.lua_headers import SCRIPTS, returned_by_header
from web.domain import Refusal

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def the_whole_suite_ran(request):
    collected = {item.path for item in request.session.items}
    missing = set(HERE.rglob("test_*.py")) - collected
    if missing or request.config.option.keyword or request.session.testsfailed:
        pytest.skip("only part of the suite ran, or failed")


def test_every_answer_that_a_lua_header_lists_was_given():
    listed = {(name, answer) for name in SCRIPTS for answer in returned_by_header(name)}
    assert listed - sometimes.answers == set()


def test_every_refusal_was_made():
    unseen = set(Refusal.__subclasses__()) - sometimes.refusals
    assert {kind for kind in unseen if code_of(kind) not in sometimes.problem_codes} == set()


def code_of(refusal: type[Refusal]) -> str:
    """``HoldNotFound`` is answered as ``hold_not_found``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", refusal.__name__).lower()
