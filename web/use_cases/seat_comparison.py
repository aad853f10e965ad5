"""The sold seats of Redis compared with the bookings in MongoDB, at a cost that does not grow with
the bookings there are.

An event that changes is looked at once a minute: at the bookings made since the last look, and at
the seats sold since then by the journal. It is compared as a whole when that cannot tell enough:
when this worker sees it for the first time, after Redis had lost it, and after its map was
replaced. Besides, all events are compared in portions, one after the other, so many seats at a
time. That finds what neither a booking's time nor the journal shows: a change by hand, or a booking
that came much too late.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from web.domain.events import Event, SeatState
from web.domain.refusals import EventChanged
from web.domain.sales import LAST_STEP_S
from web.ports.booking_store import BookingStore
from web.ports.event_catalogue import EventCatalogue
from web.ports.seat_store import SeatMap, SeatStore
from web.use_cases.repairs import Repairs

LOOK_EVERY = timedelta(seconds=60)
"""How often an event that changes is looked at, and when one is tried again that failed."""

QUIET_LOOK_EVERY = timedelta(minutes=10)
"""The same for an event in which nothing has changed since."""

LATE = timedelta(seconds=60)
"""How long after its ``booked_at`` a booking may become visible: twice the longest last step of a
payment. A look goes back so far behind the one before, which may have come too early for some."""

CHANGES_READ = 10_000
"""How much of a journal a look reads. In a rush there is more: then a seat that is sold and not
booked is found when its portion is compared."""

WHOLE_EVERY = timedelta(minutes=10)
"""How often the portions come round, unless there are too many seats for that."""

PORTION_EVERY = timedelta(seconds=10)
PORTION_SEATS = 3_000
"""How many seats are compared how often, of all events together: a million in an hour."""

URGENT_SEATS = 50_000
"""How many seats of an event are compared at once when it has to be compared as a whole, soon: as
many as a stadium has. To ask for all bookings of an event takes less than to name its seats."""

FEWEST_SEATS = 100
"""An event counts as so many seats at least: reading its map takes as long."""

LAST_STEP = timedelta(seconds=LAST_STEP_S)

_SOLD = SeatState.SOLD
_TAKEN = (SeatState.SOLD, SeatState.PAYING)
"""What a seat may be that is booked. One whose booking is being confirmed at this moment, or has to
be by the worker, is still paying."""

_NEVER = timedelta.min


@dataclass(frozen=True)
class _Look:
    """``at`` is by the clock of Redis, as the bookings' times are."""

    revision: int
    at: datetime


@dataclass
class _Whole:
    """A comparison of the whole event; the seats before ``next_seat`` have been compared."""

    began: timedelta
    is_urgent: bool
    next_seat: int = 0


@dataclass
class _Progress:
    """With an event, by the worker's own clock. ``is_due``: it has to be compared as a whole, soon.
    ``again_at``: once more, when the last payment from before a loss must have ended. That is tried
    in each round until it has succeeded; what is only due waits after a failure."""

    is_due: bool = True
    again_at: timedelta | None = None
    whole: _Whole | None = None
    last_whole: timedelta = _NEVER
    tried_whole: timedelta = _NEVER
    has_failed: bool = False
    look: _Look | None = None
    tried_look: timedelta = _NEVER

    def is_urgent(self, now: timedelta) -> bool:
        is_under_way = self.whole is not None and self.whole.is_urgent
        return self.is_due or is_under_way or self._is_again(now)

    def whole_since(self, now: timedelta) -> timedelta:
        """Since when a whole comparison that is urgent has waited."""
        if self.again_at is not None and self._is_again(now):
            return max(self.again_at, self.tried_whole)
        return self.tried_whole + LOOK_EVERY if self.has_failed else self.tried_whole

    def _is_again(self, now: timedelta) -> bool:
        return self.again_at is not None and self.again_at <= now


