"""Stripe's hosts as a browser reaches them, stood in for: no request leaves this machine, and the
payments are the sandbox's."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import requests
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.support.site import Site

HERE = Path(__file__).parent
SCRIPT_URL = "https://js.stripe.com/endive/stripe.js"
ELEMENT_URL = "https://js.stripe.com/endive/elements-inner-payment.html"
PUBLISHABLE_KEY = "pk_test_browser"

ELEMENT = ".card-field iframe"
"""Where the Payment Element has its frame."""

GOOD_CARD = "4242 4242 4242 4242"
DECLINED_CARD = "4000 0000 0000 0002"
ASKING_CARD = "4000 0000 0000 3220"
ASKING_CARD_WITHOUT_MONEY = "4000 0082 6000 3178"
CARD_OF_ANOTHER_WORLD = "4242 4242 4242 4241"
"""Its last digit is wrong."""

WALLET = """<!doctype html><html lang="en"><title>Wallet</title>
<button onclick="opener.postMessage('paid', '*')">Pay</button>"""

BANK = "bank.example"
"""The sandbox's bank by a public name: Chromium has no page of this machine in a frame of
Stripe's."""

FRAME_OF_BANK = """<!doctype html><html lang="en"><title>Stripe</title>
<button onclick="parent.postMessage('closed', '*')">Close</button>
<iframe title="Your bank" src="{address}" style="width: 95%; height: 80%; border: 0"></iframe>"""
"""Stripe's frame, which has the bank's in it."""


NO_SCRIPT = {
    "blocked": lambda route: route.abort(),
    "an error": lambda route: route.fulfill(status=503, body="later"),
    "somebody else's page": lambda route: route.fulfill(content_type="text/html", body="<h1>Hi"),
    "no Stripe in it": lambda route: route.fulfill(content_type="text/javascript", body="let a"),
    "no answer": lambda route: None,
}
"""What may come instead of Stripe's script."""


def script(route: Route) -> None:
    route.fulfill(path=HERE / "stripe_stand_in.js", content_type="text/javascript")


def element(route: Route) -> None:
    route.fulfill(path=HERE / "stripe_element.html", content_type="text/html")


class StripeStandIn:
    """For all pages of a context. ``asked`` are the addresses of scripts and frames that were asked
    for; ``tokens`` the parameters with which tokens were; ``intent_id`` is the last payment that
    was. ``script``, ``element`` and ``api``
    answer, and can be replaced."""

    def __init__(self, context: BrowserContext, site: Site):
        self._sandbox_url, self._bank_url = site.sandbox.url, site.sandbox.bank_url
        self._key = site.environment["STRIPE_API_KEY"]
        self.asked: list[str] = []
        self.tokens: list[dict[str, str]] = []
        self.intent_id = ""
        self.script: Callable[[Route], None] = script
        self.element: Callable[[Route], None] = element
        self.api: Callable[[Route], None] = self.call
        context.route(re.compile("^https://"), self._answer)

    def _answer(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        match url.hostname:
            case "api.stripe.com":
                return self.api(route)
            case "pay.google.com":
                return route.fulfill(content_type="text/html", body=WALLET)
            case "hooks.stripe.com":
                page = urlsplit(parse_qs(url.query)["address"][0]).path
                body = FRAME_OF_BANK.format(address=f"https://{BANK}{page}")
                return route.fulfill(content_type="text/html", body=body)
            case host if host == BANK:
                answer = route.fetch(url=f"{self._bank_url}{url.path}")
                return route.fulfill(response=answer)
        self.asked.append(route.request.url)
        (self.element if url.path.endswith(".html") else self.script)(route)

    def call(self, route: Route) -> None:
        """What Stripe's script asks with a publishable key, by calls that the sandbox has."""
        path = urlsplit(route.request.url).path
        if path == "/v1/confirmation_tokens":
            fields = dict(parse_qsl(route.request.post_data or ""))
            assert fields.pop("key") == PUBLISHABLE_KEY
            self.tokens.append(fields)
            card = {name: text for name, text in fields.items() if "billing" not in name}
            answer = self._request("POST", "/v1/test_helpers/confirmation_tokens", card)
        elif path.endswith("/fail_challenge"):
            decision = {"payment_intent": path.split("/")[3], "decision": "refuse"}
            answer = requests.post(
                f"{self._sandbox_url}/_sandbox/bank/decisions", json=decision, timeout=10
            )
        else:
            self.intent_id = path.split("/")[3]
            secret = parse_qs(urlsplit(route.request.url).query)["client_secret"][0]
            answer = self._request("GET", path)
            assert answer.json()["client_secret"] == secret
        route.fulfill(
            status=answer.status_code,
            body=answer.content,
            content_type="application/json",
            headers={"Access-Control-Allow-Origin": "*"},
        )

    def used_token(self) -> str:
        """The id of a token that a payment was made with."""
        fields = {"payment_method": "pm_card_visa"}
        token = self._request("POST", "/v1/test_helpers/confirmation_tokens", fields).json()["id"]
        payment = {
            "amount": "1200",
            "currency": "gbp",
            "confirm": "true",
            "confirmation_token": token,
            "allowed_payment_method_types[0]": "card",
        }
        self._request("POST", "/v1/payment_intents", payment).raise_for_status()
        return token

    def _request(self, method: str, path: str, fields: dict[str, str] | None = None):
        return requests.request(
            method,
            f"{self._sandbox_url}{path}",
            data=urlencode(fields or {}),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            auth=(self._key, ""),
            timeout=10,
        )


def type_card(page: Page, number: str = GOOD_CARD) -> None:
    frame = page.frame_locator(ELEMENT)
    frame.get_by_label("Card number").fill(number)
    frame.get_by_label("Expiration date").fill("12 / 40")
    frame.get_by_label("Security code").fill("123")
    _is_heard(page, f"{number} 12 / 40 123")


def choose_wallet(page: Page) -> None:
    page.frame_locator(ELEMENT).get_by_label("Google Pay").check()
    _is_heard(page, "wallet")


def _is_heard(page: Page, text: str) -> None:
    """The frame tells the page what is typed, which takes a moment."""
    expect(page.locator(ELEMENT)).to_have_attribute("data-heard", text)


def pass_seconds(page: Page, seconds: int) -> None:
    page.clock.run_for(1000 * seconds)


def pay_with_element(page: Page) -> None:
    # Not with the mouse: while text comes and goes above it the button moves.
    page.locator(".pay-button").press("Enter")
