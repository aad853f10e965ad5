"""The four steps of every call, with the faults that are injected between them."""

from collections.abc import Callable

from flask import Response, g, request

from ops.sandbox.errors import Answer
from ops.sandbox.faults import Faults, Operation, delay_s, with_kept_error
from ops.sandbox.idempotency import Executor, Identity
from ops.sandbox.ledger import Ledger
from ops.sandbox.rate_limit import RateLimit
from ops.sandbox.webhooks import Webhooks


class Calls:
    def __init__(
        self, ledger: Ledger, faults: Faults, webhooks: Webhooks | None, rate_limit: RateLimit
    ):
        self._executor = Executor(ledger)
        self._rate_limit = rate_limit
        self._faults = faults
        self._webhooks = webhooks

    def view(self, operation: Operation, call: Callable[..., Answer]) -> Callable[..., Response]:
        """The Flask view of the call, with the rate limit and the injected faults."""

        def view(**arguments: str) -> Response:
            self._rate_limit.take(operation)
            g.fault = self._faults.take(operation)
            return deliver(self._faults.around(g.fault, lambda: call(**arguments)))

        return view

    def change(self, effect: Callable[[], Answer], takes_s: float = 0.0) -> Answer:
        """Wait ``takes_s`` seconds, then commit the effect, once for each idempotency key, and
        publish its events. Raises ApiError."""
        key = request.headers.get("Idempotency-Key")
        identity = None
        if key is not None:
            identity = Identity.of(key, request.path, list(request.form.items(True)))
        answer = self._executor.execute(
            identity, with_kept_error(g.fault, effect), takes_s + delay_s(g.fault)
        )
        if self._webhooks:
            self._webhooks.publish(answer.events, key)
        return answer

    def read(self, effect: Callable[[], Answer]) -> Answer:
        """For a call that changes nothing. Raises ApiError."""
        return self._executor.execute(None, with_kept_error(g.fault, effect), delay_s(g.fault))


def deliver(answer: Answer) -> Response:
    """The last step of every call: send an answer whose effect is committed."""
    response = Response(answer.body, answer.status, mimetype="application/json")
    response.headers["Request-Id"] = g.request_id
    response.headers["Stripe-Version"] = g.api_version
    response.headers.update(answer.headers)
    if answer.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response
