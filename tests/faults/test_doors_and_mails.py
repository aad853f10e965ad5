"""What fails at the doors and with mails, on a complete TicketS: gates whose answers are lost, a
mail server that is dead, hangs or dies, and a worker that is killed while it sends."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import pytest
import requests

from ops.servers import HOST, MongoDB
from tests.faults.breakable_site import BreakableSite, breakable_site
from tests.support.booking_stores import bookings_at
from tests.support.http_client import Client
from tests.support.mailbox import Hanging, Mailbox
from tests.support.relay import LosingRelay, running
from tests.support.waiting import eventually
from web.signing.ticket_codes import TicketCodes

TOKEN = "a-token-of-the-gates"
ADMISSION = b"admissions.key"
"""In the update of MongoDB that lets somebody in."""

UNANSWERED = {0, 502, 503, 504}

numbers = count(1)

pytestmark = pytest.mark.timeout(200)


@dataclass(frozen=True)
class Place:
    """``mongodb`` and ``entrance`` lead to MongoDB and nginx, and lose answers on request."""

    site: BreakableSite
    mailbox: Mailbox
    mongodb: LosingRelay
    entrance: LosingRelay

    def sell(self) -> dict:
        """A booking of two seats, as MongoDB has it."""
        client = self.site.client()
        held = client.hold_best("free", 2).json()
        email = f"buyer-{next(numbers)}@example.org"
        paid = client.pay(held, email=email)
        assert paid.status_code == 201, paid.text
        return self.booking(paid.json()["booking_id"])

    def booking(self, booking_id: str) -> dict:
        return self.site.collection.find_one({"_id": booking_id})

    def make_due(self) -> None:
        """All mails that wait for another try."""
        self.site.collection.update_many({}, {"$unset": {"mail_next_at": ""}})

    def mails_to(self, booking: dict) -> list[str]:
        """The ids of what this buyer got."""
        return [
            mail["Message-ID"]
            for mail, recipient in zip(self.mailbox.mails, self.mailbox.recipients, strict=True)
            if recipient == booking["email"]
        ]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("doors")
    mongo = MongoDB(folder / "mongo", folder / "mongod.log")
    with Mailbox() as mailbox, running(LosingRelay(mongo.port)) as to_mongodb:
        settings = {
            "MONGODB_URI": f"mongodb://{HOST}:{to_mongodb.port}/tickets?directConnection=true",
            "DOOR_TOKEN": TOKEN,
            "SMTP_URL": mailbox.url,
            "MAIL_FROM": "tickets@example.org",
            "PUBLIC_URL": "https://tickets.example.org",
        }
        with breakable_site(folder, mongo, 3, **settings) as site:
            nginx_port = int(site.stack["nginx"].url.rpartition(":")[2])
            with running(LosingRelay(nginx_port)) as entrance:
                yield Place(site, mailbox, to_mongodb, entrance)


# ---------------------------------------------------------------- the door's answer is lost


class Gate:
    def __init__(self, place: Place):
        event_id = place.site.client().event_id
        self._client = Client(f"http://{HOST}:{place.entrance.port}", event_id)

    def scan(self, code: str, key: str) -> tuple[int, dict]:
        """The status and the body; 0 when there was no answer."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": key}
        body = {"code": code, "gate": "North"}
        try:
            answer = self._client.call("POST", "admissions", json=body, headers=headers, timeout=30)
        except requests.RequestException:
            return 0, {}
        is_json = "json" in answer.headers["Content-Type"]
        return answer.status_code, answer.json() if is_json else {}


def mongodb_is_cut_off(place: Place) -> None:
    """However often the driver sends it again."""
    place.mongodb.lose(ADMISSION, times=1000)


def web_workers_are_killed(place: Place) -> None:
    def kill() -> None:
        for pid in place.site.web_workers():
            os.kill(pid, signal.SIGKILL)

    place.mongodb.lose(ADMISSION, meanwhile=kill)


def the_gate_is_cut_off(place: Place) -> None:
    place.entrance.lose(b"/admissions")


@pytest.mark.parametrize("fail", [mongodb_is_cut_off, web_workers_are_killed, the_gate_is_cut_off])
def test_a_gate_whose_answer_is_lost_asks_again_with_its_key_and_lets_them_in(place, fail):
    booking, gate = place.sell(), Gate(place)
    codes = TicketCodes(place.site.stack.environment["SECRET_KEY"])
    code = codes.code_of(bookings_at(place.site.mongo.url).find(booking["_id"]))
    fail(place)
    status, _ = gate.scan(code, "scan-1")
    assert status in UNANSWERED
    place.mongodb.lose(ADMISSION, times=0)
    assert [a["seat"] for a in place.booking(booking["_id"])["admissions"]] == booking["seats"]

    answers = []
    eventually(lambda: answers.append(gate.scan(code, "scan-1")) or answers[-1][0] == 201, "a yes")
    assert {status for status, _ in answers[:-1]} <= UNANSWERED, "never a no"
    assert answers[-1][1]["seats"] == booking["seats"]
    assert gate.scan(code, "scan-1") == answers[-1]
    status, refused = gate.scan(code, "scan-2")
    assert (status, refused["code"]) == (409, "already_admitted")
    assert len(place.booking(booking["_id"])["admissions"]) == 2
    place.site.await_clean_audit()


# ---------------------------------------------------------------- the mail server


def test_a_mail_server_that_dies_and_then_hangs_delays_no_buyer_and_loses_no_mail(place):
    place.mailbox.stop()
    first = place.sell()
    eventually(lambda: "mail_next_at" in place.booking(first["_id"]), "the worker has tried")
    with Hanging(port=place.mailbox.port) as hanging:
        place.make_due()
        second = place.sell()
        eventually(lambda: hanging.connections, "the server that hangs is asked")
    place.mailbox.start_again()
    for booking in (first, second):
        await_mail(place, booking)
        assert len(place.mails_to(booking)) == 1


def test_a_mail_server_that_dies_before_its_answer_gets_the_same_mail_once_more(place):
    place.mailbox.dies_after_data = True
    booking = place.sell()
    eventually(lambda: place.mails_to(booking), "the server has the mail")
    place.mailbox.dies_after_data = False
    await_mail(place, booking)
    first, second = place.mails_to(booking)
    assert first == second, "a mailbox can see that it has it"


def test_a_worker_that_is_killed_while_it_sends_leaves_the_mail_to_the_next(place):
    place.mailbox.hangs_after_data = True
    booking = place.sell()
    eventually(lambda: place.mails_to(booking), "the server has the mail")
    place.site.stack["worker"].kill()
    place.mailbox.hangs_after_data = False
    place.site.stack["worker"].start()
    assert "ticket" in place.booking(booking["_id"])["news"]
    await_mail(place, booking)
    first, second = place.mails_to(booking)
    assert first == second


def await_mail(place: Place, booking: dict) -> None:
    """The booking says that its buyer was told. What waits for minutes is due at once."""

    def is_told() -> bool:
        place.make_due()
        return not place.booking(booking["_id"]).get("news")

    eventually(is_told, "the mail", 30)
