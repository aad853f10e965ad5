"""ConfirmationTokens: what a buyer has filled in, for one confirmation.
https://docs.stripe.com/api/confirmation_tokens/object

In the browser Stripe.js makes them; here, as in tests at Stripe, the test helper does:
https://docs.stripe.com/api/confirmation_tokens/test_create
"""

from dataclasses import dataclass, replace
from typing import Any

from stripe.params.test_helpers import ConfirmationTokenCreateParams

from ops.sandbox.card_details import read_payment_method
from ops.sandbox.errors import invalid_request
from ops.sandbox.form import Parameters
from ops.sandbox.ids import new_id
from ops.sandbox.intent_parameters import FUTURE_USAGES, Confirmation
from ops.sandbox.payment_methods import PaymentMethod

LIFE_S = 12 * 60 * 60
"""As in Stripe's example of the object."""


@dataclass
class ConfirmationToken:
    """``given`` is the id of its payment method, or the name of a test card, which is another
    payment method each time; ``card_name`` is that of the test card. ``created_s`` is Unix time.
    ``intent_id`` is the intent that was confirmed with it, None before."""

    id: str
    created_s: int
    given: str
    card_name: str
    return_url: str | None
    future_usage: str | None
    intent_id: str | None = None

    def complete(self, confirmation: Confirmation, now_s: int) -> Confirmation:
        """The confirmation with what this token has; what the request has itself takes precedence.
        Raises ApiError when the token was used or has expired, in the sandbox's own words: those
        of Stripe are not documented."""
        if self.intent_id is not None:
            raise invalid_request(
                f"This ConfirmationToken was already used to confirm {self.intent_id}. A "
                "ConfirmationToken can be used once.",
                param="confirmation_token",
            )
        if now_s >= self.created_s + LIFE_S:
            raise invalid_request("This ConfirmationToken has expired.", param="confirmation_token")
        return replace(
            confirmation,
            payment_method=confirmation.payment_method or self.given,
            return_url=confirmation.return_url or self.return_url,
            # A token is made by Stripe.js, which then handles the next action unless told not to.
            uses_sdk=True if confirmation.uses_sdk is None else confirmation.uses_sdk,
            future_usage=confirmation.future_usage or self.future_usage,
        )

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "confirmation_token",
            "created": self.created_s,
            "expires_at": None if self.intent_id else self.created_s + LIFE_S,
            "livemode": False,
            "mandate_data": None,
            "payment_intent": self.intent_id,
            "payment_method_options": None,
            "payment_method_preview": PaymentMethod("", self.card_name, self.created_s).preview(),
            "return_url": self.return_url,
            "setup_future_usage": self.future_usage,
            "setup_intent": None,
            "shipping": None,
            "use_stripe_sdk": True,
        }


@dataclass(frozen=True)
class TokenCreation:
    """``payment_method`` is an id or the name of a test card."""

    payment_method: str
    return_url: str | None
    future_usage: str | None

    def token(self, card_name: str, created_s: int) -> ConfirmationToken:
        return ConfirmationToken(
            new_id("ctoken"),
            created_s,
            self.payment_method,
            card_name,
            self.return_url,
            self.future_usage,
        )


def read_creation(parameters: Parameters) -> TokenCreation:
    """Raises ApiError for a parameter that is missing, wrong or unknown."""
    payment_method = read_payment_method(parameters)
    creation = TokenCreation(
        payment_method=payment_method or parameters.required_text("payment_method"),
        return_url=parameters.text("return_url"),
        future_usage=parameters.text("setup_future_usage", FUTURE_USAGES),
    )
    parameters.require_no_more(ConfirmationTokenCreateParams)
    return creation
