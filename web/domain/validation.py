"""Validation shared by the API and the pages, and msgspec's errors in words for people."""

import difflib
import ipaddress
import re
import unicodedata
from collections.abc import Iterable

import email_validator
import msgspec

MAX_NAME_LENGTH = 200
MAX_EMAIL_LENGTH = 254
"""The limit of RFC 5321."""

DECOMPOSED = 4
"""Characters that one composed character may be decomposed into. Longer texts are not composed at
all, because that takes quadratic time: most of a second for 30,000 marks over one letter."""

MAX_PAYMENT_METHOD_LENGTH = 255
PAYMENT_METHOD = r"^[A-Za-z0-9_]*\Z"
"""Of payment methods and confirmation tokens."""

TOKEN_PREFIX = "ctoken_"  # noqa: S105  # no secret
CONFIRMATION_TOKEN = rf"^({TOKEN_PREFIX}[A-Za-z0-9_]+)?\Z"

MAX_RETURN_URL_LENGTH = 500
MAX_PORT = 65_535

MAX_SEATS_NAMED = 100
"""In one request; an event allows fewer in a hold."""

# Accept the domains that RFC 6761 reserves, such as .test. No mail reaches them, but test systems
# sell to such addresses, and nobody types one by mistake.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_JOINERS = "\u200c\u200d"
"""Format characters that the spelling of Persian and Indian scripts needs, and emoji."""

_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc")
"""Letters, marks and symbols by their Unicode category that are invisible."""

_JSON_TYPES = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a number",
    "null": "null",
    "object": "an object",
    "str": "a text",
}

_WRONG_TYPE = re.compile(rf"Expected `({'|'.join(_JSON_TYPES)})`, got `({'|'.join(_JSON_TYPES)})`")
_WRONG_SIZE = re.compile(r"Expected `(array|str)` of length (>=|<=) (\d+)")
_MISSING = re.compile(r"Object missing required field `(\w+)`")

_PLACE = re.compile(r" - at `\$\.?([^`]*)`\Z")

_SPACES = " \u00a0\u3000"
"""Stripped around names and addresses."""

_EMAIL_RULE = "must be an e-mail address such as ada@example.org"

_PLAIN_EMAIL = re.compile(
    r"(?=.{1,64}@.{1,63}\Z)[a-z0-9_+-]+(\.[a-z0-9_+-]+)*@([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]{2,}"
)
"""As most addresses are spelt: email-validator, which takes 35 µs, returns them unchanged."""

_ADDRESS_RULE = "must be an absolute address such as https://shop.example.org/thanks"

_LABEL = "(?!-)[a-z0-9_-]{1,63}(?<!-)"
_WEB_ADDRESS = re.compile(
    rf"(?P<scheme>https?)://((?P<name>{_LABEL}(\.{_LABEL})*\.?)|\[(?P<ipv6>[0-9a-f:.]+)\])"
    r"(:(?P<port>[0-9]{1,5}))?([/?#][^\\]*)?",
    re.IGNORECASE,
)
"""Without a user name, which could pass for the host, and without backslashes, which browsers read
as slashes."""

_VIRAMA = 9
"""The combining class of the sign that removes a consonant's vowel."""


def name_of(text: str) -> str:
    """A person's name in NFC, without surrounding spaces: one line with at least one letter or
    digit, in any script. Raises ValueError, whose message says what it must have."""
    name = text.strip(_SPACES)
    if len(name) <= DECOMPOSED * MAX_NAME_LENGTH:
        name = unicodedata.normalize("NFC", name)
    if len(name) > MAX_NAME_LENGTH:
        raise ValueError(f"must have at most {MAX_NAME_LENGTH} characters")
    _refuse_invisible(name)
    if not any(_category(character)[0] in "LN" for character in name):
        raise ValueError("must have a letter or a digit")
    return name


def check_title(text: str) -> None:
    """Checks the name of an event, a venue or a section: one line with a visible character, even
    just "!!!". Raises ValueError, whose message says what it must have."""
    _refuse_invisible(text)
    if not any(_is_visible(character) for character in text):
        raise ValueError("must have a letter, a digit or another character that shows")


def title_of(text: str, max_length: int) -> str:
    """The short name of a thing, as check_title has it, without surrounding spaces. Raises
    ValueError, whose message says what it must have."""
    title = text.strip(_SPACES)
    if len(title) > max_length:
        raise ValueError(f"must have at most {max_length} characters")
    check_title(title)
    return title


def email_of(text: str) -> str:
    """An e-mail address in normalised form: without surrounding spaces, the domain in lower case
    and in its own script, not Punycode. Raises ValueError, whose message says what is wrong.

    There is no DNS lookup: it would cost a buyer seconds of a flash sale, and can fail.
    """
    text = text.strip(_SPACES)
    if _PLAIN_EMAIL.fullmatch(text):
        return text
    if len(text) > DECOMPOSED * MAX_EMAIL_LENGTH:
        raise ValueError(f"{_EMAIL_RULE}, with at most {MAX_EMAIL_LENGTH} characters.")
    try:
        address = email_validator.validate_email(text, check_deliverability=False, strict=True)
    except (email_validator.EmailNotValidError, UnicodeError) as error:
        raise ValueError(f"{_EMAIL_RULE}. {error}") from None
    for character in address.normalized:
        if character in _BLANKS or _is_variation_selector(character):
            raise ValueError(f"{_EMAIL_RULE}, without {_named(character)}.")
    return address.normalized


