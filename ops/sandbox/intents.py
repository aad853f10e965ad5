"""The life of a PaymentIntent: https://docs.stripe.com/payments/paymentintents/lifecycle.

An intent is a dict with the fields of Stripe's object. The functions here change it in place,
and raise ApiError before they have changed anything.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any

from ops.sandbox.cards import CARDS, Decline
from ops.sandbox.errors import ApiError, invalid_request, no_such
from ops.sandbox.form import Parameters
from web.currencies import CURRENCIES, Currency

Intent = dict[str, Any]

CAPTURE_METHODS = ("automatic", "automatic_async", "manual")
CANCELLATION_REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")
DESCRIPTIVE = ("description", "receipt_email", "statement_descriptor_suffix")
"""Parameters that are kept and change nothing."""

_CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
_CANCELABLE = (*_CONFIRMABLE, "requires_capture", "processing")

_NEEDS_OWNER = Decline(
    "authentication_required",
    "authentication_not_handled",
    "This payment required an authentication action to complete, but `error_on_requires_action` "
    "was set.",
)


@dataclass(frozen=True)
class Confirmation:
    """How to charge. ``payment_method`` None means the one that the intent has."""

    payment_method: str | None
    fails_if_owner_needed: bool
    return_url: str | None


@dataclass(frozen=True)
class Creation:
    """What a new intent is made of; ``confirmation`` is None when it is not charged yet."""

    amount_minor: int
    currency: str
    capture_method: str
    payment_method: str | None
    confirmation: Confirmation | None
    allows_redirects: bool
    metadata: dict[str, str] = field(default_factory=dict)
    descriptive: dict[str, str | None] = field(default_factory=dict)


def read_creation(parameters: Parameters) -> Creation:
    """Raises ApiError for a parameter that is missing, wrong or unknown."""
    amount_minor = parameters.integer("amount")
    currency = parameters.text("currency")
    if amount_minor is None or currency is None:
        missing = "amount" if amount_minor is None else "currency"
        message = f"Missing required param: {missing}."
        raise invalid_request(message, "parameter_missing", missing)
    if amount_minor < 1:
        raise invalid_request(
            "This value must be greater than or equal to 1.", "parameter_invalid_integer", "amount"
        )
    _require_chargeable(amount_minor, currency)
    confirms = parameters.flag("confirm")
    confirmation = read_confirmation(parameters)
    if not confirms and (confirmation.fails_if_owner_needed or confirmation.return_url):
        name = "error_on_requires_action" if confirmation.fails_if_owner_needed else "return_url"
        raise invalid_request(f"You can only set {name} when `confirm` is true.", param=name)
    automatic = parameters.group("automatic_payment_methods")
    creation = Creation(
        amount_minor=amount_minor,
        currency=currency.lower(),
        capture_method=parameters.text("capture_method", CAPTURE_METHODS) or "automatic_async",
        payment_method=confirmation.payment_method,
        confirmation=confirmation if confirms else None,
        allows_redirects=automatic.get("allow_redirects") != "never",
        metadata=parameters.metadata(),
        descriptive={name: parameters.text(name) for name in DESCRIPTIVE},
    )
    parameters.require_no_more()
    return creation


def _require_chargeable(amount_minor: int, currency: str) -> None:
    """By the shop's own table: https://docs.stripe.com/currencies. Raises ApiError."""
    rules = CURRENCIES.get(currency.upper())
    if rules is None:
        known = ", ".join(CURRENCIES).lower()
        message = f"Invalid currency: {currency.lower()}. Your account supports: {known}"
        raise invalid_request(message, param="currency")
    if amount_minor % rules.step_minor:
        raise _indivisible(rules)
    if amount_minor < rules.min_minor:
        message = f"Amount must be at least {rules.amount(rules.min_minor)} {currency.lower()}"
        raise invalid_request(message, "amount_too_small", "amount")
    if amount_minor > rules.max_minor:
        most = f"{rules.amount(rules.max_minor):,} {currency.lower()}"
        raise invalid_request(f"Amount must be no more than {most}", "amount_too_large", "amount")


def _indivisible(rules: Currency) -> ApiError:
    if rules.has_no_fractions:
        return invalid_request(
            f"Invalid amount. Currency {rules.code} has become effectively zero-decimal and "
            f"charged amounts must be evenly divisible by {rules.step_minor}. See "
            "https://stripe.com/docs/currencies#special-cases for more information.",
            "invalid_charge_amount_no_decimal_compatible",
            "amount",
        )
    message = f"Invalid amount. Amounts in {rules.code} must end in 0."
    return invalid_request(message, "invalid_charge_amount", "amount")


def read_confirmation(parameters: Parameters) -> Confirmation:
    return Confirmation(
        payment_method=parameters.text("payment_method"),
        fails_if_owner_needed=parameters.flag("error_on_requires_action"),
        return_url=parameters.text("return_url"),
    )


