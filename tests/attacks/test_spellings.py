"""Other spellings of an address: none is answered in place of the plain one."""

import itertools
import json
from urllib.parse import urlsplit

import pytest

from ops.processes import free_port
from ops.servers import HOST
from tests.attacks.clients import new_address
from tests.support.behind_nginx import (
    NO_ENVELOPE,
    PROBLEM_TYPE,
    ask,
    ask_in_turn,
    assert_problem,
    local_nginx,
    running_nginx,
    server_config,
)
from tests.support.factories import unique
from tests.support.raw_http import Answer, exchange, request_bytes
from web.http.edge import KEPT_STATUS

HOLD = "/api/events/{event}/seats/stalls-A-1/hold"
BEST = "/api/events/{event}/sections/stalls/best/2/hold"

PATHS = {
    "GET": [
        "/api/events",
        "/api/events/{event}",
        "/api/events/{event}/seats",
        "/api/events/{event}/versions/0123456789abcdef",
        "/basket",
        "/events/{event}",
        "/events/{event}/sections/stalls",
        "/organiser",
        "/static/style.css",
        "/static/0123abcd/style.css",
        "/healthz",
        "/readyz",
        "/metrics",
    ],
    "POST": [HOLD, BEST, "/events/{event}/holds", "/webhooks/stripe"],
}


