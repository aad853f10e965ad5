"""Webhooks: signed events, sent to one URL.

As at Stripe they may come late, twice, in any order or not at all; unlike there, those that are
undelivered when the process ends are lost. https://docs.stripe.com/webhooks
"""

import hashlib
import hmac
import json
import queue
import sys
import threading
import time
from collections.abc import Sequence

import requests

from ops.sandbox.access import API_VERSION
from ops.sandbox.errors import Event
from ops.sandbox.ids import new_id

MAX_WAITING = 1000
"""Further events are dropped, so that a receiver that is down does not fill the memory."""

DELIVERERS = 4
"""Concurrent deliveries: enough to keep up with a sale, too few to overload the receiver."""

TIMEOUT_S = 5.0
RETRY_AFTER_S = (0.5, 2.0, 8.0)
"""Waits between attempts: together long enough for a restart of the receiver. Stripe retries for
three days."""


class Webhooks:
    """Delivers events in background threads."""

    def __init__(self, url: str, secret: str):
        self._url = url
        self._secret = secret
        self._waiting: queue.Queue[tuple[str, bytes]] = queue.Queue(MAX_WAITING)
        for _ in range(DELIVERERS):
            threading.Thread(target=self._deliver_all, daemon=True).start()

    def publish(self, events: Sequence[Event], idempotency_key: str | None) -> None:
        """Returns at once. ``idempotency_key`` is that of the call that caused the events."""
        for event in events:
            document = {
                "id": new_id("evt"),
                "object": "event",
                "api_version": API_VERSION,
                "created": int(time.time()),
                "data": {"object": event.subject},
                "livemode": False,
                "pending_webhooks": 1,
                "request": {"id": None, "idempotency_key": idempotency_key},
                "type": event.type,
            }
            try:
                self._waiting.put_nowait((event.type, json.dumps(document).encode()))
            except queue.Full:
                _say(f"{event.type} is lost, {MAX_WAITING} others wait")

    def _deliver_all(self) -> None:
        with requests.Session() as session:
            # Ignores this machine's proxy and ~/.netrc.
            session.trust_env = False
            while True:
                kind, payload = self._waiting.get()
                if not self._deliver(session, payload):
                    _say(f"{kind} was not accepted by {self._url}")

    def _deliver(self, session: requests.Session, payload: bytes) -> bool:
        for wait_s in (0.0, *RETRY_AFTER_S):
            time.sleep(wait_s)
            headers = {
                "Content-Type": "application/json; charset=utf-8",
                "Stripe-Signature": sign(payload, self._secret, int(time.time())),
            }
            try:
                response = session.post(
                    self._url,
                    data=payload,
                    headers=headers,
                    timeout=TIMEOUT_S,
                    allow_redirects=False,
                )
            except requests.RequestException:
                continue
            if response.ok:
                return True
        return False


def sign(payload: bytes, secret: str, signed_s: int) -> str:
    """The Stripe-Signature header: https://docs.stripe.com/webhooks#verify-manually. ``signed_s``
    is in seconds of Unix time."""
    signed = b"%d.%s" % (signed_s, payload)
    return f"t={signed_s},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def _say(text: str) -> None:
    print(f"sandbox: webhook {text}", file=sys.stderr, flush=True)
