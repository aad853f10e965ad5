"""Converts Stripe's PaymentIntents to the port's payments; metadata says whose they are."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec

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


class LastError(msgspec.Struct):
    """Why the last attempt to charge a card failed."""

    code: str | None = None
    decline_code: str | None = None
    message: str | None = None


class Charge(msgspec.Struct):
    refunded: bool = False
    amount_refunded: int = 0


_NO_CHARGE = Charge()


class Redirect(msgspec.Struct):
    url: str | None = None


class IntentAction(msgspec.Struct):
    redirect_to_url: Redirect | None = None


class Intent(msgspec.Struct):
    """A PaymentIntent: of its fields those that are read here. The SDK's objects have all, which
    takes twenty times as long for a page of the list. ``latest_charge`` is its id unless the call
    has expanded it."""

    id: str
    status: str
    amount: int
    currency: str
    created: int
    metadata: dict[str, str]
    amount_received: int | None = None
    client_secret: str | None = None
    latest_charge: Charge | str | None = None
    last_payment_error: LastError | None = None
    next_action: IntentAction | None = None


class Refund(msgspec.Struct):
    """With what was expanded. A refund of a charge that has no PaymentIntent is not ours."""

    id: str
    charge: Charge | None
    payment_intent: Intent | None


Listed = TypeVar("Listed", bound=Intent | Refund)


class Page(msgspec.Struct, Generic[Listed]):
    """Of one of Stripe's lists."""

    data: list[Listed]
    has_more: bool


def status_of(intent: Intent) -> GatewayStatus | None:
    """The port's status; None while Stripe does not know the outcome yet, as for an intent that was
    created with its confirmation a moment ago and has neither a charge nor an error."""
    status = STATUSES.get(intent.status)
    if status == "declined" and intent.last_payment_error is None:
        return None
    return status


def payment_of_intent(intent: Intent) -> GatewayPayment:
    """Raises OutcomeUnknown when Stripe itself does not know the outcome yet."""
    status = status_of(intent)
    if status is None:
        raise OutcomeUnknown(f"payment {intent.id} is {intent.status}")
    error = intent.last_payment_error  # also of one that was voided afterwards
    # The charge of a voided payment counts as refunded too.
    if status == "captured" and _charge_of(intent).refunded:
        status = "refunded"
    return gateway_payment(
        intent.id,
        status,
        _amount_minor(intent, status),
        intent.currency,
        intent.created,
        intent.metadata,
        decline_of(error) if error and status in ("declined", "voided") else None,
        _next_action(intent) if status == "action_required" else None,
        _refunded_minor(intent) if status in ("captured", "refunded") else 0,
    )


def _charge_of(intent: Intent) -> Charge:
    charge = intent.latest_charge
    return charge if isinstance(charge, Charge) else _NO_CHARGE


def _refunded_minor(intent: Intent) -> int:
    """What was not captured counts as refunded at Stripe."""
    refunded_minor = _charge_of(intent).amount_refunded
    return max(0, refunded_minor - (intent.amount - _received_minor(intent)))


def _amount_minor(intent: Intent, status: GatewayStatus) -> int:
    """In Stripe's dashboard a part can be captured; the rest is released then."""
    if status in ("captured", "refunded"):
        return _received_minor(intent)
    return intent.amount


def _received_minor(intent: Intent) -> int:
    return intent.amount if intent.amount_received is None else intent.amount_received


def _next_action(intent: Intent) -> NextAction:
    """Stripe has many types of next actions. Only Stripe.js understands them all; anybody can
    follow a redirect."""
    redirect = intent.next_action and intent.next_action.redirect_to_url
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
