"""The protocol between workers and the limiter, over a Unix stream socket.

    question  hit SP LIMIT SP WINDOW_NS SP KEY LF     hit 10 1000000000 2001:db8:1:2::/64
              hit SP LIMIT SP WINDOW_NS SP AMOUNT SP KEY LF
                                                      hit 10 1000000000 3 2001:db8:1:2::/64
              peek SP LIMIT SP WINDOW_NS SP KEY LF
              clear SP LIMIT SP WINDOW_NS SP KEY LF
              place SP LIMIT SP WINDOW_NS SP MAX_WAIT_NS SP KEY LF
                                                      place 25 1050000000 7000000000 stripe:create
              reset LF
              stats LF
              HIT SP "then" SP HIT LF                 hit 10 1000000000 ADDRESS then hit 120 ...
    answer    VERDICT SP REMAINING SP RESET_NS LF     allowed 9 1000000000
                                                      denied 0 41250311
              VERDICT SP "0" SP WAIT_NS LF, to place  allowed 0 350000000
              "cleared" LF or "failed" LF, to clear and reset
              ANSWER SP "then" SP ANSWER LF, to two hits; the first answer alone if that is a denial
              a JSON object, LF, to stats             {"clients":1,"forgotten_early":0,...}

``hit`` decides and counts, ``peek`` returns what a hit would, without counting, ``clear`` forgets
the client at this rate, and ``reset`` all clients at all rates. AMOUNT is the number of requests at
once, all or none, 1 to LIMIT; the default is 1. LIMIT and WINDOW_NS are those of
``sliding_log.Rate``; each rate has its own count. KEY is the client: 1 to 128 bytes; ``client``
sends printable ASCII without spaces, ``server`` accepts any bytes but space and LF. VERDICT,
REMAINING and RESET_NS are the fields of ``sliding_log.Decision``. "failed" means that the log that
hosts share could not be reached: only this host has forgotten.

``then`` joins two hits of one request each: the second is decided, and counted, only if the first
is allowed. For each limit that a request has to keep, in one round trip.

``place`` takes the next place in the queue KEY, unless it is more than MAX_WAIT_NS away, which is 0
to ``places.MAX_WAIT_NS``. The answer is a ``places.Place``, "allowed" if it is taken. Queues have
nothing to do with the requests of clients: neither ``clear`` nor ``reset`` changes them. A caller
that has gone when its turn comes leaves its place unused.

There is no authorisation: only the limiter's own user can connect (``server.listen``).

The limiter understands workers of earlier releases, without AMOUNT, ``clear``, ``reset``,
``place`` or ``then``. A limiter of such a release closes the connection when it gets one of these
five, or a window of more than an hour, and the worker counts by itself, except after a ``then``: in
its place the worker asks two questions, at once and for a minute. It understands everything else.
If the limiter runs separately, upgrade it first.

Answers come in the order of the questions, and a caller may send any number of questions before it
reads. An invalid line closes the connection without answers to what was read together with it,
because after that it is unclear which answer belongs to which question.
"""

import json
import re
from typing import NamedTuple

from sidecar.places import MAX_WAIT_NS, Place
from sidecar.sliding_log import MAX_RATE_LIMIT, MAX_WINDOW_NS, Decision, Rate

HIT = "hit"
PEEK = "peek"
CLEAR = "clear"
RESET = "reset"
PLACE = "place"
STATS = b"stats"
THEN = "then"
"""Also the command of the second of two joined hits, for the shared log."""

JOINER = f" {THEN} ".encode("ascii")

MAX_KEY_BYTES = 128
"""Three times the longest key that client_address returns."""

_MAX_PART_BYTES = len(f"{PLACE} {MAX_RATE_LIMIT} {MAX_WINDOW_NS} {MAX_WAIT_NS} ") + MAX_KEY_BYTES
MAX_QUESTION_BYTES = 2 * _MAX_PART_BYTES + len(JOINER)

MAX_ANSWER_BYTES = 256
"""A decision has at most 32 bytes, two joined 70, the statistics some 100."""

_ALLOWED = b"allowed"
CLEARED = b"cleared"
FAILED = b"failed"

KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_BYTES}}}")
_HEAD = re.compile(
    rb"(hit|peek|clear|place) ([1-9][0-9]{0,9}) ([1-9][0-9]{0,18})(?: ([0-9]{1,11}))?"
)
_ANSWER = re.compile(rb"(allowed|denied) ([0-9]{1,10}) ([0-9]{1,19})")


class ProtocolError(Exception):
    """The other side violated the protocol; the connection cannot be used any more."""


class Head(NamedTuple):
    """``argument`` is the number of requests of a hit, and the longest wait of a place, in ns; of
    the others it is 1."""

    command: str
    rate: Rate
    argument: int


RESET_ALL = Head(RESET, Rate(0, 0), 1)
"""The head of a reset, which has no rate; the line has nothing else."""


def is_rate(rate: Rate) -> bool:
    """Whether the limiter accepts it."""
    return 0 < rate.limit <= MAX_RATE_LIMIT and 0 < rate.window_ns <= MAX_WINDOW_NS


