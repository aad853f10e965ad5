"""Stripe as the payment gateway: PaymentIntents with manual capture, through the official SDK.

What may have happened is decided here and nowhere else. An answer of Stripe's that says no is
NotExecuted or a refusal; so is a connection that was never made. Everything else that goes wrong
once the request may have left this host is OutcomeUnknown.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Annotated, TypeVar

import msgspec
import requests
import stripe
from msgspec import Meta
from requests.adapters import HTTPAdapter
from stripe import PaymentIntent
from stripe.params import (
    PaymentIntentCreateParams,
    PaymentIntentListParams,
    RefundCreateParams,
)
from urllib3.exceptions import NewConnectionError

from web.domain.currencies import MAX_DIGITS_OF_EVERY_CARD, currency_of
from web.domain.refusals import InvalidRequest, PaymentDeclined
from web.ports.payment_gateway import (
    BadSignature,
    GatewayError,
    GatewayPayment,
    GatewayStatus,
    KeyUsed,
    NotAccepted,
    NotAllowed,
    NotExecuted,
    OutcomeUnknown,
    TooBusy,
)
from web.utils.lru_cache import LRUCache

CONNECT_TIMEOUT_S = 2.0
"""A handshake takes milliseconds; a lost packet is sent again after one second. Who waits longer
waits for a host that is not there, and nothing has been sent yet."""

READ_TIMEOUT_S = 8.0
"""Banks take up to a few seconds. Beyond that the buyer is better served by "we do not know yet"
than by a spinner."""

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

KEY_FIELD = "payment_key"
"""The metadata field that says which key made a payment: Stripe does not list payments by
idempotency key."""

SHOP_FIELD = "payment_shop"
"""The metadata field that says which shop made a payment: staging and production may share an
account, and neither has the bookings of the other."""

RETIRED_FIELD = "payment_retired"
"""The metadata field of an intent that no card was ever given to. It uses up the idempotency key of
a payment that must not be made any more."""

MAX_SIGNATURE_LENGTH = 1024
"""Of the header Stripe-Signature. Stripe writes 80 characters, and 70 more for each further secret
while one is replaced; each signature in it is compared."""

WEBHOOK_TOLERANCE_S = 300
"""How old a signature may be, as Stripe advises: https://docs.stripe.com/webhooks#replay-attacks.
Who tries again later signs again."""

NEEDS_OWNER = (
    "This card asks its owner to confirm the payment, which is not offered here. "
    "Please use another card."
)

TOO_MUCH_FOR_CARD = (
    "This kind of card cannot be charged so large an amount. Please use another card."
)

NOT_FOR_BUYERS = frozenset(
    {"fraudulent", "lost_card", "merchant_blacklist", "pickup_card", "stolen_card"}
)
"""Reasons that Stripe says not to tell: they would tell a thief what the bank knows.
https://docs.stripe.com/declines/codes"""

_STATUSES: dict[str, GatewayStatus] = {
    "requires_capture": "authorized",
    "succeeded": "captured",
    "canceled": "voided",
    # No money is reserved, and none will be: only who has the client secret could go on.
    "requires_payment_method": "declined",
    "requires_confirmation": "declined",
    "requires_action": "declined",
}
"""The one status that is missing is ``processing``: nobody knows yet."""

_NOT_LET_IN = (401, 403)
"""A key that is wrong, revoked or restricted, an account that is closed or may not charge."""

_OF_THE_CARD = frozenset(
    {
        "payment_intent_incompatible_payment_method",
        "payment_method_currency_mismatch",
        "payment_method_not_available",
        "payment_method_unexpected_state",
        "payment_method_unsupported_type",
    }
)
"""Codes of a request that another payment method would make good.
https://docs.stripe.com/error-codes"""

_USED_BEFORE = "may not be used again"
"""Of Stripe's error about a PaymentMethod that was charged before; it has neither code nor param.
Without a customer, and we have none, a PaymentMethod is for one charge."""

