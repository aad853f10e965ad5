"""A sale from the hold to the receipt."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal, NamedTuple

from web.domain.admissions import Admission

MAX_REFUSED_CARDS = 5
"""Refused cards after which a hold is released: enough for a buyer with many cards, too few to test
stolen ones."""


DEFAULT_LEASE_S = 60.0
"""How long a payment belongs to the process that began it, before the worker takes over: longer
than the sum of all timeouts of its steps."""


DEFAULT_CONFIRMATION_S = 360.0
"""How long the owner of a card has to confirm a payment at the bank, from its beginning: EMV 3-D
Secure gives a challenge five minutes at least."""


LAST_STEP_S = 30.0
"""How long a payment may take from its last check in Redis to the end of its insert: almost twice
MongoDB's timeouts for all tries (16 s), for a process that had to wait for the CPU meanwhile. For
that long after a loss of Redis, a payment that Redis no longer knows may still be booked."""


class HoldStatus(StrEnum):
    HELD = "held"
    PAYING = "paying"
    BOOKED = "booked"


class RefusedAs(NamedTuple):
    """What a payment ended with, or will; as in PaymentDeclined."""

    reason: str
    message: str


@dataclass(frozen=True)
class BankStep:
    """What the owner of a card has to do before a payment goes on: open ``url``, a page of the
    bank; or let Stripe.js do it, which needs the ``client_secret``. The other one is "". There is
    time until ``until_ms``, Unix time by the clock of Redis; ``expires_in_ms`` is from the moment
    of its reply. ``canceled_as``: the payment is being canceled, and this is what its buyer will
    get. Neither address nor secret belongs in a log."""

    payment_id: str
    url: str = field(repr=False)
    client_secret: str = field(repr=False)
    until_ms: int
    expires_in_ms: int = 0
    canceled_as: RefusedAs | None = None


@dataclass(frozen=True)
class Hold:
    """A temporary claim on seats. ``expires_in_ms`` is from the moment of Redis's reply; a payment
    that has begun outlives it. ``payments`` counts those that were begun, ``refused_cards`` those
    that a bank refused. ``extended``: it was extended, and cannot be again. ``booking`` is what it
    became. ``bank_step``: its payment has to be confirmed by the owner of the card, and
    ``payment_digest`` names that payment. ``last_refusal`` is what its last payment ended with."""

    id: str
    event_id: str
    seats: tuple[str, ...]
    amount_minor: int
    currency: str
    status: HoldStatus
    expires_at_ms: int
    expires_in_ms: int
    payments: int = 0
    refused_cards: int = 0
    extended: bool = False
    booking: "Booking | None" = None
    bank_step: BankStep | None = None
    payment_digest: str = ""
    last_refusal: RefusedAs | None = None

    @property
    def refunded(self) -> bool:
        return self.booking is not None and self.booking.refunded_at is not None


@dataclass(frozen=True)
class HoldRef:
    """A hold as a client names it. ``token`` is the client's proof that the hold is its own, and
    may be wrong."""

    event_id: str
    hold_id: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class Buyer:
    """Who pays and how, from the checkout form. ``payment_method`` is a payment method or a
    confirmation token, ``pm_…`` or ``ctoken_…``."""

    payment_method: str
    email: str
    name: str


@dataclass(frozen=True)
class WayBack:
    """How a buyer confirms a payment if the bank asks for it: on the bank's page, which leads back
    to ``return_url``; or ``in_page``, where Stripe.js shows the bank's question in ours."""

    return_url: str
    in_page: bool = False


NO_WAY_BACK = WayBack("")
"""Of a payment that cannot begin any more."""


@dataclass(frozen=True)
class PaymentAttempt:
    """One attempt to charge for a hold, with everything that is needed to finish it, so that any
    process can. Its seats count as unpaid seats of ``client`` and ``network``; a client may have no
    network, "". ``key_digest`` stands for the client's idempotency key, ``fingerprint`` for the
    request that it was first used with. ``given_back``: how often an attempt with the key could not
    be carried out, after which the key may be used again. ``claim``: how often another process has
    taken it over. ``bank_step`` is None unless its owner has to confirm it."""

    event_id: str
    hold_id: str
    client: str
    network: str
    attempt: int
    seats: tuple[str, ...]
    amount_minor: int
    currency: str
    buyer: Buyer
    key_digest: str
    fingerprint: str
    begun_at: datetime
    given_back: int = 0
    way_back: WayBack = NO_WAY_BACK
    claim: int = 0
    bank_step: BankStep | None = None

    @property
    def gateway_key(self) -> str:
        """The gateway's idempotency key: the same whenever the buyer's key is used for this hold,
        so that the gateway recognises it when Redis has lost the result."""
        return f"{self.hold_id}-{self.key_digest[:32]}-{self.given_back}"