def encode_head(command: str, rate: Rate, amount: int = 1) -> bytes:
    """The part before the key: the same for all questions with one rate and amount. Raises
    ValueError if the limiter does not accept these."""
    _refuse_rate(rate)
    if not isinstance(amount, int) or not 0 < amount <= rate.limit:
        raise ValueError(f"not a whole number of 1 to {rate.limit} requests: {amount!r}")
    several = f"{amount} " if amount > 1 else ""
    return f"{command} {rate.limit} {rate.window_ns} {several}".encode("ascii")


def encode_place_head(rate: Rate, max_wait_ns: int) -> bytes:
    """The same of the question for a place. Raises ValueError as encode_head does."""
    _refuse_rate(rate)
    if not isinstance(max_wait_ns, int) or not 0 <= max_wait_ns <= MAX_WAIT_NS:
        raise ValueError(f"not a wait of 0 to {MAX_WAIT_NS} ns: {max_wait_ns!r}")
    return f"{PLACE} {rate.limit} {rate.window_ns} {max_wait_ns} ".encode("ascii")


def _refuse_rate(rate: Rate) -> None:
    if not is_rate(rate):
        raise ValueError(
            f"not a rate: {rate}; it must be 1 to {MAX_RATE_LIMIT} requests in at most a day"
        )


def encode_question(head: bytes, key: str) -> bytes:
    """Raises ValueError if ``key`` is invalid: a line feed in it would assign every later answer to
    the wrong client."""
    if not KEY.fullmatch(key):
        raise ValueError(f"not a client key: {key[:MAX_KEY_BYTES]!r}")
    return b"%b%b\n" % (head, key.encode("ascii"))


def encode_joined(first: bytes, second: bytes) -> bytes:
    """Joins two hits as encode_question makes them, or two answers as encode_answer does."""
    return first[:-1] + JOINER + second


def split_lines(received: bytes) -> tuple[list[bytes], bytes]:
    """The whole lines in ``received``, and the beginning of a line after them. Raises
    ProtocolError when that is longer than any question."""
    *lines, rest = received.split(b"\n")
    if len(rest) > MAX_QUESTION_BYTES:
        raise ProtocolError("a line without an end")
    return lines, rest


def split_question(line: bytes) -> tuple[bytes, bytes]:
    """The head, without the space after it, and the key; a line without a space is a key without a
    head. Raises ProtocolError."""
    head, _, key = line.rpartition(b" ")
    if not 0 < len(key) <= MAX_KEY_BYTES:
        raise ProtocolError(f"a key of {len(key)} bytes")
    return head, key


def decode_head(head: bytes) -> Head:
    """Raises ProtocolError."""
    match = _HEAD.fullmatch(head)
    if match is None:
        raise ProtocolError(f"not a question: {head[:MAX_QUESTION_BYTES]!r}")
    command, rate = match[1].decode("ascii"), Rate(int(match[2]), int(match[3]))
    if not is_rate(rate):
        raise ProtocolError(f"not a rate: {rate}")
    argument = int(match[4] or 1)
    if command == PLACE:
        if match[4] is None or argument > MAX_WAIT_NS:
            raise ProtocolError(f"not a wait: {head!r}")
    elif not 0 < argument <= (rate.limit if command == HIT else 1):
        raise ProtocolError(f"not an amount: {head!r}")
    return Head(command, rate, argument)


def encode_answer(decision: Decision) -> bytes:
    verdict = _ALLOWED if decision.allowed else b"denied"
    return b"%b %d %d\n" % (verdict, decision.remaining, decision.reset_ns)


def is_allowed(line: bytes) -> bool:
    """Whether encode_answer made it of an accepted request."""
    return line.startswith(_ALLOWED)


def decode_answer(line: bytes) -> Decision:
    """``line`` is without its line feed. Raises ProtocolError."""
    match = _ANSWER.fullmatch(line)
    if match is None:
        raise ProtocolError(f"not an answer: {line[:MAX_ANSWER_BYTES]!r}")
    return Decision(match[1] == _ALLOWED, int(match[2]), int(match[3]))


def decode_answers(line: bytes) -> tuple[Decision, Decision | None]:
    """Those to two hits; None if the second was not decided. Raises ProtocolError."""
    first, joined, second = line.partition(JOINER)
    decision = decode_answer(first)
    if decision.allowed != bool(joined):
        raise ProtocolError(f"not an answer to two hits: {line[:MAX_ANSWER_BYTES]!r}")
    return decision, decode_answer(second) if joined else None


def encode_place(place: Place) -> bytes:
    return encode_answer(Decision(place.is_taken, 0, place.wait_ns))


def decode_place(line: bytes) -> Place:
    """Raises ProtocolError."""
    decision = decode_answer(line)
    return Place(decision.allowed, decision.reset_ns)


def encode_cleared(is_cleared: bool) -> bytes:
    return (CLEARED if is_cleared else FAILED) + b"\n"


def decode_cleared(line: bytes) -> bool:
    """Raises ProtocolError."""
    if line not in (CLEARED, FAILED):
        raise ProtocolError(f"not an answer: {line[:MAX_ANSWER_BYTES]!r}")
    return line == CLEARED


def encode_stats(stats: dict[str, int]) -> bytes:
    return json.dumps(stats).encode("ascii") + b"\n"


def decode_stats(line: bytes) -> dict[str, int]:
    """Raises ProtocolError."""
    try:
        stats = json.loads(line)
    except ValueError:
        stats = None
    if not isinstance(stats, dict):
        raise ProtocolError(f"not statistics: {line[:MAX_ANSWER_BYTES]!r}")
    return stats
