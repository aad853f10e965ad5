"""The calls of PaymentIntents: https://docs.stripe.com/api/payment_intents."""

from stripe.params import (
    PaymentIntentCancelParams,
    PaymentIntentCaptureParams,
    PaymentIntentListParams,
    PaymentIntentRetrieveParams,
)

from ops.sandbox import intents
from ops.sandbox.bank import Bank
from ops.sandbox.calls import Calls
from ops.sandbox.charges import latest_charge_of
from ops.sandbox.confirmation_tokens import ConfirmationToken
from ops.sandbox.errors import Answer, ApiError, Event, json_answer
from ops.sandbox.intent_parameters import Confirmation, read_confirmation, read_creation
from ops.sandbox.intents import Intent, events_of_attempt
from ops.sandbox.ledger import Ledger
from ops.sandbox.payment_methods import PaymentMethod
from ops.sandbox.reading import form, list_answer, now_s, query, read_expansion, read_window

INTENTS = "/v1/payment_intents"

EXPANDABLE = ("latest_charge", "payment_method")


class PaymentIntents:
    """Each call validates its parameters, then executes an effect, which checks before it
    writes."""

    def __init__(self, ledger: Ledger, calls: Calls, bank: Bank):
        self._ledger = ledger
        self._calls = calls
        self._bank = bank

    def create(self) -> Answer:
        parameters = form()
        expands = read_expansion(parameters, EXPANDABLE)
        creation = read_creation(parameters)

        def effect() -> Answer:
            confirmation = creation.confirmation and self._completed(creation.confirmation)
            given = confirmation.payment_method if confirmation else creation.payment_method
            payment_method = self._payment_method(given)
            intent = intents.create(creation, payment_method, now_s())
            if confirmation is None:
                self._save(intent, payment_method)
                return json_answer(200, self._shown(intent, expands))
            if payment_method is None:
                raise intents.nothing_to_charge(intent)
            return self._confirm(intent, confirmation, payment_method, expands)

        takes_s = self._takes_s(creation.confirmation) if creation.confirmation else 0.0
        return self._calls.change(effect, takes_s)

    def confirm(self, intent_id: str) -> Answer:
        parameters = form()
        expands = read_expansion(parameters, EXPANDABLE)
        asked = read_confirmation(parameters)

        def effect() -> Answer:
            intent = self._ledger.intent(intent_id)
            confirmation = self._completed(asked)
            intents.require_confirmable(intent, confirmation)
            given = confirmation.payment_method or intent["payment_method"]
            payment_method = self._ledger.payment_method(given, now_s())
            return self._confirm(intent, confirmation, payment_method, expands)

        of_intent = self._ledger.intent(intent_id)["payment_method"]
        return self._calls.change(effect, self._takes_s(asked, of_intent))

    def _confirm(
        self,
        intent: Intent,
        confirmation: Confirmation,
        payment_method: PaymentMethod,
        expands: set[str],
    ) -> Answer:
        intents.begin_attempt(intent, confirmation, payment_method)
        declined = None
        if not self._bank.asks_owner(intent, payment_method):
            declined = intents.charge(intent, payment_method)
        elif confirmation.fails_if_owner_needed:
            declined = intents.decline_without_owner(intent, payment_method)
        else:
            self._bank.ask_owner(intent, confirmation)
        self._save(intent, payment_method)
        if confirmation.token:
            token = self._token(confirmation.token)
            token.intent_id = intent["id"]
            self._ledger.save_token(token)
        events = events_of_attempt(intent)
        if declined:
            return declined.answer(events)
        return json_answer(200, self._shown(intent, expands), events)

    def capture(self, intent_id: str) -> Answer:
        parameters = form()
        expands = read_expansion(parameters, EXPANDABLE)
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
        parameters = form()
        expands = read_expansion(parameters, EXPANDABLE)
        reason = parameters.text("cancellation_reason", intents.CANCELLATION_REASONS)
        parameters.require_no_more(PaymentIntentCancelParams)

        def effect() -> Answer:
            intent = self._ledger.intent(intent_id)
            intents.cancel(intent, reason, now_s())
            self._ledger.save(intent)
            events = [Event("payment_intent.canceled", intent)]
            charge = latest_charge_of(intent, 0)
            if charge and charge["refunded"]:
                events.append(Event("charge.refunded", charge))
            return json_answer(200, self._shown(intent, expands), tuple(events))

        return self._calls.change(effect)

    def retrieve(self, intent_id: str) -> Answer:
        parameters = query()
        expands = read_expansion(parameters, EXPANDABLE)
        parameters.require_no_more(PaymentIntentRetrieveParams)
        return self._calls.read(
            lambda: json_answer(200, self._shown(self._ledger.intent(intent_id), expands))
        )

    def list(self) -> Answer:
        parameters = query()
        expands = read_expansion(parameters, EXPANDABLE, of_list=True)
        window = read_window(parameters)
        parameters.require_no_more(PaymentIntentListParams)

        def effect() -> Answer:
            found, has_more = self._ledger.intents(window)
            return list_answer(INTENTS, [self._shown(each, expands) for each in found], has_more)

        return self._calls.read(effect)

    def _payment_method(self, given: str | None) -> PaymentMethod | None:
        return self._ledger.payment_method(given, now_s()) if given else None

    def _token(self, token_id: str) -> ConfirmationToken:
        return self._ledger.token(token_id, "confirmation_token", 400)

    def _completed(self, confirmation: Confirmation) -> Confirmation:
        """The confirmation with what its token has. Raises ApiError."""
        if confirmation.token is None:
            return confirmation
        return self._token(confirmation.token).complete(confirmation, now_s())

    def _takes_s(self, confirmation: Confirmation, of_intent: str | None = None) -> float:
        """How long the charge takes, in seconds; 0 when it will be refused. ``of_intent`` is the
        payment method that the intent has already."""
        try:
            given = self._completed(confirmation).payment_method or of_intent
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
            payment_method = self._ledger.payment_method(intent["payment_method"], now_s())
            shown["payment_method"] = payment_method.shown()
        return shown
