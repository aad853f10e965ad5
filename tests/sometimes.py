"""What happened at least once while tests ran: each answer of each Lua script in this process, and
each refusal that the application's own code made here, or that a server answered. Counting begins
when this module is imported, which pytest does before the first test."""

import sys

import requests

from web.domain import Refusal
from web.stores.lua_scripts import ScriptCall
from web.stores.seat_store import RedisSeatStore

answers: set[tuple[str, str]] = set()
"""Script and the first word of its answer."""

refusals: set[type[Refusal]] = set()

problem_codes: set[str] = set()
"""Of the problems that servers answered."""


def _count_answers_of_scripts() -> None:
    send = RedisSeatStore._send_calls

    def counted(store: RedisSeatStore, calls: list[ScriptCall]) -> list[list | Exception]:
        given = send(store, calls)
        for call, answer in zip(calls, given, strict=True):
            if isinstance(answer, list):
                answers.add((call.script.name, answer[0]))
        return given

    RedisSeatStore._send_calls = counted


def _count_refusals() -> None:
    def counted(kind: type[Refusal], *arguments, **named) -> Refusal:
        # A refusal that a test made itself proves nothing.
        if sys._getframe(1).f_globals["__name__"].startswith("web."):
            refusals.add(kind)
        return Exception.__new__(kind, *arguments)

    Refusal.__new__ = counted


def _count_problems() -> None:
    send = requests.Session.send

    def counted(session: requests.Session, *arguments, **named) -> requests.Response:
        answer = send(session, *arguments, **named)
        if answer.headers.get("Content-Type") == "application/problem+json":
            problem_codes.add(answer.json()["code"])
        return answer

    requests.Session.send = counted


_count_answers_of_scripts()
_count_refusals()
_count_problems()