CAUSES_KEPT = 1000
TELL_AGAIN_S = 3600
"""One line of the log for each event and cause of refused payments, and another when it lasts this
long: each of ten thousand buyers meets it."""

TELL_OF_FAILURE_AGAIN_S = 60
"""As above, for each cause of calls that fail."""

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")


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
        tag or one of ``former_shops`` are found, listed and told. Without it payments get none,
        and those of all shops are seen.

        ``count_failure`` hears the cause of each call that has no answer that helps, as
        ``_cause_of`` names it.

        Opens no connection.
        """
        self._clock = _StripesClock()
        # Otherwise the SDK names this host to Stripe and keeps an id in the home directory.
        stripe.enable_telemetry = False
        client = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base.rstrip("/")},
            # Whether to ask again is the use case's decision.
            max_network_retries=0,
            http_client=stripe.RequestsClient(
                timeout=(connect_timeout_s, read_timeout_s),
                session=_shared_session(max_calls, self._clock.hear),
            ),
        )
        self._intents = client.v1.payment_intents
        self._refunds = client.v1.refunds
        self._webhook_secret = webhook_secret
        self._tag = {SHOP_FIELD: shop} if shop else {}
        self._shops = frozenset((shop, *former_shops)) if shop else None
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

        Stripe keeps the answer to ``key`` for a day, a decline and a 500 too: asking again after
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
            "metadata": {**metadata, **self._tag, KEY_FIELD: key},
        }

        def create() -> GatewayPayment:
            intent = self._intents.create(wanted, {"idempotency_key": key})
            authorization = _authorization(intent)
            if authorization.status != "authorized":
                raise OutcomeUnknown(
                    f"payment {intent.id} is {intent.status} after its authorization"
                )
            return authorization

        try:
            return self._ask(create)
        except (NotAccepted, NotAllowed) as refused:
            if _is_too_much_for_the_card(refused, amount_minor):
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
                **self._tag,
                KEY_FIELD: key,
                RETIRED_FIELD: "true",
                "fingerprint": fingerprint,
            },
        }
        intent_id = self._ask(lambda: self._intents.create(wanted, {"idempotency_key": key}).id)
        # The key is used up already. The cancellation is for whoever reads the list at Stripe.
        self._bring_to("canceled", intent_id, self._intents.cancel)

    def capture(self, payment_id: str) -> None:
        """Take the reserved money, all of it. Raises NotExecuted when it was let go before, or
        there is no such payment; otherwise as the port says."""
        self._bring_to("succeeded", payment_id, self._intents.capture)

    def void(self, payment_id: str) -> None:
        """Let the reserved money go. Raises NotExecuted when it was taken before, or there is no
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
        """As the port says: by the Date of Stripe's last answer, and of one more call when there
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
        for authorization in self._made_since(since - CLOCK_SKEW) if missing else ():
            if authorization.key in missing:
                missing.remove(authorization.key)
                found[authorization.key] = authorization
            if not missing:
                break
        return found

    def list(self, since: datetime) -> Iterator[GatewayPayment]:
        """As the port says. Payments on the same account that are not ours are left out, and so
        are those that Stripe is still processing."""
        for authorization in self._made_since(since):
            if RETIRED_FIELD not in authorization.metadata:
                yield authorization

    def _made_since(self, since: datetime) -> Iterator[GatewayPayment]:
        """With the keys that were retired."""
        for intent in self._created_since(since):
            if self._key_of(intent.metadata.to_dict()) and _status_of(intent):
                yield _authorization(intent)

    def verify_webhook(self, payload: bytes, signature: str) -> None:
        if len(signature) > MAX_SIGNATURE_LENGTH:
            raise BadSignature(f"the signature has more than {MAX_SIGNATURE_LENGTH} characters")
        try:
            stripe.WebhookSignature.verify_header(
                payload, signature, self._webhook_secret, WEBHOOK_TOLERANCE_S
            )
        except (stripe.SignatureVerificationError, UnicodeDecodeError, TypeError) as error:
            # A payload that is not UTF-8, or a signature that is not ASCII.
            raise BadSignature(str(error)) from error

    def read_webhook(self, payload: bytes, signature: str) -> GatewayPayment | None:
        """As the port says; ``signature`` is the header Stripe-Signature. Told are authorisations,
        declines, captures, voids and refunds. An event does not say whether a captured payment was
        refunded since, and one of a refund has the moment of the charge as ``created``."""
        self.verify_webhook(payload, signature)
        try:
            event = msgspec.json.decode(payload, type=_Event)
            kind = _EVENTS.get(event.type)
            if kind is None:
                return None
            told: _Told = msgspec.json.decode(event.data.object, type=kind)
        except (msgspec.DecodeError, RecursionError):
            return None
        is_payment = self._key_of(told.metadata) and RETIRED_FIELD not in told.metadata
        return told.authorization() if is_payment else None

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
        cause = _cause_of(error)
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

    def _key_of(self, metadata: Mapping[str, str]) -> str | None:
        """None when it is no payment of ours. To a shop with a tag one without is not: to overlook
        one of ours leaves money reserved for some days, to refund one of theirs undoes a sale."""
        is_ours = self._shops is None or metadata.get(SHOP_FIELD) in self._shops
        return metadata.get(KEY_FIELD) if is_ours else None

    def _create_refund(self, payment_id: str, key: str) -> str | None:
        """The status of the refund. It is of all that is left to give back, so that Stripe itself
        refuses a second one, also a day later when it has forgotten the key."""
        wanted: RefundCreateParams = {"payment_intent": payment_id}
        try:
            try:
                return self._refunds.create(wanted, {"idempotency_key": key}).status
            except stripe.StripeError as error:
                if not _was_kept(error):
                    raise
                # What failed before says nothing about now: ask anew.
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

    def _ask(self, call: Callable[[], _Answer]) -> _Answer:
        """One call of the SDK and the reading of its answer; a failure is counted and logged."""
        try:
            return self._ask_until_answered(call)
        except (NotAccepted, KeyUsed):
            raise
        except GatewayError as error:
            self._fail(error)
            raise

    def _ask_until_answered(self, call: Callable[[], _Answer]) -> _Answer:
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
            raise _meaning_of(error) from error
        except GatewayError:
            raise
        except Exception as error:
            # The SDK stumbles over an answer that is JSON and yet not Stripe's.
            raise OutcomeUnknown(f"{type(error).__name__}: {error}") from error
        finally:
            self._turns.release()


def _meaning_of(error: stripe.StripeError) -> GatewayError | PaymentDeclined | InvalidRequest:
    text = _line_of(error)
    if isinstance(error, stripe.CardError):
        return _decline(error.error)
    if isinstance(error, stripe.InvalidRequestError):
        if _USED_BEFORE in text:
            return InvalidRequest(
                "payment_method", "was used for a payment before: enter the card again"
            )
        if error.param == "payment_method" or error.code in _OF_THE_CARD:
            return InvalidRequest("payment_method", error.user_message or text)
        return NotAccepted(text)
    if error.http_status in _NOT_LET_IN:
        return NotAllowed(text)
    if error.http_status == HTTPStatus.TOO_MANY_REQUESTS:
        return TooBusy(text)
    if _never_connected(error):
        return NotExecuted(text)
    if isinstance(error, stripe.IdempotencyError):
        return KeyUsed(text)
    # Among the rest: 409, the key is under way.
    return OutcomeUnknown(text)


def _cause_of(error: GatewayError) -> str:
    """Why a call failed, in one word: for the metric and the log."""
    if isinstance(error, NotAllowed):
        return "not_allowed"
    if isinstance(error, TooBusy):
        return "rate_limited" if error.__cause__ else "too_many_calls"
    reason = error.__cause__
    if isinstance(reason, stripe.APIConnectionError):
        if isinstance(reason.__cause__, requests.Timeout):
            return "timeout"
        return "not_connected" if _never_connected(reason) else "connection_lost"
    if isinstance(reason, stripe.StripeError) and (reason.http_status or 0) >= 500:
        return "server_error"
    return "other"


def _is_too_much_for_the_card(refused: GatewayError, amount_minor: int) -> bool:
    """Whether another card may be charged the amount: networks differ in the digits they take."""
    error = refused.__cause__
    return (
        isinstance(error, stripe.InvalidRequestError)
        and error.code == "amount_too_large"
        and amount_minor >= 10**MAX_DIGITS_OF_EVERY_CARD
    )


def _line_of(error: stripe.StripeError) -> str:
    """What happened, for logs and terminals. Of a connection the SDK says in three lines that one
    may write to Stripe's support, and then repeats the whole call."""
    if not isinstance(error, stripe.APIConnectionError):
        return " ".join(str(error).split())
    cause = error.__cause__
    reason = getattr(cause.args[0], "reason", cause) if cause and cause.args else cause or error
    said = " ".join(str(reason).split())
    return f"no connection to the payment gateway: {said.partition('): ')[2] or said}"


