"""What an organiser types to find a booking: part of a name or a mail address, a seat, a reference
or an id.

Case and accents make no difference: ``muller`` finds Müller, and so does ``mueller``. The patterns
mean the same to Python's ``re`` and to MongoDB's PCRE.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from web.domain.references import bookings_like
from web.domain.sales import booking_id_of

MAX_SEARCH_LENGTH = 100
"""Characters of a search that are used. Nobody types more, and a pattern has some 30 bytes each."""

_LETTERS = range(0x80, 0x530), range(0x1E00, 0x2000)
"""Latin, Greek and Cyrillic, where letters with accents are."""

_PLAIN = {"ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "ı": "i"}  # noqa: RUF001
"""Variants of a letter that Unicode does not decompose."""

_SPELT_OUT = {
    "ss": "ß",
    "ae": "æä",
    "oe": "œöø",
    "ue": "ü",
    "aa": "å",
    "th": "þ",
}
"""Letters that are also written as two."""

_BETWEEN = r"\W+(?:(?:row|seat|place)\W+)?"
"""Between the parts of a seat, in an id (``stalls-A-1``) and in a name (``Stalls, row A, seat
1``)."""

_WORDS_OF_SEATS = frozenset({"row", "seat", "place"})
_NOT_TYPED = re.compile(r"[\x00-\x20\x7f-\xa0\ud800-\udfff]+")


@dataclass(frozen=True)
class BookingSearch:
    """A booking is found when all of ``words`` are in its name or address, or one of its seats
    matches ``seat``, or its id begins with ``id_prefix`` and its event's id matches ``event``, or
    ``payment_id`` paid for it. What is empty finds nothing, except that an empty ``event`` matches
    all; an empty search finds everything. ``words``, ``seat`` and ``event`` are patterns; the first
    two are used without regard to case."""

    words: tuple[str, ...] = ()
    seat: str = ""
    id_prefix: str = ""
    event: str = ""
    payment_id: str = ""

    @property
    def finds_all(self) -> bool:
        return not (self.words or self.seat or self.id_prefix or self.payment_id)


def search_for(text: str) -> BookingSearch:
    """``Lovelace``, ``ada@example``, ``stalls A 12``, ``Stalls, row A, seat 12``, ``HAM-7K3F``,
    ``bkg_…``, ``hld_…``, ``pi_…``."""
    text = _NOT_TYPED.sub(" ", text[:MAX_SEARCH_LENGTH]).strip()
    if re.match("(?:bkg|hld)_", text):
        return BookingSearch(id_prefix=booking_id_of(text) if text[0] == "h" else text)
    if text.startswith("pi_"):
        return BookingSearch(payment_id=text)
    # A name such as Hamburg can be a reference, too.
    id_prefix, event = bookings_like(text) or ("", "")
    words = tuple(_pattern(word) for word in text.split())
    return BookingSearch(words, _seat_pattern(text), id_prefix, event)


def _seat_pattern(text: str) -> str:
    """A seat has a number, and an address is none."""
    parts = [p for p in re.findall(r"\w+", text) if p.lower() not in _WORDS_OF_SEATS]
    if "@" in text or not any(character.isdigit() for character in text) or len(parts) < 2:
        return ""
    return r"(?:^|\W)" + _BETWEEN.join(map(_pattern, parts)) + r"(?:\W|$)"


def _pattern(word: str) -> str:
    word = "".join(map(_folded, unicodedata.normalize("NFC", word)))
    pattern, place = [], 0
    while place < len(word):
        letters = word[place : place + 2]
        if letters in _SPELT_OUT:
            one = "".join(_written(letter) for letter in letters)
            other = _SPELT_OUT[letters]
            pattern.append(f"(?:{one}|[{other}{other.upper()}])")
        else:
            letters = letters[0]
            pattern.append(_written(letters))
        place += len(letters)
    return "".join(pattern)


def _written(letter: str) -> str:
    """However it is accented."""
    variants = _variants().get(letter, "")
    return f"[{letter}{letter.upper()}{variants}]" if variants else re.escape(letter)


@cache
def _variants() -> dict[str, str]:
    found: dict[str, str] = {}
    for letters in _LETTERS:
        for letter in map(chr, letters):
            plain = _folded(letter)
            if len(plain) == 1 and plain != letter.lower():
                found[plain] = found.get(plain, "") + letter
    return found


def _folded(letter: str) -> str:
    """In small letters and without accents; ``ss`` of ``ß``."""
    small = letter.casefold()
    bare = "".join(c for c in unicodedata.normalize("NFD", small) if not unicodedata.combining(c))
    # What is decomposed into several letters, as Korean syllables are, has no accents.
    return _PLAIN.get(bare, bare) if len(bare) == 1 else small
