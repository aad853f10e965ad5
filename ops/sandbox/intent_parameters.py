"""The parameters for creating and confirming a PaymentIntent.

Their names and values are those of the SDK's version of the API. ``setup_future_usage`` is accepted
but has no effect here, because there are no customers.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from stripe.params import PaymentIntentConfirmParams, PaymentIntentCreateParams

from ops.sandbox.card_details import read_payment_method
from ops.sandbox.errors import ApiError, invalid_request
from ops.sandbox.form import Parameters
from web.domain.currencies import CURRENCIES, Currency

REDIRECTS = ("always", "never")
CAPTURE_METHODS = ("automatic", "automatic_async", "manual")
CONFIRMATION_METHODS = ("automatic", "manual")
FUTURE_USAGES = ("off_session", "on_session")
DESCRIPTIVE = ("description", "receipt_email", "statement_descriptor_suffix")
"""Parameters that are stored and have no effect."""

ONLY_WITH_CONFIRM = ("confirmation_token", "error_on_requires_action", "return_url")

METHOD_CHOICES = (
    "allowed_payment_method_types",
    "automatic_payment_methods",
    "excluded_payment_method_types",
    "payment_method_configuration",
)
"""Alternative ways to choose the allowed payment methods; an intent may have one of them.
https://docs.stripe.com/changelog/dahlia/2026-07-29/allowed-payment-method-types-parameter"""


def _values_of(annotation: Any) -> tuple[str, ...]:
    """The values of all Literals in a type."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(value for part in get_args(annotation) for value in _values_of(part))


METHOD_TYPES = _values_of(PaymentIntentCreateParams.__annotations__["allowed_payment_method_types"])
"""``acss_debit`` and so on, as the SDK declares them."""

ACTIVE_TYPES = ("card",)
"""The types of payment methods that are activated in the sandbox."""


@dataclass(frozen=True)
class Confirmation:
    """How to charge. ``payment_method`` is an id, the name of a test card, or None for the payment
    method of the intent. ``token`` is the id of a ConfirmationToken, which has what is missing.
    ``uses_sdk``: Stripe.js leads the buyer to the bank, not a redirect; None when the request does
    not say."""

    payment_method: str | None
    fails_if_owner_needed: bool
    return_url: str | None
    uses_sdk: bool | None
    future_usage: str | None
    token: str | None


@dataclass(frozen=True)
class Automatic:
    """The parameter automatic_payment_methods. If it is not enabled, only cards are accepted, which
    need no ``return_url``."""

    enabled: bool = True
    redirects: str = "always"


@dataclass(frozen=True)
class Creation:
    """The parameters of a new intent. ``confirmation`` is None when it is not charged yet,
    ``automatic`` is None when ``allowed_types`` are given instead."""

    amount_minor: int
    currency: str
    capture_method: str
    confirmation_method: str
    future_usage: str | None
    payment_method: str | None
    confirmation: Confirmation | None
    automatic: Automatic | None
    allowed_types: list[str] | None
    metadata: dict[str, str] = field(default_factory=dict)
    descriptive: dict[str, str | None] = field(default_factory=dict)


def read_creation(parameters: Parameters) -> Creation:
    """Raises ApiError for a parameter that is missing, wrong or unknown."""
    parameters.require("amount", "currency")
    amount_minor, currency = (
        parameters.required_integer("amount"),
        parameters.required_text("currency"),
    )
    if amount_minor < 1:
        raise invalid_request(
            "This value must be greater than or equal to 1.", "parameter_invalid_integer", "amount"
        )
    _require_chargeable(amount_minor, currency)
    parameters.require_one_at_most(*METHOD_CHOICES)
    parameters.require_one_at_most("automatic_payment_methods", "confirmation_method")
    confirms = parameters.flag("confirm")
    if not confirms:
        parameters.refuse(ONLY_WITH_CONFIRM, "You can only set {} when `confirm` is true.")
    allowed_types = parameters.array("allowed_payment_method_types", METHOD_TYPES)
    confirmation = _read_confirmation(parameters)
    creation = Creation(
        amount_minor=amount_minor,
        currency=currency.lower(),
        capture_method=parameters.text("capture_method", CAPTURE_METHODS) or "automatic_async",
        confirmation_method=parameters.text("confirmation_method", CONFIRMATION_METHODS)
        or "automatic",
        future_usage=confirmation.future_usage,
        payment_method=confirmation.payment_method,
        confirmation=confirmation if confirms else None,
        automatic=_read_automatic(parameters) if allowed_types is None else None,
        allowed_types=allowed_types,
        metadata=parameters.metadata(),
        descriptive={name: parameters.text(name) for name in DESCRIPTIVE},
    )
    parameters.require_no_more(PaymentIntentCreateParams)
    if not set(ACTIVE_TYPES) & set(ACTIVE_TYPES if allowed_types is None else allowed_types):
        raise invalid_request(
            "No valid payment method types for this Payment Intent. Please ensure that you have "
            "activated payment methods compatible with your chosen currency in your dashboard "
            "(https://dashboard.stripe.com/settings/payment_methods)."
        )
    return creation


def read_confirmation(parameters: Parameters) -> Confirmation:
    """Raises ApiError for a parameter that is wrong or unknown."""
    confirmation = _read_confirmation(parameters, can_unset=True)
    parameters.require_no_more(PaymentIntentConfirmParams)
    return confirmation


def _read_confirmation(parameters: Parameters, *, can_unset: bool = False) -> Confirmation:
    return Confirmation(
        payment_method=read_payment_method(parameters),
        fails_if_owner_needed=parameters.flag("error_on_requires_action") or False,
        return_url=parameters.text("return_url"),
        uses_sdk=parameters.flag("use_stripe_sdk"),
        future_usage=parameters.text("setup_future_usage", FUTURE_USAGES, can_be_unset=can_unset),
        token=parameters.text("confirmation_token"),
    )


def _read_automatic(parameters: Parameters) -> Automatic:
    given = parameters.group("automatic_payment_methods")
    if given is None:
        return Automatic()
    automatic = Automatic(
        enabled=given.required_flag("enabled"),
        redirects=given.text("allow_redirects", REDIRECTS) or Automatic.redirects,
    )
    given.require_no_more()
    return automatic


def _require_chargeable(amount_minor: int, currency: str) -> None:
    """Checks the amount with the shop's own table of currencies
    (https://docs.stripe.com/currencies). Raises ApiError."""
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
