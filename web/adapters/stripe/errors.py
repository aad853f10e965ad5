"""Translates errors of Stripe's SDK into those of the port, which say what may have happened.

This is decided only here. If Stripe refused, or the connection was never made, the error is
NotExecuted or a refusal. Everything else that goes wrong once the request may have left this host
is OutcomeUnknown.
"""

from http import HTTPStatus

import requests
import stripe
from urllib3.exceptions import NewConnectionError

from web.domain.currencies import MAX_DIGITS_OF_EVERY_CARD
from web.domain.refusals import (
    AUTHENTICATION_FAILED,
    AUTHENTICATION_REQUIRED,
    NEEDS_OWNER,
    InvalidRequest,
    PaymentDeclined,
)
from web.ports.payment_gateway import (
    GatewayError,
    KeyUsed,
    NotAccepted,
    NotAllowed,
    NotExecuted,
    OutcomeUnknown,
    TooBusy,
)

OWNER_FAILED = "The payment was not confirmed at your bank."

TOO_MUCH_FOR_CARD = (
    "This kind of card cannot be charged so large an amount. Please use another card."
)

NOT_FOR_BUYERS = frozenset(
    {"fraudulent", "lost_card", "merchant_blacklist", "pickup_card", "stolen_card"}
)
"""Reasons that must not be shown, as Stripe advises: they would tell a thief what the bank knows.
https://docs.stripe.com/declines/codes"""

NOT_LET_IN = (401, 403)
"""The key is wrong, revoked or restricted, or the account is closed or may not charge."""

OF_THE_CARD = frozenset(
    {
        "payment_intent_incompatible_payment_method",
        "payment_method_currency_mismatch",
        "payment_method_not_available",
        "payment_method_unexpected_state",
        "payment_method_unsupported_type",
    }
)
"""Codes of requests that would succeed with another payment method.
https://docs.stripe.com/error-codes"""

USED_BEFORE = "may not be used again"
"""Part of Stripe's error about a PaymentMethod that was charged before; it has neither code nor
param. Without a customer, and we use none, a PaymentMethod is for one charge."""


def meaning_of(error: stripe.StripeError) -> GatewayError | PaymentDeclined | InvalidRequest:
    text = _line_of(error)
    if isinstance(error, stripe.CardError):
        return decline_of(error.error)
    if isinstance(error, stripe.InvalidRequestError):
        if USED_BEFORE in text:
            return InvalidRequest(
                "payment_method", "was used for a payment before: enter the card again"
            )
        if error.param == "confirmation_token":
            # It is for one payment, and for some hours.
            return InvalidRequest(error.param, "was used or has expired: enter the card again")
        if error.param == "return_url":
            return InvalidRequest("return_url", error.user_message or text)
        if error.param == "payment_method" or error.code in OF_THE_CARD:
            return InvalidRequest("payment_method", error.user_message or text)
        return NotAccepted(text)
    if error.http_status in NOT_LET_IN:
        return NotAllowed(text)
    if error.http_status == HTTPStatus.TOO_MANY_REQUESTS:
        return TooBusy(text)
    if _never_connected(error):
        return NotExecuted(text)
    if isinstance(error, stripe.IdempotencyError):
        return KeyUsed(text)
    # Among the rest: 409, a call with this key is in progress.
    return OutcomeUnknown(text)


def cause_of(error: GatewayError) -> str:
    """Why a call failed, in one word, for the metric and the log."""
    if isinstance(error, NotAllowed):
        return "not_allowed"
    if isinstance(error, TooBusy):
        if error.retry_after_s is not None:
            return "queue_full"
        return "rate_limited" if error.__cause__ else "too_many_calls"
    reason = error.__cause__
    if isinstance(reason, stripe.APIConnectionError):
        if isinstance(reason.__cause__, requests.Timeout):
            return "timeout"
        return "not_connected" if _never_connected(reason) else "connection_lost"
    if isinstance(reason, stripe.StripeError) and (reason.http_status or 0) >= 500:
        return "server_error"
    return "other"


def is_too_much_for_the_card(refused: GatewayError, amount_minor: int) -> bool:
    """Whether another card could be charged this amount: card networks differ in the digits they
    accept."""
    error = refused.__cause__
    return (
        isinstance(error, stripe.InvalidRequestError)
        and error.code == "amount_too_large"
        and amount_minor >= 10**MAX_DIGITS_OF_EVERY_CARD
    )


def _line_of(error: stripe.StripeError) -> str:
    """What happened, in one line for logs and terminals. For a failed connection the SDK's message
    has three lines about Stripe's support, and then the whole call."""
    if not isinstance(error, stripe.APIConnectionError):
        return " ".join(str(error).split())
    cause = error.__cause__
    reason = getattr(cause.args[0], "reason", cause) if cause and cause.args else cause or error
    said = " ".join(str(reason).split())
    return f"no connection to the payment gateway: {said.partition('): ')[2] or said}"


def decline_of(error: object) -> PaymentDeclined:
    """``error`` is from the response to the charge, or from the intent, where Stripe keeps it."""
    code, decline_code, message = (
        getattr(error, name, None) for name in ("code", "decline_code", "message")
    )
    if code == "payment_intent_authentication_failure":
        return PaymentDeclined(AUTHENTICATION_FAILED, OWNER_FAILED)
    if code == AUTHENTICATION_REQUIRED:
        return PaymentDeclined(code, NEEDS_OWNER)
    reason = decline_code or code or "card_declined"
    return PaymentDeclined(
        "generic_decline" if reason in NOT_FOR_BUYERS else reason,
        # Stripe writes these for buyers: https://docs.stripe.com/api/errors.
        message or "Your card was declined.",
    )


def _never_connected(error: stripe.StripeError) -> bool:
    """Whether no byte of the request can have left this host.

    requests raises the same ConnectionError for a connection that was refused and for one that
    broke while waiting for the response. The difference is deeper: in the first case its argument,
    urllib3's MaxRetryError, has a NewConnectionError (refused, unreachable, no such name) as its
    reason.
    """
    cause = error.__cause__
    if isinstance(cause, requests.ConnectTimeout):
        return True
    if not isinstance(cause, requests.ConnectionError) or not cause.args:
        return False
    return isinstance(getattr(cause.args[0], "reason", None), NewConnectionError)


def was_kept(error: stripe.StripeError) -> bool:
    """Whether this is the response that Stripe has stored for the idempotency key."""
    return (error.headers or {}).get("Idempotent-Replayed") == "true"
