"""Acting on an event as it is on sale, not as this process remembers it."""

from collections.abc import Callable
from typing import TypeVar

from web.domain.events import Event
from web.domain.refusals import (
    EventChanged,
    InvalidRequest,
    SeatNotFound,
    SectionNotFound,
    Unavailable,
)
from web.ports.seat_store import SeatStore

DEFINITION_TRIES = 3
"""How often a call starts again because the event was opened with another definition meanwhile."""

DEPEND_ON_DEFINITION = (InvalidRequest, SeatNotFound, SectionNotFound)
"""Refusals that ``act`` makes from its argument alone, before Redis has compared versions."""

Answer = TypeVar("Answer")


def with_event(seats: SeatStore, event_id: str, act: Callable[[Event], Answer]) -> Answer:
    """``act`` with the definition this process knows, again when that was out of date. Positions
    and prices that ``act`` takes from its argument are thus those on sale, and so is what it
    refuses: a seat may have been added a moment ago. Whoever asks for what does not exist costs
    Redis one read, which all who wait at the same moment share."""
    for _ in range(DEFINITION_TRIES):
        event = seats.cached_event(event_id)
        try:
            return act(event)
        except EventChanged:
            continue
        except DEPEND_ON_DEFINITION:
            if seats.current_event(event_id).version == event.version:
                raise
    raise Unavailable("seat store")
