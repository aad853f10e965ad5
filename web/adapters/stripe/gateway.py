"""Stripe as the payment gateway: PaymentIntents with manual capture, through the official SDK."""

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import stripe
from stripe import PaymentIntent
from stripe.params import (
    PaymentIntentCreateParams,
    PaymentIntentListParams,
    RefundCreateParams,
)

from web.adapters.stripe import webhooks
from web.adapters.stripe.connection import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    StripesClock,
    shared_session,
)
from web.adapters.stripe.errors import (
    TOO_MUCH_FOR_CARD,
    cause_of,
    is_too_much_for_the_card,
    meaning_of,
    was_kept,
)
from web.adapters.stripe.payments import (
    KEY_FIELD,
    RETIRED_FIELD,
    Shop,
    payment_of_intent,
    status_of,
)
from web.domain.currencies import currency_of
from web.domain.refusals import PaymentDeclined
from web.ports.payment_gateway import (
    GatewayError,
    GatewayPayment,
    KeyUsed,
    NotAccepted,
    NotAllowed,
    NotExecuted,
    OutcomeUnknown,
    TooBusy,
)
from web.utils.lru_cache import LRUCache

MAX_CALLS = 100
"""Calls at the same time, of one process, each on a connection that is kept. Stripe lets an
account make 100 calls a second, 25 of them to one endpoint, and one takes about a second. With a
thousand at once a process would take its own slowness for Stripe's and call outcomes unknown that
are not."""

MAX_WAIT_S = 7.0
"""How long a call waits for its turn and, when Stripe says 429, for Stripe to have time. Nothing
was done yet, so giving up is safe; a buyer would not wait much longer. A payment that begins its
last call late still ends within its lease, and before nginx loses patience."""

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 1.0
"""Between calls that hear 429: twice as long each time, and none as long as another's, as Stripe
advises: https://docs.stripe.com/rate-limits#handling-limiting-gracefully."""

PAGE_SIZE = 100
"""Stripe's largest."""

CLOCK_SKEW = timedelta(minutes=1)
"""How far Stripe's clock may be behind ours, with much to spare. Overlooking a payment is worse
than reading a few more."""

CAUSES_KEPT = 1000
TELL_AGAIN_S = 3600
"""One line of the log for each event and cause of refused payments, and another when it lasts this
long: each of ten thousand buyers meets it."""

