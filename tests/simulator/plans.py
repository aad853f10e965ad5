"""What happens in a run, written down before it begins: who buys when, and what goes wrong.

A plan is a list of parts, and each part means the same without the others. So a plan that breaks a
rule is made shorter by leaving parts out.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

from tests.factories import numbers
from tests.simulator.scheduler import EPOCH
from web.domain import Event, Row, Section
from web.use_cases.checkout import POINTS

PRICE_MINOR = 2500
STALLS = Section("stalls", "Stalls", "seated", PRICE_MINOR, (Row("A", (numbers(1, 6),)),))
FREE = Section("free", "Free of charge", "seated", 0, (Row("F", (numbers(1, 4),)),))

HALL = Event(
    id="hall",
    name="An evening",
    venue="Hall",
    currency="GBP",
    sale_opens_at=EPOCH - timedelta(hours=1),
    hold_ms=120_000,
    max_seats_per_hold=3,
    max_held_per_client=4,
    sections=(STALLS, FREE),
)
"""So small that buyers meet."""

BUYERS = ("ada", "abe", "bea", "dee", "eda", "fae")
LATE_BUYERS = ("deb", "ed")
"""Their holds are called after them, and the id of a hold has the letters of hexadecimal digits."""
HOSTS = ("web-1", "web-2")
WORKERS = ("worker-1", "worker-2")
WORKER_PAUSES_S = (30.0, 10.0, 60.0, 1.0)
"""Between two rounds of a worker that nobody wakes. In production it is a second; but rounds that
find nothing to do take as much time as the others, so it is woken when a lease has run out."""

GOOD_CARD, DECLINED_CARD = "pm_card_visa", "pm_card_visa_chargeDeclined"

# ---------------------------------------------------------------- when


@dataclass(frozen=True)
class Spot:
    """Before or after a call that a process makes for the ``nth`` time; a checkpoint of a payment
    is a call as well."""

    process: str
    call: str
    nth: int = 1
    side: Literal["before", "after"] = "after"

    def __str__(self) -> str:
        which = "" if self.nth == 1 else f" no. {self.nth}"
        return f"{self.side} {self.call}{which} of {self.process}"


@dataclass(frozen=True)
class When:
    """So long after a spot was reached, or after the beginning. What waits for a spot that nobody
    reaches does not happen."""

    after_s: float
    spot: Spot | None = None

    def __str__(self) -> str:
        return f"{self.after_s:g} s after {self.spot or 'the beginning'}".removeprefix("0 s ")


# ---------------------------------------------------------------- who does what


@dataclass(frozen=True)
class Hold:
    """A buyer has one hold, or tries to."""

    buyer: str
    at_s: float
    seats: tuple[str, ...]
    host: str = HOSTS[0]

    @property
    def process(self) -> str:
        return f"{self.buyer}-hold"


@dataclass(frozen=True)
class Request:
    """Of a buyer who has a hold: ``what`` is to pay with this key, to look at the payment of this
    key, to release the hold or to extend it."""

    process: str
    buyer: str
    at_s: float
    what: Literal["pay", "look", "release", "extend"]
    key: str = ""
    card: str = GOOD_CARD
    host: str = HOSTS[0]


@dataclass(frozen=True)
class Refund:
    """The organiser's word."""

    process: str
    buyer: str
    at_s: float


@dataclass(frozen=True)
class Open:
    """An operator's ``events open``."""

    process: str
    at_s: float


@dataclass(frozen=True)
class SecondWorker:
    pass


@dataclass(frozen=True)
class Webhooks:
    """The gateway tells of each change, so late."""

    late_s: float


# ---------------------------------------------------------------- what goes wrong


@dataclass(frozen=True)
class Stopped:
    """The process stands still, and goes on."""

    spot: Spot
    for_s: float
    kind = "process stopped"

    @property
    def is_before_insert(self) -> bool:
        """Whether it has looked at its lease and may go on to insert."""
        where = (self.spot.call, self.spot.side)
        return where in (("own", "after"), ("renew_lease", "after"), ("insert", "before"))


@dataclass(frozen=True)
class Killed:
    spot: Spot
    kind = "process killed"


@dataclass(frozen=True)
class Late:
    """The call has its effect so much later, and so have the next ``times - 1`` of the same name.
    Whoever waits for it does so no longer than the adapter's time-outs."""

    spot: Spot
    by_s: float
    times: int
    kind = "effect late"


