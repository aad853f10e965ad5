"""The checks before every call: a secret test key, and an existing API version.
https://docs.stripe.com/api/authentication, https://docs.stripe.com/api/versioning"""

import re
from datetime import date

from flask import request

from ops.sandbox.errors import ApiError, invalid_request

API_VERSION = "2026-10-28.endive"
"""The version of all answers, whichever one is requested."""

TEST_KEY_PREFIXES = ("sk_test_", "rk_test_")
"""Of secret keys and of restricted keys, which here have every permission."""

PUBLISHABLE_KEY_PREFIX = "pk_"

SHOWN_OF_KEY = 4
"""How many last characters of a wrong key its error shows, as at Stripe: enough to recognise the
key, not enough to use it."""

_VERSION = re.compile(r"(\d{4}-\d\d-\d\d)\.[a-z]+")
"""A day and the name of a major release. Stripe also accepts versions before October 2024, which
are only a day; the sandbox does not, since it does not have their answers."""


def require_test_key() -> None:
    """Raises ApiError without a test key as bearer token or as user name of basic
    authentication."""
    given = request.authorization
    key = given and (given.token if given.type == "bearer" else given.username)
    if not key:
        raise _unauthorized(
            "You did not provide an API key. You need to provide your API key in the "
            "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer "
            "YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details, or we "
            "can help at https://support.stripe.com/."
        )
    if key.startswith(PUBLISHABLE_KEY_PREFIX):
        raise _unauthorized(
            "This API call cannot be made with a publishable API key. Please use a secret API key. "
            "You can find a list of your API keys at https://dashboard.stripe.com/account/apikeys.",
            "secret_key_required",
        )
    if not key.startswith(TEST_KEY_PREFIXES):
        raise _unauthorized(f"Invalid API Key provided: {_masked(key)}")


def asked_version() -> str:
    """The API version of the request. Raises ApiError when Stripe-Version is not a version."""
    asked = request.headers.get("Stripe-Version", API_VERSION)
    match = _VERSION.fullmatch(asked)
    if match is None or not _is_day(match[1]):
        raise invalid_request(f"Invalid Stripe API version: {asked}")
    return asked


def _unauthorized(message: str, code: str | None = None) -> ApiError:
    return invalid_request(message, code, status=401)


def _masked(key: str) -> str:
    kind = re.match("[a-z]+_[a-z]+_", key)
    begin = kind[0] if kind else ""
    rest = key[len(begin) :]
    shown = rest[-SHOWN_OF_KEY:] if len(rest) > 2 * SHOWN_OF_KEY else ""
    return f"{begin}{'*' * (len(rest) - len(shown))}{shown}"


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
