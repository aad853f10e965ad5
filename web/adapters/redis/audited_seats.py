"""Redis: what only the audit reads."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import cast

from web.adapters.redis import records
from web.adapters.redis.client import RedisClient, RedisCommands
from web.adapters.redis.event_catalogue import RedisEventCatalogue
from web.adapters.redis.event_scripts import EventScripts
from web.adapters.redis.shard import Shard
from web.domain.events import Event
from web.domain.journal import JournalReplay
from web.domain.refusals import Unavailable
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
        now_ms, revision, sale_closed_ms, seats, holds, due, clients, payments = values
        return EventState(
            event=event,
            now_ms=now_ms,
            revision=int(revision),
            sale_closed_ms=int(sale_closed_ms) if sale_closed_ms else None,
            seats=seats,
            holds={hold_id: records.known_hold_in(hold) for hold_id, hold in _pairs(holds).items()},
            due={hold_id: int(score) for hold_id, score in _pairs(due).items()},
            clients={client: int(count) for client, count in _pairs(clients).items()},
            payments={hold_id: int(score) for hold_id, score in _pairs(payments).items()},
        )

    def replay_journal(self, event_id: str, up_to_revision: int) -> SeatMap:
        replay, start = JournalReplay(), "-"
        key = records.key("journal", event_id)

        def read(commands: RedisCommands) -> list[tuple[str, dict[str, str]]]:
            entries = commands.xrange(key, start, str(up_to_revision), JOURNAL_PAGE)
            return cast(list[tuple[str, dict[str, str]]], entries)

        while True:
            entries = self._client.ask(event_id, read)
            for entry_id, entry in entries:
                records.replay_entry(replay, entry_id, entry)
            if len(entries) < JOURNAL_PAGE:
                return SeatMap(replay.revision, replay.map())
            start = f"({entries[-1][0]}"

    def receipts(self, event_ids: Iterable[str]) -> Iterator[Receipt]:
        wanted = set(event_ids)
        away = None
        for event_id in wanted:
            try:
                self._client.address_of(event_id)
            except Unavailable as unavailable:  # No server has its slot of the cluster.
                away = unavailable
        for shard in self._client.shards():
            try:
                for answer_json in self._kept_answers(shard):
                    if receipt := records.receipt_in(answer_json, wanted):
                        yield receipt
            except Unavailable as unavailable:
                away = unavailable
        if away:
            raise away

    def _kept_answers(self, shard: Shard) -> Iterator[str]:
        cursor = None
        while cursor != 0:
            cursor, answers = self._client.ask_shard(shard, partial(_kept, cursor or 0))
            yield from filter(None, answers)


def _kept(cursor: int, commands: RedisCommands) -> tuple[int, list[str | None]]:
    """The next page's cursor, which is 0 after the last, and the answers on this one (JSON)."""
    following, keys = commands.scan(cursor, "receipt:{*}:*", SCAN_PAGE)
    pipeline = commands.pipeline(transaction=False)
    for key in keys:
        pipeline.get(key)
    return following, pipeline.execute()


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
