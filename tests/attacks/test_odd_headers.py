"""Header fields and bodies as no client sends them: each gets an answer in our shape, and none is a
mistake of ours.

First what was found and mended, by name; then what nobody has thought of.
"""

import re
from pathlib import Path

import pytest

from tests.attacks.clients import new_address
from tests.http_client import PROBLEM_TYPE
from tests.raw_http import Answer, exchange, request_bytes

CLOSE = "Connection: close"
FORM = "application/x-www-form-urlencoded"
BROWSER = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.fixture
def web_log(state_dir):
    """What gunicorn and the application have logged since the test began, without what a busy
    machine makes the sidecar's client say."""
    path: Path = state_dir / "stack" / "logs" / "web.log"
    begin = len(path.read_bytes())

    def lines() -> list[str]:
        text = path.read_bytes()[begin:].decode(errors="replace")
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
    "target, status",
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

    monkeypatch.setattr("web.error_handlers.problem_page", broken)
    for path, status in (("/nowhere", 404), ("/organiser", 404)):
        answer = application().get(path, headers={"Accept": "text/html"})
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
    "/holds/link",
    "/organiser/login",
    "/organiser/logout",
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
    known = {"EVENT": "<event_id>", "hld_1": "<hold_id>", "link": "<link>"}
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


# ---------------------------------------------------------------- fields that are too long


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