def create(creation: Creation, created_s: int) -> Intent:
    """Not charged yet. ``created_s`` is in seconds of Unix time."""
    _require_payment_method_exists(creation.payment_method)
    intent_id = new_id("pi")
    return {
        "id": intent_id,
        "object": "payment_intent",
        "amount": creation.amount_minor,
        "amount_capturable": 0,
        "amount_received": 0,
        "automatic_payment_methods": {
            "allow_redirects": "always" if creation.allows_redirects else "never",
            "enabled": True,
        },
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": creation.capture_method,
        "client_secret": f"{intent_id}_secret_{secrets.token_hex(12)}",
        "confirmation_method": "automatic",
        "created": created_s,
        "currency": creation.currency,
        "customer": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": creation.metadata,
        "next_action": None,
        "payment_method": creation.payment_method,
        "payment_method_types": ["card"],
        "status": "requires_confirmation" if creation.payment_method else "requires_payment_method",
        **creation.descriptive,
    }


def confirm(intent: Intent, confirmation: Confirmation) -> ApiError | None:
    """Charge the card. Returns the decline: the intent has changed then too, and is in it."""
    _require_status(intent, _CONFIRMABLE, "confirmed")
    payment_method = confirmation.payment_method or intent["payment_method"]
    if payment_method is None:
        raise _unexpected_state(
            intent, "You cannot confirm this PaymentIntent because it's missing a payment method."
        )
    _require_payment_method_exists(payment_method)
    if intent["automatic_payment_methods"]["allow_redirects"] == "always" and (
        confirmation.return_url is None
    ):
        raise invalid_request(
            "A `return_url` must be specified because this Payment Intent is configured to "
            "automatically accept the payment methods enabled in the Dashboard, some of which may "
            "require a full page redirect to succeed. If you do not want to accept redirect-based "
            "payment methods, set `automatic_payment_methods[enabled]` to `true` and "
            "`automatic_payment_methods[allow_redirects]` to `never`."
        )
    card = CARDS[payment_method]
    if card.decline is not None:
        return _decline(intent, card.decline, charge_id=new_id("ch"))
    if card.needs_owner and confirmation.fails_if_owner_needed:
        return _decline(intent, _NEEDS_OWNER, charge_id=None)
    intent["payment_method"] = payment_method
    intent["last_payment_error"] = None
    if card.needs_owner:
        intent["status"] = "requires_action"
        intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
        return None
    intent["next_action"] = None
    intent["latest_charge"] = new_id("ch")
    if intent["capture_method"] == "manual":
        intent["status"] = "requires_capture"
        intent["amount_capturable"] = intent["amount"]
    else:
        intent["status"] = "succeeded"
        intent["amount_received"] = intent["amount"]
    return None


def capture(intent: Intent, amount_minor: int | None) -> None:
    """Take the reserved money, all of it or ``amount_minor``; the rest is let go."""
    _require_status(intent, ("requires_capture",), "captured")
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
    """Let the reserved money go. ``canceled_s`` is in seconds of Unix time."""
    _require_status(intent, _CANCELABLE, "canceled")
    intent["status"] = "canceled"
    intent["amount_capturable"] = 0
    intent["next_action"] = None
    intent["canceled_at"] = canceled_s
    intent["cancellation_reason"] = reason


def _decline(intent: Intent, decline: Decline, charge_id: str | None) -> ApiError:
    details = {
        name: value
        for name, value in (("decline_code", decline.decline_code), ("charge", charge_id))
        if value is not None
    }
    intent["status"] = "requires_payment_method"
    intent["payment_method"] = None
    intent["next_action"] = None
    intent["latest_charge"] = charge_id
    intent["last_payment_error"] = {
        "type": "card_error",
        "code": decline.code,
        "message": decline.message,
        **details,
    }
    details["payment_intent"] = intent
    return ApiError(402, "card_error", decline.message, decline.code, details=details)


def _require_payment_method_exists(payment_method: str | None) -> None:
    if payment_method is not None and payment_method not in CARDS:
        raise no_such("PaymentMethod", payment_method, "payment_method", 400)


def _require_status(intent: Intent, allowed: tuple[str, ...], participle: str) -> None:
    if intent["status"] not in allowed:
        raise _unexpected_state(
            intent,
            f"This PaymentIntent could not be {participle} because it has a status of "
            f"{intent['status']}. Only a PaymentIntent with one of the following statuses may be "
            f"{participle}: {', '.join(allowed)}.",
        )


def _unexpected_state(intent: Intent, message: str) -> ApiError:
    error = invalid_request(message, "payment_intent_unexpected_state")
    error.details["payment_intent"] = intent
    return error


def new_id(prefix: str) -> str:
    """An id like Stripe's, ``pi_`` and 24 characters."""
    return f"{prefix}_{secrets.token_hex(12)}"
