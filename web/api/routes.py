"""The HTTP contract: parse, call one use case, render. ``docs/api.md`` describes every route."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import msgspec
from flask import Blueprint, Response, request, url_for
from msgspec import Meta
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from web.domain.events import Event
from web.domain.refusals import (
    IdempotencyKeyMissing,
    InvalidRequest,
    PaymentPending,
)
from web.domain.sales import Buyer, Hold, in_utc, rfc3339
from web.domain.validation import (
    MAX_PAYMENT_METHOD_LENGTH,
    MAX_SEATS_NAMED,
    PAYMENT_METHOD,
    email_of,
    field_and_problem,
    json_problem,
    name_of,
    number_of,
)
from web.http.edge import kept_by_nginx
from web.http.fast_path import FastPath, FastRequest
from web.http.responses import (
    ASKED_EACH_TIME,
    CLIENT,
    KEPT_FOR_EVER,
    MAX_BODY_BYTES,
    ApiResponse,
    encoded_response,
)
from web.services import services
from web.utils.encoded import Encoded

MAX_KEY_LENGTH = 255
"""Of an Idempotency-Key, as Stripe has it."""

PENDING_RETRY_S = 2

api = Blueprint("api", __name__, url_prefix="/api/events")
fast_path = FastPath(api)


Body = TypeVar("Body", bound=msgspec.Struct)
_SeatId = Annotated[str, Meta(min_length=1, max_length=100)]


class SeatsBody(msgspec.Struct):
    seats: Annotated[list[_SeatId], Meta(min_length=1, max_length=MAX_SEATS_NAMED)]


class PayBody(msgspec.Struct):
    """``payment_method`` may be left out when the seats cost nothing."""

    email: str
    name: str
    payment_method: Annotated[
        str, Meta(max_length=MAX_PAYMENT_METHOD_LENGTH, pattern=PAYMENT_METHOD)
    ] = ""


# ---------------------------------------------------------------- events


@api.get("")
def list_events() -> Response:
    return _json({"events": [_summary(event) for event in services().box_office.events()]})


@api.get("/<event_id>")
def show_event(event_id: str) -> Response:
    event = services().box_office.event(event_id)
    return _definition(event, ASKED_EACH_TIME)


@api.get("/<event_id>/versions/<version>")
def show_version(event_id: str, version: str) -> Response:
    """What pages ask for: they name the version that they were made with, so that nginx can keep it
    for everybody. Whoever names another gets that of now, which nobody keeps."""
    event = services().box_office.event(event_id)
    return _definition(event, KEPT_FOR_EVER if version == event.version else ASKED_EACH_TIME)


def _definition(event: Event, cache_control: str) -> Response:
    definition = _event_json(event)
    return encoded_response(
        definition, request.environ, event.version, cache_control
    ).flask_response()


@fast_path.route("GET", "/<event_id>/seats")
def show_seats(fast_request: FastRequest, event_id: str) -> ApiResponse:
    seat_map = fast_request.services.seat_maps.of(event_id)
    return encoded_response(seat_map, fast_request.environ, str(seat_map.revision), ASKED_EACH_TIME)


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
    if number is None or quantity != str(number):  # "02" would be another path for what "2" asks
        raise InvalidRequest("quantity", "must be a number of seats")
    client = fast_request.environ[CLIENT]
    return _held(*fast_request.services.box_office.hold_best(event_id, client, section_id, number))


@api.post("/<event_id>/holds")
def hold_seats(event_id: str) -> Response:
    body = _body(SeatsBody)
    client = request.environ[CLIENT]
    return _held(*services().box_office.hold_seats(event_id, client, body.seats)).flask_response()


@api.get("/<event_id>/holds/<hold_id>")
def show_hold(event_id: str, hold_id: str) -> Response:
    return _json(_hold(services().box_office.hold(event_id, hold_id, _token())))


@api.delete("/<event_id>/holds/<hold_id>")
def release_hold(event_id: str, hold_id: str) -> Response:
    services().box_office.release(event_id, hold_id, _token())
    return Response(status=204)


@api.post("/<event_id>/holds/<hold_id>/extend")
def extend_hold(event_id: str, hold_id: str) -> Response:
    return _json(_hold(services().box_office.extend(event_id, hold_id, _token())))


# ---------------------------------------------------------------- payments and bookings


@api.post("/<event_id>/holds/<hold_id>/pay")
def pay(event_id: str, hold_id: str) -> Response:
    key, body = _idempotency_key(), _body(PayBody)
    buyer = Buyer(
        payment_method=body.payment_method,
        email=_checked("email", email_of, body.email),
        name=_checked("name", name_of, body.name),
    )
    sent = (body.payment_method, body.email, body.name)
    try:
        paid = services().checkout.pay(event_id, hold_id, _token(), key, buyer, sent)
    except PaymentPending as pending:
        return _pending(event_id, hold_id, pending.key_digest)
    response = _json(paid.receipt, 201)
    response.headers["Location"] = url_for(
        "api.show_booking", event_id=event_id, booking_id=paid.receipt.booking_id
    )
    if paid.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


@api.get("/<event_id>/holds/<hold_id>/payments/<key_digest>")
def show_payment(event_id: str, hold_id: str, key_digest: str) -> Response:
    """Where a payment of unknown outcome (202) sends its buyer."""
    receipt = services().checkout.payment(event_id, hold_id, _token(), key_digest)
    return _json(receipt) if receipt else _pending(event_id, hold_id, key_digest)


@api.get("/<event_id>/bookings/<booking_id>")
def show_booking(event_id: str, booking_id: str) -> Response:
    return _json(services().box_office.booking(event_id, booking_id, _token()).receipt_now())


# ---------------------------------------------------------------- what comes in


def _body(kind: type[Body]) -> Body:
    """The JSON body, checked. Raises InvalidRequest naming the field."""
    try:
        return msgspec.json.decode(_body_bytes(), type=kind)
    except msgspec.ValidationError as error:
        field, problem = field_and_problem(error)
        raise InvalidRequest(field or "body", json_problem(problem)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest("body", f"is not JSON in UTF-8: {error}") from None
    except RecursionError:
        raise InvalidRequest("body", "is nested too deeply") from None


def _checked(field: str, rule: Callable[[str], str], text: str) -> str:
    try:
        return rule(text)
    except ValueError as error:
        raise InvalidRequest(field, str(error)) from None


def _body_bytes() -> bytes:
    """All of the body or an error: RequestEntityTooLarge, BadRequest. Flask would hand on as if it
    were all what came before the connection broke, or what fits when no length was announced."""
    announced, limit = request.content_length, MAX_BODY_BYTES
    if announced is not None and announced > limit:
        raise RequestEntityTooLarge
    wanted = limit + 1 if announced is None else announced
    try:
        data: bytes = request.environ["wsgi.input"].read(wanted)
    except Exception as error:
        # Each server has errors of its own for chunks that do not fit or do not come.
        raise BadRequest("The body broke off, or has chunks that do not fit.") from error
    if len(data) > limit:
        raise RequestEntityTooLarge
    if announced is not None and len(data) < announced:
        raise BadRequest(f"The body broke off after {len(data)} bytes of {announced}.")
    return data


def _token() -> str:
    """Of ``Authorization: Bearer …``; "" opens nothing. Werkzeug's parser knows other schemes too,
    and raises for Basic in anything but ASCII."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _idempotency_key() -> str:
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        raise IdempotencyKeyMissing
    if len(key) > MAX_KEY_LENGTH:
        raise InvalidRequest("Idempotency-Key", f"must have at most {MAX_KEY_LENGTH} characters")
    return key


