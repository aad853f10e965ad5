"""StripeGateway, against the sandbox where the provider behaves and against a socket where it
does not."""

import itertools
import json
import socket
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from web.domain import InvalidRequest, PaymentDeclined
from web.ports import NotExecuted, OutcomeUnknown
from web.stores import stripe_gateway
from web.stores.stripe_gateway import StripeGateway

API_KEY = "sk_test_gateway"
IMPATIENT = {"connect_timeout_s": 0.2, "read_timeout_s": 0.2}

_numbers = itertools.count()


@pytest.fixture
def gateway(sandbox):
    return StripeGateway(API_KEY, sandbox.url)


@pytest.fixture
def key():
    return f"hld_{next(_numbers)}-1"


@pytest.fixture
def start():
    """A moment before the payments of a test."""
    return datetime.now(UTC)


def authorize(gateway, key, payment_method="pm_card_visa", **changes):
    details = {"amount_minor": 4200, "currency": "GBP", "metadata": {"event": "gala"}, **changes}
    return gateway.authorize(key=key, payment_method=payment_method, **details)


# ---------------------------------------------------------------- a provider that behaves


def test_an_authorization_reserves_the_money_and_says_what_for(gateway, key, start):
    authorization = authorize(gateway, key)

    assert authorization.status == "authorized"
    assert authorization.payment_id.startswith("pi_")
    assert (authorization.amount_minor, authorization.currency) == (4200, "GBP")
    assert authorization.key == key
    assert authorization.metadata == {"event": "gala"}
    assert start - timedelta(seconds=1) <= authorization.created <= datetime.now(UTC)


def test_a_repeated_authorization_reserves_the_money_once(gateway, key, start):
    first = authorize(gateway, key)

    assert authorize(gateway, key) == first
    assert [found.key for found in gateway.list(start)].count(key) == 1


@pytest.mark.parametrize(
    ("payment_method", "reason", "message"),
    [
        ("pm_card_visa_chargeDeclined", "generic_decline", "Your card was declined."),
        # Who holds a stolen card is not told what the bank knows.
        ("pm_card_visa_chargeDeclinedStolenCard", "generic_decline", "Your card was declined."),
        ("pm_card_visa_chargeDeclinedLostCard", "generic_decline", "Your card was declined."),
        (
            "pm_card_visa_chargeDeclinedInsufficientFunds",
            "insufficient_funds",
            "Your card has insufficient funds.",
        ),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "Your card has expired."),
        (
            "pm_card_authenticationRequired",
            "authentication_required",
            "This card asks its owner to confirm the payment, which is not offered here. "
            "Please use another card.",
        ),
    ],
)
def test_a_declined_card_says_why_each_time_and_charges_nothing(
    gateway, key, start, payment_method, reason, message
):
    for _ in range(2):
        with pytest.raises(PaymentDeclined) as declined:
            authorize(gateway, key, payment_method)
        assert (declined.value.reason, declined.value.message) == (reason, message)

    assert gateway.find(key, start).status == "declined"


def test_an_unknown_payment_method_is_the_buyers_mistake(gateway, key, start):
    with pytest.raises(InvalidRequest) as invalid:
        authorize(gateway, key, "pm_card_none")

    assert invalid.value.field == "payment_method"
    assert gateway.find(key, start) is None


def test_a_request_that_stripe_refuses_for_another_reason_was_not_executed(gateway, key, start):
    with pytest.raises(NotExecuted, match="currency"):
        authorize(gateway, key, currency="POUNDS")


def test_the_key_of_another_payment_says_nothing_about_this_one(gateway, key, start):
    first = authorize(gateway, key)

    with pytest.raises(OutcomeUnknown):
        authorize(gateway, key, "pm_card_amex")
    assert gateway.find(key, start) == first


def test_a_capture_takes_the_money_and_may_be_repeated(gateway, key, start):
    payment_id = authorize(gateway, key).payment_id

    gateway.capture(payment_id)
    gateway.capture(payment_id)

    assert gateway.find(key, start).status == "captured"


def test_a_void_lets_the_money_go_and_may_be_repeated(gateway, key, start):
    payment_id = authorize(gateway, key).payment_id

    gateway.void(payment_id)
    gateway.void(payment_id)

    assert gateway.find(key, start).status == "voided"


def test_money_that_was_taken_cannot_be_let_go(gateway, key, start):
    payment_id = authorize(gateway, key).payment_id
    gateway.capture(payment_id)

    with pytest.raises(NotExecuted, match="succeeded"):
        gateway.void(payment_id)
    assert gateway.find(key, start).status == "captured"


