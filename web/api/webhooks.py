"""The gateway's webhooks: hints that make the worker look sooner, and no more. A webhook that is
forged, late, repeated or lost does no harm."""

import io
import logging
from collections.abc import Callable
from wsgiref.types import WSGIEnvironment

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.wsgi import get_input_stream

from web.domain.refusals import Refusal
from web.http.problems import Problem
from web.ports.payment_gateway import BadSignature, Gateway
from web.services import services

MAX_BYTES = 64 * 1024
"""Of a body whose signature is checked, which takes 80 µs. Stripe's have some 5,000 bytes."""

PATH = "/webhooks/stripe"

webhooks = Blueprint("webhooks", __name__)

log = logging.getLogger(__name__)


def signed_by(gateway: Gateway) -> Callable[[WSGIEnvironment], bool]:
    """Returns a function that says whether a request is a webhook that the gateway has signed. It
    reads the body and leaves a copy in the environ."""

    def is_signed(environ: WSGIEnvironment) -> bool:
        if environ.get("PATH_INFO") != PATH or environ["REQUEST_METHOD"] != "POST":
            return False
        signature = environ.get("HTTP_STRIPE_SIGNATURE")
        if not signature:
            return False
        try:
            body = get_input_stream(environ, max_content_length=MAX_BYTES).read()
            environ["wsgi.input"] = io.BytesIO(body)
            gateway.verify_webhook(body, signature)
        except (HTTPException, BadSignature):  # too long, broken off, not the gateway's
            return False
        return True

    return is_signed


@webhooks.post(PATH)
def receive_webhook() -> Response:
    """204 for everything with a valid signature; Stripe repeats webhooks that get any other
    response."""
    try:
        payment = services().gateway.read_webhook(
            request.get_data(), request.headers.get("Stripe-Signature", "")
        )
    except BadSignature as error:
        log.warning("webhook refused: %s", error)
        return Problem(
            400, "bad_signature", "The signature does not fit the body."
        ).flask_response()
    if payment:
        try:
            services().checkout.shorten_lease(payment)
        except Refusal as error:
            log.warning("webhook not heeded: %s", error)
    return Response(status=204)
