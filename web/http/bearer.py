"""Tokens of operators, sent as ``Authorization: Bearer …`` and compared in constant time."""

import hmac
from collections.abc import Mapping
from typing import Any


def has_token(environ: Mapping[str, Any], token: str) -> bool:
    """Whether a request has this token, of ASCII characters; no request has an empty one."""
    scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if not token or scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip(" ").encode("latin-1", "replace"), token.encode("ascii"))
