"""The calls of refunds: https://docs.stripe.com/api/refunds."""

from stripe.params import RefundListParams

from ops.sandbox import refunds
from ops.sandbox.calls import Calls
from ops.sandbox.charges import charge_of
from ops.sandbox.errors import Answer, Event, json_answer
from ops.sandbox.ledger import Ledger
from ops.sandbox.reading import form, list_answer, now_s, query, read_expansion, read_window
from ops.sandbox.refunds import Refund

REFUNDS = "/v1/refunds"

EXPANDABLE = ("charge", "payment_intent")


class Refunds:
    def __init__(self, ledger: Ledger, calls: Calls):
        self._ledger = ledger
        self._calls = calls

    def create(self) -> Answer:
        parameters = form()
        expands = read_expansion(parameters, EXPANDABLE)
        creation = refunds.read_creation(parameters)

        def effect() -> Answer:
            intent = self._ledger.intent(creation.intent_id, "payment_intent", 400)
            before_minor = self._ledger.refunded_minor(intent["id"])
            refunds.require_captured(intent)
            card = self._ledger.payment_method(intent["payment_method"], now_s()).card
            refund = refunds.create(creation, intent, card, before_minor, now_s())
            self._ledger.add_refund(refund)
            charge = charge_of(intent, before_minor + refund["amount"])
            return json_answer(
                200, self._shown(refund, expands), (Event("charge.refunded", charge),)
            )

        return self._calls.change(effect)

    def list(self) -> Answer:
        parameters = query()
        expands = read_expansion(parameters, EXPANDABLE, of_list=True)
        intent_id = parameters.text("payment_intent")
        window = read_window(parameters)
        parameters.require_no_more(RefundListParams)

        def effect() -> Answer:
            found, has_more = self._ledger.refunds(window, intent_id)
            return list_answer(REFUNDS, [self._shown(each, expands) for each in found], has_more)

        return self._calls.read(effect)

    def _shown(self, refund: Refund, expands: set[str]) -> Refund:
        shown = dict(refund)
        if expands:
            intent = self._ledger.intent(refund["payment_intent"])
            charge = charge_of(intent, self._ledger.refunded_minor(intent["id"]))
            whole = {"payment_intent": intent, "charge": charge}
            shown |= {name: whole[name] for name in expands}
        return shown
