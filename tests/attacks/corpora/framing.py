"""Requests about whose end, or whose parts, two readers could disagree.

After RFC 9112 (2.2, 6.1, 6.3, 7.1, 11.2) and what is public about request smuggling: Linhart,
Klein, Heled and Orrin 2005, Kettle 2019, and the differences between servers found since.

In the bytes, ``{event}`` and ``{address}`` are filled in, ``{hidden}`` is a whole request that
holds a seat, and ``{length}`` is that of all that follows the head.
"""

from enum import Enum
from typing import NamedTuple


class Outcome(Enum):
    REFUSED = "the application hears nothing of it, and the connection ends"
    ONE = "refused, or one request, in whose body the hidden one is"
    OWN = "refused, or both are requests of their own: each is answered and counted"


REFUSED, ONE, OWN = Outcome


class Framing(NamedTuple):
    """What was sent, and what must become of it at gunicorn and through nginx. nginx may understand
    more: it sends the application what it has understood, in the plain form."""

    name: str
    sent: str
    at_gunicorn: Outcome = REFUSED
    through_nginx: Outcome = REFUSED


PATH = "/api/events/{event}/holds"
AFTER_CHUNKS = "0\r\n\r\n{hidden}"
"""The body ends here for a parser that reads chunks, but not for one that counts bytes."""


def with_lines(
    *lines: str, body: str = "{hidden}", first_line: str = f"POST {PATH} HTTP/1.1"
) -> str:
    """A list of seats to be held, with these header lines."""
    head = (first_line, "Host: tickets.example", "X-Forwarded-For: {address}", *lines)
    return "\r\n".join(head) + "\r\n\r\n" + body


def chunked_by(coding: str) -> str:
    return with_lines(f"Transfer-Encoding:{coding}", body=AFTER_CHUNKS)


# ---------------------------------------------------------------- where a body ends

BOTH_WAYS_TO_END = [
    Framing(f"both, {lines}", with_lines(*lines, body=AFTER_CHUNKS))
    for lines in (
        ["Content-Length: 5", "Transfer-Encoding: chunked"],  # CL.TE
        ["Transfer-Encoding: chunked", "Content-Length: 5"],  # TE.CL
        ["Content-Length: {length}", "Transfer-Encoding: chunked"],
        ["Content-Length: 0", "Transfer-Encoding: chunked"],
        ["Content-Length: 5", "TRANSFER-ENCODING: CHUNKED"],
        ["Content-Length: 5", "Connection: Transfer-Encoding", "Transfer-Encoding: chunked"],
    )
]

OBSCURE_CODINGS = [  # TE.TE: one of two readers is to overlook it
    Framing("coding ' chunked\\r'", chunked_by(" chunked\r"), REFUSED, OWN),
    *(
        Framing(f"coding {value!r}", chunked_by(value))
        for value in (
            *(" xchunked", " chunk", " identity", " cow", "", " "),
            *(" chunked, identity", " identity, chunked", " gzip, chunked", " chunked, chunked"),
            *(" ,chunked", " chunked,", " chunked;q=1", ' "chunked"', " c\xadhunked"),
            *(" chunked\0", " \0chunked", "\x0bchunked", " \x0bchunked", " chunked\x0b"),
            *(" chunked\x7f", " \xa0chunked", " chunked\x85", "\n chunked"),
            *("\r\n chunked", "\r\n\tchunked"),
            " cow\r\nTransfer-Encoding: chunked",
            " chunked\r\nTransfer-Encoding: cow",
            " chunked\r\nTransfer-Encoding: chunked",
            " chunked\r\nTransfer-Encoding: identity",
        )
    ),
]

