"""Scalpers: they try seat after seat, hold as many as a client may, and pay for some."""

from typing import Any

import gevent
from locust import task
from locust.exception import StopUser

from tests.burst import characters
from tests.burst.asking import Buyer, Reply

EARLY_S = 2.0
"""How long before the opening they begin."""

SWEEPER_GREENLETS = 4
"""Concurrent requests of one sweeper."""


class Bot(Buyer):
    abstract = True
    character: characters.Bot

    def address_now(self) -> str:
        return characters.address_now(self.character)

    def sweep(self, seats: list[str], pace_s: float) -> None:
        """Try all seats in turn until the end of the sale."""
        while not self.is_over():
            for seat in seats:
                reply, hold = self.hold_seat(seat)
                if hold and self.character.chance.random() < self.character.pays:
                    self.buy(hold)
                self.sleep(self.pause_s(reply, pace_s))
                if self.is_over():
                    return

    def pause_s(self, reply: Reply, pace_s: float) -> float:
        return pace_s

    def buy(self, hold: dict) -> None:
        self.note_end(hold, self.pay(hold, "scalped"))

    def when_it_opens(self) -> list[str]:
        """Wait until just before the opening; returns the seats in the order of this bot."""
        self.look_at_event()
        self.sleep_until(self.drop.opens_at_s - EARLY_S)
        while self.hall is None and not self.is_over():
            gevent.sleep(1.0)
        return list(self.hall.tour(self.character.first_seat)) if self.hall else []


class BotnetBot(Bot):
    """Keeps the rate limit, and waits when it holds as many seats as it may."""

    who = "botnet"

    def __init__(self, environment: Any):
        super().__init__(environment)
        self.character = characters.botnet_bot(self.drop.plan.seed, self.number)

    @task
    def live(self) -> None:
        self.sweep(self.when_it_opens(), self.character.pace_s)
        raise StopUser

    def buy(self, hold: dict) -> None:
        self.sleep(self.character.pace_s)  # a hold and a payment are two requests
        super().buy(hold)

    def pause_s(self, reply: Reply, pace_s: float) -> float:
        return 2.0 if reply.said == "409 too_many_held" else pace_s


class Sweeper(Bot):
    """Sends ten times as many requests as it may, whatever the answers."""

    who = "sweeper"

    def __init__(self, environment: Any):
        super().__init__(environment)
        self.character = characters.sweeper(self.drop.plan.seed, self.number)
        self._paying = 0

    @task
    def live(self) -> None:
        seats = self.when_it_opens()
        pace_s = self.character.pace_s * SWEEPER_GREENLETS
        gevent.joinall(
            [
                gevent.spawn(self.sweep, seats[first::SWEEPER_GREENLETS], pace_s)
                for first in range(SWEEPER_GREENLETS)
            ]
        )
        raise StopUser

    def pause_s(self, reply: Reply, pace_s: float) -> float:
        # Its own flood would use up the limit for its payments.
        return 1.0 if self._paying else pace_s

    def buy(self, hold: dict) -> None:
        self._paying += 1
        try:
            super().buy(hold)
        finally:
            self._paying -= 1
