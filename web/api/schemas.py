"""The JSON of events and holds. Receipts are encoded from their class (web/domain/sales.py)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from web.domain.admissions import Attendance
from web.domain.events import Event
from web.domain.sales import Hold, in_utc, rfc3339
from web.utils.encoded import Encoded


def event_summary(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "name": event.name,
        "venue": event.venue,
        "currency": event.currency,
        "timezone": event.timezone,
        "starts_at": _utc(event.starts_at),
        "doors_open_at": _utc(event.doors_open_at),
        "ends_at": _utc(event.ends_at),
        "sale_opens_at": _utc(event.sale_opens_at),
        "sale_closes_at": _utc(event.sale_closes_at),
        "status": event.status,
    }


def _utc(moment: datetime | None) -> str | None:
    return rfc3339(in_utc(moment)) if moment else None


@lru_cache(maxsize=64)  # by identity: a definition that is opened again is another object
def event_definition(event: Event) -> Encoded:
    seats = iter(event.seats)
    sections = [
        {
            "id": section.id,
            "name": section.name,
            "price": section.price_minor,
            "kind": section.kind,
            "rows": [
                {"id": row.id, "seats": [next(seats) for block in row.blocks for _ in block]}
                for row in section.rows
            ],
        }
        for section in event.sections
    ]
    definition = msgspec.json.encode(
        {
            **event_summary(event),
            "version": event.version,
            "layout": event.layout,
            "hold_ms": event.hold_ms,
            "max_seats_per_hold": event.max_seats_per_hold,
            "max_held_per_client": event.max_held_per_client,
            "max_held_per_network": event.network_max,
            "sections": sections,
        }
    )
    return Encoded(definition)


def attendance_json(
    event_id: str, attendance: Attendance, section_ids: Sequence[str]
) -> dict[str, Any]:
    """``section_ids`` of the event, in its order; sections that it no longer has follow."""
    listed = dict.fromkeys([*section_ids, *attendance.sections])
    return {
        "event": event_id,
        "seats": sum(attendance.seats.values()),
        "admitted": sum(minute.admitted for minute in attendance.minutes),
        "sections": [
            {
                "id": section_id,
                "seats": attendance.seats.get(section_id, 0),
                "admitted": attendance.admitted(section_id),
            }
            for section_id in listed
        ],
        "minutes": [
            {
                "minute": rfc3339(minute.minute),
                "admitted": minute.admitted,
                "sections": minute.sections,
            }
            for minute in attendance.minutes
        ],
    }


def hold_json(hold: Hold) -> dict[str, Any]:
    return {
        "hold_id": hold.id,
        "event": hold.event_id,
        "seats": hold.seats,
        "amount": hold.amount_minor,
        "currency": hold.currency,
        "status": hold.status,
        "expires_in_ms": hold.expires_in_ms,
        "expires_at": rfc3339(datetime.fromtimestamp(hold.expires_at_ms / 1000, UTC)),
    }