OBSCURE_NAMES = [
    Framing(
        f"line {line!r}", with_lines("Content-Length: {length}", line), at_gunicorn, through_nginx
    )
    for at_gunicorn, through_nginx, lines in (
        (
            REFUSED,
            REFUSED,
            (
                *("Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked"),
                *(" Transfer-Encoding: chunked", "\tTransfer-Encoding: chunked"),
                *("Transfer Encoding: chunked", "Transfer-Encoding\x0b: chunked"),
                *("Transfer-Encoding\0: chunked", "\0Transfer-Encoding: chunked", "\0", ": x"),
                *("X: y\r\n Transfer-Encoding: chunked", "X: y\nTransfer-Encoding: chunked"),
                *("X: y\rTransfer-Encoding: chunked", "X: y\r\n\rTransfer-Encoding: chunked"),
                *("Content-Length : 0", "Content-Length\t: 0", " Content-Length: 0"),
                *("Content-Length\0: 0", "X: y\nContent-Length: 0", "X: y\rContent-Length: 0"),
                *("X: y\r\n Content-Length: 0", "Content-Length: 0", "Content-Length: {length}"),
                *("Transfer-Encoding", "Host: other"),
            ),
        ),
        # No names by RFC 9110, 5.6.2. nginx hands on none of them.
        (
            REFUSED,
            ONE,
            (
                *("Transfer-Encoding;: chunked", "(Transfer-Encoding: chunked"),
                *("Transfer-\xe9ncoding: chunked", "Transfer-Encodin\x80: chunked"),
            ),
        ),
        # Names of their own, whatever they look like.
        (
            ONE,
            ONE,
            (
                *("Transfer_Encoding: chunked", "X-Transfer-Encoding: chunked"),
                *("Content_Length: 0", "Connection: Content-Length", "Connection: Host"),
                *("Connection: keep-alive, close", "Trailer: Content-Length"),
            ),
        ),
    )
    for line in lines
]

LENGTHS = [
    *(
        Framing(f"length {value!r}", with_lines(f"Content-Length:{value}"))
        for value in (
            *(" +5", " -5", " -0", " 0x5", " 0_5", " 5.0", " 5e1", " \xb2", " five", "", " "),
            *(" 5 5", " 5,5", " 5, 5", " 5;", " 5\0", " 5\x0b", "\r\n 5", "\n5"),
            *(" 18446744073709551616", " 99999999999999999999999999"),
            *(" 5\r\nContent-Length: 5", " 5\r\nContent-Length: 6"),
        )
    ),
    Framing("length of 31 digits", with_lines(f"Content-Length: {5:031}"), REFUSED, OWN),
    Framing("length '5\\r'", with_lines("Content-Length: 5\r"), REFUSED, OWN),
    Framing(
        "length of less than there is",
        with_lines("Content-Length: 2", body="[]\0\0{hidden}"),
        OWN,
        OWN,
    ),
    Framing(
        "GET with a body",
        with_lines("Content-Length: {length}", first_line="GET / HTTP/1.1"),
        ONE,
        ONE,
    ),
    Framing(
        "DELETE with a body",
        with_lines("Content-Length: {length}", first_line="DELETE / HTTP/1.1"),
        ONE,
        ONE,
    ),
    Framing(
        "a file with a body",
        with_lines("Content-Length: {length}", first_line="GET /static/style.css HTTP/1.1"),
        ONE,
        ONE,
    ),
    Framing(
        "a file that is posted to",
        with_lines("Content-Length: {length}", first_line="POST /static/style.css HTTP/1.1"),
        ONE,
        ONE,
    ),
]

# ---------------------------------------------------------------- chunks

