"""Acting on an event as it is on sale, not as this process has it cached."""

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
from web.ports.event_catalogue import EventCatalogue
from web.ports.seat_store import SEAT_STORE

DEFINITION_TRIES = 3
"""How often a call is retried because the event was opened with another definition meanwhile."""

DEPEND_ON_DEFINITION = (InvalidRequest, SeatNotFound, SectionNotFound)
"""Refusals that ``act`` makes from its argument alone, before Redis has compared versions."""

Answer = TypeVar("Answer")


def with_event(catalogue: EventCatalogue, event_id: str, act: Callable[[Event], Answer]) -> Answer:
    """Calls ``act`` with the cached definition, and again when that was out of date. So the
    positions and prices that ``act`` takes from its argument are those on sale, and so are its
    refusals: a seat may have been added a moment ago. A request for what does not exist costs Redis
    one read, which all requests of the same moment share."""
    for _ in range(DEFINITION_TRIES):
        event = catalogue.cached_event(event_id)
        try:
            return act(event)
        except EventChanged:
            continue
        except DEPEND_ON_DEFINITION:
            if catalogue.current_event(event_id).version == event.version:
                raise
    raise Unavailable(SEAT_STORE)
