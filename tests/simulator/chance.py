"""Random plans, in which combinations that are likely to break something are likely."""

import random
from dataclasses import replace

from tests.simulator.gateway import ASKING_CARD
from tests.simulator.plans import (
    BUYERS,
    CONFIRMATION_S,
    DECLINED_CARD,
    GOOD_CARD,
    HALL,
    HOSTS,
    PARTIES,
    WORKERS,
    AnswerLost,
    Away,
    Cancel,
    Forgetful,
    GoesBack,
    Hold,
    Killed,
    Late,
    Loss,
    NotSent,
    Open,
    Owner,
    Part,
    Plan,
    Refund,
    RefundSeats,
    Request,
    SecondWorker,
    SentTwice,
    Spot,
    Stopped,
    Webhooks,
    When,
    WrongClock,
)
from web.use_cases.bank_confirmation import BANK_CHECKPOINTS
from web.use_cases.payment_steps import CHECKPOINTS

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
    **dict.fromkeys(CHECKPOINTS, 1),
}
CALLS_AT_BANK = {
    "begin_payment": 2,
    "authorize": 5,
    "wait_for_bank": 5,
    "claim_payment": 3,
    "retrieve": 5,
    "renew_lease": 2,
    "insert": 5,
    "capture": 3,
    "confirm_booking": 2,
    "begin_cancel": 4,
    "void": 8,
    "undo_payment": 4,
    "find": 1,
    **dict.fromkeys(BANK_CHECKPOINTS, 2),
}
"""Of whoever pays with a card whose bank asks, comes back from the bank, or cancels."""

CALLS_OF_WORKERS = {
    "maintenance_due": 2,
    "claim_lapsed_payment": 2,
    "find_all": 2,
    "find": 1,
    "retire": 3,
    "retrieve": 3,
    "begin_cancel": 2,
    "wait_for_bank": 1,
    "undo_payment": 4,
    "insert": 2,
    "capture": 2,
    "void": 3,
    "refund": 1,
    "confirm_booking": 2,
    "list": 2,
    "sold_seats": 2,
    "add": 1,
    "build_event": 3,
    "open_event": 3,
    "read_seats": 1,
    "return_seats": 1,
}
CALLS_OF_SEAT_REFUNDS = {
    "begin_seat_refund": 1,
    "refund_part": 3,
    "mark_seats_refunded": 2,
    "return_seats": 2,
    "end_seat_refund": 1,
}
CALLS_OF_CANCELLATIONS = {
    "open_event": 2,
    "call_off_payments": 1,
    "booked_ids": 1,
    "refund": 3,
    "mark_refunded": 2,
    "return_seats": 1,
}

OFTEN = {"maintenance_due": 20, "sold_seats": 6, "list": 6, "claim_lapsed_payment": 6}
"""About how often the worker makes these calls in a run."""

PARTY_OF = {
    name: party
    for party, names in {
        "seats": "begin_payment renew_lease confirm_booking undo_payment maintenance_due "
        "wait_for_bank claim_payment begin_cancel "
        "claim_lapsed_payment add build_event open_event read_seats return_seats",
        "bookings": "insert holding sold_seats",
        "gateway": "authorize retrieve retire capture void refund find_all list",
    }.items()
    for name in names.split()
}

HINDRANCES = {
    "stopped": 8,
    "killed": 4,
    "late": 8,
    "answer lost": 6,
    "request lost": 7,
    "twice": 6,
    "away": 3,
    "forgetful": 3,
    "clock": 3,
}
"""The weight of each kind among the one or two kinds of a run, which may then happen several times:
with few kinds in a run, they meet more often ("swarm testing": Groce et al., ISSTA 2012)."""

LOSSES = {"lost": 4, "back": 7, "lost key": 5}

STOPS_S = (3, 6, 12, 20, 63, 63, 130)