def _decline(error: object) -> PaymentDeclined:
    """``error`` as in the answer to the charge, and as Stripe keeps it with the intent."""
    code, decline_code, message = (
        getattr(error, name, None) for name in ("code", "decline_code", "message")
    )
    if code == "authentication_required":
        return PaymentDeclined(code, NEEDS_OWNER)
    reason = decline_code or code or "card_declined"
    return PaymentDeclined(
        "generic_decline" if reason in NOT_FOR_BUYERS else reason,
        # Stripe writes these for buyers: https://docs.stripe.com/api/errors.
        message or "Your card was declined.",
    )


def _never_connected(error: stripe.StripeError) -> bool:
    """Whether no byte of the request has left this host.

    requests raises the same ConnectionError for a connection that was refused and for one that
    broke while the answer was awaited. The difference is deeper down: urllib3's MaxRetryError,
    the argument, has a NewConnectionError (refused, unreachable, no such name) as its reason.
    """
    cause = error.__cause__
    if isinstance(cause, requests.ConnectTimeout):
        return True
    if not isinstance(cause, requests.ConnectionError) or not cause.args:
        return False
    return isinstance(getattr(cause.args[0], "reason", None), NewConnectionError)


def _was_kept(error: stripe.StripeError) -> bool:
    """Whether it is the answer that Stripe kept for the idempotency key."""
    return (error.headers or {}).get("Idempotent-Replayed") == "true"


