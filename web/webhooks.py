"""What the gateway tells by itself: only a hint that makes the worker look sooner. One that is
forged, late, repeated or lost changes nothing."""

import logging

from flask import Blueprint, Response, request

from web.domain import Refusal
from web.ports import BadSignature
from web.problems import Problem
from web.tickets import tickets

webhooks = Blueprint("webhooks", __name__, url_prefix="/webhooks")

log = logging.getLogger(__name__)


@webhooks.post("/stripe")
def hear_stripe() -> Response:
    """204 for whatever has a good signature; Stripe repeats what gets another answer."""
    try:
        payment = tickets().gateway.read_webhook(
            request.get_data(), request.headers.get("Stripe-Signature", "")
        )
    except BadSignature as error:
        log.warning("webhook refused: %s", error)
        return Problem(400, "bad_signature", "The signature does not fit the body.").response()
    if payment:
        try:
            tickets().checkout.hurry(payment)
        except Refusal as error:
            log.warning("webhook not heeded: %s", error)
    return Response(status=204)
