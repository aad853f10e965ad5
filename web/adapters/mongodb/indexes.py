"""The indexes of the bookings, and the conditions that they cover."""

from collections.abc import Mapping
from typing import Any

from web.adapters.mongodb.client import BookingCollection

PAGE_INDEX = (("event", 1), ("booked_at", -1), ("_id", -1))
"""A page of an event's bookings is one range of it."""

SEAT_INDEX = (("event", 1), ("seats", 1))

BOOKED = {"status": "booked"}
"""The bookings that the index covers: those whose seats are sold. A refunded booking's seats can be
sold again."""
REFUNDED = {"status": "refunded"}

HAS_NEWS: dict[str, object] = {"news": {"$gt": {}}}
"""The bookings whose buyers have still to be told something: a document with a field is greater
than an empty one."""
MAIL_INDEX = [("mail_next_at", 1)]
"""Of those bookings alone. One that has no such time is due, and comes first."""


def create_look_up_indexes(collection: BookingCollection) -> None:
    collection.create_index(
        [("refund_under_way", 1)], partialFilterExpression={"refund_under_way": True}
    )
    collection.create_index([("seat_refund.seats", 1)], sparse=True)
    collection.create_index(list(PAGE_INDEX))
    collection.create_index(MAIL_INDEX, partialFilterExpression=HAS_NEWS)


def create_unique_index(collection: BookingCollection) -> None:
    collection.create_index(list(SEAT_INDEX), unique=True, partialFilterExpression=BOOKED)


def guards_seats(index: Mapping[str, Any]) -> bool:
    """Whether this index keeps a seat from being in two bookings."""
    covers = index.get("partialFilterExpression", BOOKED) == BOOKED
    return tuple(index["key"]) == SEAT_INDEX and bool(index.get("unique")) and covers
