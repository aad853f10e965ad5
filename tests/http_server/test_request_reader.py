"""What the HTTP server reads from bytes and what it refuses to read, without a socket."""

from itertools import pairwise

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.parser import RequestParser
from hypothesis import given
from hypothesis import strategies as st

from tests.attacks.corpora.framing import FRAMINGS
from web.http_server import request_reader
from web.http_server.request_reader import BadRequest, Limits, Request, RequestReader
from web.http_server.wsgi import request_environ

FIELD_BYTES = 16 * 1024

HEAD = b"GET /echo HTTP/1.1\r\nHost: a\r\n"
GET = HEAD + b"\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def read(data: bytes, *, piece_bytes: int | None = None) -> list[Request]:
    """Raises BadRequest when they cannot be read."""
    reader = RequestReader(Limits(FIELD_BYTES, 100))
    read: list[Request] = []
    step = piece_bytes or len(data)
    for start in range(0, len(data), step):
        requests, bad = reader.feed(data[start : start + step])
        read += requests
        if bad:
            raise bad
    assert reader.unfinished is None
    return read


def assert_refused(data: bytes, status: int) -> None:
    for piece_bytes in (None, 1):
        with pytest.raises(BadRequest) as refused:
            read(data, piece_bytes=piece_bytes)
        assert refused.value.status == status, refused.value


# ---------------------------------------------------------------- what the application sees


def seen(environ: dict) -> dict:
    """What an application can know of a request: not how its body came."""
    return {
        name: value
        for name, value in environ.items()
        if name in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL")
        or (name.startswith(("HTTP_", "CONTENT_TYPE")) and name != "HTTP_TRANSFER_ENCODING")
    }


def seen_by_gunicorn(data: bytes) -> tuple[dict, bytes]:
    config = Config()
    request = next(RequestParser(config, iter([data]), ("192.0.2.1", 1)))
    _, environ = wsgi.create(request, None, ("192.0.2.1", 1), ("192.0.2.2", 2), config)
    return seen(environ), request.body.read()


@pytest.mark.parametrize(
    "data",
    [
        GET,
        b"\r\n" + GET,
        b"GET //x//y HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%2F%2f%00%zz%e9%?%2F%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a?b?c=/d#e?f HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a#b?c HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a;b:c@d/../e|{}\"<>^`'[]\\ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /http://b/c HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3 \r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 00000000000000000003\r\n\r\nabc",
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
            b"003;x=y\r\nabc\r\n1\r\nd\r\n0\r\nX: x\r\n\r\n"
        ),
        HEAD + b"X:\r\nY: \t a b \t\r\nZ:c\r\nConnection: keep-alive\r\n\r\n",
        HEAD + b"X: 1\r\nx: 2\r\nX:\r\nContent-Type: a/b\r\nCookie: a\r\ncookie: b\r\n\r\n",
        HEAD + b"X-Y: 1\r\nX_Y: 2\r\nContent_Length: 3\r\nScript_Name: /x\r\n\r\n",
        HEAD + b"X: \xe9\xff\r\n\r\n",
        HEAD + b"Content_Type: x\r\n!#$%&'*+-.^`|~1: x\r\n\r\n",
    ],
)
def test_the_application_sees_what_gunicorns_own_parser_would_show(data):
    for piece_bytes in (None, 1):
        (request,) = read(data, piece_bytes=piece_bytes)
        environ = request_environ(request)
        assert (seen(environ), environ["wsgi.input"].read()) == seen_by_gunicorn(data)


