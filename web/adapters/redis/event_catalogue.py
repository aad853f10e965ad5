"""Redis: which events there are, and how they are defined."""

import logging
from collections.abc import Iterable, Sequence
from typing import cast

import msgspec

from web.adapters.redis.client import RedisClient, reachable
from web.adapters.redis.records import key
from web.domain.events import Event
from web.domain.refusals import EventChanged, EventNotFound, Unavailable
from web.ports.event_catalogue import Epoch
from web.ports.seat_store import SEAT_STORE
from web.utils.group_commit import GroupCommit
from web.utils.lru_cache import LRUCache

CATALOGUE_KEY = "events"
"""Set of the ids on sale. When it is missing, Redis has lost its memory, and that an event is not
in it says nothing."""

NO_EVENT = ""
"""Is in that set, too: a shop without events is not a Redis that has lost them."""

LOOKS_IN_A_GROUP = 64
"""Events that callers look for at the same moment, asked for together."""

EVENTS_REMEMBERED = 1000
"""Definitions a process keeps parsed; the one not used for longest goes first."""

log = logging.getLogger(__name__)


class RedisEventCatalogue:
    """Implements EventCatalogue of ``web/ports/``. The stores beside it tell it what they find
    ``missing`` or ``changed``."""

    def __init__(self, client: RedisClient):
        self._client = client
        self._looks = GroupCommit(self._look, LOOKS_IN_A_GROUP)
        self._events: LRUCache[Event] = LRUCache(EVENTS_REMEMBERED)
        self._epochs: LRUCache[str] = LRUCache(EVENTS_REMEMBERED)
        self._unreadable: set[str] = set()

    def add(self, event_ids: Iterable[str]) -> None:
        commands = self._client.commands
        with reachable():
            if commands.type(CATALOGUE_KEY) != "set":
                commands.delete(CATALOGUE_KEY)
            commands.sadd(CATALOGUE_KEY, *event_ids, NO_EVENT)

    def exists(self) -> bool:
        with reachable():
            return self._client.commands.type(CATALOGUE_KEY) == "set"

    def event_ids(self) -> list[str]:
        with reachable():
            ids = cast(set[str], self._client.commands.smembers(CATALOGUE_KEY))
        if not ids:
            raise Unavailable(SEAT_STORE)
        return sorted(ids - {NO_EVENT})

    def cached_event(self, event_id: str) -> Event:
        return self._events.get(event_id) or self.current_event(event_id)

    def current_event(self, event_id: str) -> Event:
        with reachable():
            event = self._looks.call(event_id)
        if event is None:
            raise self.missing(event_id)
        return event

    def current_events(self, event_ids: Sequence[str]) -> list[Event]:
        with reachable():
            return [event for event in self._look(event_ids) if event]

    def epoch(self, event: Event) -> str:
        return self._epochs.get(event.id) or ""

    def current_epoch(self, event_id: str) -> Epoch:
        names = ("version", "epoch", "carried_over", "built_revision")
        with reachable():
            found = self._fields_of([event_id], *names)
        version, name, carried_over, built_revision = found[event_id]
        if version is None:
            raise self.missing(event_id)
        return Epoch(name or "", frozenset((carried_over or "").split()), int(built_revision or 0))

    def missing(self, event_id: str) -> EventNotFound | Unavailable:
        """The refusal when Redis does not have an event. That means "not found" only while Redis
        knows what it has, and only of an event that this process has never seen."""
        if self._events.get(event_id):
            return Unavailable(SEAT_STORE)
        with reachable():
            pipeline = self._client.commands.pipeline(transaction=False)
            pipeline.exists(CATALOGUE_KEY)
            pipeline.sismember(CATALOGUE_KEY, event_id)
            known, listed = pipeline.execute()
        if known and (not listed or event_id == NO_EVENT):
            return EventNotFound(event_id)
        return Unavailable(SEAT_STORE)

    def changed(self, event_id: str) -> EventChanged:
        """The refusal when the definition in use is out of date, which is forgotten."""
        self._events.forget(event_id)
        return EventChanged(event_id)

    def _look(self, event_ids: Sequence[str]) -> list[Event | None]:
        """The definitions of now, each asked for once; None for one that Redis does not have."""
        found = self._fields_of(event_ids, "version", "epoch")
        outdated = [
            event_id
            for event_id, (version, _) in found.items()
            if (known := self._events.get(event_id)) is None or known.version != version
        ]
        events = {event_id: self._events.get(event_id) for event_id in found}
        for event_id, (definition,) in self._fields_of(outdated, "definition").items():
            events[event_id] = self._decoded(event_id, definition) if definition else None
        for event_id, (_, epoch) in found.items():
            self._epochs.put(event_id, epoch or "")
        return [events[event_id] for event_id in event_ids]

    def _decoded(self, event_id: str, definition: str) -> Event | None:
        """None, and a line in the log, for a definition that no release of this one can have
        written: it must not shut the events beside it."""
        try:
            event = msgspec.json.decode(definition, type=Event)
        except msgspec.DecodeError as error:
            if event_id not in self._unreadable:
                log.error("%s: its definition in Redis cannot be read: %s", event_id, error)
            self._unreadable.add(event_id)
            return None
        self._unreadable.discard(event_id)
        self._events.put(event_id, event)
        return event

    def _fields_of(self, event_ids: Iterable[str], *fields: str) -> dict[str, list[str | None]]:
        event_ids = dict.fromkeys(event_ids)
        pipeline = self._client.commands.pipeline(transaction=False)
        for event_id in event_ids:
            pipeline.hmget(key("event", event_id), fields)
        return dict(zip(event_ids, pipeline.execute(), strict=True))