TELL_OF_FAILURE_AGAIN_S = 60
"""As above, for each cause of calls that fail."""

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class StripeGateway:
    """The Gateway of ``web/ports/``. Safe to share between greenlets or threads."""

    def __init__(
        self,
        api_key: str,
        api_base: str,
        webhook_secret: str = "",
        shop: str | None = None,
        former_shops: Sequence[str] = (),
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        max_calls: int = MAX_CALLS,
        max_wait_s: float = MAX_WAIT_S,
        count_failure: Callable[[str], None] = lambda cause: None,
    ):
        """``api_base`` is where Stripe or the sandbox answers, like ``https://api.stripe.com``.
        Without a ``webhook_secret`` every webhook is refused.

        ``shop`` is the tag that payments get. Of the payments on the account only those with this
        tag or one of ``former_shops`` are found, listed and read from webhooks. Without it payments
        get none, and those of all shops are seen.

        ``count_failure`` is called with the cause of each call that failed, as
        ``cause_of`` names it.

        Opens no connection.
        """
        self._clock = StripesClock()
        # Otherwise the SDK names this host to Stripe and keeps an id in the home directory.
        stripe.enable_telemetry = False
        client = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base.rstrip("/")},
            # Whether to ask again is the use case's decision.
            max_network_retries=0,
            http_client=stripe.RequestsClient(
                timeout=(connect_timeout_s, read_timeout_s),
                session=shared_session(max_calls, self._clock.set_by),
            ),
        )
        self._intents = client.v1.payment_intents
        self._refunds = client.v1.refunds
        self._webhook_secret = webhook_secret
        self._shop = Shop(shop, former_shops)
        self._told_at_s: LRUCache[float] = LRUCache(CAUSES_KEPT)
        self._max_wait_s = max_wait_s
        self._count_failure = count_failure
        self._turns = threading.BoundedSemaphore(max_calls)

    def authorize(
        self,
        key: str,
        amount_minor: int,
        currency: str,
        payment_method: str,
        metadata: Mapping[str, str],
    ) -> GatewayPayment:
        """Reserve ``amount_minor`` of ``currency`` (ISO 4217, any case).

        Stripe keeps the response to ``key`` for a day, a decline and a 500 too: asking again after
        OutcomeUnknown may bring the same 500, and only ``find`` tells more.

        Raises PaymentDeclined, InvalidRequest, NotExecuted or OutcomeUnknown. Why Stripe takes no
        payment is in the log.
        """
        wanted: PaymentIntentCreateParams = {
            # In the minor unit that web/domain/currencies.py counts, which is Stripe's.
            "amount": amount_minor,
            "currency": currency.lower(),
            "payment_method": payment_method,
            "capture_method": "manual",
            "confirm": True,
            # Nobody is sent away to confirm, so Stripe asks for no return_url.
            "error_on_requires_action": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "metadata": {**metadata, **self._shop.metadata, KEY_FIELD: key},
        }

        def create() -> GatewayPayment:
            intent = self._intents.create(wanted, {"idempotency_key": key})
            payment = payment_of_intent(intent)
            if payment.status != "authorized":
                raise OutcomeUnknown(
                    f"payment {intent.id} is {intent.status} after its authorization"
                )
            return payment

        try:
            return self._ask(create)
        except (NotAccepted, NotAllowed) as refused:
            if is_too_much_for_the_card(refused, amount_minor):
                raise PaymentDeclined("amount_too_large", TOO_MUCH_FOR_CARD) from refused
            if isinstance(refused.__cause__, stripe.StripeError):
                amount = currency_of(currency.upper()).written(amount_minor)
                event_id = metadata.get("event", "an unknown event")
                self._tell(refused.__cause__, event_id, amount)
            raise

    def retire(self, key: str, amount_minor: int, currency: str, fingerprint: str) -> None:
        """As the port says, by Stripe's rule that a key belongs to the parameters of its first
        call: https://docs.stripe.com/api/idempotent_requests. The intent has no payment method,
        is never confirmed, and is cancelled at once."""
        wanted: PaymentIntentCreateParams = {
            "amount": amount_minor,
            "currency": currency.lower(),
            "capture_method": "manual",
            "description": f"No payment: {key} broke off, and will not be charged",
            "metadata": {
                **self._shop.metadata,
                KEY_FIELD: key,
                RETIRED_FIELD: "true",
                "fingerprint": fingerprint,
            },
        }
        intent_id = self._ask(lambda: self._intents.create(wanted, {"idempotency_key": key}).id)
        # The key is used up already. The cancellation is for whoever reads the list at Stripe.
        self._bring_to("canceled", intent_id, self._intents.cancel)

    def capture(self, payment_id: str) -> None:
        """Take the reserved money, all of it. Raises NotExecuted when it was released before, or
        there is no such payment; otherwise as the port says."""
        self._bring_to("succeeded", payment_id, self._intents.capture)

    def void(self, payment_id: str) -> None:
        """Release the reserved money. Raises NotExecuted when it was taken before, or there is no
        such payment; otherwise as the port says."""
        self._bring_to("canceled", payment_id, self._intents.cancel)

    def refund(self, payment_id: str, key: str) -> None:
        """As the port says. A refund may be pending with the bank for days; that counts as done.
        Raises NotExecuted when no money was captured, or its owner disputes it at the bank."""
        try:
            status = self._ask(lambda: self._create_refund(payment_id, key))
        except PaymentDeclined as declined:
            raise NotExecuted(f"the card of payment {payment_id} takes no refund") from declined
        if status in ("failed", "canceled"):
            raise NotExecuted(f"the refund of payment {payment_id} is {status}")
        if status not in ("succeeded", "pending"):
            raise OutcomeUnknown(f"the refund of payment {payment_id} is {status}")

    def now(self) -> datetime:
        """As the port says: by the Date of Stripe's last response, and of one more call when there
        was none yet."""
        if not self._clock.is_known:
            self._ask(lambda: self._intents.list({"limit": 1}))
        return self._clock.now()

    def find(self, key: str, since: datetime) -> GatewayPayment | None:
        """As the port says. A request that is still on its way leaves no payment to find."""
        return self.find_all([key], since).get(key)

    def find_all(self, keys: Collection[str], since: datetime) -> dict[str, GatewayPayment]:
        """As the port says, and as ``find``."""
        missing, found = set(keys), {}
        # Not Stripe's search: it learns of a payment up to a minute later.
        for payment in self._made_since(since - CLOCK_SKEW) if missing else ():
            if payment.key in missing:
                missing.remove(payment.key)
                found[payment.key] = payment
            if not missing:
                break
        return found

    def list(self, since: datetime) -> Iterator[GatewayPayment]:
        """As the port says. Payments on the same account that are not ours are left out, and so
        are those that Stripe is still processing."""
        for payment in self._made_since(since):
            if RETIRED_FIELD not in payment.metadata:
                yield payment

    def _made_since(self, since: datetime) -> Iterator[GatewayPayment]:
        """With the keys that were retired."""
        for intent in self._created_since(since):
            if self._shop.owns(intent.metadata.to_dict()) and status_of(intent):
                yield payment_of_intent(intent)

    def verify_webhook(self, payload: bytes, signature: str) -> None:
        """As the port says; ``signature`` is the header Stripe-Signature."""
        webhooks.verify(payload, signature, self._webhook_secret)

    def read_webhook(self, payload: bytes, signature: str) -> GatewayPayment | None:
        """As the port says; ``signature`` is the header Stripe-Signature. An event does not say
        whether a captured payment was refunded since, and one of a refund has the moment of the
        charge as ``created``."""
        self.verify_webhook(payload, signature)
        return webhooks.read(payload, self._shop)

    def _tell(self, error: stripe.StripeError, event_id: str, amount: str) -> None:
        cause = error.code or getattr(error.error, "code", None) or error.http_status
        if self._is_news(f"{event_id} {cause}", TELL_AGAIN_S):
            log.error(
                "Stripe refuses payments for %s, now one of %s: %s, %s",
                event_id,
                amount,
                cause,
                error,
            )

    def _fail(self, error: GatewayError) -> None:
        cause = cause_of(error)
        self._count_failure(cause)
        if self._is_news(cause, TELL_OF_FAILURE_AGAIN_S):
            log.warning("a call of the payment gateway failed, %s: %s", cause, error)

    def _is_news(self, name: str, again_s: float) -> bool:
        """Whether nothing was told under this name for so long."""
        now_s = time.monotonic()
        told_at_s = self._told_at_s.get(name)
        if told_at_s is not None and now_s <= told_at_s + again_s:
            return False
        self._told_at_s.put(name, now_s)
        return True

    def _create_refund(self, payment_id: str, key: str) -> str | None:
        """The status of the refund. It is of all that is left to give back, so that Stripe itself
        refuses a second one, also a day later when it has forgotten the key."""
        wanted: RefundCreateParams = {"payment_intent": payment_id}
        try:
            try:
                return self._refunds.create(wanted, {"idempotency_key": key}).status
            except stripe.StripeError as error:
                if not was_kept(error):
                    raise
                # What failed before says nothing about now: ask again.
                return self._refunds.create(wanted).status
        except stripe.InvalidRequestError as error:
            if error.code != "charge_already_refunded":
                raise
            return "succeeded"

    def _bring_to(self, status: str, payment_id: str, call: Callable[[str], PaymentIntent]) -> None:
        """No idempotency key of ours: the state of the payment makes these calls repeatable, and
        with a key a stored 500 would be repeated for a day."""
        try:
            found = self._ask(lambda: call(payment_id).status)
        except (NotAccepted, PaymentDeclined) as refused:
            found = self._ask(lambda: self._intents.retrieve(payment_id).status)
            if found != status:
                raise NotExecuted(f"payment {payment_id} is {found}: {refused}") from refused
        if found != status:
            raise OutcomeUnknown(f"payment {payment_id} is {found}, not {status}")

    def _created_since(self, since: datetime) -> Iterator[PaymentIntent]:
        """Page by page: a turn is held while Stripe answers, not while the caller works."""
        wanted: PaymentIntentListParams = {
            "created": {"gte": int(since.timestamp())},
            "limit": PAGE_SIZE,
            # A PaymentIntent does not say that it was refunded; its charge does.
            "expand": ["data.latest_charge"],
        }
        next_page, has_more = lambda: self._intents.list(wanted), True
        while has_more:
            page, intents, has_more = self._ask(partial(_read_page, next_page))
            next_page = page.next_page
            yield from intents

    def _ask(self, call: Callable[[], _Result]) -> _Result:
        """One call of the SDK and the reading of its response; a failure is counted and logged."""
        try:
            return self._ask_until_answered(call)
        except (NotAccepted, KeyUsed):
            raise
        except GatewayError as error:
            self._fail(error)
            raise

    def _ask_until_answered(self, call: Callable[[], _Result]) -> _Result:
        """While Stripe says that it is asked too often, or that something else has the same object,
        it has done nothing: ask again, for as long as a call may wait. Others have their turn
        meanwhile."""
        until_s = time.monotonic() + self._max_wait_s
        longest_s = FIRST_PAUSE_S
        while True:
            try:
                with self._turn(until_s):
                    return call()
            except TooBusy:
                pause_s = random.uniform(longest_s / 2, longest_s)  # noqa: S311
                if time.monotonic() + pause_s > until_s:
                    raise
            time.sleep(pause_s)
            longest_s = min(2 * longest_s, LONGEST_PAUSE_S)

    @contextmanager
    def _turn(self, until_s: float) -> Iterator[None]:
        """Wait for a turn, until ``until_s`` on the monotonic clock, then put what goes wrong into
        the words of the port."""
        if not self._turns.acquire(timeout=max(0.0, until_s - time.monotonic())):
            raise TooBusy("too many calls to the gateway are under way")
        try:
            yield
        except stripe.StripeError as error:
            raise meaning_of(error) from error
        except GatewayError:
            raise
        except Exception as error:
            # The SDK stumbles over a response that is JSON and yet not Stripe's.
            raise OutcomeUnknown(f"{type(error).__name__}: {error}") from error
        finally:
            self._turns.release()


def _read_page(
    ask: Callable[[], stripe.ListObject[PaymentIntent]],
) -> tuple[stripe.ListObject[PaymentIntent], list[PaymentIntent], bool]:
    page = ask()
    return page, page.data, page.has_more
