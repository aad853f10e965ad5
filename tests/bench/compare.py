"""``python -m tests.bench.compare OLD [NEW]``: what a change costs or saves, in processor time.

OLD and NEW are the folders of two checkouts, each with its ``.venv``; NEW is this one by default.
The stacks of both run at the same time, each from its own code, and are measured in turn, a second
each, straight at gunicorn. When other programs take much of the machine, every call costs more, and
by chance more for one of the two: then the lowest figures say more than the medians.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Self

from ops.servers import REPOSITORY
from tests.bench.parts import PARTS, roots_among
from tests.bench.wrk import Result, buyers
from tests.support.environment import inherited

ROUNDS = 7
SECONDS = 1
"""The length of a measurement."""

SEATS = 40_000
"""Of a hall; half are free of charge, more than are held in a second."""
SEATS_OF_A_LIST = 4

LEAST_US = 0.5
"""A part that spends less has nothing to do with the call."""


class Checkout:
    """The stack of a checkout. Raises SystemExit when it cannot be started."""

    def __init__(self, folder: Path):
        self._folder = folder.resolve()
        self._python = self._folder / ".venv/bin/python"
        if not self._python.exists():
            sys.exit(f"{self._python} is missing: run `ops/install.sh bench` in {self._folder}")

    def __enter__(self) -> Self:
        # -P: without it Python would look in the script's folder first.
        self._process = subprocess.Popen(
            [self._python, "-P", Path(__file__).with_name("checkout.py")],
            cwd=self._folder,
            env=inherited("WEB_CONCURRENCY") | {"PYTHONPATH": str(self._folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        ready = self._answer()
        self.url: str = ready["url"]
        self.roots = roots_among({int(pid): name for pid, name in ready["processes"].items()})
        return self

    def __exit__(self, *_: object) -> None:
        # Whether or not it is still there: at the end of its input it stops the stack.
        self._process.communicate()

    @contextlib.contextmanager
    def hall(self) -> Iterator[str]:
        """A new event on sale; yields its id."""
        event_id = self._ask(f"open {SEATS}")["event"]
        yield event_id
        self._ask(f"forget {event_id}")

    def _ask(self, line: str) -> dict[str, Any]:
        print(line, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"The stack of {self._folder} has failed.")
        return json.loads(line)


def hold(checkout: Checkout, hall_id: str, seconds: int) -> Result:
    return buyers(checkout.url, hall_id, "free", "free", seconds=seconds, roots=checkout.roots)


def list_hold(checkout: Checkout, hall_id: str, seconds: int) -> Result:
    arguments = ("list", "free", str(SEATS_OF_A_LIST))
    return buyers(checkout.url, hall_id, *arguments, seconds=seconds, roots=checkout.roots)


def pay(checkout: Checkout, hall_id: str, seconds: int) -> Result:
    with tempfile.TemporaryDirectory(prefix="tickets-compare-") as folder:
        # Many more are held in that time than can be paid for.
        buyers(checkout.url, hall_id, "keep", "free", folder, seconds=seconds)
        arguments = ("pay", "", folder)
        return buyers(checkout.url, hall_id, *arguments, seconds=seconds, roots=checkout.roots)


def purchase(checkout: Checkout, hall_id: str, seconds: int) -> Result:
    arguments, counts = ("buy", "free", ""), "bookings"
    return buyers(
        checkout.url, hall_id, *arguments, counts=counts, seconds=seconds, roots=checkout.roots
    )


CALLS: dict[str, Callable[[Checkout, str, int], Result]] = {
    "hold": hold,
    "list-hold": list_hold,
    "pay": pay,
    "purchase": purchase,
}


def main() -> None:
    options = read_options()
    results: dict[tuple[str, str], list[Result]] = {}
    with contextlib.ExitStack() as end:
        checkouts = {
            name: end.enter_context(Checkout(folder))
            for name, folder in (("old", options.old), ("new", options.new))
        }
        for checkout in checkouts.values():
            measure(checkout, "purchase", SECONDS)  # What a process does only once.
        for number in range(1, options.rounds + 1):
            print(f"round {number} of {options.rounds}", file=sys.stderr, flush=True)
            for call in options.only:
                # A B B A, so that neither is always the first.
                for name in sorted(checkouts, reverse=number % 2 == 1):
                    result = measure(checkouts[name], call, options.seconds)
                    results.setdefault((call, name), []).append(result)
    for call in options.only:
        print(table(call, results[call, "old"], results[call, "new"]))
    print(machine([result for of_one in results.values() for result in of_one]))


def measure(checkout: Checkout, call: str, seconds: int) -> Result:
    with checkout.hall() as hall_id:
        return CALLS[call](checkout, hall_id, seconds)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.compare")
    parser.add_argument("old", type=Path, help="the folder of a checkout with a .venv")
    parser.add_argument("new", type=Path, nargs="?", default=REPOSITORY)
    parser.add_argument(
        "--only", type=calls, default=list(CALLS), help=f"some of {','.join(CALLS)} (all)"
    )
    parser.add_argument("--rounds", type=positive, default=ROUNDS, help=f"({ROUNDS})")
    parser.add_argument(
        "--seconds", type=positive, default=SECONDS, help=f"of a measurement ({SECONDS})"
    )
    return parser.parse_args()


def calls(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(CALLS):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(CALLS)}")
    return names


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def table(call: str, old: Sequence[Result], new: Sequence[Result]) -> str:
    """Microseconds of processor time a call, and ratios of the two measurements of one round."""
    lines = [
        f"| {call}, µs a call | old: median (lowest to highest) | new | new / old |",
        "|---|---|---|---|",
    ]
    rows: dict[str, Callable[[Result], float]] = {
        part: partial(part_us, part)
        for part in PARTS
        if median(result.processor_us.get(part, 0) for result in old) >= LEAST_US
    }
    rows["all but the worker"] = lambda result: result.all_parts_us - part_us("worker", result)
    rows["all"] = lambda result: result.all_parts_us
    rows["calls a second"] = lambda result: result.per_second
    for row, read in rows.items():
        figures = [list(map(read, results)) for results in (old, new)]
        # A worker that slept has spent nothing.
        ratios = [after / before for before, after in zip(*figures, strict=True) if before]
        cells = [*(spread(each, 0) for each in figures), spread(ratios, 3) if ratios else ""]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def part_us(part: str, result: Result) -> float:
    return result.processor_us.get(part, 0)


def spread(figures: Sequence[float], digits: int) -> str:
    middle, low, high = (
        f"{figure:,.{digits}f}" for figure in (median(figures), min(figures), max(figures))
    )
    return f"{middle} ({low} to {high})"


def machine(results: Sequence[Result]) -> str:
    others, stolen = (
        max(shares) for shares in ([r.others for r in results], [r.stolen for r in results])
    )
    return (
        f"Other programs took {median(r.others for r in results):.0%} of the machine, at most "
        f"{others:.0%}; other virtual machines at most {stolen:.0%}."
    )


if __name__ == "__main__":
    main()
