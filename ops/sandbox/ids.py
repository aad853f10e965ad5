"""Ids like Stripe's."""

import secrets


def new_id(prefix: str) -> str:
    """``pi_`` and 24 characters, say."""
    return f"{prefix}_{secrets.token_hex(12)}"
