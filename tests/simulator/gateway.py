"""A payment gateway in memory. ``tests/adapters/test_stripe_gateway.py`` checks that it behaves
like StripeGateway with a faultless provider; faults are injected by ``wires.py``."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from web.adapters.stripe.errors import OWNER_FAILED
from web.adapters.stripe.gateway import CLOCK_SKEW
from web.domain.refusals import AUTHENTICATION_FAILED, InvalidRequest, PaymentDeclined
from web.domain.sales import WayBack
from web.ports.payment_gateway import (
    GatewayPayment,
    GatewayStatus,
    KeyUsed,
    NextAction,
    NotAccepted,
    NotExecuted,
)

DECLINED_CARDS = {
    "pm_card_visa_chargeDeclined": ("generic_decline", "Your card was declined."),
    "pm_card_visa_chargeDeclinedStolenCard": ("generic_decline", "Your card was declined."),
    "pm_card_visa_chargeDeclinedLostCard": ("generic_decline", "Your card was declined."),
    "pm_card_visa_chargeDeclinedInsufficientFunds": (
        "insufficient_funds",
        "Your card has insufficient funds.",
    ),
    "pm_card_chargeDeclinedExpiredCard": ("expired_card", "Your card has expired."),
}
ASKING_CARD = "pm_card_authenticationRequired"
"""Its owner has to confirm each payment."""

CARDS = {"pm_card_visa", "pm_card_amex", "pm_card_pendingRefund", ASKING_CARD, *DECLINED_CARDS}

PAGE_SIZE = 3
"""Payments on a page of the list; few, so that a short run reads several pages."""


@dataclass
class _Payment:
    state: GatewayPayment
    card: str
    listed_from_s: float


class SimulatedGateway:
    """Implements Gateway of ``web/ports/``, except webhooks. ``now_s`` is its clock, in Unix time.
    A payment is listed ``list_lag_s`` after it was made. ``on_change`` is called with each payment
    that was made or has changed."""

    def __init__(
        self,
        now_s: Callable[[], float] = lambda: datetime.now(UTC).timestamp(),
        on_change: Callable[[GatewayPayment], None] = lambda payment: None,
    ):
        self._now_s = now_s
        self._on_change = on_change
        self._payments: dict[str, _Payment] = {}
        self._by_key: dict[str, str] = {}
        self._retired: dict[str, GatewayPayment] = {}
        self._part_refunds: set[str] = set()
        self.list_lag_s = 0.0

    def authorize(
        self,
        key: str,
        amount_minor: int,
        currency: str,
        payment_method: str,
        metadata: Mapping[str, str],
        way_back: WayBack,
    ) -> GatewayPayment:
        if key in self._retired:
            raise KeyUsed(f"the key {key} was retired")
        if payment_method not in CARDS:
            raise InvalidRequest("payment_method", "is not known")
        wanted = (amount_minor, currency, payment_method, dict(metadata))
        payment_id = self._by_key.get(key)
        if payment_id is None:
            payment_id = self._by_key[key] = f"pi_{len(self._payments) + 1}"
            declined = payment_method in DECLINED_CARDS
            status: GatewayStatus = "declined" if declined else "authorized"
            if payment_method == ASKING_CARD:
                status = "action_required"
            made = GatewayPayment(
                payment_id,
                key,
                amount_minor,
                currency,
                status,
                self.now(),
                dict(metadata),
                decline=PaymentDeclined(*DECLINED_CARDS[payment_method]) if declined else None,
                next_action=_next_action(payment_id, way_back)
                if payment_method == ASKING_CARD
                else None,
            )
            self._payments[payment_id] = _Payment(
                made, payment_method, self._now_s() + self.list_lag_s
            )
            self._on_change(made)
        payment = self._payments[payment_id]
        made = payment.state
        if wanted != (made.amount_minor, made.currency, payment.card, made.metadata):
            raise KeyUsed(f"the key {key} belongs to another payment")
        if payment_method in DECLINED_CARDS:
            raise PaymentDeclined(*DECLINED_CARDS[payment_method])
        # Like Stripe, which repeats its first answer to a key.
        if payment_method == ASKING_CARD:
            action = _next_action(payment_id, way_back)
            return replace(made, status="action_required", decline=None, next_action=action)
        return replace(made, status="authorized")

    def decide(self, payment_id: str, *, confirms: bool) -> None:
        """The owner of the card answers the bank's question, if it still asks."""
        payment = self._payments[payment_id]
        if payment.state.status != "action_required":
            return
        refused = PaymentDeclined(AUTHENTICATION_FAILED, OWNER_FAILED)
        payment.state = replace(
            payment.state, next_action=None, decline=None if confirms else refused
        )
        self._become(payment_id, "authorized" if confirms else "declined")

    def confirm_with_another_card(self, payment_id: str) -> None:
        """Whoever has the secret of a payment that its owner has not confirmed may try that."""
        payment = self._payments[payment_id]
        if payment.card == ASKING_CARD and payment.state.status == "declined":
            payment.state = replace(payment.state, decline=None)
            self._become(payment_id, "authorized")

    def retrieve(self, payment_id: str) -> GatewayPayment:
        self._status(payment_id)
        return self._payments[payment_id].state

    def retire(self, key: str, amount_minor: int, currency: str, fingerprint: str) -> None:
        wanted = (amount_minor, currency, {"fingerprint": fingerprint})
        known = self._retired.get(key)
        if key in self._by_key or (
            known and wanted != (known.amount_minor, known.currency, known.metadata)
        ):
            raise KeyUsed(f"the key {key} belongs to a payment")
        self._retired[key] = GatewayPayment(
            f"retired {key}", key, amount_minor, currency, "voided", self.now(), wanted[2]
        )

    def now(self) -> datetime:
        return datetime.fromtimestamp(int(self._now_s()), UTC)

    def capture(self, payment_id: str) -> None:
        status = self._status(payment_id)
        if status == "authorized":
            self._become(payment_id, "captured")
        elif status not in ("captured", "refunded"):
            raise NotExecuted(f"payment {payment_id} is {_stripes_word(status)}")

    def void(self, payment_id: str) -> None:
        status = self._status(payment_id)
        if status in ("captured", "refunded"):
            raise NotExecuted(f"payment {payment_id} is {_stripes_word(status)}")
        if status != "voided":
            self._payments[payment_id].state = replace(
                self._payments[payment_id].state, next_action=None
            )
            self._become(payment_id, "voided")

    def refund(self, payment_id: str, key: str) -> None:
        status = self._status(payment_id)
        if status == "captured":
            self._become(payment_id, "refunded")
        elif status != "refunded":
            raise NotExecuted(f"payment {payment_id} is uncaptured")

    def refund_part(self, payment_id: str, amount_minor: int, key: str) -> None:
        status = self._status(payment_id)
        if status == "refunded" or key in self._part_refunds:
            return
        state = self._payments[payment_id].state
        if status != "captured" or state.refunded_minor + amount_minor > state.amount_minor:
            raise NotAccepted(f"payment {payment_id} has less to refund, or is uncaptured")
        self._part_refunds.add(key)
        refunded_minor = state.refunded_minor + amount_minor
        self._payments[payment_id].state = replace(state, refunded_minor=refunded_minor)
        is_all = refunded_minor == state.amount_minor
        self._become(payment_id, "refunded" if is_all else "captured")

    def find(self, key: str, since: datetime) -> GatewayPayment | None:
        return self.find_all([key], since).get(key)

    def find_all(self, keys: Collection[str], since: datetime) -> dict[str, GatewayPayment]:
        found = {key: self._retired[key] for key in keys if key in self._retired}
        for payment in self.list(since - CLOCK_SKEW) if keys else ():
            if payment.key in keys:
                found[payment.key] = payment
        return found

    def list(self, since: datetime) -> Iterator[GatewayPayment]:
        before = None
        while page := self.page(since, before):
            yield from page
            before = page[-1].payment_id

    def refunded(self, since: datetime) -> Iterator[GatewayPayment]:
        return iter(())

    def page(self, since: datetime, before: str | None) -> Sequence[GatewayPayment]:
        """A page of the list: payments older than the payment ``before``, as they are now."""
        listed = [
            payment.state
            for payment in self._payments.values()
            if payment.listed_from_s <= self._now_s()
            and payment.state.created >= since.replace(microsecond=0)
        ]
        listed.reverse()
        if before is not None:
            made = list(self._payments)
            listed = [p for p in listed if made.index(p.payment_id) < made.index(before)]
        return listed[:PAGE_SIZE]

    def all(self) -> Sequence[GatewayPayment]:
        """All payments, oldest first, listed or not."""
        return [payment.state for payment in self._payments.values()]

    def _status(self, payment_id: str) -> str:
        if payment_id not in self._payments:
            raise NotExecuted(f"no such payment: {payment_id}")
        return self._payments[payment_id].state.status

    def _become(self, payment_id: str, status: str) -> None:
        payment = self._payments[payment_id]
        payment.state = replace(payment.state, status=status)
        self._on_change(payment.state)


def _next_action(payment_id: str, way_back: WayBack) -> NextAction:
    if way_back.in_page:
        return NextAction("", f"secret of {payment_id}")
    return NextAction(f"https://bank.example/{payment_id}", "")


def _stripes_word(status: str) -> str:
    return {"captured": "succeeded", "refunded": "succeeded", "voided": "canceled"}.get(
        status, status
    )
