"""Callers of the payment sandbox, and a receiver of its webhooks."""

import json
import time

import pytest
import stripe

from ops.servers import Sandbox
from tests.support.local_server import LocalServer, QuietHandler
from tests.support.waiting import eventually


def client_of(sandbox, key="sk_test_caller", **options):
    """The SDK's client of the sandbox."""
    return stripe.StripeClient(
        key, base_addresses={"api": sandbox.url}, max_network_retries=0, **options
    ).v1


def refused(call, *arguments, kind=stripe.InvalidRequestError):
    """The error of a call that is refused."""
    with pytest.raises(kind) as caught:
        call(*arguments)
    return caught.value


SECRET = "whsec_sandbox"


class Receiver(LocalServer):
    """Takes webhooks, and answers the first ``fails`` of them with 500. Port 0 is a free one."""

    def __init__(self, fails: int = 0, port: int = 0):
        self.signatures = []
        self.bodies = []
        receiver = self

        class Handler(QuietHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.signatures.append(self.headers["Stripe-Signature"])
                receiver.bodies.append(body)
                self.send_response(500 if len(receiver.bodies) <= fails else 204)
                self.end_headers()

        super().__init__(Handler, port)

    def events(self, count):
        """All that came, verified, at least ``count``."""
        eventually(lambda: len(self.bodies) >= count, f"{count} webhooks")
        # One too many would come now.
        time.sleep(0.2)
        for body, signature in zip(self.bodies, self.signatures, strict=True):
            stripe.WebhookSignature.verify_header(body, signature, SECRET, 300)
        return [json.loads(body) for body in self.bodies]


def telling(receiver, tmp_path):
    return Sandbox(
        tmp_path / "ledger.db",
        tmp_path / "sandbox.log",
        webhook_url=f"{receiver.url}/hook",
        webhook_secret=SECRET,
    )
