"""Two deployments on one Stripe account, each with its own Redis, MongoDB and SECRET_KEY, like
staging and production."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.application import application_with
from tests.support.factories import BUYER, WAY_BACK, put_on_sale, small_hall, unique
from web.domain.refusals import ActionRequired
from web.domain.sales import Booking, HoldRef, PaymentAttempt, booking_id_of
from web.services import Services
from web.signing.shop_tags import shop_tag
from web.use_cases.audit import audit
from web.use_cases.reconciliation import Reconciler

PRODUCTIONS_KEY, STAGINGS_KEY, NEW_KEY = (
    f"the {name} secret key of tests" for name in ("production", "staging", "new")
)
PRODUCTION, STAGING = ("8", "production"), ("9", "staging")
"""A database of Redis and one of MongoDB."""


@pytest.fixture
def deployment(redis_server, mongo_server, sandbox):
    def made(databases: tuple[str, str], secret_key: str, **settings: str) -> Services:
        redis_database, mongodb_database = databases
        environ = {
            "SECRET_KEY": secret_key,
            "STRIPE_API_BASE": sandbox.url,
            "REDIS_URL": redis_server.url.replace("/0", f"/{redis_database}"),
            "MONGODB_URI": mongo_server.url.replace("/tickets", f"/{mongodb_database}"),
        }
        services = application_with(**environ | settings).extensions["services"]
        services.bookings.create_indexes()
        return services

    return made


@pytest.fixture
def production(deployment) -> Services:
    return deployment(PRODUCTION, PRODUCTIONS_KEY)


def sold(services: Services) -> Booking:
    hall = small_hall()
    put_on_sale(services.seats, hall)
    hold, token = services.box_office.hold_seats(hall.id, unique("client"), ["stalls-B-1"])
    services.checkout.pay(HoldRef(hall.id, hold.id, token), "key", BUYER, WAY_BACK)
    return services.bookings.find(booking_id_of(hold.id))


def at_bank(services: Services) -> PaymentAttempt:
    """A payment that has to be confirmed at the bank."""
    hall = small_hall()
    put_on_sale(services.seats, hall)
    hold, token = services.box_office.hold_seats(hall.id, unique("client"), ["stalls-B-1"])
    asking = replace(BUYER, payment_method="pm_card_authenticationRequired")
    with pytest.raises(ActionRequired):
        services.checkout.pay(HoldRef(hall.id, hold.id, token), "key", asking, WAY_BACK)
    return services.seats.claim_payment(hall, hold.id)


def work(services: Services) -> dict[str, int]:
    """Run a round of the worker that treats even a payment from this second as abandoned. Returns
    what it repaired."""
    worker = Reconciler(
        services.catalogue,
        services.seats,
        services.bookings,
        services.gateway,
        services.checkout,
        [],
        lease_s=-1,
    )
    worker.round()
    return dict(worker.repairs)


def money_of(services: Services) -> dict[str, str]:
    since = datetime.now(UTC) - timedelta(hours=1)
    return {payment.payment_id: payment.status for payment in services.gateway.list(since)}


def problems(services: Services) -> list[str]:
    checks = audit(services.catalogue, services.audited_seats, services.bookings, services.gateway)
    return [finding for check in checks for finding in check.findings]


def test_the_worker_of_one_shop_leaves_the_sales_of_another_alone(production, deployment):
    staging = deployment(STAGING, STAGINGS_KEY)
    booking, stagings = sold(production), sold(staging)
    lost = sold(staging)
    staging.bookings._collection.delete_one({"_id": lost.id})

    assert work(staging) == {"refunded": 1}
    assert work(production) == {}
    assert money_of(production)[booking.payment_id] == "captured"
    assert money_of(staging) == {stagings.payment_id: "captured", lost.payment_id: "refunded"}
    assert problems(production) == []


def test_the_worker_of_one_shop_cancels_no_payment_of_another_that_is_at_the_bank(
    production, deployment
):
    staging = deployment(STAGING, STAGINGS_KEY)
    productions, stagings = at_bank(production), at_bank(staging)
    staging.seats.undo_payment(stagings, None)  # Then nobody needs it any more.

    assert work(staging) == {"canceled": 1}
    assert money_of(staging)[stagings.bank_step.payment_id] == "voided"
    assert money_of(production)[productions.bank_step.payment_id] == "action_required"


def test_a_shop_with_a_new_secret_key_still_knows_what_it_sold(production, deployment):
    booking, lost = sold(production), sold(production)
    production.bookings._collection.delete_one({"_id": lost.id})
    renewed = deployment(PRODUCTION, NEW_KEY, SECRET_KEY_FALLBACKS=PRODUCTIONS_KEY)

    assert work(renewed) == {"refunded": 1}
    assert money_of(renewed)[booking.payment_id] == "captured"
    assert money_of(renewed)[lost.payment_id] == "refunded"
    assert booking.payment_id not in money_of(deployment(PRODUCTION, NEW_KEY))


def test_the_tag_of_a_secret_key_never_changes_and_does_not_tell_it():
    """Another one would hide all payments that are under way from the worker."""
    assert shop_tag(PRODUCTIONS_KEY) == "19f2fae68176dbc2"
    assert shop_tag(PRODUCTIONS_KEY) != shop_tag(STAGINGS_KEY)
