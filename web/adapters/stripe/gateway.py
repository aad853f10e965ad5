"""Stripe as the payment gateway: PaymentIntents with manual capture, through the official SDK."""

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import msgspec
import stripe
from stripe.params import (
    PaymentIntentCreateParams,
    PaymentIntentListParams,
    PaymentIntentRetrieveParams,
    RefundCreateParams,
    RefundListParams,
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
from web.adapters.stripe.pace import Endpoint, Pace
from web.adapters.stripe.payments import (
    KEY_FIELD,
    REFUND_FIELD,
    RETIRED_FIELD,
    Intent,
    Listed,
    Page,
    Refund,
    Shop,
    payment_of_intent,
    status_of,
)
from web.domain.currencies import currency_of
from web.domain.refusals import PaymentDeclined
from web.domain.sales import WayBack
from web.domain.validation import TOKEN_PREFIX
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
"""Concurrent calls of one process, each on a persistent connection. Stripe lets an account make 100
calls a second, 25 of them to one endpoint, and one takes about a second. With a thousand at once a
process would mistake its own slowness for Stripe's and report unknown outcomes that are not."""

MAX_WAIT_S = 7.0
"""How long a call waits for its turn and, after a 429, for Stripe to accept it. Nothing has been
done yet, so giving up is safe, and a buyer would not wait much longer. A payment that begins its
last call late still ends within its lease, and before nginx times out."""

LEAST_RETRY_S = 2.0
"""How long a call is repeated after a 429, however long it has waited for its turn: Stripe has not
counted it, so its turn is not used up."""

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 1.0
"""Between retries after 429: exponential backoff with jitter, as Stripe advises:
https://docs.stripe.com/rate-limits#handling-limiting-gracefully."""

INTENTS = "/v1/payment_intents"
REFUNDS = "/v1/refunds"

PAGE_SIZE = 100
"""Stripe's largest."""

CLOCK_SKEW = timedelta(minutes=1)
"""How far Stripe's clock may be behind ours, with a wide margin. Overlooking a payment is worse
than reading a few more."""

CAUSES_KEPT = 1000
LOG_AGAIN_S = 3600
"""Refused payments are logged once for each event and cause, and again after this time: ten
thousand buyers may get the same refusal."""

LOG_FAILURE_AGAIN_S = 60
"""The same, for each cause of failed calls."""

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class StripeGateway:
    """Implements Gateway of ``web/ports/``. Safe to share between greenlets or threads."""

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
        pace: Pace | None = None,
        count_failure: Callable[[str], None] = lambda cause: None,
    ):
        """``api_base`` is the address of Stripe or the sandbox, like ``https://api.stripe.com``.
        Without a ``webhook_secret`` every webhook is refused.

        ``shop`` is the tag that payments get. Of the payments on the account only those with this
        tag or one of ``former_shops`` are found, listed and read from webhooks. Without ``shop``
        payments get no tag, and those of all shops are seen.

        Without a ``pace`` calls are made at once.

        ``count_failure`` is called with the cause of each failed call, as ``cause_of`` returns it.

        Opens no connection.
        """
        self._clock = StripesClock()
        # Otherwise the SDK tells Stripe this host's name and keeps an id in the home directory.
        stripe.enable_telemetry = False
        self._client = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base.rstrip("/")},
            # Whether to retry is the use case's decision.
            max_network_retries=0,
            http_client=stripe.RequestsClient(
                timeout=(connect_timeout_s, read_timeout_s),
                session=shared_session(max_calls, self._clock.set_by),
            ),
        )
        self._refunds = self._client.v1.refunds
        self._webhook_secret = webhook_secret
        self._shop = Shop(shop, former_shops)
        self._logged_at_s: LRUCache[float] = LRUCache(CAUSES_KEPT)
        self._max_wait_s = max_wait_s
        self._pace = pace
        self._count_failure = count_failure
        self._turns = threading.BoundedSemaphore(max_calls)

    def authorize(
        self,
        key: str,
        amount_minor: int,
        currency: str,
        payment_method: str,
        metadata: Mapping[str, str],
        way_back: WayBack,
    ) -> GatewayPayment:
        """Reserve ``amount_minor`` of ``currency`` (ISO 4217, any case).

        Stripe keeps the response to ``key`` for a day, even a decline or a 500: repeating the call
        after OutcomeUnknown may return the same 500, and only ``find`` can tell more.

        Raises PaymentDeclined, InvalidRequest, NotExecuted or OutcomeUnknown. The log says why
        Stripe refuses payments.
        """
        wanted: PaymentIntentCreateParams = {
            # In the minor unit that web/domain/currencies.py counts, which is Stripe's.
            "amount": amount_minor,
            "currency": currency.lower(),
            "capture_method": "manual",
            "confirm": True,
            # Apple Pay and Google Pay are cards, too.
            "allowed_payment_method_types": ["card", "link"],
            "return_url": way_back.return_url,
            # Not left to Stripe: it is true by default with a confirmation token.
            "use_stripe_sdk": way_back.in_page,
            "metadata": {**metadata, **self._shop.metadata, KEY_FIELD: key},
        }
        if payment_method.startswith(TOKEN_PREFIX):
            wanted["confirmation_token"] = payment_method
        else:
            wanted["payment_method"] = payment_method

        def create() -> GatewayPayment:
            intent = self._post(INTENTS, idempotency_key=key, **wanted)
            payment = payment_of_intent(intent)
            if payment.status not in ("authorized", "action_required"):
                raise OutcomeUnknown(
                    f"payment {intent.id} is {intent.status} after its authorization"
                )
            return payment

        try:
            return self._call("create", create)
        except (NotAccepted, NotAllowed) as refused:
            if is_too_much_for_the_card(refused, amount_minor):
                raise PaymentDeclined("amount_too_large", TOO_MUCH_FOR_CARD) from refused
            if isinstance(refused.__cause__, stripe.StripeError):
                amount = currency_of(currency.upper()).written(amount_minor)
                event_id = metadata.get("event", "an unknown event")
                self._log_refusal(refused.__cause__, event_id, amount)
            raise

    def retire(self, key: str, amount_minor: int, currency: str, fingerprint: str) -> None:
        """As the port says. Relies on Stripe's rule that a key may only be used with the parameters
        of its first call: https://docs.stripe.com/api/idempotent_requests. The intent has no
        payment method, is never confirmed, and is cancelled at once."""
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
        intent_id = self._call(
            "create", lambda: self._post(INTENTS, idempotency_key=key, **wanted).id
        )
        # The key is used up already. Cancelling only keeps Stripe's dashboard clear for people.
        self._bring_to("canceled", intent_id, "cancel")

    def retrieve(self, payment_id: str) -> GatewayPayment:
        """As the port says. Raises NotExecuted when there is no such payment."""
        wanted: PaymentIntentRetrieveParams = {"expand": ["latest_charge"]}
        return self._call(
            "retrieve", lambda: payment_of_intent(self._retrieved(payment_id, **wanted))
        )

    def capture(self, payment_id: str) -> None:
        """Take the reserved money, all of it. Raises NotExecuted when it was released before, or
        there is no such payment; otherwise as the port says."""
        self._bring_to("succeeded", payment_id, "capture")

    def void(self, payment_id: str) -> None:
        """Release the reserved money, or what could still be reserved. Raises NotExecuted when it
        was taken before, or there is no such payment; otherwise as the port says."""
        self._bring_to("canceled", payment_id, "cancel")

    def refund(self, payment_id: str, key: str) -> None:
        """As the port says. A refund may be pending at the bank for days; that counts as done.
        Raises NotExecuted when no money was captured, or the cardholder has disputed the charge."""
        self._refund(payment_id, lambda: self._create_refund(payment_id, key))

    def refund_part(self, payment_id: str, amount_minor: int, key: str) -> None:
        """As the port says, and as ``refund``: also raises NotExecuted when this refund failed at
        the bank later."""
        self._refund(payment_id, lambda: self._create_part_refund(payment_id, amount_minor, key))

    def _refund(self, payment_id: str, create: Callable[[], str | None]) -> None:
        try:
            status = self._call("refund", create)
        except PaymentDeclined as declined:
            raise NotExecuted(f"the card of payment {payment_id} takes no refund") from declined
        if status in ("failed", "canceled"):
            raise NotExecuted(f"the refund of payment {payment_id} is {status}")
        if status not in ("succeeded", "pending"):
            raise OutcomeUnknown(f"the refund of payment {payment_id} is {status}")

    def now(self) -> datetime:
        """As the port says: by the Date of Stripe's last response; makes a call if there was none
        yet."""
        if not self._clock.is_known:
            self._call("list", lambda: self._page(INTENTS, Intent, limit=1))
        return self._clock.now()

    def find(self, key: str, since: datetime) -> GatewayPayment | None:
        """As the port says. A request that is still on its way leaves no payment to find."""
        return self.find_all([key], since).get(key)

    def find_all(self, keys: Collection[str], since: datetime) -> dict[str, GatewayPayment]:
        """As the port says, and as ``find``."""
        missing, found = set(keys), {}
        # Not Stripe's search, which finds a payment only up to a minute later.
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

    def refunded(self, since: datetime) -> Iterator[GatewayPayment]:
        """As the port says."""
        wanted: RefundListParams = {
            "created": {"gte": int(since.timestamp())},
            "limit": PAGE_SIZE,
            "expand": ["data.payment_intent", "data.charge"],
        }
        for refund in self._listed("refund", REFUNDS, Refund, **wanted):
            intent = refund.payment_intent
            if intent and self._shop.owns(intent.metadata) and status_of(intent):
                yield payment_of_intent(
                    msgspec.structs.replace(intent, latest_charge=refund.charge)
                )

    def _made_since(self, since: datetime) -> Iterator[GatewayPayment]:
        """Includes the intents of retired keys."""
        for intent in self._created_since(since):
            if self._shop.owns(intent.metadata) and status_of(intent):
                yield payment_of_intent(intent)

    def verify_webhook(self, payload: bytes, signature: str) -> None:
        """As the port says; ``signature`` is the header Stripe-Signature."""
        webhooks.verify(payload, signature, self._webhook_secret)

    def read_webhook(self, payload: bytes, signature: str) -> GatewayPayment | None:
        """As the port says; ``signature`` is the header Stripe-Signature. An event does not say
        whether a captured payment was refunded since, and in the event of a refund ``created`` is
        the time of the charge."""
        self.verify_webhook(payload, signature)
        return webhooks.read(payload, self._shop)

    def _log_refusal(self, error: stripe.StripeError, event_id: str, amount: str) -> None:
        cause = error.code or getattr(error.error, "code", None) or error.http_status
        if self._is_due(f"{event_id} {cause}", LOG_AGAIN_S):
            log.error(
                "Stripe refuses payments for %s, now one of %s: %s, %s",
                event_id,
                amount,
                cause,
                error,
            )

    def _record_failure(self, error: GatewayError) -> None:
        cause = cause_of(error)
        self._count_failure(cause)
        if self._is_due(cause, LOG_FAILURE_AGAIN_S):
            log.warning("a call of the payment gateway failed, %s: %s", cause, error)

    def _is_due(self, name: str, again_s: float) -> bool:
        """Whether nothing was logged under this name for ``again_s``."""
        now_s = time.monotonic()
        logged_at_s = self._logged_at_s.get(name)
        if logged_at_s is not None and now_s <= logged_at_s + again_s:
            return False
        self._logged_at_s.put(name, now_s)
        return True

    def _create_refund(self, payment_id: str, key: str) -> str | None:
        """The status of the refund. It has no amount and so returns everything that is left: Stripe
        itself refuses a second one, even a day later when it has forgotten the key."""
        wanted: RefundCreateParams = {"payment_intent": payment_id}
        try:
            try:
                return self._refunds.create(wanted, {"idempotency_key": key}).status
            except stripe.StripeError as error:
                if not was_kept(error):
                    raise
                # A stored failure says nothing about the present: try again without the key.
                return self._refunds.create(wanted).status
        except stripe.InvalidRequestError as error:
            if error.code != "charge_already_refunded":
                raise
            return "succeeded"

    def _create_part_refund(self, payment_id: str, amount_minor: int, key: str) -> str | None:
        """The status of the refund. Stripe forgets the key after a day, so the refund carries it:
        the payment's own list of refunds says whether it was made."""
        earlier = self._refunds.list({"payment_intent": payment_id, "limit": PAGE_SIZE})
        for refund in earlier.auto_paging_iter():
            if refund.metadata and refund.metadata.to_dict().get(REFUND_FIELD) == key:
                return refund.status
        wanted: RefundCreateParams = {
            "payment_intent": payment_id,
            "amount": amount_minor,
            "metadata": {REFUND_FIELD: key},
        }
        try:
            return self._refunds.create(wanted, {"idempotency_key": key}).status
        except stripe.StripeError as error:
            if error.code == "charge_already_refunded":
                return "succeeded"
            if not was_kept(error):
                raise
            # A stored failure, and the list does not have its refund. Not without any key: another
            # process may be doing the same.
            return self._refunds.create(wanted, {"idempotency_key": f"{key}-again"}).status

    def _bring_to(self, status: str, payment_id: str, call: Literal["cancel", "capture"]) -> None:
        """Sends no idempotency key: the state of the payment makes these calls repeatable, and with
        a key a stored 500 would be repeated for a day."""
        path = f"{_path_of(payment_id)}/{call}"
        try:
            found = self._call(call, lambda: self._post(path).status)
        except (NotAccepted, PaymentDeclined) as refused:
            found = self._call("retrieve", lambda: self._retrieved(payment_id).status)
            if found != status:
                raise NotExecuted(f"payment {payment_id} is {found}: {refused}") from refused
        if found != status:
            raise OutcomeUnknown(f"payment {payment_id} is {found}, not {status}")

    def _created_since(self, since: datetime) -> Iterator[Intent]:
        wanted: PaymentIntentListParams = {
            "created": {"gte": int(since.timestamp())},
            "limit": PAGE_SIZE,
            # A PaymentIntent does not say whether it was refunded; its charge does.
            "expand": ["data.latest_charge"],
        }
        return self._listed("list", INTENTS, Intent, **wanted)

    def _listed(
        self, endpoint: Endpoint, path: str, kind: type[Listed], **wanted: Any
    ) -> Iterator[Listed]:
        """Page by page: a turn is held only for each call, not while the caller works."""
        while True:
            page = self._call(endpoint, lambda: self._page(path, kind, **wanted))
            yield from page.data
            if not page.has_more:
                return
            wanted["starting_after"] = page.data[-1].id

    # Without the SDK's objects, which take longer than all the rest of a call.

    def _post(self, path: str, **parameters: Any) -> Intent:
        response = self._client.raw_request("post", path, **parameters)
        return msgspec.convert(response.data, Intent)

    def _retrieved(self, payment_id: str, **parameters: Any) -> Intent:
        response = self._client.raw_request("get", _path_of(payment_id), **parameters)
        return msgspec.convert(response.data, Intent)

    def _page(self, path: str, kind: type[Listed], **parameters: Any) -> Page[Listed]:
        response = self._client.raw_request("get", path, **parameters)
        page: Page[Listed] = msgspec.convert(response.data, Page[kind])  # type: ignore[valid-type]
        if page.has_more and not page.data:
            raise OutcomeUnknown("an empty page of the list claims that there are more")
        return page

    def _call(self, endpoint: Endpoint, call: Callable[[], _Result]) -> _Result:
        """Makes one call of the SDK when it is its turn, and reads its response; counts and logs a
        failure."""
        try:
            return self._retry_while_busy(call, self._wait_for_turn(endpoint))
        except (NotAccepted, KeyUsed):
            raise
        except GatewayError as error:
            self._record_failure(error)
            raise

    def _wait_for_turn(self, endpoint: Endpoint) -> float:
        """Returns until when the call may be begun, on the monotonic clock. Raises TooBusy."""
        until_s = time.monotonic() + self._max_wait_s
        if self._pace is None:
            return until_s
        self._pace.wait_for_turn(endpoint, self._max_wait_s)
        return max(until_s, time.monotonic() + LEAST_RETRY_S)

    def _retry_while_busy(self, call: Callable[[], _Result], until_s: float) -> _Result:
        """While Stripe reports too many requests, or a lock on the same object, it has done
        nothing: try again until ``until_s``. Others make their calls meanwhile."""
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
        """Waits for a turn, until ``until_s`` on the monotonic clock, and translates errors into
        those of the port."""
        if not self._turns.acquire(timeout=max(0.0, until_s - time.monotonic())):
            raise TooBusy("too many calls to the gateway are under way")
        try:
            yield
        except stripe.StripeError as error:
            raise meaning_of(error) from error
        except GatewayError:
            raise
        except Exception as error:
            # The SDK fails on a response that is JSON but not Stripe's.
            raise OutcomeUnknown(f"{type(error).__name__}: {error}") from error
        finally:
            self._turns.release()


def _path_of(payment_id: str) -> str:
    return f"{INTENTS}/{quote(payment_id, safe='')}"
