"""Charges, which are shown only as the expanded ``latest_charge`` of a PaymentIntent and in
webhooks: https://docs.stripe.com/api/charges/object.

All fields of a charge follow from its intent and from the sum of its refunds, so charges are not
stored.
"""

from typing import Any

from ops.sandbox.intents import Intent
from ops.sandbox.payment_methods import no_billing_details

Charge = dict[str, Any]


def latest_charge_of(intent: Intent, refunded_minor: int) -> Charge | None:
    """As charge_of; None when the card was not charged yet."""
    return None if intent["latest_charge"] is None else charge_of(intent, refunded_minor)


def charge_of(intent: Intent, refunded_minor: int) -> Charge:
    """The latest charge of an intent that has one. ``refunded_minor`` is the sum of the intent's
    refunds.

    A released authorisation counts as refunded too, as it does at Stripe: the charge of a cancelled
    intent is ``refunded`` and not ``captured``.
    """
    error = intent["last_payment_error"]
    failed = error is not None
    declined = failed and error["payment_method"]
    ended = intent["status"] in ("succeeded", "canceled")
    let_go_minor = intent["amount"] - intent["amount_received"] if ended and not failed else 0
    back_minor = let_go_minor + refunded_minor
    return {
        "id": intent["latest_charge"],
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount_received"],
        "amount_refunded": back_minor,
        "billing_details": no_billing_details(),
        "captured": intent["amount_received"] > 0,
        "created": intent["created"],
        "currency": intent["currency"],
        "disputed": False,
        "failure_code": error["code"] if failed else None,
        "failure_message": error["message"] if failed else None,
        "livemode": False,
        # Stripe copies it when the charge is made.
        "metadata": intent["metadata"],
        "paid": not failed,
        "payment_intent": intent["id"],
        "payment_method": declined["id"] if declined else intent["payment_method"],
        "refunded": back_minor == intent["amount"],
        "status": "failed" if failed else "succeeded",
    }
