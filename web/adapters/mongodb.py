"""MongoDB, the store of bookings: who bought. The only module that uses it, through MongoEngine.

It stores bookings and nothing else, one document each, inserted once.
"""

import logging
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

import mongoengine
import pymongo
from bson import SON
from mongoengine import (
    BooleanField,
    DateTimeField,
    DictField,
    IntField,
    ListField,
    StringField,
)
from mongoengine.queryset import QuerySet
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError, WriteError
from pymongo.read_concern import ReadConcern

from web.domain.admissions import Admission, Attendance, MinuteOfAdmissions
from web.domain.booking_search import BookingSearch
from web.domain.refusals import SeatTaken, Unavailable
from web.domain.sales import Booking, MailState, News, SeatRefund, SoldAs
from web.ports.booking_store import (
    BOOKING_STORE,
    BookingRow,
    IndexMissing,
    InsertUnknown,
    MinuteOfSales,
    Place,
    Sales,
)
from web.utils.group_commit import Abandoned, GroupCommit

CALL_TIMEOUT_S = 4.0
"""Of every call, with the wait for a primary and the driver's own retries: longer than a step-down
takes (one second), and far longer than a slow disk needs. Whoever can wait for an election after a
crash calls again."""

CONNECT_TIMEOUT_MS = 2_000
HEARTBEAT_MS = 1_000
"""The driver gives up a member that has not answered for the sum of both: calls that wait for it
break off, and a host that has lost its network knows it. By default that takes half a minute."""

PROBE_TIMEOUT_S = 1.0
"""A balancer does not wait much longer for an answer."""

INDEX_BUILD_TIMEOUT_S = 60.0
"""For the indexes of a collection that has bookings already."""

DEFAULT_DATABASE = "tickets"
"""Used when the URI names none."""

COLLECTION = "bookings"

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

PRIMARY = ReadPreference.PRIMARY
MAJORITY = ReadConcern("majority")
DURABLE = WriteConcern(w="majority", j=True)
"""Whatever the URI says: an election takes back a booking that only the primary has, and its buyer
may have a receipt by then."""

SECTION_OF_SEAT = "^(.*)-[^-]*-[^-]*$"
"""Of ``{section}-{row}-{number}``."""

DUPLICATE_KEY = 11000
"""MongoDB's error code when a unique index refuses an insert."""

PAGE_INDEX = (("event", 1), ("booked_at", -1), ("_id", -1))
"""A page of an event's bookings is one range of it."""

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

log = logging.getLogger(__name__)


class BookingDocument(mongoengine.Document):  # type: ignore[misc]  # it has no types
    """Field names are those of the receipt where the meaning is the same."""

    # A field that a later release adds must not prevent this one from reading its bookings.
    meta: ClassVar = {"strict": False}

    booking_id = StringField(primary_key=True)
    hold_id = StringField(required=True)
    event = StringField(required=True)
    seats = ListField(StringField(), required=True)
    amount = IntField(required=True)
    currency = StringField(required=True)
    payment_id = StringField()
    booked_at = DateTimeField(required=True)
    email = StringField(required=True)
    name = StringField(required=True)
    key_digest = StringField(required=True)
    fingerprint = StringField(required=True)
    status = StringField(required=True, choices=("booked", "refunded"), default="booked")
    refunded_at = DateTimeField()
    refund_under_way = BooleanField()
    event_name = StringField()
    venue = StringField()
    seat_names = ListField(StringField())
    admissions = ListField(DictField())
    starts_at = DateTimeField()
    timezone = StringField()
    seat_prices = ListField(IntField())
    # Of a booking with seats that were refunded one by one, ``seats`` has only those that are left,
    # so that the unique index lets the others be sold again.
    sold_seats = ListField(StringField(), default=None)
    refunded_seats = ListField(StringField(), default=None)
    refunded_amount = IntField()
    seat_refund = DictField(default=None)
    news = DictField(DateTimeField(), default=None)
    mailed_at = DateTimeField()
    mail_next_at = DateTimeField()
    mail_failing_since = DateTimeField()
    mail_failures = IntField()
    mail_unanswered = IntField()
    mail_given_up = StringField()


