"""The ways in which a sale can refuse a request. ``web/http/problems.py`` turns each into a
response."""

import re
from dataclasses import dataclass
from datetime import datetime

from web.domain.sales import MAX_REFUSED_CARDS, BankStep

NOT_COMPLETED = "not_completed"
"""The reason of a decline that did not come from a bank: the payment was interrupted before the
card was charged."""


AUTHENTICATION_FAILED = "authentication_failed"
"""The reason when the owner of the card failed, refused or closed the bank's question."""


AUTHENTICATION_REQUIRED = "authentication_required"
"""The reason when the bank wanted to ask the owner of the card, and there was no way to."""

NEEDS_OWNER = (
    "The bank of this card wants its owner to confirm the payment and could not be asked. "
    "Please use another card."
)
"""The message for it."""


NOT_CONFIRMED = "not_confirmed"
"""The reason when the owner of the card did not answer the bank's question in time."""


NOT_ACCEPTED = "not_accepted"
"""The reason of another decline that did not come from a bank: the gateway takes no such payment
from this shop, whatever the card."""


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


class Refusal(Exception):
    """An expected refusal: part of a sale, not an error. ``web/http/problems.py`` turns it into a
    response, ``str()`` into the text for logs and terminals."""

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


class SaleClosed(Refusal):
    """The sale is over; a payment that has begun may complete."""


@dataclass(eq=False)
class TooManyHeld(Refusal):
    held: int
    limit: int


@dataclass(eq=False)
class TooManyHeldByNetwork(TooManyHeld):
    """The client itself may hold none: others in its IPv6 network hold the seats."""


@dataclass(eq=False)
class BasketFull(Refusal):
    """A browser remembers ``limit`` holds, and none of them has ended."""

    limit: int


class HoldNotFound(Refusal):
    """No such hold, or not with this token: the client must not learn which of the two."""


class BookingNotFound(Refusal):
    """No such booking, or not with this token."""


class EventChanged(Exception):
    """The event was opened again with another definition since the caller looked it up. The
    caller's positions and prices are out of date; nothing was done, and it should look again.
    """

    def __str__(self) -> str:
        return "the event was opened with another definition meanwhile"


class HoldExpired(Refusal):
    """The hold ran out or was released. Nothing was charged."""


class AlreadyExtended(Refusal):
    """A hold can be extended only once."""


@dataclass(eq=False)
class AlreadyBooked(Refusal):
    """The hold was paid before, with another idempotency key."""

    booking_id: str


class PaymentInProgress(Refusal):
    pass


@dataclass(eq=False)
class PaymentPending(Refusal):
    """The outcome of a charge is not known yet; the worker will find out. ``key_digest`` identifies
    the payment among those of its hold."""

    key_digest: str


@dataclass(eq=False)
class ActionRequired(PaymentPending):
    """The owner of the card has to confirm the payment; the outcome is not known before."""

    bank_step: BankStep


class PaymentNotFound(Refusal):
    """No such payment, or it ended without an outcome: its key may be used (again)."""


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
    """The refusal that an idempotency key got before; it is the key's final response."""

    refusal: PaymentDeclined | SeatTaken


class NotATicket(Refusal):
    """Not signed by this service, or of no booking."""


@dataclass(eq=False)
class OtherEvent(Refusal):
    """A ticket of ours for ``event_id``, which is not the event at this door."""

    event_id: str


@dataclass(eq=False)
class TicketRefunded(Refusal):
    """``refunded_at`` is None while the money is on its way back, and for single seats."""

    refunded_at: datetime | None


@dataclass(eq=False)
class AlreadyAdmitted(Refusal):
    """All seats of the ticket were let in before; the last of them at this time and gate."""

    seats: tuple[str, ...]
    admitted_at: datetime
    gate: str


class IdempotencyKeyMissing(Refusal):
    pass


class IdempotencyKeyReused(Refusal):
    """The same key came with another payment."""


@dataclass(eq=False)
class Unavailable(Refusal):
    """A part cannot be reached; nothing happened, and a retry is safe. ``answer`` is the part's own
    error message if it can be reached but cannot execute the call."""

    part: str
    retry_after_s: int = 1
    answer: str | None = None

    def __str__(self) -> str:
        """For operators, who know the store by its product."""
        product = {"seat store": " (Redis)", "booking store": " (MongoDB)"}.get(self.part, "")
        return f"the {self.part}{product} cannot be reached"


class NotKnownNow(Unavailable):
    """Redis has just lost a hold whose payment may still be booked. The outcome will be known a
    little later."""

    def __str__(self) -> str:
        return "Redis has lost the hold a moment ago, and its payment may still be booked"


class PaymentsClosed(Unavailable):
    """The payment gateway rejects the shop's key or account: nobody can pay until the operator has
    fixed it."""


class PaymentsBusy(Unavailable):
    """The payment gateway cannot take one more payment right now."""
