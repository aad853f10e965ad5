"""The bank that asks the owners of cards: pages on an origin of its own, which need no JavaScript.

    GET  /challenges/<id>                     the question
    POST /challenges/<id>  answer=accept      the answer, accept or refuse; leads back to the shop

An answer counts once, and only while its intent waits for it; the buyer is led back to the shop
nevertheless, as at Stripe. Tests say what the bank does with ``Behaviour``.
"""

import time
from http import HTTPStatus
from typing import Annotated, Literal, get_args

import msgspec
from flask import Flask, Response, redirect, render_template, request
from msgspec import Meta
from werkzeug.wrappers import Response as AnyResponse

from ops.sandbox import intents
from ops.sandbox.authentication import Challenge, Decision
from ops.sandbox.errors import ApiError, no_such
from ops.sandbox.faults import MAX_SECONDS
from ops.sandbox.intent_parameters import Confirmation
from ops.sandbox.intents import Intent, events_of_attempt
from ops.sandbox.ledger import Ledger
from ops.sandbox.payment_methods import PaymentMethod
from ops.sandbox.reading import now_s
from ops.sandbox.webhooks import Webhooks
from web.domain.currencies import currency_of


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``ask`` shows the question. ``accept`` and ``refuse`` decide as soon as the buyer comes, and
    lead back at once. ``down`` answers everything with 503. Each answer takes ``seconds`` longer;
    a decision is made although the browser has left meanwhile."""

    does: Literal["ask", "accept", "refuse", "down"] = "ask"
    seconds: Annotated[float, Meta(ge=0, le=MAX_SECONDS)] = 0.0


class Bank:
    """``url`` is the origin of its pages. The behaviour is kept in memory only."""

    def __init__(self, ledger: Ledger, webhooks: Webhooks | None, url: str):
        self._ledger = ledger
        self._webhooks = webhooks
        self._url = url
        self.behaviour = Behaviour()

    def asks_owner(self, intent: Intent, payment_method: PaymentMethod) -> bool:
        """Whether the owner has to confirm this payment, and has not done so."""
        return payment_method.card.needs_owner and not any(
            challenge.payment_method_id == payment_method.id and challenge.decision == "accept"
            for challenge in self._ledger.challenges(intent["id"])
        )

    def ask_owner(self, intent: Intent, confirmation: Confirmation) -> None:
        """The intent waits for the owner. An earlier question about it no longer counts."""
        challenge = Challenge.of(intent, confirmation)
        self._ledger.save_challenge(challenge)
        page_url = f"{self._url}/challenges/{challenge.id}"
        intents.wait_for_owner(intent, challenge.next_action(page_url))

    def decide(self, challenge_id: str, decision: Decision) -> None:
        """Move the intent on, unless it does not wait for this answer. The challenge exists."""
        with self._ledger.transaction():
            challenge, intent = self.question(challenge_id)
            if not challenge.is_open(intent):
                return
            challenge.decision = decision
            payment_method = self._ledger.payment_method(challenge.payment_method_id, now_s())
            if decision == "refuse":
                intents.fail_authentication(intent, payment_method)
            elif intent["confirmation_method"] == "manual":
                intents.wait_for_confirmation(intent)
            else:
                intents.charge(intent, payment_method)
            self._ledger.save_challenge(challenge)
            self._ledger.save(intent)
            self._ledger.save_payment_method(payment_method)
        if self._webhooks:
            self._webhooks.publish(events_of_attempt(intent), None)

    def decide_for(self, intent_id: str, decision: Decision) -> Intent:
        """As ``decide`` for the open question about an intent, if any; returns the intent. Raises
        ApiError when there is no such intent."""
        intent = self._ledger.intent(intent_id)
        for challenge in self._ledger.challenges(intent_id):
            if challenge.is_open(intent):
                self.decide(challenge.id, decision)
        return self._ledger.intent(intent_id)

    def question(self, challenge_id: str) -> tuple[Challenge, Intent]:
        """Raises ApiError when there is no such challenge."""
        challenge = self._ledger.challenge(challenge_id)
        if challenge is None:
            raise no_such("challenge", challenge_id, "challenge", HTTPStatus.NOT_FOUND)
        return challenge, self._ledger.intent(challenge.intent_id)


def bank_pages(bank: Bank) -> Flask:
    app = Flask(__name__, static_folder=None)

    @app.before_request
    def behave() -> AnyResponse | None:
        time.sleep(bank.behaviour.seconds)
        if bank.behaviour.does == "down":
            return _page("down", HTTPStatus.SERVICE_UNAVAILABLE)
        return None

    @app.get("/challenges/<challenge_id>")
    def ask(challenge_id: str) -> AnyResponse:
        challenge, intent = bank.question(challenge_id)
        if not challenge.is_open(intent):
            return _page("over", HTTPStatus.GONE, back=challenge.way_back(intent))
        does = bank.behaviour.does
        if does in ("accept", "refuse"):
            return _decided(challenge_id, does)
        money = currency_of(intent["currency"].upper()).written(intent["amount"])
        return _page("question", money=money)

    @app.post("/challenges/<challenge_id>")
    def answer(challenge_id: str) -> AnyResponse:
        for decision in get_args(Decision):
            if request.form.get("answer") == decision:
                return _decided(challenge_id, decision)
        return _page("unclear", HTTPStatus.BAD_REQUEST)

    @app.errorhandler(ApiError)
    def unknown(error: ApiError) -> AnyResponse:
        return _page("unknown", error.status)

    def _decided(challenge_id: str, decision: Decision) -> AnyResponse:
        bank.decide(challenge_id, decision)
        challenge, intent = bank.question(challenge_id)
        way_back = challenge.way_back(intent)
        if way_back is None:
            return _page("over")
        return redirect(way_back, HTTPStatus.SEE_OTHER)

    return app


def _page(state: str, status: int = HTTPStatus.OK, **values: str | None) -> Response:
    response = Response(render_template("bank.html", state=state, **values), status)
    response.headers["Cache-Control"] = "no-store"
    return response