CHUNKS = [
    Framing(
        f"chunks {body!r}",
        with_lines("Transfer-Encoding: chunked", body=body + "{hidden}"),
        at_gunicorn,
        through_nginx,
    )
    for at_gunicorn, through_nginx, bodies in (
        (
            REFUSED,
            REFUSED,
            (
                *(
                    "0x0\r\n\r\n",
                    "+0\r\n\r\n",
                    "-0\r\n\r\n",
                    " 0\r\n\r\n",
                    "\r\n0\r\n\r\n",
                    "g\r\n\r\n",
                ),
                *(
                    "0,a\r\n\r\n",
                    "0;a\rb\r\n\r\n",
                    "0\r\r\n\r\n",
                    "0\r\n\r",
                    "\u0663\r\nabc\r\n0\r\n\r\n",
                ),
                *("3\r\nabc0\r\n\r\n", "3\r\nabcX\r\n0\r\n\r\n", "3\r\nabc\r0\r\n\r\n"),
                *("2\r\nabc\r\n0\r\n\r\n", "-3\r\nabc\r\n0\r\n\r\n", "0x3\r\nabc\r\n0\r\n\r\n"),
                *("0_3\r\nabc\r\n0\r\n\r\n", "\r\nabc\r\n0\r\n\r\n", ";a\r\nabc\r\n0\r\n\r\n"),
                *("10000000000000003\r\nabc\r\n0\r\n\r\n", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
                *("5\r\nabc\r\n0\r\n\r\n", "zz\r\nabc\r\n0\r\n\r\n"),
            ),
        ),
        # What nginx is lenient about it does not hand on: the application gets a length.
        (
            REFUSED,
            OWN,
            (
                *("0 \r\n\r\n", "0\t\r\n\r\n", "0\n\r\n", "0\r\n\n", "0\n\n", "3\nabc\n0\n\n"),
                *("0;\r\n\r\n", '0;a="\r\n\r\n', "0;a\nb\r\n\r\n", "0;\0\r\n\r\n", "0 ;a\r\n\r\n"),
                *("3\r\nabc\n0\r\n\r\n", "0\r\nContent-Length: 9\r\n\r\n", "0\r\nX Y\r\n\r\n"),
                *(
                    "0\r\nTransfer-Encoding: chunked\r\n\r\n",
                    "0\r\n: x\r\n\r\n",
                    "0\r\n X: y\r\n\r\n",
                ),
                *("0\r\nX: y\nZ: z\r\n\r\n", "0\r\n\0\r\n\r\n"),
            ),
        ),
        # As they may be (RFC 9112, 7.1). Trailers are nobody's headers.
        (
            OWN,
            OWN,
            (
                *("0;a\r\n\r\n", "0;a=b\r\n\r\n", '0;a="b"\r\n\r\n', f"{0:021}\r\n\r\n"),
                *("0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n", "0\r\nHost: other\r\n\r\n"),
            ),
        ),
    )
    for body in bodies
]

# ---------------------------------------------------------------- the first line, and the protocol

FIRST_LINES = [
    Framing(f"line {line!r}", with_lines(first_line=line), at_gunicorn, through_nginx)
    for at_gunicorn, through_nginx, lines in (
        (
            REFUSED,
            REFUSED,
            (
                *(f"POST {PATH}", "POST", "POST  HTTP/1.1", "HTTP/1.1 200 OK", "PRI * HTTP/2.0"),
                *(f"POST {PATH} HTTP/0.9", f"POST {PATH} HTTP/2.0", f"POST {PATH} HTTP/01.1"),
                *(f"POST {PATH} HTTP/1", f"POST {PATH} HTTP/1.1.1", f"POST {PATH} HTTP/1,1"),
                *(f"POST {PATH} http/1.1", f"POST {PATH} HTTPS/1.1", f"POST {PATH} HTTP/1.1 x"),
                *(
                    f"POST {PATH} HTTP/1.1\r",
                    f"POST {PATH} x HTTP/1.1",
                    f"POST {PATH}\r\n HTTP/1.1",
                ),
                *(f" POST {PATH} HTTP/1.1", f"\tPOST {PATH} HTTP/1.1", f"\0POST {PATH} HTTP/1.1"),
                *(
                    f"POST\t{PATH}\tHTTP/1.1",
                    f"POST\x0b{PATH} HTTP/1.1",
                    f"POST {PATH}\x0c HTTP/1.1",
                ),
                *(f"PO\0ST {PATH} HTTP/1.1", f"post {PATH} HTTP/1.1", f"POST,GET {PATH} HTTP/1.1"),
                *("A" * 100 + f" {PATH} HTTP/1.1", "TRACK / HTTP/1.1", "M-SEARCH * HTTP/1.1"),
                *("POST * HTTP/1.1", "POST api/events HTTP/1.1", f"POST file://{PATH} HTTP/1.1"),
                *("POST tickets.example HTTP/1.1", "POST tickets.example:80 HTTP/1.1"),
                *("CONNECT tickets.example:80 HTTP/1.1", f"POST http:{PATH} HTTP/1.1"),
                *(f"POST http://{PATH} HTTP/1.1", f"POST http://a\\{PATH} HTTP/1.1"),
                f"POST http://u@tickets.example{PATH} HTTP/1.1",
            ),
        ),
        (
            REFUSED,
            OWN,
            (
                *(f"POST {PATH} HTTP/1.2", f"POST {PATH} HTTP/1.10", f"POST {PATH} HTTP/1.1 "),
                *(f"POST {PATH} HTTP/1.1\nX: y", f"POST {PATH}\xff HTTP/1.1"),
            ),
        ),
        (OWN, OWN, (f"POST  {PATH} HTTP/1.1", f"POST {PATH}  HTTP/1.1", "POST http://a HTTP/1.1")),
        # The application knows no such method; nginx lets only those of RFC 9110 and 5789 through.
        (
            OWN,
            REFUSED,
            (
                *("TRACE / HTTP/1.1", f"QUERY {PATH} HTTP/1.1", "PROPFIND / HTTP/1.1"),
                *("SOURCE / HTTP/1.1", "DESCRIBE rtsp://x/ RTSP/1.0", "ANNOUNCE / RTSP/1.0"),
            ),
        ),
    )
    for line in lines
]

OLD = f"POST {PATH} HTTP/1.0"
H2C = "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"
WEBSOCKET = "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"

PROTOCOLS = [
    Framing("HTTP/1.0 in chunks", with_lines("Transfer-Encoding: chunked", first_line=OLD)),
    Framing("HTTP/1.0, no length", with_lines(first_line=OLD), OWN, OWN),
    Framing(
        "HTTP/1.0, kept",
        with_lines("Connection: keep-alive", "Content-Length: {length}", first_line=OLD),
        ONE,
        ONE,
    ),
    Framing("no Host", f"POST {PATH} HTTP/1.1\r\nContent-Length: 0\r\n\r\n{{hidden}}"),
    Framing("h2c with a body", with_lines(*H2C, "Content-Length: {length}"), ONE, ONE),
    Framing("h2c", with_lines(*H2C, body="PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{hidden}"), ONE, OWN),
    Framing("a tunnel", with_lines(*WEBSOCKET), ONE, OWN),
    Framing("Expect", with_lines("Expect: 100-continue", "Content-Length: {length}"), ONE, ONE),
    Framing("Expect another", with_lines("Expect: 200-ok", "Content-Length: {length}"), ONE, ONE),
    Framing(
        "a folded first field",
        f"POST {PATH} HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n{{hidden}}",
    ),
    Framing(
        "line feeds alone", with_lines("Content-Length: 0").replace("\r\n", "\n"), REFUSED, OWN
    ),
    Framing("carriage returns alone", with_lines("Content-Length: 0").replace("\r\n", "\r")),
    Framing("empty lines before", "\r\n\n\r\n" + with_lines("Content-Length: {length}"), ONE, ONE),
    Framing("garbage before", "\0\xff\r\n\r\n" + with_lines("Content-Length: {length}")),
    Framing("TLS", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + "\0" * 32 + "\r\n\r\n{hidden}"),
    Framing("a proxy's greeting", "PROXY TCP4 6.6.6.6 7.7.7.7 1 2\r\n" + with_lines()),
]

FRAMINGS = [
    *BOTH_WAYS_TO_END,
    *OBSCURE_CODINGS,
    *OBSCURE_NAMES,
    *LENGTHS,
    *CHUNKS,
    *FIRST_LINES,
    *PROTOCOLS,
]