@dataclass(frozen=True)
class Receipt:
    """What the buyer sees of a booking; its JSON has exactly these fields in this order."""

    booking_id: str
    hold_id: str
    event: str
    seats: tuple[str, ...]
    amount: int
    currency: str
    payment_id: str | None
    booked_at: str
    status: Literal["booked", "refunded"] = "booked"


@dataclass(frozen=True)
class SoldAs:
    """The names, date and prices at the time of the sale. The file may remove, rename or move
    things later, or be deleted. ``seats`` are in the order of the booking's, and so are
    ``prices_minor``. ``timezone`` is an IANA name. Bookings from before they were stored, and
    events from before they had dates, have none of the last three."""

    event: str
    venue: str
    seats: tuple[str, ...]
    starts_at: datetime | None = None
    timezone: str | None = None
    prices_minor: tuple[int, ...] = ()


News = Literal["ticket", "postponed", "cancelled", "refunded"]
"""What a buyer has still to be told: the booking was made, and this is its ticket; the event has
another date or none yet; it was cancelled and the money returned; or the booking, or seats of it,
were refunded."""


@dataclass(frozen=True)
class SeatRefund:
    """A refund of single seats of a booking that has begun and is not complete. ``is_paid``: the
    money is back, and the seats are on sale again or about to be."""

    seats: tuple[str, ...]
    amount_minor: int
    is_paid: bool = False


@dataclass(frozen=True)
class MailState:
    """What became of the mails of a booking. ``sent_at`` is of the last that the mail server took.
    ``failing_since`` and ``failures``: the one that is due was refused so often. ``unanswered``: so
    often the server took all of it and did not answer. ``given_up`` is why the last one will not
    be sent, or was perhaps not."""

    sent_at: datetime | None = None
    failing_since: datetime | None = None
    failures: int = 0
    unanswered: int = 0
    given_up: str | None = None


@dataclass(frozen=True)
class Booking:
    """A paid hold: final, one document in MongoDB. ``payment_id`` is None when the seats cost
    nothing. ``booked_at`` is UTC with milliseconds, MongoDB's precision, so that a receipt made
    from a booking that was read back has the same bytes. ``sold_as`` is None when the names could
    not be read, and in bookings from before they were stored.

    ``seats`` and ``amount_minor`` are those of the sale, whatever was refunded since. Of
    ``refunded_seats`` the money, ``refunded_minor``, was returned while the rest stayed booked.
    ``seat_refund`` is one that is under way. ``news`` is what the buyer has still to be told,
    with when it became known; nothing in a shop that sends no mails. ``refund_under_way`` is not
    compared: it ends after the refund's last change to the rest."""

    id: str
    hold_id: str
    event_id: str
    seats: tuple[str, ...]
    amount_minor: int
    currency: str
    payment_id: str | None
    booked_at: datetime
    email: str
    name: str
    key_digest: str
    fingerprint: str
    refunded_at: datetime | None = None
    sold_as: SoldAs | None = None
    refunded_seats: tuple[str, ...] = ()
    refunded_minor: int = 0
    seat_refund: SeatRefund | None = None
    news: dict[News, datetime] = field(default_factory=dict, hash=False)
    refund_under_way: bool = field(default=False, compare=False)
    admissions: tuple[Admission, ...] = ()
    mail: MailState = MailState()

    @property
    def seats_left(self) -> tuple[str, ...]:
        """Those that were not refunded one by one: all that a booking which was not refunded as a
        whole still admits."""
        return tuple(seat for seat in self.seats if seat not in self.refunded_seats)

    @property
    def refund_decided(self) -> bool:
        """Whether the money is back, or on its way."""
        return self.refund_under_way or self.refunded_at is not None

    def receipt(self) -> Receipt:
        """What the buyer got when it was booked, and gets whenever the payment is retried."""
        return Receipt(
            booking_id=self.id,
            hold_id=self.hold_id,
            event=self.event_id,
            seats=self.seats,
            amount=self.amount_minor,
            currency=self.currency,
            payment_id=self.payment_id,
            booked_at=rfc3339(self.booked_at),
        )

    def receipt_now(self) -> Receipt:
        """The same, but with its current status."""
        return replace(self.receipt(), status="refunded") if self.refunded_at else self.receipt()


def booking_id_of(hold_id: str) -> str:
    """A hold becomes at most one booking, and its id says which."""
    return f"bkg_{hold_id.removeprefix('hld_')}"


def hold_id_of(booking_id: str) -> str:
    return f"hld_{booking_id.removeprefix('bkg_')}"


def in_utc(moment: datetime) -> datetime:
    """``moment`` in UTC, or the nearest moment that exists there: the last evening of the year 9999
    in America does not. Files can no longer have it, but could when their events were opened."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        if moment.year > 1:
            return datetime.max.replace(tzinfo=UTC)
        return datetime.min.replace(tzinfo=UTC)


def rfc3339(moment: datetime) -> str:
    """UTC with milliseconds: ``2026-11-22T19:30:00.000Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
