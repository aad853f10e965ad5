"""Whose money moved: a payment gateway, as the use cases see it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from web.domain.refusals import PaymentDeclined
from web.domain.sales import WayBack

GatewayStatus = Literal[
    "declined", "action_required", "authorized", "captured", "voided", "refunded"
]


@dataclass(frozen=True)
class NextAction:
    """How the owner of a card confirms a payment: at ``url``, or through Stripe.js, which needs the
    ``client_secret``. The other one is "". Whoever has either can confirm it, also with another
    card, until the payment is voided."""

    url: str = field(repr=False)
    client_secret: str = field(repr=False)


@dataclass(frozen=True)
class GatewayPayment:
    """Money reserved on a card (or what became of it) as the gateway's ledger has it. A payment
    that was refunded in part only is still "captured"; ``refunded_minor`` is that part.
    ``amount_minor`` of a "captured" or "refunded" one is what was captured, which may be less than
    what was reserved.

    ``key`` is the gateway key that made it (PaymentAttempt.gateway_key); ``metadata`` is what
    authorize was given. ``decline`` says why it is "declined", as authorize did. ``next_action`` is
    what its owner has to do while it is "action_required".
    """

    payment_id: str
    key: str
    amount_minor: int
    currency: str
    status: GatewayStatus
    created: datetime
    metadata: Mapping[str, str]
    decline: PaymentDeclined | None = field(default=None, compare=False)
    next_action: NextAction | None = field(default=None, compare=False)
    refunded_minor: int = 0


class GatewayError(Exception):
    """The gateway could not be reached, or its response did not arrive."""


class NotExecuted(GatewayError):
    """Definitely nothing happened: connection refused, or rate-limited."""


class NotAccepted(NotExecuted):
    """Nothing happened, and repeating the call will not help: the amount is too small, or this
    shop's account cannot take this currency or kind of payment."""


class NotAllowed(NotExecuted):
    """Nothing happened, and nothing will until the operator has fixed the shop's key or account at
    the gateway."""


class TooBusy(NotExecuted):
    """Nothing happened: the gateway is overloaded, or the shop already makes as many calls to it as
    it may. It may work after a while: after ``retry_after_s``, if that is known."""

    def __init__(self, message: str, retry_after_s: float | None = None):
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OutcomeUnknown(GatewayError):
    """It may have happened: time-out, connection reset, 5xx."""


class KeyUsed(GatewayError):
    """The gateway knows the key from a call with other arguments. This call did nothing, and
    repeating it with this key never will."""


class BadSignature(Exception):
    """The webhook is not from the gateway, or is too old."""


class Gateway(Protocol):
    """Every method but those for webhooks raises NotExecuted or OutcomeUnknown when there is no
    response. Every call may be repeated with the same key: the result is the same and nothing
    happens twice. Keys are remembered for a day at least."""

    def authorize(
        self,
        key: str,
        amount_minor: int,
        currency: str,
        payment_method: str,
        metadata: Mapping[str, str],
        way_back: WayBack,
    ) -> GatewayPayment:
        """Reserve the money. ``payment_method`` may be a confirmation token. The payment is
        "authorized", or "action_required" when the owner of the card has to confirm it first; a
        repetition returns what the first call did. Raises PaymentDeclined when the card is refused,
        InvalidRequest when there is no such payment method or it cannot be used for this,
        NotAccepted or NotAllowed when no other method could be used either, KeyUsed when the key
        was retired or used with other arguments."""
        ...

    def retrieve(self, payment_id: str) -> GatewayPayment:
        """A payment as it is now. Raises OutcomeUnknown also while the gateway itself does not know
        the outcome yet."""
        ...

    def retire(self, key: str, amount_minor: int, currency: str, fingerprint: str) -> None:
        """Use up a key that authorize never got: from now on authorize raises KeyUsed with it, even
        in a call that is already on its way. Raises KeyUsed when authorize was faster: then there
        is a payment, which may not be listed yet, or a refusal that left none, and this key will
        never make another. Raises OutcomeUnknown while a call with the key is being carried out. A
        retired key has no payment, so it is not listed; find returns it as a voided payment with
        the ``fingerprint`` in its metadata."""
        ...

    def capture(self, payment_id: str) -> None:
        """Take the reserved money, all of it."""
        ...

    def void(self, payment_id: str) -> None:
        """Release the reserved money, and take no more for this payment, whoever has its secret.
        Idempotent. Raises NotExecuted when the money was captured."""
        ...

    def refund(self, payment_id: str, key: str) -> None:
        """Give all captured money back; does nothing if that was done before, at any time and with
        any key. ``key`` is derived from the booking. Raises NotExecuted also when the payment was
        not captured."""
        ...

    def refund_part(self, payment_id: str, amount_minor: int, key: str) -> None:
        """Give back a part of the captured money, once for each ``key``, which is derived from the
        booking and its seats: also when the gateway has forgotten the key since. Raises NotExecuted
        also when the payment was not captured, or less than this is left of it."""
        ...

    def now(self) -> datetime:
        """The time by the gateway's clock, in UTC, to the second: what a payment's ``created`` is
        compared with. This machine's clock may be wrong by hours."""
        ...

    def find(self, key: str, since: datetime) -> GatewayPayment | None:
        """The payment that this key made at or after ``since``, from the gateway's own list. None
        also when the list lags, or the gateway itself does not know the outcome yet."""
        ...

    def find_all(self, keys: Collection[str], since: datetime) -> dict[str, GatewayPayment]:
        """The same for several keys, reading the list once; the payments that exist, by key."""
        ...

    def list(self, since: datetime) -> Iterator[GatewayPayment]:
        """Payments made at or after ``since``, newest first."""
        ...

    def refunded(self, since: datetime) -> Iterator[GatewayPayment]:
        """Payments of which something was given back at or after ``since``, by this shop or by
        hand, as they are now; one may come several times."""
        ...

    def verify_webhook(self, payload: bytes, signature: str) -> None:
        """Raises BadSignature unless the gateway has signed the raw body ``payload`` within the
        last minutes. No I/O."""
        ...

    def read_webhook(self, payload: bytes, signature: str) -> GatewayPayment | None:
        """The payment that the webhook is about, as it was when the webhook was written: a hint to
        look it up, not a fact, because webhooks may be late, repeated, out of order or lost. None
        when it is about something else. Takes and raises what verify_webhook does. No I/O."""
        ...
