"""Words that servers say to each other, written by a client: none changes what it gets.

Through nginx, and at gunicorn from an address that it does not believe.
"""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.attacks.clients import new_address, new_neighbour
from tests.attacks.corpora.headers import EVIL, OF_OURS, OF_PROXIES
from tests.attacks.floods import Scene
from tests.support.raw_http import Answer, exchange, request_bytes
from web.http.edge import KEPT_STATUS

ASKED = (
    ("GET", "/events/{event}"),
    ("GET", "/basket/"),
    ("GET", "/static/style.css"),
    ("GET", "/nothing"),
    ("GET", "/organiser"),
    ("GET", "/api/events/{event}/seats"),
    ("POST", "/api/events/{event}/seats/stalls-R1-1/hold"),
    ("POST", "/events/{event}/holds"),
)
"""Pages, a redirect, a file, a problem, and calls, of which one is refused in a way that nginx
repeats."""

OF_EACH_ANSWER = re.compile(
    rb'"csrf_token" value="[^"]*"|name="form" value="[^"]*"|"\w+_ms":\d+|127\.[\d.]+|100\.[\d.]+'
)
"""These differ in each answer, whatever the request: secrets, times, the client's address."""

TELLING = ("Content-Type", "Location", "Cache-Control", "Content-Security-Policy", "Allow", "Vary")

AT_ONCE = 8


class Asking:
    """One of the two ways to the application, with a client."""

    def __init__(self, scene: Scene, straight: bool):
        self._url = scene.web_url if straight else scene.url
        self._straight = straight
        self._event_id = scene.hall.id

    def what_is_told(self, method: str, path: str, *lines: str) -> tuple:
        """All of an answer that can be compared."""
        client = [] if self._straight else [f"X-Forwarded-For: {new_address()}"]
        request = request_bytes(
            method, path.replace("{event}", self._event_id), *client, *lines, "Connection: close"
        )
        (answer,) = exchange(self._url, request, source=new_neighbour() if self._straight else "")
        assert EVIL not in seen(answer), (lines, answer)
        return (
            answer.status,
            *(answer.headers.get(name) for name in TELLING),
            OF_EACH_ANSWER.sub(b"", answer.body),
        )


def seen(answer: Answer) -> str:
    """These must not contain anything that a client made up, except its own X-Request-Id."""
    headers = {name: value for name, value in answer.headers.items() if name != "X-Request-Id"}
    return f"{headers} {answer.body}"


@pytest.mark.parametrize("straight", [False, True], ids=["through nginx", "at gunicorn"])
@pytest.mark.parametrize(("method", "path"), ASKED)
def test_no_word_between_servers_is_believed_from_a_client(scene, method, path, straight):
    asking = Asking(scene, straight)
    asking.what_is_told(method, path)
    plain = asking.what_is_told(method, path)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        lines = OF_PROXIES + OF_OURS
        told = list(threads.map(lambda line: asking.what_is_told(method, path, line), lines))
    assert [line for line, one in zip(lines, told, strict=True) if one != plain] == []


@pytest.mark.parametrize("straight", [False, True], ids=["through nginx", "at gunicorn"])
def test_whoever_asks_as_nginx_does_gets_the_same_refusal(scene, straight):
    """The application marks a refusal that nginx may repeat with a status of its own."""
    path = "/api/events/{event}/seats/stalls-R1-2/hold"
    asking = Asking(scene, straight)
    asking.what_is_told("POST", path)
    status, *_ = asking.what_is_told("POST", path, "X-Kept-Refusals: 1")
    assert status in ({409, KEPT_STATUS} if straight else {409})
