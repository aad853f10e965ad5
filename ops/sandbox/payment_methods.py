"""PaymentMethods: https://docs.stripe.com/api/payment_methods/object.

As at Stripe, the name of a test card, such as ``pm_card_visa``, creates a new PaymentMethod each
time it is used. The sandbox has no customers, so a PaymentMethod is for one charge: after that,
even a declined one, it cannot be used again.
"""

from dataclasses import dataclass
from typing import Any

from ops.sandbox.cards import CARDS, Card
from ops.sandbox.errors import ApiError, invalid_request
from ops.sandbox.ids import new_id

_OTHER_BRANDS = {
    "mastercard": "mastercard",
    "amex": "amex",
    "discover": "discover",
    "diners": "diners",
    "jcb": "jcb",
    "unionpay": "unionpay",
}
"""By the word after ``pm_card_``; all other test cards are Visa's."""


@dataclass
class PaymentMethod:
    """``card_name`` is its test card; ``is_used`` is True once it was charged."""

    id: str
    card_name: str
    created_s: int
    is_used: bool = False

    @classmethod
    def of_test_card(cls, card_name: str, created_s: int) -> "PaymentMethod":
        return cls(new_id("pm"), card_name, created_s)

    @property
    def card(self) -> Card:
        return CARDS[self.card_name]

    def require_unused(self) -> None:
        if self.is_used:
            raise _used_before()

    def shown(self) -> dict[str, Any]:
        """Stripe's object; of the card it has only the brand."""
        return {
            "id": self.id,
            "object": "payment_method",
            "created": self.created_s,
            "livemode": False,
            "metadata": {},
            **self.preview(),
        }

    def preview(self) -> dict[str, Any]:
        """What a ConfirmationToken shows of it."""
        brand = _OTHER_BRANDS.get(self.card_name.removeprefix("pm_card_").split("_")[0], "visa")
        return {
            "allow_redisplay": "unspecified",
            "billing_details": no_billing_details(),
            "card": {"brand": brand},
            "customer": None,
            "type": "card",
        }


def no_billing_details() -> dict[str, Any]:
    """Stripe's object without any details: test cards have none."""
    address = ("city", "country", "line1", "line2", "postal_code", "state")
    return {
        "address": dict.fromkeys(address),
        "email": None,
        "name": None,
        "phone": None,
        "tax_id": None,
    }


def _used_before() -> ApiError:
    # At Stripe, too, this error has neither a code nor a param.
    return invalid_request(
        "The provided PaymentMethod was previously used with a PaymentIntent without Customer "
        "attachment, shared with a connected account without Customer attachment, or was detached "
        "from a Customer. It may not be used again. To use a PaymentMethod multiple times, you "
        "must attach it to a Customer first."
    )
