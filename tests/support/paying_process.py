"""One process of a shop that pays at Stripe's pace.

    python -m tests.support.paying_process STRIPE_API_BASE RATE PAYMENTS

makes the payments at once, and prints JSON: ``paid`` payment ids, ``declined``, ``sent_away`` (the
seconds that each such caller was told), ``answers_429``, ``waits_s`` for the endpoint create, and
``fallbacks`` of the limiter's client.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

from sidecar.client import LimiterClient
from sidecar.settings import parse_rate
from tests.support.factories import WAY_BACK
from tests.support.sidecars import PATIENCE_S
from web.adapters.stripe import gateway as adapter
from web.adapters.stripe.gateway import StripeGateway
from web.adapters.stripe.pace import Pace
from web.domain.refusals import PaymentDeclined
from web.ports.payment_gateway import TooBusy


def main(api_base: str, rate: str, payments: str) -> None:
    told = {"paid": [], "declined": 0, "sent_away": [], "answers_429": 0, "waits_s": []}

    def note_wait(endpoint: str, wait_s: float) -> None:
        if endpoint == "create":
            told["waits_s"].append(wait_s)

    limiter = LimiterClient(os.environ["LIMITER_SOCKET"], timeout_s=PATIENCE_S)
    pace = Pace(limiter, parse_rate(rate), note_wait)
    gateway = StripeGateway("sk_test_gateway", api_base, pace=pace)

    def pay(number: int) -> None:
        try:
            key, metadata = f"hld_{os.getpid()}-{number}", {"event": "gala"}
            payment = gateway.authorize(key, 4200, "GBP", "pm_card_visa", metadata, WAY_BACK)
            gateway.capture(payment.payment_id)
        except PaymentDeclined:
            told["declined"] += 1
        except TooBusy as busy:
            told["sent_away"].append(busy.retry_after_s)
        else:
            told["paid"].append(payment.payment_id)

    real = adapter.meaning_of

    def meaning_of(error):
        told["answers_429"] += error.http_status == 429
        return real(error)

    spied = mock.patch.object(adapter, "meaning_of", meaning_of)
    with spied, ThreadPoolExecutor(int(payments)) as pool:
        list(pool.map(pay, range(int(payments))))
    json.dump(told | {"fallbacks": limiter.fallbacks}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
