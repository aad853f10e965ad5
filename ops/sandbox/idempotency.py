"""At most one effect for an idempotency key: https://docs.stripe.com/api/idempotent_requests.

Keys are kept for as long as the ledger exists; Stripe may remove them after 24 hours.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from ops.sandbox.errors import Answer, ApiError, answer_of
from ops.sandbox.ledger import Ledger

MAX_KEY_LENGTH = 255


@dataclass(frozen=True)
class Identity:
    """Two requests are the same if they have the same key, endpoint and parameters."""

    key: str
    endpoint: str
    fingerprint: str

    @classmethod
    def of(cls, key: str, endpoint: str, pairs: list[tuple[str, str]]) -> "Identity":
        """``pairs`` are the parameters as they came; their order does not matter.

        Raises ApiError when the key is empty or too long.
        """
        if not 1 <= len(key) <= MAX_KEY_LENGTH:
            raise ApiError(
                400,
                "idempotency_error",
                f"Idempotent key length is {len(key)} characters long, which is outside accepted "
                f"lengths. Idempotent Keys must be 1-{MAX_KEY_LENGTH} characters long. If you're "
                "looking for a decent generator, try using a UUID defined by IETF RFC 4122.",
            )
        fingerprint = hashlib.sha256(repr(sorted(pairs)).encode()).hexdigest()
        return cls(key, endpoint, fingerprint)


class Executor:
    """Executes the calls that change something.

    Which keys are under way is stored only in memory: in the ledger it would outlive a killed
    process, and the key would be under way for ever.
    """

    def __init__(self, ledger: Ledger):
        self._ledger = ledger
        self._under_way: set[str] = set()

    def execute(
        self, identity: Identity | None, effect: Callable[[], Answer], takes_s: float = 0.0
    ) -> Answer:
        """Wait ``takes_s`` seconds, then commit the effect and its answer together; or repeat the
        answer that the key got before. An ApiError of the effect is an answer too; the effect must
        raise it before it writes anything.

        Raises ApiError, which is not stored, when the key is under way or was used for another
        request.
        """
        if identity is None:
            return self._commit(None, effect, takes_s)
        if stored := self._ledger.answer(identity.key):
            _require_same_request(identity, stored.endpoint, stored.fingerprint)
            return stored.answer
        if identity.key in self._under_way:
            raise ApiError(
                409,
                "idempotency_error",
                "There is currently another in-progress request using this Idempotent Key (that "
                "probably means you submitted twice, and the other request is still going "
                f"through): {identity.key}. Please try again later.",
                "idempotency_key_in_use",
            )
        self._under_way.add(identity.key)
        try:
            return self._commit(identity, effect, takes_s)
        finally:
            self._under_way.remove(identity.key)

    def _commit(
        self, identity: Identity | None, effect: Callable[[], Answer], takes_s: float
    ) -> Answer:
        if takes_s:
            time.sleep(takes_s)
        with self._ledger.transaction():
            answer = answer_of(effect)
            if identity is not None:
                self._ledger.remember(identity.key, identity.endpoint, identity.fingerprint, answer)
        return answer


def _require_same_request(identity: Identity, endpoint: str, fingerprint: str) -> None:
    if identity.endpoint != endpoint:
        used_for = f"for the same endpoint they were first used for ('{identity.endpoint}' vs "
        used_for += f"'{endpoint}')"
    elif identity.fingerprint != fingerprint:
        used_for = "with the same parameters they were first used with"
    else:
        return
    raise ApiError(
        400,
        "idempotency_error",
        f"Keys for idempotent requests can only be used {used_for}. Try using a key other than "
        f"'{identity.key}' if you meant to execute a different request.",
    )
