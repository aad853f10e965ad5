"""What happened in a run, line by line, for people."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.simulator.words import call_in_words

QUIET = frozenset(
    "cached_event current_event event_ids maintenance_due require_index histories "
    "sweep_holds revision exists unfinished_refunds currencies create_indexes "
    "read_seats now epoch current_epoch payment_ids".split()
)
"""Calls that are left out when they succeed."""

UNHEARD = "(unheard) "
"""Prefix of the name of a call without an answer."""

LOOKS = frozenset("claim_lapsed_payment find find_all list sold_seats refunded holding".split())
"""Calls that are left out when they find nothing."""


class Line(NamedTuple):
    at_s: float
    who: str
    call: str
    arguments: tuple
    outcome: Any = None


@dataclass
class Story:
    """Records events cheaply, and formats them only when the story is read."""

    lines: list[Line] = field(default_factory=list)

    def note(self, at_s: float, who: str, what: str) -> None:
        self.lines.append(Line(at_s, who, what, ()))

    def call(self, at_s: float, who: str, name: str, arguments: tuple, outcome: Any) -> None:
        self.lines.append(Line(at_s, who, name, arguments, outcome))

    def until(self, at_s: float) -> str:
        """The lines up to that time, for people; uninteresting calls are left out."""
        told: list[str] = []
        same, last = 0, ""
        for line in self.lines:
            if line.at_s > at_s:
                break
            if _is_quiet(line):
                continue
            said = f"{line.who:<16} {_words(line)}"
            if said == last:
                same += 1
                continue
            if same:
                told.append(f"{'':12}  {'':<16} and so on, {same} times")
            told.append(f"{line.at_s:10.3f} s  {said}")
            same, last = 0, said
        return "\n".join(told)


def _is_quiet(line: Line) -> bool:
    if isinstance(line.outcome, BaseException):
        return False
    return line.call in QUIET or (line.call in LOOKS and not line.outcome)


def _words(line: Line) -> str:
    if not line.arguments and line.outcome is None:
        return line.call
    unheard = line.call.removeprefix(UNHEARD)
    said = call_in_words(unheard, line.arguments, line.outcome)
    return said if unheard == line.call else f"{said} (its answer is not heard)"
