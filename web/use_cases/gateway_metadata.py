"""What the gateway stores with a payment: enough to finish it without Redis.

Stripe takes 50 metadata fields with names of 40 and values of 500 characters
(https://docs.stripe.com/api/metadata); a list of seats may need several.
"""

from datetime import UTC, datetime

from web.domain.sales import Buyer, PaymentAttempt, booking_id_of
from web.ports.payment_gateway import GatewayPayment

MAX_VALUE_LENGTH = 500
SEATS = "seats_"
SEPARATOR = ","


def metadata_of(payment: PaymentAttempt) -> dict[str, str]:
    return {
        "event": payment.event_id,
        "hold_id": payment.hold_id,
        "booking_id": booking_id_of(payment.hold_id),
        "client": payment.client,
        **({"network": payment.network} if payment.network else {}),
        "attempt": str(payment.attempt),
        "email": payment.buyer.email,
        "name": payment.buyer.name,
        "key_digest": payment.key_digest,
        "fingerprint": payment.fingerprint,
        "begun_at": payment.begun_at.isoformat(),
        **({"given_back": str(payment.given_back)} if payment.given_back else {}),
        **_seat_fields(payment.seats),
    }


def payment_of(gateway_payment: GatewayPayment) -> PaymentAttempt:
    """The payment that ``metadata_of`` described. Raises KeyError or ValueError for others. Its
    buyer has no payment method: it is charged already, or never will be."""
    metadata = gateway_payment.metadata
    seats = (metadata[name] for name in sorted(metadata) if name.startswith(SEATS))
    return PaymentAttempt(
        event_id=metadata["event"],
        hold_id=metadata["hold_id"],
        client=metadata["client"],
        network=metadata.get("network", ""),
        attempt=int(metadata["attempt"]),
        seats=tuple(SEPARATOR.join(seats).split(SEPARATOR)),
        amount_minor=gateway_payment.amount_minor,
        currency=gateway_payment.currency,
        buyer=Buyer(payment_method="", email=metadata["email"], name=metadata["name"]),
        key_digest=metadata["key_digest"],
        fingerprint=metadata["fingerprint"],
        begun_at=datetime.fromisoformat(metadata["begun_at"]).astimezone(UTC),
        given_back=int(metadata.get("given_back", 0)),
    )


def _seat_fields(seats: tuple[str, ...]) -> dict[str, str]:
    """As many fields as it takes, in alphabetical order, none cut inside a seat."""
    values = [""]
    for seat in seats:
        longer = f"{values[-1]}{SEPARATOR}{seat}" if values[-1] else seat
        if len(longer) <= MAX_VALUE_LENGTH:
            values[-1] = longer
        else:
            values.append(seat)
    return {f"{SEATS}{number:02}": value for number, value in enumerate(values)}
