"""One connection to the limiter, with a limiter that does what a real one seldom does."""

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from sidecar.connection import Connection
from sidecar.protocol import ProtocolError
from tests.support.sidecars import PATIENCE_S
from tests.support.waiting import eventually

QUESTION = b"q" * 999 + b"\n"
MORE_THAN_A_SOCKET_HOLDS = 400
"""Questions. Linux buffers some 200 KB of them (``net.core.wmem_default``)."""


class Ends(NamedTuple):
    ours: Connection
    limiters: socket.socket

    def hear(self, number: int) -> None:
        """The limiter receives so many questions."""
        left = number * len(QUESTION)
        while left:
            left -= len(self.limiters.recv(left))

    def ask(self) -> bytes | None:
        return self.ours.ask(QUESTION, PATIENCE_S)


@pytest.fixture
def ends() -> Iterator[Ends]:
    path = f"\0tickets-test-{os.getpid()}-{threading.get_ident()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        connection = Connection(path)
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(PATIENCE_S)
            yield Ends(connection, accepted)
            connection.close(ConnectionAbortedError("the test is over"))


def test_questions_that_no_longer_fit_into_the_socket_go_out_when_there_is_room(ends):
    with ThreadPoolExecutor(MORE_THAN_A_SOCKET_HOLDS) as callers:
        first = callers.submit(ends.ask)
        ends.hear(1)
        others = [callers.submit(ends.ask) for _ in range(MORE_THAN_A_SOCKET_HOLDS - 1)]
        eventually(lambda: len(ends.ours._waiting) == MORE_THAN_A_SOCKET_HOLDS, "all callers")
        # The others follow the first answer, as many as fit. At the second, none fits.
        for number in range(2):
            ends.limiters.sendall(b"answer %d\n" % number)
        assert first.result(PATIENCE_S) == b"answer 0"
        eventually(lambda: len(ends.ours._waiting) == MORE_THAN_A_SOCKET_HOLDS - 2, "two answers")
        assert ends.ours._unsent
        for number in range(2, MORE_THAN_A_SOCKET_HOLDS):
            ends.hear(1)
            ends.limiters.sendall(b"answer %d\n" % number)
        answers = [other.result(PATIENCE_S) for other in others]
    assert sorted(answers) == sorted(
        b"answer %d" % number for number in range(1, MORE_THAN_A_SOCKET_HOLDS)
    )
    assert ends.ours.failure is None


def test_a_limiter_that_hears_no_more_fails_the_connection(ends):
    ends.limiters.shutdown(socket.SHUT_RD)
    assert ends.ask() is None
    assert isinstance(ends.ours.failure, BrokenPipeError)


def test_a_limiter_that_ends_with_a_question_unheard_fails_the_connection(ends):
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(ends.ask)
        ends.limiters.recv(1)
        ends.limiters.close()
        assert asked.result(PATIENCE_S) is None
    assert isinstance(ends.ours.failure, ConnectionResetError)


def test_an_answer_that_nobody_asked_for_fails_the_connection(ends):
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(ends.ask)
        ends.hear(1)
        ends.limiters.sendall(b"one\ntwo\n")
        assert asked.result(PATIENCE_S) is None
    assert isinstance(ends.ours.failure, ProtocolError)


def test_nothing_is_sent_on_a_connection_that_has_failed(ends):
    failure = TimeoutError("no answer in time")
    ends.ours.close(failure)
    assert ends.ask() is None
    assert ends.ours.failure is failure
    assert ends.limiters.recv(1) == b"", "it is closed"
