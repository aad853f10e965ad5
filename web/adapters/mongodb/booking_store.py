"""The store of bookings. It has nothing else: one document each, inserted once."""

import logging
import math
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pymongo
from mongoengine.queryset import QuerySet
from pymongo import ReadPreference
from pymongo.errors import BulkWriteError, PyMongoError, WriteError

from web.adapters.mongodb import admissions
from web.adapters.mongodb.client import BookingCollection, cause_of, is_refusal, reachable
from web.adapters.mongodb.documents import (
    booking_in,
    document_of,
    documents_in,
    seat_refund_document,
)
from web.adapters.mongodb.indexes import (
    BOOKED,
    HAS_NEWS,
    REFUNDED,
    create_look_up_indexes,
    create_unique_index,
    guards_seats,
)
from web.adapters.mongodb.searches import search
from web.domain.admissions import Attendance
from web.domain.booking_search import BookingSearch
from web.domain.refusals import SeatTaken, Unavailable
from web.domain.sales import Booking, News, SeatRefund
from web.ports.booking_store import (
    BookingRow,
    IndexMissing,
    InsertUnknown,
    MinuteOfSales,
    Place,
    Sales,
)
from web.utils.group_commit import Abandoned, GroupCommit

INDEX_SEEN_FOR_S = 5.0
"""How long the unique index is assumed to exist after a check: somebody could drop it."""

INDEX_TRUSTED_FOR_S = 20.0
"""The same while no primary can be reached: without one nobody can drop it. As long as a payment
may wait for an election, and a little."""

INSERTS_IN_A_GROUP = 100
"""Bookings written together. That takes MongoDB some milliseconds, mostly for syncing the journal
to disk, which a single booking would wait for as well."""

LIKE_CHARACTERS, LIKE_MOST = 8, 100
"""How many characters of a mistyped id must be right to find similar ones: ``bkg_`` and four more.
And how many similar ones are read."""

DUPLICATE_KEY = 11000
"""MongoDB's error code when a unique index refuses an insert."""

PROBE_TIMEOUT_S = 1.0
"""A balancer does not wait much longer for an answer."""

INDEX_BUILD_TIMEOUT_S = 60.0
"""For the indexes of a collection that has bookings already."""

log = logging.getLogger(__name__)


