"""A booking is stored as MongoEngine's document class would store it."""

import string
from datetime import UTC, datetime, timedelta

import bson
from hypothesis import given
from hypothesis import strategies as st

from web.adapters.mongodb.documents import BookingDocument, booking_in, document_of
from web.domain.sales import Booking, SoldAs

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WORDS = st.text(min_size=1, max_size=20)
IDS = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=40)
MOMENTS = st.integers(0, 2**42).map(lambda ms: EPOCH + timedelta(milliseconds=ms))
AMOUNTS = st.integers(0, 2**53)
NAMES = st.builds(
    SoldAs,
    event=WORDS,
    venue=st.text(max_size=20),
    seats=st.lists(WORDS, max_size=4).map(tuple),
    starts_at=st.none() | MOMENTS,
    timezone=st.none() | IDS,
    prices_minor=st.lists(AMOUNTS, max_size=4).map(tuple),
)
BOOKINGS = st.builds(
    Booking,
    id=IDS,
    hold_id=IDS,
    event_id=IDS,
    seats=st.lists(IDS, min_size=1, max_size=4, unique=True).map(tuple),
    amount_minor=AMOUNTS,
    currency=st.sampled_from(["GBP", "EUR", "JPY"]),
    payment_id=st.none() | IDS,
    booked_at=MOMENTS,
    email=WORDS,
    name=WORDS,
    key_digest=IDS,
    fingerprint=IDS,
    sold_as=st.none() | NAMES,
)


@given(BOOKINGS, st.booleans())
def test_its_document_is_the_one_of_the_document_class(booking, has_news):
    news = {"ticket": booking.booked_at} if has_news else None
    document = stored_by_mongoengine(booking, news)
    document.validate()
    assert list(document_of(booking, news).items()) == list(document.to_mongo().items())


@given(BOOKINGS)
def test_it_is_read_back_as_it_was(booking):
    stored = bson.decode(bson.encode(document_of(booking)))
    assert booking_in(BookingDocument._from_son(stored)) == booking


def stored_by_mongoengine(booking, news) -> BookingDocument:
    sold_as = booking.sold_as
    names = sold_as and {
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
        news=news,
        **(names or {}),
    )
