"""What is on sale: what the use cases ask of the store of events and their definitions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from web.domain.events import Event


@dataclass(frozen=True)
class Epoch:
    """The time since an event was built, or since Redis went back in time. ``name`` is what the ids
    of the holds made in it end with, "" in an event that a former release has built;
    ``carried_over`` are the ids of the holds whose payments were under way when it began.
    ``built_revision``: at which revision the event was built, 0 when that is not known."""

    name: str
    carried_over: frozenset[str]
    built_revision: int

    def has(self, hold_id: str) -> bool:
        """Whether a payment for this hold can have been under way in it. The buyers of all others
        may have heard that nothing was charged."""
        return not self.name or hold_id in self.carried_over or hold_id.endswith(f"_{self.name}")


class EventCatalogue(Protocol):
    """All raise Unavailable when the store cannot be reached. Those that return one definition
    raise it also when the store has lost the event, and EventNotFound when it knows of none."""

    def add(self, event_ids: Iterable[str]) -> None:
        """Lists events as being on sale, none too: then it is known that there are none. Whoever
        asks for one that is listed but not there yet is told to come back, not that it does not
        exist."""
        ...

    def exists(self) -> bool:
        """Whether it is known what is on sale; False when Redis has lost everything, or nothing was
        ever added."""
        ...

    def event_ids(self) -> list[str]:
        """The ids on sale, sorted."""
        ...

    def cached_event(self, event_id: str) -> Event:
        """The definition this process used last. The steps of SeatStore notice when it is out of
        date, so the hot path need not ask."""
        ...

    def current_event(self, event_id: str) -> Event:
        """The definition that is on sale now."""
        ...

    def current_events(self, event_ids: Sequence[str]) -> list[Event]:
        """Their definitions that are on sale now, asked for together. An event that Redis has lost
        is left out."""
        ...

    def epoch(self, event: Event) -> str:
        """Names the time since the event was built, as far as this process knows: what the id of a
        new hold ends with, so that it is known later whether Redis has lost it. "" for an event
        that a former release has built. SeatStore.hold_seats and hold_best raise EventChanged when
        the id that they are given ends with another one than the current."""
        ...

    def current_epoch(self, event_id: str) -> Epoch:
        """The current one; ``epoch`` is what this process saw last."""
        ...