@dataclass(frozen=True)
class AnswerLost:
    """The call has its effect at once."""

    spot: Spot
    times: int
    kind = "answer lost"


@dataclass(frozen=True)
class NotSent:
    """The call has no effect, and its caller cannot know that."""

    spot: Spot
    times: int
    kind = "request lost"


@dataclass(frozen=True)
class SentTwice:
    """The answer was lost, and the client library sent the call again."""

    spot: Spot
    after_s: float
    times: int = 1
    kind = "call sent twice"


@dataclass(frozen=True)
class Away:
    """Nobody reaches it."""

    party: Literal["seats", "bookings", "gateway"]
    when: When
    for_s: float

    @property
    def kind(self) -> str:
        return f"{PARTIES[self.party]} away"


@dataclass(frozen=True)
class Loss:
    """``what`` Redis forgets: everything, the event, or one kind of its keys. A worker that waits
    looks ``noticed_s`` later."""

    when: When
    what: str
    noticed_s: float

    @property
    def kind(self) -> str:
        return {
            "everything": "Redis loses everything",
            "event": "Redis loses the event",
        }.get(self.what, f"Redis loses {self.what}")


@dataclass(frozen=True)
class GoesBack:
    """At ``when`` Redis is again what it was at ``to``."""

    to: When
    when: When
    noticed_s: float
    kind = "Redis goes back in time"


@dataclass(frozen=True)
class Forgetful:
    """Payments that are made meanwhile are in the gateway's list only so much later."""

    when: When
    for_s: float
    lag_s: float
    kind = "gateway's list late"


@dataclass(frozen=True)
class WrongClock:
    """``of`` Redis, the gateway, a host or a worker, from the beginning or from ``when``."""

    of: str
    ahead_s: float
    when: When = field(default=When(0))

    @property
    def kind(self) -> str:
        return f"clock of {'a process' if self.of in (*HOSTS, *WORKERS) else self.of} wrong"


PARTIES = {"seats": "Redis", "bookings": "MongoDB", "gateway": "gateway"}

Part = (
    Hold
    | Request
    | Refund
    | Open
    | SecondWorker
    | Webhooks
    | Stopped
    | Killed
    | Late
    | AnswerLost
    | NotSent
    | SentTwice
    | Away
    | Loss
    | GoesBack
    | Forgetful
    | WrongClock
)

CALL_FAULTS = (Late, AnswerLost, NotSent, SentTwice)


@dataclass(frozen=True)
class Plan:
    """``seed`` also decides how long each call takes: by its name, so that it is the same whatever
    else is in the plan."""

    seed: int
    parts: tuple[Part, ...]

    def only(self, parts: Sequence[Part]) -> "Plan":
        return replace(self, parts=tuple(parts))

    def of(self, *kinds: type) -> list:
        return [part for part in self.parts if isinstance(part, kinds)]


# ---------------------------------------------------------------- plans by chance

CALLS_OF_PAYMENTS = {
    "begin_payment": 2,
    "authorize": 9,
    "renew_lease": 2,
    "insert": 8,
    "capture": 3,
    "confirm_booking": 2,
    "undo_payment": 1,
    "find": 1,
    "retire": 1,
    "void": 1,
    "holding": 1,
    **dict.fromkeys(POINTS, 1),
}
CALLS_OF_WORKERS = {
    "read_upkeep": 2,
    "claim_lapsed_payment": 2,
    "find_all": 2,
    "find": 1,
    "retire": 3,
    "undo_payment": 4,
    "insert": 2,
    "capture": 2,
    "void": 2,
    "refund": 1,
    "confirm_booking": 2,
    "list": 2,
    "sold_seats": 2,
    "announce": 1,
    "build_event": 3,
    "open_event": 3,
    "read_seats": 1,
    "return_seats": 1,
}
OFTEN = {"read_upkeep": 20, "sold_seats": 6, "list": 6, "claim_lapsed_payment": 6}
"""So often the worker makes these calls in a run."""

PARTY_OF = {
    name: party
    for party, names in {
        "seats": "begin_payment renew_lease confirm_booking undo_payment read_upkeep "
        "claim_lapsed_payment announce build_event open_event read_seats return_seats",
        "bookings": "insert holding sold_seats",
        "gateway": "authorize retire capture void refund find_all list",
    }.items()
    for name in names.split()
}

