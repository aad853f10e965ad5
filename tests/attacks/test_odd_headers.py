"""Header fields and bodies that no normal client sends: each gets an answer in our format, and none
causes a 500.

First the faults that were found and fixed, by name; then random ones.
"""

import http.client
import json
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.routing import Rule

from tests.attacks.clients import new_address
from tests.support.http_client import PROBLEM_TYPE, TIMEOUT_S
from tests.support.raw_http import Answer, Received, exchange, request_bytes
from web.http.error_handlers import PROBLEM_PAGE

CLOSE = "Connection: close"
FORM = "application/x-www-form-urlencoded"
BROWSER = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.fixture
def web_log(state_dir):
    """What gunicorn and the application have logged since the test began, without what a busy
    machine makes the sidecar's client say."""
    path: Path = state_dir / "stack" / "logs" / "web.log"
    begin = path.stat().st_size

    def lines() -> list[str]:
        with path.open("rb") as log:
            log.seek(begin)
            text = log.read().decode(errors="replace")
        return [line for line in text.splitlines() if "limiter" not in line]

    return lines


def ask(url: str, method: str, path: str, *lines: str, body: bytes = b"") -> Answer:
    """From a client that has asked nothing yet."""
    length = (f"Content-Length: {len(body)}",) if body else ()
    from_new_client = f"X-Forwarded-For: {new_address()}"
    sent = request_bytes(method, path, from_new_client, CLOSE, *length, *lines, body=body)
    (answer,) = exchange(url, sent)
    return answer


def with_host(url: str, host: str | None, path: str, *lines: str, version: str = "1.1") -> Answer:
    head = [f"GET {path} HTTP/{version}", f"X-Forwarded-For: {new_address()}", CLOSE, *lines]
    if host is not None:
        head.insert(1, f"Host: {host}")
    (answer,) = exchange(url, "\r\n".join(head).encode("latin-1") + b"\r\n\r\n")
    return answer


# ---------------------------------------------------------------- Host

LONG = "a" * 64
PATHS = ["/healthz", "/", "/api/events", "/nowhere", "/static/style.css"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    [
        LONG,
        f"tickets.{LONG}.example",
        ".".join(["a" * 60] * 5),
        "a..b",
        ".",
        ".a",
        "",
        "t\xefckets.example",
        "xn--\xff.example",
        "tickets.example:99999",
        "tickets.example:-1",
        "tickets.example:http",
        "tickets.example:1:2",
        ":8000",
        "ada@tickets.example",
        "ada:secret@tickets.example:80",
        "http://tickets.example",
        "tickets.example/..",
        "tickets.example?a",
        "tickets.example, evil.example",
        "tickets example",
        "<script>",
        "%74ickets.example",
        "[::1",
        "::1",
        "[::g]",
        "[:::]",
        "[]",
        "[127.0.0.1]",
        "[::1]8000",
        "[fe80::1%eth0]",
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_a_host_that_is_none_is_refused_in_one_line_at_most(stack, web_log, host, path):
    for lines in ((), (BROWSER,)):
        answer = with_host(stack.web_url, host, path, *lines)
        assert (answer.status, answer.headers["Content-Type"]) == (400, PROBLEM_TYPE)
        assert answer.json["code"] == "bad_request"
        assert "Host" in answer.json["detail"]
    assert len(web_log()) <= 2


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    [
        "tickets.example",
        "TICKETS.example:8000",
        "tickets.example.",
        "tickets.example:",
        "web_1:8000",
        "a" * 63 + ".example:8000",
        "xn--bcher-kva.example",
        "127.0.0.1",
        "[::1]",
        "[2001:db8::1]:8000",
        "[::ffff:127.0.0.1]:65535",
    ],
)
def test_a_host_that_is_one_is_served(stack, web_log, host, path):
    """Names with an underscore are those of containers."""
    answer = with_host(stack.web_url, host, path, BROWSER)
    assert answer.status == (404 if path == "/nowhere" else 200)
    assert web_log() == []


@pytest.mark.parametrize("path", PATHS)
def test_http_1_0_needs_no_host(stack, path):
    answer = with_host(stack.web_url, None, path, BROWSER, version="1.0")
    assert answer.status == (404 if path == "/nowhere" else 200)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://other.example/healthz", 200),
        (f"http://{LONG}/healthz", 400),
        ("http://other.example:99999/healthz", 400),
        ("http://ada@other.example/healthz", 400),
        ("http:///healthz", 400),
        ("http://[::1]/healthz", 200),
        ("ftp://\xff/healthz", 400),
    ],
)
def test_the_host_of_an_absolute_address_counts(stack, target, status):
    answer = with_host(stack.web_url, "tickets.example", target)
    assert answer.status == status


