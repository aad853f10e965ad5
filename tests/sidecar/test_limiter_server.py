"""The limiter process and what is said to it."""

import contextlib
import socket
import stat
import time
from pathlib import Path

import pytest

from sidecar.host_limiter import HostLimiter
from sidecar.protocol import (
    HIT,
    MAX_KEY_BYTES,
    PEEK,
    ProtocolError,
    decode_answer,
    decode_head,
    encode_answer,
    encode_head,
    encode_question,
)
from sidecar.server import MAX_UNANSWERED, Session
from sidecar.settings import (
    MAX_SOCKET_PATH_BYTES,
    BadSettings,
    parse_rate,
    read_settings,
)
from sidecar.sliding_log import MAX_RATES, Decision, Rate
from tests.support.sidecars import LIMIT, PATIENCE_S, RATE
from tests.support.waiting import eventually

HEAD = encode_head(HIT, RATE)


def test_only_its_own_user_can_connect(ready):
    assert stat.S_IMODE(Path(ready.socket_path).stat().st_mode) == 0o600


def test_questions_sent_together_are_answered_in_order(ready):
    keys = [f"client-{number % 7}" for number in range(50)]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(ready.socket_path)
        connection.sendall(b"".join(encode_question(HEAD, key) for key in keys))
        with connection.makefile("rb") as answers:
            decisions = [decode_answer(next(answers).rstrip()) for _ in keys]
    asked = dict.fromkeys(keys, 0)
    for key, decision in zip(keys, decisions, strict=True):
        asked[key] += 1
        assert decision.remaining == LIMIT - asked[key]


def test_a_question_may_come_in_pieces(ready):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(ready.socket_path)
        for piece in (HEAD[:7], HEAD[7:] + b"203.0", b".113.7", b"\n"):
            connection.sendall(piece)
            time.sleep(0.05)
        assert decode_answer(connection.recv(100).rstrip()).remaining == LIMIT - 1
    assert ready.client().check("203.0.113.7", RATE).remaining == LIMIT - 2


def test_a_peek_tells_what_a_hit_would_meet_and_counts_nothing(ready):
    client = ready.client()
    for _ in range(2):
        assert client.peek("a", RATE) == Decision(True, LIMIT, 0)
    for _ in range(LIMIT):
        client.check("a", RATE)
    full = client.peek("a", RATE)
    assert (full.allowed, full.remaining) == (False, 0)
    assert 0 < full.reset_ns <= RATE.window_ns


def test_an_amount_is_accepted_all_or_none(ready):
    client = ready.client()
    assert client.check("a", RATE, 7) == Decision(True, LIMIT - 7, RATE.window_ns)
    refused = client.check("a", RATE, 4)
    assert (refused.allowed, refused.remaining) == (False, 3)
    assert 0 < refused.reset_ns <= RATE.window_ns
    assert client.check("a", RATE, 3).remaining == 0
    assert not client.check("a", RATE).allowed
    assert client.check("b", RATE, LIMIT).allowed


def test_a_client_is_forgotten_at_one_rate_and_everybody_at_all(ready):
    client = ready.client()
    other = Rate(2, RATE.window_ns)
    for rate in (RATE, other):
        for name in ("a", "ab"):
            client.check(name, rate, rate.limit)
            assert not client.check(name, rate).allowed
    client.clear("a", RATE)
    assert client.peek("a", RATE) == Decision(True, LIMIT, 0)
    assert not client.check("a", other).allowed
    assert not client.check("ab", RATE).allowed
    client.reset()
    for rate in (RATE, other):
        for name in ("a", "ab"):
            assert client.check(name, rate, rate.limit).allowed
    assert client.fallbacks == 0


def test_to_clear_what_was_never_counted_takes_no_room_for_a_rate(ready):
    client = ready.client()
    for limit in range(1, 3 * MAX_RATES):
        client.clear("a", Rate(limit, 10**9))
    for limit in range(1, MAX_RATES + 1):
        assert client.check("a", Rate(limit, 10**9)).allowed
    assert client.fallbacks == 0


