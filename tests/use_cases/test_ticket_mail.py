"""Mails to buyers, from bookings in a real MongoDB to a real SMTP server."""

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest

from sidecar.server_urls import smtp_server
from tests.support.booking_stores import bookings_at
from tests.support.factories import a_booking, unique
from tests.support.mailbox import Hanging, Mailbox
from web.adapters.mongodb.booking_store import MongoBookingStore
from web.adapters.mongodb.mail_queue import MongoMailQueue
from web.adapters.smtp import SmtpMailer
from web.use_cases import ticket_mail
from web.use_cases.ticket_mail import TicketMail

DATABASE = "ticket_mail"


@pytest.fixture(scope="module")
def store(mongo_server, mongo_client) -> MongoBookingStore:
    mongo_client.drop_database(DATABASE)
    url = mongo_server.url.replace("/tickets", f"/{DATABASE}")
    store = bookings_at(url, sends_mails=True)
    store.create_indexes()
    return store


@pytest.fixture(scope="module")
def queue(store) -> MongoMailQueue:
    return MongoMailQueue(store._collection)


@pytest.fixture(autouse=True)
def _empty(mongo_client):
    mongo_client[DATABASE]["bookings"].delete_many({})


@pytest.fixture
def mailbox():
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def outcomes() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def mail(queue, mailbox, outcomes):
    return sender(queue, mailbox.url, outcomes)


def sender(queue, url, outcomes=None) -> TicketMail:
    def count(news, outcome):
        if outcomes is not None:
            outcomes.append((news, outcome))

    mailer = SmtpMailer(smtp_server("SMTP_URL", url), "tickets.example.org")
    return TicketMail(queue, mailer, compose, count)


def compose(booking, news) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Tickets <tickets@example.org>"
    message["To"] = booking.email
    message["Subject"] = news
    message["X-Booking"] = booking.id
    message.set_content("A ticket.\n.\n..\n")
    return message


def booked(store, email=None):
    email = email or f"{unique('buyer')}@example.org"
    return store.insert(replace(a_booking(unique("event"), "stalls-A-1"), email=email))


def make_all_due(mongo_client):
    """As if the waits were over."""
    mongo_client[DATABASE]["bookings"].update_many({}, {"$unset": {"mail_next_at": ""}})


def test_a_buyer_gets_one_mail_and_the_booking_says_when(store, mail, mailbox, outcomes):
    booking = booked(store)
    mail.send_due()
    mail.send_due()
    assert mailbox.recipients == [booking.email]
    stored = store.find(booking.id)
    assert stored.news == {}
    assert abs(stored.mail.sent_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert outcomes == [("ticket", "sent")]


def test_dots_and_lines_arrive_as_they_were_sent(store, mail, mailbox):
    booked(store)
    mail.send_due()
    assert mailbox.mails[0].get_content().replace("\r\n", "\n") == "A ticket.\n.\n..\n"


def test_mails_share_connections(store, mail, mailbox):
    for _ in range(5):
        booked(store)
    before = mailbox.connections
    mail.send_due()
    assert (len(mailbox.mails), mailbox.connections - before) == (5, 1)


def test_bookings_from_before_mails_were_sent_get_none(store, mail, mailbox, mongo_server):
    url = mongo_server.url.replace("/tickets", f"/{DATABASE}")
    before = bookings_at(url).insert(a_booking(unique("event"), "stalls-A-1"))
    booking = booked(store)
    mail.send_due()
    assert mailbox.recipients == [booking.email]
    assert store.find(before.id).mail.sent_at is None


def test_a_refund_is_told_and_takes_the_place_of_a_ticket_not_sent_yet(store, mail, mailbox):
    sent_before, sent_late = booked(store), booked(store)
    store.find(sent_late.id)
    store.mark_refunded(sent_late.id, datetime.now(UTC))
    mail.send_due()
    assert sorted(m["Subject"] for m in mailbox.mails) == ["refunded", "ticket"]
    store.mark_refunded(sent_before.id, datetime.now(UTC))
    mail.send_due()
    assert mailbox.mails[-1]["Subject"] == "refunded"
    assert mailbox.recipients[-1] == sent_before.email


def test_news_that_come_while_a_mail_is_sent_are_told_too(store, queue, mailbox, outcomes):
    first, later = datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 2, tzinfo=UTC)
    booking = booked(store)
    sender(queue, mailbox.url).send_due()
    store.announce(booking.event_id, "postponed", first)

    def compose_slowly(booking, news):
        if booking.news[news] == first:
            store.announce(booking.event_id, "postponed", later)
        return compose(booking, news)

    mailer = SmtpMailer(smtp_server("SMTP_URL", mailbox.url), "tickets.example.org")
    TicketMail(queue, mailer, compose_slowly).send_due()
    assert [m["Subject"] for m in mailbox.mails] == ["ticket", "postponed", "postponed"]
    assert store.find(booking.id).news == {}