class MongoBookingStore:
    """Implements BookingStore and MailQueue of ``web/ports/``. Connects on first use.

    ``create_indexes`` creates the indexes, and ``require_index`` checks the unique one.
    MongoEngine's own way, one connection for the whole process and indexes created at the first
    write, would create them implicitly, when it is too late to refuse.
    """

    def __init__(self, uri: str, *, sends_mails: bool = False):
        """``sends_mails``: whether what buyers have to be told is recorded, for somebody to send
        it. Raises ValueError or OSError for an invalid option in ``uri``."""
        self._sends_mails = sends_mails
        try:
            self._client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
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
            database = self._client.get_default_database(DEFAULT_DATABASE)
            self._collection = database.get_collection(
                COLLECTION, read_preference=PRIMARY, read_concern=MAJORITY, write_concern=DURABLE
            )
        except PyMongoError as error:
            raise ValueError(str(error)) from None
        self._index_seen_s = -math.inf
        self._inserts = GroupCommit(self._insert_all, INSERTS_IN_A_GROUP)

    def ping(self) -> None:
        with _reachable():
            self._client.admin.command("ping")

    def require_reachable(self) -> None:
        # The driver watches all members, so it knows without asking.
        if not self._client.topology_description.has_known_servers:
            with _reachable(), pymongo.timeout(PROBE_TIMEOUT_S):
                self._client.admin.command("ping", read_preference=ReadPreference.NEAREST)
        if self._client.topology_description.has_writable_server():
            try:
                with pymongo.timeout(PROBE_TIMEOUT_S):
                    self.require_index()
            except Unavailable as error:
                if _is_refusal(error.__cause__):
                    raise

    def create_indexes(self) -> None:
        with _reachable(), pymongo.timeout(INDEX_BUILD_TIMEOUT_S):
            self._collection.create_index(
                [("refund_under_way", 1)], partialFilterExpression={"refund_under_way": True}
            )
            self._collection.create_index([("seat_refund.seats", 1)], sparse=True)
            self._collection.create_index(list(PAGE_INDEX))
            self._collection.create_index(MAIL_INDEX, partialFilterExpression=HAS_NEWS)
        try:
            return self.require_index()
        except IndexMissing:
            log.info("making the unique index")
        with _reachable(), pymongo.timeout(INDEX_BUILD_TIMEOUT_S):
            self._collection.create_index(
                list(SEAT_INDEX), unique=True, partialFilterExpression=BOOKED
            )

    def require_index(self) -> None:
        seen_before_s = time.monotonic() - self._index_seen_s
        if seen_before_s < INDEX_SEEN_FOR_S:
            return
        try:
            with _reachable():
                indexes = self._collection.index_information().values()
        except Unavailable as error:
            if seen_before_s > INDEX_TRUSTED_FOR_S or _is_refusal(error.__cause__):
                raise
            return
        if not any(_guards_seats(index) for index in indexes):
            raise IndexMissing(
                "MongoDB has no unique index on bookings (event, seats): run "
                "`flask --app wsgi events open --all`, which creates it"
            )
        self._index_seen_s = time.monotonic()

    def insert(self, booking: Booking) -> Booking:
        try:
            return self._insert(booking)
        except (Unavailable, PyMongoError, Abandoned) as error:
            log.warning("insert of booking %s: %s", booking.id, _cause_of(error))
            raise InsertUnknown from error

    @property
    def _bookings(self) -> QuerySet:
        return QuerySet(BookingDocument, self._collection)

    def _insert(self, booking: Booking) -> Booking:
        # A document's own save() would replace one with the same _id; an insert cannot.
        document = _document(booking)
        if self._sends_mails:
            document.news = {"ticket": booking.booked_at}
        document.validate()
        if not self._inserts.call(document.to_mongo()):
            stored = self.find(booking.id)
            if stored:
                return stored
            others = self.holding(booking.event_id, booking.seats)
            taken = {seat for other in others for seat in other.seats_left}
            raise SeatTaken(tuple(s for s in booking.seats if s in taken))
        return booking

    def _insert_all(self, documents: list[SON[str, Any]]) -> list[bool | Exception]:
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
        with _reachable():
            document = self._bookings.filter(booking_id=booking_id).first()
            return _booking(document) if document else None

    def ids_like(self, booking_id: str) -> list[str]:
        begins_like_it = {"$regex": f"^{re.escape(booking_id[:LIKE_CHARACTERS])}"}
        with _reachable():
            found = self._collection.find({"_id": begins_like_it}, {"_id": 1}).limit(LIKE_MOST)
            return [booking["_id"] for booking in found]

    def beginning_with(self, beginning: str) -> list[Booking]:
        with _reachable():
            wanted = {"_id": {"$regex": f"^{re.escape(beginning)}"}}
            found = self._bookings.filter(__raw__=wanted).limit(LIKE_MOST)
            return [_booking(document) for document in found]

    def find_all(self, booking_ids: Iterable[str]) -> dict[str, Booking]:
        with _reachable():
            found = self._bookings.filter(booking_id__in=list(booking_ids))
            return {document.booking_id: _booking(document) for document in found}

    def holding(self, event_id: str, seats: Sequence[str]) -> list[Booking]:
        with _reachable():
            found = self._bookings.filter(event=event_id, seats__in=list(seats), **BOOKED)
            return [_booking(document) for document in found]

    def refunded(self, event_id: str, seats: Sequence[str]) -> list[Booking]:
        with _reachable():
            whole = {"seats": {"$in": list(seats)}, **REFUNDED}
            in_part = {"refunded_seats": {"$in": list(seats)}}
            found = self._bookings.filter(__raw__={"event": event_id, "$or": [whole, in_part]})
            return [_booking(document) for document in found]

    def sold_seats(self, event_id: str) -> list[str]:
        with _reachable():
            bookings = self._collection.find({"event": event_id, **BOOKED}, {"seats": 1})
            return [seat for booking in bookings for seat in booking["seats"]]

    def currencies(self, event_id: str) -> set[str]:
        with _reachable():
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
        with _reachable():
            totals = list(self._collection.aggregate([of_event, {"$group": everything}]))
            minutes = list(self._collection.aggregate([of_event, lately, {"$group": minute}]))
        total = totals[0] if totals else {"bookings": 0, "revenue_minor": 0}
        return Sales(
            bookings=total["bookings"],
            revenue_minor=total["revenue_minor"],
            minutes=tuple(MinuteOfSales(found["_id"], found["seats"]) for found in minutes),
        )

    def booked_ids(self, event_id: str) -> list[str]:
        with _reachable():
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
            {"seat_refund": _seat_refund_document(refund)},
        )

    def mark_seats_refunded(self, booking: Booking, refund: SeatRefund, at: datetime) -> None:
        self._update(
            {"_id": booking.id, "seat_refund": _seat_refund_document(refund), **BOOKED},
            {
                "seats": [seat for seat in booking.seats_left if seat not in refund.seats],
                "sold_seats": list(booking.seats),
                "refunded_seats": [*booking.refunded_seats, *refund.seats],
                "refunded_amount": booking.refunded_minor + refund.amount_minor,
                "seat_refund": _seat_refund_document(replace(refund, is_paid=True)),
                **({"news.refunded": at} if self._sends_mails else {}),
            },
        )

    def end_seat_refund(self, booking_id: str, refund: SeatRefund) -> None:
        with _reachable():
            self._collection.update_one(
                {"_id": booking_id, "seat_refund.seats": list(refund.seats)},
                {"$unset": {"seat_refund": ""}},
            )

    def unfinished_refunds(self) -> list[Booking]:
        under_way = [{"refund_under_way": True}, {"seat_refund.seats": {"$exists": True}}]
        with _reachable():
            found = self._bookings.filter(__raw__={"$or": under_way})
            return [_booking(document) for document in found]

    def announce(
        self, event_id: str, news: News, at: datetime, since: datetime | None = None
    ) -> None:
        if not self._sends_mails:
            return
        made = {"booked_at": {"$gte": since}} if since else {}
        with _reachable(), pymongo.timeout(INDEX_BUILD_TIMEOUT_S):
            self._collection.update_many(
                {"event": event_id, **BOOKED, **made}, {"$set": {f"news.{news}": at}}
            )

    def admit(
        self, booking_id: str, seats: Sequence[str], gate: str, key_digest: str
    ) -> Booking | None:
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
        return self._admit(
            {"_id": booking_id, **BOOKED, "refund_under_way": {"$ne": True}},
            {"$filter": {"input": _literally(list(seats)), "as": "seat", "cond": still_out}},
            {"at": "$$NOW", "gate": _literally(gate), "key": _literally(key_digest)},
        )

    def record_admission(
        self, booking_id: str, seats: Sequence[str], gate: str, key_digest: str, ms_ago: int
    ) -> Booking | None:
        then = {"$subtract": ["$$NOW", ms_ago]}
        refunded_before = {
            "$and": [{"$eq": ["$status", "refunded"]}, {"$lt": ["$refunded_at", then]}]
        }
        # Of a single seat's refund the time is not known.
        seat_refunded = {
            "$and": [{"$eq": ["$status", "booked"]}, {"$not": [{"$in": ["$$seat", "$seats"]}]}]
        }
        return self._admit(
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
        self, wanted: Mapping[str, Any], seats: Mapping[str, Any], admission: Mapping[str, Any]
    ) -> Booking | None:
        """``seats`` and the fields of ``admission`` are expressions."""
        not_yet = {"admissions.key": {"$ne": admission["key"]["$literal"]}}
        each = {"$map": {"input": seats, "as": "seat", "in": {"seat": "$$seat", **admission}}}
        admissions = {"$concatArrays": [{"$ifNull": ["$admissions", []]}, each]}
        with _reachable():
            self._collection.update_one(
                {**wanted, **not_yet}, [{"$set": {"admissions": admissions}}]
            )
        return self.find(wanted["_id"])

    def attendance(self, event_id: str) -> Attendance:
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
        with _reachable():
            seats = {found["_id"]: found["seats"] for found in self._collection.aggregate(sold)}
            counted = list(self._collection.aggregate(let_in))
        minutes: dict[datetime, dict[str, int]] = {}
        for found in counted:
            of_minute = minutes.setdefault(found["_id"]["minute"].astimezone(UTC), {})
            of_minute[found["_id"]["section"]] = found["seats"]
        return Attendance(seats, tuple(MinuteOfAdmissions(*minute) for minute in minutes.items()))

    # ------------------------------------------------------------ mails

    def now(self) -> datetime:
        with _reachable():
            local_time: datetime = self._client.admin.command("hello")["localTime"]
            return local_time.replace(tzinfo=UTC)

    def claim_mail(self, now: datetime, until: datetime) -> Booking | None:
        # Not greater also finds those that have no such time.
        due = {**HAS_NEWS, "mail_next_at": {"$not": {"$gt": now}}}
        with _reachable():
            claimed = (
                self._bookings.filter(__raw__=due)
                .order_by("mail_next_at")
                .modify(set__mail_next_at=until)
            )
            return _booking(claimed) if claimed else None

    def end_mail(self, booking: Booking, news: News, sent_at: datetime | None) -> None:
        self._end_mail(booking, news, {"mailed_at": sent_at} if sent_at else {}, "mail_given_up")

    def give_up_mail(self, booking: Booking, news: News, reason: str) -> None:
        self._end_mail(booking, news, {"mail_given_up": reason})

    def _end_mail(
        self, booking: Booking, news: News, changes: Mapping[str, object], *unset: str
    ) -> None:
        every_try = ("mail_next_at", "mail_failing_since", "mail_failures", "mail_unanswered")
        ended = {"$unset": dict.fromkeys((*every_try, *unset), "")}
        told = {"$unset": {**ended["$unset"], f"news.{news}": ""}}
        same_news = {f"news.{news}": booking.news[news]}
        with _reachable():
            # In one step: without its news or its claim alone another worker would send it again.
            for condition, change in ((same_news, told), ({}, ended)):
                changed = self._collection.update_one(
                    {"_id": booking.id, **condition},
                    {**change, **({"$set": changes} if changes else {})},
                )
                if changed.matched_count:
                    return

    def tell(self, booking_id: str, news: News, at: datetime) -> None:
        with _reachable():
            self._collection.update_one(
                {"_id": booking_id}, {"$set": {f"news.{news}": at}, "$unset": {"mail_next_at": ""}}
            )

    def retry_mail(self, booking: Booking, at: datetime, state: MailState) -> None:
        changes: dict[str, object] = {
            "mail_next_at": at,
            "mail_failing_since": state.failing_since,
            "mail_failures": state.failures,
            "mail_unanswered": state.unanswered,
        }
        self._update({"_id": booking.id}, changes)

    def with_news(self) -> Iterator[Booking]:
        with _reachable():
            for document in self._bookings.filter(__raw__=HAS_NEWS):
                yield _booking(document)

    def count_news(self) -> int:
        with _reachable():
            return self._collection.count_documents(HAS_NEWS, hint=MAIL_INDEX)

    def _update(self, wanted: dict[str, object], changes: dict[str, object]) -> None:
        with _reachable():
            self._collection.update_one(wanted, {"$set": changes})

    def event_ids(self) -> Sequence[str]:
        with _reachable():
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
        conditions: list[dict[str, Any]] = [] if event_id is None else [{"event": event_id}]
        conditions += _beyond("$lt", before) if before else []
        conditions += _beyond("$gt", after) if after else []
        conditions += [] if wanted.finds_all else [{"$or": _found_by(wanted)}]
        order = pymongo.ASCENDING if after else pymongo.DESCENDING
        with _reachable():
            # Not through MongoEngine, whose documents take most of the time of a page.
            found = [
                _row(document)
                for document in self._collection.find(
                    {"$and": conditions} if conditions else {},
                    ROW_FIELDS,
                    sort=[("booked_at", order), ("_id", order)],
                    limit=most,
                )
            ]
        return found[::-1] if after else found

    def list(self, event_id: str | None = None) -> Iterator[Booking]:
        wanted = {} if event_id is None else {"event": event_id}
        with _reachable():
            for document in self._bookings.filter(**wanted).order_by("booked_at"):
                yield _booking(document)


