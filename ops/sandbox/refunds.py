"""Refunds of captured payments, in whole or in part: https://docs.stripe.com/api/refunds."""

from dataclasses import dataclass
from typing import Any

from stripe.params import RefundCreateParams

from ops.sandbox.cards import Card
from ops.sandbox.errors import invalid_request
from ops.sandbox.form import Parameters
from ops.sandbox.ids import new_id
from ops.sandbox.intents import Intent
from web.domain.currencies import currency_of

Refund = dict[str, Any]

REASONS = ("duplicate", "fraudulent", "requested_by_customer")


@dataclass(frozen=True)
class RefundCreation:
    """``amount_minor`` None means all that is left."""

    intent_id: str
    amount_minor: int | None
    reason: str | None
    metadata: dict[str, str]


def read_creation(parameters: Parameters) -> RefundCreation:
    """Raises ApiError for a parameter that is missing, wrong or unknown."""
    creation = RefundCreation(
        intent_id=parameters.required_text("payment_intent"),
        amount_minor=parameters.integer("amount"),
        reason=parameters.text("reason", REASONS),
        metadata=parameters.metadata(),
    )
    if creation.amount_minor is not None and creation.amount_minor < 1:
        raise invalid_request(
            "This value must be greater than or equal to 1.", "parameter_invalid_integer", "amount"
        )
    parameters.require_no_more(RefundCreateParams)
    return creation


def require_captured(intent: Intent) -> None:
    """Raises ApiError when no money was taken."""
    if intent["status"] == "requires_capture":
        raise invalid_request(
            f"This uncaptured Charge was created by a PaymentIntent ({intent['id']}). You must "
            "cancel the PaymentIntent to reverse the authorization instead of refunding the Charge "
            "directly."
        )
    if intent["status"] != "succeeded":
        raise invalid_request(
            f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
        )


def create(
    creation: RefundCreation, intent: Intent, card: Card, refunded_minor: int, created_s: int
) -> Refund:
    """A new refund. ``card`` is the card that was charged, ``refunded_minor`` the sum of the
    earlier refunds; ``created_s`` is Unix time in seconds. Raises ApiError when less than the
    amount is left."""
    left_minor = intent["amount_received"] - refunded_minor
    if not left_minor:
        message = f"Charge {intent['latest_charge']} has already been refunded."
        raise invalid_request(message, "charge_already_refunded")
    amount_minor = left_minor if creation.amount_minor is None else creation.amount_minor
    if amount_minor > left_minor:
        code = intent["currency"].upper()
        money = currency_of(code).amount
        raise invalid_request(
            f"Refund amount ({money(amount_minor)} {code}) is greater than unrefunded amount on "
            f"charge ({money(left_minor)} {code})",
            param="amount",
        )
    return {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount_minor,
        "charge": intent["latest_charge"],
        "created": created_s,
        "currency": intent["currency"],
        "metadata": creation.metadata,
        "payment_intent": intent["id"],
        "reason": creation.reason,
        "status": card.refund_status,
    }
