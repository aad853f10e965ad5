"""docs/privacy.md names every place that keeps something about a person, and no store but the
limiter's keeps a client's address."""

import re
from datetime import UTC, datetime

import pytest

from ops.servers import REPOSITORY
from tests.support.factories import BUYER, lose_event, put_on_sale, small_hall
from tests.support.http_client import Client
from tests.support.shop import TOKENS
from web.adapters.mongodb.documents import BookingDocument
from web.adapters.stripe.payments import KEY_FIELD, SHOP_FIELD
from web.domain.refusals import TooManyHeld
from web.ports.payment_gateway import GatewayPayment
from web.ports.seat_store import LostPayments
from web.use_cases.box_office import BoxOffice
from web.use_cases.gateway_metadata import metadata_of, payment_of

PAGE = (REPOSITORY / "docs/privacy.md").read_text()
ADDRESS = "198.18.77.88"


def keys_of_redis() -> set[str]:
    """The first part of each, as the scripts' headers and the store's Python name them."""
    headers = "".join(path.read_text() for path in (REPOSITORY / "lua").rglob("*.lua"))
    stores = "".join(path.read_text() for path in (REPOSITORY / "web/adapters").rglob("*.py"))
    scripts = re.findall(r"^-- KEYS\[[^\]]+\] +(\w+):", headers, re.MULTILINE)
    return {*scripts, *re.findall(r'(?:\bkey\(|^KEY = )"(\w+)', stores, re.MULTILINE)}


def fields_of_access_log() -> list[str]:
    text = (REPOSITORY / "ops/nginx/access_log.conf.j2").read_text()
    return re.findall(r'"(\w+)":"?\$', text)


def fields_of_cookie() -> list[str]:
    """Those that the pages set themselves."""
    modules = "".join(path.read_text() for path in (REPOSITORY / "web/pages").glob("*.py"))
    return re.findall(r'^FIELD = "(\w+)"', modules, re.MULTILINE)


@pytest.fixture
def sold(stack, seats):
    """A payment of a client with a known address, and its hall."""
    event = small_hall()
    put_on_sale(seats, event)
    client = Client(stack.url, event.id, ADDRESS)
    assert client.pay(client.held("stalls-A-1")).status_code == 201
    client.held("stalls-A-2")
    return event


@pytest.fixture
def payment(stack, sold) -> GatewayPayment:
    return next(p for p in stack.payments() if p.metadata["event"] == sold.id)


def test_the_page_names_every_key_in_redis():
    assert {"clients", "journal", "form", "login", "accepted"} <= keys_of_redis()
    assert [key for key in sorted(keys_of_redis()) if f"`{key}:`" not in PAGE] == []


def test_the_page_names_every_field_of_a_booking():
    assert [name for name in BookingDocument._fields if f"`{name}`" not in PAGE] == []


def test_the_page_names_every_field_of_a_payments_metadata(payment):
    assert "email" in payment.metadata
    fields = [*payment.metadata, KEY_FIELD, SHOP_FIELD]
    assert [name for name in fields if f"`{name}`" not in PAGE] == []


def test_the_page_names_every_field_of_the_access_log_and_the_cookie():
    assert {"client", "path"} <= set(fields_of_access_log())
    assert {"holds", "organiser"} <= set(fields_of_cookie())
    missing = [n for n in (*fields_of_access_log(), *fields_of_cookie()) if f"`{n}`" not in PAGE]
    assert missing == []


def test_a_clients_address_is_in_no_store(sold, payment, redis_client, mongo_client):
    assert ADDRESS not in str(payment.metadata)
    assert ADDRESS not in str(list(mongo_client["tickets"]["bookings"].find({"event": sold.id})))
    kept = [redis_client.hgetall(f"{key}:{{{sold.id}}}") for key in ("holds", "clients")]
    assert all(kept), "the second hold is there"
    assert ADDRESS not in str(kept)


def test_seats_under_payment_count_against_their_client_after_redis_was_lost(
    event, seats, catalogue, bookings, redis_client
):
    box_office = BoxOffice(catalogue, seats, bookings, TOKENS)
    six, _ = box_office.hold_seats(event.id, ADDRESS, event.seats[:6])
    payment = seats.begin_payment(event, six.id, BUYER, "key", "fingerprint")
    metadata, now = metadata_of(payment), datetime.now(UTC)
    told = GatewayPayment("pi_1", "key", 1, "GBP", "authorized", now, metadata)
    lose_event(redis_client, event.id)
    seats.build_event(event)
    seats.open_event(event, sold=[], payments=LostPayments([payment_of(told)]))
    with pytest.raises(TooManyHeld):
        box_office.hold_seats(event.id, ADDRESS, event.seats[8:11])
    box_office.hold_seats(event.id, "192.0.2.1", event.seats[8:11])
