"""Paths that lead nowhere on other servers either: to what is for operators, to files that are not
meant to be served, to nothing that anybody could take for an address of ours.

All of a corpus at once, through nginx and straight at gunicorn. How the addresses that there are
may be spelt is in test_spellings.
"""

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.attacks.clients import new_address
from tests.attacks.corpora.paths import FOR_OPERATORS, NOTHING, OUTSIDE_OF_STATIC
from tests.support.raw_http import Answer, exchange

AT_ONCE = 16

ON_THIS_HOST = re.compile(r"/(?![/\\])\S*")
"""What a redirect may lead to: "//evil.example" is another host to a browser."""


def answers(url: str, paths: Iterable[str], event_id: str) -> list[tuple[str, Answer]]:
    """Each path as it stands, and what was answered to it."""

    def answer(path: str) -> tuple[str, Answer]:
        line = f"GET {path.replace('{event}', event_id)} HTTP/1.1\r\nHost: tickets.example\r\n"
        client = f"X-Forwarded-For: {new_address()}\r\nConnection: close\r\n\r\n"
        (answered,) = exchange(url, (line + client).encode("latin-1"))
        return path, answered

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(answer, paths))


def is_nothing(answer: Answer) -> bool:
    if answer.status == 308:
        return bool(ON_THIS_HOST.fullmatch(answer.headers["Location"]))
    return answer.status in (400, 404)


def test_what_only_looks_like_an_address_is_nothing(url, event):
    answered = answers(url, NOTHING, event.id)
    assert [(path, answer.status) for path, answer in answered if not is_nothing(answer)] == []


def test_no_spelling_opens_what_is_for_operators(url, event):
    answered = answers(url, FOR_OPERATORS, event.id)
    assert [(path, answer.status) for path, answer in answered if not is_nothing(answer)] == []


def test_no_spelling_reads_a_file_that_is_not_served(url, event):
    answered = answers(url, OUTSIDE_OF_STATIC, event.id)
    assert [(path, answer.status) for path, answer in answered if not is_nothing(answer)] == []
