"""The plan of a run: who buys when, and what goes wrong.

A plan is a list of parts, and each part means the same without the others. So a plan that breaks a
rule can be shortened by leaving parts out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

from tests.simulator.scheduler import EPOCH
from tests.support.factories import numbers
from web.domain.events import Event, Row, Section
from web.domain.sales import DEFAULT_LEASE_S

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
"""So small that buyers compete."""

CANCELLED = replace(HALL, declared_status="cancelled")
"""As its file has it after the organiser has called it off."""

BUYERS = ("ada", "abe", "bea", "dee", "eda", "fae")
LATE_BUYERS = ("deb", "ed")
"""The ids of their holds contain their names, so a name may have only hexadecimal letters."""
HOSTS = ("web-1", "web-2")
WORKERS = ("worker-1", "worker-2")
WORKER_PAUSES_S = (30.0, 10.0, 60.0, 1.0)
"""Between two rounds of a worker that is not woken. In production it is a second; but rounds
without work cost as much time as the others, so here a worker is woken when a lease has run out."""

GOOD_CARD, DECLINED_CARD = "pm_card_visa", "pm_card_visa_chargeDeclined"

CONFIRMATION_S = 90.0
"""How long the owner of a card has at the bank: longer than a lease, and short enough to end while
there are faults."""

# ---------------------------------------------------------------- when


@dataclass(frozen=True)
class Spot:
    """Before or after the ``nth`` call of this name by a process; a checkpoint of a payment counts
    as a call."""

    process: str
    call: str
    nth: int = 1
    side: Literal["before", "after"] = "after"

    def __str__(self) -> str:
        which = "" if self.nth == 1 else f" no. {self.nth}"
        return f"{self.side} {self.call}{which} of {self.process}"


@dataclass(frozen=True)
class When:
    """A delay after a spot was reached, or after the beginning. If no process reaches the spot, it
    never comes."""

    after_s: float
    spot: Spot | None = None

    def __str__(self) -> str:
        return f"{self.after_s:g} s after {self.spot or 'the beginning'}".removeprefix("0 s ")


# ---------------------------------------------------------------- who does what


@dataclass(frozen=True)
class Hold:
    """A buyer tries to hold seats; each has at most one hold."""

    buyer: str
    at_s: float
    seats: tuple[str, ...]
    host: str = HOSTS[0]

    @property
    def process(self) -> str:
        return f"{self.buyer}-hold"


@dataclass(frozen=True)
class Request:
    """A request by a buyer with a hold. ``what`` is to pay with this key, to read or to cancel the
    payment with this key, to come back from the bank, to release the hold or to extend it."""

    process: str
    buyer: str
    at_s: float
    what: Literal["pay", "look", "come back", "cancel", "release", "extend"]
    key: str = ""
    card: str = GOOD_CARD
    host: str = HOSTS[0]


@dataclass(frozen=True)
class Owner:
    """Who owns the buyer's card answers the bank's question, so long after each payment that asks
    it: with yes, with no, or, when the payment was not confirmed, by trying another card."""

    buyer: str
    after_s: float
    answer: Literal["yes", "no", "other card"]


@dataclass(frozen=True)
class Refund:
    """The organiser refunds a booking."""

    process: str
    buyer: str
    at_s: float


@dataclass(frozen=True)
class RefundSeats:
    """The organiser refunds the first seat of a booking."""

    process: str
    buyer: str
    at_s: float


@dataclass(frozen=True)
class Cancel:
    """The organiser runs ``events open`` with a file that says that the event is cancelled; again
    in the end, if it broke off."""

    process: str
    at_s: float


@dataclass(frozen=True)
class Open:
    """An operator runs ``events open``."""

    process: str
    at_s: float


@dataclass(frozen=True)
class SecondWorker:
    pass


@dataclass(frozen=True)
class Webhooks:
    """The gateway sends a webhook for each change, with this delay; one of ``one_in`` arrives."""

    late_s: float
    one_in: int = 1


# ---------------------------------------------------------------- what goes wrong


@dataclass(frozen=True)
class Stopped:
    """The process is stopped, and goes on later."""

    spot: Spot
    for_s: float

    @property
    def kind(self) -> str:
        is_long = self.for_s > DEFAULT_LEASE_S
        return "process stopped" + (" for longer than its lease" if is_long else "")

    @property
    def is_before_insert(self) -> bool:
        """Whether it stops between the last check of its lease and its insert."""
        where = (self.spot.call, self.spot.side)
        return where in (("lease_renewed", "after"), ("renew_lease", "after"), ("insert", "before"))


@dataclass(frozen=True)
class Killed:
    spot: Spot
    kind = "process killed"


@dataclass(frozen=True)
class Late:
    """The effect of the call is delayed, and so are those of the next ``times - 1`` calls of that
    name. The caller waits no longer than the adapter's time-outs."""

    spot: Spot
    by_s: float
    times: int
    kind = "effect late"


@dataclass(frozen=True)
class AnswerLost:
    """The call has its effect at once, but its answer is lost."""

    spot: Spot
    times: int
    kind = "answer lost"


@dataclass(frozen=True)
class NotSent:
    """The call has no effect, which its caller cannot know."""

    spot: Spot
    times: int
    kind = "request lost"


@dataclass(frozen=True)
class SentTwice:
    """The answer was lost, and the client library sends the call again."""

    spot: Spot
    after_s: float
    times: int = 1
    kind = "call sent twice"


@dataclass(frozen=True)
class Away:
    """The party cannot be reached."""

    party: Literal["seats", "bookings", "gateway"]
    when: When
    for_s: float

    @property
    def kind(self) -> str:
        return f"{PARTIES[self.party]} away"


@dataclass(frozen=True)
class Loss:
    """Redis loses ``what``: everything, the event, or one kind of its keys. An idle worker looks
    ``noticed_s`` later."""

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
    """At ``when`` Redis gets back the state that it had at ``to``: it was restarted with an older
    file, or a replica took over. Unless ``starts``, somebody restored the keys into the running
    Redis, or the worker may not use INFO to see which server it is: then only the journal shows it.
    A file from before a loss has no effect unless ``of_before_a_loss``."""

    to: When
    when: When
    noticed_s: float
    starts: bool = True
    of_before_a_loss: bool = False

    @property
    def kind(self) -> str:
        return "Redis goes back in time" + ("" if self.starts else ", the same server")


@dataclass(frozen=True)
class Forgetful:
    """Payments made during this time appear in the gateway's list with this delay."""

    when: When
    for_s: float
    lag_s: float
    kind = "gateway's list late"


@dataclass(frozen=True)
class WrongClock:
    """The clock of ``of`` (Redis, the gateway, a host or a worker) is wrong, from the beginning or
    from ``when`` on."""

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
    | Owner
    | Refund
    | RefundSeats
    | Cancel
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

CallFault = Late | AnswerLost | NotSent | SentTwice
CALL_FAULTS = (Late, AnswerLost, NotSent, SentTwice)


@dataclass(frozen=True)
class Plan:
    """``seed`` also decides how long each call takes: by its name, so that it does not depend on
    the rest of the plan."""

    seed: int
    parts: tuple[Part, ...]

    def only(self, parts: Sequence[Part]) -> "Plan":
        return replace(self, parts=tuple(parts))

    def of(self, *kinds: type) -> list:
        return [part for part in self.parts if isinstance(part, kinds)]
