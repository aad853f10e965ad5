"""The HTTP calls: their routes, parameters and answers."""

import contextlib
import secrets
import socket
import time
from collections.abc import Callable

from flask import Flask, Response, g, request
from stripe.params import (
    PaymentIntentCancelParams,
    PaymentIntentCaptureParams,
    PaymentIntentListParams,
    PaymentIntentRetrieveParams,
    RefundListParams,
)
from werkzeug.exceptions import HTTPException

from ops.sandbox import intents, refunds
from ops.sandbox.access import API_VERSION, asked_version, require_test_key
from ops.sandbox.calls import Calls, deliver
from ops.sandbox.charges import charge_of, latest_charge_of
from ops.sandbox.control import PREFIX as CONTROL_PREFIX
from ops.sandbox.control import control_calls
from ops.sandbox.errors import Answer, ApiError, ErrorType, Event, invalid_request, json_answer
from ops.sandbox.faults import Dropped, Faults, Operation
from ops.sandbox.form import Parameters, decode
from ops.sandbox.intent_parameters import Confirmation, read_confirmation, read_creation
from ops.sandbox.intents import Intent
from ops.sandbox.ledger import Ledger, Window
from ops.sandbox.payment_methods import PaymentMethod
from ops.sandbox.rate_limit import RateLimit
from ops.sandbox.refunds import Refund
from ops.sandbox.webhooks import Webhooks

INTENTS = "/v1/payment_intents"
REFUNDS = "/v1/refunds"

OF_INTENT = ("latest_charge", "payment_method")
OF_REFUND = ("charge", "payment_intent")
"""The fields that can be expanded."""

DEFAULT_PAGE = 10
MAX_PAGE = 100
MAX_BODY_BYTES = 64 * 1024
"""Enough for fifty metadata values of maximum length and everything else."""

CONNECTION = "ops.sandbox.connection"
"""The key of a request's socket in its WSGI environment."""


def create_app(
    ledger: Ledger,
    faults: Faults,
    webhooks: Webhooks | None = None,
    rate_limit: RateLimit | None = None,
) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    calls = Calls(ledger, faults, webhooks, rate_limit or RateLimit())
    payments, repayments = PaymentIntents(ledger, calls), Refunds(ledger, calls)
    routes: tuple[tuple[str, str, Operation, Callable[..., Answer]], ...] = (
        ("POST", INTENTS, "create", payments.create),
        ("GET", INTENTS, "list", payments.list),
        ("GET", f"{INTENTS}/<intent_id>", "retrieve", payments.retrieve),
        ("POST", f"{INTENTS}/<intent_id>/confirm", "confirm", payments.confirm),
        ("POST", f"{INTENTS}/<intent_id>/capture", "capture", payments.capture),
        ("POST", f"{INTENTS}/<intent_id>/cancel", "cancel", payments.cancel),
        ("POST", REFUNDS, "refund", repayments.create),
        ("GET", REFUNDS, "list_refunds", repayments.list),
    )
    for method, path, operation, call in routes:
        app.add_url_rule(path, operation, calls.view(operation, call), methods=[method])
    app.register_blueprint(control_calls(faults))
    app.before_request(begin_call)
    app.register_error_handler(ApiError, lambda error: deliver(error.answer()))
    app.register_error_handler(Dropped, close_connection)
    app.register_error_handler(HTTPException, lambda error: deliver(_http_error(error)))
    return app


_EVENT_WHEN_CONFIRMED = {
    "requires_capture": "payment_intent.amount_capturable_updated",
    "succeeded": "payment_intent.succeeded",
}


