"""Check that some test takes every rare branch: each return value that a Lua script's header lists,
and each refusal. A branch that no test has taken may not work.

They are counted in every process that runs tests, from the import of this module on, and checked
when the whole suite has passed. tests/conftest.py imports the hooks.
"""

import re
import sys
from collections.abc import Sequence

import pytest
import requests

from tests.support.lua_headers import SCRIPTS, returned_by_header
from web.adapters.redis.scripts import ScriptCall
from web.adapters.redis.shard import Execute, Shard
from web.domain.refusals import Refusal

answers: set[tuple[str, str]] = set()
"""Script and first word of its answer, for each script that ran in this process."""

codes: set[str] = set()
"""Of each refusal that the application's own code made here, and of the problems that servers
answered."""


def unseen() -> list[str]:
    """The expected branches that no test took."""
    return [
        *(f"{name}.lua answers {answer}" for name, answer in sorted(listed_answers() - answers)),
        *(f"a refusal is {code}" for code in sorted(listed_codes() - codes)),
    ]


def listed_answers() -> set[tuple[str, str]]:
    return {(name, answer) for name in SCRIPTS for answer in returned_by_header(name)}


def listed_codes() -> set[str]:
    return {code_of(kind) for kind in Refusal.__subclasses__()}


def code_of(refusal: type[Refusal]) -> str:
    """``HoldNotFound`` is answered as ``hold_not_found``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", refusal.__name__).lower()


# ---------------------------------------------------------------- counting


def _count_answers_of_scripts() -> None:
    sent = Shard._sent  # By calls one by one, in groups, and for many events.

    def counted(
        shard: Shard, execute: Execute, calls: Sequence[ScriptCall]
    ) -> list[list | Exception]:
        given = sent(shard, execute, calls)
        for call, answer in zip(calls, given, strict=True):
            if isinstance(answer, list):
                answers.add((call.script.name, answer[0]))
        return given

    Shard._sent = counted


def _count_refusals() -> None:
    def counted(kind: type[Refusal], *arguments, **named) -> Refusal:
        # A refusal that a test created itself does not count.
        if sys._getframe(1).f_globals["__name__"].startswith("web."):
            codes.add(code_of(kind))
        return Exception.__new__(kind, *arguments)

    Refusal.__new__ = counted


def _count_problems() -> None:
    send = requests.Session.send

    def counted(session: requests.Session, *arguments, **named) -> requests.Response:
        answer = send(session, *arguments, **named)
        if answer.headers.get("Content-Type") == "application/problem+json":
            codes.add(answer.json()["code"])
        return answer

    requests.Session.send = counted


_count_answers_of_scripts()
_count_refusals()
_count_problems()


# ---------------------------------------------------------------- pytest's hooks

SELECTING = ("keyword", "deselect", "lf", "collectonly")
"""Options with which only a part of the tests runs."""

WHOLE = ("", "not alone")
"""Marks that select a part. A branch that only such tests take would be taken too seldom."""


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    """Collect the counts of a pytest-xdist worker that has ended."""
    seen_answers, seen_codes = getattr(node, "workeroutput", {}).get("seen", ((), ()))
    answers.update(map(tuple, seen_answers))
    codes.update(seen_codes)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["seen"] = (sorted(answers), sorted(codes))
    elif _whole_suite_passed(session.config, exitstatus) and unseen():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, exitstatus: int, config: pytest.Config) -> None:
    if _whole_suite_passed(config, exitstatus) and (never := unseen()):
        terminalreporter.section("no test saw this happen", red=True)
        for what in never:
            terminalreporter.line(what)


def _whole_suite_passed(config: pytest.Config, exitstatus: int) -> bool:
    selected = any(config.getoption(name, None) for name in SELECTING)
    selected |= config.getoption("markexpr") not in WHOLE
    all_files = config.args_source == pytest.Config.ArgsSource.TESTPATHS
    return exitstatus == pytest.ExitCode.OK and all_files and not selected
