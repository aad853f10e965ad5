"""The costliest requests of each route that are known, within what nginx and our HTTP worker
accept: 16 KB for a header line, 64 KB for a body. When you add a route, add its costliest request.
"""

import json
import random
import re
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, urlencode

from flask import Flask

from tests.pages.browser import Browser, Page
from tests.support.factories import numbers, small_hall
from tests.support.http_client import Client
from tests.support.site import ORGANISER_TOKEN, Site
from web.domain.events import Event, Row, Section
from web.signing.ticket_codes import TicketCodes

ADDRESS = b"{address}"
"""Stands in a request where the sender puts the address that it comes from."""

BOUNDARY = b"{boundary}"
"""And where it puts 8,000 random letters, others each time: what was compiled is remembered."""

PAID_WITH_CONFIRMATION = {
    "name": "Eve",
    "email": "eve@example.org",
    "payment_method": "pm_card_authenticationRequired",
}

_LETTERS = bytes(set(range(33, 127)) - set(b'"\\'))

HOST = "tickets.example"

MAX_LINE_BYTES = 15_500
MAX_BODY_BYTES = 64 * 1024

NO_ROUTE = "GET elsewhere"
"""All addresses that are nothing."""

OPERATORS_PATHS = ("/readyz", "/metrics")
"""nginx says 404 to these; without nginx they are asked at gunicorn."""


@dataclass(frozen=True)
class CostlyRequest:
    """``sent`` to one of the routes. ``straight`` goes to gunicorn, as where there is no nginx."""

    name: str
    sent: bytes
    straight: bool = False


def written(sent: bytes, address: str) -> bytes:
    """The request as a client of this address sends it now."""
    sent = sent.replace(ADDRESS, address.encode())
    if BOUNDARY in sent:
        sent = sent.replace(BOUNDARY, bytes(random.choices(_LETTERS, k=8_000)))
    return sent


def hall_under_attack() -> Event:
    """Of a theatre's size: 1,200 seats with numbers and as many places without."""
    seats = numbers(1, 40)
    stalls = Section(
        "stalls", "Stalls", "seated", 2500, tuple(Row(f"R{n}", (seats,)) for n in range(1, 31))
    )
    floor = Section("floor", "Floor", "general", 1500, (Row("GA", (numbers(1, 4000),)),))
    return small_hall(sections=(stalls, floor), max_held_per_client=16)


class Visitor(NamedTuple):
    """A client that has visited the pages, and has a login, a receipt, and holds from both the API
    and the pages; those in ``ended`` are for requests that end a hold. That of
    ``hold_at_bank`` is being paid: each look at it is a call to the payment gateway."""

    cookie: str
    csrf_token: str
    form_hold: Page
    api_hold: dict
    paid_hold: dict
    receipt: dict
    hold_link: str
    receipt_link: str
    hold_at_bank: Page
    ended_form_hold: Page
    ended_api_hold: dict


def visit(site: Site, hall: Event) -> Visitor:
    browser, client = Browser(site.url), Client(site.url, hall.id)
    hold = browser.get(f"/events/{hall.id}").press("Hold the best", quantity="2")
    browser.get("/organiser").press("Log in", token=ORGANISER_TOKEN)
    paid = client.hold_best(hall.sections[-1].id, 1).json()
    codes = TicketCodes(site.environment["SECRET_KEY"])
    receipt = client.pay(paid).json()
    return Visitor(
        cookie="; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies),
        csrf_token=dict(hold.fields("Pay"))["csrf_token"],
        form_hold=hold,
        api_hold=client.hold_best(hall.sections[-1].id, 1).json(),
        paid_hold=paid,
        receipt=receipt,
        hold_link=codes.hold_link_of(hall.id, hold.address.split("/")[4]),
        receipt_link=codes.link_of(hall.id, paid["hold_id"]),
        hold_at_bank=browser.get(f"/events/{hall.id}")
        .press("Hold the best", quantity="1")
        .press("Pay", **PAID_WITH_CONFIRMATION),
        ended_form_hold=browser.get(f"/events/{hall.id}").press("Hold the best", quantity="1"),
        ended_api_hold=client.hold_best(hall.sections[-1].id, 1).json(),
    )


def routes_of(app: Flask) -> list[str]:
    """Each method and rule of the route table: ``POST /events/<event_id>/holds``."""
    return sorted(
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    )


def costly_requests(app: Flask, site: Site, hall: Event) -> dict[str, list[CostlyRequest]]:
    """Of each route several, and of addresses that are none."""
    visitor = visit(site, hall)
    found = {route: _of_route(route, hall, visitor) for route in routes_of(app)}
    return found | {NO_ROUTE: _of_no_route()}


