"""What may not be left at the gateway when nobody pays any more."""

from collections.abc import Container, Iterable

from web.ports.payment_gateway import GatewayPayment


def open_payments(
    payments: Iterable[GatewayPayment], asked: Container[str]
) -> list[GatewayPayment]:
    """Those that somebody can still confirm, and those for which money is still reserved. ``asked``
    are the payments about which a bank asked: declined, they are canceled before their buyers hear
    so. Others that were declined are left to the worker, which looks at them after two leases."""
    return [
        payment
        for payment in payments
        if payment.status in ("action_required", "authorized")
        or (payment.status == "declined" and payment.metadata["key_digest"] in asked)
    ]
