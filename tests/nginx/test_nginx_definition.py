"""The definition of an event, which nginx keeps under its version."""

import secrets
import time

import pytest

from tests.support.behind_nginx import KEEPING_S, ask
from tests.support.factories import unique
from web.http.responses import IMMUTABLE, REVALIDATED


@pytest.fixture
def path() -> str:
    return f"/api/events/{unique('event')}/versions/{secrets.token_hex(8)}"


def heard_of(nginx, upstream, paths: list[str], cache_control: str) -> list[str]:
    """The requests that reach the application when these are sent one after the other."""
    with upstream.replying(200, lambda: {"Cache-Control": cache_control}) as received:
        for path in paths:
            ask(nginx.port, "GET", path)
            time.sleep(KEEPING_S)
    return [path for _, path in received]


def test_what_may_be_kept_for_ever_is_asked_for_once(nginx, upstream, path):
    other = path.replace("versions/", "versions/0")[:-1]
    paths = [path, other, f"{path}?x=1", path, other]
    assert heard_of(nginx, upstream, paths, IMMUTABLE) == [path, other]


def test_browsers_that_take_gzip_share_one_copy_however_they_say_so(nginx, upstream, path):
    kept = {"Cache-Control": IMMUTABLE, "Vary": "Accept-Encoding"}
    accepted = ["gzip, deflate, br, zstd", "gzip, deflate, br", "gzip", "br;q=1.0, gzip;q=0.8"]
    plain = ["", "identity", "br", "gzip;q=0", "gzip; q=0.0, br", "*"]
    with upstream.replying(200, lambda: kept) as received:
        for encodings in (accepted, plain):
            for encoding in encodings:
                ask(nginx.port, "GET", path, Accept_Encoding=encoding)
                time.sleep(KEEPING_S)
    assert len(received) == 2


def test_what_may_change_is_asked_for_each_time(nginx, upstream, path):
    assert heard_of(nginx, upstream, [path, path], REVALIDATED) == [path, path]


def test_an_event_is_asked_for_without_its_version_each_time(nginx, upstream, path):
    event = path.partition("/versions")[0]
    assert heard_of(nginx, upstream, [event, event], REVALIDATED) == [event, event]


def test_nobody_hears_what_is_left_of_anothers_limit(nginx, upstream, path):
    kept = {"Cache-Control": IMMUTABLE, "RateLimit": '"client";r=7;t=1'}
    with upstream.replying(200, lambda: kept):
        first = ask(nginx.port, "GET", path)
        time.sleep(KEEPING_S)
        second = ask(nginx.port, "GET", path)
    assert first.headers["RateLimit"] == '"client";r=7;t=1'
    assert "RateLimit" not in second.headers


@pytest.mark.parametrize("status", [404, 429, 503])
def test_a_refusal_is_not_kept(nginx, upstream, path, status):
    with upstream.replying(status) as received:
        for _ in range(3):
            ask(nginx.port, "GET", path)
            time.sleep(KEEPING_S)
    assert len(received) == 3
