"""Redis: what only the audit reads."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from web.adapters.redis import records
from web.adapters.redis.client import RedisClient, reachable
from web.adapters.redis.event_catalogue import RedisEventCatalogue
from web.adapters.redis.event_scripts import EventScripts
from web.domain.events import Event
from web.domain.journal import JournalReplay
from web.domain.sales import Receipt
from web.ports.audited_seats import EventState
from web.ports.seat_store import SeatMap

JOURNAL_PAGE = 1000

SCAN_PAGE = 1000


class RedisAuditedSeats:
    """Implements AuditedSeats of ``web/ports/``."""

    def __init__(self, client: RedisClient, catalogue: RedisEventCatalogue):
        self._client = client
        self._scripts = EventScripts(client, catalogue)

    def snapshot(self, event: Event) -> EventState:
        _, values = self._scripts.run("snapshot", event.id, version=event.version)
        now_ms, revision, seats, holds, due, clients, payments = values
        return EventState(
            event=event,
            now_ms=now_ms,
            revision=int(revision),
            seats=seats,
            holds={hold_id: records.known_hold_in(hold) for hold_id, hold in _pairs(holds).items()},
            due={hold_id: int(score) for hold_id, score in _pairs(due).items()},
            clients={client: int(count) for client, count in _pairs(clients).items()},
            payments={hold_id: int(score) for hold_id, score in _pairs(payments).items()},
        )

    def replay_journal(self, event_id: str, up_to_revision: int) -> SeatMap:
        replay, start = JournalReplay(), "-"
        key = records.key("journal", event_id)
        while True:
            with reachable():
                entries = cast(
                    list[tuple[str, dict[str, str]]],
                    self._client.commands.xrange(key, start, str(up_to_revision), JOURNAL_PAGE),
                )
            for entry_id, entry in entries:
                records.replay_entry(replay, entry_id, entry)
            if len(entries) < JOURNAL_PAGE:
                return SeatMap(replay.revision, replay.map())
            start = f"({entries[-1][0]}"

    def receipts(self, event_ids: Iterable[str]) -> Iterator[Receipt]:
        wanted = set(event_ids)
        cursor = None
        while cursor != 0:
            with reachable():
                cursor, keys = self._client.commands.scan(cursor or 0, "receipt:{*}:*", SCAN_PAGE)
                pipeline = self._client.commands.pipeline(transaction=False)
                for key in keys:
                    pipeline.get(key)
                kept = pipeline.execute()
            for answer_json in filter(None, kept):
                if receipt := records.receipt_in(answer_json, wanted):
                    yield receipt


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
