"""How a shop knows its own payments in a gateway's ledger, which another deployment may share."""

import hashlib
import hmac

TAG_DIGITS = 16
"""64 bits: no two shops of one account will ever have the same."""


def shop_tag(secret_key: str) -> str:
    """The same wherever ``secret_key`` is, and without a way back to it. Every payment has it in
    its metadata: with another derivation the worker would not find those that are under way."""
    return hmac.digest(secret_key.encode(), b"shop", hashlib.sha256).hex()[:TAG_DIGITS]
