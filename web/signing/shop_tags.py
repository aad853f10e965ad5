"""How a shop recognises its own payments in a gateway account that it may share with others."""

import hashlib
import hmac

TAG_DIGITS = 16
"""64 bits: no two shops of one account will ever have the same."""


def shop_tag(secret_key: str) -> str:
    """The same for every process with this ``secret_key``, which cannot be derived from it. Every
    payment has it in its metadata: with another derivation the worker would not find payments in
    progress."""
    return hmac.digest(secret_key.encode(), b"shop", hashlib.sha256).hex()[:TAG_DIGITS]
