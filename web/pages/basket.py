"""The holds of this browser, in its signed cookie: who has the cookie has the holds. The tokens are
derived when they are needed."""

from collections.abc import Sequence
from typing import NamedTuple

from flask import session

from web.domain import Hold, HoldExpired, HoldNotFound, HoldStatus, Unavailable
from web.tickets import tickets

FIELD = "holds"

MAX_HOLDS = 8
"""Remembered, booked ones too. More than one buyer has under way, and they fit a cookie."""

MAX_SEATS_LENGTH = 1200
"""Characters of seat ids in all; a cookie has 4096, and they are the largest part. The oldest
entries are remembered without."""


class Entry(NamedTuple):
    """``seats`` are for a hold that ran out, whose seats nobody else remembers. May be empty."""

    event_id: str
    hold_id: str
    seats: list[str]


def entries() -> list[Entry]:
    """Newest first."""
    return [Entry(*entry) for entry in session.get(FIELD, ())]


def entry_of(event_id: str, hold_id: str) -> Entry | None:
    return next((e for e in entries() if e[:2] == (event_id, hold_id)), None)


def token_of(event_id: str, hold_id: str) -> str:
    """The token of a hold of this browser. Raises HoldNotFound when it is not."""
    if entry_of(event_id, hold_id) is None:
        raise HoldNotFound
    return tickets().tokens.token_of(event_id, hold_id)


def standing(entry: Entry) -> Hold | None:
    """What became of it: held, being paid, booked or refunded; None when it ended without a
    booking. Raises EventNotFound when all that is left of it is this entry."""
    token = token_of(entry.event_id, entry.hold_id)
    try:
        return tickets().box_office.hold(entry.event_id, entry.hold_id, token)
    except (HoldExpired, HoldNotFound):
        return None


def statuses_of(event_id: str) -> set[HoldStatus]:
    """Of this browser's holds of one event that still stand, refunded ones left out; none when
    that cannot be known now, for no page is shown for this alone."""
    try:
        holds = [standing(entry) for entry in entries() if entry.event_id == event_id]
    except Unavailable:
        return set()
    return {hold.status for hold in holds if hold and not hold.refunded}


def put(hold: Hold) -> None:
    """A hold that was just made, or a booking that was found again."""
    others = [entry for entry in entries() if entry.hold_id != hold.id]
    _keep([Entry(hold.event_id, hold.id, list(hold.seats)), *others])


def take_out(event_id: str, hold_id: str) -> None:
    _keep([entry for entry in entries() if entry[:2] != (event_id, hold_id)])


def _keep(kept: Sequence[Entry]) -> None:
    room = MAX_SEATS_LENGTH
    fitting = []
    for entry in kept[:MAX_HOLDS]:
        room -= sum(map(len, entry.seats))
        fitting.append(entry if room >= 0 else entry._replace(seats=[]))
    session[FIELD] = fitting
    session.permanent = True