def _of_route(route: str, hall: Event, visitor: Visitor) -> list[CostlyRequest]:
    method, rule = route.split()
    of_pages = not rule.startswith(("/api/", "/webhooks/"))
    target = _path(method, rule, hall, visitor)
    straight = rule in OPERATORS_PATHS
    lines = [f"Cookie: {visitor.cookie}", "Accept: text/html"] if of_pages else []
    ends = method == "DELETE"
    hold = visitor.ended_api_hold if ends else visitor.api_hold
    if rule.endswith("<booking_id>"):
        hold = visitor.paid_hold
    if not of_pages:
        lines.append(f"Authorization: Bearer {hold['hold_token']}")

    def of(name: str, *more: str, body: bytes = b"", host: str = HOST) -> CostlyRequest:
        length = [f"Content-Length: {len(body)}"] if method == "POST" else []
        sent = _request(method, target, *lines, *length, *more, body=body, host=host)
        return CostlyRequest(name, sent, straight)

    found = [
        of("as it is meant"),
        of("long lists in the headers", *_long_lists()),
        of("a host with a label of 64 letters", host="a" * 64 + ".example"),
    ]
    if method == "POST":
        found += [
            of("a boundary of 8,000 random bytes", _multipart(), body=b"--"),
            of(
                "a form of 64 KB",
                "Content-Type: application/x-www-form-urlencoded",
                body=_long_form(visitor.csrf_token),
            ),
            of(
                "a form of one field of 64 KB",
                "Content-Type: application/x-www-form-urlencoded",
                body=_form_of_long_fields(visitor.csrf_token),
            ),
            of("JSON of 64 KB, all of it brackets", _json_type(), _key(), body=b"[" * 60_000),
            of("a list of 100 seats", _json_type(), _key(), body=_many_seats(hall)),
            of("a payment whose name is long", _json_type(), _key(), body=_long_name()),
            of("an old signature", _stripe_signature(), body=b"x" * 60_000),
        ]
    return found


def _of_no_route() -> list[CostlyRequest]:
    unknown = [
        ("a path of 15 KB", "/" + "x" * 15_000),
        ("a path of 5,000 segments", "/x" * 5_000),
        ("an event that there is not", "/api/events/nothing/seats"),
        ("a query of 15 KB", "/?" + "a=%41&" * 2_000),
        ("slashes at the end", "/api/events" + "/" * 10_000),
    ]
    return [
        CostlyRequest(name, _request("GET", path, "Accept: text/html")) for name, path in unknown
    ]


def _path(method: str, rule: str, hall: Event, visitor: Visitor) -> str:
    if rule.startswith("/events/"):
        hold = visitor.form_hold
        if rule.endswith("/release"):
            hold = visitor.ended_form_hold
        elif rule.endswith("/return"):
            hold = visitor.hold_at_bank
        hold_id = hold.address.split("/")[4]
    else:
        hold = visitor.ended_api_hold if method == "DELETE" else visitor.api_hold
        hold_id = hold["hold_id"]
    values = {
        "event_id": hall.id,
        "section_id": hall.sections[-1].id if "best" in rule else hall.sections[0].id,
        "seat": hall.seats[0],
        "quantity": str(hall.max_seats_per_hold),
        "hold_id": hold_id,
        "booking_id": visitor.receipt["booking_id"],
        "key_digest": "0" * 64,
        "version": hall.version,
        "filename": "style.css",
        "link": visitor.receipt_link if "receipts" in rule else visitor.hold_link,
    }
    if rule.startswith("/static/"):
        values["version"] = "00000000"
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: quote(values[found[1]]), rule)


def _request(method: str, path: str, *lines: str, body: bytes = b"", host: str = HOST) -> bytes:
    named = (f"Host: {host}", f"X-Forwarded-For: {ADDRESS.decode()}")
    head = "\r\n".join((f"{method} {path} HTTP/1.1", *named, *lines))
    return head.encode("latin-1") + b"\r\n\r\n" + body


def _long_lists() -> list[str]:
    """Everything that is parsed as a list, as long as a line may be."""

    def filled(name: str, entry: str) -> str:
        return f"{name}: " + entry * ((MAX_LINE_BYTES - len(name)) // len(entry)) + "x"

    return [
        filled("Accept-Language", "de;q=0.1,"),
        filled("Accept-Encoding", "br;q=0.1,"),
        filled("If-None-Match", '"x",'),
    ]


def _multipart() -> str:
    return f'Content-Type: multipart/form-data; boundary="{BOUNDARY.decode()}"'


def _json_type() -> str:
    return "Content-Type: application/json"


def _key() -> str:
    return "Idempotency-Key: of-an-attack"


def _stripe_signature() -> str:
    signatures = ",".join(["v1=" + "0" * 64] * 200)
    return f"Stripe-Signature: t=1,{signatures}"


def _long_form(csrf_token: str) -> bytes:
    fields = [("csrf_token", csrf_token), *[("seats", "s")] * 8_000]
    return urlencode(fields).encode()[:MAX_BODY_BYTES]


def _form_of_long_fields(csrf_token: str) -> bytes:
    """Each field that any form has, long and of letters that have to be looked at."""
    names = ("name", "email", "section", "quantity", "prices", "in_section", "token", "form")
    fields = [("csrf_token", csrf_token), *((name, "\u1e9b\u0323" * 500) for name in names)]
    return urlencode(fields).encode()[:MAX_BODY_BYTES]


def _many_seats(hall: Event) -> bytes:
    return json.dumps({"seats": list(hall.seats[:100])}).encode()


def _long_name() -> bytes:
    name = "\u1e9b\u0323" * 5_000
    payment = {"name": name, "email": name, "payment_method": "pm_card_visa"}
    return json.dumps(payment, ensure_ascii=False).encode()