def test_money_that_was_let_go_cannot_be_taken(gateway, key, start):
    payment_id = authorize(gateway, key).payment_id
    gateway.void(payment_id)

    with pytest.raises(NotExecuted, match="canceled"):
        gateway.capture(payment_id)
    assert gateway.find(key, start).status == "voided"


def test_an_unknown_payment_can_neither_be_taken_nor_let_go(gateway):
    for call in (gateway.capture, gateway.void):
        with pytest.raises(NotExecuted):
            call("pi_none")


def test_a_payment_is_found_by_its_key(gateway, key, start):
    authorization = authorize(gateway, key)
    authorize(gateway, f"{key}-other")

    assert gateway.find(key, start) == authorization
    assert gateway.find("hld_none-1", start) is None


def test_a_payment_is_found_although_stripes_clock_is_behind(gateway, key):
    authorization = authorize(gateway, key)

    assert gateway.find(key, datetime.now(UTC) + timedelta(seconds=30)) == authorization


def test_payments_are_listed_newest_first_over_many_pages(gateway, key, start, monkeypatch):
    monkeypatch.setattr(stripe_gateway, "PAGE_SIZE", 2)
    keys = [f"{key}-{number}" for number in range(5)]
    for each in keys:
        authorize(gateway, each)

    listed = [found.key for found in gateway.list(start) if found.key in keys]

    assert listed == keys[::-1]


def test_payments_from_before_are_not_listed(gateway, key):
    authorize(gateway, key)

    assert list(gateway.list(datetime.now(UTC) + timedelta(seconds=2))) == []


def test_payments_of_others_on_the_same_account_are_left_out(gateway, sandbox, start):
    foreign = requests.post(
        f"{sandbox.url}/v1/payment_intents",
        data={"amount": 1, "currency": "eur", "metadata[shop]": "hats"},
        headers={"Authorization": f"Bearer {API_KEY}"},
        timeout=5,
    ).json()["id"]

    assert foreign not in [found.payment_id for found in gateway.list(start)]


def test_a_wrong_api_key_has_done_nothing(sandbox, key):
    with pytest.raises(NotExecuted):
        authorize(StripeGateway("sk_live_none", sandbox.url), key)


# ---------------------------------------------------------------- a provider that does not


