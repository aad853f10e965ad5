"""Texts that are code to somebody, wherever a text can be put: they stay texts."""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from typing import TypeVar
from urllib.parse import quote

import requests

from tests.attacks.corpora.texts import FORGED, TEXTS
from tests.attacks.floods import Scene
from tests.pages.browser import Browser, Page
from tests.support.factories import FLOOR, STALLS, put_on_sale, small_hall
from tests.support.http_client import bearer
from tests.support.site import ORGANISER_TOKEN
from web.domain.events import Event

REFUSED = {400, 404, 405, 409, 410, 413, 414, 422, 431}
BUYER = {"payment_method": "pm_card_visa", "email": "ada@example.org", "name": "Ada"}

WRITTEN = [text for text in TEXTS if not {"\ud800", "\0"} & {*text}]
"""Without what UTF-8 and HTML cannot write. JSON can."""

AT_ONCE = 8
LOG_FLUSH_S = 1.5
"""nginx writes its log after a second."""


def skeleton(page: Page) -> list[tuple[str, ...]]:
    """Every element with the names of its attributes: what markup in a text would change."""
    return [(element.tag, *sorted(element.attributes)) for element in page.root.all()]


def hall_of(scene: Scene, text: str) -> Event:
    sections = replace(STALLS, name=text), replace(FLOOR, name=text)
    hall = small_hall(name=text, venue=text, sections=sections)
    put_on_sale(scene.seats, hall)
    return hall


def pages_of(scene: Scene, hall: Event) -> Iterable[Page]:
    browser = Browser(scene.url)
    event = browser.get(f"/events/{hall.id}")
    held = event.press("Hold the chosen", seats=["stalls-A-1"])
    receipt = held.press("Pay", **BUYER)
    browser.get("/organiser").press("Log in", token=ORGANISER_TOKEN)
    section = browser.get(f"/events/{hall.id}/sections/stalls")
    sale = browser.get(f"/organiser/events/{hall.id}")
    bookings = browser.get(f"/organiser/events/{hall.id}/bookings")
    booking = bookings.link(BUYER["name"])
    return event, section, held, receipt, sale, bookings, booking


def test_names_of_an_event_are_texts_on_every_page(scene):
    plain = [skeleton(page) for page in pages_of(scene, hall_of(scene, "Hall"))]

    def changed_pages(text: str) -> list[str]:
        pages = pages_of(scene, hall_of(scene, text))
        return [
            f"{text!a}: {page.status} {page.address}"
            for page, usual in zip(pages, plain, strict=True)
            if page.status != 200 or skeleton(page) != usual
        ]

    assert list(chain(*at_once(changed_pages, WRITTEN))) == []


def test_what_is_typed_into_a_form_comes_back_as_text(scene):
    def wrong(text: str) -> list[str]:
        browser = Browser(scene.url)
        held = browser.get(f"/events/{scene.hall.id}").press("Hold the best", quantity="1")
        refused = held.press("Pay", **BUYER | {"email": "-", "name": text})
        told = held.press("Pay", **BUYER | {"email": text, "payment_method": text, "key": text})
        name = refused.root.one("input", name="name")["value"]
        return [
            f"{text!a}: {page.status} {name!a} {foreign_scripts(page)}"
            for page in (refused, told)
            if page.status != 422 or foreign_scripts(page) or name != text.strip()
        ]

    assert list(chain(*at_once(wrong, WRITTEN))) == []


def foreign_scripts(page: Page) -> list[str]:
    """What would run and is no file of ours."""
    scripts = [script.text for script in page.root.all("script") if script.text]
    handlers = [
        f"{name}={value}"
        for element in page.root.all()
        for name, value in element.attributes.items()
        if name.startswith("on") or (name in ("src", "href") and "javascript:" in (value or ""))
    ]
    return scripts + handlers


def test_no_text_in_a_call_is_more_than_a_text(scene, mongo_client):
    """Refused, or found nowhere: nothing is held, sold or lost, and nothing is our mistake."""
    canary = scene.client().held(scene.hall.seats[-1])
    bookings = mongo_client.tickets.bookings.estimated_document_count()

    def surprises(text: str) -> list[str]:
        return [
            f"{text!a}: {answer.status_code} {answer.request.method} {answer.request.url!a}"
            for answer in calls_with(scene, canary, text)
            if answer.status_code not in REFUSED
        ]

    assert list(chain(*at_once(surprises, TEXTS))) == []
    assert scene.client().look_up(canary).json()["status"] == "held"
    assert scene.client().seat_map().count("s") == scene.sold
    assert mongo_client.tickets.bookings.estimated_document_count() == bookings


def calls_with(scene: Scene, hold: dict, text: str) -> Iterator[requests.Response]:
    """``text`` in every place of the API that takes one."""
    segment = quote(text.encode("utf-8", "surrogatepass"), safe="")
    for method, path in (
        ("GET", f"/api/events/{segment}"),
        ("GET", f"/api/events/{segment}/seats"),
        ("POST", f"seats/{segment}/hold"),
        ("POST", f"sections/{segment}/best/1/hold"),
        ("POST", f"sections/floor/best/{segment}/hold"),
        ("GET", f"holds/{segment}"),
        ("DELETE", f"holds/{segment}"),
        ("GET", f"bookings/{segment}"),
        ("GET", f"holds/{hold['hold_id']}/payments/{segment}"),
        ("GET", f"/receipts/{segment}"),
        ("GET", f"/holds/{segment}"),
    ):
        yield scene.client().call(method, path, headers=bearer(hold), allow_redirects=False)
    for body in ({"seats": [text]}, {"seats": text}, {"seats": {text: text}}, {text: ["x"]}):
        yield scene.client().call("POST", "holds", json=body)
    for field in ("payment_method", "email"):
        yield scene.client().pay(hold, **{field: text})
    key = text.encode("utf-8", "replace").translate(None, bytes(range(32)))
    yield scene.client().pay(hold, key, email="-")


def test_no_request_writes_a_line_of_its_own_into_a_log(scene):
    """Each line of nginx's is JSON of this server's fields; of the others' none begins with what
    came with a request, or moves a terminal."""
    texts = [f"a\n{FORGED}", f'"}}\n{{"path":"{FORGED}"}}', f"a\x1b[2J{FORGED}", f"a\r{FORGED}"]
    for text in texts:
        for path in (f"/{quote(text)}", f"/api/events/{quote(text)}/seats", f"/?{quote(text)}"):
            scene.client().call("GET", path, headers={"User-Agent": quote(text), "Referer": path})
    time.sleep(LOG_FLUSH_S)
    access = (scene.log_dir / "access.log").read_text().splitlines()
    assert len([json.loads(line)["path"] for line in access]) > 3 * len(texts)
    for log in scene.log_dir.glob("*.log"):
        text = log.read_text(errors="replace")
        assert "\x1b[2J" not in text, log
        assert not re.search(rf"^\W*{FORGED}", text, re.MULTILINE), log


Result = TypeVar("Result")


def at_once(act: Callable[[str], Result], texts: Iterable[str]) -> list[Result]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(act, texts))
