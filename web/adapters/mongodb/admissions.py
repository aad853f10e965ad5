"""Who was let in, as updates and reports that MongoDB computes itself."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from web.adapters.mongodb.client import BookingCollection
from web.adapters.mongodb.indexes import BOOKED
from web.domain.admissions import Attendance, MinuteOfAdmissions

SECTION_OF_SEAT = "^(.*)-[^-]*-[^-]*$"
"""Of ``{section}-{row}-{number}``."""


def admit(
    collection: BookingCollection, booking_id: str, seats: Sequence[str], gate: str, key_digest: str
) -> None:
    let_in, under_refund = (
        {"$ifNull": [f"${field}", []]} for field in ("admissions.seat", "seat_refund.seats")
    )
    still_out = {
        "$and": [
            {"$in": ["$$seat", "$seats"]},
            {"$not": [{"$in": ["$$seat", let_in]}]},
            {"$not": [{"$in": ["$$seat", under_refund]}]},
        ]
    }
    _admit(
        collection,
        {"_id": booking_id, **BOOKED, "refund_under_way": {"$ne": True}},
        {"$filter": {"input": _literally(list(seats)), "as": "seat", "cond": still_out}},
        {"at": "$$NOW", "gate": _literally(gate), "key": _literally(key_digest)},
    )


def record(
    collection: BookingCollection,
    booking_id: str,
    seats: Sequence[str],
    gate: str,
    key_digest: str,
    ms_ago: int,
) -> None:
    then = {"$subtract": ["$$NOW", ms_ago]}
    refunded_before = {"$and": [{"$eq": ["$status", "refunded"]}, {"$lt": ["$refunded_at", then]}]}
    # Of a single seat's refund the time is not known.
    seat_refunded = {
        "$and": [{"$eq": ["$status", "booked"]}, {"$not": [{"$in": ["$$seat", "$seats"]}]}]
    }
    _admit(
        collection,
        {"_id": booking_id},
        _literally(list(seats)),
        {
            "at": then,
            "gate": _literally(gate),
            "key": _literally(key_digest),
            "after_refund": {"$or": [refunded_before, seat_refunded]},
        },
    )


def _admit(
    collection: BookingCollection,
    wanted: Mapping[str, Any],
    seats: Mapping[str, Any],
    admission: Mapping[str, Any],
) -> None:
    """``seats`` and the fields of ``admission`` are expressions."""
    not_yet = {"admissions.key": {"$ne": admission["key"]["$literal"]}}
    each = {"$map": {"input": seats, "as": "seat", "in": {"seat": "$$seat", **admission}}}
    admissions = {"$concatArrays": [{"$ifNull": ["$admissions", []]}, each]}
    collection.update_one({**wanted, **not_yet}, [{"$set": {"admissions": admissions}}])


def attendance(collection: BookingCollection, event_id: str) -> Attendance:
    section = {
        "$arrayElemAt": [
            {
                "$getField": {
                    "field": "captures",
                    "input": {"$regexFind": {"input": "$seat", "regex": SECTION_OF_SEAT}},
                }
            },
            0,
        ]
    }
    sold: list[dict[str, Any]] = [
        {"$match": {"event": event_id, **BOOKED}},
        {"$unwind": "$seats"},
        {"$set": {"seat": "$seats"}},
        {"$group": {"_id": section, "seats": {"$sum": 1}}},
    ]
    let_in: list[dict[str, Any]] = [
        {"$match": {"event": event_id, "admissions.0": {"$exists": True}}},
        {"$unwind": "$admissions"},
        {"$group": {"_id": "$admissions.seat", "at": {"$min": "$admissions.at"}}},
        {"$set": {"seat": "$_id", "minute": {"$dateTrunc": {"date": "$at", "unit": "minute"}}}},
        {"$group": {"_id": {"minute": "$minute", "section": section}, "seats": {"$sum": 1}}},
        {"$sort": {"_id.minute": 1, "_id.section": 1}},
    ]
    seats = {found["_id"]: found["seats"] for found in collection.aggregate(sold)}
    counted = list(collection.aggregate(let_in))
    minutes: dict[datetime, dict[str, int]] = {}
    for found in counted:
        of_minute = minutes.setdefault(found["_id"]["minute"].astimezone(UTC), {})
        of_minute[found["_id"]["section"]] = found["seats"]
    return Attendance(seats, tuple(MinuteOfAdmissions(*minute) for minute in minutes.items()))


def _literally(value: object) -> dict[str, object]:
    """For an expression: a gate may be called "$seats"."""
    return {"$literal": value}