def _literally(value: object) -> dict[str, object]:
    """For an expression: a gate may be called "$seats"."""
    return {"$literal": value}


def _guards_seats(index: Mapping[str, Any]) -> bool:
    """Whether this index keeps a seat from being in two bookings."""
    covers = index.get("partialFilterExpression", BOOKED) == BOOKED
    return tuple(index["key"]) == SEAT_INDEX and bool(index.get("unique")) and covers


def _is_refusal(error: BaseException | None) -> bool:
    """Whether MongoDB responded that it will not do this, for example because of the password."""
    return isinstance(error, OperationFailure) and not error.timeout


def _cause_of(error: Exception) -> str:
    """In one line, without what pymongo adds: its view of all servers, or the documents, which
    contain buyers' names."""
    return re.split(r",? (?:Topology Description|full error): |\n", str(error))[0]


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except PyMongoError as error:
        log.warning("mongodb: %s", _cause_of(error))
        raise Unavailable(BOOKING_STORE) from error


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
        ways.append({"_id": {"$regex": f"^{re.escape(wanted.id_prefix)}"}})
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


def _document(booking: Booking) -> BookingDocument:
    sold_as = booking.sold_as
    names: dict[str, Any] = {}
    if sold_as:
        names = {
            "event_name": sold_as.event,
            "venue": sold_as.venue,
            "seat_names": list(sold_as.seats),
            "starts_at": sold_as.starts_at,
            "timezone": sold_as.timezone,
            "seat_prices": list(sold_as.prices_minor),
        }
    return BookingDocument(
        booking_id=booking.id,
        hold_id=booking.hold_id,
        event=booking.event_id,
        seats=list(booking.seats),
        amount=booking.amount_minor,
        currency=booking.currency,
        payment_id=booking.payment_id,
        booked_at=booking.booked_at,
        email=booking.email,
        name=booking.name,
        key_digest=booking.key_digest,
        fingerprint=booking.fingerprint,
        **names,
    )


