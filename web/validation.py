"""What the API and the pages both ask of what a buyer sends, and what msgspec says of bad data."""

import msgspec

MAX_EMAIL_LENGTH = 254
EMAIL = r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+\Z"
MAX_NAME_LENGTH = 200
NAME = r"^[^\x00-\x1f]*[^\s\x00-\x1f][^\x00-\x1f]*\Z"
MAX_PAYMENT_METHOD_LENGTH = 255
PAYMENT_METHOD = r"^[A-Za-z0-9_]*\Z"

MAX_SEATS_NAMED = 100
"""In one request; an event allows fewer in a hold."""


def number_of(text: str, digits: int) -> int | None:
    """None when it is not at most so many digits: int() takes more, such as "-1" and "٢"."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None


def field_and_problem(error: msgspec.ValidationError) -> tuple[str, str]:
    """``("sections[0].price", "Expected `int`, got `str`")``; the field is "" for the whole."""
    problem, _, place = str(error).partition(" - at ")
    return place.strip("`").removeprefix("$").removeprefix("."), problem
