"""Each way to say no has an answer; one that has none would be a 500."""

import dataclasses
import inspect
import typing
from datetime import UTC, datetime

import pytest

from tests.support.application import application_with
from web.domain import refusals
from web.domain.refusals import ActionRequired, PaymentPending, Refusal, SeatTaken
from web.http.problems import problem_of
from web.ports.booking_store import IndexMissing

NOT_A_PROBLEM = {PaymentPending, ActionRequired}
"""The routes answer it with 202."""

EXAMPLES = {
    int: 1,
    str: "stalls",
    str | None: None,
    tuple[str, ...]: ("stalls-A-1",),
    datetime: datetime(2026, 12, 12, tzinfo=UTC),
    datetime | None: None,
}


KINDS = [
    kind
    for _, kind in inspect.getmembers(refusals, inspect.isclass)
    if issubclass(kind, Refusal) and kind is not Refusal and kind not in NOT_A_PROBLEM
]


def example_of(kind: type[Refusal]) -> Refusal:
    if kind is refusals.EarlierRefusal:
        return kind(SeatTaken(("stalls-A-1",)))
    if not dataclasses.is_dataclass(kind):
        return kind()
    types = typing.get_type_hints(kind)
    return kind(*(EXAMPLES[types[field.name]] for field in dataclasses.fields(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_each_refusal_has_an_answer(kind):
    problem = problem_of(example_of(kind))
    assert 400 <= problem.status < 600
    assert problem.code
    assert problem.detail.endswith(".") or problem.code == "invalid_request"


def test_while_the_unique_index_is_missing_the_shop_says_that_it_is_closed(caplog):
    """It is what keeps a seat from being sold twice."""
    app = application_with()

    def sell():
        raise IndexMissing("no unique index on bookings")

    app.add_url_rule("/api/sell", view_func=sell)
    answer = app.test_client().get("/api/sell")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert answer.json["code"] == "unavailable"
    assert [line.levelname for line in caplog.records if "unique index" in line.message] == [
        "CRITICAL"
    ]
