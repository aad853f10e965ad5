"""A store of bookings by the address of its MongoDB."""

from web.adapters.mongodb.booking_store import MongoBookingStore
from web.adapters.mongodb.client import collection_at


def bookings_at(uri: str, *, sends_mails: bool = False) -> MongoBookingStore:
    return MongoBookingStore(collection_at(uri), sends_mails=sends_mails)
