"""The confirmation of a payment by the owner of the card, which is 3-D Secure:
https://docs.stripe.com/payments/3d-secure/authentication-flow.

When a card's bank asks for it, the intent is at ``requires_action`` until its owner has answered on
the bank's page (``bank.py``).
"""

from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

from ops.sandbox.ids import new_id
from ops.sandbox.intent_parameters import Confirmation
from ops.sandbox.intents import Intent

Decision = Literal["accept", "refuse"]


@dataclass
class Challenge:
    """One question of a bank, about one attempt to pay. ``return_url`` is where the buyer goes
    afterwards, None when Stripe.js asks in the shop's own page. ``decision`` is None until the
    owner has answered; the first answer counts."""

    id: str
    intent_id: str
    payment_method_id: str
    return_url: str | None
    decision: Decision | None = None

    @classmethod
    def of(cls, intent: Intent, confirmation: Confirmation) -> "Challenge":
        # In a frame of Stripe.js the way back would show the shop inside the shop.
        return_url = None if confirmation.uses_sdk else confirmation.return_url
        return cls(new_id("payatt"), intent["id"], intent["payment_method"], return_url)

    def is_open(self, intent: Intent) -> bool:
        """Whether an answer still counts. The first one moves the intent on, and a later attempt
        has another challenge."""
        if intent["status"] != "requires_action":
            return False
        action = intent["next_action"]
        details = action[action["type"]]
        page_url: str = details.get("url") or details.get("stripe_js", "")
        return page_url.endswith(self.id)

    def next_action(self, page_url: str) -> dict[str, Any]:
        """The field of the intent. Stripe does not document what its SDK gets."""
        if self.return_url is None:
            for_sdk = {"type": "three_d_secure_redirect", "stripe_js": page_url}
            return {"type": "use_stripe_sdk", "use_stripe_sdk": for_sdk}
        return {
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": self.return_url, "url": page_url},
        }

    def way_back(self, intent: Intent) -> str | None:
        """The return_url with the two parameters that Stripe adds."""
        if self.return_url is None:
            return None
        parts = urlsplit(self.return_url)
        added = urlencode(
            {
                "payment_intent": intent["id"],
                "payment_intent_client_secret": intent["client_secret"],
            }
        )
        query = f"{parts.query}&{added}" if parts.query else added
        return urlunsplit(parts._replace(query=query))
