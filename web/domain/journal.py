"""The journal of an event: every change of its seats, and the seat states they add up to."""

from collections.abc import Sequence

from web.domain.events import SeatState

STATE_AFTER = {
    "held": SeatState.HELD,
    "released": SeatState.FREE,
    "expired": SeatState.FREE,
    "paying": SeatState.PAYING,
    "unpaid": SeatState.HELD,
    "sold": SeatState.SOLD,
    "refunded": SeatState.FREE,
}
"""The state that each change in the journal gives its seats."""


class JournalBroken(Exception):
    """The journal skips a revision, has a change without an effect, has a map that contradicts its
    changes, or has no map at all."""


class JournalReplay:
    """The seat states after each change, starting with the oldest map in the journal. Errors before
    an ``opened`` entry are ignored: an event is opened again when its history was lost."""

    def __init__(self) -> None:
        self.revision = 0
        self._opened = 0
        self._seats: list[str] = []
        self._broken: JournalBroken | None = None

    def open(self, revision: int) -> None:
        """The map of this revision comes next, and replaces the state so far."""
        self._opened = revision

    def see_map(self, revision: int, seats: str) -> None:
        if revision == self._opened:
            self._broken = None
        elif self._seats and (revision, list(seats)) != (self.revision, self._seats):
            self._break(f"the changes until revision {revision} do not lead to its map")
        self.revision, self._seats = revision, list(seats)

    def change(self, revision: int, change: str, positions: Sequence[int]) -> None:
        if not self._seats or self._broken:
            return  # The map that it applies to was trimmed, or is wrong.
        if revision != self.revision + 1:
            return self._break(f"revision {revision} follows {self.revision}")
        state = STATE_AFTER.get(change)
        if state is None:
            return self._break(
                f"revision {revision} is {change!r}, which this version does not know"
            )
        for position in positions:
            if self._seats[position] == state:
                return self._break(f"revision {revision} makes seat {position} what it was")
            self._seats[position] = state
        self.revision = revision

    def _break(self, message: str) -> None:
        self._broken = self._broken or JournalBroken(message)

    def map(self) -> str:
        """Raises JournalBroken."""
        if self._broken:
            raise self._broken
        if not self._seats:
            raise JournalBroken("there is no map in it")
        return "".join(self._seats)
