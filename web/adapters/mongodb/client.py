"""The connection to MongoDB, and what its errors mean."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
from pymongo import ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from web.domain.refusals import Unavailable
from web.ports.booking_store import BOOKING_STORE

CALL_TIMEOUT_S = 4.0
"""Of every call, with the wait for a primary and the driver's own retries: longer than a step-down
takes (one second), and far longer than a slow disk needs. Whoever can wait for an election after a
crash calls again."""

CONNECT_TIMEOUT_MS = 2_000
HEARTBEAT_MS = 1_000
"""The driver gives up a member that has not answered for the sum of both: calls that wait for it
break off, and a host that has lost its network knows it. By default that takes half a minute."""

DEFAULT_DATABASE = "tickets"
"""Used when the URI names none."""

COLLECTION = "bookings"

PRIMARY = ReadPreference.PRIMARY
MAJORITY = ReadConcern("majority")
DURABLE = WriteConcern(w="majority", j=True)
"""Whatever the URI says: an election takes back a booking that only the primary has, and its buyer
may have a receipt by then."""

BookingCollection = Collection[dict[str, Any]]

log = logging.getLogger(__name__)


def collection_at(uri: str) -> BookingCollection:
    """The bookings. Connects on first use. Raises ValueError or OSError for an invalid option in
    ``uri``."""
    try:
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            uri,
            connect=False,  # would resolve mongodb+srv:// here, which may fail
            tz_aware=True,
            timeoutMS=int(CALL_TIMEOUT_S * 1000),
            connectTimeoutMS=CONNECT_TIMEOUT_MS,
            heartbeatFrequencyMS=HEARTBEAT_MS,
            retryReads=True,
            retryWrites=True,
            uuidRepresentation="standard",
        )
        return client.get_default_database(DEFAULT_DATABASE).get_collection(
            COLLECTION, read_preference=PRIMARY, read_concern=MAJORITY, write_concern=DURABLE
        )
    except PyMongoError as error:
        raise ValueError(str(error)) from None


def is_refusal(error: BaseException | None) -> bool:
    """Whether MongoDB responded that it will not do this, for example because of the password."""
    return isinstance(error, OperationFailure) and not error.timeout


def cause_of(error: Exception) -> str:
    """In one line, without what pymongo adds: its view of all servers, or the documents, which
    contain buyers' names."""
    return re.split(r",? (?:Topology Description|full error): |\n", str(error))[0]


@contextmanager
def reachable() -> Iterator[None]:
    try:
        yield
    except PyMongoError as error:
        log.warning("mongodb: %s", cause_of(error))
        raise Unavailable(BOOKING_STORE) from error
