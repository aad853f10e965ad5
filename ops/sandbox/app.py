"""The HTTP side: what a call is given and what it is sent back."""

import contextlib
import socket
import time

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from ops.sandbox import cards, intents, refunds
from ops.sandbox.calls import Calls, deliver
from ops.sandbox.charges import charge_of
from ops.sandbox.control import PREFIX as CONTROL_PREFIX
from ops.sandbox.control import control_calls
from ops.sandbox.errors import Answer, ApiError, Event, invalid_request, json_answer
from ops.sandbox.faults import Dropped, Faults
from ops.sandbox.form import Parameters
from ops.sandbox.intents import Intent
from ops.sandbox.ledger import Ledger, Window
from ops.sandbox.webhooks import Webhooks

INTENTS = "/v1/payment_intents"
REFUNDS = "/v1/refunds"
TEST_KEY_PREFIX = "sk_test_"
DEFAULT_PAGE = 10
MAX_PAGE = 100
MAX_BODY_BYTES = 64 * 1024
"""Fifty metadata values of full length and everything else fit in it."""

CONNECTION = "ops.sandbox.connection"
"""Where the server puts the socket of a request into its WSGI environment."""


def create_app(ledger: Ledger, faults: Faults, webhooks: Webhooks | None = None) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    calls = Calls(ledger, faults, webhooks)
    payments, repayments = PaymentIntents(ledger, calls), Refunds(ledger, calls)
    for method, path, operation, call in (
        ("POST", INTENTS, "create", payments.create),
        ("GET", INTENTS, "list", payments.list),
        ("GET", f"{INTENTS}/<intent_id>", "retrieve", payments.retrieve),
        ("POST", f"{INTENTS}/<intent_id>/confirm", "confirm", payments.confirm),
        ("POST", f"{INTENTS}/<intent_id>/capture", "capture", payments.capture),
        ("POST", f"{INTENTS}/<intent_id>/cancel", "cancel", payments.cancel),
        ("POST", REFUNDS, "refund", repayments.create),
        ("GET", REFUNDS, "list_refunds", repayments.list),
    ):
        app.add_url_rule(path, operation, calls.view(operation, call), methods=[method])
    app.register_blueprint(control_calls(faults))
    app.before_request(require_test_key)
    app.register_error_handler(ApiError, lambda error: deliver(error.answer()))
    app.register_error_handler(Dropped, hang_up)
    app.register_error_handler(HTTPException, lambda error: deliver(_http_error(error)))
    return app


_TOLD_WHEN_CONFIRMED = {
    "requires_capture": "payment_intent.amount_capturable_updated",
    "succeeded": "payment_intent.succeeded",
}


