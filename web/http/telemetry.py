"""Records in metrics and log each refusal and error that is sent to a client."""

import logging
from collections.abc import Mapping
from typing import Any

from werkzeug.exceptions import HTTPException

from web.domain.refusals import NOT_ACCEPTED, PaymentDeclined, Refusal
from web.http.problems import Problem, problem_of, problem_of_http_error
from web.metrics import CARDS_REFUSED, HOLDS_LOST, NOT_ACCEPTED_PAYMENTS, count_refusal
from web.ports.booking_store import IndexMissing

log = logging.getLogger(__name__)


def record_refusal(refusal: Refusal) -> Problem:
    """Counts a refusal and returns the problem to send."""
    problem = problem_of(refusal)
    count_refusal(problem.code)
    if isinstance(refusal, PaymentDeclined):
        if refusal.reason == NOT_ACCEPTED:
            NOT_ACCEPTED_PAYMENTS.inc()
        elif refusal.is_of_the_card:
            CARDS_REFUSED.inc()
            if not refusal.attempts_left:
                HOLDS_LOST.inc()
    return problem


def record_error(error: Exception, environ: Mapping[str, Any]) -> Problem:
    """Logs an exception that is no Refusal, if nobody expects it, and returns the problem to
    send. ``environ`` is the request's."""
    match error:
        case HTTPException():
            return problem_of_http_error(error)
        case IndexMissing():
            log.critical("%s", error)
            return Problem(
                503,
                "unavailable",
                "Nothing can be sold now; the operator has been told. Nothing happened.",
                retry_after_s=30,
            )
    request_id = environ.get("HTTP_X_REQUEST_ID", "without an id")
    log.error("unexpected, request %s", request_id, exc_info=error)
    return Problem(
        500,
        "internal_error",
        "The service made a mistake. Repeat a payment with the same Idempotency-Key to learn "
        "its outcome; it is never charged twice.",
    )
