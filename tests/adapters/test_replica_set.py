"""What a booking store believes, on a replica set of three members: only what a majority has."""

import contextlib
from collections.abc import Iterator

import pymongo
import pytest
from pymongo import MongoClient

from ops.mongodb_set import MongoReplicaSet
from tests.support.booking_stores import bookings_at
from tests.support.factories import a_booking, unique
from tests.support.waiting import eventually
from web.adapters.mongodb.booking_store import (
    INDEX_SEEN_FOR_S,
    INDEX_TRUSTED_FOR_S,
    MongoBookingStore,
)
from web.adapters.mongodb.client import COLLECTION
from web.domain.refusals import Unavailable
from web.ports.booking_store import Sales

pytestmark = pytest.mark.stores

WEAK = "w=1&journal=false&readConcernLevel=local&readPreference=secondaryPreferred"
"""Options of a URI that would let a receipt be given for a booking that an election takes back."""


@pytest.fixture(scope="module")
def replica_set(tmp_path_factory) -> Iterator[MongoReplicaSet]:
    folder = tmp_path_factory.mktemp("replica-set")
    # A primary that stands alone stays primary for so long.
    options = ("--setParameter", "enableTestCommands=1")
    with MongoReplicaSet(
        folder / "data", folder, election_timeout_ms=10_000, options=options
    ) as running:
        yield running


@pytest.fixture
def store(replica_set) -> MongoBookingStore:
    store = bookings_at(f"{replica_set.url}&{WEAK}")
    store.create_indexes()
    return store


@contextlib.contextmanager
def hung(members) -> Iterator[None]:
    for member in members:
        member.hang()
    try:
        yield
    finally:
        for member in members:
            member.resume()


def test_a_booking_that_no_majority_has_is_not_seen_whatever_the_uri_says(replica_set, store):
    event_id = unique("event")
    known = store.insert(a_booking(event_id, "stalls-A-1", payment_id="pi_known"))
    with MongoClient(replica_set.url, w=1) as client:
        bookings = client.get_default_database()[COLLECTION]
        document = bookings.find_one({"_id": known.id})
        alone = document | {
            "_id": unique("bkg"),
            "seats": ["stalls-A-2"],
            "currency": "EUR",
            "refund_under_way": True,
        }
        refunded = alone | {"_id": unique("bkg"), "seats": ["stalls-A-3"], "status": "refunded"}
        with hung(replica_set.secondaries()):
            bookings.insert_many([alone, refunded])
            assert bookings.find_one({"_id": alone["_id"]})
            assert store.find(alone["_id"]) is None
            assert store.find_all([alone["_id"]]) == {}
            assert store.ids_like(alone["_id"]) == []
            assert store.holding(event_id, ["stalls-A-2"]) == []
            assert store.refunded(event_id, ["stalls-A-3"]) == []
            assert store.sold_seats(event_id) == ["stalls-A-1"]
            assert store.currencies(event_id) == {"GBP"}
            assert store.unfinished_refunds() == []
            assert list(store.list(event_id)) == [known]
            sales = store.sales(event_id, since=known.booked_at)
            assert isinstance(sales, Sales)
            assert sales.bookings == 1


def test_while_mongodb_does_not_answer_an_index_that_was_seen_a_moment_ago_is_good_enough(
    replica_set, store
):
    store.require_index()
    with hung(replica_set.members), pymongo.timeout(0.5):
        store._index_seen_s -= INDEX_SEEN_FOR_S
        store.require_index()
        store._index_seen_s -= INDEX_TRUSTED_FOR_S
        with pytest.raises(Unavailable):
            store.require_index()


def test_members_that_all_hang_are_out_of_reach_within_seconds(replica_set, store):
    store.require_reachable()
    with hung(replica_set.members):
        eventually(lambda: not is_reachable(store), "members out of reach", 10)
    eventually(lambda: is_reachable(store), "members within reach")


def is_reachable(store) -> bool:
    try:
        store.require_reachable()
    except Unavailable:
        return False
    return True


def test_calls_are_repeated_after_a_lost_connection_whatever_the_uri_says(replica_set):
    store = bookings_at(f"{replica_set.url}&retryWrites=false&retryReads=false")
    store.create_indexes()
    booking = a_booking(unique("event"), "stalls-A-1")
    lost = {"failCommands": ["insert", "find"], "closeConnection": True}
    with replica_set.primary().client() as client:
        for call in (lambda: store.insert(booking), lambda: store.find(booking.id)):
            client.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=lost)
            assert call() == booking