class PaymentIntents:
    """Each call validates its parameters, then executes an effect, which checks before it
    writes."""

    def __init__(self, ledger: Ledger, calls: Calls):
        self._ledger = ledger
        self._calls = calls

    def create(self) -> Answer:
        parameters = _form()
        expands = _read_expansion(parameters, OF_INTENT)
        creation = read_creation(parameters)

        def effect() -> Answer:
            payment_method = self._payment_method(creation.payment_method)
            intent = intents.create(creation, payment_method, _now_s())
            if creation.confirmation is None:
                self._save(intent, payment_method)
                return json_answer(200, self._shown(intent, expands))
            if payment_method is None:
                raise intents.nothing_to_charge(intent)
            return self._confirm(intent, creation.confirmation, payment_method, expands)

        takes_s = self._takes_s(creation.payment_method) if creation.confirmation else 0.0
        return self._calls.change(effect, takes_s)

    def confirm(self, intent_id: str) -> Answer:
        parameters = _form()
        expands = _read_expansion(parameters, OF_INTENT)
        confirmation = read_confirmation(parameters)

        def effect() -> Answer:
            intent = self._ledger.intent(intent_id)
            intents.require_confirmable(intent, confirmation)
            given = confirmation.payment_method or intent["payment_method"]
            payment_method = self._ledger.payment_method(given, _now_s())
            return self._confirm(intent, confirmation, payment_method, expands)

        given = confirmation.payment_method
        if given is None:
            given = self._ledger.intent(intent_id)["payment_method"]
        return self._calls.change(effect, self._takes_s(given))

    def _confirm(
        self,
        intent: Intent,
        confirmation: Confirmation,
        payment_method: PaymentMethod,
        expands: set[str],
    ) -> Answer:
        declined = intents.confirm(intent, confirmation, payment_method)
        self._save(intent, payment_method)
        if declined:
            return declined.answer((Event("payment_intent.payment_failed", intent),))
        event_type = _EVENT_WHEN_CONFIRMED.get(intent["status"])
        events = (Event(event_type, intent),) if event_type else ()
        return json_answer(200, self._shown(intent, expands), events)

    def capture(self, intent_id: str) -> Answer:
        parameters = _form()
        expands = _read_expansion(parameters, OF_INTENT)
        amount_minor = parameters.integer("amount_to_capture")
        parameters.require_no_more(PaymentIntentCaptureParams)

        def effect() -> Answer:
            intent = self._ledger.intent(intent_id)
            intents.capture(intent, amount_minor)
            self._ledger.save(intent)
            events = (Event("payment_intent.succeeded", intent),)
            return json_answer(200, self._shown(intent, expands), events)

        return self._calls.change(effect)

    def cancel(self, intent_id: str) -> Answer:
        parameters = _form()
        expands = _read_expansion(parameters, OF_INTENT)
        reason = parameters.text("cancellation_reason", intents.CANCELLATION_REASONS)
        parameters.require_no_more(PaymentIntentCancelParams)

        def effect() -> Answer:
            intent = self._ledger.intent(intent_id)
            intents.cancel(intent, reason, _now_s())
            self._ledger.save(intent)
            events = [Event("payment_intent.canceled", intent)]
            charge = latest_charge_of(intent, 0)
            if charge and charge["refunded"]:
                events.append(Event("charge.refunded", charge))
            return json_answer(200, self._shown(intent, expands), tuple(events))

        return self._calls.change(effect)

    def retrieve(self, intent_id: str) -> Answer:
        parameters = _query()
        expands = _read_expansion(parameters, OF_INTENT)
        parameters.require_no_more(PaymentIntentRetrieveParams)
        return self._calls.read(
            lambda: json_answer(200, self._shown(self._ledger.intent(intent_id), expands))
        )

    def list(self) -> Answer:
        parameters = _query()
        expands = _read_expansion(parameters, OF_INTENT, of_list=True)
        window = _read_window(parameters)
        parameters.require_no_more(PaymentIntentListParams)

        def effect() -> Answer:
            found, has_more = self._ledger.intents(window)
            return _list_answer(INTENTS, [self._shown(each, expands) for each in found], has_more)

        return self._calls.read(effect)

    def _payment_method(self, given: str | None) -> PaymentMethod | None:
        return self._ledger.payment_method(given, _now_s()) if given else None

    def _takes_s(self, given: str | None) -> float:
        """How long the charge takes, in seconds; 0 when it will be refused."""
        try:
            payment_method = self._payment_method(given)
        except ApiError:
            return 0.0
        return payment_method.card.takes_s if payment_method else 0.0

    def _save(self, intent: Intent, payment_method: PaymentMethod | None) -> None:
        self._ledger.save(intent)
        if payment_method:
            self._ledger.save_payment_method(payment_method)

    def _shown(self, intent: Intent, expands: set[str]) -> Intent:
        shown = dict(intent)
        if "latest_charge" in expands:
            refunded_minor = self._ledger.refunded_minor(intent["id"])
            shown["latest_charge"] = latest_charge_of(intent, refunded_minor)
        if "payment_method" in expands and intent["payment_method"]:
            payment_method = self._ledger.payment_method(intent["payment_method"], _now_s())
            shown["payment_method"] = payment_method.shown()
        return shown