def _seat_refund_document(refund: SeatRefund) -> dict[str, object]:
    """Compared with what is stored: the order of its fields matters to MongoDB."""
    return {"seats": list(refund.seats), "amount": refund.amount_minor, "is_paid": refund.is_paid}


def _booking(document: BookingDocument) -> Booking:
    seat_refund = document.seat_refund
    return Booking(
        id=document.booking_id,
        hold_id=document.hold_id,
        event_id=document.event,
        seats=tuple(document.sold_seats or document.seats),
        amount_minor=document.amount,
        currency=document.currency,
        payment_id=document.payment_id,
        booked_at=document.booked_at.astimezone(UTC),
        email=document.email,
        name=document.name,
        key_digest=document.key_digest,
        fingerprint=document.fingerprint,
        refunded_at=document.refunded_at and document.refunded_at.astimezone(UTC),
        sold_as=_sold_as(document),
        refunded_seats=tuple(document.refunded_seats or ()),
        refunded_minor=document.refunded_amount or 0,
        seat_refund=SeatRefund(
            tuple(seat_refund["seats"]), seat_refund["amount"], seat_refund["is_paid"]
        )
        if seat_refund
        else None,
        news={news: at.astimezone(UTC) for news, at in (document.news or {}).items()},
        refund_under_way=bool(document.refund_under_way),
        admissions=tuple(
            Admission(
                entry["seat"],
                entry["at"].astimezone(UTC),
                entry["gate"],
                entry["key"],
                entry.get("after_refund", False),
            )
            for entry in document.admissions
        ),
        mail=MailState(
            sent_at=document.mailed_at and document.mailed_at.astimezone(UTC),
            failing_since=document.mail_failing_since
            and document.mail_failing_since.astimezone(UTC),
            failures=document.mail_failures or 0,
            unanswered=document.mail_unanswered or 0,
            given_up=document.mail_given_up,
        ),
    )


def _sold_as(document: BookingDocument) -> SoldAs | None:
    if not document.event_name:
        return None
    return SoldAs(
        document.event_name,
        document.venue,
        tuple(document.seat_names),
        document.starts_at and document.starts_at.astimezone(UTC),
        document.timezone,
        tuple(document.seat_prices or ()),
    )