def test_any_number_of_amounts_takes_no_memory():
    limiter = HostLimiter(max_clients=1)
    rate = Rate(10_000, 10**9)
    for amount in range(1, 10_001):
        limiter.questions_in([encode_question(encode_head(HIT, rate, amount), "a").rstrip()])
    assert len(limiter._kinds) == 1


def test_each_rate_has_a_count_of_its_own(ready):
    client = ready.client()
    other = Rate(1, RATE.window_ns)
    assert client.check("a", RATE).remaining == LIMIT - 1
    assert client.check("a", other) == Decision(True, 0, other.window_ns)
    assert not client.check("a", other).allowed
    assert client.check("a", RATE).remaining == LIMIT - 2


def test_the_statistics_tell_what_is_remembered(start, environ):
    environ["LIMITER_MAX_CLIENTS"] = "3"
    client = start(["sleep", "60"]).client(timeout_s=PATIENCE_S)
    eventually(client.stats, "an answer")
    for number in range(5):
        client.check(f"client-{number}", RATE)
    client.check("client-1", Rate(1, RATE.window_ns))
    assert client.stats() == {
        "clients": 4,
        "forgotten_early": 2,
        "shared_fallbacks": 0,
        "shared": 0,
    }


@pytest.mark.parametrize(
    "bad",
    [
        b"\n",
        b"203.0.113.7\n",
        HEAD + b"\n",
        HEAD + b"x" * (MAX_KEY_BYTES + 1) + b"\n",
        HEAD + b"x" * 1_000_000,
        HEAD + b"x" * 1_000_000 + b"\n",
        b"hit 0 1000000000 a\n",
        b"hit 10001 1000000000 a\n",
        b"hit 10 86400000000001 a\n",
        b"hit 10 a\n",
        b"hit 10 1000000000 0 a\n",
        b"hit 10 1000000000 11 a\n",
        b"hit 10 1000000000 -1 a\n",
        b"hit 10 1000000000 99999999999 a\n",
        b"peek 10 1000000000 2 a\n",
        b"clear 10 1000000000 2 a\n",
        b"clear a\n",
        b"reset a\n",
        b"reset 10 1000000000 a\n",
        b"take 10 1000000000 a\n",
        b"stats a\n",
        b"hit 10 1000000000 a then hit 10 1000000000 b then hit 10 1000000000 c\n",
        b"hit 10 1000000000 a then\n",
        b"hit 10 1000000000 a then hit 10 1000000000\n",
        b"hit 10 1000000000 a then hit 10 1000000000 2 b\n",
        b"hit 10 1000000000 2 a then hit 10 1000000000 b\n",
        b"hit 10 1000000000 a then peek 10 1000000000 b\n",
        b"clear 10 1000000000 a then hit 10 1000000000 b\n",
        b"hit 10 1000000000 a then stats\n",
        b"stats then hit 10 1000000000 b\n",
    ],
)
def test_bad_input_closes_its_own_connection_and_no_other(ready, bad):
    client = ready.client()
    client.check("a", RATE)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(ready.socket_path)
        connection.settimeout(PATIENCE_S)
        with contextlib.suppress(ConnectionError):
            connection.sendall(bad)
        with contextlib.suppress(ConnectionError):
            assert connection.recv(100) == b""
    assert client.check("a", RATE).remaining == LIMIT - 2
    assert client.fallbacks == 0


def test_one_rate_more_than_there_is_room_for_closes_the_connection(ready):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(ready.socket_path)
        connection.settimeout(PATIENCE_S)
        with connection.makefile("rb") as answers:
            for limit in range(1, MAX_RATES + 1):
                connection.sendall(encode_question(encode_head(HIT, Rate(limit, 10**9)), "a"))
                assert decode_answer(next(answers).rstrip()).allowed
            connection.sendall(encode_question(HEAD, "a"))
            assert answers.readline() == b""