def _read_page(
    ask: Callable[[], stripe.ListObject[PaymentIntent]],
) -> tuple[stripe.ListObject[PaymentIntent], list[PaymentIntent], bool]:
    page = ask()
    return page, page.data, page.has_more


def _status_of(intent: PaymentIntent) -> GatewayStatus | None:
    """The port's word for it; None while Stripe does not know yet. So it is with an intent that was
    made a moment ago, with its confirmation, and has neither a charge nor a refusal."""
    status = _STATUSES.get(intent.status)
    if status == "declined" and not getattr(intent, "last_payment_error", None):
        return None
    return status


def _authorization(intent: PaymentIntent) -> GatewayPayment:
    """Raises OutcomeUnknown when Stripe itself does not know yet what became of the payment."""
    status = _status_of(intent)
    if status is None:
        raise OutcomeUnknown(f"payment {intent.id} is {intent.status}")
    charge = getattr(intent, "latest_charge", None)
    # The charge of a voided payment counts as refunded too.
    if status == "captured" and getattr(charge, "refunded", False):
        status = "refunded"
    return _authorization_of(
        intent.id,
        status,
        intent.amount,
        intent.currency,
        intent.created,
        intent.metadata.to_dict(),
        _decline(intent.last_payment_error) if status == "declined" else None,
    )