def test_a_ticket_is_sent_again_once_for_each_wish(store, queue, mail, mailbox):
    booking, now = booked(store), datetime.now(UTC)
    assert not queue.send_ticket_again(booking.id, now, None), "it is due already"
    mail.send_due()
    first_sent_at = store.find(booking.id).mail.sent_at
    assert not queue.send_ticket_again(booking.id, now, None), "it was sent meanwhile"
    assert queue.send_ticket_again(booking.id, now, first_sent_at)
    assert not queue.send_ticket_again(booking.id, now, first_sent_at)
    mail.send_due()
    assert not queue.send_ticket_again(booking.id, now, first_sent_at)
    assert mailbox.recipients == [booking.email] * 2
    assert not queue.send_ticket_again("bkg_nobody", now, None)


def test_a_ticket_that_was_given_up_can_be_sent_again(store, queue, mail, mailbox):
    booking = booked(store)
    queue.give_up_mail(store.find(booking.id), "ticket", "550 no such user")
    assert queue.send_ticket_again(booking.id, datetime.now(UTC), None)
    assert store.find(booking.id).mail.given_up is None
    mail.send_due()
    assert mailbox.recipients == [booking.email]


def test_several_workers_share_the_mails_and_send_none_twice(store, queue, mailbox):
    bookings = [booked(store) for _ in range(40)]
    workers = [
        threading.Thread(target=sender(queue, mailbox.url).send_due, daemon=True) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(mailbox.recipients) == sorted(booking.email for booking in bookings)


def test_what_a_killed_worker_had_claimed_is_sent_when_its_claim_is_over(
    store, queue, mail, mailbox, monkeypatch
):
    booking, now = booked(store), queue.now()
    assert queue.claim_mail(now, now + ticket_mail.CLAIM).id == booking.id
    mail.send_due()
    assert mailbox.mails == []
    monkeypatch.setattr(queue, "now", lambda: now + ticket_mail.CLAIM + timedelta(seconds=1))
    mail.send_due()
    assert mailbox.recipients == [booking.email]


def test_an_address_that_is_refused_for_good_is_given_up_and_holds_up_nobody(
    store, mail, mailbox, outcomes, mongo_client, caplog
):
    nobody, somebody = booked(store, "nobody@example.org"), booked(store)
    mailbox.rcpt = {"nobody@example.org": "550 5.1.1 <nobody@example.org> unknown"}
    mail.send_due()
    assert mailbox.recipients == [somebody.email]
    make_all_due(mongo_client)
    another = booked(store)
    mail.send_due()
    make_all_due(mongo_client)
    mail.send_due()
    assert mailbox.recipients == [somebody.email, another.email]
    stored = store.find(nobody.id)
    assert (stored.mail.given_up, stored.news) == ("550 5.1.1", {})
    assert ("ticket", "given_up") in outcomes
    assert nobody.id in caplog.text and "nobody@example.org" not in caplog.text


def test_a_server_that_refuses_everybody_for_good_loses_no_mail(store, mail, mailbox, mongo_client):
    bookings = [booked(store) for _ in range(3)]
    mailbox.rcpt = "550 relay access denied"
    for _ in range(4):
        mail.send_due()
        make_all_due(mongo_client)
    mailbox.rcpt = {}
    mail.send_due()
    assert sorted(mailbox.recipients) == sorted(booking.email for booking in bookings)


def test_an_address_that_is_refused_for_days_is_given_up(
    store, queue, mail, mailbox, mongo_client, monkeypatch
):
    booking, now = booked(store), queue.now()
    mailbox.rcpt = "450 try again"
    mail.send_due()
    monkeypatch.setattr(queue, "now", lambda: now + timedelta(days=5, minutes=1))
    mail.send_due()
    assert store.find(booking.id).mail.given_up == "450"


@pytest.mark.parametrize("answer", ["450 4.2.0 greylisted", "451 local error"])
def test_what_is_refused_for_now_is_tried_again_ever_more_rarely(
    store, queue, mail, mailbox, mongo_client, answer
):
    booking = booked(store)
    mailbox.rcpt = answer
    waits = []
    for _ in range(3):
        mail.send_due()
        document = mongo_client[DATABASE]["bookings"].find_one({"_id": booking.id})
        waits.append(document["mail_next_at"].replace(tzinfo=UTC) - queue.now())
        make_all_due(mongo_client)
    assert timedelta(0) < waits[0] < waits[1] < waits[2]
    mailbox.rcpt = {}
    mail.send_due()
    stored = store.find(booking.id).mail
    assert mailbox.recipients == [booking.email]
    assert (stored.failures, stored.failing_since, stored.given_up) == (0, None, None)


@pytest.mark.parametrize(
    ("part", "answer"),
    [("data", "451 not now"), ("data", "554 looks like spam"), ("sender", "550 not you")],
)
def test_what_is_refused_at_another_step_is_sent_later(
    store, mail, mailbox, mongo_client, part, answer
):
    booking = booked(store)
    setattr(mailbox, part, answer)
    mail.send_due()
    assert mailbox.recipients == []
    setattr(mailbox, part, "")
    make_all_due(mongo_client)
    mail.send_due()
    assert mailbox.recipients == [booking.email]


def test_a_server_that_is_dead_is_asked_ever_more_rarely_and_loses_nothing(
    store, mail, mailbox, mongo_client
):
    bookings = [booked(store) for _ in range(3)]
    mailbox.stop()
    pauses = []
    for _ in range(8):
        pauses.append(mail.send_due())
        make_all_due(mongo_client)
    assert pauses[:3] == [1, 2, 4] and pauses[-1] == ticket_mail.MAX_PAUSE_S
    mailbox.start_again()
    make_all_due(mongo_client)
    assert mail.send_due() == ticket_mail.IDLE_S
    assert sorted(mailbox.recipients) == sorted(booking.email for booking in bookings)


@pytest.mark.parametrize("greeting", [b"", b"220 hello\r\n", b"nonsense\r\n"])
def test_a_server_that_hangs_is_left_after_its_time_out(store, queue, greeting):
    booked(store)
    with Hanging(greeting) as server:
        assert sender(queue, server.url).send_due() == ticket_mail.MIN_PAUSE_S


def test_a_server_that_takes_a_mail_and_does_not_answer_gets_it_twice_at_most(
    store, mail, mailbox, mongo_client, outcomes
):
    booking = booked(store)
    mailbox.hangs_after_data = True
    for _ in range(4):
        mail.send_due()
        make_all_due(mongo_client)
    assert mailbox.recipients == [booking.email, booking.email]
    assert outcomes == [("ticket", "unanswered"), ("ticket", "given_up")]


def test_a_mail_that_cannot_be_made_holds_up_no_other(store, queue, mailbox, outcomes):
    broken, whole = booked(store), booked(store)

    def compose_one(booking, news):
        if booking.id == broken.id:
            raise ValueError("a header with a line break")
        return compose(booking, news)

    mailer = SmtpMailer(smtp_server("SMTP_URL", mailbox.url), "tickets.example.org")
    TicketMail(queue, mailer, compose_one).send_due()
    assert mailbox.recipients == [whole.email]


def test_what_is_due_is_found_by_an_index_also_among_many_bookings(store, queue, mongo_client):
    booked(store)
    many = [
        {"_id": f"old-{number}", "event": "old", "seats": [str(number)], "status": "booked"}
        for number in range(5_000)
    ]
    collection = mongo_client[DATABASE]["bookings"]
    collection.insert_many(many)
    now = datetime.now(UTC)
    plan = (
        collection.find({"news": {"$gt": {}}, "mail_next_at": {"$not": {"$gt": now}}})
        .sort("mail_next_at", 1)
        .explain()
    )
    assert plan["executionStats"]["totalDocsExamined"] == 1
    assert "COLLSCAN" not in str(plan["queryPlanner"]["winningPlan"])
    assert queue.count_news() == 1


@pytest.mark.parametrize(("pauses", "counted"), [(0, 3), (1_000, 1)])
def test_mails_that_wait_are_counted_more_rarely_the_longer_it_takes(
    queue, mail, monkeypatch, pauses, counted
):
    monkeypatch.setattr(ticket_mail, "COUNT_EVERY_S", 0)
    monkeypatch.setattr(ticket_mail, "COUNT_PAUSES", pauses)
    counts = []

    def count_news() -> int:
        counts.append(time.sleep(0.01))
        return 0

    monkeypatch.setattr(queue, "count_news", count_news)
    for _ in range(3):
        mail.send_due()
    assert len(counts) == counted
