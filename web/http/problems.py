"""Each refusal as a client of the API sees it: problem details (RFC 9457) with a ``code``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Response
from werkzeug.exceptions import HTTPException

from web.domain import refusals
from web.domain.sales import rfc3339
from web.http.responses import ApiResponse

MEDIA_TYPE = "application/problem+json"

_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
"""Codes of HTTP errors. Others are named after their status."""

_HELPFUL_FIELDS = ("Accept", "Allow", "Content-Range")
"""Header fields of those errors that say what would be accepted."""


@dataclass(frozen=True)
class Problem:
    """``detail`` is for people; ``extra`` are further members for programs."""

    status: int
    code: str
    detail: str
    retry_after_s: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def api_response(self) -> ApiResponse:
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.extra,
        }
        headers = [
            ("Content-Type", MEDIA_TYPE),
            *self.headers.items(),
            ("Cache-Control", "no-store"),
        ]
        if self.retry_after_s is not None:
            headers.append(("Retry-After", str(self.retry_after_s)))
        return ApiResponse(self.status, msgspec.json.encode(body), headers)

    def flask_response(self) -> Response:
        return self.api_response().flask_response()


def more_cards(count: int) -> str:
    return f"{count} more {'card' if count == 1 else 'cards'}"


def seat_taken(seats: Sequence[str]) -> Problem:
    return Problem(
        409,
        "seat_taken",
        f"Somebody else has {', '.join(seats)}. Nothing was held; choose other seats.",
        extra={"seats": seats},
    )


def sold_out(section_id: str, quantity: int | str) -> Problem:
    return Problem(
        409,
        "sold_out",
        f"Fewer than {quantity} seats are available in section {section_id} right now. "
        "Seats come back when a hold runs out.",
    )


def problem_of_http_error(error: HTTPException) -> Problem:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    code = _CODES.get(status, error.name.lower().replace(" ", "_"))
    headers = {name: value for name, value in error.get_headers() if name in _HELPFUL_FIELDS}
    return Problem(status, code, error.description or error.name, headers=headers)


def problem_of(refusal: refusals.Refusal) -> Problem:  # noqa: C901 - a table
    """The one table from refusals to problems."""
    match refusal:
        case refusals.InvalidRequest(field_, problem):
            return Problem(422, "invalid_request", f"{field_}: {problem}", extra={"field": field_})
        case refusals.EventNotFound(event_id):
            return Problem(404, "event_not_found", f"There is no event {event_id}.")
        case refusals.SectionNotFound(section_id):
            return Problem(404, "section_not_found", f"This event has no section {section_id}.")
        case refusals.SeatNotFound(seat):
            return Problem(404, "seat_not_found", f"This event has no seat {seat}.")
        case refusals.SeatTaken(seats):
            return seat_taken(seats)
        case refusals.SoldOut(section_id, quantity):
            return sold_out(section_id, quantity)
        case refusals.SaleNotOpen(wait_ms):
            return Problem(
                403,
                "sale_not_open",
                "The sale has not opened yet; Retry-After says in how many seconds it does.",
                retry_after_s=math.ceil(wait_ms / 1000),
            )
        case refusals.SaleClosed():
            return Problem(403, "sale_closed", "The sale is over. Nothing was held.")
        case refusals.TooManyHeldByNetwork(held, limit):
            return Problem(
                409,
                "too_many_held",
                f"Your network, which other people share, holds {held} unpaid seats of this event, "
                f"and {limit} is the most at a time, all together. None of them need be yours. Try "
                "again shortly: the others pay for their seats, or their time runs out.",
                extra={"held": held, "max_held_per_network": limit},
            )
        case refusals.TooManyHeld(held, limit):
            return Problem(
                409,
                "too_many_held",
                f"Your connection holds {held} unpaid seats of this event, and {limit} is the most "
                "at a time, all together, for those who share one internet address. Pay for seats "
                "or release them, or wait until their time is over.",
                extra={"held": held, "max_held_per_client": limit},
            )
        case refusals.BasketFull(limit):
            return Problem(
                409,
                "basket_full",
                f"This browser has {limit} unpaid holds, which is the most it can have. Nothing "
                "more was held: first pay for one of them or give one back.",
                extra={"max_holds": limit},
            )
        case refusals.HoldNotFound():
            return Problem(
                404, "hold_not_found", "There is no such hold, or this is not its token."
            )
        case refusals.BookingNotFound():
            return Problem(
                404, "booking_not_found", "There is no such booking, or this is not its token."
            )
        case refusals.HoldExpired():
            return Problem(
                410,
                "hold_expired",
                "This hold ran out or was released. Nothing was charged; hold the seats again.",
            )
        case refusals.AlreadyExtended():
            return Problem(
                409, "already_extended", "This hold was extended before; it can be only once."
            )
        case refusals.AlreadyBooked(booking_id):
            return Problem(
                409,
                "already_booked",
                "This hold is paid and booked already; it was not charged again.",
                extra={"booking_id": booking_id},
            )
        case refusals.PaymentInProgress():
            return Problem(
                409,
                "payment_in_progress",
                "A payment for this hold is under way. Ask again with the same Idempotency-Key.",
                retry_after_s=1,
            )
        case refusals.EarlierRefusal(first):
            return replace(problem_of(first), headers={"Idempotent-Replayed": "true"})
        case refusals.PaymentNotFound():
            return Problem(
                404,
                "payment_not_found",
                "There is no such payment, or nothing came of it. Nothing was charged.",
            )
        case refusals.PaymentDeclined(reason, message, attempts_left):
            if not attempts_left:
                after = "The seats were given back."
            elif reason == refusals.NOT_ACCEPTED:
                after = "No other card can change that; please tell the organiser."
            else:
                after = f"You can try {more_cards(attempts_left)} with a new Idempotency-Key."
            return Problem(
                402,
                "payment_declined",
                f"{message} Nothing was charged. {after}",
                extra={"reason": reason, "attempts_left": attempts_left},
            )
        case refusals.NotATicket():
            return Problem(
                422, "not_a_ticket", "This is not a ticket of ours, or only a part of one."
            )
        case refusals.OtherEvent(event_id):
            return Problem(
                422,
                "other_event",
                f"This is a ticket for another event: {event_id}.",
                extra={"event": event_id},
            )
        case refusals.TicketRefunded():
            return Problem(
                410, "ticket_refunded", "This ticket was refunded, and admits nobody any more."
            )
        case refusals.AlreadyAdmitted(seats, admitted_at, gate):
            return Problem(
                409,
                "already_admitted",
                f"{', '.join(seats)}: already admitted, at {rfc3339(admitted_at)}, gate {gate}.",
                extra={"seats": seats, "admitted_at": rfc3339(admitted_at), "gate": gate},
            )
        case refusals.IdempotencyKeyMissing():
            return Problem(
                400,
                "idempotency_key_missing",
                "Send an Idempotency-Key header: a random value of your own for this payment, "
                "the same whenever you repeat it.",
            )
        case refusals.IdempotencyKeyReused():
            return Problem(
                422,
                "idempotency_key_reused",
                "This Idempotency-Key was used for another payment. Nothing was charged now; "
                "take a new key for a new payment.",
            )
        case refusals.NotKnownNow(_, retry_after_s):
            return Problem(
                503,
                "unavailable",
                "The service lost its memory of this hold a moment ago, and a payment that was "
                "under way may still go through. Ask again after Retry-After seconds, a payment "
                "with the same Idempotency-Key: it is charged once at most.",
                retry_after_s=retry_after_s,
            )
        case refusals.PaymentsClosed(_, retry_after_s):
            return Problem(
                503,
                "unavailable",
                "The shop cannot take payments at the moment: its account at the payment provider "
                "refuses them. Nothing was charged, and the seats stay held until the hold ends. "
                "Try again later.",
                retry_after_s=retry_after_s,
            )
        case refusals.PaymentsBusy(_, retry_after_s):
            return Problem(
                503,
                "unavailable",
                "Very many payments are being made at this moment. Nothing was charged, and the "
                "seats stay held until the hold ends. Try again after Retry-After seconds.",
                retry_after_s=retry_after_s,
            )
        case refusals.Unavailable(part, retry_after_s):
            return Problem(
                503,
                "unavailable",
                f"The service cannot reach its {part} now. Nothing happened; try again.",
                retry_after_s=retry_after_s,
            )
    raise refusal