HINDRANCES = {
    "stopped": 5,
    "killed": 3,
    "late": 5,
    "answer lost": 2,
    "request lost": 1,
    "twice": 1,
    "away": 3,
    "forgetful": 3,
    "clock": 2,
}
"""How often each is among the one or two kinds of a run, which may then happen several times: a few
kinds meet more often than one of each ("swarm testing": Groce et al., ISSTA 2012)."""

LOSSES = {"lost": 3, "back": 2}

STOPS_S = (3, 6, 12, 20, 63, 63, 130)

LATE_S = {"seats": (1, 4, 10, 30), "bookings": (3, 7), "gateway": (5, 12, 30, 63, 63)}
"""How late effects are. What MongoDB was asked happens within the time-outs, or not at all."""

REPEATED_AFTER_S = (0.1, 1, 2, 3, 4, 6, 10, 30)
LAST_REPEAT_S = (65, 70, 80, 100)
"""After the first request: the worker has had its turn."""

ASKED_AGAIN_AFTER_S = (1, 2, 3, 5, 63, 65, 68, 75)
LOST_KEYS = ("seats", "holds", "due", "payments", "clients", "journal", "receipt", "events")
NOTICED_S = (0.2, 0.2, 0.2, 0.2, 2, 8, 25)
WRONG_BY_S = (3600, -3600, 40, -40, 5, -5)