def ascii_email_of(email: str) -> str:
    """What ``email_of`` has returned, with the domain in Punycode if that makes all of it ASCII: an
    address that every mail server can be given."""
    address = email_validator.validate_email(email, check_deliverability=False)
    return address.ascii_email or address.normalized


def address_of(text: str) -> str:
    """A web address to which a buyer can be sent: absolute, https; http only on this computer.
    Raises ValueError, whose message says what it must be."""
    if len(text) > MAX_RETURN_URL_LENGTH:
        raise ValueError(f"must have at most {MAX_RETURN_URL_LENGTH} characters")
    if not re.fullmatch(r"[!-~]*", text):
        raise ValueError(
            f"{_ADDRESS_RULE}, in ASCII and without spaces (bücher.example is "
            "xn--bcher-kva.example)"
        )
    found = _WEB_ADDRESS.fullmatch(text)
    if not found or (found["ipv6"] and not _is_ipv6(found["ipv6"])):
        raise ValueError(_ADDRESS_RULE)
    if found["port"] and not 1 <= int(found["port"]) <= MAX_PORT:
        raise ValueError(f"must have a port from 1 to {MAX_PORT} after the colon")
    if found["scheme"].lower() != "https" and not _is_loopback(found["name"] or found["ipv6"]):
        raise ValueError("must begin with https:// (http:// only for localhost)")
    return text


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_invisible(text: str) -> None:
    if text.isascii() and text.isprintable():
        return
    for place, character in enumerate(text):
        if not _belongs_in_name(text, place):
            raise ValueError(
                f"must have no line breaks, and no invisible characters like {_named(character)}"
            )


def _belongs_in_name(name: str, place: int) -> bool:
    character = name[place]
    before, after = name[place - 1 : place], name[place + 1 : place + 2]
    if character in _JOINERS:
        ends_word = unicodedata.combining(before or " ") == _VIRAMA
        return _is_visible(before) and (_is_visible(after) or ends_word)
    if _is_variation_selector(character):
        return _is_visible(before)
    return _is_visible(character) or _category(character) == "Zs"


def _is_visible(character: str) -> bool:
    """Whether it is visible, by itself or on the preceding character; "" is not."""
    return (
        character != ""
        and _category(character)[0] in "LMNPS"
        and character not in _BLANKS
        and character != "\ufffd"  # what a broken encoding leaves
        and not _is_variation_selector(character)
    )


def _is_variation_selector(character: str) -> bool:
    return unicodedata.name(character, "").startswith(("VARIATION SELECTOR", "MONGOLIAN FREE VAR"))


def _category(character: str) -> str:
    """Unicode's general category. Every few years new Han characters are added, some of them used
    in names, which this Python may not know yet."""
    category = unicodedata.category(character)
    in_han_planes = 0x2_0000 <= ord(character) < 0x3_FFFE and ord(character) & 0xFFFE != 0xFFFE
    return "Lo" if category == "Cn" and in_han_planes else category


def _named(character: str) -> str:
    name = unicodedata.name(character, "").lower()
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")


def number_of(text: str, digits: int) -> int | None:
    """None unless it is 1 to ``digits`` ASCII digits: int() accepts more, such as "-1" and "٢"."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None


def field_and_problem(error: msgspec.ValidationError) -> tuple[str, str]:
    """``("sections[0].price", "Expected `int`, got `str`")``; the field is "" for the whole."""
    message = str(error)
    # Matched at the end: the name of a field, which the sender chose, may contain the same words.
    place = _PLACE.search(message)
    return (place[1], message[: place.start()]) if place else ("", message)


def json_problem(problem: str) -> str:
    """msgspec's message about a JSON value in plain words: ``must be a text, not null``."""
    if wrong := _WRONG_TYPE.fullmatch(problem):
        return f"must be {_JSON_TYPES[wrong[1]]}, not {_JSON_TYPES[wrong[2]]}"
    if size := _WRONG_SIZE.fullmatch(problem):
        what = "entries" if size[1] == "array" else "characters"
        if size[2] == "<=":
            return f"must have at most {size[3]} {what}"
        return "must not be empty" if size[3] == "1" else f"must have at least {size[3]} {what}"
    if missing := _MISSING.fullmatch(problem):
        return f"{missing[1]} is missing"
    if problem.startswith("Expected `str` matching regex"):
        return "has characters that cannot be in it"
    return problem


def did_you_mean(given: str, choices: Iterable[str], most: int = 3, alike: float = 0.6) -> str:
    """The end of a sentence about a name that does not exist: ``; did you mean price?``, or "" when
    no choice is ``alike``, which is difflib's ratio."""
    near = difflib.get_close_matches(given, choices, n=most, cutoff=alike)
    return f"; did you mean {' or '.join(near)}?" if near else ""
