"""Buyers who keep buying while things break, and the answers that they got."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import requests

from tests.support.http_client import TIMEOUT_S, Client, bearer

AS_EVER = {"201 booked", "402 payment_declined"}
PAID_LATER = {"202 paying", "200 booked"}
AWAY = {"503 unavailable"}
"""Outcomes: of payments that nothing disturbs, of those that end later, and of what cannot be
reached."""

HOLDS_ARE_LOST_S = 5
"""The patience of buyers whose holds are lost. They would hear 503 for 30 s, and then 410."""

BUYERS = 6
PAUSE_S = 0.1
"""Between two purchases of a buyer: enough load that every fault hits payments under way, and
little enough to audit."""

PATIENCE_S = 40.0
"""How long a buyer keeps asking for a final answer."""

RETRY_S = 0.3

GOOD_CARD = "pm_card_visa"
DECLINED_CARD = "pm_card_visa_chargeDeclined"
ASKING_CARD = "pm_card_authenticationRequired"

AT_THE_BANK = ("come back", "come back", "close the page", "refuse", "give up")
"""What buyers do whose bank asks, who all can be told an outcome soon."""


@dataclass
class Outcomes:
    """The answers to the buyers of one crowd. ``receipts`` are those of a 201 or 200, by hold;
    ``not_charged`` are the holds whose payment ended with "nothing was charged"; ``unanswered``
    are those without a final answer in time. ``answers`` counts all answers to payments,
    ``refused_holds`` the refusals of holds."""

    receipts: dict[str, dict] = field(default_factory=dict)
    not_charged: set[str] = field(default_factory=set)
    unanswered: set[str] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    refused_holds: Counter[str] = field(default_factory=Counter)


class Crowd:
    """``BUYERS`` threads that buy. Each purchase comes from another address."""

    def __init__(
        self,
        url: str,
        event_id: str,
        sections: Sequence[str],
        patience_s: float = PATIENCE_S,
        asked: float = 0.0,
    ):
        """``sections`` are the ids of the sections from which they buy. ``patience_s`` is how long
        they ask for a final answer. ``asked`` is the share of payments whose bank asks."""
        self._url, self._event_id, self._sections = url, event_id, sections
        self._patience_s, self._asked = patience_s, asked
        self._over = threading.Event()
        self._purchases = count()
        self.outcomes = Outcomes()

    @contextmanager
    def buying(self) -> Iterator[Outcomes]:
        """Buyers buy while the block runs; at its end, waits until each has a final answer."""
        threads = [threading.Thread(target=self._buy_over_and_over) for _ in range(BUYERS)]
        for thread in threads:
            thread.start()
        try:
            yield self.outcomes
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def await_bookings(self, more: int, timeout_s: float = 20.0) -> None:
        """Wait until ``more`` further sales were made."""
        wanted = len(self.outcomes.receipts) + more
        deadline = time.monotonic() + timeout_s
        while len(self.outcomes.receipts) < wanted:
            assert time.monotonic() < deadline, f"the sale does not go on: {self.outcomes.answers}"
            time.sleep(0.05)

    def _buy_over_and_over(self) -> None:
        while not self._over.is_set():
            number = next(self._purchases)
            with Client(self._url, self._event_id) as client:
                self._buy(client, random.Random(number), f"key {number}")
            time.sleep(PAUSE_S)

    def _buy(self, client: Client, choose: random.Random, key: str) -> None:
        try:
            held = client.hold_best(choose.choice(self._sections), choose.randint(1, 3))
        except requests.RequestException:
            self.outcomes.refused_holds["nothing"] += 1
            return
        if held.status_code != 201:
            self.outcomes.refused_holds[_said(held)] += 1
            return
        hold = held.json()
        others = 1 - 0.1 - self._asked
        (card,) = choose.choices(
            (DECLINED_CARD, ASKING_CARD, GOOD_CARD), (0.1, self._asked, others)
        )
        outcome = self._final_answer(client, hold, key, card, choose.choice(AT_THE_BANK))
        hold_id = hold["hold_id"]
        if outcome is None:
            self.outcomes.unanswered.add(hold_id)
        elif outcome.status_code in (200, 201):
            self.outcomes.receipts[hold_id] = outcome.json()
        else:
            self.outcomes.not_charged.add(hold_id)

    def _final_answer(
        self, client: Client, hold: dict, key: str, card: str, at_the_bank: str
    ) -> requests.Response | None:
        """As the API demands: repeat with the same key until the outcome is known, and after a 202
        ask at its Location."""
        deadline = time.monotonic() + self._patience_s
        location, was_at_the_bank = None, False
        while time.monotonic() < deadline:
            try:
                if location:
                    answer = client.call("GET", location, headers=bearer(hold))
                else:
                    answer = client.pay(hold, key, card)
            except requests.RequestException:
                self.outcomes.answers["nothing"] += 1
            else:
                self.outcomes.answers[_said(answer)] += 1
                if answer.status_code == 202:
                    location = answer.headers["Location"]
                    if "next_action" in answer.json() and not was_at_the_bank:
                        was_at_the_bank = _was_at_the_bank(client, hold, answer, at_the_bank)
                elif _is_final(answer):
                    return answer
            time.sleep(RETRY_S)
        return None


def _was_at_the_bank(
    client: Client, hold: dict, asked: requests.Response, at_the_bank: str
) -> bool:
    """Does it; whether it could be done."""
    try:
        if at_the_bank == "give up":
            path = f"{asked.headers['Location']}/cancel"
            return client.call("POST", path, headers=bearer(hold)).status_code == 204
        decision = "refuse" if at_the_bank == "refuse" else "accept"
        url = asked.json()["next_action"]["url"]
        led = requests.post(
            url, data={"answer": decision}, allow_redirects=False, timeout=TIMEOUT_S
        )
        if at_the_bank == "come back":
            client.get(led.headers["Location"], allow_redirects=False, timeout=TIMEOUT_S)
    except requests.RequestException:
        return False
    return True


def _is_final(answer: requests.Response) -> bool:
    return answer.status_code < 500 and _said(answer) != "409 payment_in_progress"


def _said(answer: requests.Response) -> str:
    body = answer.json()
    return f"{answer.status_code} {body.get('code') or body['status']}"
