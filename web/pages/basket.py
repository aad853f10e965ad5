"""The holds of this browser, in its signed cookie: the cookie gives access to the holds. Their
tokens are derived when they are needed."""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from flask import session

from web.domain.refusals import BasketFull, EventNotFound, HoldExpired, HoldNotFound, Unavailable
from web.domain.sales import Hold, HoldRef, HoldStatus
from web.services import services

FIELD = "holds"

MAX_HOLDS = 8
"""Entries, bookings included: more than one buyer needs at a time, and they fit into a cookie."""

MAX_SEATS_LENGTH = 1200
"""Characters of all seat ids as JSON; a cookie has 4096, and they are the largest part. Beyond that
the oldest entries are stored without seats."""

QUOTES_AND_COMMA = 3


class Worth(IntEnum):
    """The order of eviction when there is no room: the lowest first."""

    ENDED = 1
    REFUNDED = 2
    BOOKED = 3
    LIVE = 4


class Entry(NamedTuple):
    """``seats`` are for an expired hold, whose seats are stored nowhere else. May be empty.
    ``price_seen`` is the amount and currency that the page had shown, if the hold has another
    price."""

    event_id: str
    hold_id: str
    seats: list[str]
    price_seen: tuple[int, str] | None = None


def entries() -> list[Entry]:
    """Newest first. A later release may append fields."""
    known = slice(len(Entry._fields))
    return [Entry(*entry[known]) for entry in session.get(FIELD, ())]


def entry_of(event_id: str, hold_id: str) -> Entry | None:
    return next((e for e in entries() if e[:2] == (event_id, hold_id)), None)


def ref_of(event_id: str, hold_id: str) -> HoldRef:
    """A hold of this browser, with its token. Raises HoldNotFound for other holds."""
    if entry_of(event_id, hold_id) is None:
        raise HoldNotFound
    return services().tokens.ref_of(event_id, hold_id)


def standing(entry: Entry) -> Hold | None:
    """The current state: held, being paid, booked or refunded; None when it ended without a
    booking. Raises EventNotFound when nothing but this entry is left of the hold."""
    ref = ref_of(entry.event_id, entry.hold_id)
    try:
        return services().box_office.hold(ref)
    except (HoldExpired, HoldNotFound):
        return None


def holds_of(event_id: str) -> list[Hold]:
    """This browser's current holds and bookings for one event, without refunded ones; an empty list
    when they cannot be read, because a page is still useful without them."""
    try:
        holds = [standing(entry) for entry in entries() if entry.event_id == event_id]
    except (EventNotFound, Unavailable):
        return []
    return [hold for hold in holds if hold and not hold.refunded]


def statuses_of(event_id: str) -> set[HoldStatus]:
    return {hold.status for hold in holds_of(event_id)}


def seats_of(event_id: str) -> set[str]:
    """The seats that this browser holds or has bought."""
    return {seat for hold in holds_of(event_id) for seat in hold.seats}


def require_room() -> None:
    """Raises BasketFull when another hold would evict one that can still be paid."""
    _with_room(entries())


def put(hold: Hold, price_seen: tuple[int, str] | None = None) -> None:
    """A hold that was just made, or a booking that was found again. Raises BasketFull."""
    others = [entry for entry in entries() if entry.hold_id != hold.id]
    _keep([Entry(hold.event_id, hold.id, list(hold.seats), price_seen), *_with_room(others)])


def take_out(event_id: str, hold_id: str) -> None:
    _keep([entry for entry in entries() if entry[:2] != (event_id, hold_id)])


def _with_room(known: list[Entry]) -> list[Entry]:
    """The entries to keep when one is added. Evicts one that ended without a booking, or else one
    that was refunded, or else the oldest booking: its receipt has its own address."""
    if len(known) < MAX_HOLDS:
        return known
    oldest = {}
    for entry in known:
        oldest[_worth(entry)] = entry
    least = min(oldest)
    if least == Worth.LIVE:
        raise BasketFull(MAX_HOLDS)
    return [entry for entry in known if entry is not oldest[least]]


def _worth(entry: Entry) -> Worth:
    try:
        hold = standing(entry)
    except EventNotFound:
        hold = None
    if hold is None:
        return Worth.ENDED
    if hold.status != HoldStatus.BOOKED:
        return Worth.LIVE
    return Worth.REFUNDED if hold.refunded else Worth.BOOKED


def _keep(kept: Sequence[Entry]) -> None:
    room = MAX_SEATS_LENGTH
    fitting = []
    for entry in kept:
        room -= sum(len(seat) + QUOTES_AND_COMMA for seat in entry.seats)
        fitting.append(entry if room >= 0 else entry._replace(seats=[]))
    # Most have no other price, and earlier releases expect three fields.
    session[FIELD] = [entry if entry.price_seen else entry[:3] for entry in fitting]
    session.permanent = True