def test_two_hosts_are_refused(stack):
    answer = with_host(stack.web_url, "a.example", "/healthz", "Host: b.example")
    assert (answer.status, answer.json["code"]) == (400, "bad_request")


def test_an_error_handler_that_fails_answers_all_the_same(application, monkeypatch):
    """The page of an error needs more than the error: then it is a problem."""

    def broken(problem):
        raise RuntimeError("no address can be made")

    client = application()
    monkeypatch.setitem(client.application.extensions, PROBLEM_PAGE, broken)
    for path, status in (("/nowhere", 404), ("/organiser", 404)):
        answer = client.get(path, headers={"Accept": "text/html"})
        assert (answer.status_code, answer.content_type) == (status, PROBLEM_TYPE)


# ---------------------------------------------------------------- bodies that are no form


def boundary() -> str:
    """What Werkzeug would compile as a regular expression."""
    return "".join(chr(33 + number * 7919 % 93) for number in range(8_000))


BODIES = {
    "a long boundary": (f"multipart/form-data; boundary={boundary()}", b"--a--"),
    "a file": (
        "multipart/form-data; boundary=a",
        b'--a\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nx\r\n--a--\r\n',
    ),
    "a part without a name": (
        "multipart/form-data; boundary=a",
        b"--a\r\nContent-Disposition: form-data\r\n\r\nx\r\n--a--\r\n",
    ),
    "no boundary": ("multipart/form-data", b"--a--"),
    "JSON": ("application/json", b'["csrf_token"]'),
    "a text": ("text/plain", b"csrf_token=1"),
    "no type": (None, b"csrf_token=1"),
    "a type that is none": ("\xff;", b"csrf_token=1"),
    "a type with 16,000 parameters": ("a/b;" + "c=1;" * 4_000, b"csrf_token=1"),
    "nothing": ("multipart/form-data; boundary=a", b""),
}
FORMS = [
    "/events/EVENT/holds",
    "/events/EVENT/best",
    "/events/EVENT/holds/hld_1/pay",
    "/events/EVENT/holds/hld_1/extend",
    "/events/EVENT/holds/hld_1/release",
    "/events/EVENT/holds/hld_1/cancel",
    "/holds/link",
    "/organiser/login",
    "/organiser/logout",
    "/organiser/bookings/bkg_1/mail",
    "/organiser/bookings/bkg_1/refund",
    "/organiser/events/EVENT/sale",
]


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("body", BODIES, ids=lambda name: name)
def test_a_body_that_is_no_form_is_refused_unread(url, event, web_log, path, body):
    kind, content = BODIES[body]
    lines = [BROWSER] if kind is None else [BROWSER, f"Content-Type: {kind}"]
    answer = ask(url, "POST", path.replace("EVENT", event.id), *lines, body=content)
    assert answer.status == 415
    assert answer.headers["Accept"] == FORM
    assert "text/html" in answer.headers["Content-Type"]
    assert b"We could not read that" in answer.body
    assert web_log() == []


def test_every_form_of_the_pages_is_in_the_list(application):
    rules = application().application.url_map.iter_rules()
    pages = {r.rule for r in rules if r.endpoint.startswith("pages.") and "POST" in r.methods}
    known = {"EVENT": "<event_id>", "hld_1": "<hold_id>", "link": "<link>", "bkg_1": "<booking_id>"}
    listed = {re.sub("|".join(known), lambda found: known[found[0]], path) for path in FORMS}
    assert pages == listed


