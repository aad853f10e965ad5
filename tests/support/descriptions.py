"""The descriptions of fields of msgspec structs, which documentation repeats."""

from typing import get_args, get_origin


def description_of(annotation) -> str:
    assert get_origin(annotation) is not None, "every setting has a description"
    return next(m.description for m in get_args(annotation)[1:] if m.description)
