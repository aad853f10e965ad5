"""Whose money moved: what the use cases ask of a payment gateway."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from web.domain.refusals import PaymentDeclined

GatewayStatus = Literal["declined", "authorized", "captured", "voided", "refunded"]


@dataclass(frozen=True)
class GatewayPayment:
    """Money reserved on a card (or what became of it) as the gateway's ledger has it. What was
    given back in part only is still "captured".

    ``key`` is the gateway key that made it (PaymentAttempt.gateway_key); ``metadata`` is what
    authorize was given. ``decline`` says why it is "declined", as authorize did.
    """

    payment_id: str
    key: str
    amount_minor: int
    currency: str
    status: GatewayStatus
    created: datetime
    metadata: Mapping[str, str]
    decline: PaymentDeclined | None = field(default=None, compare=False)


class GatewayError(Exception):
    """The gateway could not be asked, or its answer did not arrive."""


class NotExecuted(GatewayError):
    """Definitely nothing happened: connection refused, told to slow down."""


class NotAccepted(NotExecuted):
    """Nothing happened, and nothing will however often it is asked: an amount that is too small, a
    currency or a kind of payment that this shop's account cannot take."""


class NotAllowed(NotExecuted):
    """Nothing happened, and nothing will until the operator has mended the shop's key or account at
    the gateway."""


class TooBusy(NotExecuted):
    """Nothing happened: the gateway has no time for the call, or this process has none for one more
    call of it. After a while there may be."""


class OutcomeUnknown(GatewayError):
    """It may have happened: time-out, connection reset, 5xx."""


class KeyUsed(GatewayError):
    """The gateway knows the key from a call that asked for something else. This call did nothing,
    and with this key none like it ever will."""


class BadSignature(Exception):
    """The webhook is not from the gateway, or is too old."""


class Gateway(Protocol):
    """Every call but those of webhooks raises NotExecuted or OutcomeUnknown when it has no answer.
    Every call may be repeated with the same key: it then answers the same and does nothing
    twice. What a key was used for is remembered for a day at least."""

    def authorize(
        self,
        key: str,
        amount_minor: int,
        currency: str,
        payment_method: str,
        metadata: Mapping[str, str],
    ) -> GatewayPayment:
        """Reserve the money. Raises PaymentDeclined when the card is refused or needs a further
        step by its owner, InvalidRequest when there is no such payment method or it cannot be used
        for this, NotAccepted and NotAllowed when no other one could either, KeyUsed when the key
        was retired, or used with other arguments."""
        ...

    def retire(self, key: str, amount_minor: int, currency: str, fingerprint: str) -> None:
        """Uses up a key that authorize never had: from now on authorize raises KeyUsed with it,
        also in a call that is on its way already. Raises KeyUsed when authorize was faster: then
        there is a payment, which may not be listed yet, or a refusal that left none, and with this
        key there will be no other. OutcomeUnknown while a call with the key is being carried out. A
        retired key has no payment, so it is not listed; it is found as one that was voided, with
        the ``fingerprint`` in its metadata."""
        ...

    def capture(self, payment_id: str) -> None:
        """Take the reserved money, all of it."""
        ...

    def void(self, payment_id: str) -> None:
        """Let the reserved money go; nothing to do when it was let go before."""
        ...

    def refund(self, payment_id: str, key: str) -> None:
        """Give all captured money back; nothing to do when it was given back before, whenever and
        with whatever key. ``key`` is derived from the booking. Raises NotExecuted also when the
        payment was not captured."""
        ...

    def now(self) -> datetime:
        """The moment by the gateway's clock, in UTC, to the second: what ``created`` of a payment
        is compared with. The clock of this machine may be wrong by hours."""
        ...

    def find(self, key: str, since: datetime) -> GatewayPayment | None:
        """The payment that this key made at or after ``since``, from the gateway's own list. None
        also when the list is late, or the gateway itself does not know yet what became of it."""
        ...

    def find_all(self, keys: Collection[str], since: datetime) -> dict[str, GatewayPayment]:
        """The same for several keys, in one reading of the list; those that there are, by key."""
        ...

    def list(self, since: datetime) -> Iterator[GatewayPayment]:
        """Payments made at or after ``since``, newest first."""
        ...

    def verify_webhook(self, payload: bytes, signature: str) -> None:
        """Raises BadSignature unless the gateway has signed the raw body ``payload`` just now; asks
        nobody."""
        ...

    def read_webhook(self, payload: bytes, signature: str) -> GatewayPayment | None:
        """The payment that the gateway tells of, as it was when that was written: a hint to look,
        not a fact, for it may be late, repeated, out of order, or never come. None when the event
        is about something else. Takes and raises what verify_webhook does; asks nobody."""
        ...