def test_a_form_has_at_most_a_thousand_fields(url, event):
    path, kind = f"/events/{event.id}/holds", f"Content-Type: {FORM}"
    for body, status in ((b"a&" * 999, 400), (b"a&" * 1000, 413), (b"%41" * 10_001, 413)):
        assert ask(url, "POST", path, kind, body=body).status == status


def test_an_address_has_at_most_a_thousand_parameters(url, event):
    path = f"/events/{event.id}/sections/stalls?page=1"
    assert ask(url, "GET", path + "&a" * 999).status == 200
    assert ask(url, "GET", path + "&a" * 1000).status == 400


def test_the_api_reads_json_whatever_its_type_is_called(url, event):
    for number, (kind, _) in enumerate(BODIES.values(), start=1):
        seat = f'{{"seats": ["stalls-B-{number}"]}}' if number <= 8 else '{"seats": ["floor-GA-1"]}'
        lines = [] if kind is None else [f"Content-Type: {kind}"]
        answer = ask(url, "POST", f"/api/events/{event.id}/holds", *lines, body=seat.encode())
        assert answer.status == (201 if number <= 9 else 409), kind


# ---------------------------------------------------------------- fields that cannot be read


@pytest.mark.parametrize("field", ["If-Modified-Since", "If-Unmodified-Since", "If-Range"])
@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 99999999999999999999 Jan 2024 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +999999999999999999999999999",
        "Mon, 01 Jan 2024 99999999999:00:00",
        "yesterday",
    ],
)
def test_a_date_that_is_none_is_ignored(stack, field, date):
    path, part = "/static/style.css", "Range: bytes=0-1"
    assert ask(stack.web_url, "GET", path, f"{field}: {date}", part).status in (200, 206)


@pytest.mark.parametrize(
    "value", ["Basic \xff", "Basic ====", "Bearer \xff", "Bearer", 'Digest a="']
)
def test_an_authorization_that_opens_nothing_is_as_good_as_none(stack, event, value):
    path = f"/api/events/{event.id}/holds/hld_1"
    answer = ask(stack.web_url, "GET", path, f"Authorization: {value}")
    assert (answer.status, answer.json["code"]) == (404, "hold_not_found")


@pytest.mark.parametrize(
    "field", ["Accept", "Accept-Language", "Accept-Encoding", "If-None-Match", "Range"]
)
def test_a_preference_that_is_too_long_is_as_good_as_none(stack, event, field):
    path = f"/events/{event.id}"
    assert ask(stack.web_url, "GET", path, f"{field}: {'a,' * 8_000}").status == 200


def test_fields_of_one_name_are_together_no_longer_than_one(stack):
    lines = [f"Accept-Language: {'a,' * 4_000}"] * 3
    answer = ask(stack.web_url, "GET", "/", *lines)
    assert (answer.status, answer.json["code"]) == (431, "header_too_large")


# ---------------------------------------------------------------- what nobody has thought of