# ---------------------------------------------------------------- what goes out


def _json(body: Any, status: int = 200) -> Response:
    return _json_response(body, status).flask_response()


def _json_response(body: Any, status: int = 200) -> ApiResponse:
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    return ApiResponse(status, msgspec.json.encode(body), headers)


def _summary(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "name": event.name,
        "venue": event.venue,
        "currency": event.currency,
        "sale_opens_at": rfc3339(in_utc(event.sale_opens_at)),
    }


@lru_cache(maxsize=64)  # by identity: a definition that was opened anew is another object
def _event_json(event: Event) -> Encoded:
    seats = iter(event.seats)
    sections = [
        {
            "id": section.id,
            "name": section.name,
            "price": section.price_minor,
            "kind": section.kind,
            "rows": [
                {"id": row.id, "seats": [next(seats) for block in row.blocks for _ in block]}
                for row in section.rows
            ],
        }
        for section in event.sections
    ]
    definition = msgspec.json.encode(
        {
            **_summary(event),
            "version": event.version,
            "layout": event.layout,
            "hold_ms": event.hold_ms,
            "max_seats_per_hold": event.max_seats_per_hold,
            "max_held_per_client": event.max_held_per_client,
            "max_held_per_network": event.network_max,
            "sections": sections,
        }
    )
    return Encoded(definition)


def _hold(hold: Hold) -> dict[str, Any]:
    return {
        "hold_id": hold.id,
        "event": hold.event_id,
        "seats": hold.seats,
        "amount": hold.amount_minor,
        "currency": hold.currency,
        "status": hold.status,
        "expires_in_ms": hold.expires_in_ms,
        "expires_at": rfc3339(datetime.fromtimestamp(hold.expires_at_ms / 1000, UTC)),
    }


def _held(hold: Hold, token: str) -> ApiResponse:
    response = _json_response({**_hold(hold), "hold_token": token}, 201)
    # As url_for would have it, which takes longer than the rest of this.
    response.headers.append(("Location", f"{api.url_prefix}/{hold.event_id}/holds/{hold.id}"))
    return response


def _pending(event_id: str, hold_id: str, key_digest: str) -> Response:
    response = _json({"hold_id": hold_id, "event": event_id, "status": "paying"}, 202)
    response.headers["Location"] = url_for(
        "api.show_payment", event_id=event_id, hold_id=hold_id, key_digest=key_digest
    )
    response.headers["Retry-After"] = str(PENDING_RETRY_S)
    return response
