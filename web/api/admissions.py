"""Admissions at the door, for the gates' own token."""

import re
import secrets
from collections.abc import Callable
from typing import Annotated
from wsgiref.types import WSGIEnvironment

import msgspec
from flask import Blueprint
from msgspec import Meta
from werkzeug.exceptions import NotFound

from web.api.parsing import SeatId, body_of, checked, idempotency_key
from web.api.schemas import attendance_json
from web.domain.admissions import MAX_GATE_LENGTH
from web.domain.refusals import EventNotFound, IdempotencyKeyMissing, Unavailable
from web.domain.sales import rfc3339
from web.domain.validation import MAX_SEATS_NAMED, title_of
from web.http.bearer import has_token
from web.http.fast_path import FastPath, FastRequest
from web.http.problems import Problem
from web.http.responses import ApiResponse, json_response
from web.metrics import ADMISSIONS
from web.signing.ticket_codes import MAX_CODE_LENGTH

MAX_MS_AGO = 7 * 24 * 60 * 60 * 1000
"""A week: nobody looks for a telephone that stayed in a drawer for longer."""

_PATH = re.compile(r"/api/events/[a-z0-9-]+/admissions")

admissions = Blueprint("admissions", __name__, url_prefix="/api/events/<event_id>/admissions")


class ScanBody(msgspec.Struct):
    """``admitted_ms_ago``: the gate has let them in already, without a connection."""

    code: Annotated[str, Meta(max_length=MAX_CODE_LENGTH)]
    gate: str
    seats: Annotated[list[SeatId], Meta(min_length=1, max_length=MAX_SEATS_NAMED)] | None = None
    admitted_ms_ago: Annotated[int, Meta(ge=0, le=MAX_MS_AGO)] | None = None


def by_door(token: str) -> Callable[[WSGIEnvironment], bool]:
    """Returns a function that says whether a request is a gate's: all gates of a venue may share
    one address, so they have a limit of their own."""

    def is_by_door(environ: WSGIEnvironment) -> bool:
        return bool(_PATH.fullmatch(environ.get("PATH_INFO", ""))) and has_token(environ, token)

    return is_by_door


def check_token(fast_request: FastRequest) -> ApiResponse | None:
    token = fast_request.services.settings.door_token
    if not token:
        raise NotFound
    if has_token(fast_request.environ, token):
        return None
    return Problem(
        401,
        "invalid_token",
        "This is not the DOOR_TOKEN. Send `Authorization: Bearer` and the token.",
        headers={"WWW-Authenticate": 'Bearer realm="door", error="invalid_token"'},
    ).api_response()


fast_path = FastPath(admissions, check_token)


@fast_path.route("POST", "")
def admit(fast_request: FastRequest, event_id: str) -> ApiResponse:
    parts, environ = fast_request
    body = body_of(environ, ScanBody)
    gate = checked("gate", lambda text: title_of(text, MAX_GATE_LENGTH), body.gate)
    given = "HTTP_IDEMPOTENCY_KEY" in environ
    key = idempotency_key(environ) if given else secrets.token_hex(16)
    use_case = parts.admissions
    if body.admitted_ms_ago is None:
        let_in = use_case.admit(event_id, body.code, gate, key, body.seats)
        ADMISSIONS.labels("asked").inc(len(let_in.seats))
    else:
        if not given:
            raise IdempotencyKeyMissing
        let_in = use_case.record(event_id, body.code, gate, key, body.admitted_ms_ago, body.seats)
        ADMISSIONS.labels("reported").inc(len(let_in.seats))
    return json_response(
        {
            "seats": let_in.seats,
            "name": let_in.name,
            "admitted_at": rfc3339(let_in.admitted_at),
        },
        201,
    )


@fast_path.route("GET", "")
def count(fast_request: FastRequest, event_id: str) -> ApiResponse:
    parts = fast_request.services
    attendance = parts.admissions.attendance(event_id)
    try:
        sections = [section.id for section in parts.box_office.event_to_name(event_id).sections]
    except (EventNotFound, Unavailable):
        if not attendance.seats and not attendance.minutes:
            raise
        sections = []
    return json_response(attendance_json(event_id, attendance, sections))
