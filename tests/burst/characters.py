"""Who the buyers are and what they will do, drawn from the seed: the same seed, the same people.
What they meet depends on who is faster, and that is nobody's to choose."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Way = Literal["map", "best", "hot seat", "pages"]
Intent = Literal["pay", "click twice", "bad card first", "release", "abandon"]

WAYS: dict[Way, int] = {"map": 45, "best": 35, "hot seat": 17, "pages": 3}
"""In a hundred: chooses seats on the map, asks for the best ones, wants the one seat that everybody
wants, or has no JavaScript."""

INTENTS: dict[Intent, int] = {
    "pay": 66,
    "click twice": 12,
    "bad card first": 10,
    "release": 5,
    "abandon": 7,
}

QUANTITIES = {1: 25, 2: 50, 3: 10, 4: 15}

IMPATIENT = 0.1
"""Of the crowd: they ask before the opening, too."""

BAD_CARDS = ("pm_card_visa_chargeDeclined", "pm_card_visa_chargeDeclinedInsufficientFunds")

HOT_SEATS = 12
"""The first ones of the layout."""

Key = TypeVar("Key")


@dataclass(frozen=True)
class Human:
    """``reaction_s`` is how long after the opening the first try comes, ``dither_s`` how long a
    hold waits for its payment. ``chance`` is for choices that depend on what is met."""

    address: str
    way: Way
    quantity: int
    intent: Intent
    impatient: bool
    reaction_s: float
    dither_s: float
    bad_card: str
    chance: random.Random

    def think_s(self) -> float:
        """Between a refusal and the next try."""
        return self.chance.uniform(2.0, 6.0)


@dataclass(frozen=True)
class Bot:
    """``pays`` is the share of its holds that it pays for. The others it sits on until they run
    out: it hopes to sell them first."""

    address: str
    pace_s: float
    first_seat: float
    pays: float
    chance: random.Random


def human(seed: int, number: int) -> Human:
    chance = random.Random(f"human {seed} {number}")
    return Human(
        address=_address("198.18", number),
        way=_drawn(chance, WAYS),
        quantity=_drawn(chance, QUANTITIES),
        intent=_drawn(chance, INTENTS),
        impatient=chance.random() < IMPATIENT,
        # Most fire with the clock, some look up a little later.
        reaction_s=min(chance.expovariate(4.0), 2.0),
        dither_s=chance.uniform(0.5, 8.0),
        bad_card=chance.choice(BAD_CARDS),
        chance=chance,
    )


def botnet_bot(seed: int, number: int) -> Bot:
    """One of many addresses, each within the limit of ten requests a second."""
    chance = random.Random(f"bot {seed} {number}")
    return Bot(
        address=_address("198.19", number),
        pace_s=chance.uniform(0.12, 0.3),
        first_seat=chance.random(),
        pays=0.3,
        chance=chance,
    )


def sweeper(seed: int, number: int) -> Bot:
    """One of few clients far beyond the limit. Every other one is an IPv6 network, whose addresses
    the limiter takes for one client: see ``address_now``."""
    chance = random.Random(f"sweeper {seed} {number}")
    address = _address("100.64", number)
    if number % 2:
        address = f"2001:db8:{number:x}::"
    return Bot(address=address, pace_s=0.01, first_seat=chance.random(), pays=0.5, chance=chance)


def address_now(bot: Bot) -> str:
    """Who has a whole network takes another address of it for each request."""
    if bot.address.endswith("::"):
        return f"{bot.address}{bot.chance.randrange(1, 0xFFFF):x}"
    return bot.address


def _address(network: str, number: int) -> str:
    """Of a /16 of nobody's (RFC 2544, RFC 6598)."""
    return f"{network}.{number // 250}.{number % 250 + 1}"


def _drawn(chance: random.Random, shares: dict[Key, int]) -> Key:
    return chance.choices(list(shares), weights=list(shares.values()))[0]


# ---------------------------------------------------------------- what they choose


@dataclass(frozen=True)
class Hall:
    """``rows`` are those of all sections, as ranges of positions in layout order; ``sections`` are
    ids."""

    seats: tuple[str, ...]
    rows: tuple[range, ...]
    sections: tuple[str, ...]

    @classmethod
    def of(cls, event: dict) -> "Hall":
        """``event`` is what ``GET /api/events/{event_id}`` answers."""
        seats: list[str] = []
        rows = []
        for section in event["sections"]:
            for row in section["rows"]:
                rows.append(range(len(seats), len(seats) + len(row["seats"])))
                seats += row["seats"]
        return cls(tuple(seats), tuple(rows), tuple(s["id"] for s in event["sections"]))

    def choose(self, states: str, quantity: int, chance: random.Random) -> Sequence[str]:
        """Free seats side by side; fewer when there are not so many; none when no seat is free."""
        # The smaller of two numbers: the first rows are wanted most.
        wish = min(chance.randrange(len(self.rows)), chance.randrange(len(self.rows)))
        for wanted in range(quantity, 0, -1):
            for row in self.rows[wish:] + self.rows[:wish]:
                middle = chance.choice(row)
                first = states.find("0" * wanted, middle, row.stop)
                if first < 0:
                    first = states.find("0" * wanted, row.start, row.stop)
                if first >= 0:
                    return self.seats[first : first + wanted]
        return ()

    def hot_seat(self, chance: random.Random) -> str:
        return chance.choice(self.seats[:HOT_SEATS])

    def tour(self, first_seat: float) -> Sequence[str]:
        """All seats, from somewhere on: how a bot sweeps."""
        start = int(first_seat * len(self.seats))
        return self.seats[start:] + self.seats[:start]
