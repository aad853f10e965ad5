"""The HTTP contract: parse, call one use case, render. ``docs/api.md`` describes every route."""

from dataclasses import asdict
from typing import Any

from flask import Blueprint

from web.api.parsing import (
    PayBody,
    SeatsBody,
    bearer_token,
    body_of,
    buyer_of,
    hold_ref,
    idempotency_key,
    return_url_of,
)
from web.api.schemas import event_definition, event_summary, hold_json
from web.domain.events import Event
from web.domain.refusals import ActionRequired, InvalidRequest, PaymentPending
from web.domain.sales import Hold, WayBack
from web.domain.validation import number_of
from web.http.edge import kept_by_nginx
from web.http.fast_path import FastPath, FastRequest
from web.http.responses import (
    CLIENT,
    IMMUTABLE,
    REVALIDATED,
    ApiResponse,
    encoded_response,
    json_response,
    no_content,
)
from web.http.return_address import return_address

PENDING_RETRY_S = 2
PREFIX = "/api/events"

api = Blueprint("api", __name__, url_prefix=PREFIX)
fast_path = FastPath(api)


# ---------------------------------------------------------------- events


@fast_path.route("GET", "")
def list_events(fast_request: FastRequest) -> ApiResponse:
    events = fast_request.services.box_office.events()
    return json_response({"events": [event_summary(event) for event in events]})


@fast_path.route("GET", "/<event_id>")
def show_event(fast_request: FastRequest, event_id: str) -> ApiResponse:
    event = fast_request.services.box_office.event(event_id)
    return _definition(fast_request, event, REVALIDATED)


@fast_path.route("GET", "/<event_id>/versions/<version>")
def show_version(fast_request: FastRequest, event_id: str, version: str) -> ApiResponse:
    """For pages, which request the version that they were rendered with, so that nginx can cache it
    for everybody. A request for another version gets the current one, which is not cached."""
    event = fast_request.services.box_office.event(event_id)
    cache_control = IMMUTABLE if version == event.version else REVALIDATED
    return _definition(fast_request, event, cache_control)


def _definition(fast_request: FastRequest, event: Event, cache_control: str) -> ApiResponse:
    definition = event_definition(event)
    return encoded_response(definition, fast_request.environ, event.version, cache_control)


@fast_path.route("GET", "/<event_id>/seats")
def show_seats(fast_request: FastRequest, event_id: str) -> ApiResponse:
    seat_map = fast_request.services.seat_maps.of(event_id)
    return encoded_response(seat_map, fast_request.environ, str(seat_map.revision), REVALIDATED)


# ---------------------------------------------------------------- holds


@fast_path.route("POST", "/<event_id>/seats/<seat>/hold")
@kept_by_nginx
def hold_seat(fast_request: FastRequest, event_id: str, seat: str) -> ApiResponse:
    client = fast_request.environ[CLIENT]
    return _held(*fast_request.services.box_office.hold_seat(event_id, client, seat))


@fast_path.route("POST", "/<event_id>/sections/<section_id>/best/<quantity>/hold")
@kept_by_nginx
def hold_best(
    fast_request: FastRequest, event_id: str, section_id: str, quantity: str
) -> ApiResponse:
    number = number_of(quantity, digits=9)
    if number is None or quantity != str(number):  # "02" would be a second path for "2"
        raise InvalidRequest("quantity", "must be a number of seats")
    client = fast_request.environ[CLIENT]
    return _held(*fast_request.services.box_office.hold_best(event_id, client, section_id, number))


@fast_path.route("POST", "/<event_id>/holds")
def hold_seats(fast_request: FastRequest, event_id: str) -> ApiResponse:
    environ = fast_request.environ
    body = body_of(environ, SeatsBody)
    box_office = fast_request.services.box_office
    return _held(*box_office.hold_seats(event_id, environ[CLIENT], body.seats))


@fast_path.route("GET", "/<event_id>/holds/<hold_id>")
def show_hold(fast_request: FastRequest, event_id: str, hold_id: str) -> ApiResponse:
    ref = hold_ref(fast_request.environ, event_id, hold_id)
    return json_response(hold_json(fast_request.services.box_office.hold(ref)))