LATE_S = {"seats": (1, 4, 10, 30), "bookings": (7,), "gateway": (5, 12, 30, 63, 63)}
"""How late effects can be. MongoDB's come within its time-outs, or not at all."""

REPEATED_AFTER_S = (0.1, 1, 2, 3, 4, 6, 10, 30)
LAST_REPEAT_S = (65, 70, 80, 100)
"""After the first request, so that the worker has had a turn."""

CARDS = (GOOD_CARD,) * 4 + (DECLINED_CARD, *(ASKING_CARD,) * 3)
AFTERWARDS = ("pay",) * 5 + ("look",)
AFTER_BANK = ("pay",) * 2 + ("come back",) * 3 + ("cancel",) * 2 + ("look",)
"""What buyers do after the first request to pay; AFTER_BANK those whose bank asks."""

ASKED_AGAIN_AFTER_S = (2, 3, 3, 5, 63, 65, 68, 75)
ANSWERED_AFTER_S = (0.3, 1, 1, 3, 3, 8, 20, 40, 63)
"""How long the owner of a card takes at the bank."""
ANSWERED_LATE_S = tuple(CONFIRMATION_S + late_s for late_s in (-4, -1, -0.1, 0.3, 1, 5, 30, 62))
LOST_KEYS = ("seats", "holds", "due", "payments", "clients", "journal", "receipt", "events")
NOTICED_S = (0.2, 0.2, 0.2, 0.2, 0.2, 2, 8, 25)
WRONG_BY_S = (3600, -3600, 40, -40, 5, -5)


