"""What happens in a run, written down before it begins: who buys when, and what goes wrong.

A plan is a list of parts, and each part means the same without the others. So a plan that breaks a
rule is made shorter by leaving parts out.
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

    @property
    def kind(self) -> str:
        is_long = self.for_s > DEFAULT_LEASE_S
        return "process stopped" + (" for longer than its lease" if is_long else "")

    @property
    def is_before_insert(self) -> bool:
        """Whether it has looked at its lease and may go on to insert."""
        where = (self.spot.call, self.spot.side)
        return where in (("lease_renewed", "after"), ("renew_lease", "after"), ("insert", "before"))


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
    """At ``when`` Redis is again what it was at ``to``: it was started again with an older file, or
    a replica took over. Unless ``starts``, somebody put its keys back into the Redis that runs, or
    the worker may not ask which Redis it is (INFO): then only the journal tells. A file of before a
    loss does nothing unless ``of_before_a_loss``."""

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

CallFault = Late | AnswerLost | NotSent | SentTwice
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
