"""An address with a slash too many leads to the one without, on this very host."""

import pytest
import requests

from tests.pages.browser import HTML
from tests.support.http_client import PROBLEM_TYPE, TIMEOUT_S, Client, assert_problem


@pytest.fixture
def ask(stack):
    """Through nginx and straight at gunicorn; not followed. As it stands, for requests would take
    dots and slashes out."""

    def asked(path: str, method: str = "GET", **headers: str) -> list[requests.Response]:
        answers = []
        for base_url in (stack.url, stack.web_url):
            client = Client(base_url, "none")
            request = requests.Request(method, base_url, headers=HTML | headers)
            prepared = client.prepare_request(request)
            prepared.url = base_url + path
            answers.append(client.send(prepared, timeout=TIMEOUT_S, allow_redirects=False))
        return answers

    return asked


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/basket/", "/basket"),
        ("/basket//", "/basket"),
        ("/organiser/", "/organiser"),
        ("/events/{event}/", "/events/{event}"),
        ("/events/{event}/?page=2&x=%2F", "/events/{event}?page=2&x=%2F"),
        ("/events/{event}/sections/stalls/?page=2", "/events/{event}/sections/stalls?page=2"),
        ("/events/no%20such%0d%0aevent/", "/events/no%20such%0D%0Aevent"),
        ("/api/events/", "/api/events"),
        ("/api/events/{event}/seats/", "/api/events/{event}/seats"),
        ("/receipts/x.y/", "/receipts/x.y"),
    ],
)
def test_a_slash_too_many_leads_to_the_address_without(ask, event, path, leads_to):
    for answer in ask(path.format(event=event.id), Host="evil.example"):
        if answer.status_code != 421:  # nginx knows other names
            assert answer.status_code == 308
            assert answer.headers["Location"] == leads_to.format(event=event.id)
            assert not answer.content


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/",
        "//evil.example//",
        "///evil.example/",
        "/%2Fevil.example/",
        "/%5Cevil.example/",
        "//evil.example/basket/",
        "/events/",
        "/events//x/",
        "/nothing/",
        "/nothing/%2e%2e/",
    ],
)
def test_where_nothing_is_nobody_is_led_anywhere(ask, path):
    for answer in ask(path):
        assert (answer.status_code, answer.headers.get("Location")) == (404, None)


def test_a_call_keeps_its_method_and_its_body(stack, event):
    client = Client(stack.url, event.id)
    for path in ("seats/stalls-A-1/hold/", "sections/stalls/best/1/hold/"):
        address = f"/api/events/{event.id}/{path}"
        asked = client.call("POST", address, allow_redirects=False)
        assert (asked.status_code, asked.headers["Location"]) == (308, address[:-1])
        assert client.call("POST", address).status_code == 201
    held = client.call("POST", f"/api/events/{event.id}/holds/", json={"seats": ["stalls-B-1"]})
    assert held.json()["seats"] == ["stalls-B-1"]


def test_a_wrong_method_hears_so_at_the_address_without(stack, event):
    client = Client(stack.url, event.id)
    address = f"/api/events/{event.id}/seats/"
    assert client.call("DELETE", address, allow_redirects=False).status_code == 308
    assert_problem(client.call("DELETE", address), 405, "method_not_allowed")
    assert client.call("GET", "/api/nothing/").headers["Content-Type"] == PROBLEM_TYPE
