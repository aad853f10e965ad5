"""What stands for a right, made up or taken from somebody else: tokens of holds, addresses of
receipts, cookies, tokens of forms, signatures of webhooks. None opens anything."""

import json
import time
from collections.abc import Callable

import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import URLSafeSerializer, URLSafeTimedSerializer

from ops.sandbox.webhooks import sign
from tests.attacks.clients import new_address
from tests.pages.browser import Browser, Page
from tests.support.factories import put_on_sale, small_hall
from tests.support.http_client import Client, assert_problem
from tests.support.raw_http import exchange, request_bytes
from tests.support.site import WEBHOOK_SECRET
from web.domain.events import Event
from web.signing.hold_tokens import HoldTokens

BUYER = {"name": "Eve", "email": "eve@example.org"}


@pytest.fixture
def ada(stack, event) -> Client:
    return Client(stack.url, event.id)


# ---------------------------------------------------------------- tokens of holds

NOT_THE_TOKEN: dict[str, Callable[[str], str]] = {
    "nothing": lambda token: "",
    "shorter by a letter": lambda token: token[:-1],
    "longer by a letter": lambda token: token + "A",
    "other letters": lambda token: token.swapcase(),
    "backwards": lambda token: token[::-1],
    "padded, as base64 may be": lambda token: token + "=",
    "in the other base64": lambda token: "+" + token[1:],
    "with a space": lambda token: f"{token[:5]} {token[5:]}",
    "twice": lambda token: f"{token},{token}",
    "in quotes": lambda token: f'"{token}"',
    "encoded": lambda token: token.replace(token[0], f"%{ord(token[0]):x}", 1),
    "with a line of its own": lambda token: f"x\tBearer {token}",
    "null": lambda token: "null",
    "an operator": lambda token: '{"$ne": null}',
    "all there is": lambda token: "*",
    "no algorithm": lambda token: "eyJhbGciOiJub25lIn0.e30.",
    "of another key": lambda token: HoldTokens("another key of tests").token_of("x", "y"),
}


def rights_of(hold: dict) -> list[tuple[str, str]]:
    """Each call that takes the token of a hold."""
    path = f"/api/events/{hold['event']}"
    return [
        ("GET", f"{path}/holds/{hold['hold_id']}"),
        ("POST", f"{path}/holds/{hold['hold_id']}/extend"),
        ("POST", f"{path}/holds/{hold['hold_id']}/pay"),
        ("GET", f"{path}/holds/{hold['hold_id']}/payments/{'0' * 64}"),
        ("GET", f"{path}/bookings/{hold['hold_id'].replace('hld_', 'bkg_')}"),
        ("DELETE", f"{path}/holds/{hold['hold_id']}"),
    ]


def assert_opens_nothing(stack, hold: dict, token: str) -> None:
    """Each guess comes from another address, because so many from one would reach the limit."""
    payment = {"payment_method": "pm_card_visa", **BUYER}
    for method, path in rights_of(hold):
        eve = Client(stack.url, hold["event"], new_address())
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "eve"}
        answer = eve.call(method, path, json=payment, headers=headers)
        code = "booking_not_found" if "/bookings/" in path else "hold_not_found"
        assert_problem(answer, 404, code)


@pytest.mark.parametrize("forge", NOT_THE_TOKEN.values(), ids=NOT_THE_TOKEN)
def test_what_is_not_the_token_of_a_hold_opens_nothing(stack, ada, forge):
    hold = ada.held("stalls-A-1")
    assert_opens_nothing(stack, hold, forge(hold["hold_token"]))
    assert ada.look_up(hold).json()["status"] == "held"


def test_the_token_of_another_hold_opens_nothing(stack, ada, seats):
    hold, other = ada.held("stalls-A-1"), ada.held("stalls-A-2")
    elsewhere = small_hall()
    put_on_sale(seats, elsewhere)
    in_another_hall = Client(stack.url, elsewhere.id).held("stalls-A-1")
    for token in (other["hold_token"], in_another_hall["hold_token"]):
        assert_opens_nothing(stack, hold, token)
    assert ada.look_up(hold).json()["status"] == "held"


def test_a_hold_is_not_found_in_another_event(stack, ada, seats):
    hold = ada.held("stalls-A-1")
    elsewhere = small_hall()
    put_on_sale(seats, elsewhere)
    assert_opens_nothing(stack, hold | {"event": elsewhere.id}, hold["hold_token"])


@pytest.mark.parametrize("line", ["Cookie: hold_token={}", "X-Hold-Token: {}", "Authorization: {}"])
def test_a_token_counts_only_where_it_belongs(url, ada, address, line):
    hold = ada.held("stalls-A-1")
    path = f"/api/events/{hold['event']}/holds/{hold['hold_id']}"
    lines = line.format(hold["hold_token"]), f"X-Forwarded-For: {address}", "Connection: close"
    (answer,) = exchange(url, request_bytes("GET", path, *lines))
    assert answer.status == 404
    (answer,) = exchange(
        url, request_bytes("GET", f"{path}?hold_token={hold['hold_token']}", *lines[1:])
    )
    assert answer.status == 404


# ---------------------------------------------------------------- addresses that are keys


@pytest.fixture
def held(stack, event) -> Page:
    page = Browser(stack.url).get(f"/events/{event.id}")
    return page.press("Hold the chosen", seats=["stalls-A-1"])


