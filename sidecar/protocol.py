"""What workers and the limiter say to each other over a Unix stream socket.

    question  hit SP LIMIT SP WINDOW_NS SP KEY LF     hit 10 1000000000 2001:db8:1:2::/64
              hit SP LIMIT SP WINDOW_NS SP AMOUNT SP KEY LF
                                                      hit 10 1000000000 3 2001:db8:1:2::/64
              peek SP LIMIT SP WINDOW_NS SP KEY LF
              clear SP LIMIT SP WINDOW_NS SP KEY LF
              reset LF
              stats LF
    answer    VERDICT SP REMAINING SP RESET_NS LF     allowed 9 1000000000
                                                      denied 0 41250311
              "cleared" LF or "failed" LF, to clear and reset
              a JSON object, LF, to stats             {"clients":1,"forgotten_early":0,...}

``hit`` decides and counts, ``peek`` tells what a hit would meet, ``clear`` forgets the client at
this rate, and ``reset`` all clients at all rates. Whoever can connect may do all of it, which is
this user alone (``server.listen``). AMOUNT is so many requests at once, all or none, 1 to LIMIT;
without it, 1. LIMIT and WINDOW_NS are those of ``sliding_log.Rate``; each rate has its own count.
KEY is the client: 1 to 128 bytes, printable ASCII without spaces as ``client`` writes it, any bytes
but space and LF as ``server`` reads it. VERDICT, REMAINING and RESET_NS are the fields of
``sliding_log.Decision``. "failed" says that the log that hosts share was not reached: only this
host has forgotten.

The limiter understands a worker of a release that knew no AMOUNT, ``clear`` or ``reset``. A limiter
of such a release understands everything else of this one, and closes the connection at these
three, and at a window of more than an hour, so that the worker counts by itself. Whoever runs the
limiter apart restarts it first.

Answers come in the order of the questions, and a caller may send any number of questions before it
reads. A line that is no question closes the connection without an answer to what was read with
it, because after that nobody can say which answer belongs to which question.
"""

import json
import re
from typing import NamedTuple

from sidecar.sliding_log import MAX_RATE_LIMIT, MAX_WINDOW_NS, Decision, Rate

HIT = "hit"
PEEK = "peek"
CLEAR = "clear"
RESET = "reset"
STATS = b"stats"

MAX_KEY_BYTES = 128
"""Three times the longest key that client_address makes."""

MAX_QUESTION_BYTES = (
    len(f"{CLEAR} {MAX_RATE_LIMIT} {MAX_WINDOW_NS} {MAX_RATE_LIMIT} ") + MAX_KEY_BYTES
)

MAX_ANSWER_BYTES = 256
"""A decision has at most 28 bytes, the statistics some 100."""

CLEARED = b"cleared"
FAILED = b"failed"

KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_BYTES}}}")
_HEAD = re.compile(rb"(hit|peek|clear) ([1-9][0-9]{0,9}) ([1-9][0-9]{0,18})(?: ([0-9]{1,5}))?")
_ANSWER = re.compile(rb"(allowed|denied) ([0-9]{1,10}) ([0-9]{1,19})")


class ProtocolError(Exception):
    """The other side does not keep to the protocol; the connection is of no more use."""


class Head(NamedTuple):
    """``amount`` is 1 unless the command is a hit of several requests."""

    command: str
    rate: Rate
    amount: int


RESET_ALL = Head(RESET, Rate(0, 0), 1)
"""Of a reset, which is of no rate; on the wire it is the whole question."""


def is_rate(rate: Rate) -> bool:
    """Whether the limiter takes it."""
    return 0 < rate.limit <= MAX_RATE_LIMIT and 0 < rate.window_ns <= MAX_WINDOW_NS


def encode_head(command: str, rate: Rate, amount: int = 1) -> bytes:
    """What stands before the key: the same for all questions of one rate and amount. Raises
    ValueError when they are not what the limiter takes."""
    if not is_rate(rate):
        raise ValueError(
            f"not a rate: {rate}; it must be 1 to {MAX_RATE_LIMIT} requests in at most a day"
        )
    if not isinstance(amount, int) or not 0 < amount <= rate.limit:
        raise ValueError(f"not a whole number of 1 to {rate.limit} requests: {amount!r}")
    several = f"{amount} " if amount > 1 else ""
    return f"{command} {rate.limit} {rate.window_ns} {several}".encode("ascii")


def encode_question(head: bytes, key: str) -> bytes:
    """Raises ValueError when ``key`` is none: a line feed in it would shift every later answer
    to the wrong client."""
    if not KEY.fullmatch(key):
        raise ValueError(f"not a client key: {key[:MAX_KEY_BYTES]!r}")
    return b"%b%b\n" % (head, key.encode("ascii"))


def split_lines(received: bytes) -> tuple[list[bytes], bytes]:
    """The whole lines in ``received``, and the beginning of a line after them. Raises
    ProtocolError when that is longer than any question."""
    *lines, rest = received.split(b"\n")
    if len(rest) > MAX_QUESTION_BYTES:
        raise ProtocolError("a line without an end")
    return lines, rest


def split_question(line: bytes) -> tuple[bytes, bytes]:
    """The head, without the space after it, and the key; what has no space is a key without a
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
    amount = int(match[4] or 1)
    if not 0 < amount <= (rate.limit if command == HIT else 1):
        raise ProtocolError(f"not an amount: {head!r}")
    return Head(command, rate, amount)


def encode_answer(decision: Decision) -> bytes:
    verdict = b"allowed" if decision.allowed else b"denied"
    return b"%b %d %d\n" % (verdict, decision.remaining, decision.reset_ns)


def decode_answer(line: bytes) -> Decision:
    """``line`` is without its line feed. Raises ProtocolError."""
    match = _ANSWER.fullmatch(line)
    if match is None:
        raise ProtocolError(f"not an answer: {line[:MAX_ANSWER_BYTES]!r}")
    return Decision(match[1] == b"allowed", int(match[2]), int(match[3]))


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
