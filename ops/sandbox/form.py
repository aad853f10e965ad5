"""Parameters in Stripe's form encoding: ``metadata[hold]=7`` is a field of a field."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import stripe

from ops.sandbox.errors import ApiError, invalid_request

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_INTEGER = re.compile(r"-?[0-9]{1,18}")

Value = TypeVar("Value")

MAX_METADATA = 50
MAX_METADATA_NAME = 40
MAX_METADATA_VALUE = 500
"""Stripe's bounds: https://docs.stripe.com/api/metadata."""


def decode(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Nested dicts of strings. A list (``types[]=card`` or ``types[0]=card``) becomes a dict by
    position, ``{"0": "card"}``. If a name occurs twice, the last value counts.

    Raises ApiError for an invalid name, and for a name that is both a value and a group.
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
    """The parameters of one call. A call takes each parameter that it knows once, and then refuses
    what is left. ``group`` is the name of the parameter whose fields these are."""

    def __init__(self, values: dict[str, Any], group: str = ""):
        self._values = values
        self._group = group

    def text(
        self, name: str, choices: Sequence[str] = (), *, can_be_unset: bool = False
    ) -> str | None:
        """None when it is not given, or, if ``can_be_unset``, when it is empty. Raises ApiError."""
        value, full_name = self._values.pop(name, None), self._full(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise invalid_request("Invalid string", param=full_name)
        if value == "":
            if can_be_unset:
                return None
            raise _empty(full_name)
        if choices:
            _require_choice(value, choices, full_name)
        return value

    def required_text(self, name: str) -> str:
        return self._given(name, self.text(name))

    def flag(self, name: str) -> bool | None:
        value = self.text(name)
        if value not in (None, "true", "false"):
            raise invalid_request(f"Invalid boolean: {value}", param=self._full(name))
        return None if value is None else value == "true"

    def required_flag(self, name: str) -> bool:
        return self._given(name, self.flag(name))

    def integer(self, name: str) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not _INTEGER.fullmatch(value):
            raise invalid_request(
                f"Invalid integer: {value}", "parameter_invalid_integer", self._full(name)
            )
        return int(value)

    def required_integer(self, name: str) -> int:
        return self._given(name, self.integer(name))

    def has_fields(self, name: str) -> bool:
        return isinstance(self._values.get(name), dict)

    def group(self, name: str) -> "Parameters | None":
        """The fields of a parameter; None when it is not given."""
        values, full_name = self._values.pop(name, None), self._full(name)
        if values == "":
            raise _empty(full_name)
        if values is not None and not isinstance(values, dict):
            raise invalid_request("Invalid object", param=full_name)
        return None if values is None else Parameters(values, full_name)

    def required_group(self, name: str) -> "Parameters":
        return self._given(name, self.group(name))

    def array(self, name: str, choices: Sequence[str] = ()) -> list[str] | None:
        values, full_name = self._values.pop(name, None), self._full(name)
        if values is None:
            return None
        if values == "":
            raise _empty(full_name)
        if not isinstance(values, dict) or any(isinstance(v, dict) for v in values.values()):
            raise invalid_request("Invalid array", param=full_name)
        if choices:
            for position, value in enumerate(values.values()):
                _require_choice(value, choices, f"{full_name}[{position}]")
        return list(values.values())

    def metadata(self) -> dict[str, str]:
        """https://docs.stripe.com/api/metadata; entries with an empty value are left out."""
        metadata = self._values.pop("metadata", "") or {}
        if not isinstance(metadata, dict) or any(isinstance(v, dict) for v in metadata.values()):
            raise invalid_request("Invalid object", param="metadata")
        if len(metadata) > MAX_METADATA:
            raise invalid_request(
                f"Metadata can have up to {MAX_METADATA} keys, but you've set {len(metadata)}. "
                "Email us at support+metadata@stripe.com for more information.",
                param="metadata",
            )
        for name, value in metadata.items():
            _require_short("key", name, MAX_METADATA_NAME)
            _require_short("value", value, MAX_METADATA_VALUE)
        return {name: value for name, value in metadata.items() if value}

    def require(self, *names: str) -> None:
        """Raises ApiError for the first of these that is not given."""
        for name in names:
            if name not in self._values:
                raise _missing(self._full(name))

    def require_one_at_most(self, *names: str) -> None:
        """Raises ApiError when several of these are given."""
        given = [name for name in names if name in self._values]
        if len(given) > 1:
            raise invalid_request(
                f"You may only specify one of these parameters: {', '.join(given)}.",
                param=given[0],
            )

    def refuse(self, names: Iterable[str], why: str) -> None:
        """Raises ApiError for the first of these that is given; ``{}`` in ``why`` is its name."""
        for name in names:
            if name in self._values:
                raise invalid_request(why.format(name), param=name)

    def require_no_more(self, of_stripe: type | None = None) -> None:
        """Raises ApiError for parameters that were not taken. ``of_stripe`` is the SDK's type of
        all parameters of the call; for one of those the error says that the sandbox lacks it."""
        if not self._values:
            return
        known = names_of(of_stripe) if of_stripe else frozenset()
        unknown = [self._full(name) for name in self._values if name not in known]
        if "payment_method_types" in unknown:
            # https://docs.stripe.com/changelog/endive/2026-09-30
            raise invalid_request(
                "payment_method_types is no longer supported; use automatic_payment_methods",
                "payment_method_types_no_longer_supported",
                "payment_method_types",
            )
        if unknown:
            several = "s" if len(unknown) > 1 else ""
            message = f"Received unknown parameter{several}: {', '.join(unknown)}"
            raise invalid_request(message, "parameter_unknown", unknown[0])
        name = next(iter(self._values))
        raise invalid_request(
            f"The sandbox does not have this parameter of Stripe's: {name}", param=name
        )

    def _given(self, name: str, value: Value | None) -> Value:
        if value is None:
            raise _missing(self._full(name))
        return value

    def _full(self, name: str) -> str:
        return f"{self._group}[{name}]" if self._group else name


def names_of(of_stripe: type) -> frozenset[str]:
    """The names of the parameters that a call has at Stripe. ``of_stripe`` is the SDK's type of
    them, without the request options that it also contains."""
    return frozenset(of_stripe.__annotations__) - frozenset(stripe.RequestOptions.__annotations__)


def _missing(name: str) -> ApiError:
    return invalid_request(f"Missing required param: {name}.", "parameter_missing", name)


def _empty(name: str) -> ApiError:
    return invalid_request(
        f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset "
        f"a parameter; however '{name}' cannot be unset. You should remove '{name}' from your "
        "request or supply a non-empty value.",
        "parameter_invalid_empty",
        name,
    )


def _require_choice(value: str, choices: Sequence[str], name: str) -> None:
    if value not in choices:
        *others, last = choices
        listed = f"{others[0]} or {last}" if len(others) == 1 else f"{', '.join(others)}, or {last}"
        raise invalid_request(f"Invalid {name}: must be one of {listed}", param=name)


def _require_short(what: str, text: str, most: int) -> None:
    if len(text) > most:
        raise invalid_request(
            f"Metadata {what}s can have up to {most} characters, but you passed in a {what} that "
            f"is {len(text)} characters. Invalid {what}: {text}",
            param="metadata",
        )
