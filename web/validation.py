"""What msgspec says of bad data, in two parts."""

import msgspec


def field_and_problem(error: msgspec.ValidationError) -> tuple[str, str]:
    """``("sections[0].price", "Expected `int`, got `str`")``; the field is "" for the whole."""
    problem, _, place = str(error).partition(" - at ")
    return place.strip("`").removeprefix("$").removeprefix("."), problem