class PaymentIntents:
    """Each call validates, then executes; an effect checks everything before it writes."""

    def __init__(self, ledger: Ledger, calls: Calls):
        self._ledger = ledger
        self._calls = calls

    def create(self) -> Answer:
        creation = intents.read_creation(_form())

        def effect() -> Answer:
            intent = intents.create(creation, _now_s())
            if creation.confirmation is None:
                self._ledger.save(intent)
                return json_answer(200, intent)
            return self._confirm(intent, creation.confirmation)

        takes_s = cards.takes_s(creation.payment_method) if creation.confirmation else 0.0
        return self._calls.change(effect, takes_s)

    def confirm(self, intent_id: str) -> Answer:
        parameters = _form()
        confirmation = intents.read_confirmation(parameters)
        parameters.require_no_more()

        def effect() -> Answer:
            return self._confirm(self._ledger.intent(intent_id), confirmation)

        payment_method = confirmation.payment_method
        if payment_method is None:
            payment_method = self._ledger.intent(intent_id)["payment_method"]
        return self._calls.change(effect, cards.takes_s(payment_method))

    def _confirm(self, intent: Intent, confirmation: intents.Confirmation) -> Answer:
        declined = intents.confirm(intent, confirmation)
        self._ledger.save(intent)
        if declined:
            return declined.answer((Event("payment_intent.payment_failed", intent),))
        told = _TOLD_WHEN_CONFIRMED.get(intent["status"])
        return json_answer(200, intent, (Event(told, intent),) if told else ())

    def capture(self, intent_id: str) -> Answer:
        parameters = _form()
        amount_minor = parameters.integer("amount_to_capture")
        parameters.require_no_more()

        def effect() -> Answer:
            intent = self._ledger.intent(intent_id)
            intents.capture(intent, amount_minor)
            self._ledger.save(intent)
            return json_answer(200, intent, (Event("payment_intent.succeeded", intent),))

        return self._calls.change(effect)

    def cancel(self, intent_id: str) -> Answer:
        parameters = _form()
        reason = parameters.text("cancellation_reason", intents.CANCELLATION_REASONS)
        parameters.require_no_more()

        def effect() -> Answer:
            intent = self._ledger.intent(intent_id)
            intents.cancel(intent, reason, _now_s())
            self._ledger.save(intent)
            events = (Event("payment_intent.canceled", intent),)
            charge = charge_of(intent, 0)
            if charge and charge["refunded"]:
                events += (Event("charge.refunded", charge),)
            return json_answer(200, intent, events)

        return self._calls.change(effect)

    def retrieve(self, intent_id: str) -> Answer:
        parameters = _query()
        expands = _read_expansion(parameters, "latest_charge")
        parameters.require_no_more()
        return self._calls.read(
            lambda: json_answer(200, self._shown(self._ledger.intent(intent_id), expands))
        )

    def list(self) -> Answer:
        parameters = _query()
        expands = _read_expansion(parameters, "data.latest_charge")
        window = _read_window(parameters)

        def effect() -> Answer:
            found, has_more = self._ledger.intents(window)
            return _list_answer(INTENTS, [self._shown(each, expands) for each in found], has_more)

        return self._calls.read(effect)

    def _shown(self, intent: Intent, expands_charge: bool) -> Intent:
        if not expands_charge:
            return intent
        refunded_minor = self._ledger.refunded_minor(intent["id"])
        return {**intent, "latest_charge": charge_of(intent, refunded_minor)}


class Refunds:
    def __init__(self, ledger: Ledger, calls: Calls):
        self._ledger = ledger
        self._calls = calls

    def create(self) -> Answer:
        creation = refunds.read_creation(_form())

        def effect() -> Answer:
            intent = self._ledger.intent(creation.intent_id, "payment_intent", 400)
            before_minor = self._ledger.refunded_minor(intent["id"])
            refund = refunds.create(creation, intent, before_minor, _now_s())
            self._ledger.add_refund(refund)
            charge = charge_of(intent, before_minor + refund["amount"])
            return json_answer(200, refund, (Event("charge.refunded", charge),))

        return self._calls.change(effect)

    def list(self) -> Answer:
        parameters = _query()
        intent_id = parameters.text("payment_intent")
        window = _read_window(parameters)

        def effect() -> Answer:
            return _list_answer(REFUNDS, *self._ledger.refunds(window, intent_id))

        return self._calls.read(effect)


def hang_up(_: Dropped) -> Response:
    """Close the connection; the response goes nowhere."""
    # Whoever waited may have closed it first.
    with contextlib.suppress(OSError):
        request.environ[CONNECTION].shutdown(socket.SHUT_RDWR)
    return Response(status=500)


def require_test_key() -> None:
    """Raises ApiError without a test key as bearer token or as user name of basic
    authentication."""
    if request.path.startswith(f"{CONTROL_PREFIX}/"):
        return
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


def _query() -> Parameters:
    return Parameters(request.args.items(True))


def _list_answer(url: str, data: list, has_more: bool) -> Answer:
    return json_answer(200, {"object": "list", "url": url, "has_more": has_more, "data": data})


def _read_expansion(parameters: Parameters, expandable: str) -> bool:
    """Whether ``expandable`` is to be shown whole: https://docs.stripe.com/api/expanding_objects.
    Raises ApiError for anything else."""
    wanted = set(parameters.group("expand").values())
    for name in wanted - {expandable}:
        raise invalid_request(f"This property cannot be expanded ({name}).", param="expand")
    return bool(wanted)


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
