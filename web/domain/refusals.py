"""The ways in which a sale can say no. ``web/http/problems.py`` says how each looks to a client."""

import re
from dataclasses import dataclass

from web.domain.sales import MAX_REFUSED_CARDS

NOT_COMPLETED = "not_completed"
"""The reason of a decline that no bank gave: the payment broke off before the card was charged."""


NOT_ACCEPTED = "not_accepted"
"""Another that no bank gave: the gateway takes no payment like this from this shop, whatever the
card."""


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


class Refusal(Exception):
    """An expected no: part of a sale, not an accident. ``web/http/problems.py`` says how each one
    looks to a client, ``str()`` what logs and terminals say."""

    def __str__(self) -> str:
        """``seat taken: stalls-A-1``."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(self).__name__).lower()
        return ": ".join([words, *(_listed(value) for value in vars(self).values())])


@dataclass(eq=False)
class InvalidRequest(Refusal):
    """``field`` is a body field, header or part of the path; ``problem`` says what it must be."""

    field: str
    problem: str


@dataclass(eq=False)
class EventNotFound(Refusal):
    event_id: str


@dataclass(eq=False)
class SectionNotFound(Refusal):
    section_id: str


@dataclass(eq=False)
class SeatNotFound(Refusal):
    seat: str


@dataclass(eq=False)
class SeatTaken(Refusal):
    seats: tuple[str, ...]


@dataclass(eq=False)
class SoldOut(Refusal):
    """Fewer than ``quantity`` seats of the section are free now."""

    section_id: str
    quantity: int


@dataclass(eq=False)
class SaleNotOpen(Refusal):
    wait_ms: int


@dataclass(eq=False)
class TooManyHeld(Refusal):
    held: int
    limit: int


@dataclass(eq=False)
class TooManyHeldByNetwork(TooManyHeld):
    """Its client may have nothing to do with it: others in its IPv6 network hold the seats."""


@dataclass(eq=False)
class BasketFull(Refusal):
    """A browser remembers ``limit`` holds, and none of them has ended."""

    limit: int


class HoldNotFound(Refusal):
    """No such hold, or not with this token: which of the two is nobody's business."""


class BookingNotFound(Refusal):
    """No such booking, or not with this token."""


class EventChanged(Exception):
    """The event was opened again with another definition since the caller looked it up: what the
    caller knows of positions and prices is out of date, nothing was done, and it should look again.
    """

    def __str__(self) -> str:
        return "the event was opened with another definition meanwhile"


class HoldExpired(Refusal):
    """The hold ran out or was released. Nothing was charged."""


class AlreadyExtended(Refusal):
    """A hold gets its time once more only once."""


@dataclass(eq=False)
class AlreadyBooked(Refusal):
    """The hold was paid before, with another idempotency key."""

    booking_id: str


class PaymentInProgress(Refusal):
    pass


@dataclass(eq=False)
class PaymentPending(Refusal):
    """The outcome of a charge is not known yet; the worker will find out. ``key_digest`` names the
    payment among those of its hold."""

    key_digest: str


class PaymentNotFound(Refusal):
    """No such payment, or it left nothing to tell: its key may be used (again)."""


@dataclass(eq=False)
class PaymentDeclined(Refusal):
    """The card was refused, or the payment was not completed or not accepted; nothing was charged.
    ``reason`` is the gateway's code for it, NOT_COMPLETED or NOT_ACCEPTED, ``attempts_left`` how
    many more cards this hold takes (0: its seats were given back)."""

    reason: str
    message: str
    attempts_left: int = MAX_REFUSED_CARDS

    @property
    def is_of_the_card(self) -> bool:
        """Whether it counts as a refused card of its hold."""
        return self.reason not in (NOT_COMPLETED, NOT_ACCEPTED)


@dataclass(eq=False)
class EarlierRefusal(Refusal):
    """The refusal that an idempotency key got before; it is its final answer."""

    refusal: PaymentDeclined | SeatTaken


class IdempotencyKeyMissing(Refusal):
    pass


class IdempotencyKeyReused(Refusal):
    """The same key came with another payment."""


@dataclass(eq=False)
class Unavailable(Refusal):
    """A part cannot be reached, nothing happened, and a retry is safe. ``answer``: what it said, in
    its own words, when it is there and cannot do what was asked."""

    part: str
    retry_after_s: int = 1
    answer: str | None = None

    def __str__(self) -> str:
        """For operators, who know the store by its product."""
        product = {"seat store": " (Redis)", "booking store": " (MongoDB)"}.get(self.part, "")
        return f"the {self.part}{product} cannot be reached"


class NotKnownNow(Unavailable):
    """Redis was lost with a hold a moment ago, and its payment may still be booked. A little later
    it is known what became of it."""

    def __str__(self) -> str:
        return "Redis has lost the hold a moment ago, and its payment may still be booked"


class PaymentsClosed(Unavailable):
    """The payment gateway does not let the shop in: nobody can pay until the operator has mended
    the shop's key or account there."""


class PaymentsBusy(Unavailable):
    """The payment gateway has no time for one more payment now."""
