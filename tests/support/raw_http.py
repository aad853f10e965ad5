"""HTTP over sockets, for requests that no client library would send, and for many at once."""

import asyncio
import contextlib
import http.client
import io
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

TIMEOUT_S = 15
SILENCE_BEFORE_S = 10.0
"""How long to wait for the first answer: much longer than a busy machine takes."""
SILENCE_AFTER_S = 0.3
"""How long to wait for further answers on a connection that stays open."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)


def request_bytes(method: str, path: str, *lines: str, body: bytes = b"") -> bytes:
    """A request with only these header lines, and Host."""
    head = "\r\n".join((f"{method} {path} HTTP/1.1", "Host: tickets.example", *lines))
    return head.encode("latin-1") + b"\r\n\r\n" + body


def exchange(
    url: str,
    sent: bytes,
    silence_before_s: float = SILENCE_BEFORE_S,
    silence_after_s: float = SILENCE_AFTER_S,
    source: str = "",
) -> list[Answer]:
    """Send bytes on one connection and read all answers, until it is closed or falls silent.
    ``source`` is the address of this machine to connect from, if any will not do.

    The connection is not half-closed after sending: to nginx that means that the client has
    left."""
    address = urlsplit(url)
    received = bytearray()
    where, here = (address.hostname, address.port), (source, 0) if source else None
    with socket.create_connection(where, TIMEOUT_S, here) as there:
        there.sendall(sent)
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            there.settimeout(silence_before_s)
            while piece := there.recv(65_536):
                received += piece
                there.settimeout(silence_after_s)
    return list(_answers(bytes(received)))


class Received(io.BytesIO):
    """The parts of a socket that http.client needs, which it cannot close after the first
    answer."""

    def makefile(self, _mode: str) -> "Received":
        return self

    def close(self) -> None:
        pass


def _answers(received: bytes) -> Iterator[Answer]:
    stream = Received(received)
    while stream.tell() < len(received):
        response = http.client.HTTPResponse(stream)
        response.begin()
        yield Answer(response.status, dict(response.headers), response.read())


class Connection:
    """A keep-alive connection of an asyncio client, for one request at a time. It reconnects when
    the server closes it, as nginx does after a number of requests."""

    def __init__(self, url: str):
        address = urlsplit(url)
        self._where = address.hostname, address.port

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def _open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(*self._where)

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def ask(self, method: str, path: str, *lines: str) -> Answer:
        self._writer.write(request_bytes(method, path, *lines))
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in rest)
        body = await self._reader.readexactly(int(headers.get("Content-Length", 0)))
        if headers.get("Connection") == "close":
            self._writer.close()
            await self._open()
        return Answer(int(first.split()[1]), headers, body)
