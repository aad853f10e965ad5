"""Stripe's error objects: https://docs.stripe.com/api/errors."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from flask import g

ErrorType = Literal["api_error", "card_error", "idempotency_error", "invalid_request_error"]


@dataclass(frozen=True)
class Event:
    """The content of a webhook: ``subject`` is the intent or charge as the call left it."""

    type: str
    subject: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """A status and the exact bytes of a JSON body, so that a replay repeats both. ``events`` are
    those that the call caused; a replay causes none. ``headers`` are further headers, which only
    answers have that are not stored under a key."""

    status: int
    body: bytes
    replayed: bool = False
    events: tuple[Event, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)


def json_answer(status: int, document: dict[str, Any], events: tuple[Event, ...] = ()) -> Answer:
    return Answer(status, json.dumps(document, separators=(",", ":")).encode(), events=events)


@dataclass
class ApiError(Exception):
    """A call that Stripe would refuse. ``details`` are further fields of the error object:
    ``decline_code``, ``charge``, ``payment_intent``, ``payment_method``."""

    status: int
    type: ErrorType
    message: str
    code: str | None = None
    param: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def answer(self, events: tuple[Event, ...] = ()) -> Answer:
        error = {"type": self.type, "message": self.message, **self.details}
        if self.code:
            error |= {"code": self.code, "doc_url": doc_url(self.code)}
        if self.param:
            error["param"] = self.param
        if self.status != 401:
            # Without a key there is no account, and no log. As at Stripe, a repeated answer has the
            # log of the request that was carried out.
            error["request_log_url"] = (
                f"https://dashboard.stripe.com/test/logs/{g.request_id}?t={int(time.time())}"
            )
        return replace(json_answer(self.status, {"error": error}, events), headers=self.headers)


def doc_url(code: str) -> str:
    """Stripe's page about an error code."""
    return f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"


def answer_of(call: Callable[[], Answer]) -> Answer:
    """The call's answer, also when it raises ApiError."""
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


def rate_limited() -> ApiError:
    return ApiError(
        429,
        "invalid_request_error",
        "Request rate limit exceeded. Learn more about rate limits here "
        "https://stripe.com/docs/rate-limits.",
        "rate_limit",
        headers={"Stripe-Rate-Limited-Reason": "endpoint-rate"},
    )


def lock_timeout() -> ApiError:
    """https://docs.stripe.com/rate-limits#object-lock-timeouts"""
    return ApiError(
        429,
        "invalid_request_error",
        "This object cannot be accessed right now because another API request or Stripe process is "
        "currently accessing it. If you see this error intermittently, retry the request. If you "
        "see this error frequently and are making multiple concurrent requests to a single object, "
        "make your requests serially or at a lower rate. For more details, see "
        "https://stripe.com/docs/rate-limits#object-lock-timeouts.",
        "lock_timeout",
        headers={"Stripe-Should-Retry": "true"},
    )