EXAMPLES = {
    "Accept": ["text/html;q=nan", "a/b;q=1e999", "*/*;q=-1", "text/html;x*=utf-8''%ff", "/", "*"],
    "Accept-Charset": ["utf-8;q=\xb2"],
    "Accept-Encoding": ["gzip;q=0", "*;q=", "identity;q=0, *;q=0"],
    "Accept-Language": ["de-DE-1996;q=0.5", "*-*", "-", "en;q=\xbd"],
    "Access-Control-Request-Headers": ["\xff", "a, b"],
    "Access-Control-Request-Method": ["PATCH", "\xff", ""],
    "Authorization": [
        "Basic",
        "Basic \xff",
        "Basic =",
        "Bearer",
        "Bearer \xff",
        "Digest a, b=",
        "a",
    ],
    "Cache-Control": ["max-age=a", "max-age=-1", "no-cache=", "only-if-cached"],
    "Connection": ["close", "keep-alive", "upgrade", "Host", "\xff"],
    "Content-Encoding": ["gzip", "br, \xff"],
    "Content-Length": ["0", "3", "007", "-1", "1, 1", "99999999999", "\xb2", "0x1", ""],
    "Content-Type": [
        FORM,
        f"{FORM}; charset=\xff",
        "application/json",
        "a",
        "/;=",
        "multipart/\xff",
    ],
    "Cookie": [
        "tickets=a.b.c",
        "tickets=\xff",
        "tickets=.",
        'tickets="\\400"',
        "=",
        "__Host-tickets",
    ],
    "Date": ["Mon, 01 Jan 9999999999 00:00:00 GMT"],
    "Expect": ["100-continue", "200-ok", "\xff"],
    "Forwarded": ["for=[::1]:a;proto=\xff"],
    "Host": ["a..b", "a" * 64, "[::", "\xff", ":", "a:0", "a@b"],
    "Idempotency-Key": ["\xff", "k" * 256, '"', "\x7f"],
    "If-Match": ["*", '"', 'W/"\xff"'],
    "If-Modified-Since": [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 0000 00:00:00 GMT",
        "Mon, 31 Dec 9999 23:59:59 -9999",
        "Mon, 01 Jan 2024 00:00:00 +99999999999",
        "-1",
    ],
    "If-None-Match": ["*", '"', "W/", '"\xff"', "W/*"],
    "If-Range": ['"', "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "W/"],
    "If-Unmodified-Since": ["Mon, 01 Jan 0001 00:00:00 +2359", "1 Jan 70 0:0"],
    "Origin": ["null", "https://\xff", "https://[", "://", "https://a:b"],
    "Range": ["bytes=0-", "bytes=5-1", "bytes=-0", "bytes=\xb2-", "bytes=0-1,3-4", "a=1-", "bytes"],
    "Referer": ["https://[", "\xff"],
    "Sec-Fetch-Dest": ["document", "\xff"],
    "Sec-Fetch-Mode": ["navigate", "no-cors", "\xff"],
    "Sec-Fetch-Site": ["cross-site", "same-origin", "none", "\xff"],
    "Stripe-Signature": ["t=1,v1=a", "t=\xb2,v1=\xff", "t", "v1", "t=1", "=,="],
    "TE": ["trailers", "\xff"],
    "Transfer-Encoding": ["chunked", "identity", "gzip, chunked", "\xff", ""],
    "Upgrade": ["websocket", "h2c", "\xff"],
    "Upgrade-Insecure-Requests": ["\xff"],
    "X-CSRFToken": ["a.b.c", "\xff", "."],
    "X-Forwarded-For": ["\xff", "[::1", "1.2.3.4:99999", "fe80::1%\xff"],
    "X-Forwarded-Host": ["\xff", "a" * 64],
    "X-Forwarded-Proto": ["https", "https, http", "\xff"],
    "X-HTTP-Method-Override": ["DELETE", "\xff"],
    "X-Kept-Refusals": ["", "\xff"],
    "X-Request-ID": ["\xff", "a" * 1000, "%s%n"],
}
"""What the libraries and our code read, and some of what they should not, with values that are
nearly right."""

CRUMBS = [
    "",
    " ",
    "\t",
    ",",
    ";",
    "=",
    '"',
    "\\",
    "'",
    "\x7f",
    "\x80",
    "\xff",
    "\xb2",
    "%00",
    "%ff",
    "*",
]
CRUMBS += ["-1", "9" * 30, "9" * 5000, "nan", "1e999", "a" * 501, "a, " * 300, "*=utf-8''%ff"]
SEGMENTS = [
    *["%00", "%ff", "%2f", "..", ".", "%F0%9F%8E%AB", "a" * 300, "-1", "0", "\xff", "%", "hld_1"],
    *["style.css"] * 5,
]
QUERIES = [
    "",
    "?",
    "?page=-1",
    "?page=%ff",
    "?page=\xb2",
    "?%",
    "?page=" + "9" * 5000,
    "?a&&=&=",
    "??",
]
BODIES_OF_ANY_KIND = [
    *[b"", b"\0", b"\xff", b"{}", b"[]", b"null", b'{"seats":[null]}', b'{"seats":["\\ud800"]}'],
    *[b'{"email":1}', b'{"email":"","name":"","payment_method":"\xff"}', b"csrf_token=%ff&seats"],
    *[b"0\r\n\r\n", b"5\r\nabc", b"--a\r\nContent-Disposition: form-data\r\n\r\n\r\n--a--"],
]
METHODS = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
]
OF_HTTP_ITSELF = {501, 505}
"""The statuses for an unknown method, transfer coding or version."""