class MongoBookingStore:
    """Implements BookingStore of ``web/ports/``.

    ``create_indexes`` creates the indexes, and ``require_index`` checks the unique one.
    MongoEngine's own way, one connection for the whole process and indexes created at the first
    write, would create them implicitly, when it is too late to refuse.
    """

    def __init__(self, collection: BookingCollection, *, sends_mails: bool = False):
        """``sends_mails``: whether what buyers have to be told is recorded, for somebody to send
        it."""
        self._sends_mails = sends_mails
        self._collection = collection
        self._client = collection.database.client
        self._index_seen_s = -math.inf
        self._inserts = GroupCommit(self._insert_all, INSERTS_IN_A_GROUP)

    def ping(self) -> None:
        with reachable():
            self._client.admin.command("ping")

    def require_reachable(self) -> None:
        # The driver watches all members, so it knows without asking.
        if not self._client.topology_description.has_known_servers:
            with reachable(), pymongo.timeout(PROBE_TIMEOUT_S):
                self._client.admin.command("ping", read_preference=ReadPreference.NEAREST)
        if self._client.topology_description.has_writable_server():
            try:
                with pymongo.timeout(PROBE_TIMEOUT_S):
                    self.require_index()
            except Unavailable as error:
                if is_refusal(error.__cause__):
                    raise

    def create_indexes(self) -> None:
        with reachable(), pymongo.timeout(INDEX_BUILD_TIMEOUT_S):
            create_look_up_indexes(self._collection)
        try:
            return self.require_index()
        except IndexMissing:
            log.info("making the unique index")
        with reachable(), pymongo.timeout(INDEX_BUILD_TIMEOUT_S):
            create_unique_index(self._collection)

    def require_index(self) -> None:
        seen_before_s = time.monotonic() - self._index_seen_s
        if seen_before_s < INDEX_SEEN_FOR_S:
            return
        try:
            with reachable():
                indexes = self._collection.index_information().values()
        except Unavailable as error:
            if seen_before_s > INDEX_TRUSTED_FOR_S or is_refusal(error.__cause__):
                raise
            return
        if not any(guards_seats(index) for index in indexes):
            raise IndexMissing(
                "MongoDB has no unique index on bookings (event, seats): run "
                "`flask --app wsgi events open --all`, which creates it"
            )
        self._index_seen_s = time.monotonic()

    def insert(self, booking: Booking) -> Booking:
        try:
            return self._insert(booking)
        except (Unavailable, PyMongoError, Abandoned) as error:
            log.warning("insert of booking %s: %s", booking.id, cause_of(error))
            raise InsertUnknown from error

    @property
    def _bookings(self) -> QuerySet:
        return documents_in(self._collection)

    def _insert(self, booking: Booking) -> Booking:
        document = document_of(
            booking, news={"ticket": booking.booked_at} if self._sends_mails else None
        )
        if not self._inserts.call(document):
            stored = self.find(booking.id)
            if stored:
                return stored
            others = self.holding(booking.event_id, booking.seats)
            taken = {seat for other in others for seat in other.seats_left}
            raise SeatTaken(tuple(s for s in booking.seats if s in taken))
        return booking

    def _insert_all(self, documents: list[dict[str, Any]]) -> list[bool | Exception]:
        """For each document: True if it was inserted, False if a unique index refused it."""
        inserted: list[bool | Exception] = [True] * len(documents)
        try:
            self._collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if error.details["writeConcernErrors"]:
                raise
            for failure in error.details["writeErrors"]:
                is_duplicate = failure["code"] == DUPLICATE_KEY
                inserted[failure["index"]] = (
                    False if is_duplicate else WriteError(failure["errmsg"], failure["code"])
                )
        return inserted

    def find(self, booking_id: str) -> Booking | None:
        with reachable():
            document = self._bookings.filter(booking_id=booking_id).first()
            return booking_in(document) if document else None

    def ids_like(self, booking_id: str) -> list[str]:
        begins_like_it = {"$regex": f"^{re.escape(booking_id[:LIKE_CHARACTERS])}"}
        with reachable():
            found = self._collection.find({"_id": begins_like_it}, {"_id": 1}).limit(LIKE_MOST)
            return [booking["_id"] for booking in found]

    def find_all(self, booking_ids: Iterable[str]) -> dict[str, Booking]:
        with reachable():
            found = self._bookings.filter(booking_id__in=list(booking_ids))
            return {document.booking_id: booking_in(document) for document in found}

    def payment_ids(self, booking_ids: Iterable[str]) -> dict[str, str]:
        wanted = {"_id": {"$in": list(booking_ids)}, "payment_id": {"$exists": True}}
        with reachable():
            found = self._collection.find(wanted, {"payment_id": 1})
            return {booking["_id"]: booking["payment_id"] for booking in found}

    def holding(self, event_id: str, seats: Sequence[str]) -> list[Booking]:
        with reachable():
            found = self._bookings.filter(event=event_id, seats__in=list(seats), **BOOKED)
            return [booking_in(document) for document in found]

    def refunded(self, event_id: str, seats: Sequence[str]) -> list[Booking]:
        with reachable():
            whole = {"seats": {"$in": list(seats)}, **REFUNDED}
            in_part = {"refunded_seats": {"$in": list(seats)}}
            found = self._bookings.filter(__raw__={"event": event_id, "$or": [whole, in_part]})
            return [booking_in(document) for document in found]

    def sold_seats(
        self,
        event_id: str,
        *,
        among: Sequence[str] | None = None,
        since: datetime | None = None,
    ) -> list[str]:
        wanted: dict[str, Any] = {"event": event_id, **BOOKED}
        if since:
            wanted["booked_at"] = {"$gte": since}
        if among is not None:
            wanted["seats"] = {"$in": list(among)}
        with reachable():
            bookings = self._collection.find(wanted, {"_id": 0, "seats": 1})
            seats = [seat for booking in bookings for seat in booking["seats"]]
        return seats if among is None else list({*among}.intersection(seats))

    def currencies(self, event_id: str) -> set[str]:
        with reachable():
            return set(self._collection.distinct("currency", {"event": event_id, **BOOKED}))

    def sales(self, event_id: str, since: datetime) -> Sales:
        of_event = {"$match": {"event": event_id, **BOOKED}}
        everything = {
            "_id": None,
            "bookings": {"$sum": 1},
            "revenue_minor": {
                "$sum": {"$subtract": ["$amount", {"$ifNull": ["$refunded_amount", 0]}]}
            },
        }
        minute = {
            "_id": {"$dateTrunc": {"date": "$booked_at", "unit": "minute"}},
            "seats": {"$sum": {"$size": "$seats"}},
        }
        lately = {"$match": {"booked_at": {"$gte": since}}}
        with reachable():
            totals = list(self._collection.aggregate([of_event, {"$group": everything}]))
            minutes = list(self._collection.aggregate([of_event, lately, {"$group": minute}]))
        total = totals[0] if totals else {"bookings": 0, "revenue_minor": 0}
        return Sales(
            bookings=total["bookings"],
            revenue_minor=total["revenue_minor"],
            minutes=tuple(MinuteOfSales(found["_id"], found["seats"]) for found in minutes),
        )

    def booked_ids(self, event_id: str) -> list[str]:
        with reachable():
            found = self._collection.find({"event": event_id, **BOOKED}, {"_id": 1})
            return [booking["_id"] for booking in found]

    def begin_refund(self, booking_id: str) -> None:
        self._update({"_id": booking_id}, {"refund_under_way": True})

    def mark_refunded(
        self, booking_id: str, refunded_at: datetime, news: News = "refunded"
    ) -> None:
        changes: dict[str, object] = {"status": "refunded", "refunded_at": refunded_at}
        if self._sends_mails:
            changes["news"] = {news: refunded_at}  # whatever was news before
        self._update({"_id": booking_id, **BOOKED}, changes)

    def end_refund(self, booking_id: str) -> None:
        self._update({"_id": booking_id}, {"refund_under_way": False})

    def begin_seat_refund(self, booking_id: str, refund: SeatRefund) -> None:
        self._update(
            {
                "_id": booking_id,
                "seat_refund": None,
                "seats": {"$all": list(refund.seats)},
                **BOOKED,
            },
            {"seat_refund": seat_refund_document(refund)},
        )

    def mark_seats_refunded(self, booking: Booking, refund: SeatRefund, at: datetime) -> None:
        self._update(
            {"_id": booking.id, "seat_refund": seat_refund_document(refund), **BOOKED},
            {
                "seats": [seat for seat in booking.seats_left if seat not in refund.seats],
                "sold_seats": list(booking.seats),
                "refunded_seats": [*booking.refunded_seats, *refund.seats],
                "refunded_amount": booking.refunded_minor + refund.amount_minor,
                "seat_refund": seat_refund_document(replace(refund, is_paid=True)),
                **({"news.refunded": at} if self._sends_mails else {}),
            },
        )

    def end_seat_refund(self, booking_id: str, refund: SeatRefund) -> None:
        with reachable():
            self._collection.update_one(
                {"_id": booking_id, "seat_refund.seats": list(refund.seats)},
                {"$unset": {"seat_refund": ""}},
            )

    def unfinished_refunds(self) -> list[Booking]:
        under_way = [{"refund_under_way": True}, {"seat_refund.seats": {"$exists": True}}]
        with reachable():
            found = self._bookings.filter(__raw__={"$or": under_way})
            return [booking_in(document) for document in found]

    def announce(
        self, event_id: str, news: News, at: datetime, since: datetime | None = None
    ) -> None:
        if not self._sends_mails:
            return
        made = {"booked_at": {"$gte": since}} if since else {}
        with reachable(), pymongo.timeout(INDEX_BUILD_TIMEOUT_S):
            self._collection.update_many(
                {"event": event_id, **BOOKED, **made}, {"$set": {f"news.{news}": at}}
            )

    def admit(
        self, booking_id: str, seats: Sequence[str], gate: str, key_digest: str
    ) -> Booking | None:
        with reachable():
            admissions.admit(self._collection, booking_id, seats, gate, key_digest)
        return self.find(booking_id)

    def record_admission(
        self, booking_id: str, seats: Sequence[str], gate: str, key_digest: str, ms_ago: int
    ) -> Booking | None:
        with reachable():
            admissions.record(self._collection, booking_id, seats, gate, key_digest, ms_ago)
        return self.find(booking_id)

    def attendance(self, event_id: str) -> Attendance:
        with reachable():
            return admissions.attendance(self._collection, event_id)

    def with_news(self) -> Iterator[Booking]:
        with reachable():
            for document in self._bookings.filter(__raw__=HAS_NEWS):
                yield booking_in(document)

    def _update(self, wanted: dict[str, object], changes: dict[str, object]) -> None:
        with reachable():
            self._collection.update_one(wanted, {"$set": changes})

    def event_ids(self) -> Sequence[str]:
        with reachable():
            return sorted(self._collection.distinct("event"))  # by PAGE_INDEX, a key an event

    def search(
        self,
        event_id: str | None,
        wanted: BookingSearch,
        most: int,
        *,
        before: Place | None = None,
        after: Place | None = None,
    ) -> Sequence[BookingRow]:
        with reachable():
            return search(self._collection, event_id, wanted, most, before=before, after=after)

    def list(self, event_id: str | None = None) -> Iterator[Booking]:
        wanted = {} if event_id is None else {"event": event_id}
        with reachable():
            for document in self._bookings.filter(**wanted).order_by("booked_at"):
                yield booking_in(document)