@pytest.mark.parametrize("target", ["http://other/a?b", "HTTP://other/a?b"])
def test_the_host_of_an_absolute_address_counts_more_than_the_header(target):
    (request,) = read(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    environ = request_environ(request)
    assert environ["HTTP_HOST"] == "other"
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/a", "b")


def test_an_absolute_address_may_have_no_path():
    for target, query in ((b"http://a", ""), (b"http://a?b/c", "b/c")):
        (request,) = read(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        environ = request_environ(request)
        assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/", query)


def test_a_trailer_is_not_a_header_of_its_request_nor_of_the_next():
    trailers = b"X-Forwarded-For: 6.6.6.6\r\nX-Other: 1\r\n\r\n"
    for piece_bytes in (None, 1):
        requests = read(CHUNKED + b"1\r\na\r\n0\r\n" + trailers + GET, piece_bytes=piece_bytes)
        assert [sorted(request.fields) for request in requests] == [
            ["HTTP_HOST", "HTTP_TRANSFER_ENCODING"],
            ["HTTP_HOST"],
        ]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (HEAD + b"Host: a\r\n\r\n", 400),
        (HEAD + b"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
        (HEAD + b"Content-Length: 1, 1\r\n\r\na", 400),
        (HEAD + b"Content-Length: 1 1\r\n\r\n" + b"a" * 20, 400),
        (HEAD + b"Content-Length:\r\n\r\n", 400),
        (HEAD + b"Content-Length: +1\r\n\r\na", 400),
        (HEAD + b"Content-Length: " + b"0" * 20 + b"1\r\n\r\na", 400),
        (HEAD + b"Content-Length: 18446744073709551616\r\n\r\na", 400),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (CHUNKED + b"1 \r\na\r\n0\r\n\r\n", 400),
        (CHUNKED + b"1\na\n0\n\n", 400),
        (CHUNKED + b'1;a="\r"\r\na\r\n0\r\n\r\n', 400),
        (CHUNKED + b"1;a\nb\r\na\r\n0\r\n\r\n", 400),
        (CHUNKED + b"1\r\na\r\n0\r\nContent-Length: 5\r\n\r\n", 400),
        (HEAD + b"X: a\r\n b\r\n\r\n", 400),
        (HEAD + b"X : a\r\n\r\n", 400),
        (HEAD + b": a\r\n\r\n", 400),
        (HEAD + b"X\xdf: a\r\n\r\n", 400),
        (HEAD + b"X\0: a\r\n\r\n", 400),
        (HEAD + b"X: a\0\r\n\r\n", 400),
        (HEAD + b"X: a\x7f\r\n\r\n", 400),
        (HEAD + b"X: a\rY: b\r\n\r\n", 400),
        (HEAD + b"X: a\nY: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://user@host/a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 505),
    ],
)
def test_what_two_servers_could_read_differently_is_refused(data, status):
    assert_refused(data, status)


def test_a_request_with_a_body_that_asks_for_another_protocol_is_refused_whole():
    """llhttp would take its body for that protocol's bytes, and the application see none."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    assert_refused(HEAD + upgrade + b"Content-Length: 3\r\n\r\nabc", 501)
    assert_refused(HEAD + upgrade + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501)


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"", b"\r\n"),
        (b"", b"GET"),
        (b"GET /", b"a"),
        (b"GET ", b" "),
        (HEAD, b"a"),
        (HEAD + b"X:", b" "),
        (HEAD + b"X: ", b"a"),
        (HEAD, b"X: a\r\n"),
        (HEAD, b"X_Y: a\r\n"),
        (CHUNKED, b"0"),
        (CHUNKED + b"1;", b"a"),
        (CHUNKED + b"1;a=", b"a"),
        (CHUNKED, b"1;" + b"a" * 1000 + b"\r\na\r\n"),
        (CHUNKED, b"1\r\na\r\n"),
        (CHUNKED + b"0\r\n", b"X: a\r\n"),
        (CHUNKED + b"0\r\n", b"a"),
        (CHUNKED + b"0\r\nX: ", b"a"),
    ],
)
def test_nothing_beside_a_body_can_go_on_for_ever(begin, piece):
    reader = RequestReader(Limits(FIELD_BYTES, 100))
    reader.feed(begin)
    fed_bytes = 0
    bad = None
    pieces = piece * (1 + 8192 // len(piece))
    while not bad:
        _, bad = reader.feed(pieces)
        fed_bytes += len(pieces)
        assert fed_bytes < 2 * request_reader.MAX_FRAMING_BYTES
    assert bad.status in (400, 414, 431)


def test_a_body_in_small_chunks_is_no_overhead():
    chunks = (b"40\r\n" + b"a" * 64 + b"\r\n") * 1024
    (request,) = read(CHUNKED + chunks + b"0\r\n\r\n", piece_bytes=1000)
    assert len(request.body) == 64 * 1024


def test_what_was_sent_before_does_not_count_against_a_connection():
    many = GET * (3 * request_reader.MAX_FRAMING_BYTES // len(GET))
    assert len(read(many, piece_bytes=1000)) == len(many) // len(GET)


def test_limits_that_are_reached_are_kept():
    longest = b"GET /" + b"a" * (FIELD_BYTES - 1) + b" HTTP/1.1\r\nHost: a\r\n"
    fields = b"X: " + b"a" * (FIELD_BYTES - 1) + b"\r\n" + b"Y: a\r\n" * 98 + b"\r\n"
    (request,) = read(longest + fields)
    assert len(request.target) == FIELD_BYTES
    assert_refused(longest.replace(b" /", b" /a") + fields, 414)
    assert_refused(longest + b"Z: a\r\n" + fields, 431)
    assert_refused(longest + fields.replace(b"X: ", b"X: a"), 431)


def test_a_name_with_an_underscore_counts_as_a_field_all_the_same():
    assert_refused(HEAD + b"X_Y: a\r\n" * 100 + b"\r\n", 431)


# ---------------------------------------------------------------- however the bytes come


def outcome(pieces: list[bytes]) -> tuple:
    """Everything that a connection reads: the requests, the refusal, what is still expected."""
    reader = RequestReader(Limits(FIELD_BYTES, 100))
    read, refused = [], None
    for piece in pieces:
        requests, bad = reader.feed(piece)
        read += [
            (r.method, r.target, r.version, dict(r.fields), bytes(r.body), r.keep_alive)
            for r in requests
        ]
        refused = bad and (bad.status, bad.detail)
        if bad or (requests and not requests[-1].keep_alive):
            return read, refused, None
    unfinished = reader.unfinished
    return read, refused, unfinished and (unfinished.has_whole_head, bytes(unfinished.body))


def split(data: bytes, places: list[int]) -> list[bytes]:
    """A place beyond the end of ``data`` counts on from its beginning."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


WHOLE = [
    GET,
    b"\r\n" + GET,
    HEAD + b"X: 1\r\nx: 2\r\nX_Y: 3\r\n\r\n",
    HEAD + b"Connection: close\r\n\r\n",
    HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    HEAD + b"Content-Length: 5\r\n\r\nGET /",
    b"GET http://b/c?d HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
    CHUNKED + b"3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
]
BROKEN = [
    *[HEAD, CHUNKED, CHUNKED + b"g\r\n", GET.replace(b"Host", b"H"), GET.replace(b"1.1", b"2.0")],
    *[b"GET / HTTP/1.1\n\n", HEAD + b"X : a\r\n\r\n", HEAD + b"Host: b\r\n\r\n", b"\0"],
    *[HEAD + b"X: a\r\n" * 100 + b"\r\n", b"?" * 20],
    *(framing.sent.encode("latin-1", "replace") for framing in FRAMINGS),
]
streams = st.lists(
    st.sampled_from(WHOLE) | st.sampled_from(BROKEN) | st.binary(max_size=8), min_size=1, max_size=5
).map(b"".join)
places = st.lists(st.integers(0, 10_000), max_size=20)


@given(streams, places)
def test_however_bytes_are_split_they_are_the_same_requests(data, places):
    whole = outcome([data])
    assert outcome(split(data, places)) == whole
    assert outcome([bytes([byte]) for byte in data]) == whole


@given(st.lists(st.sampled_from(WHOLE[:4]), max_size=4), st.data())
def test_a_byte_that_was_changed_makes_no_second_request(requests, data):
    """Whatever happens to the current request, those before it are unaffected."""
    sent = bytearray(b"".join(requests) + GET)
    place = data.draw(st.integers(len(sent) - len(GET), len(sent) - 1), "place")
    before, _, _ = outcome([bytes(sent[: len(sent) - len(GET)])])
    sent[place] = data.draw(st.integers(0, 255), "byte")
    read, _, _ = outcome([bytes(sent)])
    assert read[: len(before)] == before
    assert len(read) <= len(before) + 1


@given(st.integers(1, 3), places)
def test_a_body_that_is_too_long_is_cut_at_the_same_byte(chunks, places):
    body = b"x" * (request_reader.MAX_BODY_BYTES // chunks + 1)
    data = CHUNKED + (b"%x\r\n%b\r\n" % (len(body), body)) * chunks + b"0\r\n\r\n"
    (cut,), refused, _ = outcome(split(data, [place * 30 for place in places]))
    assert refused is None
    body, keep_alive = cut[-2:]
    assert (len(body), keep_alive) == (request_reader.MAX_BODY_BYTES + 1, False)
