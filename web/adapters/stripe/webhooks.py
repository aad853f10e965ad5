"""Webhooks: checks Stripe's signature and reads the payment that a webhook is about."""

from typing import Annotated

import msgspec
import stripe
from msgspec import Meta

from web.adapters.stripe.payments import (
    RETIRED_FIELD,
    STATUSES,
    Shop,
    gateway_payment,
)
from web.ports.payment_gateway import BadSignature, GatewayPayment, GatewayStatus

MAX_SIGNATURE_LENGTH = 1024
"""Of the header Stripe-Signature. Stripe sends 80 characters, and 70 more for each further secret
while one is being replaced; each signature in it is compared."""

TOLERANCE_S = 300
"""The maximum age of a signature, as Stripe advises:
https://docs.stripe.com/webhooks#replay-attacks. When Stripe sends a webhook again it signs it
again."""

Moment = Annotated[int, Meta(ge=0, le=253_402_300_799)]
"""Seconds of Unix time that a datetime can hold: to the end of the year 9999."""


class WebhookObject(msgspec.Struct):
    """The fields read from both intents and charges in webhooks."""

    amount: int
    currency: str
    created: Moment
    metadata: dict[str, str]

    def _payment(self, payment_id: str, status: GatewayStatus | None) -> GatewayPayment | None:
        if status is None:
            return None
        return gateway_payment(
            payment_id, status, self.amount, self.currency, self.created, self.metadata
        )


class WebhookIntent(WebhookObject):
    id: str
    status: str

    def payment(self) -> GatewayPayment | None:
        return self._payment(self.id, STATUSES.get(self.status))


class WebhookCharge(WebhookObject):
    """Its metadata is that of its intent: Stripe copies it."""

    payment_intent: str
    captured: bool
    refunded: bool

    def payment(self) -> GatewayPayment | None:
        if not self.captured:
            return self._payment(self.payment_intent, "voided" if self.refunded else None)
        return self._payment(self.payment_intent, "refunded" if self.refunded else "captured")


class EventData(msgspec.Struct):
    object: msgspec.Raw


class WebhookEvent(msgspec.Struct):
    type: str
    data: EventData


OBJECTS: dict[str, type[WebhookIntent | WebhookCharge]] = {
    "payment_intent.amount_capturable_updated": WebhookIntent,
    "payment_intent.payment_failed": WebhookIntent,
    "payment_intent.succeeded": WebhookIntent,
    "payment_intent.canceled": WebhookIntent,
    # Also sent for a void, which releases what was not captured.
    "charge.refunded": WebhookCharge,
}
"""By the type of the event. Others, like payment_intent.created, are about payments that have no
outcome yet."""


def verify(payload: bytes, signature: str, secret: str) -> None:
    """Raises BadSignature unless Stripe has signed ``payload`` with ``secret`` within the last
    TOLERANCE_S; ``signature`` is the header Stripe-Signature."""
    if len(signature) > MAX_SIGNATURE_LENGTH:
        raise BadSignature(f"the signature has more than {MAX_SIGNATURE_LENGTH} characters")
    try:
        stripe.WebhookSignature.verify_header(payload, signature, secret, TOLERANCE_S)
    except (stripe.SignatureVerificationError, UnicodeDecodeError, TypeError) as error:
        # A payload that is not UTF-8, or a signature that is not ASCII.
        raise BadSignature(str(error)) from error


def read(payload: bytes, shop: Shop) -> GatewayPayment | None:
    """The payment of ``shop`` that a webhook is about; None when it is about anything else, or
    cannot be read. Authorisations, declines, captures, voids and refunds are read."""
    try:
        event = msgspec.json.decode(payload, type=WebhookEvent)
        kind = OBJECTS.get(event.type)
        if kind is None:
            return None
        found: WebhookIntent | WebhookCharge = msgspec.json.decode(event.data.object, type=kind)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not shop.owns(found.metadata) or RETIRED_FIELD in found.metadata:
        return None
    return found.payment()
