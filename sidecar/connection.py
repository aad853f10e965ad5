"""One connection of a worker to the limiter, with any number of questions in flight.

A caller adds its question and sleeps; one reader receives the answers, which come in the order of
the questions, and wakes the callers. This uses the standard threading API: in a gevent worker the
threads are greenlets.

A question is *gathered* while others are in flight, *sent* when an answer to one of them has
arrived, and *answered*: by the reader, or by a caller whose time is up and who reads from the
socket what the reader of a busy process has not received yet. Or the connection *fails*, and with
it everything that waits. Each step holds the connection's lock; the last one releases ``done``.
"""

import _thread
import contextlib
import socket
import threading
from collections import deque

from sidecar.protocol import MAX_ANSWER_BYTES, ProtocolError

RECEIVE_BYTES = 65_536
"""More than two thousand answers in one call."""


class Question:
    __slots__ = ("answer", "done")

    def __init__(self) -> None:
        self.answer: bytes | None = None
        # A lock that another caller releases is the cheapest thing to wait for.
        self.done = threading.Lock()
        self.done.acquire()


class Connection:
    """Safe for threads and greenlets; the answer of one that is killed while it waits is discarded.
    ``failure`` is None as long as the connection can be used. It is a ConnectionError when the
    limiter closed it, as in a restart, and a TimeoutError or ProtocolError when trying again would
    not help.

    The holder of the lock never waits, so no greenlet can be killed in a critical section.
    """

    def __init__(self, socket_path: str):
        """Raises OSError when nobody listens on ``socket_path``, RuntimeError when this process can
        have no more threads."""
        self.failure: Exception | None = None
        self._lock = threading.Lock()
        self._waiting: deque[Question] = deque()
        self._unsent = bytearray()
        self._unread = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(socket_path)
            # A second object for the reader: the timeout belongs to the Python object.
            waiter = self._socket.dup()
            waiter.settimeout(None)
            # Not threading.Thread: its start() waits until the thread runs.
            _thread.start_new_thread(self._read, (waiter,))
        except BaseException:
            self._socket.close()
            raise

    def ask(self, question_bytes: bytes, timeout_s: float) -> bytes | None:
        """The answer without its line feed; None if there is none, and ``failure`` says why.

        One question that times out ends the connection for all callers, or each would wait for its
        own time-out. An answer that has arrived counts, even if this process was too busy for the
        reader to receive it.
        """
        question = Question()
        with self._lock:
            if self.failure is not None:
                return None
            self._waiting.append(question)
            self._unsent += question_bytes
            # While an answer is awaited, questions gather and go out when it has come (Nagle's
            # algorithm): one system call for all of them.
            if len(self._waiting) == 1:
                self._send()
            is_gathered = bool(self._unsent)
        if self._is_over(question, timeout_s):
            return question.answer
        # The time of a gathered question begins when it is sent, or now if this process was too
        # busy to send it.
        if is_gathered and self._is_over(question, timeout_s):
            return question.answer
        with self._lock:
            if question.answer is None:
                self._fail(TimeoutError("no answer in time"))
        return question.answer

    def close(self, failure: Exception) -> None:
        """All callers that wait get no answer."""
        with self._lock:
            self._fail(failure)

    def _is_over(self, question: Question, timeout_s: float) -> bool:
        """Waits until it is answered or the connection has failed; False if neither happened."""
        if question.done.acquire(timeout=max(0.0, timeout_s)):
            return True
        with self._lock:
            self._receive()
        return question.answer is not None

    def _read(self, waiter: socket.socket) -> None:
        try:
            while self.failure is None:
                with contextlib.suppress(OSError):  # which _receive meets as well
                    waiter.recv(1, socket.MSG_PEEK)  # waits until there is something
                with self._lock:
                    self._receive()
        finally:
            self.close(ConnectionAbortedError("its reader has ended"))
            waiter.close()

    # ------------------------------------------------- from here on with the lock held

    def _send(self) -> None:
        """Sends as much as the kernel takes: a few hundred questions.

        If the socket is full, the limiter has not read all questions yet, so another answer will
        come, and then the rest is sent.
        """
        try:
            # The flag because the file description, which the waiter shares, is a blocking one.
            sent = self._socket.send(self._unsent, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        del self._unsent[:sent]

    def _receive(self) -> None:
        """Distributes the answers that have arrived."""
        while self.failure is None:
            try:
                received = self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                self._fail(error)
                return
            if not received:
                self._fail(ConnectionResetError("it closed the connection"))
                return
            *answers, self._unread = (self._unread + received).split(b"\n")
            if len(answers) > len(self._waiting) or len(self._unread) > MAX_ANSWER_BYTES:
                self._fail(ProtocolError(f"not an answer: {received[:MAX_ANSWER_BYTES]!r}"))
                return
            for answer in answers:
                question = self._waiting.popleft()
                question.answer = answer
                question.done.release()
            if self._unsent:
                self._send()
            if len(received) < RECEIVE_BYTES:
                return

    def _fail(self, failure: Exception) -> None:
        if self.failure is not None:
            return
        self.failure = failure
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # which wakes the reader
        self._socket.close()
        while self._waiting:
            self._waiting.popleft().done.release()
