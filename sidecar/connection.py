"""One connection of a worker to the limiter, with any number of questions under way.

A caller hands in its question and then sleeps; one reader takes the answers, which come in the
order of the questions, and wakes the callers. Threads by their standard names: in a gevent
worker they are greenlets.

A question is *gathered* while others are under way, *sent* when an answer to one of them has come,
and *answered*: by the reader, or by a caller whose time is over and who finds in the socket what
the reader of a busy process has not taken yet. Or the connection *fails*, and all who wait with it.
Every step is one hold of the connection's lock; whoever takes the last one releases ``done``.
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
        # A lock that somebody else releases is the cheapest thing to wait for.
        self.done = threading.Lock()
        self.done.acquire()


class Connection:
    """Safe for threads and greenlets; one that is killed while it waits leaves its answer to
    nobody. ``failure`` is None as long as it can be used: ConnectionError when the limiter closed
    it, as in a restart, TimeoutError and ProtocolError when asking again would be of no use.

    Whoever holds the lock waits for nothing, so no greenlet can be killed there half-way.
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
            # For the reader a second object: how long it waits belongs to the Python object.
            waiter = self._socket.dup()
            waiter.settimeout(None)
            # Not threading.Thread: its start() waits until the thread runs.
            _thread.start_new_thread(self._read, (waiter,))
        except BaseException:
            self._socket.close()
            raise

    def ask(self, question_bytes: bytes, timeout_s: float) -> bytes | None:
        """The answer without its line feed; None when there is none, and ``failure`` says why.

        One question without an answer in time ends the connection for all, or every caller would
        find out for itself. An answer that is there counts, even if this process was too busy to
        let the reader take it.
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
        # The time of one that was gathered begins when it has gone out, and if this process was too
        # busy for that, when it notices: now.
        if is_gathered and self._is_over(question, timeout_s):
            return question.answer
        with self._lock:
            if question.answer is None:
                self._fail(TimeoutError("no answer in time"))
        return question.answer

    def close(self, failure: Exception) -> None:
        """Everybody who waits goes away without an answer."""
        with self._lock:
            self._fail(failure)

    def _is_over(self, question: Question, timeout_s: float) -> bool:
        """Waits until it is answered or the connection has failed; False when neither came."""
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
        """What is unsent, as far as the kernel takes it: a few hundred questions.

        A socket that is full has questions that the limiter has not read yet, so there will be an
        answer after this, and then the rest is sent.
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
        """Hand out the answers that are there."""
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