class SeatComparison:
    def __init__(
        self,
        catalogue: EventCatalogue,
        seats: SeatStore,
        bookings: BookingStore,
        repairs: Repairs,
    ):
        self._catalogue = catalogue
        self._seats = seats
        self._bookings = bookings
        self._repairs = repairs
        self._progress: dict[str, _Progress] = {}
        self._next_portion = _NEVER

    def begin_again(self, event_id: str) -> None:
        """The event was opened again. Whoever inserts meanwhile may not come to say so to Redis."""
        again_at = timedelta(seconds=time.monotonic()) + LAST_STEP
        self._progress[event_id] = _Progress(again_at=again_at)

    def compare(self, now: timedelta, revisions: Mapping[str, int], until_s: float) -> bool:
        """What is due in events that are at these ``revisions`` now, that which has waited longest
        first, until this moment on the monotonic clock. Returns whether there is more."""
        due = sorted(self._due(now, revisions))
        for number, (_, event_id, is_look) in enumerate(due):
            if number and time.monotonic() >= until_s:
                return True
            if is_look:
                self._try_look(now, event_id)
                continue
            while self._try_portion(now, event_id, URGENT_SEATS) and self._progress[event_id].whole:
                if time.monotonic() >= until_s:
                    return True
        if now >= self._next_portion and not (due and time.monotonic() >= until_s):
            self._compare_in_turn(now, revisions, until_s)
        return False

    def _due(
        self, now: timedelta, revisions: Mapping[str, int]
    ) -> Iterator[tuple[timedelta, str, bool]]:
        """Since when, which event, and whether only for a look."""
        for event_id, revision in revisions.items():
            progress = self._progress.setdefault(event_id, _Progress())
            if progress.is_urgent(now) and (since := progress.whole_since(now)) <= now:
                yield since, event_id, False
            if progress.look:
                is_quiet = progress.look.revision == revision
                since = progress.tried_look + (QUIET_LOOK_EVERY if is_quiet else LOOK_EVERY)
                if since <= now:
                    yield since, event_id, True

    def _compare_in_turn(self, now: timedelta, event_ids: Collection[str], until_s: float) -> None:
        """A portion of the event that is being compared, or of those whose last turn was longest
        ago."""
        turns = sorted(
            (progress.whole is None, progress.last_whole, event_id)
            for event_id in event_ids
            if not (progress := self._progress[event_id]).is_urgent(now)
            and not (progress.has_failed and progress.tried_whole + LOOK_EVERY > now)
            and (progress.whole or progress.last_whole + WHOLE_EVERY <= now)
        )
        seats_left = PORTION_SEATS
        for _, _, event_id in turns:
            self._next_portion = now + PORTION_EVERY
            seats_left -= max(self._try_portion(now, event_id, seats_left), FEWEST_SEATS)
            if seats_left <= 0 or time.monotonic() >= until_s:
                return

    def _try_portion(self, now: timedelta, event_id: str, most: int) -> int:
        """The next seats of a whole comparison, at most so many. Returns how many they were, 0 if
        it failed."""
        progress = self._progress[event_id]
        if progress.again_at is None and progress.look is None:
            # A worker before this one may have opened it again a moment ago.
            progress.again_at = now + LAST_STEP
        progress.tried_whole, progress.has_failed = now, True
        compared = 0
        with self._repairs.isolate_failure(event_id):
            compared = self._compare_portion(now, progress, event_id, most)
            progress.has_failed = False
        return compared

    def _compare_portion(
        self, now: timedelta, progress: _Progress, event_id: str, most: int
    ) -> int:
        is_urgent = progress.is_urgent(now)
        whole = progress.whole
        if whole is None or whole.is_urgent < is_urgent:
            whole = _Whole(now, is_urgent)
        event, at, seat_map = self._read(event_id)
        end = whole.next_seat + most
        states = seat_map.seats[whole.next_seat : end]
        is_all = len(states) == len(seat_map.seats)
        if not whole.next_seat:
            progress.whole, progress.is_due = whole, False
        if is_all or progress.look is None:
            # What is booked from now on is found by its time.
            progress.look, progress.tried_look = _Look(seat_map.revision, at), now
        among = None if is_all else event.seats[whole.next_seat : end]
        booked = self._bookings.sold_seats(event_id, among=among)
        sold = [
            event.seats[position]
            for position, state in enumerate(states, whole.next_seat)
            if state == _SOLD
        ]
        self._repair(event, seat_map, sold, booked)
        whole.next_seat = end
        if end >= len(seat_map.seats):
            progress.whole, progress.last_whole = None, whole.began
            if progress.again_at is not None and whole.began >= progress.again_at:
                progress.again_at = None
        return len(states)

    def _try_look(self, now: timedelta, event_id: str) -> None:
        progress = self._progress[event_id]
        progress.tried_look = now
        with self._repairs.isolate_failure(event_id):
            if progress.look:
                self._look(progress, event_id, progress.look)

    def _look(self, progress: _Progress, event_id: str, last: _Look) -> None:
        event, at, seat_map = self._read(event_id)
        # The earlier one: Redis may have another clock since, if another server has taken over.
        booked = self._bookings.sold_seats(event_id, since=min(last.at, at) - LATE)
        sold = self._sold_since(event, last.revision, seat_map.revision)
        if sold is None:
            progress.is_due, sold = True, ()
        known = set(booked)
        doubtful = [s for s in sold if s not in known and _state(event, seat_map, s) == _SOLD]
        if doubtful:
            booked += self._bookings.sold_seats(event_id, among=doubtful)
        self._repair(event, seat_map, doubtful, booked)
        progress.look = _Look(seat_map.revision, at)

    def _sold_since(self, event: Event, revision: int, until: int) -> Sequence[str] | None:
        """None when the journal does not say it."""
        changes = until - revision
        if changes > CHANGES_READ:
            return ()
        return self._seats.sold_between(event, revision, until) if changes >= 0 else None

    def _read(self, event_id: str) -> tuple[Event, datetime, SeatMap]:
        """Before the bookings: what is sold in this map had its booking by then, and what is booked
        later can be found by its time."""
        event = self._catalogue.current_event(event_id)
        at = self._seats.now(event_id)
        seat_map = self._seats.read_seats(event_id)
        if seat_map.version != event.version:
            raise EventChanged(event_id)
        return event, at, seat_map

    def _repair(
        self, event: Event, seat_map: SeatMap, sold: Sequence[str], booked: Sequence[str]
    ) -> None:
        """``sold`` are the seats that are sold in this map, of those of which it is known whether
        they are ``booked``."""
        known = set(booked)
        unbooked = [seat for seat in sold if seat not in known]
        # Seats without any booking are left alone: MongoDB may have lost what a buyer has paid for.
        for booking in self._bookings.refunded(event.id, unbooked) if unbooked else ():
            self._repairs.return_seats(booking)
        # Last: it is refused for good when a seat is booked that the hall does not have.
        forgotten = [seat for seat in booked if _state(event, seat_map, seat) not in _TAKEN]
        if forgotten:
            # Since the map was read a buyer may have taken the seat, paid and got the booking.
            _, _, seat_map_now = self._read(event.id)
            forgotten = [s for s in forgotten if _state(event, seat_map_now, s) not in _TAKEN]
        if forgotten:
            self._repairs.mark_sold(event, forgotten)


def _state(event: Event, seat_map: SeatMap, seat: str) -> str:
    """Empty for one that the hall does not have: somebody has booked it by hand."""
    position = event.positions.get(seat)
    return "" if position is None else seat_map.seats[position]
