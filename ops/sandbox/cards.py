"""The test payment methods: how each card behaves when it is charged.

Names, codes and decline codes: https://docs.stripe.com/testing?testing-method=payment-methods.
"""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Decline:
    """``decline_code`` is None where Stripe's table says "n/a"."""

    code: str
    decline_code: str | None
    message: str


@dataclass(frozen=True)
class Card:
    """A card is charged or declined, if ``needs_owner`` after its owner has confirmed the payment.
    ``takes_s`` is how long its bank takes, in seconds; ``refund_status`` is the status of a new
    refund."""

    decline: Decline | None = None
    needs_owner: bool = False
    takes_s: float = 0.0
    refund_status: Literal["pending", "succeeded"] = "succeeded"


SLOW_BANK_S = 3.0
"""Longer than a buyer's patience, shorter than a client's time-out."""

_DECLINED = "Your card was declined."

APPROVED = Card()
NEEDS_OWNER = Card(needs_owner=True)
GENERIC = Card(Decline("card_declined", "generic_decline", _DECLINED))
NO_FUNDS = Card(Decline("card_declined", "insufficient_funds", "Your card has insufficient funds."))
# Stripe does not tell a buyer that a card was reported lost or stolen: the buyer may be the thief.
LOST = Card(Decline("card_declined", "lost_card", _DECLINED))
STOLEN = Card(Decline("card_declined", "stolen_card", _DECLINED))
FRAUDULENT = Card(Decline("card_declined", "fraudulent", _DECLINED))
TOO_OFTEN = Card(
    Decline(
        "card_declined",
        "card_velocity_exceeded",
        "Your card was declined for making repeated attempts too frequently or exceeding its "
        "amount limit.",
    )
)
EXPIRED = Card(Decline("expired_card", None, "Your card has expired."))
WRONG_CVC = Card(Decline("incorrect_cvc", None, "Your card's security code is incorrect."))
BANK_FAILED = Card(
    Decline(
        "processing_error",
        None,
        "An error occurred while processing your card. Try again in a little bit.",
    )
)

CARDS = {
    "pm_card_visa": APPROVED,
    "pm_card_visa_debit": APPROVED,
    "pm_card_mastercard": APPROVED,
    "pm_card_mastercard_debit": APPROVED,
    "pm_card_mastercard_prepaid": APPROVED,
    "pm_card_amex": APPROVED,
    "pm_card_discover": APPROVED,
    "pm_card_diners": APPROVED,
    "pm_card_jcb": APPROVED,
    "pm_card_unionpay": APPROVED,
    # 3-D Secure is supported but not required.
    "pm_card_threeDSecureOptional": APPROVED,
    "pm_card_threeDSecureOptionalProcessingError": APPROVED,
    "pm_card_amex_threeDSecureNotSupported": APPROVED,
    # At Stripe its refund succeeds later.
    "pm_card_pendingRefund": Card(refund_status="pending"),
    "pm_card_visa_chargeDeclined": GENERIC,
    "pm_card_visa_chargeDeclinedInsufficientFunds": NO_FUNDS,
    "pm_card_visa_chargeDeclinedLostCard": LOST,
    "pm_card_visa_chargeDeclinedStolenCard": STOLEN,
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": TOO_OFTEN,
    "pm_card_chargeDeclinedExpiredCard": EXPIRED,
    "pm_card_chargeDeclinedIncorrectCvc": WRONG_CVC,
    "pm_card_chargeDeclinedProcessingError": BANK_FAILED,
    "pm_card_chargeCustomerFail": GENERIC,
    "pm_card_radarBlock": FRAUDULENT,
    # Older names that Stripe still accepts.
    "pm_card_chargeDeclined": GENERIC,
    "pm_card_chargeDeclinedInsufficientFunds": NO_FUNDS,
    "pm_card_chargeDeclinedLostCard": LOST,
    "pm_card_chargeDeclinedStolenCard": STOLEN,
    "pm_card_chargeDeclinedFraudulent": FRAUDULENT,
    # Their owner has to confirm each payment, except off-session, which the sandbox does not have.
    "pm_card_authenticationRequired": NEEDS_OWNER,
    "pm_card_authenticationRequiredOnSetup": NEEDS_OWNER,
    "pm_card_authenticationRequiredSetupForOffSession": NEEDS_OWNER,
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": replace(
        NO_FUNDS, needs_owner=True
    ),
    "pm_card_threeDSecureRequired": NEEDS_OWNER,
    "pm_card_threeDSecure2Required": NEEDS_OWNER,
    "pm_card_threeDSecureRequiredChargeDeclined": replace(GENERIC, needs_owner=True),
    # The bank cannot even be asked.
    "pm_card_threeDSecureRequiredProcessingError": GENERIC,
    # The sandbox's own.
    "pm_sandbox_slow": Card(takes_s=SLOW_BANK_S),
}
