"""What make's measurements are asked for is checked before they start."""

import subprocess
import sys

import pytest

from ops.servers import REPOSITORY
from tests.support.environment import inherited


@pytest.mark.parametrize(
    ("module", "variables", "says"),
    [
        ("bench", {"KEEP": "yes"}, "KEEP=yes: must be 0 or 1"),
        ("bench", {"REDIS": "clustr"}, "REDIS=clustr: must be server, sentinel or cluster"),
        ("bench", {"MONGODB": "3", "KEEP": "1"}, "KEEP=1: what is kept is of one Redis and one"),
        (
            "bench",
            {"MAKEFLAGS": " -- SECONDS=5"},
            "SECONDS is no parameter. The parameters are: REDIS, MONGODB, KEEP, ONLY, ROUNDS",
        ),
        ("bench", {"ONLY": "hodl"}, "ONLY=hodl: must be edge, hold, bot, purchase, paid or all"),
        ("bench", {"ONLY": "hold", "KEEP": "1"}, "KEEP=1: what is kept is of all groups"),
        (
            "bench.growth",
            {"MAKEFLAGS": " -- KEEP=1"},
            "KEEP is no parameter. The parameters are: none",
        ),
        ("bench.soak", {"MINUTES": "abc"}, "MINUTES=abc: must be a number from 1 to 10,080"),
        ("bench.soak", {"MINUTES": "-1"}, "MINUTES=-1: must be a number from 1 to 10,080"),
        ("bench.soak", {"MINUTES": "nan"}, "MINUTES=nan: must be a number from 1 to 10,080"),
        ("simulator", {"SEED": "x"}, "SEED=x: must be a whole number, at least 0"),
        ("bench.soak", {"MINUTE": "5"}, "MINUTE is no parameter; did you mean MINUTES?"),
    ],
)
def test_a_wrong_parameter_ends_a_measurement_before_it_starts(module, variables, says):
    refused = subprocess.run(
        [sys.executable, "-m", f"tests.{module}"],
        env=inherited() | variables,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert says in line


@pytest.mark.parametrize("arguments", [["MINUTES=abc"], []], ids=["variable", "environment"])
def test_make_hands_a_parameter_on_however_it_is_given(arguments):
    """The command of the recipe is what is asked; nothing is installed."""
    environment = inherited() | ({} if arguments else {"MINUTES": "abc"})
    show = "--eval=ask: ; @$(PYTHON_OF_VENV) -m tests.bench.soak"
    python = f"PYTHON_OF_VENV={sys.executable}"
    asked = subprocess.run(
        ["make", "-s", show, "ask", python, *arguments],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert "MINUTES=abc: must be a number" in asked.stderr
