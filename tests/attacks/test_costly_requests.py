"""What one request may cost: no kind of request to any route takes long, whatever it carries.

The costliest that could be thought of, as data: 16 KiB of one header field or of an address, 64 KiB
of body. Each goes to every route and method, from a client that has a basket, a token and a form of
ours, so that it gets as far as a buyer's. Counted is processor time, from the bytes that gunicorn's
worker reads to the application's answer.
"""

import json
import random
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
from flask import Flask, session, url_for
from flask_wtf.csrf import generate_csrf
from werkzeug.routing import Rule

from ops.servers import REPOSITORY
from tests.support.application import application_with
from tests.support.factories import FREE, put_on_sale, unique
from tests.support.site import ORGANISER_TOKEN
from web.adapters.event_files import read_event_file
from web.domain.events import Event
from web.domain.sales import booking_id_of
from web.http.rate_limits import ROUTES_OF_HOLD_LINKS
from web.http_server.request_reader import Limits, RequestReader
from web.http_server.wsgi import request_environ

MOST_S = 0.010
CHARGED_MOST_S = 0.050
"""Of a route that has a limit of its own for what it costs."""

TRIES = 20
"""The quickest counts: others may be at work on the machine, and the first one fills caches."""

FIELD_BYTES = 16 * 1024
BODY_BYTES = 64 * 1024
DOOR_TOKEN = "the-token-of-the-door"

NO_LIMIT = "10000/second"

