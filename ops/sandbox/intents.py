"""The life cycle of a PaymentIntent: https://docs.stripe.com/payments/paymentintents/lifecycle.

An intent is a dict with the fields of Stripe's object. The functions here change it in place,
and raise ApiError before they have changed anything.
"""

import secrets
from typing import Any

from ops.sandbox.cards import Decline
from ops.sandbox.errors import ApiError, Event, doc_url, invalid_request
from ops.sandbox.ids import new_id
from ops.sandbox.intent_parameters import ACTIVE_TYPES, Confirmation, Creation
from ops.sandbox.payment_methods import PaymentMethod

Intent = dict[str, Any]

CANCELLATION_REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")

_CANCELABLE = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)
_CONFIRMABLE = ("requires_confirmation", "requires_action")
"""Besides ``requires_payment_method``, when the confirmation brings the payment method."""

_EVENTS = {
    "requires_action": "payment_intent.requires_action",
    "requires_capture": "payment_intent.amount_capturable_updated",
    "requires_payment_method": "payment_intent.payment_failed",
    "succeeded": "payment_intent.succeeded",
}

_OWNER_NOT_ASKED = Decline(
    "authentication_required",
    "authentication_not_handled",
    "This payment required an authentication action to complete, but `error_on_requires_action` "
    "was set.",
)

_OWNER_FAILED = "payment_intent_authentication_failure"
"""https://docs.stripe.com/error-codes#payment-intent-authentication-failure"""


def create(creation: Creation, payment_method: PaymentMethod | None, created_s: int) -> Intent:
    """A new intent, not charged yet. ``created_s`` is Unix time in seconds."""
    if payment_method:
        payment_method.require_unused()
    automatic = creation.automatic and {
        "allow_redirects": creation.automatic.redirects,
        "enabled": creation.automatic.enabled,
    }
    intent_id = new_id("pi")
    return {
        "id": intent_id,
        "object": "payment_intent",
        "allowed_payment_method_types": creation.allowed_types,
        "amount": creation.amount_minor,
        "amount_capturable": 0,
        "amount_received": 0,
        "automatic_payment_methods": automatic,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": creation.capture_method,
        "client_secret": f"{intent_id}_secret_{secrets.token_hex(12)}",
        "confirmation_method": creation.confirmation_method,
        "created": created_s,
        "currency": creation.currency,
        "customer": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": creation.metadata,
        "next_action": None,
        "payment_method": payment_method and payment_method.id,
        "payment_method_types": list(ACTIVE_TYPES),
        "setup_future_usage": creation.future_usage,
        "status": "requires_confirmation" if payment_method else "requires_payment_method",
        **creation.descriptive,
    }


def completed(intent: Intent) -> Intent:
    """A stored intent with all fields: those stored by an older release lack some."""
    error = intent["last_payment_error"]
    if error is not None:
        # Older releases did not store which payment method was declined.
        error = {"doc_url": doc_url(error["code"]), "payment_method": None, **error}
    return {
        "allowed_payment_method_types": None,
        "setup_future_usage": None,
        **intent,
        "last_payment_error": error,
    }


def nothing_to_charge(intent: Intent) -> ApiError:
    return _unexpected_state(
        intent,
        "You cannot confirm this PaymentIntent because it's missing a payment method. You can "
        "either update the PaymentIntent with a payment method and then confirm it again, or "
        "confirm it again directly with a payment method or ConfirmationToken.",
    )


def require_confirmable(intent: Intent, confirmation: Confirmation) -> None:
    """Raises ApiError when the intent cannot be charged any more, or has no payment method."""
    status = intent["status"]
    if status == "succeeded":
        raise _unexpected_state(
            intent,
            "You cannot confirm this PaymentIntent because it has already succeeded after being "
            "previously confirmed.",
        )
    if status == "requires_payment_method":
        if confirmation.payment_method is None:
            raise nothing_to_charge(intent)
    elif status == "canceled" and confirmation.payment_method:
        raise _unexpected_state(
            intent,
            "This PaymentIntent's payment_method could not be updated because it has a status of "
            "canceled. You may only update the payment_method of a PaymentIntent with one of the "
            "following statuses: requires_payment_method, requires_confirmation, requires_action.",
        )
    elif status == "requires_capture" and confirmation.payment_method:
        raise _unexpected_state(
            intent,
            "You cannot provide a new payment method to a PaymentIntent when it has a status of "
            "requires_capture. You should either capture the remaining funds, or cancel this "
            "PaymentIntent and try again with a new PaymentIntent.",
        )
    elif status not in _CONFIRMABLE:
        raise _unexpected_state(
            intent,
            f"You cannot confirm this PaymentIntent because it has a status of {status}. Only a "
            "PaymentIntent with one of the following statuses may be confirmed: "
            f"{', '.join(_CONFIRMABLE)}.",
        )


def events_of_attempt(intent: Intent) -> tuple[Event, ...]:
    """What webhooks tell after an attempt to pay, or a step of it."""
    event_type = _EVENTS.get(intent["status"])
    return (Event(event_type, intent),) if event_type else ()


