"""A replica set of MongoDB on this machine, as `make run MONGODB=3` starts it."""

import pymongo
import pytest

from ops.mongodb_set import MongoReplicaSet

pytestmark = pytest.mark.stores


def test_a_set_that_is_started_again_has_its_data_on_other_ports_with_its_settings_of_now(tmp_path):
    with (
        MongoReplicaSet(tmp_path, tmp_path, election_timeout_ms=10_000) as first,
        pymongo.MongoClient(first.url) as client,
    ):
        client.tickets.bookings.insert_one({"_id": "bkg_1"})
    with (
        MongoReplicaSet(tmp_path, tmp_path, election_timeout_ms=1_000) as second,
        pymongo.MongoClient(second.url) as client,
    ):
        assert client.tickets.bookings.find_one() == {"_id": "bkg_1"}
        config = client.admin.command("replSetGetConfig")["config"]
    assert [member["host"] for member in config["members"]] == [
        member.member for member in second.members
    ]
    assert config["settings"]["electionTimeoutMillis"] == 1_000
