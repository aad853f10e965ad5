"""Acting on an event as it is on sale, not as this process remembers it."""

from collections.abc import Callable
from typing import TypeVar

from web.domain import Event, EventChanged, Unavailable
from web.ports import SeatStore

DEFINITION_TRIES = 3
"""How often a call starts again because the event was opened anew under its hands."""

Answer = TypeVar("Answer")


def with_event(seats: SeatStore, event_id: str, act: Callable[[Event], Answer]) -> Answer:
    """``act`` with the definition this process knows, again when that was out of date. Positions
    and prices that ``act`` takes from its argument are thus those on sale."""
    for _ in range(DEFINITION_TRIES):
        try:
            return act(seats.known_event(event_id))
        except EventChanged:
            continue
    raise Unavailable("seat store")