names = st.sampled_from(sorted(EXAMPLES))
crumbs = st.lists(st.sampled_from(CRUMBS), max_size=2).map("".join)
latin_1 = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=20)


@st.composite
def header_lines(draw: st.DrawFn) -> str:
    name = draw(names)
    value = draw(st.sampled_from(EXAMPLES[name]) | crumbs | latin_1)
    return f"{name}: {draw(crumbs)}{value}{draw(crumbs)}"


class Addresses:
    """Of each route of the application, with a real event or something else in each place."""

    def __init__(self, rules: Iterable[Rule], event_id: str):
        self._rules = [*sorted({rule.rule for rule in rules}), "/", "//", "/nowhere", "*"]
        self._event_id = event_id

    def drawn(self, draw: st.DrawFn) -> str:
        segments = st.sampled_from([self._event_id] * len(SEGMENTS) + SEGMENTS)
        rule = draw(st.sampled_from(self._rules))
        return re.sub("<[^>]*>", lambda _: draw(segments), rule) + draw(st.sampled_from(QUERIES))


def answer_to(url: str, sent: bytes, is_head: bool) -> tuple[int, str, bytes]:
    """Status, type and body of the first answer. The server ends the connection."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as there:
        there.sendall(sent)
        there.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: there.recv(65_536), b""))
    assert received, "no answer"
    response = http.client.HTTPResponse(Received(received), method="HEAD" if is_head else None)
    response.begin()
    return response.status, response.headers.get("Content-Type", ""), response.read()


def assert_is_ours(status: int, kind: str, body: bytes, is_head: bool) -> None:
    assert status < 500 or status in OF_HTTP_ITSELF, body
    if status >= 400:
        assert kind == PROBLEM_TYPE or kind.startswith("text/html"), kind
        if kind == PROBLEM_TYPE and not is_head:
            assert json.loads(body).keys() >= {"type", "title", "status", "code", "detail"}


def test_no_header_and_no_body_is_a_mistake_of_ours(stack, event, application, web_log):
    addresses = Addresses(application().application.url_map.iter_rules(), event.id)

    @settings(
        max_examples=1_500,
        deadline=None,
        derandomize=True,  # the same requests in every run: a red run is somebody's change
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def ask_anything(data: st.DataObject) -> None:
        method = data.draw(st.sampled_from(METHODS), "method")
        address = addresses.drawn(data.draw)
        lines = data.draw(st.lists(header_lines(), max_size=5), "lines")
        body = data.draw(st.sampled_from(BODIES_OF_ANY_KIND) | st.binary(max_size=20), "body")
        if not any(line.startswith("Host:") for line in lines):
            lines.append("Host: tickets.example")
        if body and not any(line.startswith(("Content-L", "Transfer")) for line in lines):
            lines.append(f"Content-Length: {len(body)}")
        # The last address is the one that counts.
        head = [f"{method} {address} HTTP/1.1", *lines, f"X-Forwarded-For: {new_address()}", CLOSE]
        sent = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
        is_head = method == "HEAD"
        assert_is_ours(*answer_to(stack.web_url, sent, is_head), is_head)
        assert not any("Traceback" in line for line in web_log())

    ask_anything()
