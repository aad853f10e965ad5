"""Ids of holds, the tokens that prove who made them, and tags that stand for clients' addresses."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from sidecar.client_address import network_key
from web.domain.sales import HoldRef

TAG_CHARACTERS = 16
"""96 bits: no two clients of a sale will ever have the same."""


class HoldTokens:
    """A hold's token is an HMAC of its id under the service's secret key. So it need not be stored,
    it is verified before any store is queried, and it gives access to the hold's booking even if
    Redis has lost the hold. ``fallbacks`` are former keys: old tokens keep working."""

    def __init__(self, secret_key: str, fallbacks: Sequence[str] = ()):
        # Copied for each signature: to begin with a key takes as long as the rest of it.
        self._macs = [
            hmac.new(key.encode(), digestmod=hashlib.sha256) for key in (secret_key, *fallbacks)
        ]

    def new_hold_id(self, epoch: str) -> str:
        """Unguessable, although it appears in URLs: ``hld_``, 80 random bits and the epoch of the
        event (``EventCatalogue.epoch``)."""
        return "_".join(filter(None, ("hld", secrets.token_hex(10), epoch)))

    def token_of(self, event_id: str, hold_id: str) -> str:
        return self._sign(self._macs[0], "hold", event_id, hold_id)

    def payment_key_of(self, event_id: str, hold_id: str, payments: int) -> str:
        """The idempotency key that a payment form carries: the same in every tab and after every
        reload, and a new one once a payment of the hold was begun and undone, because that is the
        final result for its key."""
        return self._sign(self._macs[0], "payment", event_id, hold_id, str(payments))

    def ref_of(self, event_id: str, hold_id: str) -> HoldRef:
        """With its token, for a client that has proved in another way that the hold is its own."""
        return HoldRef(event_id, hold_id, self.token_of(event_id, hold_id))

    def is_valid(self, ref: HoldRef) -> bool:
        """Whether the token is that of the hold."""
        given = ref.token.encode()
        return any(
            hmac.compare_digest(self._sign(mac, "hold", ref.event_id, ref.hold_id).encode(), given)
            for mac in self._macs
        )

    def client_tag(self, client: str) -> str:
        """Stands for a client wherever its unpaid seats are counted: in Redis, and in a payment's
        metadata at the gateway. Keyed, because there are few enough addresses to try them all."""
        return self._sign(self._macs[0], "client", client)[:TAG_CHARACTERS]

    def network_tag(self, client: str) -> str:
        """The same for the network of a client; "" when it has none."""
        network = network_key(client)
        return self._sign(self._macs[0], "network", network)[:TAG_CHARACTERS] if network else ""

    def _sign(self, mac: hmac.HMAC, *parts: str) -> str:
        """``parts`` have no line breaks, except in values forged by clients, which never match."""
        signature = mac.copy()
        signature.update("\n".join(parts).encode())
        return base64.urlsafe_b64encode(signature.digest()).rstrip(b"=").decode()