def begin_attempt(
    intent: Intent, confirmation: Confirmation, payment_method: PaymentMethod
) -> None:
    """Take the payment method, which is charged next, or declined, or confirmed by its owner. The
    failed charge of an earlier attempt is forgotten, although Stripe still shows it: charges are
    not stored, and it would look like one of this attempt."""
    payment_method.require_unused()
    automatic = intent["automatic_payment_methods"]
    may_redirect = automatic and automatic["enabled"] and automatic["allow_redirects"] == "always"
    if may_redirect and confirmation.return_url is None:
        raise invalid_request(
            "A `return_url` must be specified because this Payment Intent is configured to "
            "automatically accept the payment methods enabled in the Dashboard, some of which may "
            "require a full page redirect to succeed. If you do not want to accept redirect-based "
            "payment methods, set `automatic_payment_methods[enabled]` to `true` and "
            "`automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents "
            "and Payment Intents."
        )
    intent["setup_future_usage"] = confirmation.future_usage or intent["setup_future_usage"]
    intent["payment_method"] = payment_method.id
    intent["last_payment_error"] = None
    intent["latest_charge"] = None
    intent["next_action"] = None


def charge(intent: Intent, payment_method: PaymentMethod) -> ApiError | None:
    """Charge the card. Returns the decline, if any; the intent has changed then too, and the error
    contains it."""
    payment_method.is_used = True
    decline = payment_method.card.decline
    if decline is not None:
        return _decline(intent, decline, payment_method, charge_id=new_id("ch"))
    intent["next_action"] = None
    intent["latest_charge"] = new_id("ch")
    if intent["capture_method"] == "manual":
        intent["status"] = "requires_capture"
        intent["amount_capturable"] = intent["amount"]
    else:
        intent["status"] = "succeeded"
        intent["amount_received"] = intent["amount"]
    return None


def decline_without_owner(intent: Intent, payment_method: PaymentMethod) -> ApiError:
    """The owner would have to confirm, and the request said not to ask. Returns the decline, which
    contains the intent."""
    return _decline(intent, _OWNER_NOT_ASKED, payment_method, charge_id=None)


def wait_for_owner(intent: Intent, next_action: dict[str, Any]) -> None:
    """``next_action`` says how the owner gets to the bank's page."""
    intent["status"] = "requires_action"
    intent["next_action"] = next_action


def wait_for_confirmation(intent: Intent) -> None:
    """The owner has confirmed, and the shop has to confirm once more: ``confirmation_method`` is
    manual."""
    intent["status"] = "requires_confirmation"
    intent["next_action"] = None


def fail_authentication(intent: Intent, payment_method: PaymentMethod) -> None:
    """The owner did not confirm. Nothing was charged."""
    payment_method.is_used = True
    _reject(
        intent,
        {
            "type": "invalid_request_error",
            "code": _OWNER_FAILED,
            "doc_url": doc_url(_OWNER_FAILED),
            "message": "The provided PaymentMethod has failed authentication. You can provide "
            "payment_method_data or a new PaymentMethod to attempt to fulfill this PaymentIntent "
            "again.",
            "payment_method": payment_method.shown(),
        },
        charge_id=None,
    )


def capture(intent: Intent, amount_minor: int | None) -> None:
    """Capture the authorisation, all of it or ``amount_minor``; the rest is released."""
    if intent["status"] == "succeeded":
        raise _unexpected_state(
            intent,
            "This PaymentIntent could not be captured because it has already been captured.",
        )
    if intent["status"] != "requires_capture":
        raise _unexpected_state(
            intent,
            "This PaymentIntent could not be captured because it has a status of "
            f"{intent['status']}. Only a PaymentIntent with one of the following statuses may be "
            "captured: requires_capture.",
        )
    amount_minor = intent["amount_capturable"] if amount_minor is None else amount_minor
    if amount_minor < 1:
        raise invalid_request(
            "This value must be greater than or equal to 1.",
            "parameter_invalid_integer",
            "amount_to_capture",
        )
    if amount_minor > intent["amount_capturable"]:
        raise invalid_request(
            "The payment could not be captured because the requested capture amount is greater "
            "than the amount you can capture for this charge.",
            "amount_too_large",
            "amount_to_capture",
        )
    intent["status"] = "succeeded"
    intent["amount_capturable"] = 0
    intent["amount_received"] = amount_minor


def cancel(intent: Intent, reason: str | None, canceled_s: int) -> None:
    """Release the authorisation. ``canceled_s`` is Unix time in seconds."""
    if intent["status"] not in _CANCELABLE:
        raise _unexpected_state(
            intent,
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. "
            "Only a PaymentIntent with one of the following statuses may be canceled: "
            f"{', '.join(_CANCELABLE)}.",
        )
    intent["status"] = "canceled"
    intent["amount_capturable"] = 0
    intent["next_action"] = None
    intent["canceled_at"] = canceled_s
    intent["cancellation_reason"] = reason


def _decline(
    intent: Intent, decline: Decline, payment_method: PaymentMethod, charge_id: str | None
) -> ApiError:
    details: dict[str, Any] = {
        name: value
        for name, value in (("decline_code", decline.decline_code), ("charge", charge_id))
        if value is not None
    }
    details["payment_method"] = payment_method.shown()
    error = {
        "type": "card_error",
        "code": decline.code,
        "doc_url": doc_url(decline.code),
        "message": decline.message,
        **details,
    }
    _reject(intent, error, charge_id)
    details["payment_intent"] = intent
    return ApiError(402, "card_error", decline.message, decline.code, details=details)


def _reject(intent: Intent, error: dict[str, Any], charge_id: str | None) -> None:
    """The intent needs another payment method, because of the error."""
    intent["status"] = "requires_payment_method"
    intent["payment_method"] = None
    intent["next_action"] = None
    intent["latest_charge"] = charge_id
    intent["last_payment_error"] = error


def _unexpected_state(intent: Intent, message: str) -> ApiError:
    error = invalid_request(message, "payment_intent_unexpected_state")
    error.details["payment_intent"] = intent
    return error
