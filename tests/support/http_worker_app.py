"""A WSGI application that does whatever applications may do to a server, chosen by the path."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from wsgiref.types import StartResponse, WSGIEnvironment

import gevent

HUGE_BYTES = 64 * 1024 * 1024
"""More than the kernel buffers for a client that does not read."""
SLOW_S = 1.5

closed: list[str] = []


class Chunks:
    """An iterable that must be closed. It can be made to fail in the middle."""

    def __init__(self, *, broken: bool):
        self._broken = broken

    def __iter__(self) -> Iterator[bytes]:
        yield b"one,"
        if self._broken:
            raise RuntimeError("in the middle")
        yield b"two"

    def close(self) -> None:
        closed.append("broken" if self._broken else "whole")


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    told["body"] = environ["wsgi.input"].read().decode("latin-1")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]


def count_bytes(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Like an application with a size limit: it uses Content-Length and does not read the body."""
    start_response("413 TOO LARGE", [])
    return [environ["CONTENT_LENGTH"].encode()]


def fail(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    raise RuntimeError("on purpose")


def leave(_environ: WSGIEnvironment, _start_response: StartResponse) -> Iterable[bytes]:
    sys.exit("on purpose")


def time_out(_environ: WSGIEnvironment, _start_response: StartResponse) -> Iterable[bytes]:
    with gevent.Timeout(0.01):
        gevent.sleep(10)
    return []


def begin_twice(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    start_response("201 CREATED", [])
    return []


def change_its_mind(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("X-First", "1")])
    try:
        raise RuntimeError
    except RuntimeError:
        start_response("503 UNAVAILABLE", [("X-Second", "1")], sys.exc_info())
    return [b"later"]


def never_begin(_environ: WSGIEnvironment, _start_response: StartResponse) -> Iterable[bytes]:
    return [b"body"]


def begin_late(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    yield b"late"


def write(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])(b"written,")
    return [b"returned"]


def split_the_head(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("X-Name", "a\rX-Injected: b")])
    return []


def lie_about_length(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "2")])
    return [b"abHTTP/1.1 200 OK\r\n\r\n"]


def say_chunked(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Transfer-Encoding", "chunked")])
    return [b"0\r\n\r\n"]


def no_content(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response(f"{environ['QUERY_STRING']} NOTHING", [])
    return [b"a body that must not be sent"]


def huge(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [bytes(HUGE_BYTES)]


def slow(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    gevent.sleep(SLOW_S)
    start_response("200 OK", [])
    return [b"slow"]


def chunks(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return Chunks(broken=environ["QUERY_STRING"] == "broken")


def which_closed(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [" ".join(closed).encode()]


PATHS: dict[str, Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]] = {
    f"/{function.__name__}": function
    for function in (
        echo,
        count_bytes,
        fail,
        leave,
        time_out,
        begin_twice,
        change_its_mind,
        never_begin,
        begin_late,
        write,
        split_the_head,
        lie_about_length,
        say_chunked,
        no_content,
        huge,
        slow,
        chunks,
        which_closed,
    )
}


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return PATHS.get(environ["PATH_INFO"], echo)(environ, start_response)
