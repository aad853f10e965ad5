"""What a web worker asks the limiter with.

Plain blocking sockets: in a gevent worker they are the patched ones. Make one client per process,
after the fork: two processes on one connection would read each other's answers.
"""

import contextlib
import logging
import queue
import socket
import threading
import time
from collections import OrderedDict

from sidecar.protocol import MAX_ANSWER_BYTES, ProtocolError, decode_answer, encode_request
from sidecar.sliding_log import Decision, SlidingLog

MAX_CONNECTIONS = 8
"""Per worker. A connection carries one question at a time and an answer takes some 100 µs, so
this is more than a worker can ask, and few enough for one limiter with many workers."""

POOL_WAIT_S = 1.0
"""How long a caller waits for a connection. Not part of the time-out: when a thousand greenlets
ask at once, the last waits some 100 ms for this process and not for the limiter, and counting
locally then would give up the exact count just when it matters."""

RECONNECT_PAUSE_NS = 100_000_000
"""While the limiter does not answer, one caller in this time tries again; the others count
locally at once."""

MAX_REMEMBERED_DENIALS = 10_000
"""About 3 MB. Forgetting one early costs one more question."""

MAX_LOCAL_CLIENTS = 50_000
"""About 20 MB at ten requests a client; several seconds of all that one worker can accept."""

logger = logging.getLogger("sidecar.client")


class LimiterClient:
    """Decisions of the limiter at ``socket_path``, and of a local log while it does not answer.

    ``limit`` and ``window_ns`` are those of the limiter. A local decision knows only this
    worker's requests: with n workers a client may then get n times the limit, and what the
    limiter had counted before it went is not known. ``fallbacks`` counts local decisions.

    A denial is remembered until it ends, so that a flood costs a dictionary look-up. That is
    exact: nothing that happens meanwhile lets the client in sooner.

    Safe for threads and greenlets.
    """

    def __init__(self, socket_path: str, limit: int, window_ns: int, *, timeout_s: float = 0.02):
        self._socket_path = socket_path
        self._timeout_s = timeout_s
        self._log = SlidingLog(limit, window_ns, MAX_LOCAL_CLIENTS)
        self._lock = threading.Lock()
        self._denied_until_ns: OrderedDict[str, int] = OrderedDict()
        self._answers = True
        self._next_attempt_ns = 0
        self.fallbacks = 0
        # None stands for a connection that is not open. Last in, first out, so that no more are
        # opened than are needed.
        self._connections: queue.LifoQueue[socket.socket | None] = queue.LifoQueue()
        for _ in range(MAX_CONNECTIONS):
            self._connections.put(None)

    @property
    def answers(self) -> bool:
        """Whether the limiter answered when it was last asked."""
        return self._answers

    def check(self, key: str) -> Decision:
        """May the client ``key`` make a request now? Asking counts as making it.

        Raises ValueError when ``key`` is none (protocol.encode_request), and nothing else.
        """
        request = encode_request(key)
        asked_ns = time.monotonic_ns()
        denied_until_ns = self._denied_until_ns.get(key, 0)
        if asked_ns < denied_until_ns:
            return Decision(False, 0, denied_until_ns - asked_ns)
        if not self._may_ask(asked_ns):
            return self._decide_locally(key)
        try:
            decision = self._ask(request)
        except queue.Empty:
            # No word about the limiter: this process has more to do than it can.
            return self._decide_locally(key)
        except (OSError, ProtocolError) as error:
            self._note_silence(error)
            return self._decide_locally(key)
        self._note_answer()
        if not decision.allowed:
            # Counted from before the question was sent: it may end a little early and cost
            # another question, but never refuses what the limiter would accept.
            self._remember_denial(key, asked_ns + decision.reset_ns)
        return decision

    def close(self) -> None:
        """Close the connections that are not in use. The client can still be used."""
        idle = []
        with contextlib.suppress(queue.Empty):
            for _ in range(MAX_CONNECTIONS):
                idle.append(self._connections.get_nowait())
        for connection in idle:
            if connection is not None:
                connection.close()
            self._connections.put(None)

    def _may_ask(self, now_ns: int) -> bool:
        if self._answers:
            return True
        with self._lock:
            if now_ns < self._next_attempt_ns:
                return False
            self._next_attempt_ns = now_ns + RECONNECT_PAUSE_NS
            return True

    def _ask(self, request: bytes) -> Decision:
        """Raises queue.Empty when no connection became free, OSError and ProtocolError when the
        limiter gave no answer."""
        answered_before = self._answers
        connection = self._connections.get(timeout=POOL_WAIT_S)
        try:
            if answered_before and not self._answers:
                raise TimeoutError("it stopped answering while this caller waited")
            if connection is not None:
                try:
                    return self._exchange(connection, request)
                except ConnectionError:
                    # Open since before a restart of the limiter, which is perhaps over.
                    connection.close()
            connection = self._connect()
            return self._exchange(connection, request)
        except BaseException:
            # Also when the greenlet is killed: an answer that nobody read would be taken for
            # the next caller's.
            if connection is not None:
                connection.close()
                connection = None
            raise
        finally:
            self._connections.put(connection)

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout_s)
        try:
            connection.connect(self._socket_path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _exchange(self, connection: socket.socket, request: bytes) -> Decision:
        connection.sendall(request)
        answer = b""
        while not answer.endswith(b"\n") and len(answer) < MAX_ANSWER_BYTES:
            received = connection.recv(MAX_ANSWER_BYTES)
            if not received:
                raise ConnectionResetError("it closed the connection")
            answer += received
        return decode_answer(answer)

    def _note_silence(self, error: Exception) -> None:
        with self._lock:
            self._next_attempt_ns = time.monotonic_ns() + RECONNECT_PAUSE_NS
            changed, self._answers = self._answers, False
        if changed:
            logger.warning("the limiter does not answer (%s): counting in this process", error)

    def _note_answer(self) -> None:
        if self._answers:
            return
        with self._lock:
            changed, self._answers = not self._answers, True
        if changed:
            logger.warning("the limiter answers again; %d decisions were local", self.fallbacks)

    def _decide_locally(self, key: str) -> Decision:
        with self._lock:
            self.fallbacks += 1
            return self._log.decide(key, time.monotonic_ns())

    def _remember_denial(self, key: str, until_ns: int) -> None:
        with self._lock:
            self._denied_until_ns[key] = until_ns
            self._denied_until_ns.move_to_end(key)
            if len(self._denied_until_ns) > MAX_REMEMBERED_DENIALS:
                self._denied_until_ns.popitem(last=False)
