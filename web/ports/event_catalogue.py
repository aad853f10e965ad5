"""What is on sale: the store of events and their definitions, as the use cases see it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from web.domain.events import Event
from web.domain.refusals import Unavailable


@dataclass(frozen=True)
class Epoch:
    """The time since an event was built, or since Redis went back in time. ``name`` is the suffix
    of the ids of all holds made in it, "" in an event that an earlier release has built;
    ``carried_over`` has the ids of the holds whose payments were in progress when it began.
    ``built_revision`` is the revision at which the event was built, 0 if unknown."""

    name: str
    carried_over: frozenset[str]
    built_revision: int

    def has(self, hold_id: str) -> bool:
        """Whether a payment for this hold can have been in progress in this epoch. Buyers of all
        other holds may have been told that nothing was charged."""
        return not self.name or hold_id in self.carried_over or hold_id.endswith(f"_{self.name}")


@dataclass(frozen=True)
class StoreServer:
    """One of the servers that the store consists of, with the events that it has. ``address`` is
    "" for events that no server is known to have; ``failure`` is None while it takes writes."""

    address: str
    event_ids: tuple[str, ...]
    failure: Unavailable | None


class EventCatalogue(Protocol):
    """All raise Unavailable when the store cannot be reached. Those that return one definition
    also raise it when the store has lost the event, and EventNotFound when there is no such
    event."""

    def add(self, event_ids: Iterable[str]) -> None:
        """Lists events as being on sale. An empty list counts too: it records that there are none.
        A request for an event that is listed but not built yet gets "try again", not "does not
        exist"."""
        ...

    def withdraw(self, event_id: str) -> None:
        """Takes an event off the list, until it is added again. From then on it is not found, and
        not lost."""
        ...

    def withdrawn_ids(self) -> set[str]: ...

    def exists(self) -> bool:
        """Whether it is known what is on sale; False when Redis has lost everything, or ``add``
        was never called."""
        ...

    def event_ids(self) -> list[str]:
        """The ids on sale, sorted."""
        ...

    def last_event_ids(self) -> list[str]:
        """The same. While they cannot be read, those that this process knows."""
        ...

    def cached_event(self, event_id: str) -> Event:
        """The definition this process used last. The steps of SeatStore notice when it is out of
        date, so the hot path need not check."""
        ...

    def last_event(self, event_id: str) -> Event | None:
        """The same, if this process has one. Asks nothing."""
        ...

    def current_event(self, event_id: str) -> Event:
        """The definition that is on sale now."""
        ...

    def current_events(self, event_ids: Sequence[str]) -> dict[str, Event | Unavailable]:
        """The definitions that are on sale now, in the order of their ids here, in one round trip
        to each server. An event that Redis has lost is left out."""
        ...

    def epoch(self, event: Event) -> str:
        """The name of the event's epoch, as far as this process knows: the suffix of a new hold's
        id, which tells later whether Redis has lost the hold. "" for an event that an earlier
        release has built. SeatStore.hold_seats and hold_best raise EventChanged when the id that
        they are given has the suffix of another epoch."""
        ...

    def current_epoch(self, event_id: str) -> Epoch:
        """The current epoch, read from the store; ``epoch`` is what this process saw last."""
        ...

    def servers(self, event_ids: Iterable[str] = ()) -> list[StoreServer]:
        """Which servers there are, with the events of ``last_event_ids`` and with ``event_ids``.
        Each is asked whether it takes writes, and one without any event whether it answers. Never
        raises Unavailable."""
        ...
