"""Run the payment sandbox. It prints the settings with which the application uses it."""

from gevent import monkey

monkey.patch_all()

import argparse
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import gevent
from gevent.event import Event
from gevent.pywsgi import WSGIHandler, WSGIServer

from ops.sandbox.app import CONNECTION, create_app
from ops.sandbox.bank import Bank, bank_pages
from ops.sandbox.faults import Faults
from ops.sandbox.ledger import Ledger
from ops.sandbox.rate_limit import RateLimit
from ops.sandbox.webhooks import Webhooks

STOP_TIMEOUT_S = 5
"""For calls under way to end; the slowest card takes three seconds."""

KEY = "sk_test_sandbox"
"""Any other test key works as well."""

BACKLOG = 1024
"""Connections that may wait to be accepted: a sale opens with all its buyers at once."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--port", type=int, default=12111, help="0 takes a free one; default %(default)s"
    )
    parser.add_argument(
        "--bank-port",
        type=int,
        default=0,
        help="where the bank has its pages, for cards whose owner must confirm; default a free one",
    )
    parser.add_argument(
        "--ledger",
        type=Path,
        default=Path("var/sandbox.db"),
        help="SQLite file, made if missing; default %(default)s",
    )
    parser.add_argument("--webhook-url", help="where to send webhooks")
    parser.add_argument("--webhook-secret", help="the secret that signs the webhooks")
    parser.add_argument(
        "--rate-limit",
        type=int,
        metavar="CALLS",
        help="calls of one endpoint a second, beyond which it says 429 as Stripe does, where it is "
        "25 by default; none by default",
    )
    arguments = parser.parse_args()
    if bool(arguments.webhook_url) != bool(arguments.webhook_secret):
        parser.error("--webhook-url and --webhook-secret need each other")
    if arguments.rate_limit is not None and arguments.rate_limit < 1:
        parser.error("--rate-limit: at least 1 call a second, or leave it out for no limit")

    arguments.ledger.parent.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(arguments.ledger)
    listener = _listen(arguments.host, arguments.port)
    bank_listener = _listen(arguments.host, arguments.bank_port)
    faults, webhooks = Faults(), None
    if arguments.webhook_url:
        webhooks = Webhooks(arguments.webhook_url, arguments.webhook_secret)
    rate_limit = RateLimit(arguments.rate_limit)
    bank = Bank(ledger, webhooks, _url(bank_listener))
    calls = CallCounter(create_app(ledger, faults, bank, webhooks, rate_limit))
    pages = WSGIServer(bank_listener, bank_pages(bank), log=None)
    server = WSGIServer(listener, calls, log=None, handler_class=Handler)
    pages.start()
    server.start()

    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stopped.set)
    url = _url(listener)
    print(f"sandbox: {url}")
    print(f"bank: {_url(bank_listener)}")
    print(f"for the application: STRIPE_API_BASE={url} STRIPE_API_KEY={KEY}", flush=True)
    stopped.wait()
    pages.stop(timeout=0)
    server.stop_accepting()
    faults.clear()
    calls.none_under_way.wait(STOP_TIMEOUT_S)
    server.stop()
    ledger.close()


class Handler(WSGIHandler):
    """Gives the application the socket, so that it can close it without an answer."""

    def get_environ(self) -> WSGIEnvironment:
        environ = super().get_environ()
        environ[CONNECTION] = self.socket
        return environ


class CallCounter:
    """WSGI middleware that knows when no call is under way. The server itself, when it stops,
    either does not wait for its connections or also waits for idle ones."""

    def __init__(self, app: WSGIApplication):
        self._app = app
        self._under_way = 0
        self.none_under_way = Event()
        self.none_under_way.set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self._under_way += 1
        self.none_under_way.clear()
        try:
            return self._app(environ, start_response)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self.none_under_way.set()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket whose connections inherit TCP_NODELAY: pywsgi sends headers and body
    separately, and without it the body would wait 40 ms for an acknowledgement. Ends the process
    when the port cannot be had."""
    try:
        listener = socket.create_server((host, port), backlog=BACKLOG)
    except OSError as error:
        sys.exit(f"sandbox: cannot listen on {host}:{port}: {error.strerror}")
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"http://{host}:{port}"


if __name__ == "__main__":
    main()
