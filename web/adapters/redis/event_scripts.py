"""Redis: running the scripts of an event. What any of them may answer is understood here."""

import math
from typing import Any

from web.adapters.redis.client import RedisClient
from web.adapters.redis.event_catalogue import RedisEventCatalogue
from web.domain.events import Event
from web.domain.refusals import NotKnownNow, Unavailable
from web.ports.seat_store import SEAT_STORE

ASK_AGAIN_S = 5
"""When a buyer may ask again of whose hold nobody knows now, unless it will be known sooner."""


class EventScripts:
    def __init__(self, client: RedisClient, catalogue: RedisEventCatalogue):
        self._client = client
        self._catalogue = catalogue

    def run(
        self, name: str, event_id: str, key_digest: str = "", /, **arguments: str | int | bytes
    ) -> tuple[str, list[Any]]:
        """The outcome and what comes with it, as the script's header says. Raises EventNotFound,
        EventChanged, NotKnownNow, Unavailable."""
        outcome, *values = self._client.run(name, event_id, key_digest, arguments)
        while outcome == "sweep_again":
            outcome, *values = self._client.run(name, event_id, key_digest, arguments)
        if outcome == "event_missing":
            raise self._catalogue.missing(event_id)
        if outcome == "event_closed":
            raise Unavailable(SEAT_STORE)
        if outcome == "not_known_now":
            raise NotKnownNow(SEAT_STORE, min(ASK_AGAIN_S, math.ceil(values[0] / 1000)))
        if outcome == "event_changed":
            raise self._catalogue.changed(event_id)
        return outcome, values

    def check_version(self, event: Event, version: str | None) -> None:
        """That what was read is of this definition. Raises EventChanged."""
        if version != event.version:
            raise self._catalogue.changed(event.id)
