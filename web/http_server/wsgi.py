"""WSGI (PEP 3333) without I/O: the environ of a request, and a response as bytes."""

import io
import json
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIEnvironment

from web.http_server.request_reader import Request

Headers = list[tuple[str, str]]

CODES = {
    HTTPStatus.REQUEST_TIMEOUT: "request_timeout",
    HTTPStatus.REQUEST_URI_TOO_LONG: "uri_too_long",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "header_too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limited",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal_error",
    HTTPStatus.NOT_IMPLEMENTED: "not_implemented",
}

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "trailer", "upgrade"})
"""Fields that only the server may send, not the application (PEP 3333)."""

_NO_BODY = ("204", "304")


def request_environ(request: Request) -> WSGIEnvironment:
    """The request's part of a WSGI environ; the rest is the connection's."""
    path, _, query = request.target.partition("#")[0].partition("?")
    if "%" in path:
        path = unquote_to_bytes(path).decode("latin-1")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": path,
        # Not in PEP 3333: the target before decoding, under gunicorn's name.
        "RAW_URI": request.target,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": f"HTTP/{request.version}",
        "wsgi.input": io.BytesIO(request.body),
        **request.fields,
    }
    if "HTTP_TRANSFER_ENCODING" in environ:
        del environ["HTTP_TRANSFER_ENCODING"]
        environ["CONTENT_LENGTH"] = str(len(request.body))
    return environ


def response_bytes(request: Request, status: str, headers: Headers, body: bytes) -> bytes:
    """An application's response to ``request`` as bytes. Raises ValueError for headers that would
    end it early, or that only the server may send."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    fields = {name.lower(): value for name, value in headers}
    if not HOP_BY_HOP.isdisjoint(fields):
        raise ValueError(f"not for an application to say: {HOP_BY_HOP & fields.keys()}")
    if request.method == "HEAD" or status.startswith(_NO_BODY):
        body = b""
    elif "content-length" not in fields:
        lines.append(f"Content-Length: {len(body)}")
    elif fields["content-length"] != str(len(body)):
        raise ValueError(f"{len(body)} bytes, and Content-Length {fields['content-length']}")
    if "date" not in fields:
        lines.append(f"Date: {_date(int(time.time()))}")
    if not request.keep_alive:
        lines.append("Connection: close")
    elif request.version == "1.0":
        lines.append("Connection: keep-alive")
    head = "\r\n".join(lines)
    if not head.count("\r") == head.count("\n") == len(lines) - 1:
        raise ValueError("a line break in a header")
    return head.encode("latin-1") + b"\r\n\r\n" + body


@lru_cache(maxsize=1)
def _date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)


def problem_bytes(status: HTTPStatus, detail: str) -> bytes:
    """A problem in the format of all others, as the last response of its connection."""
    problem = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status,
        "code": CODES.get(status, "bad_request"),
        "detail": detail,
    }
    headers = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers.append(("Retry-After", "1"))
    body = json.dumps(problem).encode()
    return response_bytes(Request(), f"{status.value} {status.phrase}", headers, body)
