"""Converts Stripe's PaymentIntents to the port's payments; metadata says whose they are."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from stripe import PaymentIntent

from web.adapters.stripe.errors import decline_of
from web.domain.refusals import PaymentDeclined
from web.ports.payment_gateway import GatewayPayment, GatewayStatus, NextAction, OutcomeUnknown

KEY_FIELD = "payment_key"
"""The metadata field that says which key made a payment: Stripe does not list payments by
idempotency key."""

SHOP_FIELD = "payment_shop"
"""The metadata field that says which shop made a payment: staging and production may share an
account, and neither has the bookings of the other."""

RETIRED_FIELD = "payment_retired"
"""The metadata field of an intent that never gets a card. It uses up the idempotency key of a
payment that must not be made any more."""

REFUND_FIELD = "refund_key"
"""The metadata field of a refund in part that says which key made it."""

STATUSES: dict[str, GatewayStatus] = {
    "requires_capture": "authorized",
    "succeeded": "captured",
    "canceled": "voided",
    "requires_action": "action_required",
    # No money is reserved. Going on would need the client secret, or another confirmation by us.
    "requires_payment_method": "declined",
    "requires_confirmation": "declined",
}
"""The one status that is missing is ``processing``: nobody knows yet."""


class Shop:
    """This shop among those of one Stripe account. ``metadata`` marks its new payments."""

    def __init__(self, shop: str | None, former_shops: Sequence[str]):
        """The tags of ``StripeGateway``."""
        self.metadata = {SHOP_FIELD: shop} if shop else {}
        self._shops = frozenset((shop, *former_shops)) if shop else None

    def owns(self, metadata: Mapping[str, str]) -> bool:
        """Whether a payment with this metadata is this shop's. If the shop has a tag, a payment
        without one is not: overlooking one of ours leaves money reserved for some days, but
        refunding another shop's undoes a sale."""
        is_ours = self._shops is None or metadata.get(SHOP_FIELD) in self._shops
        return is_ours and bool(metadata.get(KEY_FIELD))


def status_of(intent: PaymentIntent) -> GatewayStatus | None:
    """The port's status; None while Stripe does not know the outcome yet, as for an intent that was
    created with its confirmation a moment ago and has neither a charge nor an error."""
    status = STATUSES.get(intent.status)
    if status == "declined" and not getattr(intent, "last_payment_error", None):
        return None
    return status


def payment_of_intent(intent: PaymentIntent) -> GatewayPayment:
    """Raises OutcomeUnknown when Stripe itself does not know the outcome yet."""
    status = status_of(intent)
    if status is None:
        raise OutcomeUnknown(f"payment {intent.id} is {intent.status}")
    charge = getattr(intent, "latest_charge", None)
    error = getattr(intent, "last_payment_error", None)  # also of one that was voided afterwards
    # The charge of a voided payment counts as refunded too.
    if status == "captured" and getattr(charge, "refunded", False):
        status = "refunded"
    return gateway_payment(
        intent.id,
        status,
        _amount_minor(intent, status),
        intent.currency,
        intent.created,
        intent.metadata.to_dict(),
        decline_of(error) if error and status in ("declined", "voided") else None,
        _next_action(intent) if status == "action_required" else None,
        _refunded_minor(intent) if status in ("captured", "refunded") else 0,
    )


def _refunded_minor(intent: PaymentIntent) -> int:
    """What was not captured counts as refunded at Stripe."""
    refunded = getattr(getattr(intent, "latest_charge", None), "amount_refunded", 0)
    return max(0, int(refunded) - (intent.amount - _received_minor(intent)))


def _amount_minor(intent: PaymentIntent, status: GatewayStatus) -> int:
    """In Stripe's dashboard a part can be captured; the rest is released then."""
    if status in ("captured", "refunded"):
        return _received_minor(intent)
    return intent.amount


def _received_minor(intent: PaymentIntent) -> int:
    return int(getattr(intent, "amount_received", intent.amount))


def _next_action(intent: PaymentIntent) -> NextAction:
    """Stripe has many types of next actions. Only Stripe.js understands them all; anybody can
    follow a redirect."""
    redirect = getattr(intent.next_action, "redirect_to_url", None)
    if redirect and redirect.url:
        return NextAction(url=redirect.url, client_secret="")
    return NextAction(url="", client_secret=intent.client_secret or "")


def gateway_payment(
    payment_id: str,
    status: GatewayStatus,
    amount_minor: int,
    currency: str,
    created_s: int,
    metadata: dict[str, str],
    decline: PaymentDeclined | None = None,
    next_action: NextAction | None = None,
    refunded_minor: int = 0,
) -> GatewayPayment:
    return GatewayPayment(
        payment_id=payment_id,
        key=metadata[KEY_FIELD],
        amount_minor=amount_minor,
        currency=currency.upper(),
        status=status,
        created=datetime.fromtimestamp(created_s, UTC),
        metadata={
            name: value for name, value in metadata.items() if name not in (KEY_FIELD, SHOP_FIELD)
        },
        decline=decline,
        next_action=next_action,
        refunded_minor=refunded_minor,
    )