class Refunds:
    def __init__(self, ledger: Ledger, calls: Calls):
        self._ledger = ledger
        self._calls = calls

    def create(self) -> Answer:
        parameters = _form()
        expands = _read_expansion(parameters, OF_REFUND)
        creation = refunds.read_creation(parameters)

        def effect() -> Answer:
            intent = self._ledger.intent(creation.intent_id, "payment_intent", 400)
            before_minor = self._ledger.refunded_minor(intent["id"])
            refunds.require_captured(intent)
            card = self._ledger.payment_method(intent["payment_method"], _now_s()).card
            refund = refunds.create(creation, intent, card, before_minor, _now_s())
            self._ledger.add_refund(refund)
            charge = charge_of(intent, before_minor + refund["amount"])
            return json_answer(
                200, self._shown(refund, expands), (Event("charge.refunded", charge),)
            )

        return self._calls.change(effect)

    def list(self) -> Answer:
        parameters = _query()
        expands = _read_expansion(parameters, OF_REFUND, of_list=True)
        intent_id = parameters.text("payment_intent")
        window = _read_window(parameters)
        parameters.require_no_more(RefundListParams)

        def effect() -> Answer:
            found, has_more = self._ledger.refunds(window, intent_id)
            return _list_answer(REFUNDS, [self._shown(each, expands) for each in found], has_more)

        return self._calls.read(effect)

    def _shown(self, refund: Refund, expands: set[str]) -> Refund:
        shown = dict(refund)
        if expands:
            intent = self._ledger.intent(refund["payment_intent"])
            charge = charge_of(intent, self._ledger.refunded_minor(intent["id"]))
            whole = {"payment_intent": intent, "charge": charge}
            shown |= {name: whole[name] for name in expands}
        return shown


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


def _form() -> Parameters:
    return Parameters(decode(request.form.items(True)))


def _query() -> Parameters:
    return Parameters(decode(request.args.items(True)))


def _list_answer(url: str, data: list[Intent] | list[Refund], has_more: bool) -> Answer:
    return json_answer(200, {"object": "list", "url": url, "has_more": has_more, "data": data})


def _read_expansion(
    parameters: Parameters, expandable: tuple[str, ...], *, of_list: bool = False
) -> set[str]:
    """The fields to expand: https://docs.stripe.com/api/expanding_objects. Raises ApiError for a
    field that cannot be expanded."""
    wanted = parameters.array("expand") or ()
    prefix = "data." if of_list else ""
    for name in wanted:
        if name.removeprefix(prefix) not in expandable or not name.startswith(prefix):
            message = f"This property cannot be expanded ({name})."
            if name in expandable:
                message += f" You may want to try expanding '{prefix}{name}' instead."
            raise invalid_request(message, param="expand")
    return {name.removeprefix(prefix) for name in wanted}


def _read_window(parameters: Parameters) -> Window:
    limit = parameters.integer("limit")
    limit = DEFAULT_PAGE if limit is None else limit
    if not 1 <= limit <= MAX_PAGE:
        bound = "less than or equal to 100" if limit > MAX_PAGE else "greater than or equal to 1"
        raise invalid_request(f"This value must be {bound}.", "parameter_invalid_integer", "limit")
    parameters.require_one_at_most("ending_before", "starting_after")
    return Window(
        limit=limit,
        created=_read_created(parameters),
        starting_after=parameters.text("starting_after"),
        ending_before=parameters.text("ending_before"),
    )


def _read_created(parameters: Parameters) -> dict[str, int]:
    """The bounds of ``created``, which may also be one exact time."""
    bounds = parameters.group("created") if parameters.has_fields("created") else None
    if bounds is None:
        moment_s = parameters.integer("created")
        return {} if moment_s is None else {"gte": moment_s, "lte": moment_s}
    created = {name: bounds.integer(name) for name in ("gt", "gte", "lt", "lte")}
    bounds.require_no_more()
    return {name: bound_s for name, bound_s in created.items() if bound_s is not None}


def _http_error(error: HTTPException) -> Answer:
    if error.code in (404, 405):
        message = f"Unrecognized request URL ({request.method}: {request.path})."
        return invalid_request(message, status=404).answer()
    status = error.code or 500
    kind: ErrorType = "api_error" if status >= 500 else "invalid_request_error"
    return ApiError(status, kind, error.description or error.name).answer()


def _now_s() -> int:
    return int(time.time())
