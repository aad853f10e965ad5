"""What a booking is in MongoDB: one document, inserted once."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import mongoengine
from mongoengine import (
    BooleanField,
    DateTimeField,
    DictField,
    IntField,
    ListField,
    StringField,
)
from mongoengine.queryset import QuerySet

from web.adapters.mongodb.client import BookingCollection
from web.domain.admissions import Admission
from web.domain.sales import Booking, MailState, News, SeatRefund, SoldAs


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


def documents_in(collection: BookingCollection) -> QuerySet:
    return QuerySet(BookingDocument, collection)


def document_of(booking: Booking, news: Mapping[News, datetime] | None = None) -> dict[str, Any]:
    """A new booking as BookingDocument stores it, in the order of its fields. ``news`` is what the
    buyer has to be told. Made by hand, because BookingDocument takes longer than the insert."""
    sold_as = booking.sold_as
    fields = {
        "_id": booking.id,
        "hold_id": booking.hold_id,
        "event": booking.event_id,
        "seats": list(booking.seats),
        "amount": booking.amount_minor,
        "currency": booking.currency,
        "payment_id": booking.payment_id,
        "booked_at": booking.booked_at,
        "email": booking.email,
        "name": booking.name,
        "key_digest": booking.key_digest,
        "fingerprint": booking.fingerprint,
        "status": "booked",
        "event_name": sold_as and sold_as.event,
        "venue": sold_as and sold_as.venue,
        "seat_names": list(sold_as.seats) if sold_as else [],
        "admissions": [],
        "starts_at": sold_as and sold_as.starts_at,
        "timezone": sold_as and sold_as.timezone,
        "seat_prices": list(sold_as.prices_minor) if sold_as else [],
        "news": news,
    }
    return {name: value for name, value in fields.items() if value is not None}


def seat_refund_document(refund: SeatRefund) -> dict[str, object]:
    """Compared with what is stored: the order of its fields matters to MongoDB."""
    return {"seats": list(refund.seats), "amount": refund.amount_minor, "is_paid": refund.is_paid}


def booking_in(document: BookingDocument) -> Booking:
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
