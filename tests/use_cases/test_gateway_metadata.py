from datetime import UTC, datetime

from tests.support.factories import BUYER
from web.domain.sales import PaymentAttempt
from web.ports.payment_gateway import GatewayPayment
from web.use_cases.gateway_metadata import MAX_VALUE_LENGTH, metadata_of, payment_of

SEATS = tuple(f"a-section-with-rather-a-long-name-{n}-{n}-{n}" for n in range(50))


def a_payment(seats: tuple[str, ...]) -> PaymentAttempt:
    return PaymentAttempt(
        event_id="evening",
        hold_id="hld_1",
        client="203.0.113.7",
        network="2001:db8:1::/48",
        attempt=2,
        seats=seats,
        amount_minor=2500,
        currency="GBP",
        buyer=BUYER,
        key_digest="k" * 64,
        fingerprint="f" * 64,
        begun_at=datetime(2026, 1, 1, 12, 0, 0, 123000, tzinfo=UTC),
    )


def test_a_payment_can_be_read_back_from_what_the_gateway_keeps():
    for seats in (SEATS[:1], SEATS):
        payment = a_payment(seats)
        metadata = metadata_of(payment)
        kept = GatewayPayment("pi_1", "key", 2500, "GBP", "authorized", payment.begun_at, metadata)
        assert payment_of(kept).seats == seats
        assert metadata_of(payment_of(kept)) == metadata


def test_stripe_takes_the_metadata_of_the_largest_hold():
    metadata = metadata_of(a_payment(SEATS))
    assert len(metadata) < 50, "Stripe takes 50 fields, and the adapter adds one"
    assert max(map(len, metadata)) <= 40
    assert max(map(len, metadata.values())) <= MAX_VALUE_LENGTH


def test_a_payment_of_a_former_release_has_no_network():
    payment = a_payment(SEATS[:1])
    metadata = metadata_of(payment)
    del metadata["network"]
    kept = GatewayPayment("pi_1", "key", 2500, "GBP", "authorized", payment.begun_at, metadata)
    assert payment_of(kept).network == ""
    assert metadata_of(payment_of(kept)) == metadata