class Provider:
    """Answers every call with the same status and body, and remembers what it was asked."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str] | None = None):
        self.requests = []
        self.connections = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                super().setup()
                provider.connections += 1

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                provider.requests.append(self.headers)
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def listening(backlog=5):
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as listener:
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def one_connection(behave):
    """A provider that does ``behave(connection)`` with the first connection when a request has
    come, and then closes it."""
    with listening() as (listener, url):

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                behave(connection)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield url
        server.join(5)


def intent(**changes):
    document = {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 4200,
        "currency": "gbp",
        "status": "requires_capture",
        "created": 1790000000,
        "metadata": {"payment_key": "hld_1-1"},
        **changes,
    }
    return json.dumps(document).encode()


def stripe_error(kind, code):
    return json.dumps({"error": {"type": kind, "code": code, "message": "No."}}).encode()


def test_a_refused_connection_has_done_nothing(key):
    with listening() as (_, url):
        pass

    with pytest.raises(NotExecuted):
        authorize(StripeGateway(API_KEY, url), key)


def test_a_host_that_takes_no_connection_has_done_nothing(key):
    with listening(backlog=0) as (listener, url):
        waiting = []
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            waiting.append(client)

        with pytest.raises(NotExecuted):
            authorize(StripeGateway(API_KEY, url, **IMPATIENT), key)
        for client in waiting:
            client.close()


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(lambda connection: None, id="closes"),
        pytest.param(
            lambda connection: connection.setsockopt(
                # Closing with a linger time of zero sends a reset.
                socket.SOL_SOCKET,
                socket.SO_LINGER,
                b"\x01\0\0\0\0\0\0\0",
            ),
            id="resets",
        ),
        pytest.param(lambda connection: connection.recv(1), id="never answers"),
        pytest.param(
            lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
            id="breaks off",
        ),
        pytest.param(
            lambda connection: (
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
                connection.recv(1),
            ),
            id="stalls",
        ),
        pytest.param(lambda connection: connection.sendall(b"hello\r\n\r\n"), id="is not HTTP"),
    ],
)
def test_an_answer_that_does_not_arrive_leaves_the_outcome_unknown(key, behave):
    with one_connection(behave) as url, pytest.raises(OutcomeUnknown):
        authorize(StripeGateway(API_KEY, url, **IMPATIENT), key)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, stripe_error("api_error", None)),
        (503, b"<html>Service Unavailable</html>"),
        (502, b'{"error": "Bad Gateway"}'),
        (409, stripe_error("idempotency_error", "idempotency_key_in_use")),
        (302, b""),
        (200, b""),
        (200, b"<html>Welcome</html>"),
        (200, b"null"),
        (200, b"[]"),
        (200, b"{}"),
        (200, intent(metadata={})),
    ],
)
def test_an_answer_that_makes_no_sense_leaves_the_outcome_unknown(key, status, body):
    with Provider(status, body, {"Location": "/elsewhere"}) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        with pytest.raises(OutcomeUnknown):
            authorize(gateway, key)
        with pytest.raises(OutcomeUnknown):
            gateway.capture("pi_1")
        assert len(provider.requests) == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, stripe_error("invalid_request_error", "rate_limit")),
        (429, b"<html>Slow down</html>"),
        (401, stripe_error("invalid_request_error", None)),
        (403, stripe_error("invalid_request_error", None)),
    ],
)
def test_a_provider_that_did_not_look_has_done_nothing(key, status, body):
    with Provider(status, body) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        with pytest.raises(NotExecuted):
            authorize(gateway, key)
        with pytest.raises(NotExecuted):
            gateway.void("pi_1")
        with pytest.raises(NotExecuted):
            next(gateway.list(datetime.now(UTC)))
        assert len(provider.requests) == 3


@pytest.mark.parametrize("status", ["succeeded", "canceled", "requires_action", "processing"])
def test_only_reserved_money_is_an_authorization(key, status):
    with Provider(200, intent(status=status)) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        with pytest.raises(OutcomeUnknown, match=f"^payment pi_1 is {status}"):
            authorize(gateway, key)


def test_a_capture_that_did_not_succeed_is_not_called_one():
    with Provider(200, intent(status="processing")) as provider, pytest.raises(OutcomeUnknown):
        StripeGateway(API_KEY, provider.url).capture("pi_1")


def test_a_payment_that_stripe_still_processes_is_neither_found_nor_missing(start):
    page = b'{"object": "list", "url": "/v1/payment_intents", "has_more": false, "data": [%s]}'
    with Provider(200, page % intent(status="processing")) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        with pytest.raises(OutcomeUnknown):
            gateway.find("hld_1-1", start)
        assert list(gateway.list(start)) == []


# ---------------------------------------------------------------- how it asks


def test_the_gateway_key_is_the_idempotency_key(key):
    with Provider(200, intent()) as provider:
        authorize(StripeGateway(API_KEY, provider.url), key)

    assert provider.requests[0]["Idempotency-Key"] == key


def test_each_capture_and_void_has_a_key_of_its_own():
    with Provider(500, stripe_error("api_error", None)) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        for call in (gateway.capture, gateway.capture, gateway.void):
            with pytest.raises(OutcomeUnknown):
                call("pi_1")

    assert len({asked["Idempotency-Key"] for asked in provider.requests}) == 3


def test_threads_share_their_connections(key):
    with Provider(200, intent()) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        for _ in range(5):
            thread = threading.Thread(target=authorize, args=(gateway, key))
            thread.start()
            thread.join()

    assert len(provider.requests) == 5
    assert provider.connections == 1


def test_a_call_that_has_no_turn_in_time_has_done_nothing(key):
    asked, answer = threading.Event(), threading.Event()

    def keep_waiting(connection):
        asked.set()
        answer.wait(5)

    with one_connection(keep_waiting) as url:
        gateway = StripeGateway(API_KEY, url, max_calls=1, max_wait_s=0.05)

        def wait_for_an_answer():
            with pytest.raises(OutcomeUnknown):
                authorize(gateway, key)

        first = threading.Thread(target=wait_for_an_answer)
        first.start()
        assert asked.wait(5)
        with pytest.raises(NotExecuted, match="under way"):
            authorize(gateway, key)
        answer.set()
        first.join()


def test_turns_are_given_back_whatever_happens(key):
    with Provider(500, b"") as provider:
        gateway = StripeGateway(API_KEY, provider.url, max_calls=1, max_wait_s=0)
        for _ in range(3):
            with pytest.raises(OutcomeUnknown):
                authorize(gateway, key)


def test_the_environment_changes_nothing(key, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password else")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Provider(200, intent()) as provider:
        authorize(StripeGateway(API_KEY, provider.url), key)

    assert provider.requests[0]["Authorization"] == f"Bearer {API_KEY}"


def test_calls_carry_nothing_from_one_to_the_next(key):
    headers = {"Set-Cookie": "session=1", "Request-Id": "req_1"}
    with Provider(200, intent(), headers) as provider:
        gateway = StripeGateway(API_KEY, provider.url)
        authorize(gateway, key)
        authorize(gateway, key)

    assert "Cookie" not in provider.requests[1]
    assert "X-Stripe-Client-Telemetry" not in provider.requests[1]
    assert "platform" not in json.loads(provider.requests[1]["X-Stripe-Client-User-Agent"])