SERVER = {
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "REMOTE_ADDR": "127.0.0.1",
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def much(text: str, size: int = FIELD_BYTES - 100) -> str:
    """The text again and again."""
    return text * (size // len(text.encode()))


PREFERENCES = ["a,", "a-b-c,", "-,", "a;q=1,", 'a;q="1",', "a;b=1;c=2,", "a;*0=1,", ",", 'a="\\",']

FIELDS = {
    "Accept": PREFERENCES,
    "Accept-Charset": PREFERENCES[:1],
    "Accept-Encoding": PREFERENCES,
    "Accept-Language": PREFERENCES,
    "Authorization": ["Basic YTph", "Bearer a", "Digest a=1,", "Bearer \xff", "Basic \xff"],
    "Cache-Control": ["max-age=1,"],
    "Connection": ["upgrade,", ","],
    "Content-Type": ["multipart/form-data;boundary=(a*)*", "a/b;c=1;", f'{FORM};a="\\";'],
    "Cookie": ["a;", ";", "a=1;", 'a="\\101";', 'a="', "tickets=a.b.c;", "tickets=;", "\xff=;"],
    "Forwarded": ["for=1,"],
    "Host": ["a.", "a", ":", "[::1]", "\xff"],
    "Idempotency-Key": ["k", "\xff"],
    "If-Match": ['"a",'],
    "If-Modified-Since": ["1 ", "(", "Mon, 01 Jan 2024 "],
    "If-None-Match": ['"a",', "a,", "W/,", ","],
    "If-Range": ['"a",'],
    "Origin": ["https://a"],
    "Range": ["bytes=0-0,", "bytes=1-,", "0"],
    "Referer": ["https://a/"],
    "Stripe-Signature": ["t=1,v1=a,", "v1=,", "t,", "t=9,v1=\xff,"],
    "X-CSRFToken": ["a.", "\xff"],
    "X-Forwarded-For": ["1.2.3.4,", ",", "::1,", "[", "127.0.0.1, "],
    "X-Forwarded-Proto": ["https,"],
}
"""Parts that fill the field."""

FORM_PARTS = [
    "&",
    "a&",
    "%",
    "%41",
    "%ff",
    "%ff=&",
    "+",
    "é%41",
    "seats=stalls-A-1&",
    "prices=a:1+",
]
FORM_FIELDS = ["name", "email", "payment_method", "key", "seats", "section", "quantity", "prices"]
TEXTS = ["a", "1", "é", "a\u0301\u0323", "\u0301\u0323", "@", "a.", '"', "中", "\u200d", "<", "\\"]
"""In a field of a form or of JSON. Marks that can be put in order take the square of their number
to compose."""

JSON_BODIES = {
    "deep lists": much("[", BODY_BYTES),
    "deep objects": much('{"a":', BODY_BYTES),
    "a long number": much("9", BODY_BYTES),
    "a long fraction": "0." + much("9", BODY_BYTES - 10),
    "a large exponent": "1e" + much("9", BODY_BYTES - 10),
    "keys twice": "{" + much('"seats":[],', BODY_BYTES - 20) + '"a":1}',
    "other keys": "{" + ",".join(f'"{n}":1' for n in range(6_000)) + "}",
    "seats": '{"seats":[' + much('"a",', BODY_BYTES - 50) + '"a"]}',
    "100 seats": '{"seats":[' + ",".join(f'"{"x" * 90}{n}"' for n in range(100)) + "]}",
    "escapes": '{"seats":["' + much("\\u0041", BODY_BYTES - 50) + '"]}',
}


class Attack(NamedTuple):
    """``more`` follows the address."""

    name: str
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    more: str = ""


def _attacks() -> Iterator[Attack]:
    yield Attack("nothing special")
    for field, parts in FIELDS.items():
        for part in parts:
            prefix = part if part.startswith(("Basic", "Bearer", "Digest", "bytes")) else ""
            value = prefix + much(part.removeprefix(prefix) or "a")
            yield Attack(f"{field}: {part!a}", {field: value})
    for part in ("a&", "a=&", "%ff=&", "%", "page=1&", "\xff"):
        yield Attack(f"?{part!a}", more="?" + much(part))
    for part in ("/", "a/", "%2f", "%ff", "%", ".", "../"):
        yield Attack(f"/{part!a}", more="/" + much(part))
    yield Attack("100 fields", {f"X-{number}": much("a", 500) for number in range(90)})


def _bodies() -> Iterator[Attack]:
    """For the methods that have one."""
    form, json = {"Content-Type": FORM}, {"Content-Type": JSON}
    characters = "".join(chr(code) for code in range(33, 127) if chr(code) not in '"\\;')
    boundary = "".join(random.Random(1).choices(characters, k=15_000))
    multipart = {"Content-Type": f'multipart/form-data; boundary="{boundary}"'}
    yield Attack("a boundary", multipart, b"--a\r\n")
    parts = b"--a\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n" * 1000 + b"--a--"
    yield Attack("1,000 parts", {"Content-Type": "multipart/form-data; boundary=a"}, parts)
    for part in FORM_PARTS:
        yield Attack(f"form: {part!a}", form, much(part, BODY_BYTES).encode())
    for text in TEXTS:
        for name in FORM_FIELDS[:3]:
            yield Attack(f"form, {name}: {text!a}", form, _form(name, text))
            yield Attack(f"JSON, {name}: {text!a}", json, _json(name, text))
    for name in FORM_FIELDS[3:]:
        for text in ("a", "1", "\n", "a:1 "):
            yield Attack(f"form, {name}: {text!a}", form, _form(name, text))
    for name, body in JSON_BODIES.items():
        yield Attack(f"JSON: {name}", json, body.encode())


def _form(name: str, text: str) -> bytes:
    buyer = {"name": "Ada", "email": "ada@example.org", "key": "key", "seats": "stalls-A-3"}
    fields = buyer | {name: much(text, BODY_BYTES // 3 - 100)}
    return urlencode(fields)[:BODY_BYTES].encode()


def _json(name: str, text: str) -> bytes:
    buyer = {"name": "Ada", "email": "ada@example.org"} | {name: much(text, BODY_BYTES - 100)}
    return json.dumps(buyer, ensure_ascii=False).encode()[:BODY_BYTES]


class Buyer:
    """Somebody with a hold, a receipt and a login, who knows all that a request needs to be taken
    seriously."""

    def __init__(self, app: Flask, event: Event):
        self._app, self._event = app, event
        self._parts = app.extensions["services"]
        self._browser = app.test_client()
        with app.test_request_context():
            self._csrf = generate_csrf()
            secret = session["csrf_token"]
        with self._browser.session_transaction() as cookie:
            cookie["csrf_token"] = secret
        login = {"csrf_token": self._csrf, "token": ORGANISER_TOKEN}
        assert self._browser.post("/organiser/login", data=login).status_code == 303
        self._booked = self._hold("free-F-1")
        self._pay_nothing(*self._booked)
        self._seats = (s for s in event.seats if s.startswith(("rear-stalls", "circle")))

    def _hold(self, seat: str) -> tuple[str, str]:
        hold, token = self._parts.box_office.hold_seat(self._event.id, unique("buyer"), seat)
        with self._browser.session_transaction() as cookie:
            cookie["holds"] = [[self._event.id, hold.id, [seat]]]
        return hold.id, token

    def _pay_nothing(self, hold_id: str, token: str) -> None:
        paid = self._browser.post(
            f"/api/events/{self._event.id}/holds/{hold_id}/pay",
            json={"email": "ada@example.org", "name": "Ada"},
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "key"},
        )
        assert paid.status_code == 201, paid.text

    def request(self, rule: Rule) -> tuple[str, dict[str, str]]:
        """The address of a route and the header fields that it asks for, for a hold of its own."""
        hold_id, token = self._hold(next(self._seats))
        codes = self._parts.codes
        link = codes.hold_link_of(self._event.id, hold_id)
        if "receipt" in rule.endpoint or "calendar" in rule.endpoint:
            link = codes.link_of(self._event.id, self._booked[0])
        if "booking" in rule.endpoint:
            hold_id, token = self._booked
        if rule.endpoint.startswith("admissions."):
            token = DOOR_TOKEN
        known = {
            "event_id": self._event.id,
            "section_id": "stalls",
            "seat": "stalls-C-1",
            "quantity": "2",
            "hold_id": hold_id,
            "booking_id": booking_id_of(hold_id),
            "key_digest": "d" * 64,
            "version": self._event.version,
            "filename": "style.css",
            "link": link,
        }
        with self._app.test_request_context():
            address = url_for(rule.endpoint, **{name: known[name] for name in rule.arguments})
        return address, {
            "Host": "tickets.example",
            "Accept": "text/html",
            "Authorization": f"Bearer {token}",
            "Cookie": f"tickets={self._browser.get_cookie('tickets').value}",
            "Idempotency-Key": "key",
            "X-CSRFToken": self._csrf,
        }


@pytest.fixture(scope="module")
def app(any_redis, mongo_server, bookings) -> Flask:
    limits = "RATE_LIMIT RATE_LIMIT_PAYMENTS RATE_LIMIT_LOOKUPS RATE_LIMIT_FORMS".split()
    return application_with(
        REDIS_URL=any_redis.url,
        MONGODB_URI=mongo_server.url,
        ORGANISER_TOKEN=ORGANISER_TOKEN,
        DOOR_TOKEN=DOOR_TOKEN,
        STRIPE_WEBHOOK_SECRET="whsec_of_tests",
        **dict.fromkeys(limits, NO_LIMIT),
    )


@pytest.fixture(scope="module")
def buyer(app, seats) -> Buyer:
    theatre = read_event_file(REPOSITORY / "events/rosewood-theatre.toml")
    event = replace(theatre, id=unique("theatre"), sections=(*theatre.sections, FREE))
    put_on_sale(seats, event)
    return Buyer(app, event)


def seconds_of(
    app: Flask, method: str, address: str, headers: dict, attack: Attack, most_s: float
) -> float:
    """Processor time of the quickest of some tries, which end when one was quick enough."""
    path, fields = address + attack.more, {**headers, **attack.headers}
    if attack.body:
        fields["Content-Length"] = str(len(attack.body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    sent = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + attack.body
    best_s = float("inf")
    for _ in range(TRIES):
        began_s = time.thread_time()
        requests, _bad = RequestReader(Limits(FIELD_BYTES, 100)).feed(sent)
        for request in requests:
            environ = SERVER | request_environ(request)
            answer = app.wsgi_app(environ, lambda *_: None)
            b"".join(answer)
            if hasattr(answer, "close"):
                answer.close()
        best_s = min(best_s, time.thread_time() - began_s)
        if best_s < most_s:
            break
    return best_s


@pytest.mark.alone
def test_no_look_at_a_stadium_takes_long(app, seats):
    """50,000 seats, the largest hall that we ship."""
    stadium = read_event_file(REPOSITORY / "events/meridian-stadium.toml")
    event = replace(stadium, id=unique("stadium"))
    put_on_sale(seats, event)
    page, api = f"/events/{event.id}", f"/api/events/{event.id}"
    slow = {}
    for address in (page, f"{page}/sections/101", api, f"{api}/seats"):
        for attack in _attacks():
            headers = {"Host": "tickets.example", "Accept": "text/html"}
            seconds = seconds_of(app, "GET", address, headers, attack, MOST_S)
            if seconds > MOST_S:
                slow[f"{address}, {attack.name}"] = f"{seconds * 1000:.0f} ms"
    assert slow == {}


@pytest.mark.alone
@pytest.mark.timeout(600)  # ten seconds of processor time, however long others have it
def test_no_request_takes_long(app, buyer):
    slow = {}
    for rule in app.url_map.iter_rules():
        most_s = CHARGED_MOST_S if rule.endpoint in ROUTES_OF_HOLD_LINKS else MOST_S
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            address, headers = buyer.request(rule)
            attacks = [*_attacks(), *(_bodies() if method != "GET" else ())]
            for attack in attacks:
                seconds = seconds_of(app, method, address, headers, attack, most_s)
                if seconds > most_s:
                    slow[f"{method} {rule.rule}, {attack.name}"] = f"{seconds * 1000:.0f} ms"
    assert slow == {}
