"""What workers and the limiter say to each other over a Unix stream socket.

    request   KEY LF                                 2001:db8:1:2::/64
    answer    VERDICT SP REMAINING SP RESET_NS LF    allowed 9 1000000000
                                                     denied 0 41250311

``KEY`` is the client: 1 to 128 bytes, printable ASCII without spaces as ``client`` writes it, any
bytes but LF as ``server`` reads it. ``VERDICT``, ``REMAINING`` and ``RESET_NS`` are the fields of
``sliding_log.Decision``.

Answers come in the order of the requests, and a caller may send any number of requests before it
reads: those that are read together are answered together, in one write. A line that is empty or
too long closes the connection without an answer to what was read with it, because after that
nobody can say which answer belongs to which request.
"""

import re

from sidecar.sliding_log import Decision

MAX_KEY_BYTES = 128
"""Three times the longest key that client_address makes."""

MAX_ANSWER_BYTES = 64
"""``allowed``, a remaining of at most 5 digits, nanoseconds of at most 13: 28 bytes today."""

_KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_BYTES}}}")
_ANSWER = re.compile(rb"(allowed|denied) ([0-9]{1,10}) ([0-9]{1,19})\n")


class ProtocolError(Exception):
    """The other side does not keep to the protocol; the connection is of no more use."""


def encode_request(key: str) -> bytes:
    """Raises ValueError when ``key`` is none: a line feed in it would shift every later answer
    to the wrong client."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a client key: {key[:MAX_KEY_BYTES]!r}")
    return f"{key}\n".encode("ascii")


def split_requests(received: bytes) -> tuple[list[bytes], bytes]:
    """The keys of the whole lines in ``received``, and the beginning of a line after them.

    Raises ProtocolError.
    """
    *keys, rest = received.split(b"\n")
    for key in keys:
        if not 0 < len(key) <= MAX_KEY_BYTES:
            raise ProtocolError(f"a key of {len(key)} bytes")
    if len(rest) > MAX_KEY_BYTES:
        raise ProtocolError("a line without an end")
    return keys, rest


def encode_answer(decision: Decision) -> bytes:
    verdict = b"allowed" if decision.allowed else b"denied"
    return b"%b %d %d\n" % (verdict, decision.remaining, decision.reset_ns)


def decode_answer(received: bytes) -> Decision:
    """Exactly one answer. Raises ProtocolError."""
    match = _ANSWER.fullmatch(received)
    if match is None:
        raise ProtocolError(f"not an answer: {received[:MAX_ANSWER_BYTES]!r}")
    return Decision(match[1] == b"allowed", int(match[2]), int(match[3]))