def _authorization_of(
    payment_id: str,
    status: GatewayStatus,
    amount_minor: int,
    currency: str,
    created_s: int,
    metadata: dict[str, str],
    decline: PaymentDeclined | None = None,
) -> GatewayPayment:
    return GatewayPayment(
        payment_id=payment_id,
        key=metadata[KEY_FIELD],
        amount_minor=amount_minor,
        currency=currency.upper(),
        status=status,
        created=datetime.fromtimestamp(created_s, UTC),
        metadata={
            name: value for name, value in metadata.items() if name not in (KEY_FIELD, SHOP_FIELD)
        },
        decline=decline,
    )


_Moment = Annotated[int, Meta(ge=0, le=253_402_300_799)]
"""Seconds of Unix time that a datetime can hold: to the end of the year 9999."""


class _ToldObject(msgspec.Struct):
    """What an intent and a charge in a webhook have in common, as far as it is read."""

    amount: int
    currency: str
    created: _Moment
    metadata: dict[str, str]

    def told(self, payment_id: str, status: GatewayStatus | None) -> GatewayPayment | None:
        if status is None:
            return None
        return _authorization_of(
            payment_id, status, self.amount, self.currency, self.created, self.metadata
        )


class WebhookIntent(_ToldObject):
    id: str
    status: str

    def authorization(self) -> GatewayPayment | None:
        return self.told(self.id, _STATUSES.get(self.status))


class _ToldCharge(_ToldObject):
    """Its metadata are those of its intent: Stripe copies them."""

    payment_intent: str
    captured: bool
    refunded: bool

    def authorization(self) -> GatewayPayment | None:
        if not self.captured:
            return self.told(self.payment_intent, "voided" if self.refunded else None)
        return self.told(self.payment_intent, "refunded" if self.refunded else "captured")


class _EventData(msgspec.Struct):
    object: msgspec.Raw


class _Event(msgspec.Struct):
    type: str
    data: _EventData


_Told = WebhookIntent | _ToldCharge

_EVENTS: dict[str, type[_Told]] = {
    "payment_intent.amount_capturable_updated": WebhookIntent,
    "payment_intent.payment_failed": WebhookIntent,
    "payment_intent.succeeded": WebhookIntent,
    "payment_intent.canceled": WebhookIntent,
    # Also of a void, which lets go what was not captured.
    "charge.refunded": _ToldCharge,
}
"""Others, like payment_intent.created, tell of payments of which nothing has become yet."""


class _StripesClock:
    """Stripe's, by the Date of its answers (RFC 9110, 6.6.1), and by the monotonic clock since. An
    answer without one leaves this machine's clock, which is then the best there is."""

    def __init__(self) -> None:
        self.is_known = False
        self._ahead_s = time.time() - time.monotonic()

    def hear(self, answer: requests.Response, **_: object) -> None:
        """A hook of requests."""
        try:
            moment_s = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        except (KeyError, ValueError):
            if self.is_known:
                return
            moment_s = time.time()
        self.is_known = True
        self._ahead_s = moment_s - time.monotonic()

    def now(self) -> datetime:
        return datetime.fromtimestamp(int(time.monotonic() + self._ahead_s), UTC)


def _shared_session(
    max_connections: int, hear: Callable[[requests.Response], None]
) -> requests.Session:
    """One session for all greenlets. The SDK keeps one for each thread, which with gevent is one
    for each request: a new connection and a new TLS handshake every time.

    ``hear`` is told each answer. Sharing is safe because nothing in it changes after this function:
    urllib3's pool has a lock of its own, and cookies are not kept.
    """
    session = requests.Session()
    session.hooks["response"].append(hear)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    # Settings come from one place. A ~/.netrc would even replace the API key.
    session.trust_env = False
    # A redirect makes a GET of a POST.
    session.max_redirects = 0
    # No more than max_connections calls are under way, so the pool never runs dry. requests
    # retries nothing unless told to.
    session.mount("http://", HTTPAdapter(pool_maxsize=max_connections))
    session.mount("https://", HTTPAdapter(pool_maxsize=max_connections))
    return session
