"""Stripe's error objects: https://docs.stripe.com/api/errors."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

ErrorType = Literal["api_error", "card_error", "idempotency_error", "invalid_request_error"]


@dataclass(frozen=True)
class Answer:
    """A status and the exact bytes of a JSON body, so that a replay repeats both."""

    status: int
    body: bytes
    replayed: bool = False


def json_answer(status: int, document: dict[str, Any]) -> Answer:
    return Answer(status, json.dumps(document, separators=(",", ":")).encode())


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

    def answer(self) -> Answer:
        error = {"type": self.type, "message": self.message, **self.details}
        if self.code:
            error["code"] = self.code
        if self.param:
            error["param"] = self.param
        return json_answer(self.status, {"error": error})


def invalid_request(
    message: str, code: str | None = None, param: str | None = None, status: int = 400
) -> ApiError:
    return ApiError(status, "invalid_request_error", message, code, param)


def no_such(kind: str, object_id: str, param: str, status: int) -> ApiError:
    return invalid_request(f"No such {kind}: '{object_id}'", "resource_missing", param, status)
