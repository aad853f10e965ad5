"""Stripe's error objects: https://docs.stripe.com/api/errors."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

ErrorType = Literal["api_error", "card_error", "idempotency_error", "invalid_request_error"]


@dataclass(frozen=True)
class Event:
    """What a webhook tells: ``subject`` is the intent or charge as the call left it."""

    type: str
    subject: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """A status and the exact bytes of a JSON body, so that a replay repeats both. ``events`` are
    what the call has caused; a replay causes none."""

    status: int
    body: bytes
    replayed: bool = False
    events: tuple[Event, ...] = ()


def json_answer(status: int, document: dict[str, Any], events: tuple[Event, ...] = ()) -> Answer:
    return Answer(status, json.dumps(document, separators=(",", ":")).encode(), events=events)


@dataclass
class ApiError(Exception):
    """A call that Stripe would refuse. ``details`` are further fields of the error object:
    ``decline_code``, ``charge``, ``payment_intent``."""

    status: int
    type: ErrorType
    message: str
    code: str | None = None
    param: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def answer(self, events: tuple[Event, ...] = ()) -> Answer:
        error = {"type": self.type, "message": self.message, **self.details}
        if self.code:
            error["code"] = self.code
        if self.param:
            error["param"] = self.param
        return json_answer(self.status, {"error": error}, events)


def answer_of(call: Callable[[], Answer]) -> Answer:
    """What the call answers, also when it refuses."""
    try:
        return call()
    except ApiError as error:
        return error.answer()


def invalid_request(
    message: str, code: str | None = None, param: str | None = None, status: int = 400
) -> ApiError:
    return ApiError(status, "invalid_request_error", message, code, param)


def no_such(kind: str, object_id: str, param: str, status: int) -> ApiError:
    return invalid_request(f"No such {kind}: '{object_id}'", "resource_missing", param, status)