@fast_path.route("DELETE", "/<event_id>/holds/<hold_id>")
def release_hold(fast_request: FastRequest, event_id: str, hold_id: str) -> ApiResponse:
    fast_request.services.box_office.release(hold_ref(fast_request.environ, event_id, hold_id))
    return no_content()


@fast_path.route("POST", "/<event_id>/holds/<hold_id>/extend")
def extend_hold(fast_request: FastRequest, event_id: str, hold_id: str) -> ApiResponse:
    ref = hold_ref(fast_request.environ, event_id, hold_id)
    return json_response(hold_json(fast_request.services.box_office.extend(ref)))


# ---------------------------------------------------------------- payments and bookings


@fast_path.route("POST", "/<event_id>/holds/<hold_id>/pay")
def pay(fast_request: FastRequest, event_id: str, hold_id: str) -> ApiResponse:
    parts, environ = fast_request
    key, body = idempotency_key(environ), body_of(environ, PayBody)
    ref, buyer, sent = hold_ref(environ, event_id, hold_id), buyer_of(body), body.as_sent()
    way_back = WayBack(return_url_of(body) or return_address(environ, event_id, hold_id))
    try:
        paid = parts.checkout.pay(ref, key, buyer, way_back, sent)
    except PaymentPending as pending:
        return _pending(event_id, hold_id, pending)
    response = json_response(paid.receipt, 201)
    response.headers.append(("Location", _address(event_id, "bookings", paid.receipt.booking_id)))
    if paid.replayed:
        response.headers.append(("Idempotent-Replayed", "true"))
    return response


@fast_path.route("GET", "/<event_id>/holds/<hold_id>/payments/<key_digest>")
def show_payment(
    fast_request: FastRequest, event_id: str, hold_id: str, key_digest: str
) -> ApiResponse:
    """The Location of a payment with an unknown outcome (202)."""
    ref = hold_ref(fast_request.environ, event_id, hold_id)
    try:
        return json_response(fast_request.services.checkout.payment(ref, key_digest))
    except PaymentPending as pending:
        return _pending(event_id, hold_id, pending)


@fast_path.route("POST", "/<event_id>/holds/<hold_id>/payments/<key_digest>/cancel")
def cancel_payment(
    fast_request: FastRequest, event_id: str, hold_id: str, key_digest: str
) -> ApiResponse:
    ref = hold_ref(fast_request.environ, event_id, hold_id)
    try:
        fast_request.services.checkout.cancel(ref, key_digest)
    except PaymentPending as pending:
        return _pending(event_id, hold_id, pending)
    return no_content()


@fast_path.route("GET", "/<event_id>/bookings/<booking_id>")
def show_booking(fast_request: FastRequest, event_id: str, booking_id: str) -> ApiResponse:
    parts, environ = fast_request
    booking = parts.box_office.booking(event_id, booking_id, bearer_token(environ))
    receipt = booking.receipt_now()
    if not booking.refunded_seats:
        return json_response(receipt)
    refunded = {
        "refunded_seats": booking.refunded_seats,
        "refunded_amount": booking.amount_minor if booking.refunded_at else booking.refunded_minor,
    }
    return json_response(asdict(receipt) | refunded)


# ---------------------------------------------------------------- responses


def _held(hold: Hold, token: str) -> ApiResponse:
    response = json_response({**hold_json(hold), "hold_token": token}, 201)
    response.headers.append(("Location", _address(hold.event_id, "holds", hold.id)))
    return response


def _pending(event_id: str, hold_id: str, pending: PaymentPending) -> ApiResponse:
    state: dict[str, Any] = {"status": "paying"}
    # Without an address only our own page can ask: it has Stripe.js.
    if isinstance(pending, ActionRequired) and pending.bank_step.url:
        state = {
            "status": "action_required",
            "next_action": {"type": "redirect_to_url", "url": pending.bank_step.url},
            "expires_in_ms": pending.bank_step.expires_in_ms,
        }
    response = json_response({"hold_id": hold_id, "event": event_id, **state}, 202)
    address = _address(event_id, "holds", hold_id, "payments", pending.key_digest)
    response.headers.extend([("Location", address), ("Retry-After", str(PENDING_RETRY_S))])
    return response


def _address(*segments: str) -> str:
    """The same as url_for returns for our own names, which takes longer than rendering a hold."""
    return "/".join((PREFIX, *segments))