def test_who_does_not_read_its_answers_is_not_read_from(ready):
    questions = encode_question(HEAD, "a") * 10_000
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(ready.socket_path)
        connection.setblocking(False)
        sent_bytes, limit_bytes = 0, 20_000_000
        quiet_since = time.monotonic()
        while sent_bytes < limit_bytes and time.monotonic() - quiet_since < 0.5:
            try:
                # From the middle of a question on, if the kernel took only a part.
                sent_bytes += connection.send(questions[sent_bytes % len(questions) :])
                quiet_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
    assert sent_bytes < limit_bytes
    client = ready.client(timeout_s=PATIENCE_S)
    assert client.check("b", RATE).allowed
    assert client.fallbacks == 0


class Transport:
    """Says only whether it is read from."""

    is_read = True

    def pause_reading(self):
        self.is_read = False

    def resume_reading(self):
        self.is_read = True

    def is_closing(self):
        return False

    def write(self, data):
        pass


def test_who_has_too_many_questions_unanswered_is_not_read_from_until_some_are_answered():
    asked = []
    limiter = HostLimiter(max_clients=1)
    limiter.answer = lambda questions, reply: asked.append((len(questions), reply))
    session, transport = Session(limiter), Transport()
    session.connection_made(transport)
    session.data_received(encode_question(HEAD, "a") * MAX_UNANSWERED)
    assert transport.is_read
    session.data_received(encode_question(HEAD, "a"))
    assert not transport.is_read
    session.pause_writing()
    for number, reply in asked:
        reply([b"allowed 1 1\n"] * number)
    assert not transport.is_read, "the answers are not taken"
    session.resume_writing()
    assert transport.is_read


@pytest.mark.parametrize(
    "decision", [Decision(True, 9, 10**9), Decision(False, 0, 1), Decision(True, 9999, 36 * 10**11)]
)
def test_a_decision_survives_the_protocol(decision):
    assert decode_answer(encode_answer(decision).rstrip()) == decision


@pytest.mark.parametrize("line", [b"", b"allowed 9", b"allowed 9 10 11", b"maybe 9 10"])
def test_what_is_no_answer_is_not_taken_for_one(line):
    with pytest.raises(ProtocolError):
        decode_answer(line)


@pytest.mark.parametrize("command", [HIT, PEEK])
def test_a_rate_survives_the_protocol(command):
    assert decode_head(encode_head(command, RATE).rstrip()) == (command, RATE, 1)


@pytest.mark.parametrize("amount", [1, 2, LIMIT])
def test_an_amount_survives_the_protocol(amount):
    assert decode_head(encode_head(HIT, RATE, amount).rstrip()) == (HIT, RATE, amount)


@pytest.mark.parametrize("amount", [-1, 0, LIMIT + 1, 1.5, "2"])
def test_an_amount_that_can_never_be_accepted_is_not_sent(amount):
    with pytest.raises(ValueError, match=f"not a whole number of 1 to {LIMIT} requests"):
        encode_head(HIT, RATE, amount)


def test_one_request_is_asked_for_as_in_former_releases():
    """Their limiter may still run when the first worker of this release starts."""
    assert encode_head(HIT, Rate(10, 10**9)) == b"hit 10 1000000000 "
    assert encode_head(PEEK, Rate(10, 10**9)) == b"peek 10 1000000000 "


@pytest.mark.parametrize("rate", [Rate(0, 1), Rate(1, 0), Rate(10_001, 1), Rate(1, 10**14)])
def test_a_rate_that_the_limiter_would_not_take_is_not_sent(rate):
    with pytest.raises(ValueError, match="not a rate"):
        encode_head(HIT, rate)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("10/second", (10, 10**9)), ("600/minute", (600, 60 * 10**9)), ("1/hour", (1, 3600 * 10**9))],
)
def test_a_rate_is_read(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["10", "10/day", "-1/second", "10.5/second", "99999/second"])
def test_a_rate_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="must be 1 to 10000 a second, minute or hour") as refused:
        parse_rate(text)
    assert repr(text) in str(refused.value)


def test_the_longest_socket_path_fits_and_one_byte_more_does_not():
    longest = "/" + "x" * (MAX_SOCKET_PATH_BYTES - 1)
    assert read_settings({"LIMITER_SOCKET": longest}).limiter_socket == longest
    with pytest.raises(BadSettings, match="LIMITER_SOCKET"):
        read_settings({"LIMITER_SOCKET": longest + "x"})
