"""Parameters in Stripe's form encoding: ``metadata[hold]=7`` is a field of a field."""

import re
from collections.abc import Iterable
from typing import Any

from ops.sandbox.errors import ApiError, invalid_request

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_INTEGER = re.compile(r"-?[0-9]{1,18}")

MAX_METADATA = 50
MAX_METADATA_NAME = 40
MAX_METADATA_VALUE = 500
"""Stripe's bounds: https://docs.stripe.com/api/metadata."""


def decode(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Nested dicts of strings. A list (``types[]=card`` or ``types[0]=card``) is a dict by
    position, ``{"0": "card"}``. Of a name that comes twice the last counts.

    Raises ApiError when a name is no name, or is both a value and a group.
    """
    decoded: dict[str, Any] = {}
    for name, value in pairs:
        match = _NAME.fullmatch(name)
        if match is None:
            raise invalid_request(f"Invalid parameter name: {name}", param=name)
        *groups, last = [match[1], *re.findall(r"\[(.*?)\]", match[2])]
        target = decoded
        for group in groups:
            target = target.setdefault(group, {})
            if not isinstance(target, dict):
                raise invalid_request("Invalid object", param=name)
        if isinstance(target.get(last), dict):
            raise invalid_request("Invalid string", param=name)
        target[last or str(len(target))] = value
    return decoded


class Parameters:
    """The parameters of one call. Each is taken once; what is left when everything that the call
    knows was taken is unknown to it."""

    def __init__(self, pairs: Iterable[tuple[str, str]]):
        self._values = decode(pairs)

    def text(self, name: str, choices: tuple[str, ...] = ()) -> str | None:
        value = self._values.pop(name, None)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise invalid_request("Invalid string", param=name)
        if choices and value not in choices:
            message = f"Invalid {name}: must be one of {', '.join(choices)}"
            raise invalid_request(message, param=name)
        return value

    def flag(self, name: str) -> bool:
        return self.text(name, ("true", "false")) == "true"

    def integer(self, name: str) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not _INTEGER.fullmatch(value):
            raise invalid_request(
                f"Invalid integer: {value}", "parameter_invalid_integer", param=name
            )
        return int(value)

    def group(self, name: str) -> dict[str, str]:
        """Raises ApiError when there is a value, or a group in the group."""
        values = self._values.pop(name, {})
        if not isinstance(values, dict) or any(isinstance(v, dict) for v in values.values()):
            raise invalid_request("Invalid object", param=name)
        return values

    def metadata(self) -> dict[str, str]:
        metadata = self.group("metadata")
        if len(metadata) > MAX_METADATA:
            raise invalid_request(f"Metadata has more than {MAX_METADATA} keys", param="metadata")
        for name, value in metadata.items():
            if len(name) > MAX_METADATA_NAME or len(value) > MAX_METADATA_VALUE:
                raise invalid_request(
                    f"Metadata has a key longer than {MAX_METADATA_NAME} or a value longer than "
                    f"{MAX_METADATA_VALUE} characters",
                    param=f"metadata[{name}]",
                )
        return metadata

    def require_no_more(self) -> None:
        """Raises ApiError for a parameter that was not taken."""
        for name in self._values:
            raise _unknown(name)


def _unknown(name: str) -> ApiError:
    if name == "payment_method_types":
        # https://docs.stripe.com/changelog/endive/2026-09-30
        return invalid_request(
            "payment_method_types is no longer supported; use automatic_payment_methods",
            "payment_method_types_no_longer_supported",
            name,
        )
    return invalid_request(f"Received unknown parameter: {name}", "parameter_unknown", name)