def forged_links(event: Event, hold_id: str, key: str) -> list[str]:
    """Of the receipt and of the hold; ``key`` is the service's, misused."""
    payload = [event.id, hold_id]
    return [
        *(
            URLSafeSerializer(other, salt=salt).dumps(payload)
            for other in ("", "another key of tests")
            for salt in ("receipt", "hold link", "ticket", "itsdangerous")
        ),
        # Rightly signed, for something else.
        *(
            URLSafeSerializer(key, salt=salt).dumps(payload)
            for salt in ("ticket", "cookie-session", "wtf-csrf-token", "itsdangerous")
        ),
        URLSafeTimedSerializer(key, salt="receipt").dumps(payload),
        # Not signed, or not what was signed.
        *("null", "e30", "W10.", "-", "%00", "W10.AAAA", ".eJxLBAAAYgBi.x"),
    ]


def test_no_made_up_address_opens_a_receipt_or_a_hold(stack, event, held):
    hold_id = held.address.split("/")[4]
    held.press("Pay", **BUYER)
    for link in forged_links(event, hold_id, stack.environment["SECRET_KEY"]):
        for path in (f"/receipts/{link}", f"/holds/{link}"):
            assert Browser(stack.url).get(path).status in (400, 404), path


# ---------------------------------------------------------------- cookies


def session_cookie(key: str, content: dict) -> str:
    app = Flask(__name__)
    app.secret_key = key
    return SecureCookieSessionInterface().get_signing_serializer(app).dumps(content)


def test_no_made_up_cookie_is_believed(stack, event, held):
    hold_id = held.address.split("/")[4]
    content = {"holds": [[event.id, hold_id]], "organiser": [int(time.time()) + 9_999, "x"]}
    real = session_cookie("another key of tests", content)
    payload, stamp, signature = real.rsplit(".", 2)  # a compressed one begins with a dot
    packed = f".{'eJw' + 'A' * 4_000}.{stamp}.{signature}"
    for cookie in (
        *(real, payload, f"{payload}..", f"{payload}.{stamp}.", f"{payload}.{stamp}.{'A' * 27}"),
        *(packed, json.dumps(content), "null", "", "x" * 4_000, "\x7f", '"' + real + '"'),
        f"{real}; tickets={held.browser.cookies['tickets']}x",
    ):
        eve = Browser(stack.url)
        eve.headers["Cookie"] = f"tickets={cookie}"
        for path in (held.address, f"{held.address}/elsewhere"):
            assert eve.get(path).status in (400, 404)
        if eve.get("/basket").status == 400:
            continue  # no cookie may have such a byte
        assert "There is nothing in it" in eve.get("/basket").text
        assert eve.get("/organiser").root.all("input", type="password")
    assert held.browser.get(held.address).status == 200


def test_a_cookie_of_one_browser_is_no_key_in_the_name_of_another(stack, held):
    """A neighbour under the same domain may plant cookies by other names, or ours beside ours."""
    eve = Browser(stack.url)
    for name in ("session", "Tickets", "__Host-tickets", "__Secure-tickets"):
        eve.headers["Cookie"] = f"{name}={held.browser.cookies['tickets']}"
        assert eve.get(held.address).status == 404, name


# ---------------------------------------------------------------- tokens of forms


def test_no_form_is_taken_with_a_token_that_is_not_its_browsers(stack, event, held):
    eve = Browser(stack.url)
    hers = dict(eve.get(f"/events/{event.id}").fields("Hold the best"))["csrf_token"]
    ours = dict(held.fields("Pay"))["csrf_token"]
    key = stack.environment["SECRET_KEY"]
    forged = URLSafeTimedSerializer(key, salt="another").dumps("x")
    for token in (hers, "", "null", ours[:-1], ours.swapcase(), f"{ours}\0", forged, "x" * 4_000):
        for button in ("Pay", "Give the seats back", "Extend"):
            if any(button in found.text for found in held.root.all("button")):
                refused = held.send(button, csrf_token=token, **BUYER)
                assert refused.status_code == 400, (button, token)
    twice = held.send("Pay", csrf_token=[hers, ours], **BUYER)
    assert twice.status_code == 400
    # Ours, in a browser without our cookie.
    action = held.form("Pay")["action"]
    assert eve.post(action, [("csrf_token", ours), *BUYER.items()]).status_code == 400
    assert stack.charges(held.address) == []
    assert held.browser.get(held.address).root.all("form")


# ---------------------------------------------------------------- signatures of webhooks


def signatures(payload: bytes) -> dict[str, str]:
    now = int(time.time())
    good = sign(payload, WEBHOOK_SECRET, now)
    stamp, digest = (part.split("=")[1] for part in good.split(","))
    return {
        "none": "",
        "no time": f"v1={digest}",
        "another time": f"t={now - 1},v1={digest}",
        "an old time": sign(payload, WEBHOOK_SECRET, now - 301),
        "two times": f"t={now - 1},t={stamp},v1={digest}, t={now - 1}",
        "a scheme that is over": f"t={stamp},v0={digest}",
        "in capitals": f"t={stamp},v1={digest.upper()}",
        "shorter": f"t={stamp},v1={digest[:-1]}",
        "empty": f"t={stamp},v1=",
        "another body": sign(payload + b" ", WEBHOOK_SECRET, now),
        "an empty secret": sign(payload, "", now),
        "another secret": sign(payload, "whsec_another", now),
        "no number": f"t=now,v1={digest}",
        "a huge number": f"t={'9' * 400},v1={digest}",
        "not ASCII": "t=1,v1=\xe9",
    }


def test_no_made_up_signature_of_a_webhook_is_believed(url):
    payload = b'{"id": "evt_1", "object": "event", "type": "charge.refunded"}'
    for name, signature in signatures(payload).items():
        lines = (
            f"Stripe-Signature: {signature}",
            "Content-Type: application/json",
            f"Content-Length: {len(payload)}",
            f"X-Forwarded-For: {new_address()}",
            "Connection: close",
        )
        (answer,) = exchange(url, request_bytes("POST", "/webhooks/stripe", *lines, body=payload))
        assert (answer.status, answer.json["code"]) == (400, "bad_signature"), name