class _Draft:
    def __init__(self, seed: int):
        self.choose = random.Random(seed)
        self.parts: list[Part] = []
        self.payments: list[str] = []
        self.requests: dict[str, Request] = {}
        self.at_bank: set[str] = set()
        self.without_charge: set[str] = set()
        self.moments: list[float] = []
        self.spots: list[Spot] = []
        self.workers = WORKERS[: self.choose.choice((1, 1, 2))]

    def weighted(self, weights: dict[str, int]) -> str:
        return self.choose.choices([*weights], [*weights.values()])[0]

    def crowd(self) -> None:
        """Either few buyers with many retries, or more buyers who compete."""
        choose = self.choose
        count = choose.choice((1, 2, 4, 6, 6))
        within_s = choose.choice((2, 10, 30))
        for name in BUYERS[:count]:
            self.buyer(name, round(choose.uniform(0, within_s), 2), most=3)

    def buyer(self, name: str, at_s: float, most: int) -> None:
        choose = self.choose
        free = choose.random() < 0.45
        if free:
            self.without_charge.add(name)
        hall = [seat for seat in HALL.seats if seat.startswith("free") == free]
        seats = tuple(choose.sample(hall, choose.choice((1, 1, 1, 2))))
        self.parts.append(Hold(name, at_s, seats, choose.choice(HOSTS)))
        at_s += 0.2
        cards = {key: choose.choice(CARDS) for key in ("k1", "k2")}
        asks = ASKING_CARD in cards.values() and not free
        if asks:
            self.parts += self.owner(name)
        first_s, count = at_s, choose.randint(1, most + asks)
        for number in range(1, count + 1):
            if 1 < number == count and choose.random() < 0.6:
                at_s = max(at_s, first_s + choose.choice(LAST_REPEAT_S))
            key = choose.choice(("k1", "k1", "k1", "k2"))
            what = "pay" if number == 1 else choose.choice(AFTER_BANK if asks else AFTERWARDS)
            process = f"{name}-{what.replace(' ', '-')}-{number}"
            host = choose.choice(HOSTS)
            self.parts.append(Request(process, name, round(at_s, 2), what, key, cards[key], host))
            if what != "look":
                self.payments.append(process)
                self.requests[process] = self.parts[-1]
                if what != "pay" or cards[key] == ASKING_CARD:
                    self.at_bank.add(process)
            self.moments.append(at_s)
            at_s += choose.choice(REPEATED_AFTER_S)
        if choose.random() < 0.15:
            what = choose.choice(("release", "release", "extend"))
            self.parts.append(Request(f"{name}-{what}", name, round(at_s, 2), what))
        if choose.random() < 0.1:
            self.parts.append(Refund(f"refund-of-{name}", name, round(at_s, 2)))

    def owner(self, name: str) -> tuple[Owner, ...]:
        """Of the buyer's card: answers once, never, or again."""
        choose = self.choose
        after_s = choose.choice(
            choose.choice((ANSWERED_AFTER_S, ANSWERED_AFTER_S, ANSWERED_LATE_S))
        )
        answer = choose.choice(("yes", "yes", "yes", "no"))
        again_s = after_s + choose.choice((0.5, 2, 7, 30))
        first = Owner(name, after_s, answer)
        again = Owner(name, again_s, choose.choice(("yes", "no", *("other card",) * 3)))
        return choose.choice(((first,), (first,), (first, again), (first, again), ()))

    def organiser(self) -> None:
        """Refunds seats of parties, perhaps several times, and may cancel the event. Drawn last, so
        that the rest of a plan does not depend on it."""
        choose = self.choose
        for hold in [part for part in self.parts if isinstance(part, Hold)]:
            if len(hold.seats) > 1 and choose.random() < 0.5:
                for number in range(choose.choice((1, 1, 2))):
                    at_s = round(hold.at_s + choose.uniform(2, 60), 2)
                    process = f"seats-of-{hold.buyer}-{number}"
                    self.parts.append(RefundSeats(process, hold.buyer, at_s))
                    self.trouble_with(process, CALLS_OF_SEAT_REFUNDS)
        if choose.random() < 0.08:
            at_s = round(max(self.moments) + choose.choice((-10, -1, 1, 5, 20)), 2)
            self.parts.append(Cancel("cancel", max(at_s, 1.0)))
            self.trouble_with("cancel", CALLS_OF_CANCELLATIONS)

    def trouble_with(self, process: str, calls: dict[str, int]) -> None:
        choose = self.choose
        if choose.random() < 0.5:
            return
        spot = Spot(process, self.weighted(calls), 1, "before")
        fault = choose.choice(
            (
                Killed(replace(spot, side="after")),
                Stopped(spot, choose.choice(STOPS_S)),
                AnswerLost(spot, choose.choice((1, 2))),
                NotSent(spot, 1),
                SentTwice(spot, choose.choice((0.1, 2))),
            )
        )
        self.parts.append(fault)

    def spot(self) -> Spot:
        spot = self.any_spot()
        self.ask_again(spot.process)
        return spot

    def any_spot(self) -> Spot:
        """Half of them are close to an earlier spot: faults that coincide break things."""
        if not self.spots or self.choose.random() < 0.5:
            self.spots.append(self.another_spot())
        return self.choose.choice(self.spots)

    def ask_again(self, process: str) -> None:
        """A buyer who was hit by a fault retries, soon or after a lease."""
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
            calls = CALLS_AT_BANK if process in self.at_bank else CALLS_OF_PAYMENTS
            if self.requests[process].buyer in self.without_charge:
                calls = {c: n for c, n in calls.items() if PARTY_OF.get(c) != "gateway"}
            call = self.weighted(calls)
        else:
            process, call = choose.choice(self.workers), self.weighted(CALLS_OF_WORKERS)
        nth = choose.randint(1, OFTEN[call]) if call in OFTEN else choose.choice((1,) * 7 + (2,))
        side = (
            "after"
            if call in (*CHECKPOINTS, *BANK_CHECKPOINTS)
            else choose.choice(("before", "after"))
        )
        return Spot(process, call, nth, side)

    def call(self) -> Spot:
        """A call of each party with the same probability: most calls of a payment are to Redis, and
        few to the gateway happen at all."""
        party = self.choose.choice(("seats", "bookings", "gateway", "gateway"))
        while PARTY_OF.get((spot := self.any_spot()).call) != party:
            self.spots.append(self.another_spot())
        self.ask_again(spot.process)
        return replace(spot, side="before")

    def late_and_lost(self) -> tuple[Part, Part]:
        """Redis is lost while a payment waits, or when its lease has ended: each fault alone breaks
        little."""
        choose = self.choose
        process = choose.choice(self.payments)
        is_free = self.requests[process].buyer in self.without_charge
        call = "insert" if is_free else choose.choice(("authorize", "insert"))
        spot = Spot(process, call, 1, "before")
        self.ask_again(process)
        what = choose.choice(("everything", "everything", "event"))
        return (
            Late(spot, choose.choice(LATE_S[PARTY_OF[call]]), choose.choice((1, 2))),
            Loss(When(choose.choice((0, 0.5, 2, 66)), spot), what, choose.choice(NOTICED_S)),
        )

    def canceled_late(self, process: str) -> tuple[Part, ...]:
        """A cancellation that is carried out when its caller has given up: what happens meanwhile
        must not meet it."""
        choose = self.choose
        first = self.requests[process]
        late = Late(Spot(process, "void", 1, "before"), choose.choice(LATE_S["gateway"]), 1)
        again_s = round(first.at_s + choose.choice((9, 11, 14, 20, 63, 65, 70)), 2)
        again = replace(first, process=f"{first.buyer}-after-late", at_s=again_s, what="come back")
        return late, again, Owner(first.buyer, choose.choice((5, 10, 20, 40, 70)), "yes")

    def when(self) -> When:
        choose = self.choose
        if choose.random() < 0.5:
            # Rather late: a loss matters most to buyers who have already met a fault.
            moment_s = max(choose.choice(self.moments), choose.choice(self.moments))
            moment_s += choose.choice((-2, -1, 0.1, 0.5, 1, 2, 4, 8, 16, 30))
            return When(round(max(moment_s, 0), 2))
        return When(choose.choice((0, 0, 0, 0.5, 0.5, 2, 10, 40)), self.spot())

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
                what = choose.choice(("everything",) * 7 + ("event",) * 3)
                return Loss(self.when(), what, choose.choice(NOTICED_S))
            case "lost key":
                return Loss(self.when(), choose.choice(LOST_KEYS), choose.choice(NOTICED_S))
            case "back":
                to = self.when()
                later = replace(to, after_s=to.after_s + choose.choice((0.5, 1, 2, 4, 10, 30, 60)))
                when = choose.choice((later, later, self.when()))
                starts = choose.random() < 0.25
                return GoesBack(to, when, choose.choice(NOTICED_S), starts)
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
    """The plan of a seed, always the same."""
    draft = _Draft(seed)
    choose = draft.choose
    if len(draft.workers) > 1:
        draft.parts.append(SecondWorker())
    if choose.random() < 0.3:
        for _ in range(choose.choice((1, 1, 1, 2))):
            draft.parts.append(Webhooks(choose.choice((0.1, 3, 40)), choose.choice((1, 1, 2))))
    draft.crowd()
    kinds = [draft.weighted(HINDRANCES) for _ in range(choose.choice((1, 1, 2)))]
    faults = [choose.choice(kinds) for _ in range(choose.choice((1, 2, 4, 6)))]
    faults += [draft.weighted(LOSSES) for _ in range(choose.choice((0, 1, 1, 2, 2)))]
    if choose.random() < 0.1:
        faults.append("open")
    if choose.random() < 0.2:
        draft.parts += draft.late_and_lost()
    canceling = [name for name in draft.payments if draft.requests[name].what == "cancel"]
    if canceling and choose.random() < 0.5:
        draft.parts += draft.canceled_late(choose.choice(canceling))
    for kind in faults:
        draft.parts.append(draft.fault(kind))
    draft.organiser()
    return Plan(seed, tuple(draft.parts))