@pytest.fixture(scope="module")
def keeping(upstream, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keeping")
    with local_nginx(folder, upstream.address, rate=NO_ENVELOPE) as nginx:
        yield nginx


def percent(character: str) -> str:
    return f"%{ord(character):02x}"


def equivalents(path: str) -> list[str]:
    """The same address by RFC 3986, 6.2.2.2, and some that most servers take for it."""
    letter = next(i for i, character in enumerate(path) if character.isalpha())
    slash = path.rindex("/")
    return [
        path[:letter] + percent(path[letter]) + path[letter + 1 :],
        path[:-1] + percent(path[-1]),
        "/" + "".join(map(percent, path[1:])).upper().replace("%2F", "/"),
        *([path.replace("-", "%2D")] if "-" in path else []),
        *([path[:slash] + "%2f" + path[slash + 1 :]] if slash else []),
        path + "#fragment",
    ]


def nowheres(path: str) -> list[str]:
    """With empty segments, or with dots that every client would resolve itself."""
    slash = path.rindex("/")
    head, tail = path[:slash], path[slash:]
    return [
        "/" + path,
        "//" + path,
        "/%2F" + path[1:],
        "/." + path,
        "/x/.." + path,
        "/x/%2e%2E" + path,
        head + "/" + tail,
        head + "/." + tail,
        head + "/x/.." + tail,
        head + "/x%2F.." + tail,
        head + "/%2e" + tail,
        path + "/.",
        path + "/x/..",
        path + "/%2e%2e" + tail,
    ]


def sent(url: str, method: str, path: str) -> Answer:
    lines = [f"X-Forwarded-For: {new_address()}", "Content-Length: 0", "Connection: close"]
    [answer] = exchange(url, request_bytes(method, path, *lines))
    return answer


METHODS_AND_PATHS = [(method, path) for method, paths in PATHS.items() for path in paths]


@pytest.mark.parametrize(("method", "path"), METHODS_AND_PATHS)
def test_the_plain_spelling_is_the_only_one_that_is_answered(url, event, method, path):
    path = path.format(event=event.id)
    for spelling in equivalents(path):
        answer = sent(url, method, spelling)
        assert (answer.status, answer.headers["Location"]) == (308, path), spelling
    for spelling in nowheres(path):
        answer = sent(url, method, spelling)
        assert answer.status == 404, spelling
        assert answer.headers["Content-Type"] == PROBLEM_TYPE, spelling
        assert answer.json["code"] == "not_found", spelling


def test_nothing_was_held_by_another_spelling(url, event, seats):
    for method, path in (("POST", HOLD), ("POST", BEST)):
        plain = path.format(event=event.id)
        for spelling in itertools.chain(equivalents(plain), nowheres(plain)):
            sent(url, method, spelling)
    answer = sent(url, "GET", f"/api/events/{event.id}/seats")
    assert set(answer.json["seats"]) == {"0"}


@pytest.mark.parametrize("quantity", ["02", "002", "000000002", "0", "+2", "2.0", "2e0"])
def test_a_number_has_one_spelling_too(url, keeping, upstream, event, quantity):
    path = BEST.format(event=event.id).replace("/2/", f"/{quantity}/")
    answer = sent(url, "POST", path)
    assert (answer.status, answer.json["code"]) == (422, "invalid_request")
    # nginx keeps no refusal of it.
    with upstream.replying(KEPT_STATUS) as received:
        ask_in_turn(keeping.port, ("POST", path), ("POST", path))
    assert len(received) == 2


def test_a_redirect_keeps_the_query_and_stays_on_this_host(url):
    answer = sent(url, "GET", "/bask%65t?a=%2F%0d%0a&b=//evil.example")
    assert answer.headers["Location"] == "/basket?a=%2F%0d%0a&b=//evil.example"
    for path in (
        "/%2Fevil.example",
        "/%2fevil.example/%62",
        "//evil.example/%62",
        "/%5Cevil.example",
    ):
        answer = sent(url, "GET", path)
        assert (answer.status, answer.headers.get("Location")) == (404, None), path


@pytest.mark.parametrize(
    "path",
    [
        "/basket%20",
        "/basket%00",
        "/basket;x=1",
        "/basket%3Bx=1",
        "/basket.",
        "/basket%2E",
        "/Basket",
        "/BASKET",
        "/basket%09",
        "/basket%C0%AF",
        "/bas\u212aet",
        "/\\basket",
        "/api%5Cevents",
        "/%252e%252e/basket",
        "/bask%2565t",
        "/...",
        "/*",
    ],
)
def test_what_only_looks_like_an_address_of_ours_is_nowhere(url, stack, path):
    [answer] = exchange(
        url,
        f"GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {new_address()}\r\n"
        "Connection: close\r\n\r\n".encode(),
    )
    if answer.status == 308:
        answer = sent(url, "GET", answer.headers["Location"])
    assert answer.status in (400, 404)
    if url in (stack.url, stack.web_url) or answer.status == 404:
        assert answer.headers["Content-Type"] == PROBLEM_TYPE


def test_a_browser_gets_a_page(url):
    [answer] = exchange(url, request_bytes("GET", "//basket", "Accept: text/html"))
    assert answer.status == 404
    assert b"This page does not exist" in answer.body


# ---------------------------------------------------------------- refusals that are kept


@pytest.mark.parametrize("call", [HOLD, BEST])
def test_a_kept_refusal_is_neither_passed_by_nor_made_by_another_spelling(keeping, upstream, call):
    plain = call.format(event=unique("event"))
    others = [*equivalents(plain), *nowheres(plain)]
    with upstream.replying(201) as received:
        ask_in_turn(keeping.port, ("POST", plain))
        for other in others:
            assert ask(keeping.port, "POST", other).status in (308, 404)
    assert received == [("POST", plain)]
    with upstream.replying(KEPT_STATUS) as received:
        ask_in_turn(keeping.port, *(("POST", other) for other in others[:4]), ("POST", plain))
        for other in others:
            assert ask(keeping.port, "POST", other).status in (308, 404)
    assert received == [("POST", plain)]


# ---------------------------------------------------------------- http where there is only https


def test_by_http_another_spelling_is_no_way_to_the_application(root, upstream):
    port = free_port()
    name = "tickets.example.com"
    config = server_config(
        root,
        server_names=[name],
        trusted=["127.0.0.0/8"],
        upstreams=[upstream.address],
        http_listen=[f"{HOST}:{port}"],
    )
    call = "/api/events/e/holds"
    with running_nginx(config, root, port):
        upstream.received.clear()
        for path in (call, "/basket"):
            http = {"Host": name, "X_Forwarded_Proto": "http"}
            for other in equivalents(path):
                answer = ask(port, "POST", other, **http)
                assert (answer.status, answer.headers["Location"]) == (308, path)
            for other in nowheres(path):
                assert_problem(ask(port, "POST", other, **http), 404, "not_found")
        assert_problem(ask(port, "POST", call, **http), 403, "https_required")
        assert upstream.received == []
        https = {"Host": name, "X_Forwarded_Proto": "https"}
        for path in ("/receipts/.eJy-_x.Ab_c-9~", "/a.b/c", "/", "/x//", "/?a=//b/../c%41"):
            received = json.loads(ask(port, "GET", path, **https).body)
            assert received["path"] == path


def test_an_address_in_absolute_form_is_spelled_in_one_way_too(url, stack):
    host = urlsplit(stack.url).netloc
    for target, status in (("", 200), ("/basket", 200), ("//basket", 404), ("/bask%65t", 308)):
        answer = sent(url, "GET", f"http://{host}{target}")
        assert answer.status == status, target
