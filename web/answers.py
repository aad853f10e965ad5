"""Requests and answers as WSGI has them: for Flask, and for what answers without Flask."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, NamedTuple

from flask import Response

StartResponse = Callable[..., object]
WsgiApp = Callable[[dict, StartResponse], Iterable[bytes]]

CLIENT = "tickets.client"
"""Where a request's environment has the client's key, as client_key makes it."""

_API_PATHS = ("/api/", "/webhooks/")


def wants_page(environ: Mapping[str, Any]) -> bool:
    """Whether a browser asks for something to look at, and not a program for data."""
    path = environ.get("PATH_INFO", "")
    return "text/html" in environ.get("HTTP_ACCEPT", "") and not path.startswith(_API_PATHS)


class Answer(NamedTuple):
    """To a program. ``headers`` are all but Content-Length."""

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
