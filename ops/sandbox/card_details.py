"""Cards by their number, in ``payment_method_data``, as a browser sends them to Stripe. The numbers
of the test cards: https://docs.stripe.com/testing?testing-method=card-numbers. None is stored."""

from datetime import UTC, datetime

from stripe.params import PaymentIntentCreateParamsPaymentMethodData

from ops.sandbox.errors import ApiError, invalid_request
from ops.sandbox.form import Parameters

NUMBERS = {
    "4242424242424242": "pm_card_visa",
    "4000056655665556": "pm_card_visa_debit",
    "5555555555554444": "pm_card_mastercard",
    "2223003122003222": "pm_card_mastercard",
    "5200828282828210": "pm_card_mastercard_debit",
    "5105105105105100": "pm_card_mastercard_prepaid",
    "378282246310005": "pm_card_amex",
    "371449635398431": "pm_card_amex",
    "6011111111111117": "pm_card_discover",
    "3056930009020004": "pm_card_diners",
    "3566002020360505": "pm_card_jcb",
    "6200000000000005": "pm_card_unionpay",
    "4000000000007726": "pm_card_pendingRefund",
    "4000000000000002": "pm_card_visa_chargeDeclined",
    "4000000000009995": "pm_card_visa_chargeDeclinedInsufficientFunds",
    "4000000000009987": "pm_card_visa_chargeDeclinedLostCard",
    "4000000000009979": "pm_card_visa_chargeDeclinedStolenCard",
    "4000000000006975": "pm_card_visa_chargeDeclinedVelocityLimitExceeded",
    "4000000000000069": "pm_card_chargeDeclinedExpiredCard",
    "4000000000000127": "pm_card_chargeDeclinedIncorrectCvc",
    "4000000000000119": "pm_card_chargeDeclinedProcessingError",
    "4000000000000341": "pm_card_chargeCustomerFail",
    "4100000000000019": "pm_card_radarBlock",
    "4000002500003155": "pm_card_authenticationRequiredOnSetup",
    "4000002760003184": "pm_card_authenticationRequired",
    "4000003800000446": "pm_card_authenticationRequiredSetupForOffSession",
    "4000008260003178": "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
    "4000000000003220": "pm_card_threeDSecure2Required",
    "4000000000003063": "pm_card_threeDSecureRequired",
    "4000008400001629": "pm_card_threeDSecureRequiredChargeDeclined",
    "4000008400001280": "pm_card_threeDSecureRequiredProcessingError",
    "4000000000003055": "pm_card_threeDSecureOptional",
    "4000000000003097": "pm_card_threeDSecureOptionalProcessingError",
}
"""The name of the test card that each number belongs to."""


def read_payment_method(parameters: Parameters) -> str | None:
    """The parameter ``payment_method``, or the name of the test card whose number
    ``payment_method_data`` has. Raises ApiError."""
    parameters.require_one_at_most("payment_method", "payment_method_data")
    data = parameters.group("payment_method_data")
    if data is None:
        return parameters.text("payment_method")
    if data.required_text("type") != "card":
        raise invalid_request(
            "The sandbox has no payment methods but cards", param="payment_method_data[type]"
        )
    card_name = _read_card(data.required_group("card"))
    data.require_no_more(PaymentIntentCreateParamsPaymentMethodData)
    return card_name


def _read_card(card: Parameters) -> str:
    number = card.required_text("number").replace(" ", "")
    month, year = card.required_integer("exp_month"), card.required_integer("exp_year")
    card.text("cvc")
    card.require_no_more()
    if not _is_card_number(number):
        raise _wrong("incorrect_number", "number", "Your card number is incorrect.")
    if not 1 <= month <= 12:
        message = "Your card's expiration month is invalid."
        raise _wrong("invalid_expiry_month", "exp_month", message)
    today = datetime.now(UTC)
    if (year + 2000 if year < 100 else year, month) < (today.year, today.month):
        message = "Your card's expiration year is invalid."
        raise _wrong("invalid_expiry_year", "exp_year", message)
    if number not in NUMBERS:
        raise ApiError(
            402,
            "card_error",
            "Your card was declined. Your request was in test mode, but used a non test (live) "
            "card. For a list of valid test cards, visit: https://stripe.com/docs/testing.",
            "card_declined",
            details={"decline_code": "test_mode_live_card"},
        )
    return NUMBERS[number]


def _is_card_number(number: str) -> bool:
    """Whether the last digit is right, by Luhn's algorithm."""
    if not (number.isascii() and number.isdigit() and 12 <= len(number) <= 19):
        return False
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _wrong(code: str, param: str, message: str) -> ApiError:
    return ApiError(402, "card_error", message, code, param)
