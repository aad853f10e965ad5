"""The HTTP contract: parse, call one use case, render. ``docs/api.md`` describes every route."""

from dataclasses import asdict
from typing import Any

import msgspec
from flask import Blueprint, Response, request, url_for

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
)
from web.http.return_address import return_address
from web.services import services

PENDING_RETRY_S = 2

api = Blueprint("api", __name__, url_prefix="/api/events")
fast_path = FastPath(api)


# ---------------------------------------------------------------- events


@api.get("")
def list_events() -> Response:
    return _json({"events": [event_summary(event) for event in services().box_office.events()]})


@api.get("/<event_id>")
def show_event(event_id: str) -> Response:
    event = services().box_office.event(event_id)
    return _definition(event, REVALIDATED)


@api.get("/<event_id>/versions/<version>")
def show_version(event_id: str, version: str) -> Response:
    """For pages, which request the version that they were rendered with, so that nginx can cache it
    for everybody. A request for another version gets the current one, which is not cached."""
    event = services().box_office.event(event_id)
    return _definition(event, IMMUTABLE if version == event.version else REVALIDATED)


def _definition(event: Event, cache_control: str) -> Response:
    definition = event_definition(event)
    return encoded_response(
        definition, request.environ, event.version, cache_control
    ).flask_response()


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


@api.post("/<event_id>/holds")
def hold_seats(event_id: str) -> Response:
    body = body_of(SeatsBody)
    client = request.environ[CLIENT]
    return _held(*services().box_office.hold_seats(event_id, client, body.seats)).flask_response()


@api.get("/<event_id>/holds/<hold_id>")
def show_hold(event_id: str, hold_id: str) -> Response:
    return _json(hold_json(services().box_office.hold(hold_ref(event_id, hold_id))))


@api.delete("/<event_id>/holds/<hold_id>")
def release_hold(event_id: str, hold_id: str) -> Response:
    services().box_office.release(hold_ref(event_id, hold_id))
    return Response(status=204)


@api.post("/<event_id>/holds/<hold_id>/extend")
def extend_hold(event_id: str, hold_id: str) -> Response:
    return _json(hold_json(services().box_office.extend(hold_ref(event_id, hold_id))))


# ---------------------------------------------------------------- payments and bookings


@api.post("/<event_id>/holds/<hold_id>/pay")
def pay(event_id: str, hold_id: str) -> Response:
    key, body = idempotency_key(), body_of(PayBody)
    ref, buyer, sent = hold_ref(event_id, hold_id), buyer_of(body), body.as_sent()
    way_back = WayBack(return_url_of(body) or return_address(event_id, hold_id))
    try:
        paid = services().checkout.pay(ref, key, buyer, way_back, sent)
    except PaymentPending as pending:
        return _pending(event_id, hold_id, pending)
    response = _json(paid.receipt, 201)
    response.headers["Location"] = url_for(
        "api.show_booking", event_id=event_id, booking_id=paid.receipt.booking_id
    )
    if paid.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


@api.get("/<event_id>/holds/<hold_id>/payments/<key_digest>")
def show_payment(event_id: str, hold_id: str, key_digest: str) -> Response:
    """The Location of a payment with an unknown outcome (202)."""
    try:
        return _json(services().checkout.payment(hold_ref(event_id, hold_id), key_digest))
    except PaymentPending as pending:
        return _pending(event_id, hold_id, pending)


@api.post("/<event_id>/holds/<hold_id>/payments/<key_digest>/cancel")
def cancel_payment(event_id: str, hold_id: str, key_digest: str) -> Response:
    try:
        services().checkout.cancel(hold_ref(event_id, hold_id), key_digest)
    except PaymentPending as pending:
        return _pending(event_id, hold_id, pending)
    return Response(status=204)


@api.get("/<event_id>/bookings/<booking_id>")
def show_booking(event_id: str, booking_id: str) -> Response:
    booking = services().box_office.booking(event_id, booking_id, bearer_token())
    receipt = booking.receipt_now()
    if not booking.refunded_seats:
        return _json(receipt)
    refunded = {
        "refunded_seats": booking.refunded_seats,
        "refunded_amount": booking.amount_minor if booking.refunded_at else booking.refunded_minor,
    }
    return _json(asdict(receipt) | refunded)


# ---------------------------------------------------------------- responses


def _json(body: Any, status: int = 200) -> Response:
    return _json_response(body, status).flask_response()


def _json_response(body: Any, status: int = 200) -> ApiResponse:
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    return ApiResponse(status, msgspec.json.encode(body), headers)


def _held(hold: Hold, token: str) -> ApiResponse:
    response = _json_response({**hold_json(hold), "hold_token": token}, 201)
    # The same as url_for returns, which takes longer than the rest of this function.
    response.headers.append(("Location", f"{api.url_prefix}/{hold.event_id}/holds/{hold.id}"))
    return response


def _pending(event_id: str, hold_id: str, pending: PaymentPending) -> Response:
    state: dict[str, Any] = {"status": "paying"}
    # Without an address only our own page can ask: it has Stripe.js.
    if isinstance(pending, ActionRequired) and pending.bank_step.url:
        state = {
            "status": "action_required",
            "next_action": {"type": "redirect_to_url", "url": pending.bank_step.url},
            "expires_in_ms": pending.bank_step.expires_in_ms,
        }
    response = _json({"hold_id": hold_id, "event": event_id, **state}, 202)
    response.headers["Location"] = url_for(
        "api.show_payment", event_id=event_id, hold_id=hold_id, key_digest=pending.key_digest
    )
    response.headers["Retry-After"] = str(PENDING_RETRY_S)
    return response