class _Draft:
    def __init__(self, seed: int):
        self.choose = random.Random(seed)
        self.parts: list[Part] = []
        self.payments: list[str] = []
        self.requests: dict[str, Request] = {}
        self.without_charge: set[str] = set()
        self.moments: list[float] = []
        self.spots: list[Spot] = []
        self.workers = WORKERS[: self.choose.choice((1, 1, 2))]

    def weighted(self, weights: dict[str, int]) -> str:
        return self.choose.choices([*weights], [*weights.values()])[0]

    def crowd(self) -> None:
        """Few buyers who ask again and again, or more of them who meet."""
        choose = self.choose
        count = choose.choice((1, 2, 4, 6, 6))
        within_s = choose.choice((2, 10, 30))
        for name in BUYERS[:count]:
            self.buyer(name, round(choose.uniform(0, within_s), 2), most=3)

    def buyer(self, name: str, at_s: float, most: int) -> None:
        choose = self.choose
        free = choose.random() < 0.35
        if free:
            self.without_charge.add(name)
        hall = [seat for seat in HALL.seats if seat.startswith("free") == free]
        seats = tuple(choose.sample(hall, choose.choice((1, 1, 1, 2))))
        self.parts.append(Hold(name, at_s, seats, choose.choice(HOSTS)))
        at_s += 0.2
        cards = {key: choose.choice((GOOD_CARD,) * 6 + (DECLINED_CARD,)) for key in ("k1", "k2")}
        first_s, count = at_s, choose.randint(1, most)
        for number in range(1, count + 1):
            if 1 < number == count and choose.random() < 0.6:
                at_s = max(at_s, first_s + choose.choice(LAST_REPEAT_S))
            key = choose.choice(("k1", "k1", "k1", "k2"))
            what = "pay" if number == 1 else choose.choice(("pay",) * 5 + ("look",))
            process = f"{name}-{what}-{number}"
            host = choose.choice(HOSTS)
            self.parts.append(Request(process, name, round(at_s, 2), what, key, cards[key], host))
            if what == "pay":
                self.payments.append(process)
                self.requests[process] = self.parts[-1]
            self.moments.append(at_s)
            at_s += choose.choice(REPEATED_AFTER_S)
        if choose.random() < 0.15:
            what = choose.choice(("release", "release", "extend"))
            self.parts.append(Request(f"{name}-{what}", name, round(at_s, 2), what))
        if choose.random() < 0.1:
            self.parts.append(Refund(f"refund-of-{name}", name, round(at_s, 2)))

    def spot(self, *sides: str) -> Spot:
        """Half of them are close to one before: what happens at once is what breaks things."""
        if not self.spots or self.choose.random() < 0.5:
            self.spots.append(self.another_spot())
        spot = self.choose.choice(self.spots)
        self.ask_again(spot.process)
        return replace(spot, side=self.choose.choice(sides)) if sides else spot

    def ask_again(self, process: str) -> None:
        """Whoever meets a fault asks again, soon or after a lease."""
        first = self.requests.get(process)
        if first is None or self.choose.random() < 0.15:
            return
        at_s = round(first.at_s + self.choose.choice(ASKED_AGAIN_AFTER_S), 2)
        process = f"{first.buyer}-again-{len(self.parts)}"
        self.parts.append(replace(first, process=process, at_s=at_s))
        self.moments.append(at_s)

    def another_spot(self) -> Spot:
        choose = self.choose
        if choose.random() < 0.7:
            process = choose.choice(self.payments)
            calls = CALLS_OF_PAYMENTS
            if self.requests[process].buyer in self.without_charge:
                calls = {c: n for c, n in calls.items() if PARTY_OF.get(c) != "gateway"}
            call = self.weighted(calls)
        else:
            process, call = choose.choice(self.workers), self.weighted(CALLS_OF_WORKERS)
        nth = choose.randint(1, OFTEN[call]) if call in OFTEN else choose.choice((1,) * 7 + (2,))
        side = "after" if call in POINTS else choose.choice(("before", "after"))
        return Spot(process, call, nth, side)

    def call(self) -> Spot:
        while (spot := self.spot("before")).call not in PARTY_OF:
            self.spots.append(self.another_spot())
        return spot

    def when(self) -> When:
        choose = self.choose
        if choose.random() < 0.65:
            # Late ones more often: a loss matters to those whom something has happened to.
            moment_s = max(choose.choice(self.moments), choose.choice(self.moments))
            moment_s += choose.choice((-2, -1, 0.1, 0.5, 1, 2, 4, 8, 16, 30))
            return When(round(max(moment_s, 0), 2))
        return When(choose.choice((0, 0, 0, 0.5, 2, 10, 40)), self.spot())

    def fault(self, kind: str) -> Part:
        choose = self.choose
        match kind:
            case "stopped":
                spot = self.spot()
                return Stopped(spot, choose.choice(STOPS_S))
            case "killed":
                return Killed(self.spot())
            case "late":
                spot = self.call()
                late_s = choose.choice(LATE_S[PARTY_OF[spot.call]])
                return Late(spot, late_s, choose.choice((1, 2, 2)))
            case "answer lost":
                return AnswerLost(self.call(), choose.choice((1, 2)))
            case "request lost":
                return NotSent(self.call(), choose.choice((1, 2)))
            case "twice":
                return SentTwice(self.call(), choose.choice((0.1, 2)))
            case "away":
                party = choose.choice(tuple(PARTIES))
                return Away(party, self.when(), choose.choice((1, 8, 30, 80)))
            case "lost":
                what = choose.choice(("everything",) * 14 + ("event",) * 6 + LOST_KEYS)
                return Loss(self.when(), what, choose.choice(NOTICED_S))
            case "back":
                return GoesBack(self.when(), self.when(), choose.choice(NOTICED_S))
            case "forgetful":
                lasts_s, lag_s = choose.choice((20, 60, 150)), choose.choice((10, 64, 90))
                return Forgetful(When(round(choose.uniform(0, 10), 1)), lasts_s, lag_s)
            case "clock":
                of = choose.choice(("Redis", "the gateway", *HOSTS, *self.workers))
                return WrongClock(of, choose.choice(WRONG_BY_S))
            case "open":
                return Open(f"open-{len(self.parts)}", round(choose.uniform(0, 100), 1))
        raise AssertionError(kind)


def plan_of(seed: int) -> Plan:
    """The same for the same seed."""
    draft = _Draft(seed)
    choose = draft.choose
    if len(draft.workers) > 1:
        draft.parts.append(SecondWorker())
    if choose.random() < 0.3:
        draft.parts.append(Webhooks(choose.choice((0.1, 3, 40))))
    draft.crowd()
    kinds = [draft.weighted(HINDRANCES) for _ in range(choose.choice((1, 1, 2)))]
    faults = [choose.choice(kinds) for _ in range(choose.choice((1, 2, 4, 6)))]
    faults += [draft.weighted(LOSSES) for _ in range(choose.choice((0, 1, 1, 1, 2)))]
    if choose.random() < 0.1:
        faults.append("open")
    for kind in faults:
        draft.parts.append(draft.fault(kind))
    return Plan(seed, tuple(draft.parts))
