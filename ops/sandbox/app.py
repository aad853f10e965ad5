"""The HTTP calls: their routes, and the answers to what is none of them."""

import contextlib
import secrets
import socket
from collections.abc import Callable

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from ops.sandbox.access import API_VERSION, asked_version, require_test_key
from ops.sandbox.bank import Bank
from ops.sandbox.calls import Calls, deliver
from ops.sandbox.control import PREFIX as CONTROL_PREFIX
from ops.sandbox.control import control_calls
from ops.sandbox.errors import Answer, ApiError, ErrorType, invalid_request
from ops.sandbox.faults import Dropped, Faults, Operation
from ops.sandbox.intent_calls import INTENTS, PaymentIntents
from ops.sandbox.ledger import Ledger
from ops.sandbox.rate_limit import RateLimit
from ops.sandbox.refund_calls import REFUNDS, Refunds
from ops.sandbox.token_calls import TEST_TOKENS, TOKENS, ConfirmationTokens
from ops.sandbox.webhooks import Webhooks

MAX_BODY_BYTES = 64 * 1024
"""Enough for fifty metadata values of maximum length and everything else."""

CONNECTION = "ops.sandbox.connection"
"""The key of a request's socket in its WSGI environment."""


def create_app(
    ledger: Ledger,
    faults: Faults,
    bank: Bank,
    webhooks: Webhooks | None = None,
    rate_limit: RateLimit | None = None,
) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    calls = Calls(ledger, faults, webhooks, rate_limit or RateLimit())
    payments, repayments = PaymentIntents(ledger, calls, bank), Refunds(ledger, calls)
    tokens = ConfirmationTokens(ledger, calls)
    routes: tuple[tuple[str, str, Operation, Callable[..., Answer]], ...] = (
        ("POST", INTENTS, "create", payments.create),
        ("GET", INTENTS, "list", payments.list),
        ("GET", f"{INTENTS}/<intent_id>", "retrieve", payments.retrieve),
        ("POST", f"{INTENTS}/<intent_id>/confirm", "confirm", payments.confirm),
        ("POST", f"{INTENTS}/<intent_id>/capture", "capture", payments.capture),
        ("POST", f"{INTENTS}/<intent_id>/cancel", "cancel", payments.cancel),
        ("POST", REFUNDS, "refund", repayments.create),
        ("GET", REFUNDS, "list_refunds", repayments.list),
        ("POST", TEST_TOKENS, "create_token", tokens.create),
        ("GET", f"{TOKENS}/<token_id>", "retrieve_token", tokens.retrieve),
    )
    for method, path, operation, call in routes:
        app.add_url_rule(path, operation, calls.view(operation, call), methods=[method])
    app.register_blueprint(control_calls(faults, bank))
    app.before_request(begin_call)
    app.register_error_handler(ApiError, lambda error: deliver(error.answer()))
    app.register_error_handler(Dropped, close_connection)
    app.register_error_handler(HTTPException, lambda error: deliver(_http_error(error)))
    return app


def begin_call() -> None:
    """Check the key and the version. Raises ApiError."""
    g.request_id = f"req_{secrets.token_hex(7)}"
    g.api_version = API_VERSION
    if not request.path.startswith(f"{CONTROL_PREFIX}/"):
        require_test_key()
        g.api_version = asked_version()


def close_connection(_: Dropped) -> Response:
    """Close the connection without an answer; the response that Flask needs is never sent."""
    # The client may have closed it first.
    with contextlib.suppress(OSError):
        request.environ[CONNECTION].shutdown(socket.SHUT_RDWR)
    return Response(status=500)


def _http_error(error: HTTPException) -> Answer:
    if error.code in (404, 405):
        message = f"Unrecognized request URL ({request.method}: {request.path})."
        return invalid_request(message, status=404).answer()
    status = error.code or 500
    kind: ErrorType = "api_error" if status >= 500 else "invalid_request_error"
    return ApiError(status, kind, error.description or error.name).answer()
