"""The seat map, which nginx repeats when a crowd asks for it."""

import time

import pytest

from ops.nginx.render import MAP_MIN_USES
from tests.support.behind_nginx import KEEPING_S, NO_ENVELOPE, ask, assert_problem, local_nginx
from tests.support.factories import unique

pytestmark = pytest.mark.alone

CROWD = MAP_MIN_USES + 20
TRIES = 5


@pytest.fixture(scope="module")
def nginx(upstream, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nginx")
    with local_nginx(folder, upstream.address, rate=NO_ENVELOPE) as nginx:
        yield nginx


@pytest.fixture
def path() -> str:
    return f"/api/events/{unique('event')}/seats"


def of_the_application(**headers: str):
    """Says which answer it is, in its tag."""
    numbers = iter(range(1, 10_000))
    return lambda: {"Cache-Control": "no-cache", "ETag": f'"{next(numbers)}"', **headers}


def in_one_second(nginx, path: str, **headers: str) -> list:
    """What a crowd is answered; all over again when the machine is too slow for that."""
    for _ in range(TRIES):
        time.sleep(1 - time.time() % 1)
        began_s = int(time.time())
        answers = []
        for number in range(1, CROWD + 1):
            answers.append(ask(nginx.port, "GET", path, **headers))
            if number == MAP_MIN_USES:
                time.sleep(KEEPING_S)
        if int(time.time()) == began_s:
            return answers
    raise AssertionError(f"{CROWD} requests took longer than a second")


def tags_of_a_crowd(nginx, path: str, **headers: str) -> list[str]:
    return [answer.headers["ETag"] for answer in in_one_second(nginx, path, **headers)]


def test_a_few_get_the_map_of_their_moment_and_a_crowd_one_map(nginx, upstream, path):
    with upstream.replying(200, of_the_application()):
        tags = tags_of_a_crowd(nginx, path)
    assert len(set(tags[:MAP_MIN_USES])) == MAP_MIN_USES
    assert set(tags[MAP_MIN_USES:]) == {tags[MAP_MIN_USES - 1]}


def test_open_pages_together_ask_once_a_second(nginx, upstream, path):
    while time.time() % 1 > 0.5:
        time.sleep(0.01)
    with upstream.replying(200, of_the_application()) as received:
        for _ in range(5):
            ask(nginx.port, "GET", path, Cache_Control="max-age=1")
            time.sleep(KEEPING_S)
    assert len(received) == 1


@pytest.mark.parametrize("wish", ["no-cache", "max-age=0", "no-store", ""])
def test_whoever_does_not_ask_for_what_is_kept_gets_the_map_of_the_moment(
    nginx, upstream, path, wish
):
    with upstream.replying(200, of_the_application()):
        asked = [{"Cache_Control": "max-age=1"}, {"Cache_Control": wish}, {"Cache_Control": wish}]
        tags = {ask(nginx.port, "GET", path, **headers).headers["ETag"] for headers in asked}
    assert len(tags) == 3


def test_what_is_kept_for_pages_has_no_address_of_its_own(nginx, path):
    assert_problem(ask(nginx.port, "GET", f"/kept-for-pages{path}"), 404, "not_found")


def test_the_next_second_has_a_map_of_its_own(nginx, upstream, path):
    with upstream.replying(200, of_the_application()):
        last = tags_of_a_crowd(nginx, path)[-1]
        time.sleep(1 - time.time() % 1)
        assert ask(nginx.port, "GET", path).headers["ETag"] != last


def test_whoever_has_the_map_that_is_kept_is_told_so(nginx, upstream, path):
    with upstream.replying(200, of_the_application()):
        kept = tags_of_a_crowd(nginx, path)[-1]
        answer = ask(nginx.port, "GET", path, If_None_Match=f"W/{kept}")
    assert (answer.status, answer.body) == (304, b"")


def test_a_compressed_map_is_kept_for_those_alone_who_take_it(nginx, upstream, path):
    with upstream.replying(200, of_the_application(Vary="Accept-Encoding")):
        zipped = set(tags_of_a_crowd(nginx, path, Accept_Encoding="gzip"))
        plain = ask(nginx.port, "GET", path, Accept_Encoding="identity").headers["ETag"]
    assert plain not in zipped


def test_what_is_left_of_one_clients_limit_is_not_told_to_others(nginx, upstream, path):
    with upstream.replying(200, of_the_application(RateLimit='"client";r=7;t=1')):
        answers = in_one_second(nginx, path)
    assert answers[0].headers["RateLimit"] == '"client";r=7;t=1'
    assert "RateLimit" not in answers[-1].headers


@pytest.mark.parametrize("status", [404, 429, 503])
def test_a_refusal_is_not_kept(nginx, upstream, path, status):
    with upstream.replying(status) as received:
        for _ in range(CROWD):
            ask(nginx.port, "GET", path)
    assert len(received) == CROWD


def test_another_query_or_spelling_is_the_same_map(nginx, upstream, path):
    with upstream.replying(200, of_the_application()) as received:
        tags_of_a_crowd(nginx, path)
        for spelling in (f"{path}?a=1", path.replace("seats", "s%65ats")):
            ask(nginx.port, "GET", spelling)
    assert all(heard_path == path for _, heard_path in received)
