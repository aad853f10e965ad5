"""Redis: which events there are, and how they are defined."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

import msgspec

from web.adapters.redis.client import RedisClient, RedisCommands
from web.adapters.redis.records import key
from web.domain.events import Event
from web.domain.refusals import EventChanged, EventNotFound, Unavailable
from web.ports.event_catalogue import Epoch, StoreServer
from web.ports.seat_store import SEAT_STORE
from web.utils.group_commit import GroupCommit
from web.utils.lru_cache import LRUCache

CATALOGUE_KEY = "events"
"""Set of the ids on sale. When it is missing, Redis has lost its memory, and that an event is not
in it says nothing."""

NO_EVENT = ""
"""Is in that set, too: a shop without events is not a Redis that has lost them."""

WITHDRAWN = "withdrawn "
"""Before the id of an event that was withdrawn, in that set, too: so nobody takes it for lost."""

NOT_AN_EVENT = " "
"""Is never in that set."""

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
        self._looks: dict[str, GroupCommit[str, Event | None]] = {}
        self._events: LRUCache[Event] = LRUCache(EVENTS_REMEMBERED)
        self._epochs: LRUCache[str] = LRUCache(EVENTS_REMEMBERED)
        self._unreadable: set[str] = set()
        self._last_ids: list[str] = []

    def add(self, event_ids: Iterable[str]) -> None:
        ids = list(event_ids)

        def add(commands: RedisCommands) -> None:
            if commands.type(CATALOGUE_KEY) != "set":
                commands.delete(CATALOGUE_KEY)
            commands.sadd(CATALOGUE_KEY, *ids, NO_EVENT)
            if ids:
                commands.srem(CATALOGUE_KEY, *(f"{WITHDRAWN}{event_id}" for event_id in ids))

        self._client.ask(CATALOGUE_KEY, add)

    def withdraw(self, event_id: str) -> None:
        def withdraw(commands: RedisCommands) -> None:
            commands.sadd(CATALOGUE_KEY, f"{WITHDRAWN}{event_id}")
            commands.srem(CATALOGUE_KEY, event_id)

        self._client.ask(CATALOGUE_KEY, withdraw)

    def withdrawn_ids(self) -> set[str]:
        members = self._members()
        return {m.removeprefix(WITHDRAWN) for m in members if m.startswith(WITHDRAWN)}

    def exists(self) -> bool:
        return self._client.ask(
            CATALOGUE_KEY, lambda commands: commands.type(CATALOGUE_KEY) == "set", soon=True
        )

    def event_ids(self) -> list[str]:
        return self._read_ids()

    def last_event_ids(self) -> list[str]:
        return self._read_last_ids()

    def _read_ids(self, *, soon: bool = False) -> list[str]:
        members = self._members(soon=soon)
        if not members:
            raise Unavailable(SEAT_STORE)
        self._last_ids = sorted(
            member for member in members - {NO_EVENT} if not member.startswith(WITHDRAWN)
        )
        return self._last_ids

    def _members(self, *, soon: bool = False) -> set[str]:
        return self._client.ask(
            CATALOGUE_KEY,
            lambda commands: cast(set[str], commands.smembers(CATALOGUE_KEY)),
            soon=soon,
        )

    def _read_last_ids(self, *, soon: bool = False) -> list[str]:
        try:
            return self._read_ids(soon=soon)
        except Unavailable:
            known = {*self._last_ids, *self._events.names()}
            if not known:
                raise
            return sorted(known)

    def cached_event(self, event_id: str) -> Event:
        return self.last_event(event_id) or self.current_event(event_id)

    def last_event(self, event_id: str) -> Event | None:
        return self._events.get(event_id)

    def current_event(self, event_id: str) -> Event:
        event = self._looks_beside(event_id).call(event_id)
        if event is None:
            raise self.missing(event_id)
        return event

    def current_events(self, event_ids: Sequence[str]) -> dict[str, Event | Unavailable]:
        found = self._look(event_ids)
        return {event_id: event for event_id in event_ids if (event := found[event_id])}

    def epoch(self, event: Event) -> str:
        return self._epochs.get(event.id) or ""

    def current_epoch(self, event_id: str) -> Epoch:
        names = ("version", "epoch", "carried_over", "built_revision")
        version, name, carried_over, built_revision = self._client.ask(
            event_id, lambda commands: _fields(commands, event_id, names)
        )
        if version is None:
            raise self.missing(event_id)
        return Epoch(name or "", frozenset((carried_over or "").split()), int(built_revision or 0))

    def missing(self, event_id: str) -> EventNotFound | Unavailable:
        """The refusal when Redis does not have an event. That means "not found" only while Redis
        knows what it has, and only of an event that was withdrawn or that this process has never
        seen."""

        def look(commands: RedisCommands) -> list[Any]:
            pipeline = commands.pipeline(transaction=False)
            pipeline.exists(CATALOGUE_KEY)
            pipeline.sismember(CATALOGUE_KEY, event_id)
            pipeline.sismember(CATALOGUE_KEY, f"{WITHDRAWN}{event_id}")
            return pipeline.execute()

        known, listed, withdrawn = self._client.ask(CATALOGUE_KEY, look)
        if withdrawn:
            self._events.forget(event_id)
        if self._events.get(event_id):
            return Unavailable(SEAT_STORE)
        if known and (not listed or event_id == NO_EVENT):
            return EventNotFound(event_id)
        return Unavailable(SEAT_STORE)

    def changed(self, event_id: str) -> EventChanged:
        """The refusal when the definition in use is out of date, which is forgotten."""
        self._events.forget(event_id)
        return EventChanged(event_id)

    def servers(self, event_ids: Iterable[str] = ()) -> list[StoreServer]:
        tags = [CATALOGUE_KEY, *event_ids]
        with suppress(Unavailable):
            tags += self._read_last_ids(soon=True)
        tags = list(dict.fromkeys(tags))
        outcomes = self._client.ask_for_each(tags, _probe, soon=True)
        tags_at: dict[str, list[str]] = defaultdict(list)
        for tag in tags:
            tags_at[self._address_of(tag)].append(tag)
        servers = [
            StoreServer(
                address,
                tuple(tag for tag in members if tag != CATALOGUE_KEY),
                failure=next(
                    (f for tag in members if isinstance(f := outcomes.get(tag), Unavailable)), None
                ),
            )
            for address, members in tags_at.items()
        ]
        with suppress(Unavailable):
            # They have no known event, so there is no key to probe them with.
            others = [shard for shard in self._client.shards() if shard.address not in tags_at]
            times = self._client.ask_shards(others, lambda commands: commands.time(), soon=True)
            servers += (
                StoreServer(shard.address, (), time if isinstance(time, Unavailable) else None)
                for shard, time in zip(others, times, strict=True)
            )
        return servers

    def _address_of(self, tag: str) -> str:
        try:
            return self._client.address_of(tag)
        except Unavailable:
            return ""

    def _looks_beside(self, event_id: str) -> GroupCommit[str, Event | None]:
        """Looks for events of the same server share a round trip. Those of other servers need not
        wait for one that hangs."""
        address = self._client.address_of(event_id)
        looks = self._looks.get(address)
        if looks is None:
            looks = self._looks.setdefault(
                address, GroupCommit(self._look_for_all, LOOKS_IN_A_GROUP)
            )
        return looks

    def _look_for_all(self, event_ids: Sequence[str]) -> list[Event | Exception | None]:
        found = self._look(event_ids)
        return [found.get(event_id) for event_id in event_ids]

    def _look(self, event_ids: Iterable[str]) -> dict[str, Event | Unavailable | None]:
        """The current definitions, each asked for once; None for one that Redis does not have."""
        found = self._fields_of(event_ids, "version", "epoch")
        events: dict[str, Event | Unavailable | None] = {}
        outdated = []
        for event_id, fields in found.items():
            if isinstance(fields, Unavailable):
                events[event_id] = fields
                continue
            version, epoch = fields
            self._epochs.put(event_id, epoch or "")
            known = self._events.get(event_id)
            if known is not None and known.version == version:
                events[event_id] = known
            elif version is None:
                events[event_id] = None
            else:
                outdated.append(event_id)
        for event_id, fields in self._fields_of(outdated, "definition").items():
            if isinstance(fields, Unavailable):
                events[event_id] = fields
            else:
                (definition,) = fields
                events[event_id] = self._decoded(event_id, definition) if definition else None
        return events

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

    def _fields_of(
        self, event_ids: Iterable[str], *fields: str
    ) -> dict[str, list[str | None] | Unavailable]:
        def read(commands: RedisCommands, members: Sequence[str]) -> list[list[str | None]]:
            pipeline = commands.pipeline(transaction=False)
            for event_id in members:
                pipeline.hmget(key("event", event_id), fields)
            return pipeline.execute(raise_on_error=False)

        return self._client.ask_for_each(event_ids, read)


def _fields(commands: RedisCommands, event_id: str, names: Sequence[str]) -> Sequence[str | None]:
    return cast(Sequence[str | None], commands.hmget(key("event", event_id), list(names)))


def _probe(commands: RedisCommands, tags: Sequence[str]) -> list[None]:
    """A command that changes nothing, and that only a server which takes writes agrees to."""
    event_ids = [tag for tag in tags if tag != CATALOGUE_KEY]
    if event_ids:
        commands.delete(key("event", event_ids[0], "none"))
    else:
        commands.srem(CATALOGUE_KEY, NOT_AN_EVENT)
    return [None] * len(tags)
