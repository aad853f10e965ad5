"""The audit finds every kind of inconsistency, each of which is created in one of the three
parties."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.factories import a_booking, put_on_sale, unique
from tests.support.redis_stores import audited, commands_of, seats_on, servers_at
from tests.support.shop import Shop, checks_of, problems, stores_of
from web.adapters.mongodb.mail_queue import MongoMailQueue
from web.adapters.redis.event_catalogue import CATALOGUE_KEY
from web.adapters.redis.scripts import read_scripts
from web.adapters.stripe.gateway import StripeGateway
from web.domain.journal import JournalBroken
from web.domain.refusals import PaymentPending, Unavailable
from web.ports.payment_gateway import NotExecuted, OutcomeUnknown
from web.use_cases.audit import audit


@pytest.fixture
def shop(event, seats, bookings, sandbox):
    return Shop(event, seats, bookings, StripeGateway("sk_test_auditing", sandbox.url))


def key(shop, kind: str) -> str:
    return f"{kind}:{{{shop.event.id}}}"


def test_a_sale_in_each_state_has_no_problems(shop):
    shop.pay()
    shop.hold_again("stalls-A-1", "stalls-A-2")
    shop.hold_again("free-F-1")
    shop.pay("key-2")
    assert problems(shop) == ""


def test_each_event_and_the_gateway_are_read_once(shop):
    audit(*stores_of(shop), shop.gateway)
    assert shop.audited_seats.calls.count("snapshot") == 1
    assert shop.gateway.calls.count("list") == 1


def test_a_payment_under_way_is_no_problem(shop):
    shop.gateway.fail("authorize", OutcomeUnknown("time-out"), after=True)
    shop.gateway.fail("find", OutcomeUnknown("time-out"))
    with pytest.raises(PaymentPending):
        shop.pay()
    shop.gateway.heal()
    assert problems(shop) == ""


def test_a_booking_without_money_is_found(shop):
    booking = a_booking(shop.event.id, "stalls-A-1", payment_id="pi_never")
    shop.bookings.insert(booking)
    assert (
        f"booking {booking.id} is GBP 25.00, and its payment pi_never does not exist"
        in problems(shop)
    )


def test_a_booking_of_another_amount_is_found(shop):
    receipt = shop.pay().receipt
    shop.bookings._target._collection.update_one(
        {"_id": receipt.booking_id}, {"$inc": {"amount": -1}}
    )
    found = problems(shop)
    assert f"booking {receipt.booking_id} is GBP 24.99, and its payment " in found
    assert "is GBP 25.00, captured" in found


def test_captured_money_without_a_booking_and_a_receipt_of_nothing_are_found(shop):
    receipt = shop.pay().receipt
    shop.bookings._target._collection.delete_one({"_id": receipt.booking_id})
    found = problems(shop)
    assert f"{receipt.payment_id} is captured for no booking" in found
    assert (
        f"a receipt was given for booking {receipt.booking_id} of stalls-B-1, "
        "and there is no such booking"
    ) in found
    assert "stalls-B-1 is sold, and should be free" in found


def test_money_that_stays_reserved_is_found(shop):
    shop.gateway.fail("authorize", KeyboardInterrupt(), after=True)
    with pytest.raises(KeyboardInterrupt):
        shop.pay()
    shop.gateway.heal()
    shop.redis.delete(key(shop, "payments"))
    found = problems(shop)
    assert "is reserved, and no payment is under way" in found
    assert "is paying and nobody waits for its end" in found


@pytest.mark.parametrize(
    ("position", "state", "says"),
    [
        (0, "s", "stalls-A-1 is sold, and should be free"),
        (0, "h", "stalls-A-1 is held, and should be free"),
        (8, "0", "stalls-B-1 is free, and should be held"),
        (8, "p", "stalls-B-1 is paying, and should be held"),
        (8, "x", "stalls-B-1 is 'x', and should be held"),
    ],
)
def test_a_seat_without_a_reason_is_found_and_the_journal_knows_better(shop, position, state, says):
    shop.redis.setrange(key(shop, "seats"), position, state)
    found = problems(shop)
    assert says in found
    assert f"different at positions [{position}]" in found


def test_a_change_that_the_journal_does_not_know_is_found(shop):
    shop.redis.hincrby(key(shop, "event"), "revision", 1)
    assert "the journal ends at revision" in problems(shop)


def test_a_change_of_a_kind_that_a_newer_version_has_is_named(shop):
    revision = shop.redis.hincrby(key(shop, "event"), "revision", 1)
    entry = {"change": "swapped", "hold": shop.hold.id, "seats": "8"}
    shop.redis.xadd(key(shop, "journal"), entry, f"{revision}-0")
    assert f"revision {revision} is 'swapped', which this version does not know" in problems(shop)


def test_a_journal_with_a_gap_is_found(shop):
    shop.pay()
    entries = shop.redis.xrange(key(shop, "journal"))
    shop.redis.xdel(key(shop, "journal"), entries[-2][0])
    assert f"{shop.event.id}: the journal is broken: revision" in problems(shop)


@pytest.fixture
def long_sale(private_redis_url, event):
    """With maps in the journal sooner than in a real one, and a front that is cut off sooner."""
    scripts = {
        name: replace(
            script,
            source=script.source.replace(
                "CHANGES_TO_A_MAP = 50000", "CHANGES_TO_A_MAP = 100"
            ).replace("JOURNAL_LENGTH = 200000", "JOURNAL_LENGTH = 300"),
        )
        for name, script in read_scripts().items()
    }
    seats = seats_on(servers_at(private_redis_url), scripts=scripts)
    put_on_sale(seats, event)
    seats.hold_seats(event, unique("hold"), "ada", [5, 6])
    for _ in range(500):
        hold = seats.hold_best(event, unique("hold"), "bob", event.sections[0], 2)
        seats.release_hold(event.id, hold.id)
    return seats


def test_a_journal_whose_front_was_cut_off_still_leads_to_the_map(long_sale, event):
    assert "opened" not in [change.change for change in long_sale.newest_changes(event, 10_000)]
    seat_map = long_sale.read_seats(event.id)
    assert audited(long_sale).replay_journal(event.id, seat_map.revision) == seat_map


def test_a_map_in_the_journal_that_its_changes_do_not_lead_to_is_found(long_sale, event):
    journal, client = f"journal:{{{event.id}}}", commands_of(long_sale, event.id)
    (last,) = [e for e in client.xrevrange(journal, count=150) if e[1]["change"] == "map"][:1]
    entries = client.xrange(journal)
    client.delete(journal)
    for entry_id, entry in entries:
        if entry_id == last[0]:
            entry["map"] = "s" + entry["map"][1:]
        client.xadd(journal, entry, id=entry_id)
    with pytest.raises(JournalBroken, match="do not lead to its map"):
        audited(long_sale).replay_journal(event.id, long_sale.revision(event.id))


def test_a_miscounted_client_is_found(shop):
    client = shop.redis.hkeys(key(shop, "clients"))[0]
    shop.redis.hincrby(key(shop, "clients"), client, 1)
    assert f"{client} holds 1, counted as 2" in problems(shop)


def test_a_miscounted_network_is_found(shop):
    shop.seats.hold_seats(shop.event, "hld_of_a_network", "ada", [0, 1], "home")
    assert problems(shop) == ""
    shop.redis.hincrby(key(shop, "clients"), "home", -1)
    assert "home holds 2, counted as 1" in problems(shop)


def test_a_network_that_nobody_holds_for_is_found(shop):
    shop.redis.hset(key(shop, "clients"), "home", 3)
    assert "home holds 0, counted as 3" in problems(shop)


def test_a_hold_that_nobody_ends_is_found(shop):
    shop.redis.zadd(key(shop, "due"), {shop.hold.id: 1})
    assert "ms over its time" in problems(shop)


def test_a_hold_that_is_in_no_list_is_found(shop):
    shop.redis.zrem(key(shop, "due"), shop.hold.id)
    assert f"{shop.hold.id} is held and nobody waits for its end" in problems(shop)


def test_a_payment_may_be_older_than_the_window_that_its_booking_is_in(shop):
    """Their moments are of two clocks."""
    booking_id = shop.pay().receipt.booking_id
    ahead = {"$set": {"booked_at": datetime.now(UTC) + timedelta(minutes=30)}}
    shop.bookings._target._collection.update_one({"_id": booking_id}, ahead)
    time.sleep(2.1)  # the gateway's clock has seconds
    checks = audit(*stores_of(shop), shop.gateway, window=timedelta(seconds=1))
    (money,) = [check for check in checks if check.rule.startswith("captured payments")]
    assert money.looked_at
    assert not [problem for problem in money.problems if booking_id in problem]


def test_two_holds_of_one_seat_are_found(shop):
    stored = shop.redis.hget(key(shop, "holds"), shop.hold.id)
    shop.redis.hset(key(shop, "holds"), "hld_twin", stored)
    assert "stalls-B-1 of" in problems(shop)
    assert "is somebody else's too" in problems(shop)


def test_a_part_that_cannot_be_read_is_told_as_such_and_not_a_crash(shop):
    shop.audited_seats.fail("snapshot", Unavailable("seat store"))
    checks = audit(*stores_of(shop), DownGateway())
    told = [check.not_looked_at for check in checks]
    assert told.count("the gateway is down") >= 1
    lost = f"{shop.event.id}: Redis does not have it, or has lost a part of it"
    assert told.count(lost) >= 4
    assert not any(check.problems for check in checks)
    assert len([finding for check in checks for finding in check.findings]) >= 5


def test_an_event_that_cannot_be_read_is_named_and_the_others_are_checked(shop):
    shop.redis.setrange(key(shop, "seats"), 0, "s")
    catalogue, *others = stores_of(shop)
    catalogue.event_ids = lambda: ["announced", shop.event.id]
    shop.catalogue.add(["announced"])
    checks = audit(catalogue, *others, shop.gateway)
    shop.redis.srem(CATALOGUE_KEY, "announced")
    unseen = [check.not_looked_at for check in checks if check.not_looked_at]
    assert unseen == ["announced: Redis does not have it, or has lost a part of it"] * 7
    assert {
        "every seat is in the state that its hold or booking says",
        "the journal leads to the seat map",
    } <= {check.rule for check in checks if check.problems}


def test_without_the_list_of_events_those_with_bookings_are_looked_at(shop):
    shop.pay()
    _, audited_seats, bookings = stores_of(shop)
    shop.catalogue.fail("event_ids", Unavailable("seat store"))
    checks = audit(shop.catalogue, audited_seats, bookings, shop.gateway)
    (journal,) = [check for check in checks if check.rule == "the journal leads to the seat map"]
    assert journal.looked_at == 1
    assert journal.not_looked_at == (
        "events without bookings, because of their list: the seat store (Redis) cannot be reached"
    )
    (receipts,) = [check for check in checks if check.rule == "every receipt is in MongoDB"]
    assert receipts.looked_at == 1


def test_without_receipts_mongodb_is_asked_all_the_same(shop):
    shop.bookings.fail("ping", Unavailable("booking store"))
    checks = audit(*stores_of(shop), shop.gateway)
    (receipts,) = [check for check in checks if check.rule == "every receipt is in MongoDB"]
    assert receipts.not_looked_at == "the booking store (MongoDB) cannot be reached"


class DownGateway:
    def now(self):
        raise NotExecuted("the gateway is down")

    list = now


def test_a_seat_that_was_let_in_twice_or_after_its_refund_is_found(shop):
    receipt = shop.pay().receipt
    booking = shop.bookings.find(receipt.booking_id)
    for gate, ago_ms in (("North", 60_000), ("South", 30_000)):
        shop.bookings.record_admission(booking.id, booking.seats, gate, gate, ago_ms)
    found = problems(shop)
    assert f"{shop.event.id}: stalls-B-1 was let in more than once: at " in found
    assert "gate North; at " in found
    refunded = a_booking(shop.event.id, "stalls-A-1")
    shop.bookings.insert(refunded)
    shop.bookings.mark_refunded(refunded.id, datetime.now(UTC) - timedelta(minutes=5))
    shop.bookings.record_admission(refunded.id, ["stalls-A-1"], "West", "w", 0)
    assert f"stalls-A-1 of {refunded.id} was let in at " in problems(shop)
    assert "gate West, after its refund" in problems(shop)


def test_a_seat_that_was_let_in_and_refunded_afterwards_is_no_problem(shop):
    receipt = shop.pay().receipt
    shop.bookings.admit(receipt.booking_id, receipt.seats, "North", "scan")
    assert "let in" not in problems(shop)
    shop.bookings.mark_refunded(receipt.booking_id, datetime.now(UTC) + timedelta(minutes=1))
    assert "let in" not in problems(shop)


def test_a_mail_that_is_due_for_long_is_found(shop, monkeypatch):
    monkeypatch.setattr(shop.bookings._target, "_sends_mails", True)
    receipt = shop.pay().receipt
    assert problems(shop) == ""
    long_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    shop.bookings.announce(receipt.event, "ticket", long_ago)
    assert f"{receipt.booking_id}: the mail about it (ticket) is due since" in problems(shop)
    booking = shop.bookings.find(receipt.booking_id)
    queue = MongoMailQueue(shop.bookings._target._collection)
    queue.give_up_mail(booking, "ticket", "550 5.1.1")
    checks = {check.rule: check for check in checks_of(shop)}
    assert "1 mail was given up" in checks["buyers get their mails in time"].note
    assert problems(shop) == ""
