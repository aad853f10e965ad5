"""What workers and the limiter say to each other over a Unix stream socket.

    question  hit SP LIMIT SP WINDOW_NS SP KEY LF     hit 10 1000000000 2001:db8:1:2::/64
              peek SP LIMIT SP WINDOW_NS SP KEY LF
              stats LF
    answer    VERDICT SP REMAINING SP RESET_NS LF     allowed 9 1000000000
                                                      denied 0 41250311
              a JSON object, LF, to stats             {"clients":1,"forgotten_early":0,...}

``hit`` decides and counts, ``peek`` tells what a hit would meet. LIMIT and WINDOW_NS are those of
``sliding_log.Rate``; each rate has its own count. KEY is the client: 1 to 128 bytes, printable
ASCII without spaces as ``client`` writes it, any bytes but space and LF as ``server`` reads it.
VERDICT, REMAINING and RESET_NS are the fields of ``sliding_log.Decision``.

Answers come in the order of the questions, and a caller may send any number of questions before it
reads. A line that is no question closes the connection without an answer to what was read with
it, because after that nobody can say which answer belongs to which question.
"""

import json
import re

from sidecar.sliding_log import MAX_RATE_LIMIT, MAX_WINDOW_NS, Decision, Rate

HIT = "hit"
PEEK = "peek"
STATS = b"stats"

MAX_KEY_BYTES = 128
"""Three times the longest key that client_address makes."""

MAX_QUESTION_BYTES = len(f"{PEEK} {MAX_RATE_LIMIT} {MAX_WINDOW_NS} ") + MAX_KEY_BYTES

MAX_ANSWER_BYTES = 256
"""A decision has at most 28 bytes, the statistics some 100."""

_KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_BYTES}}}")
_HEAD = re.compile(rb"(hit|peek) ([1-9][0-9]{0,9}) ([1-9][0-9]{0,18})")
_ANSWER = re.compile(rb"(allowed|denied) ([0-9]{1,10}) ([0-9]{1,19})")


class ProtocolError(Exception):
    """The other side does not keep to the protocol; the connection is of no more use."""


def encode_head(command: str, rate: Rate) -> bytes:
    """What stands before the key: the same for all questions of one rate. Raises ValueError when
    ``rate`` is not one that the limiter takes."""
    if not (0 < rate.limit <= MAX_RATE_LIMIT and 0 < rate.window_ns <= MAX_WINDOW_NS):
        raise ValueError(f"not a rate: {rate}")
    return f"{command} {rate.limit} {rate.window_ns} ".encode("ascii")


def encode_question(head: bytes, key: str) -> bytes:
    """Raises ValueError when ``key`` is none: a line feed in it would shift every later answer
    to the wrong client."""
    if not _KEY.fullmatch(key):
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
    """The head, without the space after it, and the key. Raises ProtocolError."""
    head, _, key = line.rpartition(b" ")
    if not 0 < len(key) <= MAX_KEY_BYTES:
        raise ProtocolError(f"a key of {len(key)} bytes")
    return head, key


def decode_head(head: bytes) -> tuple[str, Rate]:
    """Raises ProtocolError."""
    match = _HEAD.fullmatch(head)
    if match is None:
        raise ProtocolError(f"not a question: {head[:MAX_QUESTION_BYTES]!r}")
    rate = Rate(int(match[2]), int(match[3]))
    if rate.limit > MAX_RATE_LIMIT or rate.window_ns > MAX_WINDOW_NS:
        raise ProtocolError(f"not a rate: {rate}")
    return match[1].decode("ascii"), rate


def encode_answer(decision: Decision) -> bytes:
    verdict = b"allowed" if decision.allowed else b"denied"
    return b"%b %d %d\n" % (verdict, decision.remaining, decision.reset_ns)


def decode_answer(line: bytes) -> Decision:
    """``line`` is without its line feed. Raises ProtocolError."""
    match = _ANSWER.fullmatch(line)
    if match is None:
        raise ProtocolError(f"not an answer: {line[:MAX_ANSWER_BYTES]!r}")
    return Decision(match[1] == b"allowed", int(match[2]), int(match[3]))


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
