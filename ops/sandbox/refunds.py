"""Refunds of all that was captured: https://docs.stripe.com/api/refunds."""

from dataclasses import dataclass
from typing import Any

from ops.sandbox.cards import CARDS
from ops.sandbox.errors import invalid_request
from ops.sandbox.form import Parameters
from ops.sandbox.intents import Intent, new_id

Refund = dict[str, Any]

REASONS = ("duplicate", "fraudulent", "requested_by_customer")


@dataclass(frozen=True)
class RefundCreation:
    """``amount_minor`` None means all that was captured."""

    intent_id: str
    amount_minor: int | None
    reason: str | None
    metadata: dict[str, str]


def read_creation(parameters: Parameters) -> RefundCreation:
    """Raises ApiError for a parameter that is missing, wrong or unknown."""
    intent_id = parameters.text("payment_intent")
    if intent_id is None:
        message = "Missing required param: payment_intent."
        raise invalid_request(message, "parameter_missing", "payment_intent")
    creation = RefundCreation(
        intent_id=intent_id,
        amount_minor=parameters.integer("amount"),
        reason=parameters.text("reason", REASONS),
        metadata=parameters.metadata(),
    )
    parameters.require_no_more()
    return creation


def create(creation: RefundCreation, intent: Intent, refunded_minor: int, created_s: int) -> Refund:
    """Give the money back. ``refunded_minor`` is the sum of the refunds before; ``created_s`` is
    in seconds of Unix time. Raises ApiError when there is nothing (any more) to give back."""
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
    if refunded_minor:
        message = f"Charge {intent['latest_charge']} has already been refunded."
        raise invalid_request(message, "charge_already_refunded")
    if creation.amount_minor not in (None, intent["amount_received"]):
        raise invalid_request("The sandbox refunds all of a payment or nothing.", param="amount")
    return {
        "id": new_id("re"),
        "object": "refund",
        "amount": intent["amount_received"],
        "charge": intent["latest_charge"],
        "created": created_s,
        "currency": intent["currency"],
        "metadata": creation.metadata,
        "payment_intent": intent["id"],
        "reason": creation.reason,
        "status": CARDS[intent["payment_method"]].refund_status,
    }
