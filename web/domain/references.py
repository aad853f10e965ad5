"""A booking's reference, for the telephone: ``HAM-7K3F``.

It is derived from the booking's id, and leads back to it: its four characters are the first twenty
of the id's random bits. So nothing is stored for it, and the index on ids finds the booking. Two
bookings of an event share a reference once in a million pairs; among 1,000 bookings there is such a
pair with a probability of 38 %. So whoever looks one up gets all that have it, and asks for the
name.
"""

import re

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""32 characters, without 0 and O, 1 and I."""

LETTERS = 3
"""Of the event's id."""

HEX_DIGITS = 5
CHARACTERS = 4
"""Both are twenty bits."""

_REFERENCE = re.compile(rf"([A-Z0-9]{{1,{LETTERS}}})([{ALPHABET}]{{{CHARACTERS}}})")
_BETWEEN = re.compile(r"\W+")
_ID = re.compile(rf"bkg_([0-9a-f]{{{HEX_DIGITS}}})")


def reference_of(event_id: str, booking_id: str) -> str:
    """``HAM-7K3F``. Ids of another form than this release makes have the id as their reference."""
    found = _ID.match(booking_id)
    if not found:
        return booking_id
    number, characters = int(found[1], 16), ""
    for _ in range(CHARACTERS):
        number, digit = divmod(number, len(ALPHABET))
        characters = ALPHABET[digit] + characters
    return f"{_letters_of(event_id)}-{characters}"


def bookings_like(reference: str) -> tuple[str, str] | None:
    """The beginning of the ids of bookings with this reference, and a pattern of the ids of their
    events, which means the same to Python and to MongoDB. None if it is no reference. Lower case,
    spaces and a missing hyphen do no harm."""
    found = _REFERENCE.fullmatch(_BETWEEN.sub("", reference).upper())
    if not found:
        return None
    number = 0
    for character in found[2]:
        number = number * len(ALPHABET) + ALPHABET.index(character)
    return f"bkg_{number:0{HEX_DIGITS}x}", _pattern_of(found[1])


def _letters_of(event_id: str) -> str:
    return event_id.replace("-", "")[:LETTERS].upper()


def _pattern_of(letters: str) -> str:
    end = "" if len(letters) == LETTERS else "$"
    return f"^{'-*'.join(letters.lower())}{end}"
