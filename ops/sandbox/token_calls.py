"""The calls of ConfirmationTokens: https://docs.stripe.com/api/confirmation_tokens."""

from stripe.params import ConfirmationTokenRetrieveParams

from ops.sandbox import confirmation_tokens
from ops.sandbox.calls import Calls
from ops.sandbox.errors import Answer, json_answer
from ops.sandbox.ledger import Ledger
from ops.sandbox.reading import form, now_s, query, read_expansion

TOKENS = "/v1/confirmation_tokens"
TEST_TOKENS = "/v1/test_helpers/confirmation_tokens"


class ConfirmationTokens:
    def __init__(self, ledger: Ledger, calls: Calls):
        self._ledger = ledger
        self._calls = calls

    def create(self) -> Answer:
        parameters = form()
        read_expansion(parameters, ())
        creation = confirmation_tokens.read_creation(parameters)

        def effect() -> Answer:
            payment_method = self._ledger.payment_method(creation.payment_method, now_s())
            payment_method.require_unused()
            token = creation.token(payment_method.card_name, now_s())
            self._ledger.save_token(token)
            return json_answer(200, token.shown())

        return self._calls.change(effect)

    def retrieve(self, token_id: str) -> Answer:
        parameters = query()
        read_expansion(parameters, ())
        parameters.require_no_more(ConfirmationTokenRetrieveParams)
        return self._calls.read(
            lambda: json_answer(
                200, self._ledger.token(token_id, "confirmation_token", 404).shown()
            )
        )
