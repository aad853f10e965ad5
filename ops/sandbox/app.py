"""The HTTP side: what a call is given and what it is sent back."""

import secrets
import time

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from ops.sandbox import cards, intents
from ops.sandbox.errors import Answer, ApiError, invalid_request, json_answer
from ops.sandbox.form import Parameters
from ops.sandbox.idempotency import Executor, Identity
from ops.sandbox.ledger import Ledger, Window

PATH = "/v1/payment_intents"
TEST_KEY_PREFIX = "sk_test_"
DEFAULT_PAGE = 10
MAX_PAGE = 100
MAX_BODY_BYTES = 64 * 1024
"""Fifty metadata values of full length and everything else fit in it."""


def create_app(ledger: Ledger) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    api = PaymentIntents(ledger)
    app.add_url_rule(PATH, view_func=api.create, methods=["POST"])
    app.add_url_rule(PATH, view_func=api.list)
    app.add_url_rule(f"{PATH}/<intent_id>", view_func=api.retrieve)
    app.add_url_rule(f"{PATH}/<intent_id>/confirm", view_func=api.confirm, methods=["POST"])
    app.add_url_rule(f"{PATH}/<intent_id>/capture", view_func=api.capture, methods=["POST"])
    app.add_url_rule(f"{PATH}/<intent_id>/cancel", view_func=api.cancel, methods=["POST"])
    app.before_request(require_test_key)
    app.register_error_handler(ApiError, lambda error: deliver(error.answer()))
    app.register_error_handler(HTTPException, lambda error: deliver(_http_error(error)))
    return app


class PaymentIntents:
    """The views. Each validates, then executes; an effect checks everything before it writes."""

    def __init__(self, ledger: Ledger):
        self._ledger = ledger
        self._executor = Executor(ledger)

    def create(self) -> Response:
        creation = intents.read_creation(_form())

        def effect() -> Answer:
            intent = intents.create(creation, _now_s())
            declined = None
            if creation.confirmation is not None:
                declined = intents.confirm(intent, creation.confirmation)
            self._ledger.save(intent)
            return declined.answer() if declined else json_answer(200, intent)

        takes_s = cards.takes_s(creation.payment_method) if creation.confirmation else 0.0
        return deliver(self._executor.execute(_identity(), effect, takes_s))

    def confirm(self, intent_id: str) -> Response:
        parameters = _form()
        confirmation = intents.read_confirmation(parameters)
        parameters.require_no_more()

        def effect() -> Answer:
            intent = self._ledger.intent(intent_id)
            declined = intents.confirm(intent, confirmation)
            self._ledger.save(intent)
            return declined.answer() if declined else json_answer(200, intent)

        payment_method = confirmation.payment_method
        if payment_method is None:
            payment_method = self._ledger.intent(intent_id)["payment_method"]
        return deliver(self._executor.execute(_identity(), effect, cards.takes_s(payment_method)))

    def capture(self, intent_id: str) -> Response:
        parameters = _form()
        amount_minor = parameters.integer("amount_to_capture")
        parameters.require_no_more()

        def effect() -> Answer:
            intent = self._ledger.intent(intent_id)
            intents.capture(intent, amount_minor)
            self._ledger.save(intent)
            return json_answer(200, intent)

        return deliver(self._executor.execute(_identity(), effect))

    def cancel(self, intent_id: str) -> Response:
        parameters = _form()
        reason = parameters.text("cancellation_reason", intents.CANCELLATION_REASONS)
        parameters.require_no_more()

        def effect() -> Answer:
            intent = self._ledger.intent(intent_id)
            intents.cancel(intent, reason, _now_s())
            self._ledger.save(intent)
            return json_answer(200, intent)

        return deliver(self._executor.execute(_identity(), effect))

    def retrieve(self, intent_id: str) -> Response:
        return deliver(json_answer(200, self._ledger.intent(intent_id)))

    def list(self) -> Response:
        found, has_more = self._ledger.page(_read_window(Parameters(request.args.items(True))))
        return deliver(
            json_answer(200, {"object": "list", "url": PATH, "has_more": has_more, "data": found})
        )


def deliver(answer: Answer) -> Response:
    """The last step of every call: what the answer tells is committed by now."""
    response = Response(answer.body, answer.status, mimetype="application/json")
    response.headers["Request-Id"] = f"req_{secrets.token_hex(7)}"
    if answer.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def require_test_key() -> None:
    """Raises ApiError without a test key as bearer token or as user name of basic
    authentication."""
    given = request.authorization
    key = given and (given.token if given.type == "bearer" else given.username)
    if not key:
        raise invalid_request(
            "You did not provide an API key. You need to provide your API key in the "
            "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')"
            ".",
            status=401,
        )
    if not key.startswith(TEST_KEY_PREFIX):
        # Whoever sent a live key here by mistake does not want to find it in a log.
        raise invalid_request(f"Invalid API Key provided: {key[:8]}…", status=401)


def _form() -> Parameters:
    return Parameters(request.form.items(True))


def _identity() -> Identity | None:
    key = request.headers.get("Idempotency-Key")
    if not key:
        return None
    return Identity.of(key, request.path, list(request.form.items(True)))


def _read_window(parameters: Parameters) -> Window:
    limit = parameters.integer("limit")
    limit = DEFAULT_PAGE if limit is None else limit
    if not 1 <= limit <= MAX_PAGE:
        raise invalid_request(f"Limit must be between 1 and {MAX_PAGE}.", param="limit")
    window = Window(
        limit=limit,
        created=_read_created(parameters),
        starting_after=parameters.text("starting_after"),
        ending_before=parameters.text("ending_before"),
    )
    if window.starting_after and window.ending_before:
        raise invalid_request("You can only set one of starting_after and ending_before.")
    parameters.require_no_more()
    return window


def _read_created(parameters: Parameters) -> dict[str, int]:
    bounds = Parameters(parameters.group("created").items())
    created = {name: bounds.integer(name) for name in ("gt", "gte", "lt", "lte")}
    bounds.require_no_more()
    return {name: bound_s for name, bound_s in created.items() if bound_s is not None}


def _http_error(error: HTTPException) -> Answer:
    if error.code in (404, 405):
        message = f"Unrecognized request URL ({request.method}: {request.path})."
        return invalid_request(message, status=404).answer()
    status = error.code or 500
    kind = "api_error" if status >= 500 else "invalid_request_error"
    return ApiError(status, kind, error.description or error.name).answer()


def _now_s() -> int:
    return int(time.time())
