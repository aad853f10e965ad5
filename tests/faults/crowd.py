"""Buyers who buy over and over while things break, and what they were told."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import requests

from tests.support.http_client import Client, bearer

BUYERS = 6
PAUSE_S = 0.1
"""Between two purchases of a buyer: enough load for every fault to meet payments under way, and
little enough to audit."""

PATIENCE_S = 40.0
"""How long a buyer asks for a final answer."""

RETRY_S = 0.3

DECLINED_CARD = "pm_card_visa_chargeDeclined"


@dataclass
class Told:
    """What the buyers of one crowd heard. ``receipts`` are those of a 201 or 200, by hold;
    ``not_charged`` are the holds whose payment ended with "nothing was charged"; ``unanswered``
    those of which nobody could say in time what became of them. ``answers`` counts all answers
    to payments."""

    receipts: dict[str, dict] = field(default_factory=dict)
    not_charged: set[str] = field(default_factory=set)
    unanswered: set[str] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    refused_holds: Counter[str] = field(default_factory=Counter)


class Crowd:
    """``BUYERS`` threads. Each purchase has an address of its own."""

    def __init__(self, url: str, event_id: str, sections: Sequence[str]):
        """``sections`` are those they buy from."""
        self._url, self._event_id, self._sections = url, event_id, sections
        self._over = threading.Event()
        self._purchases = count()
        self.told = Told()

    @contextmanager
    def buying(self) -> Iterator[Told]:
        """While the block runs, and until the last of them knows how it ended."""
        threads = [threading.Thread(target=self._buy_over_and_over) for _ in range(BUYERS)]
        for thread in threads:
            thread.start()
        try:
            yield self.told
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def await_bookings(self, more: int, timeout_s: float = 20.0) -> None:
        """Until so many more sales were made."""
        wanted = len(self.told.receipts) + more
        deadline = time.monotonic() + timeout_s
        while len(self.told.receipts) < wanted:
            assert time.monotonic() < deadline, f"the sale does not go on: {self.told.answers}"
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
            self.told.refused_holds["nothing"] += 1
            return
        if held.status_code != 201:
            self.told.refused_holds[_said(held)] += 1
            return
        hold = held.json()
        card = DECLINED_CARD if choose.random() < 0.1 else "pm_card_visa"
        outcome = self._final_answer(client, hold, key, card)
        hold_id = hold["hold_id"]
        if outcome is None:
            self.told.unanswered.add(hold_id)
        elif outcome.status_code in (200, 201):
            self.told.receipts[hold_id] = outcome.json()
        else:
            self.told.not_charged.add(hold_id)

    def _final_answer(
        self, client: Client, hold: dict, key: str, card: str
    ) -> requests.Response | None:
        """As the contract has it: repeat with the same key until the outcome is known, and ask
        where a 202 says."""
        deadline = time.monotonic() + PATIENCE_S
        location = None
        while time.monotonic() < deadline:
            try:
                if location:
                    answer = client.call("GET", location, headers=bearer(hold))
                else:
                    answer = client.pay(hold, key, card)
            except requests.RequestException:
                self.told.answers["nothing"] += 1
            else:
                self.told.answers[_said(answer)] += 1
                if answer.status_code == 202:
                    location = answer.headers["Location"]
                elif _is_final(answer):
                    return answer
            time.sleep(RETRY_S)
        return None


def _is_final(answer: requests.Response) -> bool:
    return answer.status_code < 500 and _said(answer) != "409 payment_in_progress"


def _said(answer: requests.Response) -> str:
    body = answer.json()
    return f"{answer.status_code} {body.get('code') or body['status']}"
