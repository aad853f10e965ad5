"""The processor time by which programs are compared."""

import subprocess
import sys

import psutil
import pytest

from tests.bench.parts import processor_s, stopwatch

pytestmark = pytest.mark.stack

BUSY_S = 0.2
CHILD = f"""
import sys, time
sys.stdin.readline()
while time.process_time() < {BUSY_S}: pass
print(flush=True)
sys.stdin.read()
"""
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


@pytest.fixture
def program():
    """Its child works until it has spent BUSY_S, once it is told to."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        yield program
        program.stdin.close()


def let_it_work(program: subprocess.Popen) -> None:
    print(file=program.stdin, flush=True)
    program.stdout.readline()


def test_the_time_of_a_program_is_that_of_its_children_too(program):
    spent = stopwatch({program.pid: "web"})
    let_it_work(program)
    assert BUSY_S / 2 < spent().by_part["web"] < BUSY_S * 3


def test_time_that_was_spent_before_does_not_count(program):
    let_it_work(program)
    spent = stopwatch({program.pid: "web"})
    assert spent().by_part["web"] < BUSY_S / 10


def test_the_time_of_a_process_is_what_linux_says(program):
    let_it_work(program)
    (child,) = psutil.Process(program.pid).children()
    # psutil has hundredths of a second, user's and system's each.
    assert processor_s(child) == pytest.approx(sum(child.cpu_times()[:2]), abs=0.03)
