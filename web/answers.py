"""An answer to a program, before it is known who sends it: Flask, or the server without Flask."""

from collections.abc import Callable, Iterable
from functools import cache
from http import HTTPStatus
from typing import NamedTuple

from flask import Response

StartResponse = Callable[..., object]
WsgiApp = Callable[[dict, StartResponse], Iterable[bytes]]


class Answer(NamedTuple):
    """``headers`` are all but Content-Length."""

    status: int
    body: bytes
    headers: list[tuple[str, str]]

    def response(self) -> Response:
        return Response(self.body, self.status, self.headers)

    def send(self, start_response: StartResponse) -> list[bytes]:
        """As a WSGI application does."""
        headers = self.headers
        if self.status != HTTPStatus.NOT_MODIFIED:  # whose length would be that of the 200
            headers = [*headers, ("Content-Length", str(len(self.body)))]
        start_response(_status_line(self.status), headers)
        return [self.body]


@cache
def _status_line(status: int) -> str:
    known = status in HTTPStatus._value2member_map_
    return f"{status} {HTTPStatus(status).phrase if known else 'Unknown'}"
