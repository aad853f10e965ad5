"""Ids like Stripe's."""

import secrets


def new_id(prefix: str) -> str:
    """The prefix, ``_`` and 24 hexadecimal digits: ``pi_4f…``."""
    return f"{prefix}_{secrets.token_hex(12)}"
