"""Reads the API's requests: bodies, the idempotency key, the token of a hold."""

from collections.abc import Callable
from typing import Annotated, TypeVar
from wsgiref.types import WSGIEnvironment

import msgspec
from msgspec import Meta
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.wsgi import get_content_length

from web.domain.refusals import IdempotencyKeyMissing, InvalidRequest
from web.domain.sales import Buyer, HoldRef
from web.domain.validation import (
    MAX_PAYMENT_METHOD_LENGTH,
    MAX_SEATS_NAMED,
    PAYMENT_METHOD,
    TOKEN_PREFIX,
    address_of,
    email_of,
    field_and_problem,
    json_problem,
    name_of,
)
from web.http.responses import MAX_BODY_BYTES

MAX_KEY_LENGTH = 255
"""Of an Idempotency-Key; the same as Stripe's."""

Body = TypeVar("Body", bound=msgspec.Struct)
SeatId = Annotated[str, Meta(min_length=1, max_length=100)]


class SeatsBody(msgspec.Struct):
    seats: Annotated[list[SeatId], Meta(min_length=1, max_length=MAX_SEATS_NAMED)]


_PaymentMethod = Annotated[str, Meta(max_length=MAX_PAYMENT_METHOD_LENGTH, pattern=PAYMENT_METHOD)]


class PayBody(msgspec.Struct):
    """Has ``payment_method`` or ``confirmation_token``, neither when the seats cost nothing."""

    email: str
    name: str
    payment_method: _PaymentMethod = ""
    confirmation_token: _PaymentMethod = ""
    return_url: str | msgspec.UnsetType = msgspec.UNSET

    def as_sent(self) -> tuple[str, ...]:
        """Payment method or token, e-mail address and name exactly as they were sent; and the
        return_url, if there is one: earlier releases knew none."""
        sent = (self.payment_method or self.confirmation_token, self.email, self.name)
        return sent if self.return_url is msgspec.UNSET else (*sent, self.return_url)


def body_of(environ: WSGIEnvironment, kind: type[Body]) -> Body:
    """The validated JSON body. Raises InvalidRequest naming the field."""
    try:
        return msgspec.json.decode(_body_bytes(environ), type=kind)
    except msgspec.ValidationError as error:
        field, problem = field_and_problem(error)
        raise InvalidRequest(field or "body", json_problem(problem)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest("body", f"is not JSON in UTF-8: {error}") from None
    except RecursionError:
        raise InvalidRequest("body", "is nested too deeply") from None


def buyer_of(body: PayBody) -> Buyer:
    """Raises InvalidRequest."""
    if body.payment_method and body.confirmation_token:
        raise InvalidRequest("confirmation_token", "cannot be sent together with payment_method")
    if body.confirmation_token and not body.confirmation_token.startswith(TOKEN_PREFIX):
        raise InvalidRequest("confirmation_token", f"must begin with {TOKEN_PREFIX}")
    return Buyer(
        payment_method=body.payment_method or body.confirmation_token,
        email=checked("email", email_of, body.email),
        name=checked("name", name_of, body.name),
    )


def return_url_of(body: PayBody) -> str | None:
    """None when there is none. Raises InvalidRequest."""
    if body.return_url is msgspec.UNSET:
        return None
    return checked("return_url", address_of, body.return_url)


def checked(field: str, rule: Callable[[str], str], text: str) -> str:
    """What ``rule`` makes of the text. Raises InvalidRequest."""
    try:
        return rule(text)
    except ValueError as error:
        raise InvalidRequest(field, str(error)) from None


def _body_bytes(environ: WSGIEnvironment) -> bytes:
    """The whole body. Raises RequestEntityTooLarge or BadRequest. Flask would return, as if it were
    complete, what arrived before the connection broke, or what fits if no length was announced."""
    announced, limit = get_content_length(environ), MAX_BODY_BYTES
    if announced is not None and announced > limit:
        raise RequestEntityTooLarge
    wanted = limit + 1 if announced is None else announced
    try:
        data: bytes = environ["wsgi.input"].read(wanted)
    except Exception as error:
        # Each server has errors of its own for chunks that are malformed or do not arrive.
        raise BadRequest("The body broke off, or has chunks that do not fit.") from error
    if len(data) > limit:
        raise RequestEntityTooLarge
    if announced is not None and len(data) < announced:
        raise BadRequest(f"The body broke off after {len(data)} bytes of {announced}.")
    return data


def hold_ref(environ: WSGIEnvironment, event_id: str, hold_id: str) -> HoldRef:
    """The hold that the address names, with the token of the request."""
    return HoldRef(event_id, hold_id, bearer_token(environ))


def bearer_token(environ: WSGIEnvironment) -> str:
    """From ``Authorization: Bearer …``; "", which no hold has, if there is none. Werkzeug's parser
    handles other schemes too, and raises for Basic with anything but ASCII."""
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def idempotency_key(environ: WSGIEnvironment) -> str:
    key: str = environ.get("HTTP_IDEMPOTENCY_KEY", "")
    if not key:
        raise IdempotencyKeyMissing
    if len(key) > MAX_KEY_LENGTH:
        raise InvalidRequest("Idempotency-Key", f"must have at most {MAX_KEY_LENGTH} characters")
    return key
