"""What the API and the pages both ask of a buyer's data, and what msgspec says of bad data."""

import msgspec

MAX_EMAIL_LENGTH = 254
EMAIL = r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+\Z"
MAX_NAME_LENGTH = 200
NAME = r"^[^\x00-\x1f]*[^\s\x00-\x1f][^\x00-\x1f]*\Z"


def field_and_problem(error: msgspec.ValidationError) -> tuple[str, str]:
    """``("sections[0].price", "Expected `int`, got `str`")``; the field is "" for the whole."""
    problem, _, place = str(error).partition(" - at ")
    return place.strip("`").removeprefix("$").removeprefix("."), problem
