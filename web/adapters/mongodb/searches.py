"""Pages of bookings, as organisers look for them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

import pymongo

from web.adapters.mongodb.client import BookingCollection
from web.domain.booking_search import BookingSearch
from web.ports.booking_store import BookingRow, Place

ROW_FIELDS = (
    "event",
    "name",
    "email",
    "seats",
    "sold_seats",
    "refunded_seats",
    "seat_names",
    "amount",
    "refunded_amount",
    "currency",
    "payment_id",
    "booked_at",
    "refunded_at",
)
"""What a BookingRow is made of, besides the id."""


def search(
    collection: BookingCollection,
    event_id: str | None,
    wanted: BookingSearch,
    most: int,
    *,
    before: Place | None,
    after: Place | None,
) -> Sequence[BookingRow]:
    conditions: list[dict[str, Any]] = [] if event_id is None else [{"event": event_id}]
    conditions += _beyond("$lt", before) if before else []
    conditions += _beyond("$gt", after) if after else []
    conditions += [] if wanted.finds_all else [{"$or": _found_by(wanted)}]
    order = pymongo.ASCENDING if after else pymongo.DESCENDING
    # Not through MongoEngine, whose documents take most of the time of a page.
    found = [
        _row(document)
        for document in collection.find(
            {"$and": conditions} if conditions else {},
            ROW_FIELDS,
            sort=[("booked_at", order), ("_id", order)],
            limit=most,
        )
    ]
    return found[::-1] if after else found


def _beyond(operator: str, place: Place) -> list[dict[str, Any]]:
    """``operator``: "$lt" for what is older, "$gt" for what is newer."""
    moment, booking_id = place
    return [
        {"booked_at": {f"{operator}e": moment}},  # so that the index is read from there
        {"$or": [{"booked_at": {operator: moment}}, {"_id": {operator: booking_id}}]},
    ]


def _found_by(wanted: BookingSearch) -> list[dict[str, Any]]:
    """Conditions, any of which a booking must meet."""
    ways: list[dict[str, Any]] = []
    if wanted.words:
        ways.append(
            {"$and": [_any_matches(word, ("name", "email")) for word in wanted.words]},
        )
    if wanted.seat:
        ways.append(_any_matches(wanted.seat, ("seats", "sold_seats", "seat_names")))
    if wanted.id_prefix:
        of_event = {"event": {"$regex": wanted.event}} if wanted.event else {}
        ways.append({"_id": {"$regex": f"^{re.escape(wanted.id_prefix)}"}, **of_event})
    if wanted.payment_id:
        ways.append({"payment_id": wanted.payment_id})
    return ways


def _any_matches(pattern: str, fields: Iterable[str]) -> dict[str, Any]:
    return {"$or": [{name: {"$regex": pattern, "$options": "i"}} for name in fields]}


def _row(document: Mapping[str, Any]) -> BookingRow:
    refunded_at = document.get("refunded_at")
    return BookingRow(
        id=document["_id"],
        event_id=document["event"],
        name=document["name"],
        email=document["email"],
        seats=tuple(document.get("sold_seats") or document["seats"]),
        refunded_seats=tuple(document.get("refunded_seats") or ()),
        seat_names=tuple(document.get("seat_names") or ()),
        amount_minor=document["amount"],
        refunded_minor=document.get("refunded_amount") or 0,
        currency=document["currency"],
        payment_id=document.get("payment_id"),
        booked_at=document["booked_at"].astimezone(UTC),
        refunded_at=refunded_at and refunded_at.astimezone(UTC),
    )
