"""The buyers and their behaviour, drawn from the seed: the same seed gives the same buyers. Which
answers they get depends on who is faster, which no seed decides."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Way = Literal["map", "best", "hot seat", "pages"]
Intent = Literal["pay", "click twice", "bad card first", "release", "abandon"]
AtBank = Literal[
    "confirm",
    "confirm late",
    "confirm elsewhere",
    "confirm and leave",
    "refuse",
    "give up",
    "leave",
]

WAYS: dict[Way, int] = {"map": 45, "best": 35, "hot seat": 17, "pages": 3}
"""Weights of the kinds of people: those who choose on the map, ask for the best seats, want the one
seat that everybody wants, or have no JavaScript."""

INTENTS: dict[Intent, int] = {
    "pay": 66,
    "click twice": 12,
    "bad card first": 10,
    "release": 5,
    "abandon": 7,
}

ASKED = 0.4
"""The share of people whose bank asks them to confirm a payment. In Europe most banks do."""

AT_BANK: dict[AtBank, int] = {
    "confirm": 36,
    "confirm late": 12,
    "confirm elsewhere": 12,
    "confirm and leave": 10,
    "refuse": 10,
    "give up": 10,
    "leave": 10,
}
"""What these people do then: confirm, at once, or when the time is nearly over, or in the browser
that the bank's app has opened; confirm or not and close the tab, so that the shop never hears from
them again; refuse; or cancel the payment and take another card."""

QUANTITIES = {1: 25, 2: 50, 3: 10, 4: 15}

IMPATIENT = 0.1
"""The share of people who also try before the opening."""

BAD_CARDS = ("pm_card_visa_chargeDeclined", "pm_card_visa_chargeDeclinedInsufficientFunds")

HOT_SEATS = 12
"""The first seats of the layout."""

Key = TypeVar("Key")


@dataclass(frozen=True)
class Human:
    """``reaction_s`` is the time from the opening to the first try, ``dither_s`` the time from a
    hold to its payment, ``reads_s`` the time that a question of the bank takes. ``at_bank`` is None
    when the bank does not ask. ``elsewhere`` is the address of another device of this person.
    ``chance`` is for choices that depend on earlier answers."""

    address: str
    way: Way
    quantity: int
    intent: Intent
    impatient: bool
    reaction_s: float
    dither_s: float
    bad_card: str
    at_bank: AtBank | None
    reads_s: float
    elsewhere: str
    chance: random.Random

    def think_s(self) -> float:
        """The pause between a refusal and the next try."""
        return self.chance.uniform(2.0, 6.0)


@dataclass(frozen=True)
class Bot:
    """``pays`` is the share of its holds that it pays for. It keeps the others until they expire,
    hoping to sell them first."""

    address: str
    pace_s: float
    first_seat: float
    pays: float
    chance: random.Random


def human(seed: int, number: int) -> Human:
    chance = random.Random(f"human {seed} {number}")
    way = _drawn(chance, WAYS)
    quantity = _drawn(chance, QUANTITIES)
    intent = _drawn(chance, INTENTS)
    return Human(
        address=_address("198.18", number),
        way=way,
        quantity=quantity,
        intent=intent,
        impatient=chance.random() < IMPATIENT,
        # Most try exactly at the opening, some a little later.
        reaction_s=min(chance.expovariate(4.0), 2.0),
        dither_s=chance.uniform(0.5, 8.0),
        bad_card=chance.choice(BAD_CARDS),
        at_bank=_at_bank(chance, intent),
        reads_s=chance.uniform(0.3, 2.0),
        elsewhere=_address("100.96", number),
        chance=chance,
    )


def _at_bank(chance: random.Random, intent: Intent) -> AtBank | None:
    if chance.random() >= ASKED:
        return None
    # Both clicks of one person lead to the bank, and there to one answer.
    return "confirm" if intent == "click twice" else _drawn(chance, AT_BANK)


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
    """One of few clients far beyond the limit. Every second one is an IPv6 network, whose addresses
    are one client to the limiter: see ``address_now``."""
    chance = random.Random(f"sweeper {seed} {number}")
    address = _address("100.64", number)
    if number % 2:
        address = f"2001:db8:{number:x}::"
    return Bot(address=address, pace_s=0.01, first_seat=chance.random(), pays=0.5, chance=chance)


def address_now(bot: Bot) -> str:
    """The address for the next request: a bot with a whole network takes a new one each time."""
    if bot.address.endswith("::"):
        return f"{bot.address}{bot.chance.randrange(1, 0xFFFF):x}"
    return bot.address


def _address(network: str, number: int) -> str:
    """An address in a /16 that is reserved for tests (RFC 2544) or carriers (RFC 6598)."""
    return f"{network}.{number // 250}.{number % 250 + 1}"


def _drawn(chance: random.Random, shares: dict[Key, int]) -> Key:
    return chance.choices(list(shares), weights=list(shares.values()))[0]


# ---------------------------------------------------------------- what they choose


@dataclass(frozen=True)
class Hall:
    """``rows`` has the rows of all sections, as ranges of positions in layout order; ``sections``
    has ids."""

    seats: tuple[str, ...]
    rows: tuple[range, ...]
    sections: tuple[str, ...]

    @classmethod
    def of(cls, event: dict) -> "Hall":
        """``event`` is the body of ``GET /api/events/{event_id}``."""
        seats: list[str] = []
        rows = []
        for section in event["sections"]:
            for row in section["rows"]:
                rows.append(range(len(seats), len(seats) + len(row["seats"])))
                seats += row["seats"]
        return cls(tuple(seats), tuple(rows), tuple(s["id"] for s in event["sections"]))

    def choose(self, states: str, quantity: int, chance: random.Random) -> Sequence[str]:
        """Adjacent free seats; fewer when there are not enough; none when no seat is free."""
        # The smaller of two random numbers: the first rows are the most popular.
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
        """All seats, starting anywhere: the order in which a bot tries them."""
        start = int(first_seat * len(self.seats))
        return self.seats[start:] + self.seats[:start]
